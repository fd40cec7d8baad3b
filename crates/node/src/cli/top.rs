//! `bitroster top`: what a cluster or a server does right now.
//!
//! | module   | job                                                     |
//! |----------|---------------------------------------------------------|
//! | `sample` | asks servers and nodes, and what changed between rounds |
//! | `view`   | one frame, on a terminal or as text                     |

mod sample;
mod view;

use std::{
    collections::VecDeque,
    env,
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};

use self::{
    sample::{Rates, Sample, Sampler},
    view::{Sort, View},
};
use super::{
    exit::{Code, Failure},
    node::NodeArgs,
    output,
    remote::RemoteArgs,
};

/// Rounds whose rates are drawn: one a column of a wide terminal.
const HISTORY_ROUNDS_MAX: usize = 400;

/// How long the keyboard is waited for before new figures are looked for.
const KEY_PAUSE: Duration = Duration::from_millis(100);

/// Columns of a frame that is printed as text.
const TEXT_COLUMNS: u16 = 120;

/// Arguments of `bitroster top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    nodes: NodeArgs,
    /// Milliseconds between two rounds of questions.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = interval())]
    interval_ms: u64,
    /// Prints one frame as text and ends: what happened within one interval.
    #[arg(long)]
    once: bool,
}

/// Often enough to be live, and seldom enough not to be a load.
fn interval() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(100..=60_000)
}

/// Runs `bitroster top`.
pub(crate) fn run(args: &TopArgs) -> anyhow::Result<Code> {
    let interval = Duration::from_millis(args.interval_ms);
    let mut sampler = Sampler::open(&args.remote, &args.nodes)?;
    let first = sampler.sample();
    if args.once {
        thread::sleep(interval);
        let mut state = State::new(first);
        state.take(sampler.sample());
        output::print(state.view(false).text(TEXT_COLUMNS))?;
        return Ok(Code::Done);
    }
    let (sender, samples) = sync_channel(1);
    // Ends when the receiver has gone, or with the process.
    thread::Builder::new().name("sampler".to_owned()).spawn(move || {
        loop {
            let started = Instant::now();
            if sender.send(sampler.sample()).is_err() {
                return;
            }
            thread::sleep(interval.saturating_sub(started.elapsed()));
        }
    })?;
    let terminal = ratatui::try_init().map_err(|error| {
        let text = format!("cannot draw here: {error}");
        Failure::new(Code::Usage, text).hint("top needs a terminal; --once prints one frame")
    })?;
    let done = watch(terminal, State::new(first), &samples);
    ratatui::restore();
    done.map(|()| Code::Done)
}

/// Draws until the person leaves.
fn watch(
    mut terminal: DefaultTerminal,
    mut state: State,
    samples: &Receiver<Sample>,
) -> anyhow::Result<()> {
    let colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut is_changed = true;
    loop {
        if is_changed {
            terminal.draw(|frame| {
                let (view, area) = (state.view(colours), frame.area());
                view.draw(area, frame.buffer_mut());
            })?;
        }
        is_changed = false;
        if event::poll(KEY_PAUSE)? {
            is_changed = true;
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                let is_ctrl_c =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if is_ctrl_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Ok(());
                }
                if key.code == KeyCode::Char('s') {
                    state.sort = state.sort.next();
                } else if matches!(key.code, KeyCode::Char('p' | ' ')) {
                    state.is_paused = !state.is_paused;
                }
            }
        }
        match samples.try_recv() {
            Ok(_) if state.is_paused => {}
            Ok(sample) => {
                state.take(sample);
                is_changed = true;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(anyhow::anyhow!("nobody asks any more")).context("the sampler ended");
            }
        }
    }
}

/// What is shown, and how.
struct State {
    now: Sample,
    rates: Rates,
    /// Commands a second of each round, oldest first.
    history: VecDeque<u64>,
    /// Seconds of each sync of the log between the last two rounds, by node.
    syncs: Vec<(u64, f64)>,
    sort: Sort,
    is_paused: bool,
}

impl State {
    fn new(first: Sample) -> Self {
        // The first round has nothing to be compared with, but shows what there is.
        let rates = Rates::between(&first, &first);
        Self {
            now: first,
            rates,
            history: VecDeque::new(),
            syncs: Vec::new(),
            sort: Sort::default(),
            is_paused: false,
        }
    }

    fn take(&mut self, sample: Sample) {
        self.rates = Rates::between(&self.now, &sample);
        self.syncs = syncs_between(&self.now, &sample);
        self.now = sample;
        if self.history.len() == HISTORY_ROUNDS_MAX {
            self.history.pop_front();
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative"
        )]
        self.history.push_back(self.rates.all.per_second.round() as u64);
    }

    fn view(&self, colours: bool) -> View<'_> {
        View {
            sample: &self.now,
            rates: &self.rates,
            history: self.history.iter().copied().collect(),
            syncs: &self.syncs,
            sort: self.sort,
            is_paused: self.is_paused,
            colours,
        }
    }
}

/// How long a sync of the log took on each node, in the mean.
#[expect(clippy::cast_precision_loss, reason = "shown with two or three digits")]
fn syncs_between(before: &Sample, now: &Sample) -> Vec<(u64, f64)> {
    let figures = |sample: &Sample| -> Vec<(u64, u64, u64)> {
        let nodes = sample.cluster.iter().flat_map(|report| &report.nodes);
        let hosts = nodes.filter_map(|node| {
            let host = node.status.as_ref()?.host.as_ref()?;
            Some((node.id.0, host.syncs, host.sync_nanos))
        });
        hosts.collect()
    };
    let before = figures(before);
    let risen = figures(now).into_iter().filter_map(|(node, syncs, nanos)| {
        let (_, earlier, earlier_nanos) = before.iter().find(|(id, ..)| *id == node)?;
        let count = syncs.checked_sub(*earlier).filter(|count| *count > 0)?;
        Some((node, nanos.saturating_sub(*earlier_nanos) as f64 / 1e9 / count as f64))
    });
    risen.collect()
}
