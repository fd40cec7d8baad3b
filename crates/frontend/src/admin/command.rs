//! COMMAND: the command table, for clients that ask.

use bitroster_command::{
    CommandError, Reply,
    glob::glob_match,
    lookup,
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
    (Reply::bulk(spec.name), Reply::Map(rows.collect()))
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
