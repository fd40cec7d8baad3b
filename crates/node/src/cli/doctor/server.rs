//! Checks of what one server tells its clients.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bitroster_resp::Frame;

use super::Check;
use crate::cli::{
    output::{bytes, seconds},
    remote::Remote,
};

/// A round trip from which a client notices that the server is far or busy.
const ROUND_TRIP_SECONDS: f64 = 0.05;

/// Difference to this machine's clock from which TTLs surprise.
const SKEW_MS: i64 = 1_000;

/// All of them.
pub(super) fn checks(remote: &mut Remote) -> Vec<Check> {
    let started = Instant::now();
    let info = match remote.ask(&["INFO"]) {
        Ok(Frame::Bulk(text) | Frame::Verbatim { text, .. }) => {
            String::from_utf8_lossy(&text).into_owned()
        }
        Ok(_) => String::new(),
        Err(error) => {
            let remedy = "give the user the right to INFO, so that it can be looked at";
            return vec![Check::warn("reachable", format!("{error:#}"), remedy)];
        }
    };
    let took = started.elapsed().as_secs_f64();
    let mut checks = vec![reachable(remote.name(), &info, took)];
    if let Some(usecs) = field(&info, "server_time_usec") {
        checks.push(clock(usecs));
    }
    let limit = field(&info, "maxmemory").unwrap_or(0);
    if let (Some(used), 1..) = (field(&info, "used_memory"), limit) {
        checks.push(memory(used, limit));
    }
    if let (Some(clients), Some(most)) =
        (field(&info, "connected_clients"), field(&info, "maxclients"))
    {
        checks.push(clients_left(clients, most));
    }
    checks
}

fn text_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn field(info: &str, name: &str) -> Option<u64> {
    text_field(info, name)?.parse().ok()
}

fn reachable(name: &str, info: &str, took: f64) -> Check {
    let product = match (text_field(info, "bitroster_version"), text_field(info, "redis_version")) {
        (Some(version), _) => format!("Bitroster {version}"),
        (None, Some(version)) => format!("Redis {version}"),
        (None, None) => "something".to_owned(),
    };
    let found = format!("{product} answers at {name} in {}", seconds(took));
    if text_field(info, "loading") == Some("1") {
        return Check::warn(
            "reachable",
            format!("{found}, but still loads"),
            "wait, and ask again",
        );
    }
    if took >= ROUND_TRIP_SECONDS {
        let remedy = "run clients near the server; look at 'bitroster top' whether it is busy";
        return Check::warn("reachable", found, remedy);
    }
    Check::pass("reachable", found)
}

fn clock(server_usecs: u64) -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let ours = i64::try_from(now).unwrap_or(i64::MAX);
    let theirs = i64::try_from(server_usecs / 1000).unwrap_or(i64::MAX);
    let skew = theirs.saturating_sub(ours);
    if skew.abs() >= SKEW_MS {
        let way = if skew > 0 { "ahead of" } else { "behind" };
        let found = format!("the server's clock is {} ms {way} this machine's", skew.abs());
        return Check::warn("clock", found, "run an NTP client on both: EXPIREAT means its clock");
    }
    Check::pass("clock", "the server's clock agrees with this machine's")
}

fn memory(used: u64, limit: u64) -> Check {
    let found = format!("{} of {} used", bytes(used), bytes(limit));
    let remedy = "writes are refused at the limit: raise maxmemory, or let keys expire";
    match used.saturating_mul(100) / limit.max(1) {
        0..80 => Check::pass("maxmemory", found),
        80..95 => Check::warn("maxmemory", found, remedy),
        _ => Check::fail("maxmemory", found, remedy),
    }
}

fn clients_left(clients: u64, most: u64) -> Check {
    let found = format!("{clients} of {most} clients connected");
    if clients >= most / 10 * 9 {
        let remedy = "raise server.maxclients, add routers, or look who does not close connections";
        return Check::warn("clients", found, remedy);
    }
    Check::pass("clients", found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn figures_near_their_limits_are_told() {
        assert_eq!(memory(79, 100).verdict, Verdict::Pass);
        assert_eq!(memory(80, 100).verdict, Verdict::Warn);
        assert_eq!(memory(95, 100).verdict, Verdict::Fail);
        assert_eq!(clients_left(9, 10_000).verdict, Verdict::Pass);
        assert_eq!(clients_left(9_500, 10_000).verdict, Verdict::Warn);
    }

    #[test]
    fn a_clock_that_is_off_is_told() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let usecs = u64::try_from(now.as_micros()).unwrap();
        assert_eq!(clock(usecs).verdict, Verdict::Pass);
        assert_eq!(clock(usecs + 60_000_000).verdict, Verdict::Warn);
        assert!(clock(usecs - 60_000_000).found.contains("behind"));
    }

    #[test]
    fn who_answers_is_named() {
        let info = "redis_version:7.4.0\r\nbitroster_version:0.1.0\r\nloading:0\r\n";
        let check = reachable("a:1", info, 0.001);
        assert_eq!(check, Check::pass("reachable", "Bitroster 0.1.0 answers at a:1 in 1.0 ms"));
        assert_eq!(reachable("a:1", "loading:1\r\n", 0.001).verdict, Verdict::Warn);
        assert_eq!(reachable("a:1", info, 0.5).verdict, Verdict::Warn);
    }
}
