//! What a turn costs beside the groups: nanoseconds a command, over a transport that does nothing.
//!
//! `cargo run --release -p bitroster-router --example turn_cost`
#![expect(clippy::print_stdout, reason = "a measuring program")]

use std::{sync::Arc, time::Duration, time::Instant};

use bitroster_command::{Command, OpBatch, Outcome, ReadCommand, ReadOp, Reply, WriteCommand};
use bitroster_placement::ClusterMap;
use bitroster_router::{Reading, Router, RouterOptions, Target, Transport, TransportError, Turn};
use bitroster_types::{Deadline, GroupId, Key, SegmentWidth};
use futures_util::future::{BoxFuture, FutureExt, ready};

/// Commands of one measurement.
const COMMANDS: u64 = 4_000_000;

/// Answers everything at once.
struct Nothing;

impl Transport for Nothing {
    fn read_now(&self, _to: Target, _op: &ReadOp) -> Option<Outcome> {
        Some(Reply::Integer(0).into())
    }

    fn read(
        &self,
        _to: Target,
        _op: ReadOp,
        _reading: &Reading,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<Outcome, TransportError>> {
        ready(Ok(Reply::Integer(0).into())).boxed()
    }

    fn write(
        &self,
        _to: Target,
        batch: OpBatch,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>> {
        ready(Ok((0..batch.len()).map(|_| Reply::Integer(0).into()).collect())).boxed()
    }
}

async fn measure(turn: &mut Turn, pipeline: u64, command: impl Fn(u64) -> Command) -> f64 {
    let started = Instant::now();
    let mut answered = 0;
    for number in 0..COMMANDS {
        turn.try_push(command(number)).expect("one group does it");
        if number % pipeline == pipeline - 1 {
            turn.flush().await;
            turn.drain(|_| answered += 1);
        }
    }
    assert_eq!(answered, COMMANDS, "every command has a reply");
    started.elapsed().as_secs_f64() * 1e9 / 4e6
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for groups in [1, 4] {
        let ids: Vec<GroupId> = (1..=groups).map(GroupId).collect();
        let map = ClusterMap::plan(&ids, SegmentWidth::DEFAULT);
        let options = RouterOptions {
            request_timeout: Duration::from_secs(5),
            fan_out_max: 64,
            value_bytes_max: 512 << 20,
        };
        let router = Router::new(map, Arc::new(Nothing), options);
        let key = Key::new(b"users:active").expect("a short key");
        let mut turn = router.turn();
        for pipeline in [1, 16, 64] {
            let get = measure(&mut turn, pipeline, |number| {
                let offset = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37;
                Command::Read(ReadCommand::GetBit { key: key.clone(), offset })
            })
            .await;
            let set = measure(&mut turn, pipeline, |number| {
                let offset = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37;
                Command::Write(WriteCommand::SetBit { key: key.clone(), offset, value: true })
            })
            .await;
            println!("groups={groups} pipeline={pipeline} getbit_ns={get:.0} setbit_ns={set:.0}");
        }
    }
}
