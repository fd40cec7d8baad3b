//! What home's leaders do about unfinished work, and what must be left of it when all is quiet.

use std::collections::BTreeMap;

use bitroster_command::{Header, Outcome, PartQuery, Pending, ReadOp, Reply};
use bitroster_engine::Engine;
use bitroster_placement::ClusterMap;
use bitroster_router::Router;
use bitroster_types::{GroupId, Key, UnixMillis, Version};
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

/// Whether nothing is left of any plan: no rows, and no part that a record does not speak of.
pub(crate) fn check_rest(
    map: &ClusterMap,
    engines: &BTreeMap<GroupId, Engine>,
    keys: &[Key],
) -> Result<(), String> {
    for (group, engine) in engines {
        let stats = engine.stats();
        let rows = [stats.staged, stats.pending, stats.reserved, stats.enlisted];
        if rows != [0; 4] {
            return Err(format!("group {group} keeps rows when all is quiet: {stats:?}"));
        }
        let mut parts = 0;
        for key in keys.iter().filter(|key| map.home(key) != *group) {
            let Some(version) = part(engine, key) else { continue };
            parts += 1;
            let header = header(&engines[&map.home(key)], key);
            let is_named = header.as_ref().is_some_and(|header| {
                header.version == Some(version) && header.spread.contains(group)
            });
            if !is_named {
                return Err(format!(
                    "group {group} holds a part of {key:?} at {version:?}, its home {header:?}"
                ));
            }
        }
        if stats.parts != parts {
            return Err(format!("group {group} holds {parts} parts of known keys: {stats:?}"));
        }
    }
    Ok(())
}

/// The version of a group's part of a key.
fn part(engine: &Engine, key: &Key) -> Option<Version> {
    let query = PartQuery::Len;
    let op = ReadOp::Part { key: key.clone(), version: Some(Version(0)), query };
    match engine.read(&op, engine.time()) {
        Outcome::Newer(version) => Some(version),
        _ => None,
    }
}

/// The record of a key, as its home has it.
fn header(engine: &Engine, key: &Key) -> Option<Header> {
    match engine.read(&ReadOp::Header { key: key.clone() }, engine.time()) {
        Outcome::Header(header) => header.map(|header| *header),
        other => panic!("a home answers {other:?}"),
    }
}
