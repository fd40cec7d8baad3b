//! Where answers go and how they look: stdout, for people or for programs.
//!
//! People get tables and colours where stdout is a terminal; everybody else gets the same words
//! without colours. `NO_COLOR` and `TERM=dumb` are kept to. What is said beside the answer belongs
//! on stderr.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use clap::ValueEnum;
use comfy_table::{Attribute, CellAlignment, Color, ContentArrangement, Table, presets};

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

    /// How people see it.
    pub(crate) fn style(self) -> Style {
        Style { colours: self.output == Output::Auto && colours_wanted() }
    }
}

fn colours_wanted() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal()
        && !is_set("NO_COLOR")
        && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether there are any.
    pub(crate) colours: bool,
}

impl Style {
    /// As stdout and the environment want it.
    pub(crate) fn of_stdout() -> Self {
        Self { colours: colours_wanted() }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Well.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// To be looked at.
    pub(crate) fn warning(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Less important.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A command's name.
    pub(crate) fn name(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// What stands out.
    pub(crate) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// What a cell of a table wants to say with its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// Well.
    Good,
    /// To be looked at.
    Warning,
    /// Wrong.
    Bad,
    /// Less important.
    Dim,
}

/// One cell of a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a colour.
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    fn styled(self, style: Style) -> comfy_table::Cell {
        let cell = comfy_table::Cell::new(self.text);
        if !style.colours {
            return cell;
        }
        match self.tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Warning => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red).add_attribute(Attribute::Bold),
            Tone::Dim => cell.add_attribute(Attribute::Dim),
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A table of a head and rows. Columns whose number is in `right` stand on the right. It is as wide
/// as the terminal at the most; where there is none, lines are never wrapped.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<Cell>>, right: &[usize], style: Style) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match columns_of_stdout() {
        Some(columns) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns)
        }
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    // Whether there is a terminal is decided here, not by the library.
    if style.colours {
        table.enforce_styling()
    } else {
        table.force_no_tty()
    };
    table.set_header(head.iter().map(|name| Cell::new(*name, Tone::Dim).styled(style)));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| cell.styled(style)));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How wide the terminal is that stdout is, if it is one.
fn columns_of_stdout() -> Option<u16> {
    let is_terminal = io::stdout().is_terminal();
    is_terminal.then(|| crossterm::terminal::size().ok()).flatten().map(|(columns, _)| columns)
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

/// A long time in two units: `3d 4h`, `5m 6s`.
pub(crate) fn age(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m {rest}s"),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
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
/// As [`print()`].
pub(crate) fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print(format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_lie_below_each_other_and_numbers_on_the_right() {
        let row = |cells: [&str; 2]| cells.map(Cell::from).to_vec();
        let rows = vec![row(["a:1", "7"]), row(["b", "12345"])];
        let text = table(&["ADDRESS", "KEYS"], rows, &[1], Style::default());
        assert_eq!(text, "ADDRESS   KEYS\na:1          7\nb        12345\n");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!(seconds(0.000_000_85), "850 ns");
        assert_eq!(seconds(0.012_34), "12.3 ms");
        assert_eq!(seconds(4.561), "4.56 s");
        assert_eq!(age(59), "59s");
        assert_eq!(age(366), "6m 6s");
        assert_eq!(age(90_000), "1d 1h");
    }

    #[test]
    fn without_colours_nothing_is_added() {
        assert_eq!(Style { colours: false }.bad("FAIL"), "FAIL");
        assert_eq!(Style { colours: true }.bad("FAIL"), "\x1b[1;31mFAIL\x1b[0m");
    }
}
