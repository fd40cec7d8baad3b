//! Harness for tests that run real processes: servers, clients, and waiting for conditions.
//!
//! # Map
//!
//! | module     | job                                                    |
//! |------------|--------------------------------------------------------|
//! | [`server`] | Bitroster and redis-server as child processes          |
//! | [`client`] | a plain blocking client, for requests and raw bytes    |
//! | [`random`] | a seeded generator that prints its seed                |
//! | [`wait`]   | polling for a condition, with a reason when it fails   |

pub mod client;
pub mod random;
pub mod server;
pub mod wait;

pub use client::Client;
pub use random::Random;
pub use server::Server;
