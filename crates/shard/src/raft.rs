//! Raft: the only module that names openraft.
//!
//! openraft's version is pinned, and what it changes from one to the next stays in here: the rest
//! of the crate proposes bytes and gets outcomes. What lies on the disk is encoded by [`codec`], so
//! that another version is a recompile and never a migration of data.
//!
//! | module            | job                                                        |
//! |-------------------|------------------------------------------------------------|
//! | [`replica`]       | one replica: start, propose, confirm a read, snapshot      |
//! | [`members`]       | who is in a group, and who leads it                        |
//! | [`types`]         | the types that openraft is run with                        |
//! | [`log_store`]     | the log: in memory for reading, in the log file for keeping |
//! | [`state_machine`] | committed entries on their way into the engine             |
//! | [`feed`]          | the ops of an entry, fetched before they are applied       |
//! | [`snapshot`]      | snapshot files                                             |
//! | [`incoming`]      | a snapshot that a leader sends, as it arrives              |
//! | [`network`]       | the replicas on other nodes                                |
//! | [`appends`]       | the stream of a leader's log to one of them                |
//! | [`message`]       | what is said to them, as bytes                             |
//! | [`lead`]          | whether a majority still follows its leader                |
//! | [`read_gate`]     | one read index at a time for all reads that wait           |
//! | [`runtime`]       | Tokio, without its shortest sleeps                         |
//! | [`codec`]         | votes, memberships and payloads as bytes                   |

mod appends;
mod codec;
mod feed;
mod incoming;
pub(crate) mod lead;
pub(crate) mod log_store;
pub(crate) mod members;
pub(crate) mod message;
mod network;
pub(crate) mod read_gate;
pub(crate) mod replica;
mod runtime;
pub(crate) mod snapshot;
pub(crate) mod state_machine;
mod types;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire;
