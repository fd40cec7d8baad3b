//! Goal: what was acknowledged survives the death of the process, and SETBIT's replies are right.
//!
//! Method: writers pipeline SETBITs, each on offsets of its own, and remember every reply; the
//! process is killed with SIGKILL in the middle, twenty times, and started again on the same data.
//! Each reply must be the bit that the writer's own history says; after each restart each bit must
//! be the one last acknowledged, or one of those written later and not answered.
//!
//! Mutants killed: acknowledge before the write reached the log; start with an empty log; lose the
//! last record of the log at start; apply a batch's ops in another order.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use bitroster_resp::{Frame, encode_request};
use bitroster_suite::{Client, Random, Server, wait};
use bytes::BytesMut;

const KILLS: u64 = 20;
const WRITERS: u64 = 6;
const PIPELINE: usize = 32;
/// Offsets reach over some twenty segments, so every group takes part.
const OFFSETS: u64 = 20 << 20;

/// What one writer knows of its bits.
#[derive(Default)]
struct History {
    /// The values that a bit may have: one, or more after unanswered writes.
    bits: BTreeMap<(u64, u64), Vec<bool>>,
    acknowledged: u64,
}

impl History {
    fn possible(&self, bit: (u64, u64)) -> Vec<bool> {
        self.bits.get(&bit).cloned().unwrap_or_else(|| vec![false])
    }
}

/// Pipelines writes until the connection breaks.
fn write_until_killed(
    writer: u64,
    port: u16,
    random: &mut Random,
    history: &mut History,
    acknowledged: &AtomicU64,
    stop: &AtomicBool,
) {
    let Ok(mut client) = Client::connect(port) else { return };
    while !stop.load(Ordering::Relaxed) {
        let writes: Vec<((u64, u64), bool)> = (0..PIPELINE)
            .map(|_| {
                let offset = random.below(OFFSETS / 64) * 64 + writer;
                ((random.below(3), offset), !random.one_in(4))
            })
            .collect();
        let mut request = BytesMut::new();
        for ((key, offset), value) in &writes {
            let args = [
                "SETBIT".to_owned(),
                format!("bits:{key}"),
                offset.to_string(),
                u8::from(*value).to_string(),
            ];
            encode_request(&args, &mut request);
        }
        if client.send_raw(&request).is_err() {
            remember_unknown(history, &writes);
            return;
        }
        for (at, (bit, value)) in writes.iter().enumerate() {
            let Ok(reply) = client.receive() else {
                remember_unknown(history, &writes[at..]);
                return;
            };
            let Frame::Integer(old) = reply else { panic!("SETBIT answered {reply:?}") };
            let possible = history.possible(*bit);
            assert!(possible.contains(&(old == 1)), "{bit:?} was {old}, not of {possible:?}");
            history.bits.insert(*bit, vec![*value]);
            history.acknowledged += 1;
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Adds what unanswered writes may have done.
fn remember_unknown(history: &mut History, writes: &[((u64, u64), bool)]) {
    for (bit, value) in writes {
        let mut possible = history.possible(*bit);
        possible.push(*value);
        history.bits.insert(*bit, possible);
    }
}

/// Reads every bit a writer has touched, checks it, and settles what was unknown.
fn check(server: &Server, history: &mut History) {
    let mut client = server.client();
    let bits: Vec<(u64, u64)> = history.bits.keys().copied().collect();
    for chunk in bits.chunks(1000) {
        let mut request = BytesMut::new();
        for (key, offset) in chunk {
            let args = ["GETBIT".to_owned(), format!("bits:{key}"), offset.to_string()];
            encode_request(&args, &mut request);
        }
        client.send_raw(&request).expect("the restarted server reads");
        for bit in chunk {
            let reply = client.receive().expect("the restarted server answers");
            let Frame::Integer(value) = reply else { panic!("GETBIT answered {reply:?}") };
            let possible = history.possible(*bit);
            assert!(possible.contains(&(value == 1)), "{bit:?} is {value}, not of {possible:?}");
            history.bits.insert(*bit, vec![value == 1]);
        }
    }
}

fn kill_twenty_times(extra_args: &[&str]) {
    let mut random = Random::announced(41);
    let mut server = Server::bitroster(extra_args);
    let mut writers: Vec<(Random, History)> =
        (0..WRITERS).map(|_| (Random::new(random.bits()), History::default())).collect();
    for _ in 0..KILLS {
        let acknowledged = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let port = server.port();
        let enough = 500 + random.below(8000);
        thread::scope(|scope| {
            for (writer, (random, history)) in (0..).zip(&mut writers) {
                let (acknowledged, stop) = (&acknowledged, &stop);
                scope.spawn(move || {
                    write_until_killed(writer, port, random, history, acknowledged, stop);
                });
            }
            wait::until("enough writes are acknowledged", || {
                (acknowledged.load(Ordering::Relaxed) >= enough).then_some(())
            });
            server.kill();
            stop.store(true, Ordering::Relaxed);
        });
        server = server.restart();
        for (_, history) in &mut writers {
            check(&server, history);
        }
    }
    let total: u64 = writers.iter().map(|(_, history)| history.acknowledged).sum();
    assert!(total >= KILLS * 500, "only {total} writes were acknowledged");
}

#[test]
fn acknowledged_bits_survive_twenty_kills_under_pipelined_load() {
    kill_twenty_times(&["--groups", "4"]);
}

#[test]
fn acknowledged_bits_survive_twenty_kills_with_interval_sync_and_small_snapshots() {
    // The process dies, not the machine: what the kernel has been handed is not lost. Snapshots
    // every megabyte of log put recovery from a snapshot and a tail into most rounds.
    let interval = ["--set", "storage.sync=interval", "--set", "storage.snapshot_log_bytes=1mb"];
    kill_twenty_times(&[&["--groups", "2"], &interval[..]].concat());
}

#[test]
fn a_terminated_server_ends_well_and_keeps_everything() {
    let server = Server::bitroster(&[]);
    let mut client = server.client();
    assert_eq!(client.words("SETBIT kept 9000000 1").expect("an answer"), Frame::Integer(0));
    let (code, server) = server.terminate_and_restart();
    assert_eq!(code, Some(0));
    let kept = server.client().words("GETBIT kept 9000000").expect("an answer");
    assert_eq!(kept, Frame::Integer(1));
}
