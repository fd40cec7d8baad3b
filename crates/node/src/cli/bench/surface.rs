//! Our own commands beside what Redis's users do today for the same answer.
//!
//! | row       | Bitroster                   | Redis                                              |
//! |-----------|-----------------------------|----------------------------------------------------|
//! | retention | one BM.RETENTION            | BITOP AND, BITCOUNT and DEL for each pair, piped   |
//! | a week    | one BM.QUERY COUNT          | BITOP OR, BITCOUNT and DEL                         |
//! | listing   | BM.SCAN, page by page       | GET, and a walk over the bytes in the client       |
//! | many bits | BM.SETBITS, 1000 a command  | SETBIT, 1000 a pipeline                            |
//! | ids       | BM.ID, 1000 a command       | a script over two hashes, 1000 a call              |
//!
//! Answers must agree. A target is taken for Bitroster if its INFO says so.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use bitroster_resp::Frame;

use super::{
    BenchArgs,
    algebra::Bits,
    connection::Connection,
    load::Random,
    report::{Cell, Report},
};

const DAYS: usize = 30;
/// 100 M ids.
const VALUE_BYTES: u64 = 12_500_000;
/// Share of the ids that are active on a day.
const DENSITY: f64 = 0.05;
/// Bits that are listed, out of 100 M.
const LISTED: u64 = 1_000_000;
/// Offsets that one BM.SCAN asks for.
const PAGE: &str = "10000";
const SET: u64 = 1_000_000;
const BATCH: u64 = 1_000;
/// Gives each name of ARGV a number, in Redis: the hash of numbers, the hash of names, the counter.
const SCRIPT: &str = "local out = {} for i, name in ipairs(ARGV) do \
    local id = redis.call('HGET', KEYS[1], name) \
    if not id then id = redis.call('INCR', KEYS[3]) - 1 \
    redis.call('HSET', KEYS[1], name, id) redis.call('HSET', KEYS[2], id, name) end \
    out[i] = tonumber(id) end return out";

/// One server and how it is asked.
struct Side {
    connection: Connection,
    is_ours: bool,
}

/// Fills and empties every target, row by row.
///
/// # Errors
///
/// If a server refuses, or the answers differ.
#[expect(clippy::print_stderr, reason = "progress")]
pub(super) fn run(args: &BenchArgs, report: &mut Report) -> Result<()> {
    let mut sides = Vec::new();
    for target in args.targets() {
        let mut connection = Connection::open(&target)?;
        let is_ours = connection.text(&["INFO", "server"])?.contains("bitroster_version");
        connection.call(&["FLUSHALL"])?;
        sides.push(Side { connection, is_ours });
    }
    eprintln!("surface: makes {DAYS} days of 100 M ids");
    for side in &mut sides {
        for day in 1..=DAYS as u64 {
            let mut bits = Bits::new(DENSITY, day);
            side.connection.write_value(&key(day), VALUE_BYTES, |chunk| bits.fill(chunk))?;
        }
    }
    timed(report, &mut sides, "retention of 30 cohorts, 465 counts", 3, retention)?;
    timed(report, &mut sides, "users of a week, 7 keys", 9, week)?;
    for side in &mut sides {
        let mut bits = Bits::new(LISTED as f64 / (VALUE_BYTES * 8) as f64, 99);
        side.connection.write_value("listed", VALUE_BYTES, |chunk| bits.fill(chunk))?;
    }
    timed(report, &mut sides, "listing a million set bits", 3, list)?;
    timed(report, &mut sides, "setting a million bits", 3, set_bits)?;
    for side in &mut sides {
        side.connection.call(&["FLUSHALL"])?;
    }
    ids(report, &mut sides, args.names)
}

fn key(day: u64) -> String {
    format!("day:2026-10-{day:02}")
}

