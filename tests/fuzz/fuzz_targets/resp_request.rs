//! Goal: no bytes from a client make the request decoder panic, hold more than has arrived, or
//! depend on how the bytes were cut.
//!
//! Method: the first byte chooses the limits, the next three where the rest is cut. The properties
//! are those of the crate's own tests.

#![no_main]

#[path = "../../../crates/resp/tests/common/mod.rs"]
mod common;

use bitroster_resp::Limits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [choice, cuts @ ..] = input else { return };
    let Some((cuts, stream)) = cuts.split_at_checked(3) else { return };
    let limits = match choice % 3 {
        0 => Limits::default(),
        1 => Limits::unauthenticated(),
        _ => Limits { args_max: 3, bulk_bytes_max: 12, inline_bytes_max: 20, authenticated: true },
    };
    let mut cuts: Vec<_> = cuts.iter().map(|&cut| usize::from(cut) * stream.len() / 255).collect();
    cuts.sort_unstable();
    common::check_requests(stream, limits, &cuts);
});
