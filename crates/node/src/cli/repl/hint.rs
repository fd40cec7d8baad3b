//! What may follow what was typed: arguments that are still to come, and words to complete.
//!
//! Both come from the command table's syntax. Commands that only Redis has are not known here and
//! have neither.

use bitroster_command::{
    lookup,
    syntax::{Argument, Kind, arguments},
    table::{COMMANDS, CommandSpec},
};

/// Commands of this program, not of the server.
pub(super) const OWN: [&str; 4] = ["\\format", "\\q", "\\timing", "help"];

/// What is shown behind a line while it is typed, if there is something to say.
pub(super) fn hint(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (name, given) = words.split_first()?;
    let spec = lookup(name.as_bytes())?;
    let is_begun = !line.ends_with(' ');
    let forms: Vec<String> = forms(spec, given, is_begun)
        .map(|form| shown(&remaining(form, given), " "))
        .filter(|form| !form.is_empty())
        .collect();
    let mut text = forms.join(" | ");
    if given.is_empty() {
        let gap = if text.is_empty() { "" } else { "   " };
        text.push_str(gap);
        text.push_str(spec.summary);
    }
    let blank = if is_begun { " " } else { "" };
    (!text.is_empty()).then(|| format!("{blank}{text}"))
}

/// The forms of a command that what was given may be of. Forms stand in its syntax with ` | `
/// between them and begin with a word of their own.
fn forms(spec: &CommandSpec, given: &[&str], is_begun: bool) -> impl Iterator<Item = &'static str> {
    let all = || spec.syntax.split(" | ");
    let is_sole = all().nth(1).is_none();
    let first = given.first().map(|word| word.to_ascii_uppercase());
    let is_open = is_begun && given.len() == 1;
    all().filter(move |form| {
        let word = form.split(' ').next().unwrap_or_default();
        is_sole
            || first
                .as_ref()
                .is_none_or(|first| word == first || is_open && word.starts_with(first.as_str()))
    })
}

/// The words that may stand at the end of `line`, and where the one that is begun begins.
pub(super) fn completions(line: &str) -> (usize, Vec<String>) {
    let start = line.rfind(' ').map_or(0, |at| at + 1);
    let begun = &line[start..];
    let before: Vec<&str> = line[..start].split_ascii_whitespace().collect();
    let mut words: Vec<String> = match before.as_slice() {
        [] => {
            let names = COMMANDS.iter().map(|spec| cased(spec.name, begun));
            names.chain(OWN.map(str::to_owned)).collect()
        }
        [help] if help.eq_ignore_ascii_case("help") => {
            COMMANDS.iter().map(|spec| cased(spec.name, begun)).collect()
        }
        ["\\format"] => ["json", "pretty", "raw"].map(str::to_owned).to_vec(),
        [name, given @ ..] => match lookup(name.as_bytes()) {
            Some(spec) if given.is_empty() && !spec.subcommands.is_empty() => {
                spec.subcommands.iter().map(|word| cased(word, begun)).collect()
            }
            Some(spec) => {
                let mut words = Vec::new();
                for form in forms(spec, given, false) {
                    tokens(&remaining(form, given), &mut words);
                }
                words.iter().map(|word| cased(word, begun)).collect()
            }
            None => Vec::new(),
        },
    };
    words.retain(|word| {
        let head = word.get(..begun.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(begun))
    });
    words.sort_unstable();
    words.dedup();
    (start, words)
}

/// A word in the case in which it was begun: capitals, unless a small letter was typed.
fn cased(word: &str, begun: &str) -> String {
    if begun.contains(|char: char| char.is_ascii_lowercase()) {
        word.to_ascii_lowercase()
    } else {
        word.to_ascii_uppercase()
    }
}

/// The arguments of a form that may follow once these are given.
fn remaining(form: &str, given: &[&str]) -> Vec<Argument> {
    let mut items = arguments(form);
    let mut given = given.iter();
    let mut word = given.next();
    while let Some(next) = word {
        let Some(at) = taker(&items, next) else { return Vec::new() };
        let item = items.remove(at);
        // What was passed over may still come, unless something required has come since.
        if !item.is_optional {
            items.drain(..at);
        }
        let at = if item.is_optional { at } else { 0 };
        if take(item, next, at, &mut items) {
            word = given.next();
        }
    }
    items
}

/// The item that takes a word: one that begins with it, else the first that takes any word.
fn taker(items: &[Argument], word: &str) -> Option<usize> {
    let required = items.iter().position(|item| !item.is_optional);
    let within = &items[..required.map_or(items.len(), |at| at + 1)];
    let named = within.iter().position(|item| begins_with(item, word));
    named.or(required).or_else(|| within.iter().position(takes_any))
}

/// Whether a word is the token that an item begins with.
fn begins_with(item: &Argument, word: &str) -> bool {
    if let Some(token) = &item.token {
        return token.eq_ignore_ascii_case(word);
    }
    match &item.kind {
        Kind::OneOf(items) => items.iter().any(|item| begins_with(item, word)),
        Kind::Block(items) => items.first().is_some_and(|item| begins_with(item, word)),
        Kind::Key | Kind::Integer | Kind::String | Kind::Token => false,
    }
}

