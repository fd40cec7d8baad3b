//! The operands of expressions, as their homes know them.

use bitroster_bitmap::Bitmap;
use bitroster_command::{Header, Outcome, ReadOp, Reply, SourceRef, Want};
use bitroster_types::{GroupId, Key};

use super::tree::Ask;
use crate::{
    call::{Call, Step, Stop, bitmap_of, count_of, reply_of, unexpected},
    plan::gather,
};

/// Keys whose homes have been asked for their records.
pub(super) struct Operands<'a> {
    pub(super) keys: &'a [Key],
    headers: Vec<Option<Header>>,
}

impl<'a> Operands<'a> {
    /// Asks the homes of all keys, each home once.
    pub(super) async fn open(call: &Call, keys: &'a [Key]) -> Step<Self> {
        Ok(Self { keys, headers: gather::headers(call, keys).await? })
    }

    /// The record of the key of a place.
    pub(super) fn header(&self, place: usize) -> Option<&Header> {
        self.headers[place].as_ref()
    }

    /// The keys of some places at their versions.
    pub(super) fn sources(&self, places: &[usize]) -> Vec<SourceRef> {
        let source = |place: &usize| SourceRef {
            key: self.keys[*place].clone(),
            version: self.header(*place).and_then(|header| header.version),
        };
        places.iter().map(source).collect()
    }

    /// The groups that may hold later segments of the keys of some places, ascending.
    pub(super) fn later_groups(&self, call: &Call, places: &[usize]) -> Vec<GroupId> {
        let width = call.map.width().bytes();
        let mut groups = Vec::new();
        for place in places {
            let Some(header) = self.header(*place) else { continue };
            groups.extend_from_slice(&header.spread);
            if header.len_bytes > width {
                groups.push(call.map.home(&self.keys[*place]));
            }
        }
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Length of the longest of the keys, in bytes.
    pub(super) async fn len_bytes(&self, call: &Call) -> Step<u64> {
        gather::longest(call, self.keys, &self.headers).await
    }

    /// Whether any of the keys exists. One that a first touch has made and not yet filled does not.
    pub(super) async fn any_is_filled(&self, call: &Call) -> Step<bool> {
        for (key, header) in self.present() {
            if gather::is_filled(call, key, header).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether no key has parts outside of its home.
    pub(super) fn are_whole(&self) -> bool {
        self.present().all(|(_, header)| header.spread.is_empty())
    }

    fn present(&self) -> impl Iterator<Item = (&'a Key, &Header)> + '_ {
        let present = |(key, header): (&'a Key, &'_ Option<Header>)| header.as_ref().map(|_| key);
        let keys: Vec<&'a Key> = self.keys.iter().zip(&self.headers).filter_map(present).collect();
        keys.into_iter().zip(self.headers.iter().flatten())
    }

    /// Checks that every version that was read still lives. A key without parts outside of its home
    /// may have none to tell it by: `is_same` says of two of its records, the one that was opened
    /// and the one that there is now, whether what was read of it belongs together.
    pub(super) async fn confirm(
        &self,
        call: &Call,
        is_same: impl Fn(&Header, &Header) -> bool,
    ) -> Step<()> {
        let keys: Vec<Key> = self.present().map(|(key, _)| key.clone()).collect();
        let now = gather::headers(call, &keys).await?;
        for ((_, then), now) in self.present().zip(now) {
            let Some(now) = now else { return Err(Stop::Again) };
            let lives = now.version == then.version && now.len_bytes >= then.len_bytes;
            if !lives || then.spread.is_empty() && !is_same(then, &now) {
                return Err(Stop::Again);
            }
        }
        Ok(())
    }

    /// What homes compute of first segments.
    pub(super) async fn first_segments(&self, call: &Call, asks: &[Ask]) -> Step<Vec<Bitmap>> {
        let range = (0, call.map.width().bits());
        call.inner.metrics.fanned_out(asks.len());
        call.each(asks, |ask| {
            let (formulas, sources) = (vec![ask.formula.clone()], self.sources(&ask.places));
            let op = ReadOp::Evaluate { formulas, sources, range, want: Want::Value };
            async move { bitmap_of(call.ask(ask.home, op).await?) }
        })
        .await
    }
}

/// The numbers in an outcome, as many as were asked for.
pub(super) fn counts_of(outcome: Outcome, len: usize) -> Step<Vec<u64>> {
    match reply_of(outcome)? {
        Reply::Array(items) if items.len() == len => {
            items.into_iter().map(|item| count_of(item.into())).collect()
        }
        reply => Err(unexpected(reply.into())),
    }
}
