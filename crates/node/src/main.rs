//! Bitroster.
fn main() {}
