//! ROLE, WAIT and WAITAOF: what replication means to a client that takes the cluster for one
//! server.
//!
//! A write is acknowledged when a majority of its group's replicas has it on disk. So the answers
//! are the same at once and for ever, and no timeout is ever waited for.

use bitroster_command::{CommandError, Reply};
use bytes::Bytes;

use super::{integer, utf8, wrong_arity};
use crate::server::Shared;

/// ROLE: a master. Where its replicas are is not said: clients would connect to them.
pub(super) fn role(shared: &Shared) -> Reply {
    let applied = integer(shared.status.cluster().applied_entries);
    Reply::Array(vec![Reply::bulk("master"), Reply::Integer(applied), Reply::Array(Vec::new())])
}

/// WAIT: how many replicas beside one have every acknowledged write, at least.
pub(crate) fn wait(shared: &Shared) -> Reply {
    Reply::Integer(integer(shared.status.cluster().replicas_beside_one()))
}

/// `WAITAOF numlocal numreplicas timeout`: on how many disks every acknowledged write is, at least:
/// one, and the others of a majority. None where the log is not synced before the answer.
pub(super) fn wait_disks(shared: &Shared, args: &[Bytes]) -> Result<Reply, CommandError> {
    let [local, replicas, timeout] = args else { return Err(wrong_arity("waitaof")) };
    let number = |arg: &Bytes| utf8(arg).parse::<i64>().map_err(|_| CommandError::NotAnInteger);
    let (local, replicas, timeout) = (number(local)?, number(replicas)?, number(timeout)?);
    if !(0..=1).contains(&local) {
        return Err(CommandError::Text("ERR value is out of range, must be between 0 and 1"));
    }
    if replicas < 0 {
        return Err(CommandError::Text("ERR value is out of range, must be positive"));
    }
    if timeout < 0 {
        return Err(CommandError::Text("ERR timeout is negative"));
    }
    let settings = shared.status.settings();
    let is_synced =
        settings.iter().any(|(name, value)| *name == "appendfsync" && value == "always");
    let disks = if is_synced { (1, shared.status.cluster().replicas_beside_one()) } else { (0, 0) };
    Ok(Reply::Array(vec![Reply::Integer(disks.0), Reply::Integer(integer(disks.1))]))
}
