//! What parts are told after a removal or a new expiry.
//!
//! Home has committed the change and remembers what is left to do; each step may be repeated.

use bitroster_command::{FollowUp, WriteOp};
use bitroster_types::GroupId;

use crate::call::{Call, Step, done};

/// Tells every part and, after removals, lets home forget; again under a newer map where a group
/// says that the plan's is old.
///
/// # Errors
///
/// "Unknown" whatever went wrong: home's change stands and will be finished, but a read of a part
/// may not show it yet.
pub(crate) async fn follow(call: &Call, follow: &[FollowUp]) -> Step<()> {
    let told = call.attempts(|call| async move {
        call.each(follow, |one| tell(&call, one)).await?;
        Ok(())
    });
    told.await.map_err(|error| call.after_change(error.into()))
}

/// May be repeated.
async fn tell(call: &Call, follow: &FollowUp) -> Step<()> {
    match follow {
        FollowUp::Drop { key, version, groups } => {
            let op = WriteOp::Drop { key: key.clone(), version: *version };
            tell_all(call, groups, op).await?;
            let forget = WriteOp::Forget { key: key.clone(), version: *version };
            done(call.tell(call.map.home(key), forget).await?)
        }
        FollowUp::Expiry { key, version, expiry, groups } => {
            let (version, expiry) = (*version, *expiry);
            tell_all(call, groups, WriteOp::SetPartExpiry { key: key.clone(), version, expiry })
                .await
        }
    }
}

/// Commits the same op in every group, side by side.
async fn tell_all(call: &Call, groups: &[GroupId], op: WriteOp) -> Step<()> {
    call.inner.metrics.fanned_out(groups.len());
    let op = &op;
    call.each(groups, |group| async move { done(call.tell(*group, op.clone()).await?) }).await?;
    Ok(())
}
