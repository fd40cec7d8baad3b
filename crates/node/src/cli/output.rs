//! Where answers go and how they look: stdout, for people or for programs.

use std::io::{self, Write as _};

use clap::ValueEnum;

use super::exit::OutputClosed;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table, with colours on a terminal.
    #[default]
    Auto,
    /// A table without colours.
    Table,
    /// One JSON object.
    Json,
}

/// `--output`, for every command that has an answer.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct OutputArgs {
    /// How the answer is written: tables for people, or one JSON object.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Output,
}

impl OutputArgs {
    /// Whether a program reads the answer.
    pub(crate) fn is_json(self) -> bool {
        self.output == Output::Json
    }
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that fits, powers of 1024: `1.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
    let mut left = count as f64 / 1024.0;
    let mut unit = 0;
    while left >= 1023.95 && unit + 1 < UNITS.len() {
        left /= 1024.0;
        unit += 1;
    }
    format!("{left:.1} {}", UNITS[unit])
}

/// A time in the unit that fits: `850 ns`, `12.3 ms`, `4.56 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// Writes to stdout.
///
/// # Errors
///
/// [`OutputClosed`] where nobody reads any more, which ends the command without a word; anything
/// else that keeps bytes from being written.
pub(crate) fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_ref()).and_then(|()| stdout.flush());
    written.map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return OutputClosed.into();
        }
        anyhow::Error::new(error).context("cannot write the answer")
    })
}

/// Writes one JSON object and a line's end to stdout.
///
/// # Errors
///
/// As [`print`].
pub(crate) fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print(format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!(seconds(0.012_34), "12.3 ms");
        assert_eq!(seconds(4.561), "4.56 s");
    }
}
