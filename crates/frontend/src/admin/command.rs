//! COMMAND: the command table, for clients that ask.

mod spec;

use std::{borrow::Cow, collections::BTreeSet};

use bitroster_command::{
    Access, CommandError, ParseLimits, Reply,
    glob::glob_match,
    lookup,
    table::{COMMANDS, CommandSpec, Flags, keys_of},
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
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full command.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <cat>|PATTERN <pat>)]",
    "    Return a list of all commands.",
    "HELP",
    "    Print this help.",
];

pub(super) fn run(args: &[Bytes]) -> Result<Reply, CommandError> {
    if args.is_empty() {
        return Ok(Reply::Array(COMMANDS.iter().map(spec::details).collect()));
    }
    let (name, rest) = subcommand("command", args)?;
    match (name.as_str(), rest) {
        ("count", []) => Ok(Reply::Integer(i64::try_from(COMMANDS.len()).unwrap_or(i64::MAX))),
        ("info", []) => Ok(Reply::Array(COMMANDS.iter().map(spec::details).collect())),
        ("info", names) => {
            let found = names.iter().map(|name| find(name).map_or(Reply::NilArray, Found::details));
            Ok(Reply::Array(found.collect()))
        }
        ("docs", []) => Ok(Reply::Map(COMMANDS.iter().map(spec::docs).collect())),
        ("docs", names) => {
            Ok(Reply::Map(names.iter().filter_map(|name| find(name)).map(Found::docs).collect()))
        }
        ("list", filter) => list(filter),
        ("getkeys", request @ [_, _, ..]) => {
            Ok(Reply::Array(keys(request)?.into_iter().map(Reply::bulk).collect()))
        }
        ("getkeysandflags", request @ [_, _, ..]) => keys_and_flags(request),
        ("help", []) => Ok(help(HELP)),
        ("count" | "getkeys" | "getkeysandflags" | "help", _) => {
            Err(wrong_arity(&format!("command|{name}")))
        }
        _ => Err(unknown_subcommand("command", args)),
    }
}

fn keys(request: &[Bytes]) -> Result<Vec<Cow<'_, [u8]>>, CommandError> {
    let request: Vec<&[u8]> = request.iter().map(AsRef::as_ref).collect();
    keys_of(&request)
}

fn keys_and_flags(request: &[Bytes]) -> Result<Reply, CommandError> {
    let keys = keys(request)?;
    let spec = lookup(&request[0]).ok_or(CommandError::Text("ERR Invalid command specified"))?;
    let written = written(spec, request);
    let rows = keys.into_iter().enumerate().map(|(place, key)| {
        let access = match &written {
            Some(written) => spec::movable_access(written.contains(&*key)),
            None => spec::access(spec, place),
        };
        Reply::Array(vec![Reply::bulk(key), spec::statuses(access)])
    });
    Ok(Reply::Array(rows.collect()))
}

/// The keys that a request may change, where its command's keys are where its arguments say.
fn written(spec: &'static CommandSpec, request: &[Bytes]) -> Option<BTreeSet<Vec<u8>>> {
    if !spec.flags.contains(Flags::MOVABLEKEYS) {
        return None;
    }
    let args: Vec<&[u8]> = request.iter().map(AsRef::as_ref).collect();
    let command = spec.parse(&args, &ParseLimits::default()).ok()?;
    let accesses = command.accesses();
    let writes = accesses.iter().filter(|(_, access)| *access == Access::Write);
    Some(writes.map(|(key, _)| key.to_vec()).collect())
}

/// A command, or a sub-command of one, as `config|get` names it.
#[derive(Clone, Copy)]
enum Found {
    Whole(&'static CommandSpec),
    Part(&'static CommandSpec, &'static str),
}

impl Found {
    fn details(self) -> Reply {
        match self {
            Self::Whole(command) => spec::details(command),
            Self::Part(command, sub) => spec::details_of_part(command, sub),
        }
    }

    fn docs(self) -> (Reply, Reply) {
        match self {
            Self::Whole(command) => spec::docs(command),
            Self::Part(command, sub) => spec::docs_of_part(command, sub),
        }
    }
}

fn find(name: &[u8]) -> Option<Found> {
    let Some(bar) = name.iter().position(|byte| *byte == b'|') else {
        return lookup(name).map(Found::Whole);
    };
    let (container, sub) = (lookup(&name[..bar])?, &name[bar + 1..]);
    let sub = container.subcommands.iter().find(|known| sub.eq_ignore_ascii_case(known.as_bytes()));
    sub.map(|sub| Found::Part(container, sub))
}

fn list(filter: &[Bytes]) -> Result<Reply, CommandError> {
    let names = |keep: &dyn Fn(&CommandSpec) -> bool| {
        let kept = COMMANDS.iter().filter(|spec| keep(spec));
        let named = kept.flat_map(|spec| {
            let subs = spec.subcommands.iter().map(|sub| format!("{}|{sub}", spec.name));
            std::iter::once(spec.name.to_owned()).chain(subs)
        });
        Reply::Array(named.map(Reply::bulk).collect())
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
                b"pattern" => Ok(matching(&value)),
                _ => Err(CommandError::Syntax),
            }
        }
        _ => Err(CommandError::Syntax),
    }
}

/// The names, sub-commands' among them, that match a glob pattern.
fn matching(pattern: &[u8]) -> Reply {
    let names = COMMANDS.iter().flat_map(|spec| {
        let subs = spec.subcommands.iter().map(|sub| format!("{}|{sub}", spec.name));
        std::iter::once(spec.name.to_owned()).chain(subs)
    });
    let kept = names.filter(|name| glob_match(pattern, name.as_bytes()));
    Reply::Array(kept.map(Reply::bulk).collect())
}
