//! A command's arguments as Redis's `COMMAND DOCS` describes them, read from the row's syntax.
//!
//! redis-cli makes its hints of these. The syntax of a row is written as in Redis's manual: words
//! in capitals stand for themselves, others are names of values, `[...]` is optional, `a|b` is a
//! choice, and `...` after an item repeats it.

/// What an argument is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key's name.
    Key,
    /// An integer.
    Integer,
    /// Any string.
    String,
    /// A word that stands for itself.
    Token,
    /// One of several.
    OneOf(Vec<Argument>),
    /// Several, one after the other.
    Block(Vec<Argument>),
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name, lower case.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// A word that stands before it, or that it is.
    pub token: Option<String>,
    /// Whether it may be left out.
    pub is_optional: bool,
    /// Whether it may be given several times.
    pub is_repeated: bool,
}

impl Argument {
    fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_lowercase(),
            kind,
            token: None,
            is_optional: false,
            is_repeated: false,
        }
    }

    /// A word of a syntax.
    fn word(word: &str) -> Self {
        if is_token(word) {
            let token = word.trim_matches('"').to_owned();
            return Self { token: Some(token), ..Self::new(word, Kind::Token) };
        }
        let kind = match word {
            "key" | "destkey" | "destination" | "source" | "newkey" => Kind::Key,
            "offset" | "start" | "end" | "seconds" | "milliseconds" | "increment" | "decrement"
            | "cursor" | "count" | "index" | "rank" | "id" | "n" | "k" => Kind::Integer,
            _ => Kind::String,
        };
        Self::new(word, kind)
    }

    /// Several arguments as one; a token before a single value belongs to the value.
    fn of(mut arguments: Vec<Self>) -> Self {
        if arguments.len() == 1 {
            return arguments.remove(0);
        }
        let name = arguments.first().map_or_else(String::new, |first| first.name.clone());
        Self::new(&name, Kind::Block(arguments))
    }
}

/// Whether a word of a syntax stands for itself.
fn is_token(word: &str) -> bool {
    word.chars().any(|char| char.is_ascii_uppercase())
        && !word.chars().any(|char| char.is_ascii_lowercase())
}

/// The arguments that a syntax describes. Anything it cannot read is a value of that name.
///
/// ```
/// use bitroster_command::syntax::{Kind, arguments};
///
/// let arguments = arguments("key [start end [BYTE|BIT]]");
/// assert_eq!(arguments[0].kind, Kind::Key);
/// assert!(arguments[1].is_optional);
/// ```
pub fn arguments(syntax: &str) -> Vec<Argument> {
    let tokens = tokens(syntax);
    let mut rest = tokens.as_slice();
    sequence(&mut rest)
}

