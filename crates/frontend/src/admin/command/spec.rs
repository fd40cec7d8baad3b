//! A row of the command table as Redis 7 shows it.

use bitroster_command::{
    Reply,
    syntax::{Argument, Kind, arguments, folded},
    table::{CommandSpec, Flags},
};

/// ACL categories as RESP's simple strings, which Redis sends.
const CATEGORIES: [&str; 14] = [
    "@admin",
    "@bitmap",
    "@blocking",
    "@connection",
    "@dangerous",
    "@fast",
    "@keyspace",
    "@pubsub",
    "@read",
    "@scripting",
    "@slow",
    "@string",
    "@transaction",
    "@write",
];

/// How a key is accessed: to read it, to replace it, to change what is there.
const READS: &[&str] = &["RO", "access"];
const REPLACES: &[&str] = &["OW", "update"];
const CHANGES: &[&str] = &["RW", "access", "update"];
const REMOVES: &[&str] = &["RM", "delete"];
const TAKES: &[&str] = &["RW", "access", "delete"];
const INSERTS: &[&str] = &["OW", "insert"];

/// Writes that do not look at what was there.
const BLIND: [&str; 8] =
    ["mset", "psetex", "restore", "setex", "bitop", "tr.bitop", "r.bitop", "r64.bitop"];

/// Strings as RESP's simple ones, in a set.
pub(super) fn statuses(names: &[&'static str]) -> Reply {
    Reply::Set(names.iter().map(|name| Reply::Status(name)).collect())
}

/// How the key at `place` among a request's keys is accessed.
pub(super) fn access(spec: &CommandSpec, place: usize) -> &'static [&'static str] {
    if !spec.flags.contains(Flags::WRITE) {
        return READS;
    }
    match (spec.name, place) {
        ("del" | "unlink", _) => REMOVES,
        ("rename" | "renamenx", 0) | ("getdel", _) => TAKES,
        ("rename" | "copy", 1) => REPLACES,
        ("renamenx", 1) | ("setnx" | "msetnx", _) => INSERTS,
        ("copy", 0) => READS,
        (name, 1..) if name.ends_with("bitop") => READS,
        (name, _) if BLIND.contains(&name) => REPLACES,
        _ => CHANGES,
    }
}

/// How a key is accessed that only parsing finds.
pub(super) fn movable_access(is_written: bool) -> &'static [&'static str] {
    if is_written { CHANGES } else { READS }
}

/// Ten fields a command.
pub(super) fn details(spec: &CommandSpec) -> Reply {
    let parts = spec.subcommands.iter().map(|sub| details_of_part(spec, sub));
    fields(spec, spec.name.to_owned(), i64::from(spec.arity), key_specs(spec), parts.collect())
}

/// Ten fields a sub-command. What its arguments are only its parser knows.
pub(super) fn details_of_part(spec: &CommandSpec, sub: &str) -> Reply {
    fields(spec, format!("{}|{sub}", spec.name), -2, Vec::new(), Vec::new())
}

fn category(name: &str) -> Option<Reply> {
    CATEGORIES.into_iter().find(|known| known[1..] == *name).map(Reply::Status)
}

fn fields(
    spec: &CommandSpec,
    name: String,
    arity: i64,
    key_specs: Vec<Reply>,
    parts: Vec<Reply>,
) -> Reply {
    let categories = spec.acl_categories();
    Reply::Array(vec![
        Reply::bulk(name),
        Reply::Integer(arity),
        Reply::Set(spec.flags.names().map(Reply::Status).collect()),
        Reply::Integer(i64::from(spec.first_key)),
        Reply::Integer(i64::from(spec.last_key)),
        Reply::Integer(i64::from(spec.key_step)),
        Reply::Set(categories.iter().filter_map(|name| category(name)).collect()),
        Reply::Array(Vec::new()),
        Reply::Array(key_specs),
        Reply::Array(parts),
    ])
}

/// Where a command's keys are: one range, or two where the first key is accessed in another way
/// than the others.
fn key_specs(spec: &CommandSpec) -> Vec<Reply> {
    if spec.first_key == 0 {
        return Vec::new();
    }
    let (first, step) = (i64::from(spec.first_key), i64::from(spec.key_step));
    // Redis counts the last key from the first, or from the request's end.
    let last = |from: i64| match i64::from(spec.last_key) {
        last @ ..0 => last,
        last => last - from,
    };
    let has_more = i64::from(spec.last_key) != first;
    if has_more && access(spec, 0) != access(spec, 1) {
        let second = first + step;
        return vec![
            key_spec(access(spec, 0), first, 0, step),
            key_spec(access(spec, 1), second, last(second), step),
        ];
    }
    vec![key_spec(access(spec, 0), first, last(first), step)]
}

