//! A perfect hash of the commands' names, made by the compiler.

use super::{COUNT, SORTED};

/// Places in the hash; some ten for each name, so that a seed without collisions is found soon.
const PLACES: usize = 1024;

/// No name here.
const EMPTY: u8 = u8::MAX;

/// Longest name.
const NAME_BYTES_MAX: usize = 16;

/// A seed without collisions, and the row of each place.
static TABLE: (u64, [u8; PLACES]) = table();

const _: () = assert!(COUNT < EMPTY as usize);

/// Whether `a` comes before `b`, byte by byte. For names in a constant.
pub(super) const fn is_less(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() {
        if a[at] != b[at] {
            return a[at] < b[at];
        }
        at += 1;
    }
    a.len() < b.len()
}

/// The name's bytes and length in one word, upper and lower case alike. Different names may have
/// the same word: a name found is compared.
const fn word(name: &[u8]) -> Option<u64> {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let (start, end) = match name.len() {
        0 => return None,
        1..4 => {
            let middle = name[name.len() / 2];
            (u64::from_le_bytes([name[0], middle, name[name.len() - 1], 0, 0, 0, 0, 0]), 0)
        }
        4..8 => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(start), Some(end)) => {
                let [s0, s1, s2, s3] = *start;
                let [e0, e1, e2, e3] = *end;
                (u64::from_le_bytes([s0, s1, s2, s3, e0, e1, e2, e3]), 0)
            }
            _ => return None,
        },
        8..=NAME_BYTES_MAX => match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(start), Some(end)) => (u64::from_le_bytes(*start), u64::from_le_bytes(*end)),
            _ => return None,
        },
        _ => return None,
    };
    Some((start | CASE) ^ (end | CASE).rotate_left(29) ^ name.len() as u64)
}

/// Where a word lies under a seed: the product's upper bits.
#[expect(clippy::cast_possible_truncation, reason = "ten bits are left")]
const fn place(word: u64, seed: u64) -> usize {
    (word.wrapping_mul(seed) >> (64 - PLACES.trailing_zeros())) as usize
}

const fn table() -> (u64, [u8; PLACES]) {
    let mut words = [0; COUNT];
    let mut row = 0;
    while row < COUNT {
        words[row] = match word(SORTED[row].name.as_bytes()) {
            Some(word) => word,
            None => panic!("a command's name is empty or too long"),
        };
        row += 1;
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    loop {
        if let Some(rows) = rows(&words, seed) {
            return (seed, rows);
        }
        seed = (seed ^ (seed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1;
    }
}

/// The row of each place under this seed, if no two names share one.
const fn rows(words: &[u64; COUNT], seed: u64) -> Option<[u8; PLACES]> {
    let mut rows = [EMPTY; PLACES];
    let mut row = 0;
    while row < COUNT {
        let place = place(words[row], seed);
        if rows[place] != EMPTY {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
        let number = row as u8;
        rows[place] = number;
        row += 1;
    }
    Some(rows)
}

/// The row that holds `name` if any does; past the last row where none can.
pub(super) fn find(name: &[u8]) -> Option<u8> {
    word(name).map(|word| TABLE.1[place(word, TABLE.0)])
}
