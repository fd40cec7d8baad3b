//! One name, as it is given and as it is kept.
//!
//! A kept name is a head and its bytes: a head of 0 to 253 is the length, 254 is followed by the
//! length as two bytes, little-endian, and 255 by the sixteen bytes of a UUID whose text was of the
//! canonical form, in lower case. Every name has one kept form only.

use std::hash::{DefaultHasher, Hasher as _};

/// The head of a name whose length takes two bytes more.
const LONG: u8 = 254;

/// The head of a UUID.
const UUID: u8 = 255;

/// Bytes of a UUID.
const UUID_BYTES: usize = 16;

/// Characters of a UUID's text.
const UUID_CHARS: usize = 36;

/// A name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// The bytes of a UUID.
    Uuid([u8; UUID_BYTES]),
    /// Any other name. Its text is no canonical UUID.
    Plain(&'a [u8]),
}

impl<'a> Name<'a> {
    /// The name that a client wrote.
    pub(crate) fn of(text: &'a [u8]) -> Self {
        uuid_of(text).map_or(Self::Plain(text), Self::Uuid)
    }

    /// What a client wrote.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Uuid(id) => text_of(id).to_vec(),
            Self::Plain(text) => text.to_vec(),
        }
    }

    /// The name's place in the table of a space with that seed: SipHash, so that whoever chooses
    /// names cannot choose where they lie.
    #[expect(clippy::cast_possible_truncation, reason = "any half is as good")]
    pub(super) fn hash(&self, seed: u64) -> u32 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        match self {
            Self::Uuid(id) => hasher.write(id),
            Self::Plain(text) => hasher.write(text),
        }
        hasher.finish() as u32
    }

    /// Bytes of the kept form.
    pub(super) fn kept_bytes(&self) -> usize {
        match self {
            Self::Uuid(_) => 1 + UUID_BYTES,
            Self::Plain(text) if text.len() < usize::from(LONG) => 1 + text.len(),
            Self::Plain(text) => 3 + text.len(),
        }
    }

    /// Adds the kept form.
    ///
    /// # Panics
    ///
    /// If the name is longer than 64 KiB.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Uuid(id) => {
                out.push(UUID);
                out.extend_from_slice(id);
            }
            Self::Plain(text) => {
                let len = u16::try_from(text.len()).expect("a name's length was checked");
                match u8::try_from(len) {
                    Ok(len) if len < LONG => out.push(len),
                    Ok(_) | Err(_) => {
                        out.push(LONG);
                        out.extend_from_slice(&len.to_le_bytes());
                    }
                }
                out.extend_from_slice(text);
            }
        }
    }

    /// The kept name that begins the bytes, and how many it takes; `None` where they end too early.
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (head, rest) = bytes.split_first()?;
        if *head == UUID {
            let id = rest.first_chunk::<UUID_BYTES>()?;
            return Some((Self::Uuid(*id), 1 + UUID_BYTES));
        }
        let (len, start) = if *head == LONG {
            (usize::from(u16::from_le_bytes(*rest.first_chunk::<2>()?)), 3)
        } else {
            (usize::from(*head), 1)
        };
        Some((Self::Plain(bytes.get(start..start + len)?), start + len))
    }
}

/// The values of hexadecimal digits in lower case; 0x10 for all other bytes.
const DIGITS: [u8; 256] = {
    let mut digits = [0x10; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

/// Where the first digit of each byte stands in the text.
const PLACES: [usize; UUID_BYTES] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// Where the dashes stand.
const DASHES: [usize; 4] = [8, 13, 18, 23];

fn uuid_of(text: &[u8]) -> Option<[u8; UUID_BYTES]> {
    let text: &[u8; UUID_CHARS] = text.try_into().ok()?;
    if DASHES.iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let mut all = 0;
    let id = PLACES.map(|at| {
        let (high, low) = (DIGITS[usize::from(text[at])], DIGITS[usize::from(text[at + 1])]);
        all |= high | low;
        high << 4 | low
    });
    (all < 0x10).then_some(id)
}

fn text_of(id: [u8; UUID_BYTES]) -> [u8; UUID_CHARS] {
    let mut text = [b'-'; UUID_CHARS];
    for (byte, at) in id.into_iter().zip(PLACES) {
        text[at] = b"0123456789abcdef"[usize::from(byte >> 4)];
        text[at + 1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    text
}
