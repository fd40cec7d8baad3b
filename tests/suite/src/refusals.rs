//! The texts of errors in the sources, for the page that explains them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::server::workspace;

/// The codes that errors begin with, as the metrics count them.
///
/// # Panics
///
/// If the list is not where it was.
pub fn codes() -> Vec<String> {
    let path = workspace().join("crates/frontend/src/metrics.rs");
    let source = fs::read_to_string(path).expect("the metrics of the front end");
    let (_, list) = source.split_once("const ERROR_CODES").expect("the list of codes");
    let (_, list) = list.split_once("= [").expect("its values");
    let (list, _) = list.split_once("];").expect("its end");
    let codes = list.split('"').skip(1).step_by(2);
    codes.filter(|code| *code != "other").map(str::to_owned).collect()
}

/// Every text that begins with one of the codes and says more than that, with `…` for what differs,
/// and a file that has it.
///
/// # Panics
///
/// If a source cannot be read.
pub fn texts(codes: &[String]) -> BTreeMap<String, PathBuf> {
    let mut texts = BTreeMap::new();
    let mut folders = vec![workspace().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !is_passed_over(&path) {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs")
            {
                let source = fs::read_to_string(&path).expect("a source");
                let found = codes.iter().flat_map(|code| texts_of(&source, code));
                texts.extend(found.map(|text| (text, path.clone())));
            }
        }
    }
    texts
}

/// Tests and benches, and the command line, whose texts clients never see.
fn is_passed_over(folder: &Path) -> bool {
    ["tests", "benches", "cli"].iter().any(|name| folder.ends_with(name))
}

/// The literals of a source that begin with `code` and a blank; not those of its tests.
fn texts_of(source: &str, code: &str) -> Vec<String> {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    let mut texts = Vec::new();
    for begin in [format!("\"{code} "), format!("\"-{code} ")] {
        for (at, _) in source[..end].match_indices(&begin) {
            let line = source[..at].rsplit('\n').next().unwrap_or_default();
            let text = literal(&source[at + 1..]);
            let text = text.trim_start_matches('-').trim();
            let says =
                text.strip_prefix(code).is_some_and(|rest| rest.contains(char::is_alphabetic));
            if says && !line.trim_start().starts_with("//") {
                texts.push(text.to_owned());
            }
        }
    }
    texts
}

/// A literal's value up to its end, with `…` for each place in braces.
fn literal(source: &str) -> String {
    let mut text = String::new();
    let mut chars = source.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => break,
            '{' => {
                chars.by_ref().find(|char| *char == '}');
                text.push('…');
            }
            '\\' => match chars.next() {
                // The line goes on where the next one's text begins.
                Some('\n') => {
                    let rest = chars.as_str().trim_start();
                    chars = rest.chars();
                }
                Some('r' | 'n') | None => {}
                Some(escaped) => text.push(escaped),
            },
            char => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_as_clients_see_it() {
        let source = "x(\"ERR a \\\n    {b:?} of '{}'\\r\\n\"); y(\"-ERR c\");\n\
                      z(\"ERR {error}\");\n// says \"ERR nothing\"\n#[cfg(test)]\n\
                      mod tests { \"ERR no\" }";
        assert_eq!(texts_of(source, "ERR"), ["ERR a … of '…'", "ERR c"]);
    }
}
