//! Clients: RESP sessions, public gRPC, admission and authentication.
//!
//! A connection is one task. It reads what has arrived, hands every complete request to its
//! [`Turn`](bitroster_router::Turn), and when no complete request is left sends all of them on at
//! once and all replies back in one write. What concerns the connection or the server is answered
//! here and never leaves the session.
//!
//! # Invariants
//!
//! - Replies leave in the order of the requests, whoever answers them.
//! - A client holds memory for the requests of one turn and their replies, never more: the next
//!   bytes are read when the replies are written.
//! - Nothing here knows where a key lies.
//!
//! # Map
//!
//! | module       | job                                                          |
//! |--------------|--------------------------------------------------------------|
//! | [`server`]   | the RESP listener, admission, the clock and the end          |
//! | [`options`]  | what a front end is started with, and what may change later  |
//! | [`access`]   | users, their rules, and the check of every command           |
//! | [`tls`]      | TLS for clients, as a trait                                  |
//! | [`status`]   | what INFO and CONFIG ask of the node, as a trait             |
//! | [`view`]     | the cluster as CLUSTER, WAIT and INFO tell of it             |
//! | [`metrics`]  | what is counted                                              |
//! | [`caller`]   | conversations of clients that the node serves by other ways  |
//! | [`pubsub`]   | channels, their listeners, and what is told of keys          |
//! | `slowlog`    | the requests that took longest                               |
//! | `latency`    | how long commands take                                       |
//! | `catalog`    | places in the command table                                  |
//! | `client`     | the open connections, and how to end one                     |
//! | `session`    | one connection: bytes in, turns, bytes out, transactions     |
//! | `admin`      | HELLO, CLIENT, COMMAND, CONFIG, CLUSTER, INFO and the like   |
//! | [`host`]     | names that a browser may ask by while no password is needed  |
//! | `encode`     | replies to bytes                                             |
//! | `grpc`       | the public gRPC API: calls with types                        |
//!
//! Start at [`Frontend::serve`].

pub mod access;
mod admin;
pub mod caller;
mod catalog;
mod client;
mod encode;
mod grpc;
pub mod host;
mod latency;
pub mod metrics;
pub mod options;
pub mod pubsub;
pub mod server;
mod session;
mod slowlog;
pub mod status;
pub mod tls;
pub mod view;

pub use access::{Access, Identity, UserStore, Users};
pub use bitroster_router::Spawn;
pub use caller::{Caller, CommandSample, Login, Sample, Sampler};
pub use metrics::Metrics;
pub use options::Options;
pub use pubsub::Relay;
pub use server::Frontend;
pub use status::{NodeStatus, SpreadStatus, Status};
pub use tls::Handshake;
pub use view::{ClusterView, GroupView, NodeView, SlotRange};
