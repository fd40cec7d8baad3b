use std::collections::BTreeMap;

use bitroster_types::{
    ClusterId, GroupId, NodeId, SegmentWidth,
    limits::{USER_NAME_BYTES_MAX, USER_RULES_BYTES_MAX},
};

use super::{ChangeError, ClusterState, Founding, Member, Users, users};

fn founding(nodes: u64, groups: u16) -> Founding {
    let member = |node| Member {
        node: NodeId(node),
        token: 100 + node,
        address: format!("10.0.0.{node}:7380"),
    };
    Founding {
        cluster: ClusterId(7),
        members: (1..=nodes).map(member).collect(),
        groups,
        replicas: 3,
        width: SegmentWidth::DEFAULT,
    }
}

fn state(nodes: u64, groups: u16) -> ClusterState {
    ClusterState::found(&founding(nodes, groups))
}

/// Replicas and leads of data groups by node.
fn loads(state: &ClusterState) -> BTreeMap<NodeId, (usize, usize)> {
    let mut loads: BTreeMap<_, _> = state.nodes.keys().map(|id| (*id, (0, 0))).collect();
    for group in state.map.groups() {
        for node in state.members(*group).values() {
            loads.entry(*node).or_default().0 += 1;
        }
        loads.entry(state.preferred(*group).unwrap().node).or_default().1 += 1;
    }
    loads
}

/// No group has two replicas on a node, and none lost one.
fn check(state: &ClusterState, replicas: usize) {
    for group in state.map.groups() {
        let members = state.members(*group);
        assert_eq!(members.len(), replicas, "group {group}");
        let mut nodes: Vec<_> = members.values().collect();
        nodes.sort_unstable();
        nodes.dedup();
        assert_eq!(nodes.len(), replicas, "group {group}");
    }
}

fn settled(state: &ClusterState) -> ClusterState {
    let groups: Vec<GroupId> = state.groups.keys().copied().collect();
    let mut state = state.clone();
    for group in groups {
        if let Some(changed) = state.settle(group) {
            state = changed.state;
        }
    }
    state
}

#[test]
fn a_new_cluster_spreads_replicas_and_leaders_evenly() {
    for (nodes, groups) in [(1, 4), (2, 3), (3, 3), (3, 8), (5, 7), (7, 16)] {
        let state = state(nodes, groups);
        check(&state, 3.min(usize::try_from(nodes).unwrap()));
        let loads = loads(&state);
        let spread = |field: fn(&(usize, usize)) -> usize| {
            let most = loads.values().map(field).max().unwrap();
            most - loads.values().map(field).min().unwrap()
        };
        assert!(spread(|load| load.0) <= 1 + usize::from(nodes > 3), "{loads:?}");
        assert!(spread(|load| load.1) <= 1, "{loads:?}");
    }
    let meta = |nodes| state(nodes, 1).members(GroupId::META).len();
    assert_eq!([1, 2, 3, 4, 5, 6].map(meta), [1, 2, 3, 3, 5, 5]);
}

#[test]
fn replicas_are_numbered_once() {
    let state = state(3, 8);
    let mut ids: Vec<_> = state.groups.values().flatten().map(|replica| replica.id).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn a_state_comes_back_as_it_was_and_damage_is_told() {
    let (_, changed) = state(3, 8).join(9, "h:1");
    let state = changed.unwrap().state.rebalance().unwrap().state;
    let bytes = state.encode();
    assert_eq!(ClusterState::decode(&bytes).unwrap(), state);
    for at in (0..bytes.len()).step_by(97).chain(0..64) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(ClusterState::decode(&damaged).is_err(), "byte {at}");
        assert!(ClusterState::decode(&bytes[..at]).is_err(), "cut to {at}");
    }
    let founding = founding(3, 8);
    assert_eq!(Founding::decode(&founding.encode()).unwrap(), founding);
}

#[test]
fn a_node_that_joins_gets_a_number_once() {
    let first = state(3, 4);
    let (id, changed) = first.join(55, "10.0.0.9:7380");
    assert_eq!(id, NodeId(4));
    let second = changed.unwrap().state;
    assert_eq!(second.join(55, "10.0.0.9:7380"), (NodeId(4), None));
    let (id, moved) = second.join(55, "10.0.0.10:7380");
    assert_eq!((id, moved.unwrap().state.address(NodeId(4))), (NodeId(4), Some("10.0.0.10:7380")));
}

#[test]
fn a_joined_node_gets_its_share_by_rebalancing() {
    let joined = state(3, 8).join(55, "10.0.0.9:7380").1.unwrap().state;
    let planned = joined.rebalance().unwrap().state;
    check(&planned, 3);
    let even = settled(&planned);
    let loads = loads(&even);
    assert!(loads.values().all(|(replicas, leads)| *replicas == 6 && *leads == 2), "{loads:?}");
    assert_eq!(even.rebalance(), None);
}

