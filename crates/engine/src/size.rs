//! What an allocation really takes.
//!
//! Memory is accounted in the allocator's size classes (jemalloc's: steps of 16 bytes up to 128,
//! then four classes to each doubling), because a vector of 129 bytes costs 160.

/// The size class that serves an allocation of `bytes`; 0 for none.
pub(crate) const fn class(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => {
            let step = 1 << ((bytes - 1).ilog2() - 2);
            bytes.next_multiple_of(step)
        }
    }
}

/// Makes room for `more` elements, filling a size class and leaving about an eighth spare, so that
/// a table that grows copies seldom and one that stays wastes little.
pub(crate) fn reserve<T>(items: &mut Vec<T>, more: usize) {
    let need = items.len() + more;
    if need > items.capacity() {
        let room = class((need + need / 8) * size_of::<T>()) / size_of::<T>();
        items.reserve_exact(room - items.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_jemalloc() {
        for (bytes, served) in [
            (0, 0),
            (1, 8),
            (9, 16),
            (128, 128),
            (129, 160),
            (257, 320),
            (8192, 8192),
            (8193, 10240),
        ] {
            assert_eq!(class(bytes), served, "{bytes} bytes");
        }
    }
}
