//! A key over two groups, and the steps of the protocols by themselves: what a router sends, in any
//! order and as often as a test likes.

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    Change, Grant, Op, Outcome, PartQuery, Pending, ReadCommand, ReadOp, Reply, Seen, StageFrom,
    WriteCommand, WriteOp,
};
use bitroster_engine::{EngineStats, Snapshot};
use bitroster_types::{GroupId, Key, UnixMillis, Version};

use super::cluster::{Cluster, encoded};

pub const OK: Outcome = Outcome::Reply(Reply::Ok);

pub struct Scene {
    pub cluster: Cluster,
    pub key: Key,
    /// A bit in a segment that `group` owns.
    pub bit: u64,
    pub home: GroupId,
    pub group: GroupId,
}

impl Scene {
    /// Three groups and a key that nobody has written.
    pub fn new() -> Self {
        let cluster = Cluster::new(3);
        let key = super::key("k");
        let home = cluster.map.home(&key);
        let found = (1..100u64).map(|n| n << 16).find_map(|bit| {
            let group = cluster.map.group_of_bit(&key, bit);
            (group != home).then_some((bit, group))
        });
        let (bit, group) = found.unwrap();
        Self { cluster, key, bit, home, group }
    }

    /// As [`Scene::new`], with the bit set, and the record's version.
    pub fn spread() -> (Self, Version) {
        let mut scene = Self::new();
        assert_eq!(scene.run(scene.set(scene.bit)), Reply::Integer(0));
        let version = scene.cluster.header(&scene.key).unwrap().version.unwrap();
        (scene, version)
    }

    /// The third group, and a bit of its.
    pub fn third(&self) -> (GroupId, u64) {
        let mut groups = [1, 2, 3].map(GroupId).into_iter();
        let third = groups.find(|group| ![self.home, self.group].contains(group)).unwrap();
        let mut bits = (1..1000u64).map(|n| n << 16);
        let bit = bits.find(|bit| self.cluster.map.group_of_bit(&self.key, *bit) == third).unwrap();
        (third, bit)
    }

    pub fn set(&self, offset: u64) -> WriteCommand {
        WriteCommand::SetBit { key: self.key.clone(), offset, value: true }
    }

    pub fn run(&mut self, command: WriteCommand) -> Reply {
        self.cluster.run(&command.into())
    }

    /// The key's set bits as a router that gathers sees them.
    pub fn bits(&mut self) -> Vec<u64> {
        let value = self.cluster.value(&self.key.clone());
        value.map_or_else(Vec::new, |(value, _)| value.iter_set(0..u64::MAX).collect())
    }

    // ---- at the group ----

    pub fn at_group(&mut self, op: WriteOp) -> Outcome {
        self.cluster.write(self.group, op)
    }

    /// SETBIT without leave.
    pub fn plain(&mut self, offset: u64) -> Outcome {
        self.at_group(WriteOp::Command(self.set(offset)))
    }

    pub fn granted(&mut self, grant: Grant, offset: u64) -> Outcome {
        self.at_group(WriteOp::Granted { grant, command: self.set(offset) })
    }

    /// GETBIT.
    pub fn bit_at_group(&mut self, offset: u64) -> Outcome {
        let read = ReadCommand::GetBit { key: self.key.clone(), offset };
        self.cluster.read(self.group, &ReadOp::Command(read))
    }

    pub fn stage(&mut self, version: Version, from: StageFrom) -> Outcome {
        self.stage_until(version, None, from)
    }

    pub fn stage_until(
        &mut self,
        version: Version,
        expiry: Option<UnixMillis>,
        from: StageFrom,
    ) -> Outcome {
        self.at_group(WriteOp::Stage { key: self.key.clone(), version, expiry, from })
    }

    pub fn activate(&mut self, version: Version) {
        assert_eq!(self.at_group(WriteOp::Activate { key: self.key.clone(), version }), OK);
    }

