//! What a leader has done about changes that a router began and did not end.

use bitroster_command::{Change, Header, Moved, Outcome, Pending, Reply, Seen, StageFrom, WriteOp};
use bitroster_engine::Engine;
use bitroster_types::{GroupId, Key, UnixMillis, Version};

use super::cluster::Cluster;

impl Cluster {
    /// What homes remember, all of it.
    pub fn pending(&self) -> Vec<Pending> {
        let all = |engine: &Engine| engine.pending(UnixMillis(u64::MAX), usize::MAX);
        self.engines.values().flat_map(all).collect()
    }

    /// Does what a leader has done about all that is not finished.
    pub fn finish_all(&mut self) {
        // What has expired by now is found by an entry, and would be by the first one below.
        for group in self.engines.keys().copied().collect::<Vec<_>>() {
            self.write(group, WriteOp::Tick);
        }
        for pending in self.pending() {
            self.finish(pending);
        }
        assert_eq!(self.pending(), vec![], "finished once, nothing is left");
    }

    pub fn finish(&mut self, pending: Pending) {
        match pending {
            Pending::Published { key, version, groups, moved } => {
                self.tell(&groups, &WriteOp::Activate { key: key.clone(), version });
                if let Some(moved) = moved {
                    self.remove(moved);
                }
                self.forget(&key, version);
            }
            Pending::Abandoned { key, version } => self.abort(&key, version),
            Pending::Reserved { key, version, .. } => self.abandon(&key, version),
            Pending::Expired { key, version, groups } => {
                self.tell(&groups, &WriteOp::Drop { key: key.clone(), version });
                self.forget(&key, version);
            }
            Pending::Enlisted { key, version, group, .. } => {
                let header = self.header(&key).filter(|header| header.version == Some(version));
                if let Some(header) = header.filter(|_| self.len(&key) == 0) {
                    self.remove_unfilled(&key, &header);
                }
                let home = self.home(&key);
                self.tell(&[home], &WriteOp::Settle { key, version, group });
            }
        }
    }

    /// Removes a record of which nobody holds anything, unless somebody does by now.
    fn remove_unfilled(&mut self, key: &Key, header: &Header) {
        let version = self.reserve_as(key, true);
        for group in &header.spread {
            self.stage(*group, key, version, StageFrom::Void);
        }
        assert_eq!(self.len(key), 0);
        let (modified, staged) = (header.modified, header.spread.clone());
        self.remove(Moved { key: key.clone(), version, staged, modified });
    }

    pub fn tell(&mut self, groups: &[GroupId], op: &WriteOp) {
        for group in groups {
            assert_eq!(self.write(*group, op.clone()), Reply::Ok.into());
        }
    }

    /// Publishes the removal of a renamed key, unless it has changed.
    fn remove(&mut self, moved: Moved) {
        let Moved { key, version, staged, modified } = moved;
        let (seen, change) = (Seen::Unchanged(modified), Change::Nothing);
        let publish =
            WriteOp::Publish { key: key.clone(), version, staged: staged.clone(), seen, change };
        match self.write(self.home(&key), publish) {
            Outcome::Reply(Reply::Ok) => {
                self.tell(&staged, &WriteOp::Activate { key: key.clone(), version });
                self.forget(&key, version);
            }
            Outcome::Newer(_) | Outcome::Spread(_) => self.abandon(&key, version),
            other => panic!("publishing a removal answered {other:?}"),
        }
    }

    pub fn abandon(&mut self, key: &Key, version: Version) {
        match self.write(self.home(key), WriteOp::Abandon { key: key.clone(), version }) {
            Outcome::Reply(Reply::Ok) => self.abort(key, version),
            Outcome::Newer(_) => {}
            other => panic!("abandoning answered {other:?}"),
        }
    }

    fn abort(&mut self, key: &Key, version: Version) {
        let groups: Vec<GroupId> = self.engines.keys().copied().collect();
        self.tell(&groups, &WriteOp::Abort { key: key.clone(), version });
        self.forget(key, version);
    }

    pub fn forget(&mut self, key: &Key, version: Version) {
        self.tell(&[self.home(key)], &WriteOp::Forget { key: key.clone(), version });
    }
}
