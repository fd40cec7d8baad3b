//! A change of a whole key that several groups must see at once: reserve, stage everywhere,
//! publish, activate, forget.
//!
//! Nothing shows before home publishes, and everything does from that entry on: a group that has
//! staged something asks home before it answers for the key's bits. So every group that holds a
//! part has to stage, if only that its part goes; home refuses to publish until it has.
//!
//! What a plan that stopped has staged is taken back by the plan itself, or by home's leader.

use std::future::Future;

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    Change, CommandError, Header, Moved, OpBatch, Outcome, PartQuery, ReadCommand, ReadOp, Reply,
    Seen, StageFrom, WriteOp,
};
use bitroster_types::{
    GroupId, Key, LogIndex, UnixMillis, Version, limits::STAGE_BITS_MAX, planted::Fault,
};
use futures_util::future::join;

use super::{finish, merge};
use crate::call::{Call, Step, Stop, count_of, done, unexpected, version_of};

/// What counts the bits of a whole part.
pub(crate) const COUNT_ALL: PartQuery = PartQuery::Count { start: 0, end: u64::MAX };

/// A change that is being prepared.
pub(crate) struct Draft<'a> {
    call: &'a Call,
    key: &'a Key,
    home: GroupId,
    version: Version,
    expiry: Option<UnixMillis>,
    /// Groups other than home that have staged something, or may have; ascending.
    staged: Vec<GroupId>,
    /// Those of them that have staged bits.
    spread: Vec<GroupId>,
    /// Home's share, sent with the publication.
    home_share: Option<StageFrom>,
    /// What home is asked in the entry that publishes.
    look: Option<ReadOp>,
}

/// A key that is as it was seen as long as its reservation stands.
pub(crate) struct Held<'a> {
    /// The reservation, with every part staged.
    pub(crate) draft: Draft<'a>,
    /// The record, seen after that.
    pub(crate) header: Header,
}

impl Held<'_> {
    /// Checks that nobody has written to the key since the record was seen.
    pub(crate) async fn confirm(&self) -> Step<()> {
        match self.draft.call.header(self.draft.key).await? {
            Some(now) if now.modified == self.header.modified => Ok(()),
            Some(_) | None => Err(Stop::Again),
        }
    }

    /// What the record must be for the change to be published.
    pub(crate) fn seen(&self) -> Seen {
        Seen::Unchanged(self.header.modified)
    }
}

/// Prepares a change of a key that depends on all of its value: whoever writes to the key in the
/// meantime takes the reservation back. `expiry` is what the parts are to expire at; without it
/// they go.
pub(crate) async fn hold<'a>(
    call: &'a Call,
    key: &'a Key,
    header: &Header,
    expiry: Option<Option<UnixMillis>>,
) -> Step<Held<'a>> {
    let mut draft = Draft::reserve(call, key, true).await?;
    match draft.hold(header, expiry).await {
        Ok(header) => Ok(Held { draft, header }),
        Err(stop) => Err(draft.abandon(stop).await),
    }
}

impl<'a> Draft<'a> {
    /// Draws a version from the key's home.
    pub(crate) async fn reserve(call: &'a Call, key: &'a Key, exclusive: bool) -> Step<Self> {
        let home = call.map.home(key);
        let reserve = WriteOp::Reserve { key: key.clone(), exclusive };
        let version = version_of(call.tell(home, reserve).await?)?;
        let (staged, spread) = (Vec::new(), Vec::new());
        let (expiry, home_share, look) = (None, None, None);
        Ok(Self { call, key, home, version, expiry, staged, spread, home_share, look })
    }

    /// When the value that is staged from now on expires.
    pub(crate) fn set_expiry(&mut self, expiry: Option<UnixMillis>) {
        self.expiry = expiry;
    }

    async fn hold(&mut self, header: &Header, expiry: Option<Option<UnixMillis>>) -> Step<Header> {
        match expiry {
            Some(expiry) => {
                self.expiry = expiry;
                self.seal_expiry(header).await?;
            }
            None => self.seal(&header.spread).await?,
        }
        let now = self.call.header(self.key).await?.ok_or(Stop::Again)?;
        let is_held = now.spread.iter().all(|group| self.staged.contains(group));
        if is_held && now.version == header.version { Ok(now) } else { Err(Stop::Again) }
    }

    /// Stages in these groups that their parts go.
    pub(crate) async fn seal(&mut self, groups: &[GroupId]) -> Step<()> {
        self.stage_parts(groups, &StageFrom::Void).await
    }

    /// Stages in these groups that their parts expire with the draft's expiry.
    pub(crate) async fn seal_expiry(&mut self, header: &Header) -> Step<()> {
        let Some(of) = header.version else { return Ok(()) };
        self.stage_parts(&header.spread, &StageFrom::Expiry { of }).await
    }

