//! What is left to do of a change when home has decided it: by the plan that made the change, or,
//! if its router has died, by whoever home's leader asks. Every step may be repeated.

use bitroster_command::{Change, Moved, Outcome, Pending, Reply, Seen, WriteOp};
use bitroster_types::{GroupId, Key, Version, planted::Fault};

use super::{gather, publish::hold};
use crate::call::{Call, Step, Stop, done, unexpected};

/// Finishes one thing that home remembers.
pub(crate) async fn finish(call: &Call, pending: &Pending) -> Step<()> {
    match pending {
        Pending::Published { key, version, groups, moved } => {
            published(call, key, *version, groups, moved.as_ref()).await?;
            forget(call, key, *version).await
        }
        Pending::Abandoned { key, version } => {
            abandoned(call, key, *version, &others(call, key)).await
        }
        Pending::Reserved { key, version, .. } => {
            reserved(call, key, *version, &others(call, key)).await
        }
        Pending::Expired { key, version, groups } => {
            tell_all(call, groups, &WriteOp::Drop { key: key.clone(), version: *version }).await?;
            forget(call, key, *version).await
        }
        Pending::Enlisted { key, version, group, .. } => {
            enlisted(call, key, *version).await?;
            let (key, version, group) = (key.clone(), *version, *group);
            let home = call.map.home(&key);
            done(call.tell(home, WriteOp::Settle { key, version, group }).await?)
        }
    }
}

/// Does what was published in the groups that have staged it. Whether `moved` is gone. Home may
/// [forget](forget_aside) it then.
pub(crate) async fn published(
    call: &Call,
    key: &Key,
    version: Version,
    groups: &[GroupId],
    moved: Option<&Moved>,
) -> Step<bool> {
    if !Fault::SkipActivation.is_planted() {
        tell_all(call, groups, &WriteOp::Activate { key: key.clone(), version }).await?;
    }
    match moved {
        Some(moved) => remove(call, moved).await,
        None => Ok(true),
    }
}

/// Takes a reservation back, and what was staged in `groups` for it.
pub(crate) async fn reserved(
    call: &Call,
    key: &Key,
    version: Version,
    groups: &[GroupId],
) -> Step<()> {
    let abandon = WriteOp::Abandon { key: key.clone(), version };
    match call.tell(call.map.home(key), abandon).await? {
        // Published after all: home remembers that, too.
        Outcome::Newer(_) => Ok(()),
        outcome => {
            done(outcome)?;
            abandoned(call, key, version, groups).await
        }
    }
}

async fn abandoned(call: &Call, key: &Key, version: Version, groups: &[GroupId]) -> Step<()> {
    tell_all(call, groups, &WriteOp::Abort { key: key.clone(), version }).await?;
    forget(call, key, version).await
}

/// Removes a record that was made for a first touch which never came: nobody holds anything of it.
async fn enlisted(call: &Call, key: &Key, version: Version) -> Step<()> {
    let header = call.header(key).await?.filter(|header| header.version == Some(version));
    let Some(header) = header else { return Ok(()) };
    if gather::is_filled(call, key, &header).await? {
        return Ok(());
    }
    let held = hold(call, key, &header, None).await?;
    match gather::is_filled(call, key, &held.header).await {
        Ok(false) => {
            let seen = held.seen();
            held.draft.publish_nothing(seen).await
        }
        Ok(true) => {
            held.draft.abandon(Stop::Again).await;
            Ok(())
        }
        Err(stop) => Err(held.draft.abandon(stop).await),
    }
}

/// Publishes the removal of a key that was prepared together with another one's publication,
/// unless the key has changed since. Whether it is gone.
async fn remove(call: &Call, moved: &Moved) -> Step<bool> {
    let publish = WriteOp::Publish {
        key: moved.key.clone(),
        version: moved.version,
        staged: moved.staged.clone(),
        seen: Seen::Unchanged(moved.modified),
        change: Change::Nothing,
    };
    match call.tell(call.map.home(&moved.key), publish).await? {
        Outcome::Reply(Reply::Ok) => {
            let activate = WriteOp::Activate { key: moved.key.clone(), version: moved.version };
            tell_all(call, &moved.staged, &activate).await?;
            forget(call, &moved.key, moved.version).await?;
            Ok(true)
        }
        Outcome::Newer(_) | Outcome::Spread(_) => {
            reserved(call, &moved.key, moved.version, &moved.staged).await?;
            // Somebody else may have removed it, or finished this.
            Ok(call.header(&moved.key).await?.is_none())
        }
        outcome => Err(unexpected(outcome)),
    }
}

/// Has home forget what all groups have confirmed, without waiting for it: nothing shows of it. If
/// it cannot be done now, home's leader does it all again.
pub(crate) async fn forget_aside(call: &Call, key: &Key, version: Version) {
    let (own, key) = (call.clone(), key.clone());
    let forgotten = async move {
        let forget = |call: Call| {
            let key = key.clone();
            async move { forget(&call, &key, version).await }
        };
        if let Err(error) = own.attempts(forget).await {
            tracing::debug!(%error, "what is finished is left to home's leader to forget");
        }
    };
    call.inner.unawaited.run("forget", forgotten).await;
}

/// Lets home forget what all groups have confirmed.
async fn forget(call: &Call, key: &Key, version: Version) -> Step<()> {
    done(call.tell(call.map.home(key), WriteOp::Forget { key: key.clone(), version }).await?)
}

/// All groups but the key's home.
fn others(call: &Call, key: &Key) -> Vec<GroupId> {
    let home = call.map.home(key);
    call.map.groups().iter().copied().filter(|group| *group != home).collect()
}

/// Commits the same op in every group, side by side.
async fn tell_all(call: &Call, groups: &[GroupId], op: &WriteOp) -> Step<()> {
    call.inner.metrics.fanned_out(groups.len());
    call.each(groups, |group| async move { done(call.tell(*group, op.clone()).await?) }).await?;
    Ok(())
}
