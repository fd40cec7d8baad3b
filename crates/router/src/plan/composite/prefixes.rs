//! BM.PREFIXES: what the keys below a prefix take, by their next names.
//!
//! Every group answers page by page; the pages are added up as they come, in bounded memory. All
//! figures together are always those of all keys. Which name they stand at is exact up to
//! [`PREFIXES_NAMES_KEPT`] names; of more, those with fewest bytes so far go into the rest.

use std::{cmp::Reverse, collections::HashMap};

use bitroster_command::{CommandError, PrefixCounts, PrefixPage, PrefixRow, ReadOp, Reply};
use bitroster_types::{
    GroupId,
    limits::{PREFIXES_NAME_BYTES_KEPT, PREFIXES_NAMES_KEPT, PREFIXES_SPREAD_KEYS_MAX},
};
use bytes::Bytes;
use parking_lot::Mutex;

use super::places::misfit;
use crate::{
    call::{Call, Step, Stop, reply_of},
    plan::gather::number,
};

/// Answers BM.PREFIXES.
pub(super) async fn run(call: &Call, prefix: &Bytes, separator: u8, limit: usize) -> Step<Reply> {
    let totals = Mutex::new(Totals::default());
    call.inner.metrics.fanned_out(call.map.groups().len());
    call.each(call.map.groups(), |group: &GroupId| {
        let totals = &totals;
        async move {
            let mut cursor = 0;
            loop {
                call.check_deadline()?;
                let op = ReadOp::Prefixes { prefix: prefix.clone(), separator, cursor };
                let reply = reply_of(call.ask(*group, op).await?)?;
                let Reply::Bulk(bytes) = reply else { return Err(misfit(reply)) };
                let page = PrefixPage::decode(&bytes).map_err(|error| {
                    let text = format!("ERR a group's figures are damaged: {error}");
                    Stop::Error(CommandError::Message(text))
                })?;
                cursor = page.next;
                totals.lock().add(page);
                if cursor == 0 {
                    return Ok(());
                }
            }
        }
    })
    .await?;
    Ok(totals.into_inner().into_reply(prefix.len(), separator, limit))
}

/// What all pages come to.
#[derive(Default)]
struct Totals {
    names: HashMap<Bytes, PrefixCounts>,
    name_bytes: usize,
    /// By spot.
    spread: HashMap<u64, Spread>,
    /// What has no name here any more.
    rest: PrefixCounts,
    is_cut: bool,
}

/// A key over several groups.
struct Spread {
    name: Bytes,
    len_bytes: u64,
}

impl Totals {
    fn add(&mut self, page: PrefixPage) {
        for row in page.rows {
            self.add_row(row);
        }
    }

    fn add_row(&mut self, row: PrefixRow) {
        let PrefixRow { name, mut counts, spread } = row;
        // Its own memory, not a slice of the page's.
        let name = match self.names.get_key_value(&name) {
            Some((known, _)) => known.clone(),
            None => Bytes::copy_from_slice(&name),
        };
        for key in spread {
            if let Some(known) = self.spread.get_mut(&key.spot) {
                known.len_bytes = known.len_bytes.max(key.len_bytes);
            } else if self.spread.len() < PREFIXES_SPREAD_KEYS_MAX {
                let (name, len_bytes) = (name.clone(), key.len_bytes);
                self.spread.insert(key.spot, Spread { name, len_bytes });
            } else {
                counts.plain_bytes = counts.plain_bytes.saturating_add(key.held_bytes);
            }
        }
        if let Some(sum) = self.names.get_mut(&name) {
            sum.add(&counts);
            return;
        }
        self.name_bytes += name.len();
        self.names.insert(name, counts);
        if self.names.len() > 2 * PREFIXES_NAMES_KEPT
            || self.name_bytes > 2 * PREFIXES_NAME_BYTES_KEPT
        {
            self.prune();
        }
    }

    /// Forgets the names with fewest bytes.
    fn prune(&mut self) {
        let mut rows: Vec<(Bytes, PrefixCounts)> = self.names.drain().collect();
        rows.sort_unstable_by_key(|(_, counts)| Reverse(counts.bytes));
        self.name_bytes = 0;
        self.is_cut = true;
        for (name, counts) in rows {
            let name_bytes = self.name_bytes + name.len();
            if self.names.len() < PREFIXES_NAMES_KEPT && name_bytes <= PREFIXES_NAME_BYTES_KEPT {
                self.name_bytes = name_bytes;
                self.names.insert(name, counts);
            } else {
                self.rest.add(&counts);
            }
        }
    }

    fn into_reply(mut self, prefix_len: usize, separator: u8, limit: usize) -> Reply {
        for Spread { name, len_bytes } in self.spread.into_values() {
            let counts = self.names.get_mut(&name).unwrap_or(&mut self.rest);
            counts.plain_bytes = counts.plain_bytes.saturating_add(len_bytes);
        }
        let mut rest = self.rest;
        let mut rows: Vec<(Bytes, PrefixCounts)> = self.names.into_iter().collect();
        // A name without a live key is what is left of keys that go.
        rows.retain(|(_, counts)| {
            if counts.keys == 0 {
                rest.add(counts);
            }
            counts.keys > 0
        });
        rows.sort_unstable_by(|(a_name, a), (b_name, b)| {
            b.bytes.cmp(&a.bytes).then_with(|| a_name.cmp(b_name))
        });
        let is_cut = self.is_cut || rows.len() > limit;
        rows.iter().skip(limit).for_each(|(_, counts)| rest.add(counts));
        rows.truncate(limit);
        let is_leaf = |name: &Bytes| !name[prefix_len.min(name.len())..].contains(&separator);
        let mut replies: Vec<Reply> =
            rows.iter().map(|(name, counts)| row(name, is_leaf(name), counts)).collect();
        if is_cut {
            replies.push(row(&Bytes::new(), false, &rest));
        }
        Reply::Array(replies)
    }
}

