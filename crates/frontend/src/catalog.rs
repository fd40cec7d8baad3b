//! Places in the command table, for counters that stand in its order.

use std::ptr;

use bitroster_command::table::{COMMANDS, CommandSpec};

/// The place of `spec`, which lookup found, in [`COMMANDS`]. Costs a subtraction and a division.
#[inline]
pub(crate) fn index(spec: &'static CommandSpec) -> u16 {
    let distance = ptr::from_ref(spec).addr().wrapping_sub(COMMANDS.as_ptr().addr());
    u16::try_from(distance / size_of::<CommandSpec>()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use bitroster_command::lookup;

    use super::*;

    #[test]
    fn every_command_is_found_at_its_place() {
        for (place, spec) in COMMANDS.iter().enumerate() {
            let found = lookup(spec.name.as_bytes()).unwrap();
            assert_eq!(usize::from(index(found)), place, "{}", spec.name);
        }
    }
}
