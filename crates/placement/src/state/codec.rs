//! A cluster's state as bytes.
//!
//! Magic with the form's number, cluster, revision, founding, map, nodes, groups, next numbers,
//! users, checksum. Numbers are little-endian; lists and texts have their length in front. Form 1
//! has no users. A state without users is written in form 1, which older builds read too.

use std::{collections::BTreeMap, sync::Arc};

use bitroster_types::{
    ClusterId, GroupId, NodeId, ReplicaId, SegmentWidth,
    limits::{CLUSTER_ADDRESS_BYTES_MAX, CLUSTER_STATE_BYTES_MAX},
};

use super::{
    ClusterState, Founding, Member, NodeEntry, ReplicaEntry,
    users::{self, Users},
};
use crate::{ClusterMap, MapError, mix::checksum};

/// Says what the bytes are and in which form: the last byte is the form's number.
const MAGIC: [u8; 4] = *b"BRS\x01";

/// A state with users.
const MAGIC_WITH_USERS: [u8; 4] = *b"BRS\x02";

/// Says that the bytes are users alone.
const USERS_MAGIC: [u8; 4] = *b"BRU\x01";

/// Says that the bytes are a founding.
const FOUNDING_MAGIC: [u8; 4] = *b"BRF\x01";

/// Why bytes are not a cluster's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not a state, or of a form that this build does not know.
    #[error("not a cluster's state, or one of an unknown form")]
    Magic,
    /// Longer than any.
    #[error("a cluster's state of {0} bytes is longer than {max}", max = CLUSTER_STATE_BYTES_MAX)]
    TooLong(usize),
    /// The bytes end early or go on after the end.
    #[error("a cluster's state that is cut short or too long")]
    Length,
    /// Damaged.
    #[error("the checksum of a cluster's state does not match")]
    Checksum,
    /// A field's value makes no sense.
    #[error("bad {0} in a cluster's state")]
    Field(&'static str),
    /// The map within it is bad.
    #[error(transparent)]
    Map(#[from] MapError),
}

impl ClusterState {
    /// The state as bytes: some 33 KiB, most of them the map.
    pub fn encode(&self) -> Vec<u8> {
        let has_users = !self.users.is_empty();
        let mut out = Output(if has_users { MAGIC_WITH_USERS } else { MAGIC }.to_vec());
        out.0.extend_from_slice(&self.cluster.0.to_le_bytes());
        out.u64(self.revision);
        out.founding(&self.founding);
        out.bytes(&self.map.encode());
        out.len(self.nodes.len());
        for (id, entry) in &self.nodes {
            out.u64(id.0);
            out.u64(entry.token);
            out.bytes(entry.address.as_bytes());
            out.0.push(u8::from(entry.leaving));
        }
        out.len(self.groups.len());
        for (id, replicas) in &self.groups {
            out.0.extend_from_slice(&id.0.to_le_bytes());
            out.len(replicas.len());
            for replica in replicas {
                out.u64(replica.id.0);
                out.u64(replica.node.0);
                out.0.push(u8::from(replica.leaving));
            }
        }
        out.u64(self.next_node);
        out.u64(self.next_replica);
        if has_users {
            out.users(&self.users);
        }
        out.sealed()
    }

    /// The state that [`encode`](Self::encode) made these bytes from.
    ///
    /// # Errors
    ///
    /// Whatever is wrong first.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let has_users = bytes.starts_with(&MAGIC_WITH_USERS);
        let magic = if has_users { MAGIC_WITH_USERS } else { MAGIC };
        let mut input = Input::opened(bytes, magic)?;
        let cluster = ClusterId(u128::from_le_bytes(input.take()?));
        let revision = input.u64()?;
        let founding = input.founding()?;
        let map = Arc::new(ClusterMap::decode(input.bytes()?)?);
        let mut nodes = BTreeMap::new();
        for _ in 0..input.len()? {
            let id = NodeId(input.u64()?);
            let (token, address) = (input.u64()?, input.address()?);
            nodes.insert(id, NodeEntry { token, address, leaving: input.flag()? });
        }
        let mut groups = BTreeMap::new();
        for _ in 0..input.len()? {
            let id = GroupId(u16::from_le_bytes(input.take()?));
            let mut replicas = Vec::new();
            for _ in 0..input.len()? {
                let (id, node) = (ReplicaId(input.u64()?), NodeId(input.u64()?));
                replicas.push(ReplicaEntry { id, node, leaving: input.flag()? });
            }
            groups.insert(id, replicas);
        }
        let (next_node, next_replica) = (input.u64()?, input.u64()?);
        let users = Arc::new(if has_users { input.users()? } else { Users::new() });
        input.end()?;
        let state = Self {
            cluster,
            revision,
            founding,
            map,
            nodes,
            groups,
            users,
            next_node,
            next_replica,
        };
        state.check()?;
        Ok(state)
    }

    /// Refuses what no change could have made.
    fn check(&self) -> Result<(), StateError> {
        let known = |group: &GroupId| self.groups.contains_key(group);
        if !self.map.groups().iter().all(known) || !known(&GroupId::META) {
            return Err(StateError::Field("list of groups"));
        }
        let mut replicas = self.groups.values().flatten();
        if !replicas.all(|replica| self.nodes.contains_key(&replica.node)) {
            return Err(StateError::Field("replica's node"));
        }
        Ok(())
    }
}

