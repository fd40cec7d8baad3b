//! Logs, the metric recorder, process figures and build information.
//!
//! Knows nothing of bitmaps: the crates that observe name their own metrics. What is fixed here is
//! how they are kept and shown: every histogram has fixed bounds, so that no sample is held.
//!
//! # Map
//!
//! | module      | job                                                       |
//! |-------------|-----------------------------------------------------------|
//! | [`log`]     | log lines: format, level, change of level at run time      |
//! | [`metric`]  | the recorder, histograms, and the page of a scrape         |
//! | [`process`] | memory, processor time and files of this process           |
//! | [`build`]   | version and commit                                         |

pub mod build;
pub mod log;
pub mod metric;
pub mod process;

/// Why telemetry could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A level filter that cannot be read.
    #[error("log level '{level}' is not one of off, error, warn, info, debug, trace: {reason}")]
    Level {
        /// The filter as given.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A log subscriber or a recorder exists already.
    #[error("{what} is already installed in this process: {reason}")]
    Installed {
        /// Which of them.
        what: &'static str,
        /// What the library says.
        reason: String,
    },
}
