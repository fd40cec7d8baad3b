//! Goal: no bytes from a server make our clients panic, recurse or reserve without bound; what
//! they read they can write; both readers agree.
//!
//! Method: the first byte chooses the limits, the rest arrives byte by byte. The properties are
//! those of the crate's own tests.

#![no_main]

#[path = "../../../crates/resp/tests/common/mod.rs"]
mod common;

use bitroster_resp::FrameLimits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [choice, stream @ ..] = input else { return };
    let limits = match choice % 2 {
        0 => FrameLimits::default(),
        _ => FrameLimits { depth_max: 2, elements_max: 6, bulk_bytes_max: 9, line_bytes_max: 16 },
    };
    common::check_replies(stream, limits);
});
