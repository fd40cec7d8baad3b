//! The catalogue of metrics and a scraped page, read and compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// The ends of all histograms of durations, as they are written.
const SECONDS: [&str; 15] = [
    "0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
    "0.1", "0.25", "1", "5", "+Inf",
];

/// The ends of all histograms of counts.
const COUNTS: [&str; 13] =
    ["1", "2", "4", "8", "16", "32", "64", "128", "256", "1024", "4096", "16384", "+Inf"];

/// Parts of names that are no base units.
const NO_UNITS: [&str; 9] = [
    "_ms",
    "_millis",
    "_micros",
    "_nanos",
    "_usec",
    "_minutes",
    "_percent",
    "_kilobytes",
    "_megabytes",
];

type Labels = BTreeMap<String, String>;

/// One row of the catalogue.
struct Row {
    kind: String,
    labels: BTreeSet<String>,
    roles: Vec<String>,
    meaning: String,
}

/// What a label may be.
struct Set {
    /// The families, without the prefix; `*` stands for anything.
    of: Vec<String>,
    /// `None` where the set is open.
    values: Option<BTreeSet<String>>,
}

/// `docs/metrics.md`.
pub(crate) struct Catalogue {
    rows: BTreeMap<String, Row>,
    sets: Vec<(String, Set)>,
}

/// The words in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

impl Catalogue {
    pub(crate) fn parse(text: &str) -> Self {
        let (mut rows, mut sets) = (BTreeMap::new(), Vec::new());
        let mut head = Vec::new();
        for line in text.lines() {
            if !line.starts_with('|') {
                head.clear();
                continue;
            }
            let cells = cells(line);
            if head.is_empty() {
                head = cells;
            } else if cells[0].starts_with("---") {
                // The line below a table's head.
            } else if head[..2] == ["name", "type"] {
                let row = Row {
                    kind: cells[1].to_owned(),
                    labels: quoted(cells[2]).into_iter().collect(),
                    roles: cells[4].split(' ').map(str::to_owned).collect(),
                    meaning: cells[5].replace('`', ""),
                };
                let name = quoted(cells[0]).remove(0);
                assert!(rows.insert(name.clone(), row).is_none(), "{name} is there twice");
            } else if head[0] == "label" {
                let values = quoted(cells[2]);
                for label in quoted(cells[0]) {
                    let values = (!values.is_empty()).then(|| values.iter().cloned().collect());
                    sets.push((label, Set { of: quoted(cells[1]), values }));
                }
            }
        }
        assert!(rows.len() > 60 && sets.len() > 20, "the catalogue's tables were not found");
        Self { rows, sets }
    }

    /// The closed set of a label; `None` where it is open.
    fn set(&self, name: &str, label: &str) -> Option<&BTreeSet<String>> {
        let name = name.trim_start_matches("bitroster_");
        let fits = |of: &String| match of.split_once('*') {
            Some((front, back)) => name.starts_with(front) && name.ends_with(back),
            None => of == name,
        };
        let found = self
            .sets
            .iter()
            .find(|(known, set)| known == label && (set.of.is_empty() || set.of.iter().any(fits)));
        let (_, set) = found.unwrap_or_else(|| panic!("no values of {label} of {name} are listed"));
        set.values.as_ref()
    }

