//! Generates code from the `.proto` files of the folder `proto`; needs no `protoc`.

use std::error::Error;

/// The root of all `.proto` files, as seen from this crate.
const ROOT: &str = "../../proto";

/// The files that code is generated from.
const FILES: [&str; 1] = ["bitroster/internal/v1/node.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let files = protox::compile(FILES, [ROOT])?;
    tonic_prost_build::configure()
        .bytes(".")
        .emit_rerun_if_changed(false)
        .build_transport(true)
        .compile_fds(files)?;
    Ok(())
}
