//! The metric recorder: one for the process, with fixed buckets for every histogram.
//!
//! Names say the unit last (`_seconds`, `_bytes`, `_ops`, `_groups`), and the unit decides the
//! buckets. A histogram of any other unit gets [`BUCKETS_COUNT`].

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::Error;

/// Bounds of durations, in seconds: 50 microseconds to 5 seconds.
pub const BUCKETS_SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
    5.0,
];

/// Bounds of sizes, in bytes: powers of four from 64 bytes to 1 GiB.
pub const BUCKETS_BYTES: &[f64] = &[
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// Bounds of counts, such as commands in a turn or groups asked: powers of two and four to 16 384.
pub const BUCKETS_COUNT: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_024.0, 4_096.0, 16_384.0];

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
    ///
    /// # Panics
    ///
    /// Never: the bucket lists are constants and not empty.
    pub fn install() -> Result<Self, Error> {
        let suffix = |suffix: &str| Matcher::Suffix(suffix.to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets(BUCKETS_COUNT)
            .and_then(|builder| builder.set_buckets_for_metric(suffix("_seconds"), BUCKETS_SECONDS))
            .and_then(|builder| builder.set_buckets_for_metric(suffix("_bytes"), BUCKETS_BYTES))
            .expect("the bucket lists are not empty")
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| Error::Installed {
            what: "a metric recorder",
            reason: error.to_string(),
        })?;
        Ok(Self { handle })
    }

    /// All metrics in Prometheus's text format. Cost: one line a series.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Moves buffered histogram samples into their buckets. To be called every few seconds, so
    /// that a process that nobody scrapes does not gather samples.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_the_buckets_of_their_unit() {
        let recorder = Recorder::install().unwrap();
        metrics::histogram!("bitroster_test_wait_seconds").record(0.003);
        metrics::histogram!("bitroster_test_turn_ops").record(3.0);
        metrics::counter!("bitroster_test_things_total").increment(2);
        recorder.upkeep();
        let text = recorder.render();
        assert!(text.contains("bitroster_test_wait_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("bitroster_test_wait_seconds_bucket{le=\"0.0025\"} 0"), "{text}");
        assert!(text.contains("bitroster_test_turn_ops_bucket{le=\"4\"} 1"), "{text}");
        assert!(text.contains("bitroster_test_things_total 2"), "{text}");
    }

    #[test]
    fn bucket_bounds_grow() {
        for bounds in [BUCKETS_SECONDS, BUCKETS_BYTES, BUCKETS_COUNT] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{bounds:?}");
        }
    }
}
