//! Harness for tests that run real processes: servers, clusters, clients, faults, and the check of
//! what the clients saw.
//!
//! # Map
//!
//! | module       | job                                                               |
//! |--------------|-------------------------------------------------------------------|
//! | [`server`]   | one Bitroster or redis-server as a child process                  |
//! | [`cluster`]  | shard nodes and routers, their faults and their state             |
//! | [`node`]     | one process of a cluster                                          |
//! | [`status`]   | what `bitroster cluster status` says, as values                   |
//! | [`docker`]   | a container engine of a test's own, and what runs in it            |
//! | [`prometheus`] | Debian's Prometheus, and what it finds                          |
//! | [`network`]  | network namespaces of a test's own, whose links can be cut        |
//! | [`commands`] | random commands of every kind that Redis has too                 |
//! | [`twin`]     | Redis and Bitroster side by side, and what sets them apart        |
//! | [`client`]   | a plain blocking client, for requests and raw bytes               |
//! | [`http`]     | plain HTTP requests                                               |
//! | [`conformance`] | requests and replies as text, over whatever carries them       |
//! | [`programs`] | programs with the clients that teams use                          |
//! | [`load`]     | clients that change random bits and record what they were told    |
//! | [`browser`]  | a plain client of the console                                     |
//! | [`history`]  | what clients asked, when, and what they were told                 |
//! | [`transfer`] | `bitroster import` and `export` as processes                      |
//! | [`editions`] | keys whose values are whole or wrong, and who writes and reads    |
//! | [`checker`]  | whether a history is linearizable                                 |
//! | [`probe`]    | how long groups could not be written to                           |
//! | [`scenario`] | faults in random order, under load, and their verdict             |
//! | [`random`]   | a seeded generator that prints its seed                           |
//! | [`wait`]     | polling for a condition, with a reason when it fails              |

pub mod browser;
pub mod checker;
pub mod client;
pub mod cluster;
pub mod commands;
pub mod conformance;
pub mod docker;
pub mod editions;
pub mod history;
pub mod http;
pub mod load;
pub mod manual;
pub mod network;
pub mod node;
pub mod probe;
pub mod programs;
pub mod prometheus;
pub mod random;
pub mod refusals;
pub mod scenario;
pub mod server;
pub mod status;
pub mod transfer;
pub mod twin;
pub mod wait;

pub use client::Client;
pub use cluster::Cluster;
pub use load::{Load, LoadPlan};
pub use random::Random;
pub use server::Server;