    /// Compares a page with what nodes of these roles export.
    ///
    /// # Errors
    ///
    /// All differences.
    pub(crate) fn check(&self, page: &Page, roles: &[&str]) -> Result<(), String> {
        let mut faults = String::new();
        let mut fault = |text: String| writeln!(faults, "{text}").expect("a string grows");
        let is_of = |row: &Row| row.roles.iter().all(|role| roles.contains(&role.as_str()));
        for (name, row) in &self.rows {
            match (is_of(row), page.families.get(name)) {
                (true, None) => fault(format!("{name} is not exported")),
                (false, Some(_)) => fault(format!("{name} is not of {roles:?}")),
                (true, Some(family)) => self.check_family(name, row, family, &mut fault),
                (false, None) => {}
            }
        }
        for name in page.families.keys().filter(|name| !self.rows.contains_key(*name)) {
            fault(format!("{name} is not in the catalogue"));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// As [`check`](Self::check), for a condition that is looked at again: differences are printed,
    /// so that a test that fails in the end shows them.
    pub(crate) fn told(&self, page: &Page, roles: &[&str]) -> bool {
        let checked = self.check(page, roles);
        if let Err(faults) = &checked {
            bitroster_suite::scenario::say(faults);
        }
        checked.is_ok()
    }

    fn check_family(&self, name: &str, row: &Row, family: &Family, fault: &mut impl FnMut(String)) {
        if family.kind != row.kind {
            fault(format!("{name} is a {}, not a {}", family.kind, row.kind));
        }
        if family.help != row.meaning {
            fault(format!("{name} is told as '{}', not '{}'", family.help, row.meaning));
        }
        if family.help.is_empty() || family.help.ends_with('.') {
            fault(format!("{name}: '{}' is no help", family.help));
        }
        // By the open labels: the sets of values that the closed ones have together.
        let mut seen: BTreeMap<Labels, BTreeSet<Labels>> = BTreeMap::new();
        for labels in family.label_sets() {
            let names: BTreeSet<String> = labels.keys().cloned().collect();
            if names != row.labels {
                fault(format!("{name} has the labels {names:?}, not {:?}", row.labels));
                return;
            }
            let is_open = |label: &String| self.set(name, label).is_none();
            let (open, closed): (Labels, Labels) =
                labels.into_iter().partition(|(label, _)| is_open(label));
            for (label, value) in &closed {
                if !self.set(name, label).is_some_and(|set| set.contains(value)) {
                    fault(format!("{name} has {label}=\"{value}\""));
                }
            }
            seen.entry(open).or_default().insert(closed);
        }
        let closed = row.labels.iter().filter_map(|label| self.set(name, label));
        let all: usize = closed.map(BTreeSet::len).product();
        for (open, closed) in seen {
            if closed.len() != all && name != "bitroster_build_info" {
                fault(format!("{name}{open:?} has {} series, not {all}", closed.len()));
            }
        }
        if row.kind == "histogram" {
            family.check_buckets(name, fault);
        }
    }

    /// Names say their units and what they are.
    pub(crate) fn check_names(&self) {
        for (name, row) in &self.rows {
            assert_eq!(name.ends_with("_total"), row.kind == "counter", "{name}");
            assert!(NO_UNITS.iter().all(|unit| !name.contains(unit)), "{name}");
            assert!(name.starts_with("bitroster_") || name.starts_with("process_"), "{name}");
            assert!(!row.meaning.ends_with('.') && !row.meaning.is_empty(), "{name}");
            for label in &row.labels {
                // Panics where there is none.
                self.set(name, label);
            }
        }
        for (label, set) in &self.sets {
            let is_used = |(name, row): (&String, &Row)| {
                row.labels.contains(label)
                    && (set.of.is_empty() || self.set(name, label) == set.values.as_ref())
            };
            assert!(self.rows.iter().any(is_used), "no family has {label} of {:?}", set.of);
        }
    }
}

/// One family of a page.
#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    /// The name's ending, the labels and the value of each series.
    rows: Vec<(String, Labels, f64)>,
}

impl Family {
    /// The labels of all series without those of buckets.
    fn label_sets(&self) -> BTreeSet<Labels> {
        let without = |labels: &Labels| {
            labels
                .iter()
                .filter(|(name, _)| *name != "le")
                .map(|(a, b)| (a.clone(), b.clone()))
                .collect()
        };
        self.rows.iter().map(|(_, labels, _)| without(labels)).collect()
    }

