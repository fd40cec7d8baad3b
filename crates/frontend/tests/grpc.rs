//! Goal: every call of the gRPC API does what its command does, ends when its client wants it to,
//! and is refused with what a client needs to know.
//!
//! Method: the generated client over loopback, a front end over one engine behind it; every reply
//! is compared with what the same command answers a Redis client.

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
mod support;
