//! Goal: what clients do at the same time to keys that are spread over groups is what they would
//! have done one after the other, in every order in which requests can arrive, whoever dies; and
//! when all is quiet nothing is left of what they did but its result.
//!
//! Method: an exhaustive search over the real router and the real engines. The explorer holds every
//! request in its hand and tries, at every step, all that can become of each: it arrives, it is
//! refused, it arrives late or never while its caller hears nothing, its router dies; a group's
//! clock jumps, its leader finishes what is pending, it goes on from a snapshot. What every client
//! was told must be explained by some order of the commands over a plain map; at the end no group
//! may keep rows or parts that no record speaks of, and bits, values and lengths must agree.
//! `EXPLORE_FAULTS` sets how much goes wrong in one execution, `EXPLORE_DEEP=1` adds a leader that
//! finishes what is decided while clients are at work, `EXPLORE_DEEP=2` one that takes back what
//! they have reserved as well, `EXPLORE_RESTORE` restores engines at every entry,
//! `EXPLORE_UNKNOWN` looks past failures where nothing went wrong, and `EXPLORE_CUT` tells of
//! commands that start again for ever.
//!
//! Mutants killed: a plan that forgets without activating; parts that are not staged before they
//! go; a version that is given twice.

#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]
#![allow(clippy::wildcard_enum_match_arm, reason = "scenarios use few commands")]

mod explore {
    pub(crate) mod check;
    pub(crate) mod finish;
    pub(crate) mod model;
    pub(crate) mod rest;
    pub(crate) mod scenario;
    pub(crate) mod search;
    pub(crate) mod wire;
    pub(crate) mod world;
}

use bitroster_command::{Command, MergeMode};
use bitroster_types::{Key, planted::Fault};
use explore::{scenario::*, search::explore};

/// Goes through a scenario, and tells the first execution that is wrong.
fn holds(scenario: Scenario) {
    if let Err(told) = explore(scenario) {
        panic!("{told}");
    }
}

/// Goes through a scenario with a fault planted, and must find it.
fn breaks(fault: Fault, scenario: Scenario) {
    let planted = fault.plant();
    let told = explore(scenario).expect_err("a planted fault is found");
    drop(planted);
    assert!(told.contains(" steps:\n"), "an execution is told: {told}");
}

/// A key at home in group 1, and bits of it in segments of groups 1, 2 and 3.
struct Spread {
    key: Key,
    one: u64,
    two: u64,
    three: u64,
}

impl Spread {
    fn new(scenario: &mut Scenario) -> Self {
        let three = if scenario.map.groups().len() > 2 { scenario.bit_in(3) } else { 0 };
        Self { key: scenario.key(1, 0), one: 0, two: scenario.bit_in(2), three }
    }

    /// Makes the key, with a part in group 2.
    fn make(&self) -> [Command; 2] {
        [set_bit(&self.key, self.one), set_bit(&self.key, self.two)]
    }
}

/// A scenario of this many groups with an absent key.
fn absent(name: &'static str, groups: u16) -> (Scenario, Spread) {
    let mut scenario = Scenario::new(name, groups);
    let spread = Spread::new(&mut scenario);
    (scenario.faults(1), spread)
}

/// A scenario of this many groups with a key that has a part in group 2.
fn spread(name: &'static str, groups: u16) -> (Scenario, Spread) {
    let (scenario, spread) = absent(name, groups);
    (scenario.after(spread.make()), spread)
}

#[test]
fn first_touches_of_two_groups_both_stay() {
    let (scenario, Spread { key, two, three, .. }) = absent("first touch, first touch", 3);
    holds(
        scenario
            .client([set_bit(&key, two)])
            .client([set_bit(&key, three)])
            .client([count(&key), get_bit(&key, two)]),
    );
}

#[test]
fn first_touches_of_one_group_both_stay() {
    let (scenario, Spread { key, two, .. }) = absent("first touches of one group", 2);
    holds(
        scenario
            .client([set_bit(&key, two)])
            .client([set_bit(&key, two + 8)])
            .client([exists(&key), get(&key)]),
    );
}

#[test]
fn a_first_touch_whose_router_dies_leaves_a_bit_or_no_key() {
    let (scenario, Spread { key, two, .. }) = absent("first touch, EXISTS", 2);
    holds(
        scenario
            .client([set_bit(&key, two), exists(&key)])
            .client([exists(&key), length(&key)])
            .faults(2),
    );
}