#[test]
fn a_node_at_a_lost_ones_address_takes_its_replicas() {
    let first = state(3, 4);
    let (id, changed) = first.join(77, "10.0.0.2:7380");
    let state = changed.unwrap().state;
    check(&state, 3);
    assert!(state.nodes[&NodeId(2)].leaving);
    for group in state.groups.keys() {
        assert!(state.members(*group).values().any(|node| *node == id), "group {group}");
        assert!(state.members(*group).values().all(|node| *node != NodeId(2)), "group {group}");
    }
    let state = settled(&state);
    assert!(!state.nodes.contains_key(&NodeId(2)));
    check(&state, 3);
}

#[test]
fn a_node_is_removed_only_where_others_can_take_its_replicas() {
    let three = state(3, 4);
    assert!(matches!(three.remove(NodeId(1)), Err(ChangeError::NoRoom { .. })));
    assert_eq!(three.remove(NodeId(9)), Err(ChangeError::NoNode(NodeId(9))));
    let four = three.join(55, "10.0.0.9:7380").1.unwrap().state;
    let removing = four.remove(NodeId(1)).unwrap().state;
    assert_eq!(removing.remove(NodeId(1)), Err(ChangeError::Leaving(NodeId(1))));
    check(&removing, 3);
    let removed = settled(&removing);
    assert!(!removed.nodes.contains_key(&NodeId(1)));
    check(&removed, 3);
    assert_eq!(removed.members(GroupId::META).len(), 3);
    let with = four.replace(NodeId(2), Some(NodeId(4))).unwrap().state;
    assert!(
        with.groups
            .keys()
            .all(|group| { with.members(*group).values().all(|node| *node != NodeId(2)) })
    );
}

#[test]
fn only_founding_members_have_founders() {
    let state = state(3, 2);
    let replica = state.replicas(GroupId(1))[0];
    assert_eq!(state.founders(GroupId(1), replica.id).len(), 3);
    let replaced = state.join(5, "10.0.0.1:7380").1.unwrap().state;
    let new = replaced.preferred(GroupId(1)).unwrap();
    assert_ne!(new.id, replica.id);
    assert!(replaced.founders(GroupId(1), new.id).is_empty());
    assert_eq!(replaced.founders(GroupId(1), replica.id), state.founders(GroupId(1), replica.id));
}

fn named(list: &[(&str, &str)]) -> Users {
    list.iter().map(|(name, rules)| (name.as_bytes().to_vec(), rules.as_bytes().to_vec())).collect()
}

#[test]
fn users_are_changed_as_a_whole_and_come_back_from_bytes() {
    let first = state(3, 2);
    assert_eq!(first.set_users(Users::new()), Ok(None));
    let two = named(&[("alice", "on ~a*"), ("bob", "off")]);
    let changed = first.set_users(two.clone()).unwrap().unwrap();
    assert_eq!(changed.lines, ["user 'alice' is made", "user 'bob' is made"]);
    let second = changed.state;
    assert_eq!((second.revision, &*second.users), (first.revision + 1, &two));
    assert_eq!(second.set_users(two.clone()), Ok(None));
    let changed = second.set_users(named(&[("alice", "on ~b*")])).unwrap().unwrap();
    assert_eq!(changed.lines, ["user 'bob' is deleted", "user 'alice' is changed"]);
    let bytes = second.encode();
    assert_eq!(ClusterState::decode(&bytes).unwrap(), second);
    for at in (0..bytes.len()).step_by(89).chain(bytes.len() - 60..bytes.len()) {
        assert!(ClusterState::decode(&bytes[..at]).is_err(), "cut to {at}");
    }
    // Other changes keep them.
    let joined = second.join(55, "10.0.0.9:7380").1.unwrap().state;
    assert_eq!(*joined.users, two);
    assert_eq!(users::decode(&users::encode(7, &two)).unwrap(), (7, two));
}

#[test]
fn a_state_of_the_form_without_users_is_read() {
    let bytes = state(3, 2).encode();
    assert_eq!(bytes[3], 1);
    assert!(ClusterState::decode(&bytes).unwrap().users.is_empty());
    let with = state(3, 2).set_users(named(&[("a", "on")])).unwrap().unwrap().state;
    assert_eq!(with.encode()[3], 2);
}

#[test]
fn users_without_a_bound_are_refused() {
    let first = state(1, 1);
    let refused = |name: usize, rules: usize, count: usize| {
        let user = |at: usize| (format!("{at:0name$}").into_bytes(), vec![b'x'; rules]);
        first.set_users((0..count).map(user).collect()).is_err()
    };
    assert!(!refused(8, USER_RULES_BYTES_MAX, 1));
    assert!(refused(8, USER_RULES_BYTES_MAX + 1, 1));
    assert!(!refused(USER_NAME_BYTES_MAX, 1, 1) && refused(USER_NAME_BYTES_MAX + 1, 1, 1));
    assert!(refused(8, USER_RULES_BYTES_MAX, 100));
    assert!(first.set_users(named(&[("", "on")])).is_err());
}
