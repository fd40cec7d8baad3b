//! Metrics: the recorder of the process, and what is kept beside it.
//!
//! Two ways to the same text. What comes and goes seldom is counted by handles of the `metrics`
//! crate in the [`Recorder`]. What is counted on hot paths, what is read from elsewhere at a
//! scrape, and what belongs to a group or a peer, which come and go, is written to the [`Page`] of
//! a scrape by whoever has it. Histograms are always of the second kind ([`Histogram`]): their
//! bounds are fixed and recording costs two additions, whereas the recorder would keep every
//! sample.
//!
//! `docs/metrics.md` lists all names.

mod histogram;
mod page;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

pub use self::{
    histogram::{Bounds, COUNTS, Histogram, SECONDS},
    page::{Family, Page, Value},
};
use crate::Error;

/// The process's recorder. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    handle: PrometheusHandle,
}

impl Recorder {
    /// Installs the recorder; every `metrics` handle made afterwards counts in it.
    ///
    /// # Errors
    ///
    /// [`Error::Installed`] if the process has one already.
    pub fn install() -> Result<Self, Error> {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| Error::Installed {
            what: "a metric recorder",
            reason: error.to_string(),
        })?;
        Ok(Self { handle })
    }

    /// What the handles counted, as the beginning of a scrape's page. Cost: one line a series.
    pub fn page(&self) -> Page {
        Page::new(self.handle.render())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_handles_counted_and_what_is_written_are_one_page() {
        let recorder = Recorder::install().unwrap();
        assert!(Recorder::install().is_err());
        metrics::describe_counter!("bitroster_test_things_total", "Things");
        metrics::counter!("bitroster_test_things_total").increment(2);
        let mut page = recorder.page();
        page.gauge("bitroster_test_level", "Level").row(&[], 3_u64);
        let text = page.finish();
        assert!(text.contains("# HELP bitroster_test_things_total Things\n"), "{text}");
        assert!(text.contains("\nbitroster_test_things_total 2\n"), "{text}");
        assert!(text.ends_with("# TYPE bitroster_test_level gauge\nbitroster_test_level 3\n"));
    }
}
