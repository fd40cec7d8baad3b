//! A perfect hash of the commands' names, made by the compiler.

use super::{COUNT, CommandSpec, SORTED};

/// Places in the hash: so many for each name that a seed without collisions is found soon. Only
/// those of names in use are ever in a cache.
const PLACES: usize = 16 << 10;

/// No name here.
const EMPTY: u8 = u8::MAX;

/// Longest name that its first and last words hold.
const NAME_BYTES_IN_TWO: usize = 16;

/// Longest name that three words hold.
const NAME_BYTES_MAX: usize = 24;

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

/// A name's first, last and, of a long name, middle bytes, lower case: with its length, all of it.
type Words = (u64, u64, u64);

/// The words of a name of 2 to [`NAME_BYTES_MAX`] bytes. They overlap in the middle.
const fn words(name: &[u8]) -> Option<Words> {
    let (start, end) =
        if let (Some(start), Some(end)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (u64::from_le_bytes(*start), u64::from_le_bytes(*end))
        } else if let (Some(start), Some(end)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (u32::from_le_bytes(*start) as u64, u32::from_le_bytes(*end) as u64)
        } else if let [first, .., last] = name {
            (u16::from_le_bytes([*first, name[name.len() / 2]]) as u64, *last as u64)
        } else {
            return None;
        };
    if name.len() <= NAME_BYTES_IN_TWO {
        Some((lower(start), lower(end), 0))
    } else if name.len() <= NAME_BYTES_MAX {
        let (_, rest) = name.split_at(8);
        match rest.first_chunk::<8>() {
            Some(middle) => Some((lower(start), lower(end), lower(u64::from_le_bytes(*middle)))),
            None => None,
        }
    } else {
        None
    }
}

/// Eight bytes with A to Z made lower case and all others as they are.
const fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * EACH);
    // The upper bit of each byte: from A on, past Z, and not ASCII.
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let past_z = low + (0x7f - b'Z' as u64) * EACH;
    let upper = (from_a ^ past_z) & !word & (0x80 * EACH);
    word | (upper >> 2)
}

/// Where a name lies under a seed: the product's upper bits.
#[expect(clippy::cast_possible_truncation, reason = "fourteen bits are left")]
const fn place(words: Words, seed: u64) -> usize {
    let mixed = words.0 ^ words.1.rotate_left(29) ^ words.2.rotate_left(43);
    (mixed.wrapping_mul(seed) >> (64 - PLACES.trailing_zeros())) as usize
}

/// The words of each row's name.
static WORDS: [Words; COUNT] = all_words();

const fn all_words() -> [Words; COUNT] {
    let mut all = [(0, 0, 0); COUNT];
    let mut row = 0;
    while row < COUNT {
        all[row] = match words(SORTED[row].name.as_bytes()) {
            Some(words) => words,
            None => panic!("a command's name is too short or too long"),
        };
        row += 1;
    }
    all
}

/// The row of each place under [`SEED`].
static ROWS: [u8; PLACES] = match rows(&all_words(), SEED) {
    Some(rows) => rows,
    None => panic!("two names share a place"),
};

/// A seed under which no two names share a place.
const SEED: u64 = {
    let words = all_words();
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    while rows(&words, seed).is_none() {
        seed = (seed ^ (seed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1;
    }
    seed
};

/// The row of each place under this seed, if no two names share one.
const fn rows(words: &[Words; COUNT], seed: u64) -> Option<[u8; PLACES]> {
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

/// The command of this name, in any case.
pub(super) fn find(name: &[u8]) -> Option<&'static CommandSpec> {
    let words = words(name)?;
    let row = usize::from(ROWS[place(words, SEED)]);
    let spec = SORTED.get(row)?;
    (WORDS[row] == words && spec.name.len() == name.len()).then_some(spec)
}
