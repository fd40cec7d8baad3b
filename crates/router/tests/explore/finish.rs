//! What home's leaders do about unfinished work, and what must be left of it when all is quiet.

use std::collections::BTreeMap;

use bitroster_command::{Header, Outcome, Pending, ReadOp, Reply};
use bitroster_engine::Engine;
use bitroster_router::Router;
use bitroster_types::{GroupId, Key, UnixMillis};
use futures_util::future::BoxFuture;

/// What a group's leader knows to be unfinished; `is_hasty` takes it all for old.
pub(crate) fn pending(engine: &Engine, is_hasty: bool) -> Vec<Pending> {
    engine.pending(UnixMillis(if is_hasty { u64::MAX } else { 0 }), usize::MAX)
}

/// Finishes it.
pub(crate) fn finish(
    router: Router,
    pending: Vec<(GroupId, Vec<Pending>)>,
) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        for (home, rows) in pending {
            router.finish(&rows, home).await;
        }
        Reply::Ok
    })
}

/// Whether nothing is left of any plan: no rows, and as many parts as the records speak of.
pub(crate) fn check_rest(
    engines: &BTreeMap<GroupId, Engine>,
    headers: &BTreeMap<Key, Option<Header>>,
) -> Result<(), String> {
    for (group, engine) in engines {
        let stats = engine.stats();
        let rows = [stats.staged, stats.pending, stats.reserved, stats.enlisted];
        if rows != [0; 4] {
            return Err(format!("group {group} keeps rows when all is quiet: {stats:?}"));
        }
        let spreads = headers.values().flatten().map(|header| &header.spread);
        let expected = spreads.filter(|spread| spread.contains(group)).count() as u64;
        if stats.parts != expected {
            return Err(format!(
                "group {group} holds {} parts and the records speak of {expected}: {headers:?}",
                stats.parts
            ));
        }
    }
    Ok(())
}

/// The record of a key, as its home has it.
pub(crate) fn header(engine: &Engine, key: &Key) -> Option<Header> {
    match engine.read(&ReadOp::Header { key: key.clone() }, engine.time()) {
        Outcome::Header(header) => header.map(|header| *header),
        other => panic!("a home answers {other:?}"),
    }
}
