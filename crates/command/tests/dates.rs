//! Goal: dated keys are those of the calendar, and windows and marks name the right ones.
//!
//! Method: known dates, ISO 8601's awkward weeks among them; round trips of every period; a roll-up
//! compared hour by hour and day by day with what it stands for.

use std::collections::BTreeSet;

use bitroster_command::{
    composite::{Span, Unit},
    dates::{Period, bounds, mark_keys, roll_up, window_keys},
};
use bitroster_types::{Key, UnixMillis};
use proptest::prelude::*;

const HOUR_MS: u64 = 3_600_000;

fn period(text: &str) -> Period {
    Period::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is no date"))
}

fn texts(keys: &[Key]) -> Vec<String> {
    keys.iter().map(|key| key.escape_ascii().to_string()).collect()
}

#[test]
fn periods_begin_and_end_where_the_calendar_says() {
    for (text, start, hours) in [
        ("1970-01-01T00", 0, 1),
        ("1970-01-01", 0, 24),
        ("1970-01", 0, 31 * 24),
        ("2026-11-21T09", 1_795_251_600, 1),
        ("2026-11-21", 1_795_219_200, 24),
        ("2026-W47", 1_794_787_200, 7 * 24),
        ("2026-11", 1_793_491_200, 30 * 24),
        ("2024-02", 1_706_745_600, 29 * 24),
    ] {
        let found = period(text);
        assert_eq!(found.start().0, start * 1000, "{text}");
        assert_eq!(found.end().0 - found.start().0, hours * HOUR_MS, "{text}");
        assert_eq!(found.to_string(), text);
    }
}

#[test]
fn weeks_are_those_of_iso_8601() {
    for (day, week) in [
        ("1970-01-01", "1970-W01"),
        ("2020-12-31", "2020-W53"),
        ("2021-01-03", "2020-W53"),
        ("2021-01-04", "2021-W01"),
        ("2024-12-30", "2025-W01"),
        ("2026-12-31", "2026-W53"),
        ("2027-01-04", "2027-W01"),
    ] {
        let found = Period::at(Unit::Week, period(day).start()).unwrap();
        assert_eq!(found.to_string(), week, "{day}");
        assert_eq!(period(week), found);
    }
}

#[test]
fn what_is_no_date_is_refused() {
    for text in [
        "",
        "2026",
        "2026-1",
        "2026-13",
        "2026-00",
        "2026-02-30",
        "2026-02-29",
        "2026-11-21T24",
        "2026-11-21T9",
        "2026-11-21t09",
        "2026-W00",
        "2025-W53",
        "2026-W54",
        "2026-w01",
        "1969-12-31",
        "1969-12",
        "0000-01-01",
        "2026-11-21 ",
        "+026-11-21",
        "2026/11/21",
    ] {
        assert_eq!(Period::parse(text.as_bytes()), None, "{text}");
    }
    assert!(Period::parse(b"9999-12-31T23").is_some());
    assert_eq!(period("9999-12-31").step(1), None);
    assert_eq!(period("9999-12").step(1), None);
    assert_eq!(period("1970-01").step(-1), None);
    assert_eq!(Period::at(Unit::Day, UnixMillis(u64::MAX)), None);
    assert_eq!(Period::at(Unit::Hour, UnixMillis(period("9999-12-31").end().0)), None);
}

#[test]
fn a_window_ends_with_the_present_period() {
    let now = UnixMillis(period("2026-03-02").start().0 + 5);
    let keys = |span, rolled_up| texts(&window_keys(b"dau", span, rolled_up, now).unwrap());
    let last = |count, unit| Span::Last { count, unit };
    assert_eq!(keys(last(1, Unit::Day), false), ["dau:2026-03-02"]);
    assert_eq!(
        keys(last(3, Unit::Day), false),
        ["dau:2026-02-28", "dau:2026-03-01", "dau:2026-03-02"]
    );
    assert_eq!(keys(last(2, Unit::Hour), false), ["dau:2026-03-01T23", "dau:2026-03-02T00"]);
    assert_eq!(keys(last(2, Unit::Week), false), ["dau:2026-W09", "dau:2026-W10"]);
    assert_eq!(keys(last(2, Unit::Month), true), ["dau:2026-02", "dau:2026-03"]);
    assert_eq!(bounds(last(u32::MAX, Unit::Month), now).unwrap().0.to_string(), "1970-01");
}

