//! Fifteen minutes of samples, kept here: the console needs no Prometheus.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
};
use bitroster_frontend::Sample;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::{Answer, Console, Ends, Inner, Refusal, answer_value};

/// Seconds between two samples.
const STEP_SECS: u64 = 5;

/// Samples that are kept.
const SAMPLES_MAX: usize = 180;

/// Commands with lines of their own; the others share one.
const COMMANDS_SHOWN: usize = 8;

/// The samples, oldest first.
#[derive(Default)]
pub(super) struct Ring {
    points: Mutex<VecDeque<Arc<Point>>>,
}

/// One sample.
struct Point {
    /// Unix time in seconds.
    at: u64,
    counted: Sample,
    keys: Option<u64>,
    memory_bytes: Option<u64>,
}

impl Ring {
    fn push(&self, point: Point) {
        let mut points = self.points.lock();
        if points.len() == SAMPLES_MAX {
            points.pop_front();
        }
        points.push_back(Arc::new(point));
    }

    /// The last `count` samples as lines, with nothing where there was none yet.
    fn json(&self, count: usize) -> Value {
        let points: Vec<Arc<Point>> = {
            let points = self.points.lock();
            points.iter().skip(points.len().saturating_sub(count)).cloned().collect()
        };
        let missing = count - points.len();
        let line = |value: &dyn Fn(&Point) -> Option<f64>| -> Vec<Option<f64>> {
            let values = points.iter().map(|point| value(point).map(rounded));
            std::iter::repeat_n(None, missing).chain(values).collect()
        };
        let busiest = busiest(&points);
        let mut series = Vec::new();
        let others = |name: &str| !busiest.contains(&name);
        for name in &busiest {
            let rate = |point: &Point| Some(point.rate(|it| it == *name));
            series.push(json!({
                "name": "commands_per_second", "cmd": name, "values": line(&rate),
            }));
            let p99 = |point: &Point| point.p99(|it| it == *name);
            series.push(json!({ "name": "p99_seconds", "cmd": name, "values": line(&p99) }));
        }
        if points.iter().any(|point| point.rate(others) > 0.0) {
            let rate = |point: &Point| Some(point.rate(others));
            series.push(json!({
                "name": "commands_per_second", "cmd": "other", "values": line(&rate),
            }));
            let p99 = |point: &Point| point.p99(others);
            series.push(json!({ "name": "p99_seconds", "cmd": "other", "values": line(&p99) }));
        }
        let mut push = |name: &str, value: &dyn Fn(&Point) -> Option<f64>| {
            series.push(json!({ "name": name, "values": line(value) }));
        };
        push("errors_per_second", &|point| Some(point.per_second(point.counted.errors)));
        push("connections", &|point| Some(float(point.counted.connections as u64)));
        push("keys", &|point| point.keys.map(float));
        push("memory_bytes", &|point| point.memory_bytes.map(float));
        let end = points.last().map_or_else(unix_secs, |point| point.at);
        json!({ "step_seconds": STEP_SECS, "end": end, "series": series })
    }
}

impl Point {
    fn per_second(&self, count: u64) -> f64 {
        float(count) / self.counted.span.as_secs_f64().max(0.001)
    }

    fn rate(&self, is_meant: impl Fn(&str) -> bool) -> f64 {
        let meant = self.counted.commands.iter().filter(|command| is_meant(command.name));
        self.per_second(meant.map(|command| command.calls).sum())
    }

    /// Of several commands, the slowest one's.
    fn p99(&self, is_meant: impl Fn(&str) -> bool) -> Option<f64> {
        let meant = self.counted.commands.iter().filter(|command| is_meant(command.name));
        meant.map(|command| command.p99_seconds).reduce(f64::max)
    }
}

#[expect(clippy::cast_precision_loss, reason = "charts have fewer pixels")]
fn float(number: u64) -> f64 {
    number as f64
}

/// Microseconds and millionths are enough.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The commands that ran most often, most often first.
fn busiest(points: &[Arc<Point>]) -> Vec<&'static str> {
    let mut calls: BTreeMap<&'static str, u64> = BTreeMap::new();
    for command in points.iter().flat_map(|point| &point.counted.commands) {
        *calls.entry(command.name).or_default() += command.calls;
    }
    let mut calls: Vec<(&'static str, u64)> = calls.into_iter().collect();
    calls.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    calls.into_iter().take(COMMANDS_SHOWN).map(|(name, _)| name).collect()
}

