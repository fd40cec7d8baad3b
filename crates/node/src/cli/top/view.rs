//! One frame: totals, nodes, groups and commands.

use std::iter;

use bitroster_types::GroupId;
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row, Sparkline, Table, Widget as _},
};

use super::sample::{Rate, Rates, Sample};
use crate::cli::{
    cluster::Report,
    output::{age, bytes, seconds, thousands},
};

/// Lines of the curve of commands a second.
const CURVE_LINES: u16 = 3;

/// By what commands are put in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Rate,
    Mean,
    P99,
    Name,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Mean,
            Self::Mean => Self::P99,
            Self::P99 => Self::Name,
            Self::Name => Self::Rate,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Mean => "mean",
            Self::P99 => "p99",
            Self::Name => "name",
        }
    }

    fn apply(self, rates: &mut [&Rate]) {
        rates.sort_by(|a, b| {
            let order = match self {
                Self::Rate => b.per_second.total_cmp(&a.per_second).then(b.calls.cmp(&a.calls)),
                Self::Mean => b.mean.total_cmp(&a.mean),
                Self::P99 => b.p99.unwrap_or(0.0).total_cmp(&a.p99.unwrap_or(0.0)),
                Self::Name => a.name.cmp(&b.name),
            };
            order.then_with(|| a.name.cmp(&b.name))
        });
    }
}

/// What a frame is made of.
pub(super) struct View<'a> {
    pub(super) sample: &'a Sample,
    pub(super) rates: &'a Rates,
    pub(super) history: Vec<u64>,
    pub(super) syncs: &'a [(u64, f64)],
    pub(super) sort: Sort,
    pub(super) is_paused: bool,
    pub(super) colours: bool,
}

/// Text and colour of one cell.
type Shown = (String, Style);

/// A table's head: names, and whether the column stands on the right.
type Head = &'static [(&'static str, bool)];

const NODES: Head = &[
    ("NODE", true),
    ("ADDRESS", false),
    ("STATE", false),
    ("LEADS", true),
    ("REPLICAS", true),
    ("KEYS", true),
    ("DATA", true),
    ("MEMORY", true),
    ("DISK FREE", true),
    ("SYNC", true),
    ("UP", true),
];

const GROUPS: Head = &[
    ("GROUP", true),
    ("SLOTS", true),
    ("LEADER", false),
    ("TERM", true),
    ("APPLIED", true),
    ("LAG", true),
    ("REPLICAS (node +entries behind)", false),
];

const COMMANDS: Head = &[
    ("COMMAND", false),
    ("PER SECOND", true),
    ("MEAN", true),
    ("P99 <=", true),
    ("FAILED/S", true),
    ("CALLS", true),
];

