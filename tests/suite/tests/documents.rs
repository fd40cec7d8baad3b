//! Goal: the documents say what the binary says.
//!
//! Method: what the binary prints must stand in the page, letter by letter.

use std::{fs, process::Command};

use bitroster_suite::server::{binary, workspace};

fn prints(args: &[&str]) -> String {
    let output = Command::new(binary()).args(args).output().expect("bitroster starts");
    assert!(output.status.success(), "{args:?} ended with {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_page_on_configuration_shows_every_field() {
    let page = fs::read_to_string(workspace().join("docs/configuration.md")).expect("the page");
    let example = prints(&["config", "example"]);
    assert!(
        page.contains(&format!("```toml\n{}\n```\n", example.trim_end())),
        "docs/configuration.md differs from `bitroster config example`"
    );
}

#[test]
fn the_readme_names_only_subcommands_that_exist() {
    let help = prints(&["--help"]);
    for page in ["README.md", "docs/configuration.md", "docs/performance.md"] {
        let text = fs::read_to_string(workspace().join(page)).expect("the page");
        for (at, begin) in text.match_indices("`bitroster ") {
            let rest = &text[at + begin.len()..];
            let name = rest.split(['`', ' ', '\n']).next().unwrap_or_default();
            assert!(help.contains(&format!("\n  {name} ")), "{page} names `bitroster {name}`");
        }
    }
}