#[test]
fn a_removal_meets_a_first_touch() {
    let (scenario, Spread { key, one, two, .. }) = absent("first touch, DEL", 2);
    holds(
        scenario
            .after([set_bit(&key, one)])
            .client([set_bit(&key, two)])
            .client([delete(&key)])
            .client([get(&key)]),
    );
}

#[test]
fn a_removal_of_a_spread_key_meets_a_first_touch() {
    let (scenario, Spread { key, three, .. }) = spread("first touch of a spread key, DEL", 3);
    holds(scenario.client([set_bit(&key, three)]).client([delete(&key), get_bit(&key, three)]));
}

#[test]
fn a_removal_shows_at_once() {
    let (scenario, Spread { key, two, .. }) = spread("DEL, reads", 2);
    holds(
        scenario
            .client([delete(&key)])
            .client([get(&key), get_bit(&key, two)])
            .client([get_bit(&key, two)]),
    );
}

#[test]
fn a_new_value_shows_at_once() {
    let (scenario, Spread { key, one, two, .. }) = spread("SET, reads", 2);
    holds(
        scenario
            .client([set(&key, &[one + 16, two + 16])])
            .client([get(&key), get_bit(&key, two + 16)]),
    );
}

#[test]
fn a_removal_meets_a_write_to_a_part() {
    let (scenario, Spread { key, two, .. }) = spread("DEL, SETBIT", 2);
    holds(
        scenario
            .client([delete(&key)])
            .client([set_bit(&key, two + 8), get_bit(&key, two)])
            .client([exists(&key)]),
    );
}

#[test]
fn a_new_value_meets_a_write_to_a_part() {
    let (scenario, Spread { key, one, two, .. }) = spread("SET, SETBIT", 2);
    holds(
        scenario
            .client([set(&key, &[one + 16, two + 16])])
            .client([set_bit(&key, two + 8)])
            .client([get_bit(&key, two + 16), get_bit(&key, one)]),
    );
}

#[test]
fn of_two_new_values_one_stays_whole() {
    let (scenario, Spread { key, one, two, .. }) = absent("SET, SET", 2);
    holds(
        scenario
            .client([set(&key, &[one + 16, two + 16])])
            .client([set(&key, &[one + 24, two + 24]), get_bit(&key, two + 24)]),
    );
}

#[test]
fn of_two_values_for_an_absent_key_one_is_taken() {
    let (scenario, Spread { key, one, two, .. }) = absent("SET NX, SET NX", 2);
    holds(
        scenario
            .client([set_if_absent(&key, &[one + 16, two + 16])])
            .client([set_if_absent(&key, &[one + 24, two + 24]), get_bit(&key, one + 24)]),
    );
}

#[test]
fn a_short_value_meets_a_first_touch() {
    let (scenario, Spread { key, one, two, .. }) = spread("SET of a short value, SETBIT", 2);
    holds(
        scenario
            .client([set(&key, &[one + 16])])
            .client([set_bit(&key, two + 8), get_bit(&key, two)]),
    );
}

#[test]
fn a_combination_meets_a_write_to_its_destination() {
    let (mut scenario, Spread { key, one, two, .. }) = spread("BITOP, SETBIT", 2);
    let source = scenario.key(2, 0);
    holds(
        scenario
            .after([set_bit(&source, one + 16), set_bit(&source, two + 16)])
            .client([union(&key, &[&source])])
            .client([set_bit(&key, two + 8)])
            .client([get_bit(&key, two + 16)]),
    );
}

#[test]
fn a_combination_meets_the_removal_of_its_destination() {
    let (mut scenario, Spread { key, one, two, .. }) = spread("BITOP, DEL", 2);
    let source = scenario.key(2, 0);
    holds(
        scenario
            .after([set_bit(&source, one + 16), set_bit(&source, two + 16)])
            .client([union(&key, &[&source])])
            .client([delete(&key), get_bit(&key, two + 16)]),
    );
}

/// A key that is spread, and two of other homes, long enough for groups to be asked for short
/// results first: both with a bit in each group, of which one in group 2 is of both.
fn long_sources(name: &'static str) -> (Scenario, Spread, [Key; 2]) {
    let (mut scenario, spread) = spread(name, 2);
    let (a, b) = (scenario.key(2, 0), scenario.key(1, 1));
    let (both, end) = (spread.two + 16, scenario.last_bit());
    let bits = [(&a, 16), (&a, both), (&a, end), (&b, 17), (&b, both), (&b, end + 1)];
    let scenario = scenario.after(bits.map(|(key, bit)| set_bit(key, bit)));
    (scenario, spread, [a, b])
}

