//! WATCH and EXEC.
//!
//! Commands that lie in one group run as one log entry, watches included: atomic and isolated.
//! Otherwise the watches are checked and the commands run in order: atomic per group, not isolated
//! across groups.

use bitroster_command::{Command, Op, Outcome, Reply, WriteCommand, WriteOp};
use bitroster_types::{GroupId, Key};

use super::{gather, write::mark};
use crate::{
    call::{Call, Step, Stop, unexpected},
    route,
    router::Watched,
};

/// Notes when a key was last changed, in every group that holds some of it.
pub(crate) async fn watch(call: &Call, key: &Key) -> Step<Watched> {
    let groups = match call.header(key).await? {
        Some(header) => gather::members(call, key, &header),
        None => vec![call.map.home(key)],
    };
    let marks = call
        .each(groups, |group| async move { Ok((group, mark(call, group, key).await?)) })
        .await?;
    Ok(Watched { key: key.clone(), marks, epoch: call.map.epoch() })
}

/// Runs the commands if no watched key has changed.
pub(crate) async fn run(call: &Call, watched: &[Watched], commands: &[Command]) -> Step<Reply> {
    if watched.iter().any(|watched| has_moved(call, watched)) {
        return Ok(Reply::NilArray);
    }
    if let Some(group) = sole_group(call, watched, commands).await? {
        let watches = watched
            .iter()
            .flat_map(|watched| watched.marks.iter().map(|(_, mark)| (watched.key.clone(), *mark)))
            .collect();
        let ops = commands.iter().filter_map(op_of).collect();
        match call.tell(group, WriteOp::Transaction { watches, ops }).await? {
            Outcome::Replies(replies) => return Ok(Reply::Array(replies)),
            Outcome::Reply(reply) => return Ok(reply),
            Outcome::Spread(_) | Outcome::AskHome => {}
            outcome => return Err(unexpected(outcome)),
        }
    }
    run_in_order(call, watched, commands).await
}

/// Whether bits of a watched key may lie elsewhere now, where its marks say nothing of them.
fn has_moved(call: &Call, watched: &Watched) -> bool {
    let home = Some(call.map.home(&watched.key));
    let moved = watched.marks.first().map(|(group, _)| *group) != home;
    // Where parts are is known for the watch's own map only.
    moved || watched.marks.len() > 1 && watched.epoch != call.map.epoch()
}

async fn run_in_order(call: &Call, watched: &[Watched], commands: &[Command]) -> Step<Reply> {
    let marks = watched.iter().flat_map(|watched| {
        watched.marks.iter().map(|(group, then)| (&watched.key, *group, *then))
    });
    let unchanged = call
        .each(marks, |(key, group, then)| async move { Ok(mark(call, group, key).await? == then) })
        .await?;
    if unchanged.contains(&false) {
        return Ok(Reply::NilArray);
    }
    let mut replies = Vec::with_capacity(commands.len());
    for command in commands {
        replies.push(call.complete(command).await);
    }
    Ok(Reply::Array(replies))
}

/// The group that may do all of it, or `None` where several are needed.
async fn sole_group(
    call: &Call,
    watched: &[Watched],
    commands: &[Command],
) -> Step<Option<GroupId>> {
    let mut sole = None;
    let marked = watched.iter().flat_map(|watched| watched.marks.iter().map(|(group, _)| *group));
    for group in marked {
        if *sole.get_or_insert(group) != group {
            return Ok(None);
        }
    }
    for command in commands {
        let Some(group) = group_of(call, command).await? else {
            return Ok(None);
        };
        if *sole.get_or_insert(group) != group {
            return Ok(None);
        }
    }
    Ok(sole)
}

async fn group_of(call: &Call, command: &Command) -> Step<Option<GroupId>> {
    let group = match command {
        Command::Read(read) => route::of_read(&call.map, read),
        // Home alone knows the length of the whole key, and only where nothing is spread.
        Command::Write(WriteCommand::SetRange { key, offset, value })
            if route::sole(&call.map).is_none() =>
        {
            let home = call.map.home(key);
            let fits = offset + value.len() as u64 <= call.map.width().bytes();
            let whole = fits && call.header(key).await?.is_none_or(|now| now.spread.is_empty());
            return Ok(whole.then_some(home));
        }
        Command::Write(write) => route::of_write(&call.map, write),
        Command::Composite(_) => None,
        Command::Session(_) => return Err(Stop::Again),
    };
    Ok(group.map(|(group, _)| group))
}

fn op_of(command: &Command) -> Option<Op> {
    match command {
        Command::Read(read) => Some(read.clone().into()),
        Command::Write(write) => Some(write.clone().into()),
        Command::Composite(_) | Command::Session(_) => None,
    }
}
