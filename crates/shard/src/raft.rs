//! Raft: the only module that names openraft.
//!
//! openraft's version is pinned, and what it changes from one to the next stays in here: the rest
//! of the crate proposes bytes and gets outcomes. What lies on the disk is encoded by [`codec`], so
//! that another version is a recompile and never a migration of data.
//!
//! | module            | job                                                        |
//! |-------------------|------------------------------------------------------------|
//! | [`replica`]       | one replica: start, propose, confirm a read, snapshot      |
//! | [`types`]         | the types that openraft is run with                        |
//! | [`log_store`]     | the log: in memory for reading, in the log file for keeping |
//! | [`state_machine`] | committed entries on their way into the engine             |
//! | [`snapshot`]      | snapshot files                                             |
//! | [`network`]       | where a transport to other replicas plugs in               |
//! | [`read_gate`]     | one read index at a time for all reads that wait           |
//! | [`runtime`]       | Tokio, without its shortest sleeps                         |
//! | [`codec`]         | votes, memberships and payloads as bytes                   |

mod codec;
pub(crate) mod log_store;
mod network;
pub(crate) mod read_gate;
pub(crate) mod replica;
mod runtime;
pub(crate) mod snapshot;
pub(crate) mod state_machine;
mod types;

#[cfg(test)]
mod tests;