impl Founding {
    /// The founding as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Output(FOUNDING_MAGIC.to_vec());
        out.founding(self);
        out.sealed()
    }

    /// The founding that [`encode`](Self::encode) made these bytes from.
    ///
    /// # Errors
    ///
    /// Whatever is wrong first.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Input::opened(bytes, FOUNDING_MAGIC)?;
        let founding = input.founding()?;
        input.end()?;
        Ok(founding)
    }
}

/// The users of a node that is a whole cluster by itself, as bytes.
pub(super) fn encode_users(revision: u64, users: &Users) -> Vec<u8> {
    let mut out = Output(USERS_MAGIC.to_vec());
    out.u64(revision);
    out.users(users);
    out.sealed()
}

/// Revision and users that [`encode_users`] made these bytes from.
///
/// # Errors
///
/// Whatever is wrong first.
pub(super) fn decode_users(bytes: &[u8]) -> Result<(u64, Users), StateError> {
    let mut input = Input::opened(bytes, USERS_MAGIC)?;
    let revision = input.u64()?;
    let users = input.users()?;
    input.end()?;
    Ok((revision, users))
}

struct Output(Vec<u8>);

impl Output {
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn len(&mut self, len: usize) {
        let len = u32::try_from(len).expect("lists of a cluster are short");
        self.0.extend_from_slice(&len.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn users(&mut self, users: &Users) {
        self.len(users.len());
        for (name, rules) in users {
            self.bytes(name);
            self.bytes(rules);
        }
    }

    fn founding(&mut self, founding: &Founding) {
        self.0.extend_from_slice(&founding.cluster.0.to_le_bytes());
        self.0.extend_from_slice(&founding.groups.to_le_bytes());
        self.0.push(founding.replicas);
        self.0.push(founding.width.log2());
        self.len(founding.members.len());
        for member in &founding.members {
            self.u64(member.node.0);
            self.u64(member.token);
            self.bytes(member.address.as_bytes());
        }
    }

    fn sealed(mut self) -> Vec<u8> {
        let sum = checksum(&self.0);
        self.u64(sum);
        self.0
    }
}

/// Bytes not read yet.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn opened(bytes: &'a [u8], magic: [u8; 4]) -> Result<Self, StateError> {
        if bytes.len() > CLUSTER_STATE_BYTES_MAX {
            return Err(StateError::TooLong(bytes.len()));
        }
        if bytes.first_chunk() != Some(&magic) {
            return Err(StateError::Magic);
        }
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(StateError::Length)?;
        if checksum(body) != u64::from_le_bytes(*sum) {
            return Err(StateError::Checksum);
        }
        Ok(Self(body.get(magic.len()..).ok_or(StateError::Length)?))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(StateError::Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u64(&mut self) -> Result<u64, StateError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn len(&mut self) -> Result<usize, StateError> {
        Ok(u32::from_le_bytes(self.take()?) as usize)
    }

    fn flag(&mut self) -> Result<bool, StateError> {
        match self.take::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(StateError::Field("flag")),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], StateError> {
        let len = self.len()?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(StateError::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn address(&mut self) -> Result<String, StateError> {
        let bytes = self.bytes()?;
        if bytes.len() > CLUSTER_ADDRESS_BYTES_MAX {
            return Err(StateError::Field("address"));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| StateError::Field("address"))
    }

    fn users(&mut self) -> Result<Users, StateError> {
        let mut users = Users::new();
        for _ in 0..self.len()? {
            let name = self.bytes()?.to_vec();
            users.insert(name, self.bytes()?.to_vec());
        }
        users::check(&users).map_err(|_| StateError::Field("user"))?;
        Ok(users)
    }

    fn founding(&mut self) -> Result<Founding, StateError> {
        let cluster = ClusterId(u128::from_le_bytes(self.take()?));
        let groups = u16::from_le_bytes(self.take()?);
        let [replicas, width] = self.take()?;
        let width = SegmentWidth::from_log2(width).ok_or(StateError::Field("segment width"))?;
        let mut members = Vec::new();
        for _ in 0..self.len()? {
            let (node, token) = (NodeId(self.u64()?), self.u64()?);
            members.push(Member { node, token, address: self.address()? });
        }
        if members.is_empty() || groups == 0 || replicas == 0 {
            return Err(StateError::Field("founding"));
        }
        Ok(Founding { cluster, members, groups, replicas, width })
    }

    fn end(&self) -> Result<(), StateError> {
        if self.0.is_empty() { Ok(()) } else { Err(StateError::Length) }
    }
}
