//! Offsets as decimal numbers, to exchange bitmaps with what reads and writes text.

use bitroster_types::limits::BITMAP_BITS_MAX;

use crate::bitmap::{Bitmap, MergeOp};

/// Numbers that are gathered before they go into the value.
const BATCH: usize = 1 << 16;

/// Longest piece of the text that an error repeats.
const FOUND_BYTES_MAX: usize = 24;

/// Why text is not a list of offsets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// What stands where a number should.
    #[error("'{found}' on line {line} is not an offset")]
    Number {
        /// What was found, cut.
        found: String,
        /// The line, from 1.
        line: u64,
    },
    /// A number beyond the limit.
    #[error("offset {found} on line {line}; the limit is {bits_max}")]
    Offset {
        /// The number, cut.
        found: String,
        /// The line, from 1.
        line: u64,
        /// The number of bits that a bitmap may have.
        bits_max: u64,
    },
}

impl Bitmap {
    /// The offsets of the set bits, ascending, one a line. Allocates up to 14 bytes a bit.
    pub fn to_csv(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut digits = [0; 20];
        for offset in self.iter_set(0..u64::MAX) {
            out.extend_from_slice(decimal(offset, &mut digits));
            out.push(b'\n');
        }
        out
    }

    /// The value whose bits are listed as decimal numbers below `bits_max`, between which are any
    /// commas and white space; in any order and repeated or not. Just long enough for the last
    /// one. Allocates in proportion to the input.
    ///
    /// ```
    /// # use bitroster_bitmap::Bitmap;
    /// let value = Bitmap::from_csv(b"3\r\n17, 5\n", 1 << 32).unwrap();
    /// assert_eq!(value.to_csv(), b"3\n5\n17\n");
    /// ```
    ///
    /// # Errors
    ///
    /// Where there is anything else, or a number that is too large; see [`CsvError`].
    ///
    /// # Panics
    ///
    /// If `bits_max` is beyond [`BITMAP_BITS_MAX`].
    pub fn from_csv(text: &[u8], bits_max: u64) -> Result<Self, CsvError> {
        assert!(bits_max <= BITMAP_BITS_MAX, "{bits_max} bits are beyond the limit");
        let mut value = Self::new();
        let mut batch = Vec::new();
        let mut line = 1;
        for piece in text.split_inclusive(|byte| is_between(*byte)) {
            let (number, end) = match piece.split_last() {
                Some((last, number)) if is_between(*last) => (number, *last),
                _ => (piece, b' '),
            };
            if !number.is_empty() {
                batch.push(parse(number, line, bits_max)?);
                if batch.len() == BATCH {
                    value.merge(MergeOp::Or, &Self::from_offsets(&batch));
                    batch.clear();
                }
            }
            line += u64::from(end == b'\n');
        }
        value.merge(MergeOp::Or, &Self::from_offsets(&batch));
        Ok(value)
    }
}

/// Whether a byte stands between numbers.
fn is_between(byte: u8) -> bool {
    byte == b',' || byte.is_ascii_whitespace()
}

/// The number of these bytes, which are some.
fn parse(number: &[u8], line: u64, bits_max: u64) -> Result<u64, CsvError> {
    let found = || String::from_utf8_lossy(&number[..number.len().min(FOUND_BYTES_MAX)]).into();
    let mut value = 0u64;
    for byte in number {
        if !byte.is_ascii_digit() {
            return Err(CsvError::Number { found: found(), line });
        }
        value = value.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    }
    if value < bits_max {
        return Ok(value);
    }
    Err(CsvError::Offset { found: found(), line, bits_max })
}

/// The decimal digits of a number, at the end of a buffer.
fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        let offsets: Vec<u64> = (0..42).map(|bit| 1 << bit).chain([0, 9, 10, 99, 100]).collect();
        let value = Bitmap::from_offsets(&offsets);
        assert_eq!(Bitmap::from_csv(&value.to_csv(), BITMAP_BITS_MAX), Ok(value));
        assert_eq!(Bitmap::from_csv(b" ,\n,", 8), Ok(Bitmap::new()));
        assert_eq!(Bitmap::from_csv(b"007", 8), Ok(Bitmap::from_bytes(b"\x01")));
    }

    #[test]
    fn many_numbers_in_any_order_make_one_value() {
        let text: String = (0..200_000u64).map(|i| format!("{},", i * 7919 % 300_007)).collect();
        let value = Bitmap::from_csv(text.as_bytes(), 1 << 32).unwrap();
        value.check();
        assert_eq!(value.cardinality(), 200_000);
        assert!((0..200_000u64).all(|i| value.get(i * 7919 % 300_007)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |text: &[u8]| Bitmap::from_csv(text, 100).unwrap_err().to_string();
        assert_eq!(error(b"1\n2\n\nx7"), "'x7' on line 4 is not an offset");
        assert_eq!(error(b"-1"), "'-1' on line 1 is not an offset");
        assert_eq!(error(b"99,100"), "offset 100 on line 1; the limit is 100");
        let long = error(&[b'9'; 1000]);
        assert_eq!(long, format!("offset {} on line 1; the limit is 100", "9".repeat(24)));
    }
}
