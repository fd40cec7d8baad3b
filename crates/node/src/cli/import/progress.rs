//! How far a transfer is, on stderr where that is a terminal and nowhere else.

use std::{fmt::Write, time::Duration};

use indicatif::{HumanBytes, ProgressBar, ProgressState, ProgressStyle};

/// With a known end: rate and time left.
const WITH_END: &str =
    "{msg:24} [{wide_bar}] {human_pos}/{human_len} keys  {rate}  {prefix}  ETA {eta}";

/// Without one.
const WITHOUT_END: &str = "{spinner} {msg:24} {human_pos} keys  {rate}  {prefix}";

/// The same for bytes.
const BYTES_WITH_END: &str =
    "{msg:24} [{wide_bar}] {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}";
const BYTES_WITHOUT_END: &str = "{spinner} {msg:24} {bytes}  {bytes_per_sec}";

/// A bar of keys or bytes.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// None.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// A bar of `keys` keys, or of nobody knows how many.
    pub(crate) fn start(title: &'static str, keys: Option<u64>) -> Self {
        let bar = keys.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if keys.is_some() { WITH_END } else { WITHOUT_END };
        Self(styled(bar, template, title))
    }

    /// A bar of `bytes` bytes, or of nobody knows how many.
    pub(crate) fn start_bytes(title: &'static str, bytes: Option<u64>) -> Self {
        let bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if bytes.is_some() { BYTES_WITH_END } else { BYTES_WITHOUT_END };
        Self(styled(bar, template, title))
    }

    /// So many keys or bytes more are done.
    pub(crate) fn pass(&self, count: u64) {
        self.0.inc(count);
    }

    /// So many bytes are copied in all.
    pub(crate) fn tell(&self, bytes: u64) {
        self.0.set_prefix(HumanBytes(bytes).to_string());
    }

    /// Takes the bar off the screen.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn styled(bar: ProgressBar, template: &str, title: &'static str) -> ProgressBar {
    // The template is a constant; a bar that looks plain is better than none.
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
            // Into memory, which takes it.
            write!(out, "{:.0} keys/s", state.per_sec()).unwrap_or(());
        })
        .progress_chars("=> ");
    bar.set_style(style);
    bar.set_message(title);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
