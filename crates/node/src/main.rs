//! The Bitroster binary: configuration, wiring, command line and admin HTTP.
//!
//! | module   | job                                                       |
//! |----------|-----------------------------------------------------------|
//! | `cli`    | sub-commands and their arguments                          |
//! | `config` | file, environment and flags become one configuration      |
//! | `app`    | a running node: what is started, in which order, and ends |

mod app;
mod cli;
mod config;

use std::process::ExitCode;

/// Bitmaps are many small and some large blocks that come and go: what jemalloc is good at, and it
/// tells how much is in use, which `maxmemory` needs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    bitroster_telemetry::build::note_commit(env!("BUILT_FROM_COMMIT"));
    cli::run()
}
