//! Generated protobuf and its conversions.
//!
//! The code is generated when the crate is built, from the `.proto` files of the folder `proto`;
//! what a field means stands there. Fields of bytes are [`bytes::Bytes`] and share the memory of
//! the message that they came in.
//!
//! # Map
//!
//! | module         | job                                        |
//! |----------------|--------------------------------------------|
//! | [`internal`]   | what nodes say to each other               |
//! | [`convert`]    | between that and our own types             |
//! | [`public`]     | what clients say, and its description      |

pub mod convert;

/// What nodes say to each other: `bitroster.internal.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, clippy::nursery)]
#[allow(unreachable_pub, reason = "generated")]
pub mod internal {
    tonic::include_proto!("bitroster.internal.v1");
}

/// What clients say: `bitroster.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, clippy::nursery)]
#[allow(unreachable_pub, reason = "generated")]
pub mod public {
    tonic::include_proto!("bitroster.v1");

    /// The services and messages with their comments, as an encoded `FileDescriptorSet`.
    pub const DESCRIPTION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public.bin"));
}

pub use convert::ConvertError;
