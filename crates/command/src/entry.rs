//! Ops as the bytes of a log entry.

use bitroster_types::UnixMillis;
use bytes::{Bytes, BytesMut};

use crate::Op;

/// Ops on their way to one group, already in the entry's encoding, so that a queue of batches
/// becomes an entry by concatenation.
#[derive(Clone, Debug, Default)]
pub struct OpBatch {
    count: u32,
    bytes: BytesMut,
}
