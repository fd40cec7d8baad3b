//! Bytes that data sets take: `used_memory` of a Redis, and of Bitroster `used_memory_dataset`,
//! since its `used_memory` also holds the log's last entries.

use anyhow::Result;
use bitroster_resp::Frame;

use super::{
    BenchArgs,
    algebra::Bits,
    connection::Connection,
    report::{Cell, Report},
};

/// 100 M bits.
const VALUE_BYTES: u64 = 12_500_000;
const SMALL_KEYS: u64 = 1_000_000;

/// One data set: its name, how to make it, and over how many keys to share the cost.
type DataSet = (&'static str, fn(&mut Connection) -> Result<()>, u64);

const DATA_SETS: &[DataSet] = &[
    ("bits 1 and 99,999,999", two_bits, 1),
    ("one bit at 2^32-1", far_bit, 1),
    ("one-byte value, of a million keys", small_keys, SMALL_KEYS),
    ("100 M bits, 50 % set", |c| value(c, 0.5), 1),
    ("100 M bits, 1 % set", |c| value(c, 0.01), 1),
    ("100 M bits, 0.01 % set", |c| value(c, 0.0001), 1),
];

/// Fills and empties every target, data set by data set.
#[expect(clippy::print_stderr, reason = "progress")]
pub(super) fn run(args: &BenchArgs, report: &mut Report) -> Result<()> {
    for (name, make, keys) in DATA_SETS {
        eprintln!("memory: {name}");
        let mut cells = Vec::new();
        for target in args.targets() {
            let mut connection = Connection::open(&target)?;
            connection.call(&["FLUSHALL"])?;
            let before = held(&mut connection)?;
            make(&mut connection)?;
            let after = held(&mut connection)?;
            connection.call(&["FLUSHALL"])?;
            cells.push(Some(Cell::of(after.saturating_sub(before) as f64 / *keys as f64)));
        }
        report.lower_is_better("memory", name, "B", cells);
    }
    Ok(())
}

/// Bytes held for the data.
fn held(connection: &mut Connection) -> Result<u64> {
    let is_ours = connection.text(&["INFO", "server"])?.contains("bitroster_version");
    connection.info("memory", if is_ours { "used_memory_dataset" } else { "used_memory" })
}

fn two_bits(connection: &mut Connection) -> Result<()> {
    connection.call(&["SETBIT", "bench:two", "1", "1"])?;
    connection.call(&["SETBIT", "bench:two", "99999999", "1"])?;
    Ok(())
}

fn far_bit(connection: &mut Connection) -> Result<()> {
    connection.call(&["SETBIT", "bench:far", "4294967295", "1"])?;
    Ok(())
}

fn small_keys(connection: &mut Connection) -> Result<()> {
    const PAIRS: u16 = 500;
    for from in (0..SMALL_KEYS).step_by(usize::from(PAIRS)) {
        let mut command = vec!["MSET".to_owned()];
        for number in from..from + u64::from(PAIRS) {
            command.extend([format!("user:{number:07}"), "x".to_owned()]);
        }
        let reply = connection.call(&command)?;
        anyhow::ensure!(reply == Frame::Simple("OK".into()), "MSET answered {reply:?}");
    }
    Ok(())
}

fn value(connection: &mut Connection, density: f64) -> Result<()> {
    let mut bits = Bits::new(density, 7);
    connection.write_value("bench:value", VALUE_BYTES, |chunk| bits.fill(chunk))
}
