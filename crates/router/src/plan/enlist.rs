//! The first touch of a segment: a group that is to hold a part of a key, or is in doubt about the
//! one it holds, needs home's leave.

use std::collections::BTreeMap;

use bitroster_command::{Grant, MergeMode, Outcome, Reply, WriteCommand, WriteOp};
use bitroster_types::{GroupId, Key};

use crate::call::{Answer, Call, Step, Stop, answer, grant_of};

/// Gets leave for `group` and does the write there.
pub(crate) async fn write(call: &Call, group: GroupId, command: &WriteCommand) -> Step<Reply> {
    let Some(key) = key_of(command) else {
        return Err(Stop::Again);
    };
    if only_clears(command) && !holds(call, group, key).await? {
        return Ok(Reply::Integer(0));
    }
    let enlist = WriteOp::Enlist { key: key.clone(), group };
    let grant = grant_of(call.tell(call.map.home(key), enlist).await?)?;
    let outcome = call.tell(group, WriteOp::Granted { grant, command: command.clone() }).await?;
    match answer(outcome)? {
        Answer::Done(reply) => Ok(reply),
        Answer::AskHome | Answer::Spread => Err(Stop::Again),
    }
}

/// Gets leave for all of these writes in one round and does them in a second, in their order
/// within each group. `None` for a write that was not done and is to be run by itself, as is one
/// that only clears.
pub(crate) async fn write_all(
    call: &Call,
    writes: Vec<(GroupId, &WriteCommand)>,
) -> Vec<Option<Reply>> {
    let mut replies: Vec<Option<Reply>> = writes.iter().map(|_| None).collect();
    let mut routed = Vec::new();
    for (place, (group, command)) in writes.into_iter().enumerate() {
        if let Some(key) = key_of(command).filter(|_| !only_clears(command)) {
            routed.push((place, group, key, command));
        }
    }
    let wanted = routed.iter().map(|(_, group, key, _)| (*key, *group)).collect();
    let grants = grants(call, wanted).await;
    let mut batches: BTreeMap<GroupId, (Vec<usize>, Vec<WriteOp>)> = BTreeMap::new();
    for (place, group, key, command) in routed {
        if let Some(grant) = grants.get(&(key, group)) {
            let (places, ops) = batches.entry(group).or_default();
            places.push(place);
            ops.push(WriteOp::Granted { grant: *grant, command: command.clone() });
        }
    }
    let sent = call
        .each(batches, |(group, (places, ops))| async move {
            Ok((places, call.tell_all(group, &ops).await))
        })
        .await;
    for (places, outcomes) in sent.unwrap_or_default() {
        match outcomes {
            Ok(outcomes) => {
                for (place, outcome) in places.into_iter().zip(outcomes) {
                    if let Outcome::Reply(reply) = outcome {
                        replies[place] = Some(reply);
                    }
                }
            }
            Err(Stop::Error(error)) => {
                for place in places {
                    replies[place] = Some(error.clone().into());
                }
            }
            // Nothing was applied.
            Err(Stop::Again | Stop::NotOwner | Stop::StaleMap) => {}
        }
    }
    replies
}

/// Whether a write has nothing to do where there are no bits: nobody need be enlisted for it.
pub(super) fn only_clears(command: &WriteCommand) -> bool {
    matches!(command, WriteCommand::Merge { mode: MergeMode::AndNot, .. })
}

/// Whether home knows of a part of the key in a group.
async fn holds(call: &Call, group: GroupId, key: &Key) -> Step<bool> {
    let header = call.header(key).await?;
    Ok(header.is_some_and(|header| header.spread.contains(&group)))
}

/// Asks the homes for leave, each home once; what is refused is left out.
async fn grants<'a>(
    call: &Call,
    mut wanted: Vec<(&'a Key, GroupId)>,
) -> BTreeMap<(&'a Key, GroupId), Grant> {
    wanted.sort_unstable();
    wanted.dedup();
    let mut homes: BTreeMap<GroupId, Vec<(&'a Key, GroupId)>> = BTreeMap::new();
    for (key, group) in wanted {
        homes.entry(call.map.home(key)).or_default().push((key, group));
    }
    let asked = call
        .each(homes, |(home, wanted)| async move {
            let ops: Vec<WriteOp> = wanted
                .iter()
                .map(|(key, group)| WriteOp::Enlist { key: (*key).clone(), group: *group })
                .collect();
            let outcomes = call.tell_all(home, &ops).await.unwrap_or_default();
            Ok(wanted.into_iter().zip(outcomes).collect::<Vec<_>>())
        })
        .await;
    let mut grants = BTreeMap::new();
    for (wanted, outcome) in asked.unwrap_or_default().into_iter().flatten() {
        if let Outcome::Granted(grant) = outcome {
            grants.insert(wanted, grant);
        }
    }
    grants
}

/// The key of a write of bits.
fn key_of(command: &WriteCommand) -> Option<&Key> {
    match command {
        WriteCommand::SetBit { key, .. }
        | WriteCommand::BitField { key, .. }
        | WriteCommand::Merge { key, .. }
        | WriteCommand::Touch { key, .. }
        | WriteCommand::SetRange { key, .. } => Some(key),
        WriteCommand::BitOp { .. }
        | WriteCommand::Set { .. }
        | WriteCommand::GetDel { .. }
        | WriteCommand::GetEx { .. }
        | WriteCommand::MSet { .. }
        | WriteCommand::Append { .. }
        | WriteCommand::IncrBy { .. }
        | WriteCommand::Delete { .. }
        | WriteCommand::Expire { .. }
        | WriteCommand::Persist { .. }
        | WriteCommand::Rename { .. }
        | WriteCommand::Copy { .. }
        | WriteCommand::Restore { .. }
        | WriteCommand::AssignIds { .. }
        | WriteCommand::DropSpace { .. }
        | WriteCommand::Flush => None,
    }
}