#[test]
fn a_rolled_up_window_reads_whole_months_and_weeks() {
    let (first, last) = (period("2026-01-30"), period("2026-03-11"));
    let span = Span::Between { first: first.start(), last: last.start(), unit: Unit::Day };
    let keys = texts(&window_keys(b"f", span, true, UnixMillis(0)).unwrap());
    assert_eq!(
        keys,
        [
            "f:2026-01-30",
            "f:2026-01-31",
            "f:2026-02",
            "f:2026-03-01",
            "f:2026-W10",
            "f:2026-03-09",
            "f:2026-03-10",
            "f:2026-03-11",
        ]
    );
}

#[test]
fn a_window_of_too_many_keys_is_refused() {
    let now = period("2026-03-02").start();
    let error =
        |span, rolled_up| window_keys(b"dau", span, rolled_up, now).unwrap_err().to_string();
    let days = Span::Last { count: 1025, unit: Unit::Day };
    assert_eq!(error(days, false), "ERR a window has more than 1024 keys");
    assert!(window_keys(b"dau", days, true, now).is_ok());
    let family = vec![b'x'; 65536];
    assert!(window_keys(&family, days, true, now).is_err());
    let late = UnixMillis(u64::MAX);
    assert!(window_keys(b"dau", days, false, late).is_err());
}

#[test]
fn a_mark_names_a_key_for_each_unit_and_when_it_goes() {
    let at = UnixMillis(period("2026-11-21T09").start().0 + 1);
    let keys = mark_keys(b"dau", at, &[Unit::Hour, Unit::Month], Some(60)).unwrap();
    assert_eq!(keys[0].0, Key::new(b"dau:2026-11-21T09").unwrap());
    assert_eq!(keys[0].1, Some(UnixMillis(period("2026-11-21T10").start().0 + 60_000)));
    assert_eq!(keys[1].1, Some(UnixMillis(period("2026-12").start().0 + 60_000)));
    assert_eq!(mark_keys(b"dau", at, &[Unit::Day], None).unwrap()[0].1, None);
    assert!(mark_keys(b"dau", at, &[Unit::Day], Some(u64::MAX)).is_err());
    assert!(mark_keys(&[b'x'; 65530], at, &[Unit::Day], None).is_err());
}

fn unit() -> impl Strategy<Value = Unit> {
    prop::sample::select(vec![Unit::Hour, Unit::Day, Unit::Week, Unit::Month])
}

/// Times up to the end of the year 9999.
fn time() -> impl Strategy<Value = UnixMillis> {
    (0..253_402_300_800_000_u64).prop_map(UnixMillis)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_period_holds_its_time_and_is_read_as_it_is_written(unit in unit(), at in time()) {
        let found = Period::at(unit, at).unwrap();
        prop_assert!(found.start() <= at && at < found.end());
        prop_assert_eq!(Period::parse(found.to_string().as_bytes()), Some(found));
        if let Some(next) = found.step(1) {
            prop_assert_eq!(next.start(), found.end());
            prop_assert_eq!(next.step(-1), Some(found));
            prop_assert_eq!(found.count_to(next), 2);
        }
    }

    #[test]
    fn a_roll_up_stands_for_the_same_time_with_no_more_keys(
        unit in unit(),
        at in 0..4_000_000_000_000_u64,
        count in 0..2000_i64,
    ) {
        let first = Period::at(unit, UnixMillis(at)).unwrap();
        let last = first.step(count).unwrap();
        let periods = roll_up(first, last);
        prop_assert!(periods.len() as u64 <= u64::from(first.count_to(last)));
        let mut end = first.start();
        for period in &periods {
            prop_assert_eq!(period.start(), end);
            end = period.end();
        }
        prop_assert_eq!(end, last.end());
        let units: BTreeSet<_> = periods.iter().map(|period| period.unit()).collect();
        prop_assert!(units.contains(&unit) || units.len() <= 2);
    }

    #[test]
    fn no_text_panics(text in "[0-9TW-]{0,14}") {
        prop_assert!(Period::parse(text.as_bytes()).is_none_or(|found| found.to_string() == text));
    }
}
