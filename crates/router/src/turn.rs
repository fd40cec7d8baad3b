//! One pipeline's worth of commands of one connection.

use std::sync::Arc;

use bitroster_command::{
    Command, OpBatch, Outcome, ReadCommand, ReadOp, Reply, SetReply, WriteCommand, WriteOp,
};
use bitroster_placement::ClusterMap;
use bitroster_types::{Consistency, GroupId, Key};

use crate::{
    Reading, Router, Target,
    call::Call,
    conflict::Ledger,
    map::NO_EPOCH,
    route::{self, Class},
};

mod flush;

use flush::Deferred;

/// One pipeline's worth of commands of one connection, and their replies in request order.
///
/// Commands that one group can do alone are answered in place or queued, a queue a group; a
/// [`flush`](Self::flush) sends all queues at once. A pipeline reads its own writes: a read of a
/// group that has writes in its queue waits there behind them. Commands of one key keep their
/// order; commands of different groups may be done in any order between two flushes. Commands that
/// are answered with a value do not wait: at most one such reply is made at a time.
///
/// A turn follows one map from its first command to its [`drain`](Self::drain). What a group
/// refuses because of it is run again under the newest, in order.
///
/// Reused from pipeline to pipeline, a turn allocates only what it hands to the groups.
pub struct Turn {
    router: Router,
    map: Arc<ClusterMap>,
    reading: Reading,
    /// Whether one group has everything: then nothing can overtake.
    sole: bool,
    /// The replies, in request order; `None` until known.
    places: Vec<Option<Reply>>,
    /// One a group, as the map orders them.
    queues: Vec<Queue>,
    /// Reads that could not be answered in place and come before the queues.
    reads: Vec<(usize, ReadCommand)>,
    /// How many commands wait in `queues` and `reads`.
    waiting: usize,
    ledger: Ledger,
    reply_bytes: usize,
    /// Reads answered at once since the last flush.
    reads_in_place: u64,
    /// The request of the turn whose commands this one runs again.
    origin: Option<Call>,
    /// What no group took then.
    astray: Vec<Deferred>,
}

/// What waits for one group.
struct Queue {
    group: GroupId,
    batch: OpBatch,
    /// The place and the command of each op in the batch.
    queued: Vec<(usize, Command)>,
    /// Whether a read of the group waits in the turn's `reads`: later ones must not overtake it.
    has_reads: bool,
}

impl Queue {
    /// An empty queue for each group.
    fn of_map(map: &ClusterMap) -> Vec<Self> {
        let (batch, queued, has_reads) = (OpBatch::default(), Vec::new(), false);
        let queue = |group: &GroupId| Self {
            group: *group,
            batch: batch.clone(),
            queued: queued.clone(),
            has_reads,
        };
        map.groups().iter().map(queue).collect()
    }
}

impl Turn {
    pub(crate) fn new(router: Router) -> Self {
        let map = router.map();
        Self {
            queues: Queue::of_map(&map),
            sole: route::sole(&map).is_some(),
            reading: Reading::default(),
            router,
            map,
            places: Vec::new(),
            reads: Vec::new(),
            waiting: 0,
            ledger: Ledger::default(),
            reply_bytes: 0,
            reads_in_place: 0,
            origin: None,
            astray: Vec::new(),
        }
    }

    /// Takes a command that needs one group only: answers it at once or queues it for the next
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// Gives the command back where it needs [`run`](Self::run); nothing was done.
    pub fn try_push(&mut self, command: Command) -> Result<(), Command> {
        if self.places.is_empty() && !self.has_newest_map() {
            self.take_map();
        }
        if self.map.epoch() == NO_EPOCH {
            return Err(command);
        }
        match command {
            Command::Read(read) => self.push_read(read).map_err(Command::Read),
            Command::Write(write) => self.push_write(write).map_err(Command::Write),
            Command::Composite(_) | Command::Session(_) => Err(command),
        }
    }

