//! Finding a value in an array container.
//!
//! Ids that are drawn at random lie evenly, so the place of a value is guessed from its size and
//! then searched for in growing steps around the guess: about two cache lines instead of the
//! dozen that halving touches. Uneven arrays cost at most twice the steps of halving.

use crate::kernels;

/// Below this many values all of them are in a line or two, and halving is best.
const GUESS_FROM: usize = 48;

/// The first step away from the guess: half a cache line.
const STEP: usize = 16;

/// The number of values below `low`: its place, or where it would go.
pub(super) fn place(values: &[u16], low: u16) -> usize {
    let len = values.len();
    if len < GUESS_FROM {
        return values.partition_point(|value| *value < low);
    }
    let guess = (usize::from(low) * len) >> 16;
    let mut step = STEP;
    let (mut from, mut to) = (guess, guess);
    if values[guess] < low {
        // All before `from` are below.
        while to < len && values[to] < low {
            from = to + 1;
            to += step;
            step *= 2;
        }
        to = to.min(len);
    } else {
        // The value at `to`, and all after it, are not below.
        while from > 0 && values[from - 1] >= low {
            to = from - 1;
            from = from.saturating_sub(step);
            step *= 2;
        }
    }
    from + values[from..to].partition_point(|value| *value < low)
}

/// Asks the CPU to fetch the lines in which `low` is found, unless the array is uneven.
pub(super) fn fetch(values: &[u16], low: u16) {
    let guess = (usize::from(low) * values.len()) >> 16;
    for at in [guess.saturating_sub(2 * STEP), guess, guess + 2 * STEP] {
        kernels::fetch_value(values, at);
    }
}

/// Whether `low` is among the values.
pub(super) fn contains(values: &[u16], low: u16) -> bool {
    values.get(place(values, low)) == Some(&low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_in_even_and_uneven_arrays_is_the_one_that_halving_finds() {
        let even: Vec<u16> = (0..3000).map(|index| index * 21 + 3).collect();
        let low_end: Vec<u16> = (0..2000).collect();
        let high_end: Vec<u16> = (63_000..=65_535).collect();
        let two_ends: Vec<u16> = (0..500).chain(65_000..65_500).collect();
        let few: Vec<u16> = vec![0, 9, 65_535];
        for values in [even, low_end, high_end, two_ends, few] {
            for low in 0..=u16::MAX {
                let expected = values.partition_point(|value| *value < low);
                assert_eq!(place(&values, low), expected, "{low} among {}", values.len());
                assert_eq!(contains(&values, low), values.binary_search(&low).is_ok());
            }
        }
    }
}
