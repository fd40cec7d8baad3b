//! Harness for tests that run real processes: servers, clusters, clients, faults, and the check of
//! what the clients saw.
//!
//! # Map
//!
//! | module      | job                                                             |
//! |-------------|-----------------------------------------------------------------|
//! | [`server`]  | Bitroster and redis-server as child processes                   |
//! | [`client`]  | a plain blocking client, for requests and raw bytes             |
//! | [`history`] | what clients asked, when, and what they were told               |
//! | [`checker`] | whether a history is linearizable                               |
//! | [`random`]  | a seeded generator that prints its seed                         |
//! | [`wait`]    | polling for a condition, with a reason when it fails            |

pub mod checker;
pub mod client;
pub mod history;
pub mod random;
pub mod server;
pub mod wait;

pub use client::Client;
pub use random::Random;
pub use server::Server;
