//! A new value for a key, visible at once: reserve, stage, publish, activate.
//!
//! Nothing is visible before home publishes. What a plan that stopped had staged is dropped at home
//! after a time-out, and in other groups when the key is written again: they cannot know whether
//! home has published. After that moment the value stands, and what fails is "unknown".

use bitroster_bitmap::Bitmap;
use bitroster_command::{FollowUp, Outcome, Reply, StageFrom, WriteOp};
use bitroster_types::{GroupId, Key, UnixMillis, Version, limits::STAGE_BITS_MAX};

use super::retire;
use crate::call::{Call, Step, Stop, done, unexpected, version_of};

/// A value that is being built.
pub(crate) struct Draft<'a> {
    call: &'a Call,
    key: &'a Key,
    home: GroupId,
    version: Version,
    /// Groups other than home that staged something, ascending.
    spread: Vec<GroupId>,
    /// Home's share, sent with the publication.
    home_share: Vec<StageFrom>,
}

impl<'a> Draft<'a> {
    /// Draws a version from the key's home.
    pub(crate) async fn reserve(call: &'a Call, key: &'a Key) -> Step<Self> {
        let home = call.map.home(key);
        let reserved = call.tell(home, WriteOp::Reserve { key: key.clone() }).await?;
        let version = version_of(reserved)?;
        Ok(Self { call, key, home, version, spread: Vec::new(), home_share: Vec::new() })
    }

    /// Stages a value, each group its segments. Groups without a set bit hold no part.
    pub(crate) async fn stage_value(&mut self, value: &Bitmap) -> Step<()> {
        let map = &self.call.map;
        let mut shares = Vec::new();
        for group in map.groups_of_range(self.key, 0..value.len_bytes() * 8) {
            let owned = |start| map.group_of_bit(self.key, start) == group;
            let share = value.restrict_to(owned, map.width().bits());
            if share.cardinality() > 0 {
                shares.push((group, slices(&share)));
            }
        }
        self.stage(shares).await
    }

    /// Stages what each group is to build; the groups side by side, each in the order given.
    pub(crate) async fn stage(&mut self, shares: Vec<(GroupId, Vec<StageFrom>)>) -> Step<()> {
        let mut away = Vec::new();
        for (group, from) in shares {
            // Small values travel with the publication; they cannot fail by themselves.
            let small = matches!(from.as_slice(), [StageFrom::Value(_)]);
            if group == self.home && small && self.home_share.is_empty() {
                self.home_share = from;
            } else {
                away.push((group, from));
            }
        }
        for (group, _) in &away {
            if *group != self.home
                && let Err(place) = self.spread.binary_search(group)
            {
                self.spread.insert(place, *group);
            }
        }
        let (call, key, version) = (self.call, self.key, self.version);
        call.inner.metrics.fanned_out(away.len());
        call.each(away, |(group, from)| async move {
            for from in from {
                let stage = WriteOp::Stage { key: key.clone(), version, from };
                done(call.tell(group, stage).await?)?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Makes the staged value the key's value and waits until every part shows it.
    pub(crate) async fn publish(self, len_bytes: u64, expiry: Option<UnixMillis>) -> Step<()> {
        let Self { call, key, home, version, spread, home_share } = self;
        if call.has_old_map() {
            // A slot whose share was staged may have moved: nothing is visible yet, so build again.
            return Err(Stop::StaleMap);
        }
        let stage = |from| WriteOp::Stage { key: key.clone(), version, from };
        let mut ops: Vec<WriteOp> = home_share.into_iter().map(stage).collect();
        let (key, groups) = (key.clone(), spread.clone());
        ops.push(WriteOp::Publish { key, version, spread: groups, len_bytes, expiry });
        let mut outcomes = call.tell_all(home, &ops).await?;
        let published = outcomes.pop().expect("as many outcomes as ops");
        let old: Vec<FollowUp> = match published {
            Outcome::Follow { follow, .. } => follow,
            Outcome::Reply(reply) if !reply.is_error() => Vec::new(),
            outcome => return Err(unexpected(outcome)),
        };
        if outcomes.iter().any(|outcome| *outcome != Outcome::Reply(Reply::Ok)) {
            return Err(Stop::Error(call.unknown()));
        }
        let (key, spread) = (self.key, &spread);
        let activated =
            call.attempts(|call| async move { activate(&call, key, version, spread).await });
        activated.await.map_err(|error| call.after_change(error.into()))?;
        retire::follow(call, &old).await
    }
}

/// May be repeated.
async fn activate(call: &Call, key: &Key, version: Version, spread: &[GroupId]) -> Step<()> {
    call.each(spread, |group| async move {
        done(call.tell(*group, WriteOp::Activate { key: key.clone(), version }).await?)
    })
    .await?;
    Ok(())
}

/// A share in pieces that each fit in a log entry.
fn slices(share: &Bitmap) -> Vec<StageFrom> {
    let bits = share.len_bytes() * 8;
    if bits <= STAGE_BITS_MAX {
        return vec![encoded(share)];
    }
    let mut slices = Vec::new();
    let mut start = 0;
    while start < bits {
        let end = start + STAGE_BITS_MAX;
        if share.first_set(start..end).is_some() {
            slices.push(encoded(&share.restrict(start..end)));
        }
        start = end;
    }
    slices
}

/// A bitmap in its codec.
pub(crate) fn encoded(bitmap: &Bitmap) -> StageFrom {
    let mut bytes = Vec::new();
    bitmap.encode(&mut bytes);
    StageFrom::Value(bytes.into())
}
