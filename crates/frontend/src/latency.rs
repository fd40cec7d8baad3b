//! How long commands take: histograms of all runs, and samples of the slow ones.
//!
//! A pipeline is one turn: its commands are sent together and answered together, so each is given
//! an equal share of the turn's time. A command that the router ran on its own has a time of its
//! own.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bitroster_telemetry::metric::SECONDS;
use bitroster_types::limits::LATENCY_SAMPLES_MAX;
use parking_lot::Mutex;

/// Log2 of the classes of an octave.
const CLASS_BITS: u32 = 2;

/// Durations below `2^FIRST_OCTAVE` nanoseconds are in the first class.
const FIRST_OCTAVE: u32 = 8;

/// Classes: four an octave up to some minutes; longer runs are in the last.
const CLASSES: usize = 124;

/// The percentiles of `INFO latencystats`, in thousandths.
const PERCENTILES: [(u64, &str); 3] = [(500, "p50"), (990, "p99"), (999, "p99.9")];

/// Bounds of the histograms that scrapes are shown.
const BOUNDS: usize = SECONDS.ends.len();

/// For each class the bound that lies in it, in nanoseconds, or 0, which parts nothing; and where
/// the runs up to that bound are counted.
static PARTS: [(u64, usize); CLASSES] = parts();

const fn parts() -> [(u64, usize); CLASSES] {
    let mut parts = [(0, 0); CLASSES];
    let mut place = 0;
    while place < BOUNDS {
        let bound = SECONDS.ends[place];
        let class = class_of(bound);
        assert!(class < CLASSES - 1 && parts[class].0 == 0, "a class has at most one bound");
        parts[class] = (bound, CLASSES + place);
        place += 1;
    }
    parts
}

/// How many runs took how long. Adding costs one shared counter.
///
/// A class in which a bound of [`SECONDS`] lies is counted in two parts, so that what scrapes are
/// shown is exact although nothing is counted for them alone.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The classes without what is in the second list: their parts up to the bounds.
    cells: Box<[AtomicU64; CLASSES + BOUNDS]>,
}

/// A percentile's name and its value in microseconds.
pub(crate) type Percentile = (&'static str, f64);

impl Default for Histogram {
    fn default() -> Self {
        Self { cells: Box::new(std::array::from_fn(|_| AtomicU64::new(0))) }
    }
}

/// The class of a duration.
#[expect(clippy::cast_possible_truncation, reason = "two bits")]
const fn class_of(nanos: u64) -> usize {
    if nanos < 1 << FIRST_OCTAVE {
        return 0;
    }
    let octave = nanos.ilog2();
    let within = (nanos >> (octave - CLASS_BITS)) as usize & ((1 << CLASS_BITS) - 1);
    let class = ((octave - FIRST_OCTAVE) << CLASS_BITS) as usize + within + 1;
    if class < CLASSES { class } else { CLASSES - 1 }
}

/// The end of a class, in nanoseconds, exclusive.
fn end_of(class: usize) -> u64 {
    let class = class as u64;
    let (octave, within) = (class >> CLASS_BITS, class & ((1 << CLASS_BITS) - 1));
    let base = 1_u64 << (octave + u64::from(FIRST_OCTAVE));
    base + within * (base >> CLASS_BITS)
}

impl Histogram {
    /// Adds `count` runs of `nanos` each.
    #[inline]
    pub(crate) fn add(&self, nanos: u64, count: u64) {
        let class = class_of(nanos);
        let (bound, part) = PARTS[class];
        self.cells[if nanos <= bound { part } else { class }].fetch_add(count, Relaxed);
    }

    /// Runs of each class.
    fn classes(&self) -> impl Iterator<Item = u64> {
        let runs = |cell: usize| self.cells[cell].load(Relaxed);
        let part = move |class: usize| match PARTS[class] {
            (0, _) => 0,
            (_, part) => runs(part),
        };
        (0..CLASSES).map(move |class| runs(class) + part(class))
    }

    /// Adds the runs between the bounds of [`SECONDS`] to `counts`, those above all of them last.
    pub(crate) fn add_to(&self, counts: &mut [u64]) {
        let mut bucket = 0;
        for (class, (bound, part)) in self.cells.iter().zip(&PARTS) {
            if *bound > 0 {
                counts[bucket] += self.cells[*part].load(Relaxed);
                bucket += 1;
            }
            counts[bucket] += class.load(Relaxed);
        }
    }

    pub(crate) fn reset(&self) {
        self.cells.iter().for_each(|cell| cell.store(0, Relaxed));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Runs so far.
    pub(crate) fn count(&self) -> u64 {
        self.cells.iter().map(|cell| cell.load(Relaxed)).sum()
    }

    /// The usual percentiles: the ends of their classes.
    #[expect(clippy::cast_precision_loss, reason = "three decimals are shown")]
    pub(crate) fn percentiles(&self) -> [Percentile; 3] {
        let count = self.count();
        PERCENTILES.map(|(thousandths, name)| {
            let rank = (count.saturating_mul(thousandths)).div_ceil(1000).max(1);
            let mut seen = 0;
            let class = self.classes().position(|runs| {
                seen += runs;
                seen >= rank
            });
            (name, end_of(class.unwrap_or(CLASSES - 1)) as f64 / 1000.0)
        })
    }

    /// Powers of two of microseconds and how many runs took no longer, as far as that number
    /// changes. As `LATENCY HISTOGRAM` shows it.
    pub(crate) fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut rows: Vec<(u64, u64)> = Vec::new();
        let mut seen = 0;
        for (class, runs) in self.classes().enumerate() {
            if runs == 0 {
                continue;
            }
            seen += runs;
            let usecs = end_of(class).div_ceil(1000).next_power_of_two();
            match rows.last_mut() {
                Some((last, count)) if *last == usecs => *count = seen,
                _ => rows.push((usecs, seen)),
            }
        }
        rows
    }
}

/// One event's samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Samples {
    /// Unix time in seconds and milliseconds taken, oldest first; one a second at most.
    pub(crate) recent: VecDeque<(u64, u64)>,
    /// The longest, in milliseconds.
    pub(crate) longest_ms: u64,
}

