//! A seeded generator.

use std::env;

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator with this seed, or with `SUITE_SEED` where that is set. Prints the seed, so
    /// that a failure can be repeated.
    #[expect(clippy::print_stderr, reason = "the seed must be seen when a test fails")]
    pub fn announced(default_seed: u64) -> Self {
        let seed = env::var("SUITE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or(default_seed);
        eprintln!("repeat with SUITE_SEED={seed}");
        Self(seed)
    }

    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which must not be zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// An index into something of length `len`, which must not be zero.
    #[expect(clippy::cast_possible_truncation, reason = "below a length")]
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Brings `items` into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.index(at + 1));
        }
    }

    /// A byte.
    #[expect(clippy::cast_possible_truncation, reason = "eight bits are wanted")]
    pub fn byte(&mut self) -> u8 {
        self.bits() as u8
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.index(choices.len())]
    }
}
