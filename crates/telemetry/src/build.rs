//! Version and commit of this build.

use metrics::{Unit, describe_gauge, gauge};

/// The release, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this was built from, where the build was told (`BITROSTER_COMMIT`).
pub const COMMIT: &str = match option_env!("BITROSTER_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Whether assertions for debugging are compiled in.
pub const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// Sets `bitroster_build_info`, the gauge whose labels tell versions apart. Needs the recorder.
pub fn observe() {
    describe_gauge!("bitroster_build_info", Unit::Count, "Version and commit of this process");
    gauge!("bitroster_build_info", "version" => VERSION, "commit" => COMMIT, "profile" => PROFILE)
        .set(1.0);
}