#[test]
fn a_long_combination_meets_a_write_to_its_destination() {
    let (scenario, Spread { key, two, .. }, [a, b]) = long_sources("BITOP of long keys, SETBIT");
    let scenario = scenario
        .client([intersection(&key, &[&a, &b])])
        .client([set_bit(&key, two + 8)])
        .client([get_bit(&key, two + 16)]);
    holds(scenario);
}

#[test]
fn a_long_combination_meets_the_removal_of_a_source() {
    let (scenario, Spread { key, two, .. }, [a, b]) = long_sources("BITOP of long keys, DEL");
    let scenario =
        scenario.client([union(&key, &[&a, &b])]).client([delete(&a), get_bit(&key, two + 16)]);
    holds(scenario.split());
}

#[test]
fn a_stored_expression_meets_a_write_to_its_target() {
    let (mut scenario, Spread { key, one, two, .. }) = spread("STORE, SETBIT", 2);
    let source = scenario.key(2, 0);
    holds(
        scenario
            .after([set_bit(&source, one + 16), set_bit(&source, two + 16)])
            .client([store(&key, &[&source])])
            .client([set_bit(&key, two + 8)])
            .client([get_bit(&key, two + 16)]),
    );
}

#[test]
fn a_stored_expression_counts_what_it_stores() {
    let (mut scenario, Spread { key, two, .. }) = spread("STORE, SETBIT of an operand", 2);
    let target = scenario.key(2, 0);
    holds(
        scenario
            .client([store(&target, &[&key])])
            .client([set_bit(&key, two + 8)])
            .client([count(&target)])
            .faults(0)
            .split(),
    );
}

#[test]
fn an_expression_stored_onto_its_operand_keeps_what_is_written_to_it() {
    let (mut scenario, Spread { key, two, .. }) = spread("STORE onto its operand, SETBIT", 2);
    let other = scenario.key(2, 0);
    holds(
        scenario
            .after([set_bit(&other, two + 16)])
            .client([store(&key, &[&key, &other])])
            .client([set_bit(&key, two + 8)])
            .faults(0),
    );
}

#[test]
fn first_touches_by_many_bits_stay() {
    let (scenario, Spread { key, two, .. }) = absent("merge, merge, count", 2);
    holds(
        scenario
            .client([merge(&key, MergeMode::Or, &[two, two + 8])])
            .client([merge(&key, MergeMode::Xor, &[two + 8, two + 16])])
            .client([count(&key)]),
    );
}

#[test]
fn bits_are_cleared_before_or_after_a_removal() {
    let (scenario, Spread { key, two, .. }) = spread("clear, DEL, SETBIT", 2);
    holds(
        scenario
            .client([merge(&key, MergeMode::AndNot, &[two, two + 8])])
            .client([delete(&key), set_bit(&key, two + 8)]),
    );
}

#[test]
fn bits_are_cleared_before_or_after_a_new_value() {
    let (scenario, Spread { key, one, two, .. }) = spread("clear, SET", 2);
    holds(
        scenario
            .client([merge(&key, MergeMode::AndNot, &[two, two + 8])])
            .client([set(&key, &[one + 8, two + 8])])
            .client([get_bit(&key, two + 8)]),
    );
}

#[test]
fn an_expiry_is_set_or_cleared() {
    let (scenario, Spread { key, two, .. }) = spread("EXPIRE, PERSIST", 2);
    holds(
        scenario
            .client([expire(&key, 1_000_000)])
            .client([persist(&key)])
            .client([expiry_time(&key), get_bit(&key, two)]),
    );
}

#[test]
fn a_first_touch_takes_the_expiry_that_is_being_set() {
    let (scenario, Spread { key, three, .. }) = spread("EXPIRE, first touch, time", 3);
    holds(scenario.client([expire(&key, 1_000)]).client([set_bit(&key, three)]).jump(2_000));
}

#[test]
fn a_key_that_expires_is_persisted_or_gone() {
    let (scenario, Spread { key, two, .. }) = spread("PERSIST, time", 2);
    holds(
        scenario
            .after([expire(&key, 1_000)])
            .client([persist(&key)])
            .client([get_bit(&key, two), get(&key), get_bit(&key, two)])
            .jump(2_000),
    );
}

