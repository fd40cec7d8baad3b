//! The entry point of all checks.
fn main() {}
