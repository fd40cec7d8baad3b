//! RESP2 and RESP3: bytes to frames and back, incremental, with limits.
//!
//! Bytes come from anybody, so each reader here answers malformed input with an error, allocates
//! only for bytes that have arrived, and costs time linear in them.
//!
//! # Invariants
//!
//! - No I/O, clock, lock or `async`; no command is known by name.
//! - However a stream is cut into pieces, the requests and the error that come out are the same.
//! - A length that a peer announces is checked against a limit before anything depends on it.
//!
//! # Map
//!
//! | module      | job                                       | called by                      |
//! |-------------|-------------------------------------------|--------------------------------|
//! | [`request`] | a client's bytes to argument slices       | RESP sessions                  |
//! | [`encode`]  | replies and requests to bytes             | RESP sessions, our own clients |
//! | [`frame`]   | a server's bytes to owned frames          | our own clients, tests         |
//! | [`skip`]    | a server's bytes to where each reply ends | the load generator             |
//! | [`limits`]  | what a peer may send                      | whoever makes a decoder        |
//! | [`error`]   | why a stream was refused                  | all                            |
//!
//! Start at [`Decoder::decode`]. Sockets, buffers and time-outs are the caller's.

pub mod encode;
pub mod error;
pub mod frame;
mod inline;
pub mod limits;
mod number;
pub mod request;
pub mod skip;
mod token;

pub use encode::{Encoder, Version, encode_request};
pub use error::{FrameError, ProtocolError};
pub use frame::{Frame, decode_frame};
pub use limits::{FrameLimits, Limits};
pub use request::{Args, ArgsIter, Decoded, Decoder};
pub use skip::{ReplyKind, ReplySkipper, Skipped, skip_reply};
