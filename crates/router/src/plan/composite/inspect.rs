//! What keys are and cost: BM.INFO, MEMORY USAGE, OBJECT ENCODING and BM.SPACE LIST.

use bitroster_command::{PartQuery, ReadCommand, Reply, parse_i64};
use bitroster_types::Key;

use super::{operands::counts_of, places::misfit};
use crate::{
    call::{Call, Step},
    plan::{
        gather::{self, number},
        scan,
    },
};

/// What Redis takes beside a string's bytes and its name: the key's and the value's headers and
/// their places in its table.
const REDIS_OVERHEAD_BYTES: u64 = 56;

/// The longest integer that Redis keeps as one.
const INT_BYTES_MAX: u64 = 20;

/// The longest value that Redis keeps beside its header.
const EMBEDDED_BYTES_MAX: u64 = 44;

/// Numbers in an answer to [`PartQuery::Info`].
const NUMBERS: usize = 9;

/// What a key's parts take together; `None` where there is no key.
struct Cost {
    /// Memory, bits, length, segments, arrays, dense, runs, full, flat.
    numbers: [u64; NUMBERS],
    /// The groups that hold them, ascending.
    groups: Vec<u16>,
}

async fn cost(call: &Call, key: &Key) -> Step<Option<Cost>> {
    let Some(header) = gather::record(call, key).await? else { return Ok(None) };
    let members = gather::members(call, key, &header);
    let parts = gather::ask_parts(call, key, &header, members.clone(), PartQuery::Info).await?;
    let mut numbers = [0; NUMBERS];
    for part in parts {
        for (at, count) in counts_of(part, NUMBERS)?.into_iter().enumerate() {
            // The length is the longest part's, all else adds up.
            numbers[at] = if at == 2 { count.max(numbers[at]) } else { numbers[at] + count };
        }
    }
    gather::confirm(call, key, &header).await?;
    let mut groups: Vec<u16> = members.into_iter().map(|group| group.0).collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(Some(Cost { numbers, groups }))
}

/// BM.INFO.
pub(super) async fn info(call: &Call, key: &Key) -> Step<Reply> {
    let Some(Cost { numbers, groups }) = cost(call, key).await? else { return Ok(Reply::Nil) };
    let [memory, bits, len, segments, arrays, dense, runs, full, flat] = numbers;
    let redis = len.saturating_add(key.len() as u64).saturating_add(REDIS_OVERHEAD_BYTES);
    let owners = groups.into_iter().map(|group| number(u64::from(group))).collect();
    let row = |name: &str, value: u64| (Reply::bulk(name), number(value));
    Ok(Reply::Map(vec![
        row("length-bytes", len),
        row("cardinality", bits),
        row("segments", segments),
        (Reply::bulk("owners"), Reply::Array(owners)),
        row("arrays", arrays),
        row("dense", dense),
        row("runs", runs),
        row("full", full),
        row("flat", flat),
        row("memory-bytes", memory),
        row("redis-bytes", redis),
    ]))
}

/// MEMORY USAGE.
pub(super) async fn memory(call: &Call, key: &Key) -> Step<Reply> {
    Ok(cost(call, key).await?.map_or(Reply::Nil, |cost| number(cost.numbers[0])))
}

/// OBJECT ENCODING: what Redis would keep the value as.
pub(super) async fn encoding(call: &Call, key: &Key) -> Step<Reply> {
    let Some(header) = gather::record(call, key).await? else { return Ok(Reply::Nil) };
    let len = gather::len_bytes(call, key, &header).await?;
    let is_integer = if len <= INT_BYTES_MAX {
        let value = gather::value(call, key, &header).await?;
        parse_i64(&value).is_some()
    } else {
        false
    };
    gather::confirm(call, key, &header).await?;
    Ok(Reply::bulk(match len {
        _ if is_integer => "int",
        0..=EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }))
}

/// BM.SPACE LIST, over all groups.
pub(super) async fn spaces(call: &Call) -> Step<Reply> {
    let mut names = Vec::new();
    for reply in scan::ask_all(call, &ReadCommand::Spaces).await? {
        let Reply::Array(more) = reply else { return Err(misfit(reply)) };
        for name in more {
            let Reply::Bulk(name) = name else { return Err(misfit(name)) };
            names.push(name);
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(Reply::Array(names.into_iter().map(Reply::Bulk).collect()))
}
