//! The job: BITOP over all days, BITCOUNT of the result, DEL of it; and BITOPCARD, which is the
//! same in one command.

use anyhow::{Context as _, Result, bail, ensure};
use bitroster_resp::Frame;

use super::{
    super::{connection::Connection, target::Target},
    RESULT, Set,
    moved::{Links, Moved},
    report::{Job, JobRow, MovedRow, median},
    servers::Shape,
};

const OPERATIONS: [&str; 3] = ["AND", "OR", "XOR"];
/// How often each job is timed; the median counts.
const ROUNDS: usize = 5;
/// How often the bytes of a command are measured; the mean counts.
const MOVED_ROUNDS: usize = 3;
/// Of which so many may be spoilt.
const MOVED_TRIES: usize = 9;

/// Times each operation on both servers, in turn, after a round that does not count.
///
/// # Errors
///
/// If a server refuses, or their counts differ.
#[expect(clippy::print_stderr, reason = "progress")]
pub(super) fn run(shape: Shape, ours: &Target, redis: &Target, set: &Set) -> Result<Vec<JobRow>> {
    let (mut ours, mut redis) = (Connection::open(ours)?, Connection::open(redis)?);
    let mut rows = Vec::new();
    for operation in OPERATIONS {
        let bitop = set.command(&["BITOP", operation, RESULT]);
        let bitopcard = set.command(&["BITOPCARD", operation]);
        let (mut our_jobs, mut redis_jobs, mut cards) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (our_job, our_count) = job(&mut ours, &bitop)?;
            let (redis_job, redis_count) = job(&mut redis, &bitop)?;
            let (card, card_us) = ours.timed(&bitopcard)?;
            let card = count(&card)?;
            ensure!(
                our_count == redis_count && card == redis_count,
                "{operation} of {} has {our_count} bits, BITOPCARD {card}, redis {redis_count}",
                set.name
            );
            if round > 0 {
                our_jobs.push(our_job);
                redis_jobs.push(redis_job);
                cards.push(card_us / 1e3);
            }
        }
        let (ours, redis) = (Job::median(&our_jobs), Job::median(&redis_jobs));
        let ratio = redis.total_ms / ours.total_ms;
        let (name, density) = (shape.name(), set.density);
        eprintln!("{operation} at {density}: {name} {:.1} ms, ratio {ratio:.2}", ours.total_ms);
        let bitopcard_ms = median(cards);
        rows.push(JobRow { shape, density, operation, ours, redis, ratio, bitopcard_ms });
    }
    Ok(rows)
}

/// Measures the bytes that BITOP and BITOPCARD move between the processes.
///
/// # Errors
///
/// If a server refuses, or connections between the nodes do not last.
pub(super) fn run_moved(
    shape: Shape,
    target: &Target,
    links: &Links,
    set: &Set,
) -> Result<Vec<MovedRow>> {
    let mut connection = Connection::open(target)?;
    let mut rows = Vec::new();
    for (command, words) in [("BITOP", &["BITOP"][..]), ("BITOPCARD", &["BITOPCARD"])] {
        for operation in OPERATIONS {
            let mut words = [words, &[operation]].concat();
            if command == "BITOP" {
                words.push(RESULT);
            }
            let request = set.command(&words);
            let mut measured = Vec::new();
            for _ in 0..MOVED_TRIES {
                connection.call(&["DEL", RESULT])?;
                measured.extend(links.moved_by(|| connection.call(&request).map(drop))?);
                if measured.len() == MOVED_ROUNDS {
                    break;
                }
            }
            ensure!(measured.len() == MOVED_ROUNDS, "connections between the nodes do not last");
            rows.push(moved_row(shape, set, command, operation, &measured));
        }
    }
    connection.call(&["DEL", RESULT])?;
    Ok(rows)
}

fn moved_row(
    shape: Shape,
    set: &Set,
    command: &'static str,
    operation: &'static str,
    measured: &[Moved],
) -> MovedRow {
    let mean = |bytes: fn(&Moved) -> i64| {
        measured.iter().map(bytes).sum::<i64>() as f64 / measured.len() as f64
    };
    let bytes = mean(|moved| moved.bytes);
    MovedRow {
        shape,
        density: set.density,
        command,
        operation,
        bytes,
        percent: bytes / set.bytes() as f64 * 100.0,
        idle_bytes: mean(|moved| moved.idle_bytes),
        counted_bytes: mean(|moved| moved.counted_bytes),
    }
}

/// BITOP, BITCOUNT and DEL, each timed; and the count.
fn job(connection: &mut Connection, bitop: &[String]) -> Result<(Job, u64)> {
    let (_, bitop_us) = connection.timed(bitop)?;
    let (counted, bitcount_us) = connection.timed(&["BITCOUNT", RESULT])?;
    let (_, del_us) = connection.timed(&["DEL", RESULT])?;
    Ok((Job::of_us(bitop_us, bitcount_us, del_us), count(&counted)?))
}

fn count(reply: &Frame) -> Result<u64> {
    let Frame::Integer(count) = reply else { bail!("no count but {reply:?}") };
    u64::try_from(*count).context("a count below zero")
}
