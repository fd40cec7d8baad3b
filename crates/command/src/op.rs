//! What a router asks one group, and what the group answers.
//!
//! Most ops are a client's own command, sent to the group that can do all of it: the group of the
//! bit's segment, or the key's home. A group never guesses: what it cannot do alone it answers
//! with an [`Outcome`] that says why, and it has then changed nothing.
//!
//! A group holds one *entry* for a key: at the key's home its *record*, elsewhere a *part*. The
//! record's value holds those segments of the key that home's group owns; each part the segments
//! that its group owns. A record whose spread is empty is the whole key.

mod question;

use bitroster_bitmap::Formula;
use bitroster_types::{GroupId, Key, LogIndex, SessionId, Slot, UnixMillis, Version};
use bytes::Bytes;

pub use self::question::{PartQuery, Want};
use crate::{BitLogic, CommandError, OpBatch, OutcomeBatch, ReadCommand, Reply, WriteCommand};

/// One request to one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Answered from the state; may also ride in an entry, to be answered at that place in the
    /// log (a pipeline's read that follows its own writes).
    Read(ReadOp),
    /// Changes the state.
    Write(WriteOp),
}

/// A request to one group that cannot change its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOp {
    /// A client's command. `GetBit` and `BitFieldRo` are answered from whatever entry the group
    /// has; every other command of one key is answered by its home, [`Outcome::Spread`] where the
    /// record has a spread. Commands of several keys need all of them here and none spread.
    /// `Scan`, `Keys`, `DbSize` and `RandomKey` speak of the group's records.
    Command(ReadCommand),
    /// The record of a key, asked of its home: [`Outcome::Header`].
    Header {
        /// The key.
        key: Key,
    },
    /// A question about what this group holds of a key at one version.
    Part {
        /// The key.
        key: Key,
        /// The version the answer must be of; `None` for a record that was never spread.
        version: Option<Version>,
        /// The question.
        query: PartQuery,
    },
    /// Counts a combination of keys within `range` of bits, from what this group holds of them:
    /// `Integer`.
    CombineCount {
        /// How to combine.
        logic: BitLogic,
        /// The operands; a part that is absent or older counts as zeros.
        sources: Vec<SourceRef>,
        /// Half-open range of bits.
        range: (u64, u64),
        /// Byte length of the longest operand, over all groups.
        len_bytes: u64,
    },
    /// Combines keys within `range` of bits, from what this group holds of them: `Bulk`, in the
    /// bitmap codec, or `Nil` where that would be longer than `bytes_max`, or hardly shorter.
    CombineValue {
        /// How to combine.
        logic: BitLogic,
        /// The operands; a part that is absent or older counts as zeros.
        sources: Vec<SourceRef>,
        /// Half-open range of bits.
        range: (u64, u64),
        /// Byte length of the longest operand, over all groups.
        len_bytes: u64,
        /// Most bytes to answer. It is combined from its start until it is longer.
        bytes_max: Option<u64>,
    },
    /// Evaluates formulas over keys within `range` of bits, from what this group holds of them in
    /// the segments that it owns; what comes back is `want`'s to say.
    Evaluate {
        /// What to compute; only [`Want::Counts`] takes more than one.
        formulas: Vec<Formula>,
        /// The operands; a part that is absent or older counts as zeros.
        sources: Vec<SourceRef>,
        /// Half-open range of bits.
        range: (u64, u64),
        /// What to answer.
        want: Want,
    },
    /// Which live keys have a bit set here: `Array` of an `Integer`, how many, and an `Array` of
    /// the names of the first `limit` of them. Records and parts are looked at alike; the bit must
    /// lie in a segment that this group owns.
    Holding {
        /// Glob pattern of the names.
        pattern: Bytes,
        /// The bit.
        offset: u64,
        /// Most names to answer.
        limit: u64,
    },
    /// One page of what the keys below a prefix take here, by their next names: `Bulk`, a
    /// [`PrefixPage`](crate::PrefixPage). Not for log entries: the memory is this replica's.
    Prefixes {
        /// What the keys' names begin with.
        prefix: Bytes,
        /// Where a name ends.
        separator: u8,
        /// Where the page begins: 0, or the `next` of the page before.
        cursor: u64,
    },
    /// When the key was last changed here: `Integer`, the index of the log entry, 0 where absent.
    Fingerprint {
        /// The key.
        key: Key,
    },
}