    /// Stages the same in those of these groups that have staged nothing.
    async fn stage_parts(&mut self, groups: &[GroupId], from: &StageFrom) -> Step<()> {
        let mut shares = Vec::new();
        for group in groups {
            if insert(&mut self.staged, *group) {
                shares.push((*group, vec![from.clone()]));
            }
        }
        if Fault::SkipSeal.is_planted() {
            return Ok(());
        }
        self.send(shares).await
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

    /// Stages what each group is to build.
    pub(crate) async fn stage(&mut self, shares: Vec<(GroupId, Vec<StageFrom>)>) -> Step<()> {
        let mut away = Vec::new();
        for (group, mut from) in shares {
            // Small values travel with the publication; they cannot fail by themselves.
            let small = matches!(from.as_slice(), [StageFrom::Value(_)]);
            if group == self.home && small && self.home_share.is_none() {
                self.home_share = from.pop();
            } else {
                away.push((group, from));
            }
        }
        for (group, _) in away.iter().filter(|(group, _)| *group != self.home) {
            insert(&mut self.staged, *group);
            insert(&mut self.spread, *group);
        }
        self.send(away).await
    }

    /// Has groups stage something: side by side, each in the order given.
    async fn send(&self, shares: Vec<(GroupId, Vec<StageFrom>)>) -> Step<()> {
        let (call, key, version, expiry) = (self.call, self.key, self.version, self.expiry);
        call.inner.metrics.fanned_out(shares.len());
        call.each(shares, |(group, from)| async move {
            for from in from {
                let stage = WriteOp::Stage { key: key.clone(), version, expiry, from };
                done(call.tell(group, stage).await?)?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Makes the staged value the key's value. Whether `moved` is gone too.
    pub(crate) async fn publish_value(
        self,
        seen: Seen,
        len_bytes: u64,
        moved: Option<Moved>,
    ) -> Step<bool> {
        let (spread, expiry) = (self.spread.clone(), self.expiry);
        self.publish(seen, Change::Value { spread, len_bytes, expiry, moved }).await
    }

    /// As [`publish_value`](Self::publish_value): how many bits home's share had when it showed.
    pub(crate) async fn publish_counted(mut self, seen: Seen, len_bytes: u64) -> Step<u64> {
        let version = (!self.spread.is_empty()).then_some(self.version);
        let count = ReadOp::Part { key: self.key.clone(), version, query: COUNT_ALL };
        self.look = Some(count);
        let (spread, expiry) = (self.spread.clone(), self.expiry);
        let change = Change::Value { spread, len_bytes, expiry, moved: None };
        let (call, key) = (self.call, self.key);
        let looked = self.commit_or_abandon(seen, &change).await?;
        self.finish(&change).await?;
        match looked.map(count_of) {
            Some(Ok(count)) => Ok(count),
            Some(Err(_)) | None => {
                let count = ReadCommand::BitCount { key: key.clone(), range: None };
                let count = call.complete_read(&count).await;
                let count = count.map_err(|error| call.after_change(error.into()))?;
                count_of(count.into()).map_err(|stop| call.after_change(stop))
            }
        }
    }

    /// The version that is being prepared.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The groups other than home that have staged bits, ascending.
    pub(crate) fn spread(&self) -> &[GroupId] {
        &self.spread
    }

    /// Makes an end of the key.
    pub(crate) async fn publish_nothing(self, seen: Seen) -> Step<()> {
        self.publish(seen, Change::Nothing).await.map(drop)
    }

    /// Gives the key the draft's expiry.
    pub(crate) async fn publish_expiry(self, seen: Seen) -> Step<()> {
        let expiry = self.expiry;
        self.publish(seen, Change::Expiry(expiry)).await.map(drop)
    }

    /// What remains to be done about the key when another one is published.
    pub(crate) fn to_moved(&self, modified: LogIndex) -> Moved {
        let (key, version, staged) = (self.key.clone(), self.version, self.staged.clone());
        Moved { key, version, staged, modified }
    }

    /// Publishes the change and waits until every group has activated it. What cannot be activated
    /// now is left to home's leader: the change shows all the same.
    async fn publish(mut self, seen: Seen, change: Change) -> Step<bool> {
        self.commit_or_abandon(seen, &change).await?;
        self.finish(&change).await
    }

    async fn commit_or_abandon(&mut self, seen: Seen, change: &Change) -> Step<Option<Outcome>> {
        match self.commit(seen, change).await {
            Ok(looked) => Ok(looked),
            // It may have been published: home's leader finds out.
            Err(stop @ Stop::Error(CommandError::OutcomeUnknown { .. })) => Err(stop),
            Err(stop) => Err(self.abandon(stop).await),
        }
    }

    /// Waits until every group has activated what is published.
    async fn finish(&self, change: &Change) -> Step<bool> {
        let moved = match change {
            Change::Value { moved, .. } => moved.as_ref(),
            Change::Nothing | Change::Expiry(_) => None,
        };
        if self.staged.is_empty() && moved.is_none() {
            return Ok(true);
        }
        let (key, version, staged) = (self.key, self.version, &self.staged);
        let finished = self.call.attempts(|call| async move {
            finish::published(&call, key, version, staged, moved).await
        });
        match finished.await {
            Ok(is_gone) => {
                finish::forget_aside(self.call, key, version).await;
                Ok(is_gone)
            }
            Err(error) if moved.is_some() => Err(self.call.after_change(error.into())),
            Err(error) => {
                tracing::debug!(%error, "a change is published and not active everywhere yet");
                Ok(true)
            }
        }
    }

    /// Publishes, after staging what home finds missing. Gives back what was looked at on the way.
    async fn commit(&mut self, seen: Seen, change: &Change) -> Step<Option<Outcome>> {
        loop {
            if self.call.has_old_map() {
                // A slot whose share was staged may have moved: nothing shows yet, so begin again.
                return Err(Stop::StaleMap);
            }
            let (version, expiry, staged) = (self.version, self.expiry, self.staged.clone());
            let share = self.home_share.take();
            let mut ops = OpBatch::default();
            if let Some(from) = share {
                let key = self.key.clone();
                ops.push_write(&WriteOp::Stage { key, version, expiry, from });
            }
            let (key, change_now) = (self.key.clone(), change.clone());
            ops.push_write(&WriteOp::Publish { key, version, staged, seen, change: change_now });
            if let Some(look) = &self.look {
                ops.push_read(look);
            }
            let mut outcomes = self.call.tell_batch(self.home, ops).await?;
            let looked = if self.look.is_some() { outcomes.pop() } else { None };
            let published = outcomes.pop().expect("as many outcomes as ops");
            if let Some(refused) =
                outcomes.into_iter().find(|outcome| *outcome != Outcome::Reply(Reply::Ok))
            {
                // The publication, had it been done, would lack home's share.
                return match published {
                    Outcome::Reply(Reply::Ok) => Err(Stop::Error(self.call.unknown())),
                    _ => Err(unexpected(refused)),
                };
            }
            let header = match published {
                Outcome::Reply(Reply::Ok) => return Ok(looked),
                Outcome::Spread(header) => header,
                outcome => return Err(unexpected(outcome)),
            };
            let known = self.staged.len();
            let sealed = match change {
                Change::Value { .. } | Change::Nothing => self.seal(&header.spread).await,
                Change::Expiry(_) => self.seal_expiry(&header).await,
            };
            match sealed {
                // Nothing is published, whatever became of the stage.
                Err(Stop::Error(CommandError::OutcomeUnknown { .. })) => return Err(Stop::Again),
                sealed => sealed?,
            }
            if self.staged.len() == known {
                return Err(Stop::Again);
            }
        }
    }

    /// Takes everything back, as far as that can be done now. Gives back why.
    pub(crate) async fn abandon(&self, why: Stop) -> Stop {
        let left = finish::reserved(self.call, self.key, self.version, &self.staged).await;
        if let Err(stop) = left {
            tracing::debug!(?stop, "what was staged is left to home's leader");
        }
        why
    }
}

/// Makes a value the key's.
pub(crate) async fn publish(mut draft: Draft<'_>, seen: Seen, value: &Bitmap) -> Step<()> {
    match draft.stage_value(value).await {
        Ok(()) => draft.publish_value(seen, value.len_bytes(), None).await.map(drop),
        Err(stop) => Err(draft.abandon(stop).await),
    }
}

/// Looks at something while a version is being drawn. Where the look fails nothing is left of it.
pub(crate) async fn beside<'a, T>(
    look: impl Future<Output = Step<T>>,
    reserved: impl Future<Output = Step<Draft<'a>>>,
) -> Step<(T, Draft<'a>)> {
    match join(look, reserved).await {
        (Ok(seen), Ok(draft)) => Ok((seen, draft)),
        (Err(stop), Ok(draft)) => Err(draft.abandon(stop).await),
        (Ok(_) | Err(_), Err(stop)) => Err(stop),
    }
}

/// Whether the group was not there.
fn insert(groups: &mut Vec<GroupId>, group: GroupId) -> bool {
    let place = groups.binary_search(&group);
    if let Err(place) = place {
        groups.insert(place, group);
    }
    place.is_err()
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
    StageFrom::Value(merge::encoded(bitmap))
}