    pub fn abort(&mut self, version: Version) {
        assert_eq!(self.at_group(WriteOp::Abort { key: self.key.clone(), version }), OK);
    }

    pub fn drop_part(&mut self, version: Version) {
        assert_eq!(self.at_group(WriteOp::Drop { key: self.key.clone(), version }), OK);
    }

    /// The bits of the group's part at a version.
    pub fn part(&mut self, version: Version) -> Result<Vec<u64>, Outcome> {
        let query = PartQuery::Value { start: 0, end: u64::MAX };
        let op = ReadOp::Part { key: self.key.clone(), version: Some(version), query };
        match self.cluster.read(self.group, &op) {
            Outcome::Reply(Reply::Bulk(bytes)) => {
                Ok(Bitmap::decode(&bytes).unwrap().iter_set(0..u64::MAX).collect())
            }
            other => Err(other),
        }
    }

    // ---- at home ----

    pub fn at_home(&mut self, op: WriteOp) -> Outcome {
        self.cluster.write(self.home, op)
    }

    pub fn enlist(&mut self) -> Grant {
        self.cluster.enlist(&self.key.clone(), self.group)
    }

    pub fn reserve(&mut self) -> Version {
        self.cluster.reserve(&self.key.clone())
    }

    pub fn reserve_exclusively(&mut self) -> Version {
        self.cluster.reserve_as(&self.key.clone(), true)
    }

    /// Publishes what `group` has staged, whatever the record is.
    pub fn publish(&mut self, version: Version, change: Change) -> Outcome {
        self.publish_if(version, Seen::Any, change)
    }

    pub fn publish_if(&mut self, version: Version, seen: Seen, change: Change) -> Outcome {
        let (key, staged) = (self.key.clone(), vec![self.group]);
        self.at_home(WriteOp::Publish { key, version, staged, seen, change })
    }

    pub fn abandon(&mut self, version: Version) -> Outcome {
        self.at_home(WriteOp::Abandon { key: self.key.clone(), version })
    }

    pub fn forget(&mut self, version: Version) {
        self.cluster.forget(&self.key.clone(), version);
    }

    pub fn settle(&mut self, version: Version) {
        let (key, group) = (self.key.clone(), self.group);
        assert_eq!(self.at_home(WriteOp::Settle { key, version, group }), OK);
    }

    pub fn pending(&self) -> Vec<Pending> {
        self.cluster.pending()
    }

    // ---- what is seen ----

    pub fn home_stats(&self) -> EngineStats {
        self.cluster.engines[&self.home].stats()
    }

    pub fn group_stats(&self) -> EngineStats {
        self.cluster.engines[&self.group].stats()
    }

    /// Everything that home knows, but its place in the log.
    pub fn home_state(&self) -> Vec<u8> {
        body(self.cluster.engines[&self.home].snapshot())
    }

    /// Everything that the group knows, but its place in the log.
    pub fn group_state(&self) -> Vec<u8> {
        body(self.cluster.engines[&self.group].snapshot())
    }

    pub fn wait(&mut self, millis: u64) {
        self.cluster.now.0 += millis;
        for group in [self.home, self.group] {
            self.cluster.write(group, WriteOp::Tick);
        }
    }
}

/// A snapshot of one block, without its checksum and the index and time in its head.
fn body(snapshot: Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot.write_to(&mut bytes).unwrap();
    bytes[18 + 1 + 2 + 1 + 8 + 8 + 8..].to_vec()
}

/// A value of one bit, staged.
pub fn one_bit(offset: u64) -> StageFrom {
    let mut value = Bitmap::new();
    value.set(offset, true);
    encoded(&value)
}

/// A value that reaches to `bit`, of which `spread` have shares.
pub fn value_to(bit: u64, spread: Vec<GroupId>) -> Change {
    Change::Value { spread, len_bytes: bit / 8 + 1, expiry: None, moved: None }
}

pub fn get(key: &Key, offset: u64) -> Op {
    ReadCommand::GetBit { key: key.clone(), offset }.into()
}
