//! COMMAND: the command table, for clients that ask.

use bitroster_command::{
    CommandError, Reply,
    glob::glob_match,
    lookup,
    syntax::{Argument, Kind, arguments, folded},
    table::{COMMANDS, CommandSpec, keys_of},
};
use bytes::Bytes;

use super::{help, subcommand, unknown_subcommand, wrong_arity};

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple commands.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <cat>|PATTERN <pat>)]",
    "    Return a list of all commands.",
    "HELP",
    "    Print this help.",
];

pub(super) fn run(args: &[Bytes]) -> Result<Reply, CommandError> {
    if args.is_empty() {
        return Ok(Reply::Array(COMMANDS.iter().map(details).collect()));
    }
    let (name, rest) = subcommand("command", args)?;
    match (name.as_str(), rest) {
        ("count", []) => Ok(Reply::Integer(i64::try_from(COMMANDS.len()).unwrap_or(i64::MAX))),
        ("info", []) => Ok(Reply::Array(COMMANDS.iter().map(details).collect())),
        ("info", names) => {
            let found = names.iter().map(|name| lookup(name).map_or(Reply::NilArray, details));
            Ok(Reply::Array(found.collect()))
        }
        ("docs", []) => Ok(Reply::Map(COMMANDS.iter().map(docs).collect())),
        ("docs", names) => {
            let found = names.iter().filter_map(|name| lookup(name));
            Ok(Reply::Map(found.map(docs).collect()))
        }
        ("list", filter) => list(filter),
        ("getkeys", request @ [_, ..]) => {
            let request: Vec<&[u8]> = request.iter().map(AsRef::as_ref).collect();
            Ok(Reply::Array(keys_of(&request)?.into_iter().map(Reply::bulk).collect()))
        }
        ("help", []) => Ok(help(HELP)),
        ("count" | "getkeys" | "help", _) => Err(wrong_arity(&format!("command|{name}"))),
        _ => Err(unknown_subcommand("command", args)),
    }
}

/// Ten fields a command, as Redis 7 has them.
fn details(spec: &CommandSpec) -> Reply {
    let categories = spec.acl_categories();
    Reply::Array(vec![
        Reply::bulk(spec.name),
        Reply::Integer(i64::from(spec.arity)),
        Reply::Set(spec.flags.names().map(Reply::Status).collect()),
        Reply::Integer(i64::from(spec.first_key)),
        Reply::Integer(i64::from(spec.last_key)),
        Reply::Integer(i64::from(spec.key_step)),
        Reply::Set(categories.iter().map(|name| Reply::bulk(format!("@{name}"))).collect()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

fn docs(spec: &CommandSpec) -> (Reply, Reply) {
    let rows = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    let rows = rows.into_iter().map(|(name, value)| (Reply::bulk(name), Reply::bulk(value)));
    let mut rows: Vec<_> = rows.collect();
    let arguments = folded(arguments(spec.syntax));
    if !arguments.is_empty() {
        rows.push((Reply::bulk("arguments"), described(&arguments)));
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

fn list(filter: &[Bytes]) -> Result<Reply, CommandError> {
    let names = |keep: &dyn Fn(&CommandSpec) -> bool| {
        let kept = COMMANDS.iter().filter(|spec| keep(spec));
        Reply::Array(kept.map(|spec| Reply::bulk(spec.name)).collect())
    };
    match filter {
        [] => Ok(names(&|_| true)),
        [filterby, kind, value] if filterby.eq_ignore_ascii_case(b"filterby") => {
            let value = value.to_ascii_lowercase();
            match kind.to_ascii_lowercase().as_slice() {
                b"module" => Ok(names(&|_| false)),
                b"aclcat" => Ok(names(&|spec| {
                    spec.acl_categories().iter().any(|category| category.as_bytes() == value)
                })),
                b"pattern" => Ok(names(&|spec| glob_match(&value, spec.name.as_bytes()))),
                _ => Err(CommandError::Syntax),
            }
        }
        _ => Err(CommandError::Syntax),
    }
}
