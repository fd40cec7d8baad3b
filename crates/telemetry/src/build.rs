//! Version and commit of this build.

use crate::metric::Page;

/// The release, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this was built from, where the build was told (`BITROSTER_COMMIT`).
pub const COMMIT: &str = match option_env!("BITROSTER_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The release of the compiler.
pub const RUSTC: &str = env!("BITROSTER_RUSTC");

/// Whether assertions for debugging are compiled in.
pub const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// Shows `bitroster_build_info`, the gauge whose labels tell versions and roles apart.
pub fn publish(page: &mut Page, role: &str) {
    let labels = [
        ("version", VERSION),
        ("commit", COMMIT),
        ("rustc", RUSTC),
        ("profile", PROFILE),
        ("role", role),
    ];
    page.gauge("bitroster_build_info", "What this process was built from, and its role")
        .row(&labels, 1_u64);
}