/// Whether an item begins with a value.
fn takes_any(item: &Argument) -> bool {
    item.token.is_none()
        && match &item.kind {
            Kind::OneOf(items) => items.iter().any(takes_any),
            Kind::Block(items) => items.first().is_some_and(takes_any),
            Kind::Key | Kind::Integer | Kind::String => true,
            Kind::Token => false,
        }
}

/// Puts what is left of `item`, after it took `word`, before the items at `at`. False where the
/// word is still to be taken, by what the item was made of.
fn take(item: Argument, word: &str, at: usize, items: &mut Vec<Argument>) -> bool {
    if item.is_repeated {
        items.insert(at, Argument { is_optional: true, ..item.clone() });
    }
    let once = Argument { is_repeated: false, is_optional: false, ..item };
    if once.token.is_some() && once.kind != Kind::Token {
        items.insert(at, Argument { token: None, ..once });
        return true;
    }
    match once.kind {
        Kind::Block(inner) => {
            items.splice(at..at, inner);
            false
        }
        Kind::OneOf(inner) => {
            let chosen = inner.iter().position(|item| begins_with(item, word));
            let chosen = chosen.or_else(|| inner.iter().position(takes_any)).unwrap_or(0);
            items.extend(inner.get(chosen).cloned());
            let end = items.len() - 1;
            items[at..=end].rotate_right(1);
            false
        }
        Kind::Key | Kind::Integer | Kind::String | Kind::Token => true,
    }
}

/// Every token among the arguments.
fn tokens(items: &[Argument], words: &mut Vec<String>) {
    for item in items {
        words.extend(item.token.clone());
        if let Kind::OneOf(inner) | Kind::Block(inner) = &item.kind {
            tokens(inner, words);
        }
    }
}

fn shown(items: &[Argument], between: &str) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(between)
}

/// An argument as manuals write it.
fn show(item: &Argument) -> String {
    let value = match &item.kind {
        Kind::Token => item.token.clone().unwrap_or_default(),
        Kind::OneOf(items) => shown(items, "|"),
        Kind::Block(items) => shown(items, " "),
        Kind::Key | Kind::Integer | Kind::String => item.name.clone(),
    };
    let text = match &item.token {
        Some(token) if item.kind != Kind::Token => format!("{token} {value}"),
        _ => value,
    };
    match (item.is_optional, item.is_repeated) {
        (true, true) => format!("[{text} ...]"),
        (true, false) => format!("[{text}]"),
        (false, true) => format!("{text} [{text} ...]"),
        (false, false) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str) -> String {
        hint(line).unwrap_or_default()
    }

    #[test]
    fn arguments_go_as_they_are_given() {
        assert!(after("SETBIT").starts_with(" key offset value   "), "{}", after("SETBIT"));
        assert_eq!(after("setbit k "), "offset value");
        assert_eq!(after("setbit k 7"), " value");
        assert_eq!(after("setbit k 7 1"), "");
        assert_eq!(after("setbit k 7 1 9 9 9"), "");
        assert_eq!(after("bitcount k "), "[start end [BYTE|BIT]]");
        assert_eq!(after("bitcount k 0 "), "end [BYTE|BIT]");
        assert_eq!(after("no such command"), "");
        assert_eq!(after(""), "");
    }

    #[test]
    fn of_several_forms_those_are_shown_that_were_begun() {
        assert_eq!(after("bm.query count x "), "[UNIVERSE key]");
        assert!(after("BM.QUERY ").contains("COUNT expression [UNIVERSE key] | LIST "));
        assert!(after("BM.QUERY S").contains(" | ") && !after("BM.QUERY S").contains("LIST"));
    }

    #[test]
    fn what_repeats_stays() {
        assert_eq!(after("DEL a "), "[key ...]");
        assert_eq!(after("DEL a b c "), "[key ...]");
    }

    #[test]
    fn every_syntax_can_be_hinted_at_and_completed() {
        for spec in COMMANDS {
            for given in ["", " a", " a b", " a b c", " a b c d e f g", " count x limit "] {
                let line = format!("{}{given}", spec.name);
                hint(&line);
                completions(&line);
            }
        }
    }

    #[test]
    fn words_are_completed_in_the_case_they_are_begun() {
        assert_eq!(completions("setb"), (0, vec!["setbit".to_owned()]));
        assert_eq!(completions("SETB"), (0, vec!["SETBIT".to_owned()]));
        assert_eq!(completions("help BITC"), (5, vec!["BITCOUNT".to_owned()]));
        assert_eq!(completions("BM.QUERY S").1, ["SAMPLE", "STORE"]);
        assert_eq!(completions("bm.query count x u").1, ["universe"]);
        assert_eq!(completions("\\t"), (0, vec!["\\timing".to_owned()]));
        assert!(completions("nothing x").1.is_empty());
        assert!(completions("GET schlüs").1.is_empty());
    }
}
