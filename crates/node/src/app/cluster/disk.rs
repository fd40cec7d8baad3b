//! What a member of a cluster keeps about the cluster: who it is, how it all began, the newest
//! state that it has seen, and which replicas its log belongs to.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use bitroster_placement::{ClusterState, Founding};
use bitroster_types::{ClusterId, GroupId, NodeId, ReplicaId, limits::CLUSTER_STATE_BYTES_MAX};
use bitroster_wal::{DataDir, Identity, RealFileSystem};
use parking_lot::Mutex;

use crate::app::{
    data_dir::{self, STATE_NAME},
    files::Files,
};

/// Drawn at the first start: tells a node from another one that comes to its address with an
/// empty disk.
const TOKEN_NAME: &str = "node-token";
/// Which replica of each group the log and the snapshots belong to.
const REPLICAS_NAME: &str = "replicas";

/// Longest file of replicas that is read: 65,536 groups of at most 30 bytes each.
const REPLICAS_BYTES_MAX: u64 = 2 << 20;

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) state: ClusterState,
}

/// A member's data directory.
#[derive(Debug)]
pub(crate) struct Disk {
    files: Files,
    /// Held until the log is opened, which takes the lock itself.
    lock: Mutex<Option<DataDir>>,
}

impl Disk {
    /// Opens and locks a data directory.
    ///
    /// # Errors
    ///
    /// One in use, damaged, or of a node that was a whole cluster by itself.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let fs = Arc::new(RealFileSystem);
        let dir = DataDir::open(Arc::clone(&fs) as _, path)?;
        let files = Files::new(fs, path);
        if files.read(data_dir::MAP_NAME, data_dir::MAP_BYTES_MAX)?.is_some() {
            bail!(
                "{} holds the data of a node that is a cluster by itself; start it without \
                 cluster.seeds and cluster.bootstrap_expect, or give this node a folder of its own",
                path.display()
            );
        }
        Ok(Self { files, lock: Mutex::new(Some(dir)) })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.files.dir().to_owned()
    }

    /// Lets the log take the directory's lock.
    pub(crate) fn unlock(&self) {
        *self.lock.lock() = None;
    }

    /// The node's token, drawn now if there is none.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn token(&self) -> anyhow::Result<u64> {
        if let Some(bytes) = self.files.read(TOKEN_NAME, 64)? {
            let text = String::from_utf8_lossy(&bytes);
            return u64::from_str_radix(text.trim(), 16)
                .with_context(|| format!("{TOKEN_NAME} is damaged: '{}'", text.trim()));
        }
        let token = loop {
            let low = data_dir::random_u128() & u128::from(u64::MAX);
            match u64::try_from(low)? {
                0 => {}
                token => break token,
            }
        };
        self.files.write(TOKEN_NAME, format!("{token:016x}\n").as_bytes())?;
        Ok(token)
    }

    /// Who the node is; `None` before it has joined.
    ///
    /// # Errors
    ///
    /// What the disk says, and damage.
    pub(crate) fn membership(&self) -> anyhow::Result<Option<Membership>> {
        let lock = self.lock.lock();
        let dir = lock.as_ref().context("the data directory is open already")?;
        let Some(Identity { cluster, node }) = dir.identity()? else { return Ok(None) };
        let bytes = self
            .files
            .read(STATE_NAME, CLUSTER_STATE_BYTES_MAX as u64)?
            .with_context(|| format!("{STATE_NAME} is missing beside the node's identity"))?;
        let state =
            ClusterState::decode(&bytes).with_context(|| format!("{STATE_NAME} is damaged"))?;
        if state.cluster.0 != cluster {
            bail!(
                "{} belongs to cluster {}, but {STATE_NAME} in it to cluster {}",
                self.files.dir().display(),
                ClusterId(cluster),
                state.cluster
            );
        }
        Ok(Some(Membership { cluster: ClusterId(cluster), node: NodeId(node), state }))
    }

    /// Makes the node a founding member. The identity comes last: without it nothing has happened.
    ///
    /// # Errors
    ///
    /// What the disk says; a founding that the node is not part of.
    pub(crate) fn found(&self, founding: &Founding, token: u64) -> anyhow::Result<Membership> {
        let me = founding.members.iter().find(|member| member.token == token);
        let node = me.context("this node is not among the founding members")?.node;
        self.join(node, ClusterState::found(founding))
    }

    /// Makes the node a member.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn join(&self, node: NodeId, state: ClusterState) -> anyhow::Result<Membership> {
        self.save_state(&state)?;
        let cluster = state.cluster;
        let lock = self.lock.lock();
        let dir = lock.as_ref().context("the data directory is open already")?;
        dir.create_identity(&Identity { cluster: cluster.0, node: node.0 })?;
        Ok(Membership { cluster, node, state })
    }

    /// Keeps a newer state.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn save_state(&self, state: &ClusterState) -> anyhow::Result<()> {
        self.files.write(STATE_NAME, &state.encode())
    }

    /// Which replica of each group the log belongs to.
    ///
    /// # Errors
    ///
    /// What the disk says, and damage.
    pub(crate) fn replicas(&self) -> anyhow::Result<BTreeMap<GroupId, ReplicaId>> {
        let Some(bytes) = self.files.read(REPLICAS_NAME, REPLICAS_BYTES_MAX)? else {
            return Ok(BTreeMap::new());
        };
        let parse = |line: &str| {
            let (group, replica) = line.split_once(' ')?;
            Some((GroupId(group.parse().ok()?), ReplicaId(replica.parse().ok()?)))
        };
        String::from_utf8_lossy(&bytes)
            .lines()
            .map(|line| {
                parse(line).with_context(|| format!("{REPLICAS_NAME} is damaged: '{line}'"))
            })
            .collect()
    }

    /// Notes which replica of each group the log belongs to.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn save_replicas(
        &self,
        replicas: &BTreeMap<GroupId, ReplicaId>,
    ) -> anyhow::Result<()> {
        let text: String =
            replicas.iter().map(|(group, replica)| format!("{group} {replica}\n")).collect();
        self.files.write(REPLICAS_NAME, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use bitroster_placement::state::Member;
    use bitroster_types::SegmentWidth;

    use super::*;

    fn founding(token: u64) -> Founding {
        let member = Member { node: NodeId(1), token, address: "127.0.0.1:7380".to_owned() };
        Founding {
            cluster: ClusterId(5),
            members: vec![member],
            groups: 2,
            replicas: 3,
            width: SegmentWidth::DEFAULT,
        }
    }

    #[test]
    fn a_founding_member_knows_itself_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let token = disk.token().unwrap();
        assert_eq!(disk.membership().unwrap(), None);
        let member = disk.found(&founding(token), token).unwrap();
        disk.save_replicas(&BTreeMap::from([(GroupId(1), ReplicaId(7))])).unwrap();
        drop(disk);
        let disk = Disk::open(dir.path()).unwrap();
        assert_eq!(disk.token().unwrap(), token);
        assert_eq!(disk.membership().unwrap(), Some(member));
        assert_eq!(disk.replicas().unwrap()[&GroupId(1)], ReplicaId(7));
    }

    #[test]
    fn a_stranger_to_the_founding_takes_no_part() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let token = disk.token().unwrap();
        assert!(disk.found(&founding(token ^ 1), token).is_err());
        assert_eq!(disk.membership().unwrap(), None);
    }
}
