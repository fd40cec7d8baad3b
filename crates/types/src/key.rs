//! A bitmap's name.

use std::{borrow::Borrow, fmt, ops::Deref};

use smallvec::SmallVec;

use crate::limits::KEY_BYTES_MAX;

/// Keys up to this many bytes need no allocation of their own.
const INLINE_BYTES: usize = 24;

/// The name of a bitmap: up to 64 KiB, any bytes.
///
/// Short keys (up to 24 bytes) are held inline; a clone of those allocates nothing. The empty key
/// is legal, as it is in Redis.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(SmallVec<[u8; INLINE_BYTES]>);

impl Key {
    /// The key with this name, or `None` past [`KEY_BYTES_MAX`].
    pub fn new(name: &[u8]) -> Option<Self> {
        (name.len() <= KEY_BYTES_MAX).then(|| Self(SmallVec::from_slice(name)))
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Clone for Key {
    // The derived clone would go byte by byte.
    fn clone(&self) -> Self {
        Self(SmallVec::from_slice(&self.0))
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_past_the_limit_is_refused() {
        assert!(Key::new(&vec![b'k'; KEY_BYTES_MAX]).is_some());
        assert!(Key::new(&vec![b'k'; KEY_BYTES_MAX + 1]).is_none());
    }

    #[test]
    fn debug_output_shows_odd_bytes_escaped() {
        assert_eq!(format!("{:?}", Key::new(b"a\n\x00").unwrap()), r#""a\n\x00""#);
    }
}
