//! Goal: the documents say what the binary does.
//!
//! Method: what the binary prints must stand in the page, letter by letter; blocks of code are run
//! against fresh servers, and must print what the page shows; the page of errors has every code and
//! every text that the sources have.

use bitroster_suite::{
    manual::{self, Count, page, prints},
    refusals,
};

/// What `no-run` may stand for in the pages, so that no more of them is taken out of the test than
/// is known.
fn runs(path: &str, not_run: usize) {
    let count = manual::run(&page(path)).unwrap_or_else(|wrong| panic!("{path}, {wrong}"));
    assert!(count.run > 0, "{path} has no block that runs");
    assert_eq!(count.not_run, not_run, "blocks of {path} that are marked `no-run`");
}

#[test]
fn the_readme_runs() {
    // Building and starting it, stubs of gRPC, and Docker.
    runs("README.md", 3);
}

#[test]
fn the_first_ten_minutes_run() {
    // Building and starting it, Go, stubs of gRPC, curl, Docker, a cluster and its state.
    runs("docs/start.md", 7);
}

#[test]
fn the_tutorial_on_active_users_runs() {
    runs("docs/tutorials/active-users.md", 0);
}

#[test]
fn the_tutorial_on_retention_runs() {
    runs("docs/tutorials/retention.md", 0);
}

#[test]
fn the_tutorial_on_feature_flags_runs() {
    runs("docs/tutorials/feature-flags.md", 0);
}

#[test]
fn the_tutorial_on_presence_runs() {
    runs("docs/tutorials/presence.md", 0);
}

#[test]
fn the_tutorial_on_permissions_runs() {
    runs("docs/tutorials/permissions.md", 0);
}

#[test]
fn a_page_that_shows_something_else_is_found_out() {
    let right = "```console\n$ redis-cli SETBIT k 7 1\n(integer) 0\n$ redis-cli GETBIT k 7\n\
                 (integer) 1\n```\n```sh no-run\nfalse\n```\n```python\nprint(6379)\n```\n";
    assert_eq!(manual::run(right), Ok(Count { run: 2, not_run: 1 }));
    let wrong = [
        right.replace("(integer) 1", "(integer) 0"),
        right.replace("SETBIT k 7 1", "SETBIT k 7 2"),
        right.replace("sh no-run", "sh"),
        right.replace("sh no-run", "go"),
        format!("{right}```output\n6379\n```\n"),
        "```sh\nredis-cli SETBIT k -1 1\ntrue\n```\n".to_owned(),
        "```js\nthrow 1;\n```\n".to_owned(),
    ];
    for page in wrong {
        assert!(manual::run(&page).is_err(), "{page}");
    }
}

#[test]
fn blocks_are_of_a_kind_that_the_test_knows() {
    for path in ["README.md", "docs/start.md", "docs/README.md"] {
        known_blocks(path);
    }
    for name in ["active-users", "retention", "feature-flags", "presence", "permissions"] {
        known_blocks(&format!("docs/tutorials/{name}.md"));
    }
}

fn known_blocks(path: &str) {
    for block in manual::blocks(&page(path)) {
        let is_known = block.is_code() || matches!(block.language(), "output" | "text");
        assert!(is_known, "{path}:{}: `{}`", block.line, block.info);
        let marks = block.info.split(' ').skip(1);
        for mark in marks {
            assert!(matches!(mark, "redis" | "no-run"), "{path}:{}: `{mark}`", block.line);
        }
    }
}

#[test]
fn the_page_on_errors_has_every_code_and_text() {
    let page = page("docs/errors.md").replace("\\|", "|");
    let spans: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let (_, table) = page.split_once("## By code").expect("the table of codes");
    let (table, _) = table.split_once("\n## ").expect("its end");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut explained: Vec<&str> = rows.collect();
    let codes = refusals::codes();
    let mut known: Vec<&str> = codes.iter().map(String::as_str).collect();
    explained.sort_unstable();
    known.sort_unstable();
    assert_eq!(explained, known, "codes of docs/errors.md and of the metrics");
    let texts = refusals::texts(&codes);
    assert!(texts.len() > 100, "only {} texts are found in the sources", texts.len());
    let says = |span: &str, text: &str| {
        span.starts_with(text)
            || span
                .strip_suffix('…')
                .is_some_and(|stem| stem.contains(' ') && text.starts_with(stem))
    };
    let missing: Vec<String> = texts
        .iter()
        .filter(|(text, _)| !spans.iter().any(|span| says(span, text)))
        .map(|(text, path)| format!("{}: {text}", path.display()))
        .collect();
    assert!(missing.is_empty(), "docs/errors.md does not explain\n{}", missing.join("\n"));
}

#[test]
fn the_page_on_configuration_shows_every_field() {
    let page = page("docs/configuration.md");
    let example = prints(&["config", "example"]);
    assert!(
        page.contains(&format!("```toml\n{}\n```\n", example.trim_end())),
        "docs/configuration.md differs from `bitroster config example`"
    );
}

#[test]
fn the_readme_names_only_subcommands_that_exist() {
    let help = prints(&["--help"]);
    for path in ["README.md", "docs/start.md", "docs/configuration.md", "docs/performance.md"] {
        let text = page(path);
        for (at, begin) in text.match_indices("`bitroster ") {
            let rest = &text[at + begin.len()..];
            let name = rest.split(['`', ' ', '\n']).next().unwrap_or_default();
            assert!(help.contains(&format!("\n  {name} ")), "{path} names `bitroster {name}`");
        }
    }
}