/// A request to one group that changes its state.
///
/// A change of a whole key that is spread goes through five of them, each of which may be repeated
/// and any of which may be the last that a router did: [`Reserve`](Self::Reserve) at home,
/// [`Stage`](Self::Stage) in every group that holds or is to hold a part,
/// [`Publish`](Self::Publish) at home, [`Activate`](Self::Activate) in the groups,
/// [`Forget`](Self::Forget) at home. Between its stage and its activation a group is *in doubt*
/// about the key: it answers requests for bits with [`Outcome::AskHome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// A client's command. `SetBit`, `BitField` and `SetRange` within one segment go to the
    /// segment's group, which answers [`Outcome::AskHome`] where it is not the key's home and has
    /// no live part or is in doubt about it. Every other command goes to the key's home, which
    /// answers [`Outcome::Spread`] where other groups hold parts or would have to.
    Command(WriteCommand),
    /// A client's command with leave to create this group's part. The leave also settles a doubt
    /// unless it is older than what is staged: home gave it after the request began.
    Granted {
        /// Version and expiry of the part to create if there is none.
        grant: Grant,
        /// The command.
        command: WriteCommand,
    },
    /// Adds a group to a key's spread; asked of home, creates the record if absent:
    /// [`Outcome::Granted`]. Takes back every exclusive reservation of the key, for a write is
    /// about to happen.
    Enlist {
        /// The key.
        key: Key,
        /// The group that is about to hold a part.
        group: GroupId,
    },
    /// Forgets that a group was enlisted; asked of home: `Ok`.
    Settle {
        /// The key.
        key: Key,
        /// The version of the leave.
        version: Version,
        /// The group.
        group: GroupId,
    },
    /// Draws a version for a change that is about to be prepared; asked of home:
    /// [`Outcome::Reserved`].
    Reserve {
        /// The key.
        key: Key,
        /// Whether a write that goes by home in the meantime takes the reservation back.
        exclusive: bool,
    },
    /// Prepares this group's share of a coming change, without effect until activated: `Ok`. Home
    /// stages its own share of a value in the same way. A second value at the same version adds
    /// its bits, which must be disjoint, to the first. [`Outcome::Newer`] where the version is
    /// settled already.
    Stage {
        /// The key.
        key: Key,
        /// The reserved version.
        version: Version,
        /// When a part made of it expires.
        expiry: Option<UnixMillis>,
        /// What is prepared.
        from: StageFrom,
    },
    /// Makes a prepared change the truth; asked of home. This is the atomic moment: `Ok`.
    ///
    /// [`Outcome::Spread`], with nothing done, where a group of the old or the new spread is not in
    /// `staged`: it must be staged first. [`Outcome::Newer`], with nothing done, where the
    /// reservation is gone or the record is not as `seen`: the change must be prepared again.
    /// Older reservations of the key are gone after it.
    Publish {
        /// The key.
        key: Key,
        /// The reserved version.
        version: Version,
        /// The groups other than home that have staged something.
        staged: Vec<GroupId>,
        /// What the record must be.
        seen: Seen,
        /// What becomes of it.
        change: Change,
    },
    /// Takes a reservation back; asked of home: `Ok`, also where it is not there.
    /// [`Outcome::Newer`] where the version was published.
    Abandon {
        /// The key.
        key: Key,
        /// The reserved version.
        version: Version,
    },
    /// Does what was staged and published: a value becomes the part, a removal drops it, an expiry
    /// is set. `Ok`; repeating it changes nothing.
    Activate {
        /// The key.
        key: Key,
        /// The published version.
        version: Version,
    },
    /// Forgets what was staged at exactly this version, which will never be published: `Ok`.
    Abort {
        /// The key.
        key: Key,
        /// The abandoned version.
        version: Version,
    },
    /// Drops this group's live part if its version is at most `version`: `Ok`.
    Drop {
        /// The key.
        key: Key,
        /// The newest version to drop.
        version: Version,
    },
    /// Forgets work that all groups have confirmed; asked of home: `Ok`.
    Forget {
        /// The key.
        key: Key,
        /// The version of the work.
        version: Version,
    },
    /// All of these or none; every key lies in this group alone. [`Outcome::Replies`]; `NilArray`
    /// where a watched key changed; [`Outcome::Spread`] or [`Outcome::AskHome`], with nothing done,
    /// where one of them needs another group.
    Transaction {
        /// Watched keys and the fingerprints they must still have.
        watches: Vec<(Key, LogIndex)>,
        /// The commands, in order: only [`ReadOp::Command`] and [`WriteOp::Command`].
        ops: Vec<Op>,
    },
    /// Opens a session under which a router numbers its batches: [`Outcome::Session`]. It ends when
    /// no batch of it was applied for a while of log time.
    OpenSession,
    /// A router's batch, applied once however often it is in the log: [`Outcome::Numbered`].
    Numbered(Numbered),
    /// Nothing but the entry's time.
    Tick,
    /// Gives the group the slots it owns from now on; the first entry of every group.
    Adopt {
        /// All slots of the group, ascending.
        slots: Vec<Slot>,
    },
}