/// Brackets, bars, dots and words, in their order.
fn tokens(syntax: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = syntax.trim_start();
    while !rest.is_empty() {
        let len = if rest.starts_with("...") {
            3
        } else if rest.starts_with(['[', ']', '|', '<', '>']) {
            1
        } else {
            let end = rest.find([' ', '[', ']', '|', '<', '>']).unwrap_or(rest.len());
            rest[..end].find("...").filter(|at| *at > 0).unwrap_or(end).max(1)
        };
        let (token, after) = rest.split_at(len);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

/// Items up to a closing bracket or the end.
fn sequence(rest: &mut &[&str]) -> Vec<Argument> {
    let mut items: Vec<Argument> = Vec::new();
    while let Some(first) = rest.first().copied().filter(|token| !matches!(*token, "]" | ">")) {
        *rest = &rest[1..];
        match first {
            "..." => repeat(&mut items),
            "|" => choice(&mut items, rest),
            "[" | "<" => {
                let mut group = Argument::of(sequence(rest));
                *rest = rest.get(1..).unwrap_or_default();
                group.is_optional = first == "[";
                items.push(group);
            }
            word => push(&mut items, Argument::word(word)),
        }
    }
    items
}

/// Adds an item; a value takes the token before it.
fn push(items: &mut Vec<Argument>, item: Argument) {
    let is_value = !matches!(item.kind, Kind::Token);
    match items.last_mut() {
        Some(last) if is_value && last.kind == Kind::Token && !last.is_optional => {
            *last = Argument { token: last.token.take(), ..item };
        }
        _ => items.push(item),
    }
}

/// The last item repeats. `key [key ...]` is one argument that repeats.
fn repeat(items: &mut [Argument]) {
    if let Some(last) = items.last_mut() {
        last.is_repeated = true;
    }
}

/// The last item and the next one are a choice; values take the tokens before them first.
fn choice(items: &mut Vec<Argument>, rest: &mut &[&str]) {
    let mut next = Vec::new();
    while let Some(token) = rest.first().copied() {
        if matches!(token, "]" | ">" | "|" | "...") {
            break;
        }
        *rest = &rest[1..];
        match token {
            "[" | "<" => {
                let mut group = Argument::of(sequence(rest));
                *rest = rest.get(1..).unwrap_or_default();
                group.is_optional = token == "[";
                next.push(group);
            }
            word => push(&mut next, Argument::word(word)),
        }
        let is_word_after =
            rest.first().is_some_and(|after| !matches!(*after, "]" | ">" | "|" | "..."));
        let takes_more = next.last().is_some_and(|last| last.kind == Kind::Token);
        if !takes_more || !is_word_after {
            break;
        }
    }
    let Some(first) = items.pop() else { return };
    let mut choices = match first.kind {
        Kind::OneOf(choices) => choices,
        Kind::Key | Kind::Integer | Kind::String | Kind::Token | Kind::Block(_) => vec![first],
    };
    if !next.is_empty() {
        choices.push(Argument::of(next));
    }
    let name = choices[0].name.clone();
    items.push(Argument::new(&name, Kind::OneOf(choices)));
}

/// Folds `item [item ...]` into one item that repeats, as Redis describes it.
pub fn folded(arguments: Vec<Argument>) -> Vec<Argument> {
    let mut folded: Vec<Argument> = Vec::new();
    for argument in arguments {
        let repeats_last =
            folded.last().is_some_and(|last| argument.is_optional && is_repeat_of(&argument, last));
        match folded.last_mut() {
            Some(last) if repeats_last => last.is_repeated = true,
            _ => folded.push(argument),
        }
    }
    folded
}

/// Whether `[name ...]` repeats the argument before it.
fn is_repeat_of(argument: &Argument, last: &Argument) -> bool {
    let (name, repeats) = match &argument.kind {
        Kind::Block(items) => (
            items.first().map(|item| &item.name),
            items.last().is_some_and(|item| item.is_repeated),
        ),
        Kind::Key | Kind::Integer | Kind::String | Kind::Token | Kind::OneOf(_) => {
            (Some(&argument.name), argument.is_repeated)
        }
    };
    repeats && name == Some(&last.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments as Redis's manual writes them, from what they were read as.
    fn written(arguments: &[Argument]) -> String {
        let one = |argument: &Argument| {
            let body = match &argument.kind {
                Kind::Token => String::new(),
                Kind::Key | Kind::Integer | Kind::String => argument.name.clone(),
                Kind::OneOf(items) => items
                    .iter()
                    .map(|item| written(std::slice::from_ref(item)))
                    .collect::<Vec<_>>()
                    .join("|"),
                Kind::Block(items) => written(items),
            };
            let token = argument.token.clone().unwrap_or_default();
            let mut text = [token, body].join(" ").trim().to_owned();
            if argument.is_repeated {
                text = format!("{text} [{text} ...]");
            }
            if argument.is_optional { format!("[{text}]") } else { text }
        };
        arguments.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_syntax_is_read_as_it_is_written() {
        for syntax in [
            "key offset value",
            "key [start end [BYTE|BIT]]",
            "destkey key [key ...]",
            "key seconds [NX|XX|GT|LT]",
            "key value [NX|XX] [GET] [EX seconds|PX milliseconds|KEEPTTL]",
            "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        ] {
            assert_eq!(written(&folded(arguments(syntax))), syntax);
        }
    }

    #[test]
    fn tokens_belong_to_the_values_after_them() {
        let read = arguments("key TTL seconds");
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].token.as_deref(), Some("TTL"));
        assert_eq!(read[1].kind, Kind::Integer);
    }

    #[test]
    fn no_syntax_of_the_table_makes_it_fail() {
        for spec in crate::COMMANDS {
            let read = arguments(spec.syntax);
            assert_eq!(read.is_empty(), spec.syntax.is_empty(), "{}", spec.name);
        }
        for odd in ["[", "]", "|", "a|", "[a|b", "...", "a ]b"] {
            let _ = arguments(odd);
        }
    }
}