/// One row: each side in turn, the median of `rounds` rounds; what it answers must agree.
#[expect(clippy::print_stderr, reason = "progress")]
fn timed(
    report: &mut Report,
    sides: &mut [Side],
    name: &str,
    rounds: usize,
    job: fn(&mut Side) -> Result<Vec<u64>>,
) -> Result<()> {
    eprintln!("surface: {name}");
    let mut times = vec![Vec::new(); sides.len()];
    for round in 0..=rounds {
        let mut answers = Vec::new();
        for (side, times) in sides.iter_mut().zip(&mut times) {
            let started = Instant::now();
            answers.push(job(side)?);
            // The first round warms both up.
            if round > 0 {
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
        ensure!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{name}: answers differ");
    }
    let cells = times.into_iter().map(|mut times| {
        times.sort_by(f64::total_cmp);
        Some(Cell::of(times[times.len() / 2]).with("min_ms", times[0]))
    });
    report.lower_is_better("surface", name, "ms", cells.collect());
    Ok(())
}

/// Counts of every pair of days, cohort by cohort.
fn retention(side: &mut Side) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    if side.is_ours {
        let request = ["BM.RETENTION", "day", "FROM", "2026-10-01", "TO", "2026-10-30"];
        let Frame::Array(rows) = side.connection.call(&request)? else {
            bail!("BM.RETENTION answers rows");
        };
        for row in &rows {
            let Frame::Array(cells) = row else { bail!("a row is an array") };
            // A row is the cohort's name, its size and the counts.
            let Some(Frame::Array(row)) = cells.get(2) else {
                counts.extend(cells.iter().skip(2).map(number).collect::<Result<Vec<_>>>()?);
                continue;
            };
            counts.extend(row.iter().map(number).collect::<Result<Vec<_>>>()?);
        }
        ensure!(counts.len() >= DAYS * (DAYS + 1) / 2, "only {} counts", counts.len());
        return Ok(only_within(&counts));
    }
    for cohort in 1..=DAYS as u64 {
        let mut requests: Vec<Vec<String>> = Vec::new();
        for day in cohort..=DAYS as u64 {
            requests.push(words(&["BITOP", "AND", "bench:pair", &key(cohort), &key(day)]));
            requests.push(words(&["BITCOUNT", "bench:pair"]));
            requests.push(words(&["DEL", "bench:pair"]));
        }
        let replies = side.connection.pipeline(&requests)?;
        for reply in replies.chunks_exact(3) {
            counts.push(number(&reply[1])?);
        }
    }
    Ok(counts)
}

/// The counts of days that are among the cohorts, of a matrix whose rows all have `DAYS` columns.
fn only_within(counts: &[u64]) -> Vec<u64> {
    if counts.len() < DAYS * DAYS {
        return counts.to_vec();
    }
    let rows = counts.chunks_exact(DAYS).enumerate();
    rows.flat_map(|(cohort, row)| row[..DAYS - cohort].to_vec()).collect()
}

fn week(side: &mut Side) -> Result<Vec<u64>> {
    if side.is_ours {
        let request = ["BM.QUERY", "COUNT", "day:{2026-10-01..2026-10-07}"];
        return Ok(vec![number(&side.connection.call(&request)?)?]);
    }
    let mut bitop = words(&["BITOP", "OR", "bench:week"]);
    bitop.extend((1..=7).map(key));
    let count = [bitop, words(&["BITCOUNT", "bench:week"]), words(&["DEL", "bench:week"])];
    Ok(vec![number(&side.connection.pipeline(&count)?[1])?])
}

/// How many there are and their sum.
fn list(side: &mut Side) -> Result<Vec<u64>> {
    let (mut count, mut sum) = (0, 0);
    if side.is_ours {
        let mut cursor = "0".to_owned();
        loop {
            let reply = side.connection.call(&["BM.SCAN", "listed", &cursor, "COUNT", PAGE])?;
            let Frame::Array(parts) = reply else { bail!("BM.SCAN answers two parts") };
            let [Frame::Bulk(next), Frame::Array(offsets)] = &parts[..] else {
                bail!("BM.SCAN answers a cursor and offsets");
            };
            for offset in offsets {
                count += 1;
                sum += number(offset)?;
            }
            cursor = String::from_utf8_lossy(next).into_owned();
            if cursor == "0" {
                return Ok(vec![count, sum]);
            }
        }
    }
    let Frame::Bulk(bytes) = side.connection.call(&["GET", "listed"])? else {
        bail!("GET answers a value");
    };
    for (at, byte) in bytes.iter().enumerate() {
        let mut left = *byte;
        while left != 0 {
            let bit = left.leading_zeros();
            left &= !(0x80 >> bit);
            count += 1;
            sum += at as u64 * 8 + u64::from(bit);
        }
    }
    Ok(vec![count, sum])
}

/// A million random ids, the same in every round; how many there are at the end.
fn set_bits(side: &mut Side) -> Result<Vec<u64>> {
    side.connection.call(&["DEL", "bench:set"])?;
    let mut random = Random::new(42);
    for _ in 0..SET / BATCH {
        let ids: Vec<_> =
            (0..BATCH).map(|_| (random.next() % (VALUE_BYTES * 8)).to_string()).collect();
        if side.is_ours {
            let mut request = words(&["BM.SETBITS", "bench:set"]);
            request.extend(ids);
            side.connection.call(&request)?;
        } else {
            let requests: Vec<_> =
                ids.iter().map(|id| words(&["SETBIT", "bench:set", id, "1"])).collect();
            side.connection.pipeline(&requests)?;
        }
    }
    Ok(vec![number(&side.connection.call(&["BITCOUNT", "bench:set"])?)?])
}

/// Names to numbers: how many a second, and the bytes that one takes.
#[expect(clippy::print_stderr, reason = "progress")]
fn ids(report: &mut Report, sides: &mut [Side], names: u64) -> Result<()> {
    eprintln!("surface: numbers for {names} UUIDs");
    let (mut rates, mut bytes) = (Vec::new(), Vec::new());
    for side in sides {
        let before = held(side)?;
        let started = Instant::now();
        let mut random = Random::new(7);
        let mut done = 0;
        while done < names {
            let count = BATCH.min(names - done);
            let uuids = (0..count).map(|_| uuid(&mut random));
            let mut request = if side.is_ours {
                words(&["BM.ID", "bench:users"])
            } else {
                words(&["EVAL", SCRIPT, "3", "bench:ids", "bench:names", "bench:next"])
            };
            request.extend(uuids);
            let Frame::Array(ids) = side.connection.call(&request)? else {
                bail!("numbers are an array");
            };
            ensure!(number(&ids[0])? == done, "the number after {done} is {:?}", ids[0]);
            done += count;
        }
        rates.push(Cell::of(names as f64 / started.elapsed().as_secs_f64()));
        bytes.push(Some(Cell::of(held(side)?.saturating_sub(before) as f64 / names as f64)));
    }
    report.higher_is_better("surface", "numbers for UUIDs", "/s", rates);
    report.lower_is_better("surface", "memory of a UUID and its number", "B", bytes);
    Ok(())
}

/// Bytes held for the data.
fn held(side: &mut Side) -> Result<u64> {
    let field = if side.is_ours { "used_memory_dataset" } else { "used_memory" };
    side.connection.info("memory", field)
}

fn uuid(random: &mut Random) -> String {
    let (high, low) = (random.next(), random.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn number(reply: &Frame) -> Result<u64> {
    let Frame::Integer(number) = reply else { bail!("a number, not {reply:?}") };
    Ok(u64::try_from(*number)?)
}