    /// How the connection's reads are answered from now on. Reads that wait in the turn already go
    /// with it too.
    pub fn set_reading(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// Adds a reply that the session made by itself, in its place.
    pub fn push_reply(&mut self, reply: Reply) {
        self.reply_bytes += bytes_of(&reply);
        self.places.push(Some(reply));
    }

    /// Flushes what is queued, then runs `command` to its end and adds its reply.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: writes that were sent may be applied, and the turn must not be used again.
    pub async fn run(&mut self, command: Command) {
        self.flush().await;
        let reply = self.router.run(command, &self.reading).await;
        self.push_reply(reply);
    }

    /// Hands out the replies in request order; the turn is empty afterwards.
    ///
    /// # Panics
    ///
    /// If commands are queued that were not flushed.
    pub fn drain(&mut self, mut f: impl FnMut(Reply)) {
        assert_eq!(self.waiting, 0, "a turn is drained after its flush");
        self.reply_bytes = 0;
        for reply in self.places.drain(..) {
            f(reply.expect("a flush fills every place"));
        }
    }

    /// How many commands and replies the turn holds.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether the turn holds nothing.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many commands wait for a [`flush`](Self::flush).
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// About how many bytes of ops and replies the turn holds. Costs one step a group.
    pub fn queued_bytes(&self) -> usize {
        let queued: usize = self.queues.iter().map(|queue| queue.batch.bytes_len()).sum();
        queued + self.reply_bytes
    }

    fn push_read(&mut self, read: ReadCommand) -> Result<(), ReadCommand> {
        let Some((group, class)) = route::of_read(&self.map, &read) else {
            return Err(read);
        };
        if !self.sole && !first_key_of_read(&read).is_some_and(|key| self.ledger.admits(key, class))
        {
            return Err(read);
        }
        let index = self.index_of(group);
        let may_wait = class != Class::Many && !gives_value(&read);
        if !self.queues[index].queued.is_empty() {
            if !may_wait {
                return Err(read);
            }
            self.queue_read(index, class, read);
            return Ok(());
        }
        let in_place =
            self.reading.consistency == Consistency::Linearizable && !self.queues[index].has_reads;
        let read = if in_place {
            let op = ReadOp::Command(read);
            let outcome = self.router.0.requests.read_now(self.target(group), &op);
            let ReadOp::Command(read) = op else { unreachable!("the op was made above") };
            if let Some(Outcome::Reply(reply)) = outcome {
                self.reads_in_place += 1;
                self.push_reply(reply);
                return Ok(());
            }
            read
        } else {
            read
        };
        if !may_wait {
            return Err(read);
        }
        self.note_read(class, &read);
        self.queues[index].has_reads = true;
        self.reads.push((self.places.len(), read));
        self.places.push(None);
        self.waiting += 1;
        Ok(())
    }

    fn queue_read(&mut self, index: usize, class: Class, read: ReadCommand) {
        self.note_read(class, &read);
        let op = ReadOp::Command(read);
        let queue = &mut self.queues[index];
        queue.batch.push_read(&op);
        let ReadOp::Command(read) = op else { unreachable!("the op was made above") };
        queue.queued.push((self.places.len(), Command::Read(read)));
        self.places.push(None);
        self.waiting += 1;
    }

    fn note_read(&mut self, class: Class, read: &ReadCommand) {
        if let (false, Some(key)) = (self.sole, first_key_of_read(read)) {
            self.ledger.note(key, class);
        }
    }

    fn push_write(&mut self, write: WriteCommand) -> Result<(), WriteCommand> {
        let Some((group, class)) = route::of_write(&self.map, &write) else {
            return Err(write);
        };
        if gives_old_value(&write) {
            return Err(write);
        }
        if !self.sole {
            let key = first_key_of_write(&write);
            let Some(key) = key.filter(|key| self.ledger.admits(key, class)) else {
                return Err(write);
            };
            self.ledger.note(key, class);
        }
        let index = self.index_of(group);
        let queue = &mut self.queues[index];
        let write = if let WriteCommand::SetBit { key, offset, value } = &write {
            queue.batch.push_set_bit(key, *offset, *value);
            write
        } else {
            let op = WriteOp::Command(write);
            queue.batch.push_write(&op);
            let WriteOp::Command(write) = op else { unreachable!("the op was made above") };
            write
        };
        queue.queued.push((self.places.len(), Command::Write(write)));
        self.places.push(None);
        self.waiting += 1;
        Ok(())
    }

    /// The place of a group's queue.
    fn index_of(&self, group: GroupId) -> usize {
        if self.sole {
            return 0;
        }
        self.map.groups().binary_search(&group).expect("owners are among the map's groups")
    }

    /// Fills a place with its reply.
    fn fill(&mut self, place: usize, reply: Reply) {
        self.reply_bytes += bytes_of(&reply);
        self.places[place] = Some(reply);
    }

    /// A group, by the map of this turn.
    fn target(&self, group: GroupId) -> Target {
        Target { group, epoch: self.map.epoch() }
    }

    #[inline]
    fn has_newest_map(&self) -> bool {
        self.router.0.maps.epoch() == self.map.epoch()
    }

    /// Takes the newest map; nothing may wait.
    #[cold]
    fn take_map(&mut self) {
        self.map = self.router.map();
        self.queues = Queue::of_map(&self.map);
        self.sole = route::sole(&self.map).is_some();
    }

    fn call(&self) -> Call {
        let mut call = match &self.origin {
            Some(origin) => origin.clone(),
            None => Call::new(&self.router.0, &self.reading),
        };
        call.refresh();
        call
    }
}

/// The key by which a read of one key is ordered among others; `None` for reads of the keyspace.
fn first_key_of_read(read: &ReadCommand) -> Option<&Key> {
    match read {
        ReadCommand::GetBit { key, .. }
        | ReadCommand::BitCount { key, .. }
        | ReadCommand::BitPos { key, .. }
        | ReadCommand::BitFieldRo { key, .. }
        | ReadCommand::Get { key }
        | ReadCommand::StrLen { key }
        | ReadCommand::GetRange { key, .. }
        | ReadCommand::Type { key }
        | ReadCommand::Ttl { key, .. }
        | ReadCommand::FindIds { space: key, .. }
        | ReadCommand::FindNames { space: key, .. }
        | ReadCommand::SpaceInfo { space: key } => Some(key),
        ReadCommand::MGet { keys }
        | ReadCommand::Exists { keys }
        | ReadCommand::BitOpCard { sources: keys, .. } => keys.first(),
        ReadCommand::Scan { .. }
        | ReadCommand::Keys { .. }
        | ReadCommand::DbSize
        | ReadCommand::RandomKey
        | ReadCommand::Spaces => None,
    }
}

/// The key by which a write of one key is ordered among others; `None` where it has several.
fn first_key_of_write(write: &WriteCommand) -> Option<&Key> {
    match write {
        WriteCommand::SetBit { key, .. }
        | WriteCommand::BitField { key, .. }
        | WriteCommand::Set { key, .. }
        | WriteCommand::GetDel { key }
        | WriteCommand::GetEx { key, .. }
        | WriteCommand::Append { key, .. }
        | WriteCommand::SetRange { key, .. }
        | WriteCommand::IncrBy { key, .. }
        | WriteCommand::Expire { key, .. }
        | WriteCommand::Persist { key }
        | WriteCommand::Merge { key, .. }
        | WriteCommand::Restore { key, .. }
        | WriteCommand::Touch { key, .. }
        | WriteCommand::AssignIds { space: key, .. }
        | WriteCommand::DropSpace { space: key } => Some(key),
        WriteCommand::Delete { keys } => keys.first(),
        WriteCommand::BitOp { .. }
        | WriteCommand::MSet { .. }
        | WriteCommand::Rename { .. }
        | WriteCommand::Copy { .. }
        | WriteCommand::Flush => None,
    }
}

/// Whether a read's reply holds whole values: far more than the request, and nobody knows how much
/// before it is made.
fn gives_value(read: &ReadCommand) -> bool {
    matches!(
        read,
        ReadCommand::Get { .. }
            | ReadCommand::GetRange { .. }
            | ReadCommand::MGet { .. }
            | ReadCommand::FindNames { .. }
    )
}

/// As [`gives_value`], for a write.
fn gives_old_value(write: &WriteCommand) -> bool {
    matches!(
        write,
        WriteCommand::GetDel { .. }
            | WriteCommand::GetEx { .. }
            | WriteCommand::Set { reply: SetReply::Old, .. }
    )
}

/// About how many bytes a reply holds beside its own size.
fn bytes_of(reply: &Reply) -> usize {
    match reply {
        Reply::Bulk(bytes) | Reply::Text(bytes) => bytes.len(),
        Reply::Array(items) | Reply::Set(items) => {
            items.iter().map(|item| size_of::<Reply>() + bytes_of(item)).sum()
        }
        Reply::Map(pairs) => {
            pairs.iter().map(|(name, value)| bytes_of(name) + bytes_of(value)).sum()
        }
        Reply::Ok
        | Reply::Status(_)
        | Reply::Integer(_)
        | Reply::Nil
        | Reply::NilArray
        | Reply::Double(_)
        | Reply::Error(_) => 0,
    }
}