fn unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Takes samples, for ever, from when clients are served.
pub(super) async fn sample(inner: &Inner) {
    let mut ticks = interval(Duration::from_secs(STEP_SECS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sampler = None;
    loop {
        ticks.tick().await;
        let Some(front) = inner.front.get() else { continue };
        let Some(sampler) = &mut sampler else {
            sampler = Some(front.sampler());
            continue;
        };
        let seen = inner.gatherer.seen(inner.address.get().map(String::as_str)).await;
        let (keys, memory_bytes) = (seen.keys(), seen.memory_bytes());
        inner.ring.push(Point { at: unix_secs(), counted: sampler.take(), keys, memory_bytes });
    }
}

/// What part of the ring is wanted.
#[derive(Deserialize)]
pub(super) struct Span {
    seconds: Option<u64>,
}

/// `GET /api/v1/series?seconds=900`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(ends): Extension<Ends>,
    headers: HeaderMap,
    span: Result<Query<Span>, QueryRejection>,
) -> Answer {
    console.admit(&headers, ends)?;
    let Query(Span { seconds }) =
        span.map_err(|rejection| Refusal::http(StatusCode::BAD_REQUEST, rejection.body_text()))?;
    let steps = seconds.map_or(SAMPLES_MAX as u64, |seconds| seconds / STEP_SECS);
    let count = usize::try_from(steps).unwrap_or(SAMPLES_MAX).clamp(1, SAMPLES_MAX);
    Ok(answer_value(&console.inner.ring.json(count)))
}

#[cfg(test)]
mod tests {
    use bitroster_frontend::CommandSample;

    use super::*;

    fn point(at: u64, commands: &[(&'static str, u64)]) -> Point {
        let commands = commands
            .iter()
            .map(|&(name, calls)| CommandSample { name, calls, p99_seconds: 0.001 * calls as f64 })
            .collect();
        let span = Duration::from_secs(STEP_SECS);
        let counted = Sample { span, commands, errors: 10, connections: 3 };
        Point { at, counted, keys: Some(7), memory_bytes: None }
    }

    fn values<'a>(json: &'a Value, name: &str, cmd: Option<&str>) -> &'a Value {
        let series = json["series"].as_array().unwrap();
        let found = series.iter().find(|it| it["name"] == name && it["cmd"].as_str() == cmd);
        &found.unwrap_or_else(|| panic!("no line {name} {cmd:?} in {json}"))["values"]
    }

    #[test]
    fn lines_have_a_value_a_step_and_none_before_the_first() {
        let ring = Ring::default();
        ring.push(point(100, &[("setbit", 50)]));
        ring.push(point(105, &[("getbit", 5), ("setbit", 10)]));
        let json = ring.json(4);
        assert_eq!((&json["end"], &json["step_seconds"]), (&json!(105), &json!(5)));
        let rate = values(&json, "commands_per_second", Some("setbit"));
        assert_eq!(*rate, json!([null, null, 10.0, 2.0]));
        let rate = values(&json, "commands_per_second", Some("getbit"));
        assert_eq!(*rate, json!([null, null, 0.0, 1.0]));
        let p99 = values(&json, "p99_seconds", Some("getbit"));
        assert_eq!(*p99, json!([null, null, null, 0.005]));
        assert_eq!(*values(&json, "errors_per_second", None), json!([null, null, 2.0, 2.0]));
        assert_eq!(*values(&json, "keys", None), json!([null, null, 7.0, 7.0]));
        assert_eq!(*values(&json, "memory_bytes", None), json!([null, null, null, null]));
    }

    #[test]
    fn commands_beyond_the_busiest_share_a_line() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let runs: Vec<_> = names.iter().zip(10..).map(|(name, calls)| (*name, calls)).collect();
        let ring = Ring::default();
        ring.push(point(100, &runs));
        let json = ring.json(1);
        let rate = values(&json, "commands_per_second", Some("other"));
        assert_eq!(*rate, json!([f64::from(10 + 11) / 5.0]));
        assert_eq!(*values(&json, "p99_seconds", Some("other")), json!([0.011]));
        assert_eq!(*values(&json, "commands_per_second", Some("j")), json!([19.0 / 5.0]));
    }

    #[test]
    fn the_ring_keeps_fifteen_minutes() {
        let ring = Ring::default();
        for at in 0..200 {
            ring.push(point(at, &[]));
        }
        assert_eq!(ring.points.lock().len(), SAMPLES_MAX);
        let json = ring.json(SAMPLES_MAX);
        assert_eq!(values(&json, "connections", None).as_array().unwrap().len(), SAMPLES_MAX);
        assert_eq!(json["end"], 199);
    }
}
