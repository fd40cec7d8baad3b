//! How often something is tried that may be in vain.

/// Times that it is left after the first try in vain; this doubles.
const LEFT_MIN: u32 = 2;

/// The most times that it is left between two tries.
const LEFT_MAX: u32 = 256;

/// How often something is tried that may be in vain: always, as long as it is not; then less and
/// less often.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// Times that it is left before the next try.
    left: u32,
    left_next: u32,
}

impl Tries {
    /// Whether it is tried this time.
    pub(super) const fn is_due(&mut self) -> bool {
        let is_due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_due
    }

    /// What came of a try.
    pub(super) fn tried(&mut self, helped: bool) {
        if helped {
            *self = Self::default();
        } else {
            self.left = self.left_next.clamp(LEFT_MIN, LEFT_MAX);
            self.left_next = self.left * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_vain_is_tried_less_and_less_often_and_what_helps_always() {
        let mut tries = Tries::default();
        let mut times_to_next_try = |helps: bool| {
            let times = (1..).find(|_| tries.is_due());
            tries.tried(helps);
            times.unwrap()
        };
        let vain: Vec<u32> = (0..11).map(|_| times_to_next_try(false)).collect();
        assert_eq!(vain, [1, 3, 5, 9, 17, 33, 65, 129, 257, 257, 257]);
        assert_eq!([true, true, false, false].map(times_to_next_try), [257, 1, 1, 3]);
    }
}
