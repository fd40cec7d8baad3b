//! Node to node: links, the dispatcher, and the router's and shard's way to other nodes.
//!
//! A node has a link to each other member of its cluster ([`Links`]): a stream of frames over which
//! calls of many groups go and answers come back, in any order. The [`Dispatcher`] answers them
//! from this node's replicas. Each end of a link hands on the newest cluster state that it has, so
//! that routers and shards follow every change ([`StateCell`]).
//!
//! # Invariants
//!
//! - A call that failed with [`CallError::NotSent`] never reaches the other node. All other calls
//!   without an answer may have arrived.
//! - A batch of writes is applied at most once, however often it is sent: it keeps its number, and
//!   its group keeps the outcomes until they have arrived.
//! - What is routed by an old map is refused by who knows a newer one.
//! - Nothing waits without a bound: calls and bytes of a link, requests of a group.
//!
//! # Map
//!
//! | module         | job                                                          |
//! |----------------|--------------------------------------------------------------|
//! | [`links`]      | the links of this node to all others                         |
//! | `link`         | one lane to one node: calls, answers, opening it again       |
//! | `outbox`       | what waits for its way to the other end, as frames           |
//! | [`identity`]   | who a node is, as it says at the beginning of a link         |
//! | [`state`]      | the newest state of the cluster                              |
//! | [`request`]    | requests and responses, and their form in frames             |
//! | [`dispatcher`] | answers requests to this node's replicas                     |
//! | [`backend`]    | the shard as the dispatcher's back end                       |
//! | `peers`        | links as the shard's way to other replicas                   |
//! | `pressure`     | which other nodes are above their `maxmemory`                |
//! | [`publish`]    | messages of clients on their way to clients of other nodes   |
//! | [`transport`]  | links as the router's way to groups                          |
//! | [`server`]     | the node's port                                              |
//! | [`client`]     | a client of another node's service `Cluster`                 |
//! | [`tls`]        | certificates on both ends of links                           |
//! | `metrics`      | what is counted                                              |

pub mod backend;
pub mod client;
pub mod dispatcher;
pub mod error;
pub mod identity;
mod link;
pub mod links;
mod metrics;
mod outbox;
mod peers;
mod pressure;
pub mod publish;
pub mod request;
pub mod server;
pub mod state;
pub mod tls;
pub mod transport;

pub use backend::ShardBackend;
pub use bitroster_router::Spawn;
pub use client::ClusterClient;
pub use dispatcher::{Backend, Dispatcher, Refusal};
pub use error::{CallError, Error};
pub use identity::Identity;
pub use links::Links;
pub use publish::Audience;
pub use request::{Body, Outcomes, Request, Response};
pub use server::{Control, ControlError, PeerHost, Services, serve};
pub use state::StateCell;
pub use tls::LinkTls;
pub use transport::ClusterTransport;
