//! BITCOUNT, BITOP and BITOPCARD over operands of each size and density, one command at a time.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    BenchArgs,
    connection::Connection,
    report::{Cell, Report},
    target::Target,
};

/// Above this size only a few operands fit into a test machine beside their copies elsewhere.
const LARGE_BYTES: u64 = 64 << 20;
const LARGE_OPERANDS_MAX: usize = 8;
/// Each cell is measured for this long, but at least `CALLS_MIN` times.
const CELL_TIME: Duration = Duration::from_millis(700);
const CALLS_MIN: usize = 3;
const CALLS_MAX: usize = 300;

/// Measures every size, density and operation.
#[expect(clippy::print_stderr, reason = "progress")]
pub(super) fn run(args: &BenchArgs, report: &mut Report) -> Result<()> {
    let targets = args.targets();
    for &size in &args.size {
        for &density in &args.density {
            let large = size > LARGE_BYTES;
            let counts: Vec<usize> = args
                .operands
                .iter()
                .copied()
                .filter(|count| !large || *count <= LARGE_OPERANDS_MAX)
                .collect();
            let Some(most) = counts.iter().copied().max() else { continue };
            eprintln!("algebra: {most} operands of {size} bytes, {density} set");
            let mut connections =
                targets.iter().map(|t| load(t, size, density, most)).collect::<Result<Vec<_>>>()?;
            let label = format!("{} {}", bytes(size), share(density));
            measure(&mut connections, report, &label, &counts)?;
            for connection in &mut connections {
                let keys: Vec<String> = (0..most).map(key).collect();
                let mut command = vec!["DEL", "bench:result"];
                command.extend(keys.iter().map(String::as_str));
                connection.call(&command)?;
            }
        }
    }
    Ok(())
}

fn key(index: usize) -> String {
    format!("bench:operand:{index}")
}

/// Writes the operands; the same bits on every target.
fn load(target: &Target, size: u64, density: f64, count: usize) -> Result<Connection> {
    let mut connection = Connection::open(target)?;
    for index in 0..count {
        let mut bits = Bits::new(density, index as u64 + 1);
        connection.write_value(&key(index), size, |chunk| bits.fill(chunk))?;
    }
    Ok(connection)
}

fn measure(
    connections: &mut [Connection],
    report: &mut Report,
    label: &str,
    counts: &[usize],
) -> Result<()> {
    let mut row = |name: String, command: &dyn Fn(&mut Connection) -> Result<f64>| -> Result<()> {
        let cells = connections.iter_mut().map(|c| Ok(Some(median(c, command)?)));
        report.lower_is_better("algebra", &name, "us", cells.collect::<Result<_>>()?);
        Ok(())
    };
    row(format!("BITCOUNT {label}"), &|c| Ok(c.timed(&["BITCOUNT", &key(0)])?.1))?;
    row(format!("BITOP NOT {label}"), &|c| {
        Ok(c.timed(&["BITOP", "NOT", "bench:result", &key(0)])?.1)
    })?;
    for &count in counts {
        let keys: Vec<String> = (0..count).map(key).collect();
        for op in ["AND", "OR", "XOR"] {
            let mut command = vec!["BITOP", op, "bench:result"];
            command.extend(keys.iter().map(String::as_str));
            row(format!("BITOP {op} of {count} {label}"), &|c| Ok(c.timed(&command)?.1))?;
        }
    }
    for &count in counts {
        let keys: Vec<String> = (0..count).map(key).collect();
        for op in ["AND", "OR"] {
            let cells = connections.iter_mut().map(|c| Ok(Some(count_only(c, op, &keys)?)));
            let name = format!("count of {op} of {count} {label}");
            report.lower_is_better("algebra", &name, "us", cells.collect::<Result<_>>()?);
        }
    }
    Ok(())
}

/// BITOPCARD where it is known, else what one does without it: BITOP, BITCOUNT, DEL.
fn count_only(connection: &mut Connection, op: &str, keys: &[String]) -> Result<Cell> {
    let mut direct = vec!["BITOPCARD", op];
    direct.extend(keys.iter().map(String::as_str));
    if connection.call(&direct).is_ok() {
        return median(connection, &|c| Ok(c.timed(&direct)?.1));
    }
    let mut indirect = vec!["BITOP", op, "bench:result"];
    indirect.extend(keys.iter().map(String::as_str));
    median(connection, &|c| {
        Ok(c.timed(&indirect)?.1
            + c.timed(&["BITCOUNT", "bench:result"])?.1
            + c.timed(&["DEL", "bench:result"])?.1)
    })
}

/// Median and best of some calls, after one that does not count.
fn median(
    connection: &mut Connection,
    call: &dyn Fn(&mut Connection) -> Result<f64>,
) -> Result<Cell> {
    call(connection)?;
    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < CALLS_MIN || (started.elapsed() < CELL_TIME && times.len() < CALLS_MAX) {
        times.push(call(connection)?);
    }
    times.sort_by(f64::total_cmp);
    Ok(Cell::of(times[times.len() / 2]).with("min_us", times[0]).with("calls", times.len() as f64))
}

/// Random bits of a given density.
pub(super) struct Bits {
    density: f64,
    state: u64,
    /// Bits to skip until the next set one, for sparse data.
    gap: u64,
}

impl Bits {
    pub(super) fn new(density: f64, seed: u64) -> Self {
        let mut bits =
            Self { density, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, gap: 0 };
        bits.gap = bits.next_gap();
        bits
    }

    /// Fills the next bytes.
    pub(super) fn fill(&mut self, chunk: &mut [u8]) {
        if self.density >= 0.3 {
            for word in chunk.chunks_mut(8) {
                let bytes = self.random().to_le_bytes();
                word.copy_from_slice(&bytes[..word.len()]);
            }
            return;
        }
        chunk.fill(0);
        let bits = chunk.len() as u64 * 8;
        while self.gap < bits {
            let at = usize::try_from(self.gap / 8).unwrap_or(usize::MAX);
            chunk[at] |= 0x80 >> (self.gap % 8);
            self.gap += 1 + self.next_gap();
        }
        self.gap -= bits;
    }

    /// Geometric: how many clear bits come before the next set one.
    #[expect(clippy::cast_possible_truncation, reason = "a gap is far below 2^63")]
    fn next_gap(&mut self) -> u64 {
        let uniform = (self.random() >> 11) as f64 / (1u64 << 53) as f64;
        ((1.0 - uniform).ln() / (1.0 - self.density).ln()) as u64
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

fn bytes(size: u64) -> String {
    match size {
        size if size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        size => format!("{} MB", size as f64 / 1e6),
    }
}

fn share(density: f64) -> String {
    if density >= 0.3 { "dense".to_owned() } else { format!("{} %", density * 100.0) }
}
