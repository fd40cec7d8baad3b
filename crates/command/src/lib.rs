//! The one command table, commands, replies, errors and the log-entry codec.
//!
//! A client's request becomes a [`Command`]; the router turns it into [`Op`]s, each for one group;
//! a group answers an op with an [`Outcome`]; the router folds outcomes into one [`Reply`]. No wire
//! format is known here: front ends map [`Reply`] and [`CommandError`] to bytes.
//!
//! # Map
//!
//! | module         | job                                                            |
//! |----------------|----------------------------------------------------------------|
//! | [`table`]      | one row a command: name, arity, keys, flags, help, parser      |
//! | [`mod@parse`]  | arguments to [`Command`], as Redis reads them                  |
//! | [`command`]    | what a client can ask                                          |
//! | [`composite`]  | what the router makes of several reads and writes              |
//! | [`expression`] | expressions over keys, as people write them                    |
//! | [`dates`]      | dated keys: periods of time and their names                    |
//! | [`payload`]    | what `DUMP` answers and `RESTORE` takes                        |
//! | [`session`]    | what a session answers by itself                               |
//! | [`access`]     | which keys a command touches, and how                          |
//! | [`op`]         | what a router asks one group, and what the group answers       |
//! | [`outcome`]    | outcomes as bytes                                              |
//! | [`prefixes`]   | what a group answers to BM.PREFIXES                            |
//! | [`reply`]      | what a client is told                                          |
//! | [`error`]      | every refusal, in Redis's words where Redis has them           |
//! | [`entry`]      | ops as the bytes of a log entry                                |
//! | `coding`       | the fields of which encoded ops and outcomes are made          |
//! | [`glob`]       | the patterns of `KEYS` and `SCAN`                              |

mod coding;

pub mod access;
pub mod command;
pub mod composite;
pub mod dates;
pub mod entry;
pub mod error;
pub mod expression;
pub mod glob;
pub mod op;
pub mod outcome;
pub mod parse;
pub mod payload;
pub mod prefixes;
pub mod reply;
pub mod session;
pub mod syntax;
pub mod table;

pub use access::{Access, Accesses};
pub use command::{
    BitLogic, Command, Existence, Expiry, ExpiryCondition, Field, FieldAction, FieldOp, FieldType,
    IndexRange, IndexUnit, MergeMode, Overflow, ReadCommand, SetReply, TimeForm, WriteCommand,
};
pub use composite::Composite;
pub use entry::{EntryError, EntryReader, OpBatch, OpReader, SetBitRef, encode_entry};
pub use error::{CommandError, Retry};
pub use glob::glob_match;
pub use op::{
    Change, Grant, Header, Moved, Numbered, NumberedOutcome, Op, Outcome, PartQuery, Pending,
    ReadOp, Seen, SourceRef, StageFrom, Want, WriteOp,
};
pub use outcome::{OutcomeBatch, OutcomeWriter};
pub use parse::{ParseLimits, parse, parse_i64};
pub use prefixes::{PrefixCounts, PrefixPage, PrefixRow, SpreadKey};
pub use reply::Reply;
pub use session::SessionCommand;
pub use table::{COMMANDS, CommandSpec, Flags, Group, keys_of, lookup};
