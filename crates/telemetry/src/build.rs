//! Version and commit of this build.

use std::sync::OnceLock;

use crate::metric::Page;

static COMMIT: OnceLock<&str> = OnceLock::new();

/// The release, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this was built from, as the binary has said; "unknown" before.
pub fn commit() -> &'static str {
    COMMIT.get().copied().unwrap_or("unknown")
}

/// Says what [`commit`] tells from now on; the first word counts. Only the binary knows it, so that
/// a new commit makes no other crate anew.
pub fn note_commit(commit: &'static str) {
    COMMIT.get_or_init(|| commit);
}

/// The release of the compiler.
pub const RUSTC: &str = env!("BITROSTER_RUSTC");

/// Whether assertions for debugging are compiled in.
pub const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// Shows `bitroster_build_info`, the gauge whose labels tell versions and roles apart.
pub fn publish(page: &mut Page, role: &str) {
    let labels = [
        ("version", VERSION),
        ("commit", commit()),
        ("rustc", RUSTC),
        ("profile", PROFILE),
        ("role", role),
    ];
    page.gauge("bitroster_build_info", "What this process was built from, and its role")
        .row(&labels, 1_u64);
}
