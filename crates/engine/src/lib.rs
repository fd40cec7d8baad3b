//! The keyspace of one group as a deterministic state machine.
//!
//! [`Engine`] holds every record and part of one shard group. It changes only through
//! [`Engine::begin`] and [`Engine::apply`], which take committed log entries in order; replicas
//! that apply the same entries hold the same state and give the same outcomes.
//!
//! # Invariants
//!
//! - No I/O, clock, randomness, lock, task or `async`. What may differ between replicas arrives in
//!   the entry.
//! - An entry is begun once: `applied` only grows, and so does log time.
//! - What decides an outcome is in the state, the entry or a constant of the cluster. No order of
//!   iteration of a hash table, no capacity of a vector, no representation of a bitmap does.
//! - An op that is answered "not done" (`Spread`, `AskHome`, `Newer`, `NotOwner`) has changed
//!   nothing that can be seen; keys past their expiry may have gone, which cannot.
//! - A numbered batch of an open session is applied once, however often it is in the log.
//! - A key past its expiry is absent, dropped or not, and never comes back.
//! - An entry's value holds bits of segments that the group owns, and no others.
//!
//! # Map
//!
//! | module       | job                                                             |
//! |--------------|-----------------------------------------------------------------|
//! | [`engine`]   | the state, and what is done to all of it                        |
//! | [`read`]     | queries; they borrow the state                                  |
//! | `write`      | one function a command, and the protocols across groups         |
//! | [`work`]     | long computations, to be run outside the lock                   |
//! | [`session`]  | which batches of routers are applied, and their outcomes        |
//! | [`snapshot`] | the state as bytes, and back                                    |
//! | [`stats`]    | figures                                                         |
//! | [`survey`]   | how values are kept, by a walk                                  |
//! | `store`      | the entries, their sums, and the order in which they expire     |
//! | `root`       | all pages, copied only where they change                        |
//! | `leaf`       | one page: keys close by hash, small values packed               |
//! | `side`       | versions, what is staged, what is not finished                  |
//! | `space`      | dictionaries from names to dense numbers                        |
//! | `owned`      | which slots and segments are the group's                        |
//!
//! Start at [`Engine::apply`] and `write::write`; then `leaf`, where the memory goes.

mod entry;
mod index;
mod leaf;
mod owned;
mod root;
mod side;
mod size;
mod space;
mod spot;
mod store;
mod write;

pub mod engine;
pub mod read;
pub mod session;
pub mod snapshot;
pub mod stats;
pub mod survey;
pub mod work;

pub use engine::{Engine, EngineConfig};
pub use read::ReadStep;
pub use session::Batch;
pub use snapshot::{RestoreError, Snapshot};
pub use stats::EngineStats;
pub use survey::{Forms, Survey};
pub use work::{Work, WorkDone};