/// A batch under a session's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The session.
    pub session: SessionId,
    /// The batch's number in its session, from 1. Batches may come in any order.
    pub number: u64,
    /// Every batch up to this number has been answered and will not be sent again: what is kept of
    /// it may be forgotten. Always less than `number`.
    pub answered: u64,
    /// The ops; none of them is numbered itself or opens a session. Of a batch read from an entry
    /// they are a slice of it, not looked at yet: [`OpBatch::into_reader`] says what is wrong.
    pub ops: OpBatch,
}

/// What became of a numbered batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberedOutcome {
    /// Applied, now or at an earlier place in the log: the outcomes of its ops, encoded.
    Applied(OutcomeBatch),
    /// Applied earlier, and the outcomes are not kept: they were too long, or the router said that
    /// it had them.
    Forgotten,
    /// Not applied here: the session is not open. If the batch was sent only once it was never
    /// applied.
    NoSession,
}

/// One operand of a combination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRef {
    /// The key.
    pub key: Key,
    /// The version to read; `None` for a record that was never spread.
    pub version: Option<Version>,
}

/// What a record must be for a change to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Whatever it is, also absent.
    Any,
    /// There must be none.
    Absent,
    /// It must have exactly this version and this expiry.
    Record {
        /// `None` for a record that was never spread.
        version: Option<Version>,
        /// When it expires.
        expiry: Option<UnixMillis>,
    },
    /// The log entry that last changed the record; 0 where there must be none.
    Unchanged(LogIndex),
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A value. Home's own staged share, if any, becomes the record's.
    Value {
        /// The groups other than home that have staged a share of it; all of them in the
        /// publication's `staged`.
        spread: Vec<GroupId>,
        /// Byte length of the value.
        len_bytes: u64,
        /// When it expires.
        expiry: Option<UnixMillis>,
        /// What goes in its turn: the source of a RENAME.
        moved: Option<Moved>,
    },
    /// The end of the key.
    Nothing,
    /// A new expiry of the record, which must be there.
    Expiry(Option<UnixMillis>),
}

/// The removal of a key that was prepared together with the publication of another one: the
/// other's home remembers to publish it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The key that goes.
    pub key: Key,
    /// Its reserved version.
    pub version: Version,
    /// The groups other than its home that have staged the removal.
    pub staged: Vec<GroupId>,
    /// The log entry that last changed its record; a key that has changed since stays.
    pub modified: LogIndex,
}

/// What a stage prepares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageFrom {
    /// From the entry itself, in the bitmap codec.
    Value(Bytes),
    /// From a combination of what this group holds of other keys, within `range` and within the
    /// segments this group owns.
    Combine {
        /// How to combine.
        logic: BitLogic,
        /// The operands; a part that is absent or older counts as zeros.
        sources: Vec<SourceRef>,
        /// Half-open range of bits.
        range: (u64, u64),
        /// Byte length of the longest operand, over all groups.
        len_bytes: u64,
    },
    /// From a formula over what this group holds of other keys, within `range` and within the
    /// segments this group owns.
    Evaluate {
        /// What to compute.
        formula: Formula,
        /// The operands; a part that is absent or older counts as zeros.
        sources: Vec<SourceRef>,
        /// Half-open range of bits.
        range: (u64, u64),
        /// Byte length of the result, over all groups.
        len_bytes: u64,
    },
    /// From this group's part of another key, within `range`.
    Copy {
        /// The other key.
        source: SourceRef,
        /// Half-open range of bits.
        range: (u64, u64),
    },
    /// No bits: the part that is here goes.
    Void,
    /// The part of this version stays and expires as the stage says.
    Expiry {
        /// The version of the record that the expiry belongs to.
        of: Version,
    },
}