    fn check_buckets(&self, name: &str, fault: &mut impl FnMut(String)) {
        let ends: &[&str] = if name.ends_with("_seconds") { &SECONDS } else { &COUNTS };
        for labels in self.label_sets() {
            let mut buckets = Vec::new();
            let mut count = None;
            for (ending, own, value) in &self.rows {
                let is_same = own.iter().filter(|(name, _)| *name != "le").eq(labels.iter());
                match (is_same, ending.as_str()) {
                    (true, "_bucket") => buckets.push((own["le"].as_str(), *value)),
                    (true, "_count") => count = Some(*value),
                    _ => {}
                }
            }
            let has_ends = buckets.iter().map(|(end, _)| *end).eq(ends.iter().copied());
            let grows = buckets.is_sorted_by(|a, b| a.1 <= b.1);
            if !has_ends || !grows || buckets.last().map(|(_, last)| *last) != count {
                fault(format!("{name}{labels:?} has the buckets {buckets:?} of {count:?}"));
            }
        }
    }
}

/// A page in Prometheus's format.
pub(crate) struct Page {
    families: BTreeMap<String, Family>,
}

impl Page {
    /// # Panics
    ///
    /// If a line is not of the format, or a series comes before its family or twice.
    pub(crate) fn parse(text: &str) -> Self {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name)) => {
                    families.entry(name.to_owned()).or_default().help =
                        words.next().unwrap_or_default().to_owned();
                }
                (Some("#"), Some("TYPE"), Some(name)) => {
                    let family = families.entry(name.to_owned()).or_default();
                    assert!(family.kind.is_empty(), "{name} is there twice");
                    words.next().unwrap_or_default().clone_into(&mut family.kind);
                    name.clone_into(&mut current);
                }
                _ => {
                    assert!(seen.insert(line.rsplit_once(' ').map(|(id, _)| id)), "twice: {line}");
                    let (name, labels, value) = series(line);
                    let ending = name.strip_prefix(&current);
                    let ending = ending.unwrap_or_else(|| panic!("after {current}: {line}"));
                    let family = families.get_mut(&current).expect("the family came first");
                    family.rows.push((ending.to_owned(), labels, value));
                }
            }
        }
        families.retain(|_, family| !family.rows.is_empty());
        Self { families }
    }

    /// How many series there are.
    pub(crate) fn series(&self) -> usize {
        self.families.values().map(|family| family.rows.len()).sum()
    }

    fn rows(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        let families = self.families.iter().filter(move |(family, _)| name.starts_with(*family));
        let rows = families.flat_map(move |(family, found)| {
            let ending = &name[family.len()..];
            found.rows.iter().filter(move |(own, ..)| own == ending)
        });
        rows.map(|(_, labels, value)| (labels, *value))
    }

    /// The sum of the series of a name that have these labels; 0 where there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has_all = |own: &Labels| {
            labels.iter().all(|(name, value)| own.get(*name).is_some_and(|own| own == value))
        };
        self.rows(name).filter(|(own, _)| has_all(own)).map(|(_, value)| value).sum()
    }

    /// Whether there are series of a name, and all have such a value.
    pub(crate) fn all(&self, name: &str, is_so: impl Fn(f64) -> bool) -> bool {
        self.rows(name).next().is_some() && self.rows(name).all(|(_, value)| is_so(value))
    }

    /// The values of a label.
    pub(crate) fn values(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.rows(name).filter_map(|(labels, _)| labels.get(label).cloned()).collect()
    }
}

/// One line: name, labels and value.
fn series(line: &str) -> (String, Labels, f64) {
    let (id, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let Some((name, labels)) = id.split_once('{') else {
        return (id.to_owned(), Labels::new(), value);
    };
    // No value of ours has a comma or a quote in it.
    let labels = labels.trim_end_matches('}').split(',').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("no label: {line}"));
        (name.to_owned(), value.trim_matches('"').to_owned())
    });
    (name.to_owned(), labels.collect(), value)
}