impl View<'_> {
    /// Draws it.
    pub(super) fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let (nodes, groups, commands) = (self.nodes(), self.groups(), self.commands());
        let lines = |rows: &[Vec<Shown>]| u16::try_from(rows.len()).unwrap_or(u16::MAX - 2);
        let block = |rows: &[Vec<Shown>]| if rows.is_empty() { 0 } else { lines(rows) + 2 };
        let curve = if area.height >= 24 { CURVE_LINES + 1 } else { 0 };
        // Commands are what one looks at: groups leave them a third.
        let left = area.height.saturating_sub(4 + curve + block(&nodes));
        let groups_lines = block(&groups).min(left - left / 3);
        let [head, totals, _, graph, at_nodes, at_groups, at_commands, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(curve),
            Constraint::Length(block(&nodes)),
            Constraint::Length(groups_lines),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(area);
        Paragraph::new(self.head()).render(head, buffer);
        Paragraph::new(self.totals()).render(totals, buffer);
        self.draw_curve(graph, buffer);
        self.draw_table(NODES, nodes, at_nodes, buffer);
        self.draw_table(GROUPS, groups, at_groups, buffer);
        self.draw_table(COMMANDS, commands, at_commands, buffer);
        Paragraph::new(self.foot()).render(foot, buffer);
    }

    /// The frame as text without colours, as long as it needs to be.
    pub(super) fn text(&self, columns: u16) -> String {
        let (nodes, groups, commands) = (self.nodes(), self.groups(), self.commands());
        let block = |rows: &[Vec<Shown>]| if rows.is_empty() { 0 } else { rows.len() + 2 };
        let lines = 3 + block(&nodes) + block(&groups) + block(&commands);
        let area = Rect::new(0, 0, columns, u16::try_from(lines).unwrap_or(u16::MAX));
        let mut buffer = Buffer::empty(area);
        let mut top = 3;
        Paragraph::new(self.head()).render(Rect { height: 1, ..area }, &mut buffer);
        Paragraph::new(self.totals()).render(Rect { y: 1, height: 1, ..area }, &mut buffer);
        for (head, rows) in [(NODES, nodes), (GROUPS, groups), (COMMANDS, commands)] {
            let height = u16::try_from(block(&rows)).unwrap_or(0);
            let place = Rect { y: top, height, ..area }.intersection(area);
            self.draw_table(head, rows, place, &mut buffer);
            top += height;
        }
        let mut text = String::new();
        for line in 0..area.height {
            let cells = (0..columns).map(|column| buffer[(column, line)].symbol());
            let line: String = cells.collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        format!("{}\n", text.trim_end())
    }

    fn style(&self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn dim(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn plain(&self, text: impl Into<String>) -> Shown {
        (text.into(), Style::new())
    }

    fn unknown(&self) -> Shown {
        ("-".to_owned(), self.dim())
    }

    /// Who is looked at, and whether all of it is there.
    fn head(&self) -> Line<'static> {
        let servers = self.sample.servers.iter().filter_map(|(_, figures)| figures.as_ref());
        let product = servers.map(|figures| figures.product.clone()).next();
        let product = product.unwrap_or_else(|| "Bitroster".to_owned());
        let mut spans = vec![Span::styled(product, Style::new().add_modifier(Modifier::BOLD))];
        let mut add = |text: String, style: Style| {
            spans.push(Span::raw("   "));
            spans.push(Span::styled(text, style));
        };
        if let Some(report) = &self.sample.cluster {
            let (all, up) = (
                report.nodes.len(),
                report.nodes.iter().filter(|node| node.status.is_some()).count(),
            );
            let led = report.state.groups.keys().filter(|id| report.leader(**id).is_some()).count();
            let groups = report.state.groups.len();
            let tone = |is_whole| self.style(if is_whole { Color::Green } else { Color::Red });
            add(format!("{up}/{all} nodes"), tone(up == all));
            add(format!("{led}/{groups} groups led"), tone(led == groups));
            add(format!("{} routers", report.routers.len()), Style::new());
        } else {
            for (address, figures) in &self.sample.servers {
                match figures {
                    Some(figures) => {
                        add(format!("{address} up {}", age(figures.uptime_secs)), Style::new());
                    }
                    None => add(format!("{address} does not answer"), self.style(Color::Red)),
                }
            }
        }
        if self.is_paused {
            add("PAUSED".to_owned(), self.style(Color::Yellow).add_modifier(Modifier::BOLD));
        }
        Line::from(spans)
    }

    fn totals(&self) -> Line<'static> {
        let rates = &self.rates.all;
        let servers = || self.sample.servers.iter().filter_map(|(_, figures)| figures.as_ref());
        let clients: u64 = servers().map(|figures| figures.clients).sum();
        let (keys, memory) = match &self.sample.cluster {
            Some(report) => (keys_of(report), memory_of(report)),
            None => (
                servers().map(|figures| figures.keys).sum(),
                servers().map(|figures| figures.memory_bytes).sum(),
            ),
        };
        let mut spans = Vec::new();
        for (name, value) in [
            ("commands/s", rate(rates.per_second)),
            ("p99 <=", rates.p99.map_or_else(|| "-".to_owned(), seconds)),
            ("mean", if rates.mean > 0.0 { seconds(rates.mean) } else { "-".to_owned() }),
            ("failed/s", rate(rates.failed_per_second)),
            ("clients", thousands(clients)),
            ("keys", thousands(keys)),
            ("memory", bytes(memory)),
        ] {
            spans.push(Span::styled(format!("{name} "), self.dim()));
            spans.push(Span::styled(value, self.style(Color::Cyan).add_modifier(Modifier::BOLD)));
            spans.push(Span::raw("   "));
        }
        Line::from(spans)
    }

    fn foot(&self) -> Line<'static> {
        let sort = format!("order: {}", self.sort.name());
        let mut spans = Vec::new();
        for (key, what) in [("q", "leave"), ("s", sort.as_str()), ("p", "pause")] {
            let key =
                Span::styled(format!(" {key} "), Style::new().add_modifier(Modifier::REVERSED));
            spans.extend([key, Span::raw(format!(" {what}   "))]);
        }
        Line::from(spans)
    }

    /// Commands a second over time, the newest on the right.
    fn draw_curve(&self, area: Rect, buffer: &mut Buffer) {
        if area.height == 0 {
            return;
        }
        let width = usize::from(area.width);
        let newest = &self.history[self.history.len().saturating_sub(width)..];
        let missing = width - newest.len();
        let data: Vec<u64> = iter::repeat_n(0, missing).chain(newest.iter().copied()).collect();
        let area = Rect { height: area.height - 1, ..area };
        Sparkline::default().data(data).style(self.style(Color::Cyan)).render(area, buffer);
    }

    /// A table and an empty line below it.
    fn draw_table(&self, head: Head, rows: Vec<Vec<Shown>>, area: Rect, buffer: &mut Buffer) {
        if area.height == 0 || rows.is_empty() {
            return;
        }
        let area = Rect { height: area.height.saturating_sub(1).max(1), ..area };
        let widths = head.iter().enumerate().map(|(at, (name, _))| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|(text, _)| text.chars().count()).max().unwrap_or(0);
            Constraint::Length(u16::try_from(widest.max(name.len())).unwrap_or(u16::MAX))
        });
        let line = |text: String, right: bool| {
            let line = Line::from(text);
            if right { line.right_aligned() } else { line }
        };
        let titles = head.iter().map(|(name, right)| Cell::new(line((*name).to_owned(), *right)));
        let titles = Row::new(titles).style(self.dim());
        let widths: Vec<Constraint> = widths.collect();
        let rows = rows.into_iter().map(|row| {
            let cells = row.into_iter().zip(head);
            Row::new(
                cells.map(|((text, style), (_, right))| Cell::new(line(text, *right)).style(style)),
            )
        });
        let table = Table::new(rows, widths).header(titles).column_spacing(2);
        ratatui::widgets::Widget::render(table, area, buffer);
    }

    fn nodes(&self) -> Vec<Vec<Shown>> {
        let Some(report) = &self.sample.cluster else { return Vec::new() };
        let mut rows = Vec::new();
        for node in &report.nodes {
            let leaving = report.state.nodes.get(&node.id).is_some_and(|entry| entry.leaving);
            let state = match (&node.status, leaving) {
                (None, _) => ("no answer".to_owned(), self.style(Color::Red)),
                (Some(_), true) => ("leaving".to_owned(), self.style(Color::Yellow)),
                (Some(_), false) => ("up".to_owned(), self.style(Color::Green)),
            };
            let sync = self.syncs.iter().find(|(id, _)| *id == node.id.0);
            let data = node.status.as_ref();
            let mut row = vec![
                self.plain(node.id.to_string()),
                self.plain(node.address.clone()),
                state,
                self.plain(report.led_by(node.id).to_string()),
                self.plain(report.state.hosted(node.id).count().to_string()),
                data.map_or_else(|| self.unknown(), |data| self.plain(thousands(data.keys))),
                data.map_or_else(|| self.unknown(), |data| self.plain(bytes(data.dataset_bytes))),
            ];
            row.extend(self.host(data.and_then(|data| data.host.as_ref()), sync));
            rows.push(row);
        }
        for router in &report.routers {
            let data = router.status.as_ref();
            let mut row = vec![
                self.unknown(),
                self.plain(router.address.clone()),
                match data {
                    Some(_) => ("router".to_owned(), self.style(Color::Green)),
                    None => ("no answer".to_owned(), self.style(Color::Red)),
                },
            ];
            row.extend((0..4).map(|_| self.unknown()));
            row.extend(self.host(data.and_then(|data| data.host.as_ref()), None));
            rows.push(row);
        }
        rows
    }

    /// Memory, disk, sync and age.
    fn host(
        &self,
        host: Option<&bitroster_proto::internal::Host>,
        sync: Option<&(u64, f64)>,
    ) -> [Shown; 4] {
        let Some(host) = host else { return [(); 4].map(|()| self.unknown()) };
        let limit = host.memory_limit_bytes;
        let memory = match limit {
            0 => self.plain(bytes(host.memory_bytes)),
            _ => {
                let text = format!("{} of {}", bytes(host.memory_bytes), bytes(limit));
                let is_near = host.memory_bytes >= limit / 10 * 9;
                (text, if is_near { self.style(Color::Red) } else { Style::new() })
            }
        };
        let disk = match host.disk_total_bytes {
            0 => self.unknown(),
            total => {
                let is_low = host.disk_free_bytes < total / 10;
                let style = if is_low { self.style(Color::Red) } else { Style::new() };
                (bytes(host.disk_free_bytes), style)
            }
        };
        let sync = sync.map_or_else(|| self.unknown(), |(_, time)| self.plain(seconds(*time)));
        [memory, disk, sync, self.plain(age(host.uptime_ms / 1000))]
    }

    fn groups(&self) -> Vec<Vec<Shown>> {
        let Some(report) = &self.sample.cluster else { return Vec::new() };
        let mut rows = Vec::new();
        for (group, replicas) in &report.state.groups {
            let leader = report.leader(*group);
            let node = report.leader_node(*group);
            let mut lag = Some(0);
            let mut shown = Vec::new();
            for replica in replicas.iter().filter(|replica| Some(replica.node) != node) {
                let is_up =
                    report.nodes.iter().any(|it| it.id == replica.node && it.status.is_some());
                if !is_up {
                    shown.push(format!("{} down", replica.node));
                    continue;
                }
                let behind = report.behind(*group, replica.id);
                lag = lag.zip(behind).map(|(most, behind)| most.max(behind));
                let behind = behind.map_or_else(|| "?".to_owned(), |behind| behind.to_string());
                shown.push(format!("{} +{behind}", replica.node));
            }
            let name = if *group == GroupId::META { "meta".to_owned() } else { group.to_string() };
            let lag = match lag {
                Some(0) => self.plain("0"),
                Some(lag) => (thousands(lag), self.style(Color::Yellow)),
                None => ("?".to_owned(), self.style(Color::Red)),
            };
            rows.push(vec![
                self.plain(name),
                self.plain(report.state.map.slots_of(*group).len().to_string()),
                match node {
                    Some(node) => self.plain(format!("node {node}")),
                    None => ("none".to_owned(), self.style(Color::Red)),
                },
                leader.map_or_else(|| self.unknown(), |it| self.plain(it.term.to_string())),
                leader.map_or_else(|| self.unknown(), |it| self.plain(thousands(it.applied))),
                lag,
                self.plain(shown.join("  ")),
            ]);
        }
        rows
    }

    fn commands(&self) -> Vec<Vec<Shown>> {
        let mut rates: Vec<&Rate> = self.rates.commands.iter().collect();
        self.sort.apply(&mut rates);
        let row = |command: &Rate| {
            let is_idle = command.per_second == 0.0;
            let style = if is_idle { self.dim() } else { Style::new() };
            let time = |time: f64| if is_idle { "-".to_owned() } else { seconds(time) };
            let failed =
                if command.failed_per_second > 0.0 { self.style(Color::Red) } else { style };
            vec![
                (command.name.clone(), style),
                (rate(command.per_second), style),
                (time(command.mean), style),
                (command.p99.map_or_else(|| "-".to_owned(), time), style),
                (rate(command.failed_per_second), failed),
                (thousands(command.calls), style),
            ]
        };
        rates.into_iter().map(row).collect()
    }
}

