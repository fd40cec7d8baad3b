//! Lists the console's files, so that the binary carries them, and finds the commit that it is
//! built from.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The console's files, as seen from this crate.
const ROOT: &str = "assets/console";

/// The checkout, as seen from this crate.
const CHECKOUT: &str = "../..";

fn main() -> Result<(), Box<dyn Error>> {
    // Whoever runs it by cargo has it in the environment too, where our own prefix is for settings.
    println!("cargo::rustc-env=BUILT_FROM_COMMIT={}", commit());
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

/// The commit: the environment's, or else the checkout's, if this is one.
fn commit() -> String {
    println!("cargo::rerun-if-env-changed=BITROSTER_COMMIT");
    let told = env::var("BITROSTER_COMMIT").ok().filter(|text| !text.is_empty());
    let found = || {
        // Not the commit of a checkout that this was unpacked into.
        if !Path::new(CHECKOUT).join(".git").exists() {
            return None;
        }
        // HEAD names the branch, and only its log changes with every commit. A checkout need not
        // have one, and cargo would build anew each time for a file that is not there.
        for name in ["HEAD", "logs/HEAD"] {
            let path = git(&["--git-path", name]).filter(|path| Path::new(path).exists());
            if let Some(path) = path {
                println!("cargo::rerun-if-changed={path}");
            }
        }
        git(&["--short", "HEAD"])
    };
    told.or_else(found).unwrap_or_else(|| "unknown".to_owned())
}

/// A line of `git rev-parse`, where there is a git that answers.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("rev-parse").args(args).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
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
