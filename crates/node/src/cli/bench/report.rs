//! The figures, as a table and as JSON.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use serde::Serialize;

use super::{connection::Connection, target::Target};

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    servers: Vec<Server>,
    cores: usize,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Server {
    url: String,
    /// `redis_version`, and `bitroster_version` where there is one.
    version: String,
}

#[derive(Debug, Serialize)]
struct Row {
    suite: &'static str,
    name: String,
    unit: &'static str,
    /// One a target; none where the target does not know the command.
    cells: Vec<Option<Cell>>,
    /// How much better the first target did than the second.
    ratio: Option<f64>,
}

/// One target's figures in a row.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cell {
    /// The figure that the ratio is made of.
    pub(super) value: f64,
    /// Others beside it.
    more: BTreeMap<&'static str, f64>,
}

impl Cell {
    pub(super) fn of(value: f64) -> Self {
        Self { value, more: BTreeMap::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.more.insert(name, value);
        self
    }
}

impl Report {
    pub(super) fn new(targets: &[Target]) -> Result<Self> {
        let servers = targets.iter().map(|target| {
            let info = Connection::open(target)?.text(&["INFO", "server"])?;
            let field = |name: &str| {
                info.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned())
            };
            let version = field("bitroster_version:").map_or_else(
                || format!("redis {}", field("redis_version:").unwrap_or_default()),
                |version| format!("bitroster {version}"),
            );
            Ok(Server { url: target.url.clone(), version })
        });
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Ok(Self { servers: servers.collect::<Result<_>>()?, cores, rows: Vec::new() })
    }

    /// Adds a row whose ratio is first to second.
    pub(super) fn higher_is_better(
        &mut self,
        suite: &'static str,
        name: &str,
        unit: &'static str,
        cells: Vec<Cell>,
    ) {
        let ratio = (cells.len() == 2).then(|| cells[0].value / cells[1].value);
        let cells = cells.into_iter().map(Some).collect();
        self.rows.push(Row { suite, name: name.to_owned(), unit, cells, ratio });
    }

    /// Adds a row whose ratio is second to first.
    pub(super) fn lower_is_better(
        &mut self,
        suite: &'static str,
        name: &str,
        unit: &'static str,
        cells: Vec<Option<Cell>>,
    ) {
        let ratio = match &cells[..] {
            [Some(first), Some(second)] => Some(second.value / first.value),
            _ => None,
        };
        self.rows.push(Row { suite, name: name.to_owned(), unit, cells, ratio });
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let versions: Vec<&str> = self.servers.iter().map(|s| s.version.as_str()).collect();
        // Writing to a String cannot fail.
        let mut line = |cells: &[String]| {
            let name = &cells[0];
            let rest: String = cells[1..].iter().map(|cell| format!("{cell:>26}")).collect();
            writeln!(text, "{name:<44}{rest}").expect("a String takes all");
        };
        let ratio = (versions.len() == 2).then_some("ratio");
        let head = std::iter::once("measured").chain(versions).chain(ratio);
        line(&head.map(str::to_owned).collect::<Vec<_>>());
        for row in &self.rows {
            let cells = row.cells.iter().map(|cell| {
                cell.as_ref().map_or_else(|| "-".to_owned(), |cell| shown(cell, row.unit))
            });
            let ratio = row.ratio.map(|ratio| format!("{ratio:.2}"));
            line(&std::iter::once(row.name.clone()).chain(cells).chain(ratio).collect::<Vec<_>>());
        }
        text
    }

    /// For programs.
    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

fn shown(cell: &Cell, unit: &str) -> String {
    let value = match cell.value {
        value if value >= 1000.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    };
    match cell.more.get("p99_us") {
        Some(p99) => format!("{value} {unit} p99 {p99:.0}"),
        None => format!("{value} {unit}"),
    }
}
