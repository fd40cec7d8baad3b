//! Goal: every call of the gRPC API does what its command does, ends when its client wants it to,
//! and is refused with what a client needs to know.
//!
//! Method: the generated client over loopback, a front end over one engine behind it; every reply
//! is compared with what the same command answers a Redis client.

#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

#[path = "grpc/bits.rs"]
mod bits;
#[path = "grpc/calls.rs"]
mod calls;
#[path = "grpc/commands.rs"]
mod commands;
#[path = "grpc/harness.rs"]
mod harness;
#[path = "grpc/keys.rs"]
mod keys;
#[path = "grpc/open.rs"]
mod open;
#[path = "grpc/own.rs"]
mod own;
mod support;
#[path = "grpc/transfer.rs"]
mod transfer;
