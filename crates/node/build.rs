//! Lists the console's files, so that the binary carries them.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The console's files, as seen from this crate.
const ROOT: &str = "assets/console";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join(ROOT);
    let mut paths = Vec::new();
    collect(&root, &root, &mut paths)?;
    paths.sort();
    let mut table = String::from("&[\n");
    for (name, path) in paths {
        writeln!(table, "    ({name:?}, include_bytes!({path:?})),")?;
    }
    table.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("console.rs"), table)?;
    Ok(())
}

/// Adds each file below a folder: its name from the root on, and where it lies.
fn collect(root: &Path, folder: &Path, paths: &mut Vec<(String, String)>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, paths)?;
        } else if let (Ok(name), Some(whole)) = (path.strip_prefix(root), path.to_str()) {
            paths.push((name.to_string_lossy().into_owned(), whole.to_owned()));
        }
    }
    Ok(())
}
