//! The public gRPC API: the commands of the table as calls with types.
//!
//! A call is a conversation of one command: its message becomes the arguments that a Redis client
//! would send, a [`Dialog`](crate::session::Dialog) of its own runs them, and the reply becomes a
//! message again. So limits, refusals, admission and promises are those of RESP.
//!
//! # Invariants
//!
//! - Who asks is checked before the body of a call is read.
//! - A stream's next page is asked for when the client has taken the one before.
//! - A call ends by the deadline that the client has set, and when the client drops it; a write
//!   that
//!   was sent goes on.
//!
//! # Map
//!
//! | module       | job                                                       |
//! |--------------|-----------------------------------------------------------|
//! | `server`     | limits and services                                       |
//! | `connection` | the listener: let in, counted, ended                      |
//! | `gate`       | who asks, until when, and one call's conversation         |
//! | `args`       | messages to arguments                                     |
//! | `answer`     | replies to what calls answer                              |
//! | `fault`      | refusals to statuses with details                         |
//! | `pages`      | server streams                                            |
//! | `bitmaps`    | the service `Bitmaps`                                     |
//! | `keys`       | the service `Keys`                                        |
//! | `ids`        | the service `Ids`                                         |
//! | `commands`   | the service `Commands`                                    |
//! | `health`     | the service `grpc.health.v1.Health`                       |
//!
//! Start at [`Frontend::serve_grpc`](crate::Frontend::serve_grpc).

mod answer;
mod args;
mod bitmaps;
mod commands;
mod connection;
mod fault;
mod gate;
mod health;
mod ids;
mod keys;
mod pages;
mod server;

use gate::Outcome;
use pages::Pages;
