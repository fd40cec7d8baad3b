//! Cases as text: a request and the reply it must get, whatever carries them.
//!
//! A file under `tests/conformance/cases` holds cases:
//!
//! ```text
//! # A comment.
//! == BITCOUNT counts set bits in a range of bytes
//! SETBIT k 7 1
//! => 0
//! BITCOUNT k 0 -1 BIT
//! => 1
//! ```
//!
//! A request is words as redis-cli splits them; [`expect`] says how replies are written. `@all` in
//! front of one whose reply is a cursor and elements sends it again with the cursor in the place of
//! its first `0`, until that is answered; the reply is then all elements. `@until` sends a request
//! again until its reply is the expected one, for what takes time. Every case starts with an empty
//! keyspace and, on RESP, a new connection. A case whose name ends in a note in parentheses runs in
//! fewer places: `(own)` not on Redis, which does otherwise or not at all; `(session)` not over
//! gRPC, which has no connection state; `(lone)` not on a cluster's router, which keeps no data of
//! its own.

pub mod case;
pub mod expect;
pub mod grpc;
pub mod medium;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bitroster_resp::Frame;

use crate::wait;

pub use case::{Case, Exchange, Sending, cases};
pub use grpc::Grpc;
pub use medium::{Medium, Resp};

/// How often a cursor may be followed.
const CURSORS_MAX: usize = 10_000;

/// How long a reply may take to become the expected one. CI machines stall.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two requests meanwhile.
const PAUSE: Duration = Duration::from_millis(2);

/// Runs cases and tells which failed.
///
/// # Panics
///
/// If a reply is not the one expected, with all that differ.
pub fn run(cases: &[Case], medium: &mut dyn Medium) {
    assert!(!cases.is_empty(), "there are no cases to run");
    let mut failures = String::new();
    let mut failed = 0;
    for case in cases {
        if let Err(report) = run_one(case, medium) {
            failed += 1;
            failures += &format!("\n{}:{}: {}\n{report}", case.file, case.line, case.name);
        }
    }
    let name = medium.name();
    assert_eq!(failed, 0, "{failed} of {} cases fail over {name}:{failures}", cases.len());
}

fn run_one(case: &Case, medium: &mut dyn Medium) -> Result<(), String> {
    medium.start();
    for exchange in &case.exchanges {
        let said = ask(exchange, medium).map_err(|error| {
            format!("  line {}: {}\n  failed: {error:#}\n", exchange.line, exchange.text)
        })?;
        if !exchange.reply.admits(&said) {
            return Err(format!(
                "  line {}: {}\n  expected {}\n  got      {}\n",
                exchange.line,
                exchange.text,
                exchange.reply,
                expect::written(&said)
            ));
        }
    }
    Ok(())
}

fn ask(exchange: &Exchange, medium: &mut dyn Medium) -> Result<Frame> {
    match exchange.sending {
        Sending::Once => medium.call(&exchange.request),
        Sending::All => ask_all(exchange, medium),
        Sending::Until => ask_until(exchange, medium),
    }
}

/// The first reply that is the expected one, or the last of all.
fn ask_until(exchange: &Exchange, medium: &mut dyn Medium) -> Result<Frame> {
    let mut last = medium.call(&exchange.request)?;
    let found = wait::within(PATIENCE, PAUSE, || {
        if exchange.reply.admits(&last) {
            return Some(Ok(()));
        }
        match medium.call(&exchange.request) {
            Ok(said) => last = said,
            Err(error) => return Some(Err(error)),
        }
        None
    });
    found.unwrap_or(Ok(())).map(|()| last)
}

fn ask_all(exchange: &Exchange, medium: &mut dyn Medium) -> Result<Frame> {
    let mut request = exchange.request.clone();
    let cursor = request.iter().position(|word| word == b"0").context("no cursor to follow")?;
    let mut all = Vec::new();
    for _ in 0..CURSORS_MAX {
        let said = medium.call(&request)?;
        let Frame::Array(parts) = said else { return Ok(said) };
        let Ok([Frame::Bulk(next), Frame::Array(elements)]) = <[Frame; 2]>::try_from(parts) else {
            bail!("the reply is not a cursor and elements");
        };
        all.extend(elements);
        if next.as_ref() == b"0" {
            return Ok(Frame::Array(all));
        }
        request[cursor] = next.to_vec();
    }
    bail!("the cursor did not come back to 0 in {CURSORS_MAX} steps")
}
