//! Generates code from the `.proto` files of the folder `proto`; needs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

/// The root of all `.proto` files, as seen from this crate.
const ROOT: &str = "../../proto";

/// What nodes say to each other.
const INTERNAL: [&str; 1] = ["bitroster/internal/v1/node.proto"];

/// What clients say: also told to them by reflection.
const PUBLIC: [&str; 4] = [
    "bitroster/v1/bitmaps.proto",
    "bitroster/v1/keys.proto",
    "bitroster/v1/ids.proto",
    "bitroster/v1/commands.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let public = protox::compile(PUBLIC, [ROOT])?;
    let described = PathBuf::from(env::var("OUT_DIR")?).join("public.bin");
    fs::write(described, public.encode_to_vec())?;
    for files in [protox::compile(INTERNAL, [ROOT])?, public] {
        tonic_prost_build::configure()
            .bytes(".")
            .emit_rerun_if_changed(false)
            .build_transport(true)
            .compile_fds(files)?;
    }
    Ok(())
}
