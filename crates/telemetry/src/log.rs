//! Log lines.
//!
//! To stderr: text for people where that is a terminal, else one JSON object a line. Times are
//! ISO 8601 in UTC, to the microsecond. Neither keys, values nor passwords are ever logged.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{format::Writer, time::FormatTime},
    layer::{Context, SubscriberExt as _},
    reload,
    util::SubscriberInitExt as _,
};

use crate::{Error, metric::Page};

/// The levels, as they are shown, with what was written of each.
static LINES: [(Level, &str, AtomicU64); 5] = [
    (Level::ERROR, "error", AtomicU64::new(0)),
    (Level::WARN, "warn", AtomicU64::new(0)),
    (Level::INFO, "info", AtomicU64::new(0)),
    (Level::DEBUG, "debug", AtomicU64::new(0)),
    (Level::TRACE, "trace", AtomicU64::new(0)),
];

/// Counts the lines that the filter lets through.
struct Count;

impl<S: Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if let Some((.., lines)) =
            LINES.iter().find(|(level, ..)| level == event.metadata().level())
        {
            lines.fetch_add(1, Relaxed);
        }
    }
}

/// Shows how many lines were written of each level.
pub fn publish(page: &mut Page) {
    let mut family = page.counter("bitroster_log_messages_total", "Lines written to the log");
    for (_, level, lines) in &LINES {
        family.row(&[("level", level)], lines.load(Relaxed));
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// Text, coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("log format '{other}' is not one of auto, text, json")),
        }
    }
}

/// Changes the level of a running process. Cheap to keep; made by [`init`].
pub struct Handle {
    set: Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("log::Handle")
    }
}

impl Handle {
    /// Replaces the level filter, written as for [`init`].
    ///
    /// # Errors
    ///
    /// [`Error::Level`] if it cannot be read; the old one stays.
    pub fn set_level(&self, level: &str) -> Result<(), Error> {
        (self.set)(filter(level)?)
            .map_err(|reason| Error::Level { level: level.to_owned(), reason })
    }
}

/// Starts logging. `level` is a level (`info`) or a filter a target (`info,bitroster_wal=debug`).
///
/// # Errors
///
/// [`Error::Level`] if the level cannot be read, [`Error::Installed`] if logging runs already.
pub fn init(level: &str, format: Format) -> Result<Handle, Error> {
    let filter = filter(level)?;
    let terminal = io::stderr().is_terminal();
    let json = match format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_timer(Utc);
    let layer = if json {
        layer.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        layer.with_ansi(terminal).boxed()
    };
    let (filter, handle) = reload::Layer::new(filter);
    tracing_subscriber::registry().with(filter).with(layer).with(Count).try_init().map_err(
        |error| Error::Installed { what: "a log subscriber", reason: error.to_string() },
    )?;
    let set = Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()));
    Ok(Handle { set })
}

/// Whether [`init`] and [`Handle::set_level`] would take this level.
///
/// # Errors
///
/// [`Error::Level`], with the reason.
pub fn check_level(level: &str) -> Result<(), Error> {
    filter(level).map(drop)
}

fn filter(level: &str) -> Result<EnvFilter, Error> {
    let refuse = |reason: String| Error::Level { level: level.to_owned(), reason };
    if level.trim().is_empty() {
        return Err(refuse("it is empty".to_owned()));
    }
    // The filter's own syntax takes any bare word for a target; ours must be levels.
    for part in level.split(',').filter(|part| !part.contains('=')) {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(part.trim())) {
            return Err(refuse(format!("'{part}' is no level")));
        }
    }
    EnvFilter::builder().parse(level).map_err(|error| refuse(error.to_string()))
}

/// The present time in UTC, as `2026-11-21T08:09:10.123456Z`.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        write_utc(writer, since.as_secs(), since.subsec_micros())
    }
}

/// Writes seconds since the epoch as a date and time of the Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn write_utc(out: &mut impl fmt::Write, secs: u64, micros: u32) -> fmt::Result {
    let (days, second) = (secs / 86_400, secs % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(secs: u64, micros: u32) -> String {
        let mut text = String::new();
        write_utc(&mut text, secs, micros).unwrap();
        text
    }

    #[test]
    fn times_are_written_as_iso_8601_in_utc() {
        assert_eq!(utc(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(utc(951_782_400, 5), "2000-02-29T00:00:00.000005Z");
        assert_eq!(utc(951_868_799, 999_999), "2000-02-29T23:59:59.999999Z");
        assert_eq!(utc(1_735_689_599, 0), "2024-12-31T23:59:59.000000Z");
        assert_eq!(utc(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn levels_and_filters_are_read_and_other_words_refused() {
        for good in ["info", "WARN", "off", "info,bitroster_wal=debug", "bitroster_wal=trace"] {
            assert!(check_level(good).is_ok(), "{good}");
        }
        for bad in ["", "loud", "info,loud", "bitroster_wal=loud"] {
            let error = check_level(bad).unwrap_err().to_string();
            assert!(error.contains("off, error, warn"), "{bad}: {error}");
        }
    }

    #[test]
    fn formats_are_read_by_name() {
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!("auto".parse(), Ok(Format::Auto));
        assert!("xml".parse::<Format>().unwrap_err().contains("auto, text, json"));
    }
}
