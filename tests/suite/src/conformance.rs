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
//! A request is words as redis-cli splits them; [`expect`] says how replies are written. Every case
//! starts with an empty keyspace and, on RESP, a new connection. A case whose name ends in a note in
//! parentheses runs in fewer places: `(own)` not on Redis, which does otherwise or not at all;
//! `(session)` not over gRPC, which has no connection state.

pub mod case;
pub mod expect;
pub mod medium;

pub use case::{Case, cases};
pub use medium::{Medium, Resp};

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
        let said = medium.call(&exchange.request).map_err(|error| {
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
