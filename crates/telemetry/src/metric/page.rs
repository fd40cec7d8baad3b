//! The text of one scrape as it grows, in Prometheus's format.

use std::fmt::Write as _;

use super::{Bounds, Histogram};

/// What a scrape answers. Families are written one after another, each whole.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// A family under way: rows of one name. Its help and type are written with its first row, so that
/// a family without rows is not there.
#[derive(Debug)]
pub struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    is_begun: bool,
}

/// A number in a row.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// Written with all its digits.
    Whole(u64),
    /// Written as short as it can be read back.
    Float(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl Page {
    /// A page that begins with `text`, which holds whole families or nothing.
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// A family of values that only grow.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    /// A family of values that come and go.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// A family of histograms.
    pub fn histogram(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, "histogram")
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: &'static str) -> Family<'_> {
        Family { page: self, name, help, kind, is_begun: false }
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// Adds a row.
    pub fn row(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) -> &mut Self {
        self.begin();
        self.line("", labels, None, value.into());
        self
    }

    /// Adds a histogram's rows.
    pub fn buckets(&mut self, labels: &[(&str, &str)], histogram: &Histogram) -> &mut Self {
        self.counts(labels, histogram.bounds(), &histogram.counts(), histogram.sum())
    }

    /// Adds the rows of a histogram that is kept elsewhere: how many values each bucket has by
    /// itself, the one past all bounds last, and the sum of the values in the unit of the ends.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    pub fn counts(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &Bounds,
        counts: &[u64],
        sum: u64,
    ) -> &mut Self {
        self.begin();
        let mut below = 0;
        for (end, count) in bounds.ends.iter().zip(counts) {
            below += count;
            let end = (*end as f64 / bounds.scale).to_string();
            self.line("_bucket", labels, Some(&end), Value::Whole(below));
        }
        below += counts.get(bounds.ends.len()).copied().unwrap_or(0);
        self.line("_bucket", labels, Some("+Inf"), Value::Whole(below));
        self.line("_sum", labels, None, Value::Float(sum as f64 / bounds.scale));
        self.line("_count", labels, None, Value::Whole(below));
        self
    }

    fn begin(&mut self) {
        if !self.is_begun {
            let Self { name, help, kind, .. } = self;
            self.is_begun = true;
            writeln!(self.page.text, "# HELP {name} {help}\n# TYPE {name} {kind}")
                .expect("writing to a string does not fail");
        }
    }

    fn line(&mut self, ending: &str, labels: &[(&str, &str)], le: Option<&str>, value: Value) {
        let out = &mut self.page.text;
        out.push_str(self.name);
        out.push_str(ending);
        let le = le.map(|end| ("le", end));
        for (place, (name, value)) in labels.iter().copied().chain(le).enumerate() {
            out.push(if place == 0 { '{' } else { ',' });
            out.push_str(name);
            out.push_str("=\"");
            escape(value, out);
            out.push('"');
        }
        if !labels.is_empty() || le.is_some() {
            out.push('}');
        }
        match value {
            Value::Whole(value) => writeln!(out, " {value}"),
            Value::Float(value) => writeln!(out, " {value}"),
        }
        .expect("writing to a string does not fail");
    }
}

/// Writes a label's value.
fn escape(value: &str, out: &mut String) {
    for char in value.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_its_help_once_and_none_without_rows() {
        let mut page = Page::default();
        page.gauge("absent", "Nothing");
        let mut family = page.counter("things_total", "Things");
        family.row(&[("kind", "a\"b\\c\nd")], 1_u64).row(&[("kind", "e"), ("at", "f")], 0.5);
        assert_eq!(
            page.finish(),
            "# HELP things_total Things\n# TYPE things_total counter\n\
             things_total{kind=\"a\\\"b\\\\c\\nd\"} 1\nthings_total{kind=\"e\",at=\"f\"} 0.5\n"
        );
    }

    #[test]
    fn buckets_are_cumulative_and_shown_in_the_unit() {
        let histogram = Histogram::of_seconds();
        for nanos in [40_000, 60_000, 9_000_000_000] {
            histogram.record(nanos);
        }
        let mut page = Page::default();
        page.histogram("wait_seconds", "Waits").buckets(&[("op", "read")], &histogram);
        let text = page.finish();
        for line in [
            "wait_seconds_bucket{op=\"read\",le=\"0.00005\"} 1",
            "wait_seconds_bucket{op=\"read\",le=\"0.0001\"} 2",
            "wait_seconds_bucket{op=\"read\",le=\"5\"} 2",
            "wait_seconds_bucket{op=\"read\",le=\"+Inf\"} 3",
            "wait_seconds_sum{op=\"read\"} 9.0001",
            "wait_seconds_count{op=\"read\"} 3",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
