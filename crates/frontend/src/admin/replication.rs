//! ROLE, WAIT and WAITAOF: what replication means to a client that takes the cluster for one
//! server.
//!
//! A write is acknowledged when a majority of its group's replicas has it on disk. So the answers
//! are the same at once and for ever, and no timeout is ever waited for.

use bitroster_command::{CommandError, Reply};
use bytes::Bytes;

use super::{integer, utf8, wrong_arity};
use crate::{ClusterView, server::Shared};

/// ROLE: a master. Where its replicas are is not said: clients would connect to them.
pub(super) fn role(view: &ClusterView) -> Reply {
    let applied = integer(view.applied_entries);
    Reply::Array(vec![Reply::bulk("master"), Reply::Integer(applied), Reply::Array(Vec::new())])
}

/// WAIT: how many replicas beside one have every acknowledged write, at least.
pub(crate) fn wait(shared: &Shared) -> Reply {
    Reply::Integer(integer(shared.status.cluster().replicas_beside_one()))
}

/// WAITAOF: on how many disks every acknowledged write is, at least.
pub(super) fn wait_disks(shared: &Shared, args: &[Bytes]) -> Result<Reply, CommandError> {
    let settings = shared.status.settings();
    let is_synced =
        settings.iter().any(|(name, value)| *name == "appendfsync" && value == "always");
    disks(&shared.status.cluster(), is_synced, args)
}

/// `WAITAOF numlocal numreplicas timeout`: one disk, and the others of a majority; none where the
/// log is not synced before the answer.
fn disks(view: &ClusterView, is_synced: bool, args: &[Bytes]) -> Result<Reply, CommandError> {
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
    let (local, replicas) = if is_synced { (1, view.replicas_beside_one()) } else { (0, 0) };
    Ok(Reply::Array(vec![Reply::Integer(local), Reply::Integer(integer(replicas))]))
}

#[cfg(test)]
mod tests {
    use bitroster_types::{GroupId, NodeId};

    use super::*;
    use crate::GroupView;

    fn three_replicas() -> ClusterView {
        let voters = [1, 2, 3].map(NodeId).into();
        let group = GroupView { id: GroupId(1), leader: None, voters };
        ClusterView { groups: vec![group], applied_entries: 7, ..ClusterView::default() }
    }

    #[test]
    fn the_role_is_that_of_a_master_without_replicas() {
        let rows = vec![Reply::bulk("master"), Reply::Integer(7), Reply::Array(Vec::new())];
        assert_eq!(role(&three_replicas()), Reply::Array(rows));
    }

    #[test]
    fn disks_are_claimed_only_where_the_log_is_synced() {
        let ask = |is_synced, args: &[&'static str]| {
            let args: Vec<Bytes> =
                args.iter().copied().map(|arg| Bytes::from_static(arg.as_bytes())).collect();
            disks(&three_replicas(), is_synced, &args)
        };
        let pair = |local, replicas| {
            Ok(Reply::Array(vec![Reply::Integer(local), Reply::Integer(replicas)]))
        };
        assert_eq!(ask(true, &["1", "2", "0"]), pair(1, 1));
        assert_eq!(ask(false, &["1", "2", "0"]), pair(0, 0));
        assert_eq!(ask(true, &["x", "2", "0"]), Err(CommandError::NotAnInteger));
        assert_eq!(ask(true, &["1", "2"]), Err(wrong_arity("waitaof")));
        assert!(ask(true, &["2", "1", "0"]).is_err());
        assert!(ask(true, &["1", "-1", "0"]).is_err());
        assert!(ask(true, &["1", "1", "-1"]).is_err());
    }
}
