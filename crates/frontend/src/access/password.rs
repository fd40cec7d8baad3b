//! Passwords, of which only hashes are kept.

use std::{fmt, hint};

use sha2::{Digest as _, Sha256};

/// The SHA-256 of a password: all that is kept of it.
#[derive(Clone, Copy)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// The digest of a password.
    pub(crate) fn of(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }

    /// The digest that these 64 lower-case hexadecimal digits name.
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut digest = [0; 32];
        if text.len() != 2 * digest.len() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(digest))
    }

    /// Its bytes.
    pub(crate) fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// Sixty-four hexadecimal digits.
    pub(crate) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether both are the same. Takes the same time whatever they are.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        pairs.fold(0, |differing, (a, b)| hint::black_box(differing | (a ^ b))) == 0
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_sha_256_and_comes_back_from_its_digits() {
        let digest = Digest::of(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.hex(), hex);
        assert_eq!(Digest::from_hex(hex.as_bytes()), Some(digest));
        assert_ne!(digest, Digest::of(b"abd"));
        assert!(!format!("{digest:?}").contains("ba78"));
    }

    #[test]
    fn only_64_lower_case_digits_name_a_digest() {
        let hex = Digest::of(b"x").hex();
        for wrong in [&hex[1..], "", &hex.to_uppercase(), &hex.replace(&hex[..1], "g")] {
            assert_eq!(Digest::from_hex(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