/// Leave to create a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The key's version.
    pub version: Version,
    /// The key's expiry.
    pub expiry: Option<UnixMillis>,
    /// The newest version that home had drawn in the key's slot when it gave the leave. Leave that
    /// is older than what a group has staged of the key ([`WriteOp::Stage`]'s version is greater)
    /// is not taken: [`Outcome::AskHome`].
    pub drawn: Version,
}

/// What home knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `None` while the key was never spread.
    pub version: Option<Version>,
    /// When it expires.
    pub expiry: Option<UnixMillis>,
    /// The other groups that hold parts.
    pub spread: Vec<GroupId>,
    /// Byte length as home knows it: its own part's. A part elsewhere may be longer.
    pub len_bytes: u64,
    /// The log entry that last changed the record.
    pub modified: LogIndex,
}

/// What home remembers that is not finished. A router finishes what it has begun; of a router that
/// died, the leader of home has it finished. Every step may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A change was published. Send [`WriteOp::Activate`] to `groups`, publish the removal of
    /// `moved`, then send [`WriteOp::Forget`] to home.
    Published {
        /// The key.
        key: Key,
        /// The published version.
        version: Version,
        /// The groups that have staged something.
        groups: Vec<GroupId>,
        /// The key that goes.
        moved: Option<Moved>,
    },
    /// A version will never be published. Send [`WriteOp::Abort`] to every group that may have
    /// staged it, then [`WriteOp::Forget`] to home.
    Abandoned {
        /// The key.
        key: Key,
        /// The abandoned version.
        version: Version,
    },
    /// The key has expired. Send [`WriteOp::Drop`] to `groups`, then [`WriteOp::Forget`] to home.
    Expired {
        /// The key.
        key: Key,
        /// The version that has expired.
        version: Version,
        /// The groups that may hold parts of it.
        groups: Vec<GroupId>,
    },
    /// A version is reserved. Send [`WriteOp::Abandon`] to home when no router can be at work on
    /// it any more.
    Reserved {
        /// The key.
        key: Key,
        /// The reserved version.
        version: Version,
        /// When it was reserved, by log time.
        since: UnixMillis,
    },
    /// A group was enlisted and may have written its part or not. A key whose record was made for
    /// it and of which no group holds anything is none: remove it, then send [`WriteOp::Settle`] to
    /// home, when no router can be at work on it any more.
    Enlisted {
        /// The key.
        key: Key,
        /// The version of the leave.
        version: Version,
        /// The group.
        group: GroupId,
        /// When it was enlisted, by log time.
        since: UnixMillis,
    },
}

/// What a group answers to an op.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The answer, or the client's part of it.
    Reply(Reply),
    /// Not done: this key does not lie in this group alone. The router must gather.
    Spread(Box<Header>),
    /// The record, or that there is none.
    Header(Option<Box<Header>>),
    /// Not done: this group has no live part of the key or is in doubt about it. A write must be
    /// enlisted at home first, a read must ask home for the version.
    AskHome,
    /// Leave to create a part.
    Granted(Grant),
    /// A version of one's own.
    Reserved(Version),
    /// A transaction's replies.
    Replies(Vec<Reply>),
    /// A session is open.
    Session(SessionId),
    /// What became of a numbered batch.
    Numbered(NumberedOutcome),
    /// Not done: the part here is newer than the version asked for. Start again from home.
    Newer(Version),
    /// Not done: the slot is not this group's.
    NotOwner,
    /// Not answered: the key is past its expiry by the reader's clock but not yet by the log's, or
    /// a fingerprint was asked for while an entry that changed the key is half applied. Commit a
    /// [`WriteOp::Tick`] and ask again, so that what is seen expired stays expired.
    Tick,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<CommandError> for Outcome {
    fn from(error: CommandError) -> Self {
        Self::Reply(error.into())
    }
}

impl From<ReadCommand> for Op {
    fn from(command: ReadCommand) -> Self {
        Self::Read(ReadOp::Command(command))
    }
}

impl From<WriteCommand> for Op {
    fn from(command: WriteCommand) -> Self {
        Self::Write(WriteOp::Command(command))
    }
}