fn key_spec(access: &[&'static str], first: i64, last: i64, step: i64) -> Reply {
    let row = |name: &str, value: Reply| (Reply::bulk(name), value);
    let index = Reply::Map(vec![row("index", Reply::Integer(first))]);
    let range = Reply::Map(vec![
        row("lastkey", Reply::Integer(last)),
        row("keystep", Reply::Integer(step)),
        row("limit", Reply::Integer(0)),
    ]);
    Reply::Map(vec![
        row("flags", statuses(access)),
        row(
            "begin_search",
            Reply::Map(vec![row("type", Reply::bulk("index")), row("spec", index)]),
        ),
        row("find_keys", Reply::Map(vec![row("type", Reply::bulk("range")), row("spec", range)])),
    ])
}

/// A command's entry of COMMAND DOCS.
pub(super) fn docs(spec: &CommandSpec) -> (Reply, Reply) {
    let mut rows = base_docs(spec, spec.summary);
    let arguments = folded(arguments(spec.syntax));
    if !arguments.is_empty() {
        rows.push((Reply::bulk("arguments"), described(&arguments)));
    }
    if !spec.subcommands.is_empty() {
        let parts = spec.subcommands.iter().map(|sub| docs_of_part(spec, sub));
        rows.push((Reply::bulk("subcommands"), Reply::Map(parts.collect())));
    }
    (Reply::bulk(spec.name), Reply::Map(rows))
}

/// Arguments as Redis describes them: redis-cli makes its hints of these.
fn described(arguments: &[Argument]) -> Reply {
    Reply::Array(arguments.iter().map(argument).collect())
}

fn argument(argument: &Argument) -> Reply {
    let mut rows = vec![("name", Reply::bulk(argument.name.clone()))];
    rows.push(("type", Reply::bulk(type_of(&argument.kind))));
    if argument.kind == Kind::Key {
        rows.push(("key_spec_index", Reply::Integer(0)));
    }
    if let Some(token) = &argument.token {
        rows.push(("token", Reply::bulk(token.clone())));
    }
    let flags = [("optional", argument.is_optional), ("multiple", argument.is_repeated)];
    let flags: Vec<_> =
        flags.into_iter().filter(|(_, is)| *is).map(|(name, _)| Reply::Status(name)).collect();
    if !flags.is_empty() {
        rows.push(("flags", Reply::Set(flags)));
    }
    if let Kind::OneOf(items) | Kind::Block(items) = &argument.kind {
        rows.push(("arguments", described(items)));
    }
    Reply::Map(rows.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
}

/// What Redis calls a kind of argument.
const fn type_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Key => "key",
        Kind::Integer => "integer",
        Kind::String => "string",
        Kind::Token => "pure-token",
        Kind::OneOf(_) => "oneof",
        Kind::Block(_) => "block",
    }
}

/// A sub-command's entry of COMMAND DOCS.
pub(super) fn docs_of_part(spec: &CommandSpec, sub: &str) -> (Reply, Reply) {
    let summary = format!("See {} HELP.", spec.name.to_ascii_uppercase());
    (Reply::bulk(format!("{}|{sub}", spec.name)), Reply::Map(base_docs(spec, &summary)))
}

fn base_docs(spec: &CommandSpec, summary: &str) -> Vec<(Reply, Reply)> {
    let rows = [
        ("summary", summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    rows.into_iter().map(|(name, value)| (Reply::bulk(name), Reply::bulk(value))).collect()
}

#[cfg(test)]
mod tests {
    use bitroster_command::{COMMANDS, lookup};

    use super::*;

    fn specs_of(name: &str) -> Vec<Reply> {
        key_specs(lookup(name.as_bytes()).unwrap())
    }

    #[test]
    fn key_specs_are_those_of_redis() {
        assert_eq!(specs_of("get"), [key_spec(READS, 1, 0, 1)]);
        assert_eq!(specs_of("setbit"), [key_spec(CHANGES, 1, 0, 1)]);
        assert_eq!(specs_of("del"), [key_spec(REMOVES, 1, -1, 1)]);
        assert_eq!(specs_of("mset"), [key_spec(REPLACES, 1, -1, 2)]);
        assert_eq!(specs_of("bitop"), [key_spec(REPLACES, 2, 0, 1), key_spec(READS, 3, -1, 1)]);
        assert_eq!(specs_of("rename"), [key_spec(TAKES, 1, 0, 1), key_spec(REPLACES, 2, 0, 1)]);
        assert!(specs_of("ping").is_empty());
    }

    #[test]
    fn every_row_can_be_shown() {
        for row in COMMANDS {
            let Reply::Array(fields) = details(row) else { panic!("{} is no array", row.name) };
            assert_eq!(fields.len(), 10, "{}", row.name);
            assert!(row.acl_categories().iter().all(|name| category(name).is_some()));
            assert_eq!(key_specs(row).is_empty(), row.first_key == 0, "{}", row.name);
        }
    }
}