/// Keys of all groups, each counted where it is led.
fn keys_of(report: &Report) -> u64 {
    let groups = report.state.groups.keys().filter(|group| **group != GroupId::META);
    groups.filter_map(|group| report.leader(*group)).map(|leader| leader.keys).sum()
}

/// Memory of all nodes that keep data.
fn memory_of(report: &Report) -> u64 {
    let statuses = report.nodes.iter().filter_map(|node| node.status.as_ref());
    statuses.filter_map(|status| status.host.as_ref()).map(|host| host.memory_bytes).sum()
}

/// Events a second: with a digit after the point where they are few.
fn rate(per_second: f64) -> String {
    if per_second >= 100.0 || per_second == 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative"
        )]
        return thousands(per_second.round() as u64);
    }
    format!("{per_second:.1}")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Instant};

    use super::*;
    use crate::cli::top::sample::{Calls, Figures};

    #[test]
    fn a_frame_shows_totals_and_commands_in_order() {
        let calls = |calls| Calls { calls, ..Calls::default() };
        let commands = BTreeMap::from([("get".into(), calls(1)), ("setbit".into(), calls(9))]);
        let product = "Redis 7.0.15".to_owned();
        let figures = Figures { product, keys: 1234, commands, ..Figures::default() };
        let servers = vec![("127.0.0.1:6379".to_owned(), Some(figures))];
        let sample = Sample { at: Instant::now(), cluster: None, servers };
        let rates = Rates {
            commands: vec![
                Rate { name: "get".into(), per_second: 2.5, calls: 1, ..Rate::default() },
                Rate { name: "setbit".into(), per_second: 1234.0, calls: 9, ..Rate::default() },
            ],
            ..Rates::default()
        };
        let view = |sort| View {
            sample: &sample,
            rates: &rates,
            history: vec![1, 2, 3],
            syncs: &[],
            sort,
            is_paused: false,
            colours: false,
        };
        let text = view(Sort::Rate).text(100);
        assert!(text.starts_with("Redis 7.0.15   127.0.0.1:6379 up 0s\ncommands/s 0"), "{text}");
        let order = |text: &str| text.find("\nsetbit") < text.find("\nget");
        assert!(order(&text) && text.contains("1,234"), "{text}");
        assert!(!order(&view(Sort::Name).text(100)));
        // Any size can be drawn on.
        for (width, height) in [(1, 1), (20, 5), (80, 24), (200, 60)] {
            let area = Rect::new(0, 0, width, height);
            view(Sort::P99).draw(area, &mut Buffer::empty(area));
        }
    }
}
