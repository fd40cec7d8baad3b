//! Settings of the front end that may change at any time: slow log, latency, messages.

use std::sync::atomic::Ordering::Relaxed;

use bitroster_command::parse_i64;
use bitroster_types::limits::SLOWLOG_ENTRIES_MAX;

use crate::{pubsub::notify::Class, server::Shared};

type Changed = Result<(), String>;

/// Names and values.
pub(super) fn settings(shared: &Shared) -> Vec<(&'static str, String)> {
    let limit = &shared.pubsub.limit;
    let [hard, soft, secs] =
        [&limit.hard_bytes, &limit.soft_bytes, &limit.soft_secs].map(|number| number.load(Relaxed));
    vec![
        // Replies are bounded by the turn; only messages can pile up.
        (
            "client-output-buffer-limit",
            format!("normal 0 0 0 slave 268435456 67108864 60 pubsub {hard} {soft} {secs}"),
        ),
        (
            "enable-debug-command",
            if shared.debug_is_local.load(Relaxed) { "local" } else { "no" }.to_owned(),
        ),
        ("latency-monitor-threshold", shared.latency.threshold_ms().to_string()),
        ("notify-keyspace-events", shared.pubsub.classes.get().letters()),
        ("slowlog-log-slower-than", shared.slowlog.threshold_usecs().to_string()),
        ("slowlog-max-len", shared.slowlog.entries_max().to_string()),
    ]
}

/// Changes a setting; `None` where it is none of these.
pub(super) fn change(shared: &Shared, name: &str, value: &str) -> Option<Changed> {
    Some(match name {
        "client-output-buffer-limit" => output_limit(shared, value),
        // In Redis a matter of the file; here DEBUG can do no harm.
        "enable-debug-command" => match value {
            "no" | "local" => {
                shared.debug_is_local.store(value == "local", Relaxed);
                Ok(())
            }
            _ => Err("argument(s) must be one of the following: no, local".to_owned()),
        },
        "latency-monitor-threshold" => number(value, 0, i64::MAX)
            .map(|millis| shared.latency.set_threshold_ms(millis.unsigned_abs())),
        "notify-keyspace-events" => Class::parse(value)
            .map(|classes| shared.pubsub.classes.set(classes))
            .ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
        "slowlog-log-slower-than" => {
            number(value, -1, i64::MAX).map(|usecs| shared.slowlog.set_threshold_usecs(usecs))
        }
        "slowlog-max-len" => number(value, 0, i64::MAX).map(|entries| {
            let entries = usize::try_from(entries).unwrap_or(usize::MAX);
            shared.slowlog.set_entries_max(entries.min(SLOWLOG_ENTRIES_MAX));
        }),
        _ => return None,
    })
}

fn number(value: &str, least: i64, most: i64) -> Result<i64, String> {
    let number = parse_i64(value.as_bytes())
        .ok_or_else(|| "argument couldn't be parsed into an integer".to_owned())?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("argument must be between {least} and {most} inclusive"))
    }
}

/// `class hard soft seconds`, any number of times; only the class `pubsub` means anything here.
fn output_limit(shared: &Shared, value: &str) -> Changed {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let mut limits = Vec::new();
    for limit in words.chunks_exact(4) {
        let is_known = ["normal", "slave", "replica", "pubsub"]
            .iter()
            .any(|class| class.eq_ignore_ascii_case(limit[0]));
        if !is_known {
            return Err("Invalid client class specified in buffer limit configuration.".to_owned());
        }
        let numbers = (size(limit[1]), size(limit[2]), limit[3].parse::<u64>().ok());
        let (Some(hard), Some(soft), Some(secs)) = numbers else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit \
                        configuration."
                .to_owned());
        };
        if limit[0].eq_ignore_ascii_case("pubsub") {
            limits.push((hard, soft, secs));
        }
    }
    for (hard, soft, secs) in limits {
        let limit = &shared.pubsub.limit;
        limit.hard_bytes.store(hard, Relaxed);
        limit.soft_bytes.store(soft, Relaxed);
        limit.soft_secs.store(secs, Relaxed);
    }
    Ok(())
}

/// A size as Redis reads it: `1mb` is 2^20 bytes, `1m` a million.
fn size(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_redis_reads_them() {
        let read = |text| size(text);
        assert_eq!(read("32mb"), Some(32 << 20));
        assert_eq!(read("1M"), Some(1_000_000));
        assert_eq!((read("0"), read("7b")), (Some(0), Some(7)));
        assert_eq!((read(""), read("mb"), read("1x"), read("-1")), (None, None, None, None));
    }
}