fn row(name: &Bytes, is_leaf: bool, counts: &PrefixCounts) -> Reply {
    let figures = [
        ("leaf", u64::from(is_leaf)),
        ("keys", counts.keys),
        ("expiring", counts.expiring),
        ("bits", counts.bits),
        ("bytes", counts.bytes),
        ("plain_bytes", counts.plain_bytes),
        ("array_bytes", counts.array_bytes),
        ("dense_bytes", counts.dense_bytes),
        ("run_bytes", counts.run_bytes),
        ("other_bytes", counts.other_bytes()),
    ];
    let figures = figures.map(|(name, figure)| (Reply::bulk(name), number(figure)));
    let name = (Reply::bulk("name"), Reply::Bulk(name.clone()));
    Reply::Map(std::iter::once(name).chain(figures).collect())
}

#[cfg(test)]
mod tests {
    use bitroster_command::SpreadKey;

    use super::*;

    fn counts(keys: u64, bytes: u64) -> PrefixCounts {
        PrefixCounts { keys, bytes, ..PrefixCounts::default() }
    }

    fn figure(row: &Reply, wanted: &str) -> Reply {
        let Reply::Map(pairs) = row else { panic!("{row:?} is no map") };
        let found = pairs.iter().find(|(name, _)| *name == Reply::bulk(wanted));
        found.expect("every row has every figure").1.clone()
    }

    /// Name, leaf, keys and bytes of each row.
    fn shown(reply: Reply) -> Vec<(String, i64, i64, i64)> {
        let Reply::Array(rows) = reply else { panic!("{reply:?} is no array") };
        let integer = |row: &Reply, name: &str| match figure(row, name) {
            Reply::Integer(number) => number,
            other => panic!("{name} is {other:?}"),
        };
        let text = |row: &Reply| match figure(row, "name") {
            Reply::Bulk(name) => String::from_utf8(name.to_vec()).expect("names are text here"),
            other => panic!("a name is {other:?}"),
        };
        rows.iter()
            .map(|it| (text(it), integer(it, "leaf"), integer(it, "keys"), integer(it, "bytes")))
            .collect()
    }

    fn row_of(name: &str, counts: PrefixCounts) -> PrefixRow {
        PrefixRow { name: Bytes::copy_from_slice(name.as_bytes()), counts, spread: Vec::new() }
    }

    #[test]
    fn rows_come_by_bytes_and_then_by_name_and_the_rest_is_summed() {
        let mut totals = Totals::default();
        for (name, keys, bytes) in
            [("p:a:", 2, 50), ("p:b", 1, 70), ("p:c", 1, 50), ("p:a:", 3, 20), ("p:gone", 0, 9)]
        {
            totals.add_row(row_of(name, counts(keys, bytes)));
        }
        let rows = shown(totals.into_reply(2, b':', 2));
        let wanted = [("p:a:", 0, 5, 70), ("p:b", 1, 1, 70), ("", 0, 1, 59)];
        assert_eq!(rows, wanted.map(|(name, leaf, keys, n)| (name.to_owned(), leaf, keys, n)));
    }

    #[test]
    fn a_spread_key_is_as_long_as_its_longest_part() {
        let mut totals = Totals::default();
        for (spot, len_bytes) in [(7, 10), (7, 1000), (7, 500), (8, 1)] {
            let mut row = row_of("k:", counts(u64::from(len_bytes == 10), 1));
            row.spread.push(SpreadKey { spot, len_bytes, held_bytes: 1 });
            totals.add_row(row);
        }
        let reply = totals.into_reply(0, b':', 9);
        let Reply::Array(rows) = reply else { panic!("{reply:?} is no array") };
        assert_eq!(figure(&rows[0], "plain_bytes"), Reply::Integer(1001));
    }

    #[test]
    fn of_too_many_names_the_largest_stay_and_no_key_is_lost() {
        let mut totals = Totals::default();
        let names = 2 * PREFIXES_NAMES_KEPT + 1;
        for n in 0..names {
            totals.add_row(row_of(&format!("{n}"), counts(1, n as u64)));
        }
        assert_eq!(totals.names.len(), PREFIXES_NAMES_KEPT);
        let rows = shown(totals.into_reply(0, b':', 3));
        let largest: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
        let wanted = [names - 1, names - 2, names - 3].map(|n| n.to_string());
        assert_eq!(largest[..3], wanted);
        assert_eq!((largest[3], rows.len()), ("", 4));
        let keys: i64 = rows.iter().map(|row| row.2).sum();
        assert_eq!(keys, i64::try_from(names).unwrap());
    }
}