/// `latency-monitor-threshold` and what went over it.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    threshold_ms: AtomicU64,
    events: Mutex<BTreeMap<&'static str, Samples>>,
}

impl Monitor {
    /// Events of this many milliseconds are noted; 0 notes none.
    pub(crate) fn threshold_ms(&self) -> u64 {
        self.threshold_ms.load(Relaxed)
    }

    pub(crate) fn set_threshold_ms(&self, millis: u64) {
        self.threshold_ms.store(millis, Relaxed);
    }

    /// Whether an event of `millis` is to be noted.
    #[inline]
    pub(crate) fn takes(&self, millis: u64) -> bool {
        let threshold_ms = self.threshold_ms();
        threshold_ms > 0 && millis >= threshold_ms
    }

    /// Notes an event. Of several in one second the longest stays.
    pub(crate) fn note(&self, event: &'static str, now_secs: u64, millis: u64) {
        let mut events = self.events.lock();
        let samples = events.entry(event).or_default();
        samples.longest_ms = samples.longest_ms.max(millis);
        match samples.recent.back_mut() {
            Some((secs, longest)) if *secs == now_secs => *longest = millis.max(*longest),
            _ => {
                if samples.recent.len() == LATENCY_SAMPLES_MAX {
                    samples.recent.pop_front();
                }
                samples.recent.push_back((now_secs, millis));
            }
        }
    }

    /// All events.
    pub(crate) fn events(&self) -> BTreeMap<&'static str, Samples> {
        self.events.lock().clone()
    }

    /// Forgets the events that `is_meant` names; how many there were.
    pub(crate) fn forget(&self, is_meant: impl Fn(&str) -> bool) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|event, _| !is_meant(event));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_below_the_end_of_its_class_and_not_below_the_end_of_the_one_before() {
        for nanos in (0..40).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 77]) {
            let class = class_of(nanos);
            if class < CLASSES - 1 {
                assert!(nanos < end_of(class), "{nanos} is in class {class}");
            }
            assert!(class == 0 || nanos >= end_of(class - 1), "{nanos} is in class {class}");
        }
        assert_eq!(class_of(u64::MAX), CLASSES - 1);
    }

    #[test]
    fn percentiles_are_within_a_quarter_of_the_truth() {
        let histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.add(micros * 1000, 1);
        }
        for ((name, value), truth) in histogram.percentiles().into_iter().zip([500., 990., 999.]) {
            assert!(value >= truth && value <= truth * 1.26, "{name} is {value}");
        }
        let cumulative = histogram.cumulative();
        assert!(cumulative.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{cumulative:?}");
        assert_eq!(cumulative.last().unwrap().1, 1000);
        histogram.reset();
        assert!(histogram.is_empty() && histogram.cumulative().is_empty());
    }

    #[test]
    fn what_scrapes_are_shown_is_exact_at_each_bound() {
        let histogram = Histogram::default();
        for bound in SECONDS.ends {
            for (nanos, runs) in [(bound - 1, 1), (*bound, 2), (bound + 1, 4)] {
                histogram.add(nanos, runs);
            }
        }
        histogram.add(0, 8);
        histogram.add(u64::MAX, 16);
        let mut counts = vec![0; SECONDS.ends.len() + 1];
        histogram.add_to(&mut counts);
        let mut wanted = vec![7; SECONDS.ends.len() + 1];
        wanted[0] = 8 + 3;
        wanted[14] = 4 + 16;
        assert_eq!(counts, wanted);
        assert_eq!(histogram.count(), 7 * 14 + 24);
        assert_eq!(histogram.cumulative().last().unwrap().1, 7 * 14 + 24);
    }

    #[test]
    fn the_monitor_keeps_the_longest_of_each_second_and_a_bounded_number() {
        let monitor = Monitor::default();
        assert!(!monitor.takes(1_000_000));
        monitor.set_threshold_ms(5);
        assert!(monitor.takes(5) && !monitor.takes(4));
        for second in 0..200 {
            monitor.note("command", second, 7);
            monitor.note("command", second, 5);
        }
        let events = monitor.events();
        assert_eq!(events["command"].recent.len(), LATENCY_SAMPLES_MAX);
        assert_eq!(events["command"].recent.back(), Some(&(199, 7)));
        assert_eq!(events["command"].longest_ms, 7);
        assert_eq!(monitor.forget(|event| event == "other"), 0);
        assert_eq!(monitor.forget(|_| true), 1);
    }
}