#[test]
fn a_key_that_expires_meets_a_write_to_a_part() {
    let (scenario, Spread { key, two, .. }) = spread("SETBIT, time", 2);
    holds(
        scenario
            .after([expire(&key, 1_000)])
            .client([set_bit(&key, two + 8)])
            .client([get_bit(&key, two), get(&key)])
            .jump(2_000),
    );
}

#[test]
fn a_rename_takes_along_what_is_written_to_its_source() {
    let (mut scenario, Spread { key, two, .. }) = spread("RENAME, SETBIT", 2);
    let target = scenario.key(2, 0);
    let writes = [set_bit(&key, two + 8), exists(&key)];
    holds(scenario.client([rename(&key, &target)]).client(writes).faults(0));
}

#[test]
fn a_rename_whose_source_is_removed_says_what_it_did() {
    let (mut scenario, Spread { key, .. }) = spread("RENAME, DEL", 2);
    let target = scenario.key(2, 0);
    holds(scenario.client([rename(&key, &target)]).client([delete(&key)]).faults(0));
}

#[test]
fn a_renamed_key_is_never_missing() {
    let (mut scenario, Spread { key, .. }) = spread("RENAME, EXISTS", 2);
    let target = scenario.key(2, 0);
    holds(scenario.client([rename(&key, &target)]).client([
        exists(&key),
        exists(&target),
        count(&target),
    ]));
}

#[test]
fn a_copy_meets_the_removal_of_its_source() {
    let (mut scenario, Spread { key, .. }) = spread("COPY, DEL", 2);
    let target = scenario.key(2, 0);
    holds(
        scenario
            .client([copy(&key, &target)])
            .client([delete(&key)])
            .client([get(&target)])
            .split(),
    );
}

#[test]
fn a_copy_of_a_short_key_meets_its_removal() {
    let mut scenario = Scenario::new("COPY of a key in one group, DEL", 2);
    let (key, target) = (scenario.key(1, 0), scenario.key(2, 0));
    holds(
        scenario
            .after([set(&key, &[3, 60])])
            .client([copy(&key, &target)])
            .client([delete(&key), set(&key, &[1])])
            .client([get(&target)])
            .faults(1)
            .split(),
    );
}

#[test]
fn a_combination_onto_its_own_source_keeps_what_is_written_to_it() {
    let (mut scenario, Spread { key, two, .. }) = spread("BITOP onto its source, SETBIT", 2);
    let other = scenario.key(2, 0);
    holds(
        scenario
            .after([set_bit(&other, two + 16)])
            .client([union(&key, &[&key, &other])])
            .client([set_bit(&key, two + 8)])
            .faults(0),
    );
}

#[test]
fn a_removal_of_an_absent_key_meets_a_first_touch() {
    let mut scenario = Scenario::new("DEL of nothing, first touch", 2);
    let key = scenario.key(1, 0);
    let far = scenario.bit_in(2);
    holds(
        scenario.client([set_bit(&key, far)]).client([delete(&key), get_bit(&key, far)]).faults(1),
    );
}

#[test]
fn a_value_is_taken_away_whole() {
    let (scenario, Spread { key, two, .. }) = spread("GETDEL, SETBIT", 2);
    holds(
        scenario
            .client([get_delete(&key)])
            .client([set_bit(&key, two + 8), get_bit(&key, two)])
            .faults(0),
    );
}

#[test]
fn parts_that_are_not_activated_are_found() {
    let (scenario, Spread { key, one, two, .. }) = absent("SET without activation", 2);
    breaks(Fault::SkipActivation, scenario.client([set(&key, &[one, two])]).client([get(&key)]));
}

#[test]
fn parts_that_are_not_sealed_are_found() {
    let (scenario, Spread { key, two, .. }) = spread("DEL without a seal", 2);
    breaks(
        Fault::SkipSeal,
        scenario.client([delete(&key), get_bit(&key, two)]).client([get(&key), get_bit(&key, two)]),
    );
}

#[test]
fn a_version_that_is_given_twice_is_found() {
    let (scenario, Spread { key, one, two, .. }) = absent("SET, SET at one version", 2);
    breaks(
        Fault::ReuseVersion,
        scenario.client([set(&key, &[one + 16, two + 16])]).client([set(&key, &[one, two])]),
    );
}
