//! MODULE, FUNCTION, SCRIPT: registries of things that there are none of, answered as Redis answers
//! for empty ones, so that tools that look at them go on.

use bitroster_command::{CommandError, Reply};
use bytes::Bytes;

use super::{help, subcommand, unknown_subcommand, wrong_arity};

const MODULE_HELP: &[&str] = &[
    "MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LIST",
    "    Return an empty list: there are no modules.",
    "HELP",
    "    Print this help.",
];

const FUNCTION_HELP: &[&str] = &[
    "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DUMP",
    "    Return the payload of an empty registry.",
    "FLUSH [ASYNC|SYNC]",
    "    Accepted: there are no functions.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return an empty list: there are no functions.",
    "STATS",
    "    Return that no function runs and that there is none.",
    "HELP",
    "    Print this help.",
];

const SCRIPT_HELP: &[&str] = &[
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return 0 for each: there are no scripts.",
    "FLUSH [ASYNC|SYNC]",
    "    Accepted: there are no scripts.",
    "HELP",
    "    Print this help.",
];

const NO_MODULES: CommandError = CommandError::Text(
    "ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you \
     can run it from a local connection, otherwise you need to set this option in the \
     configuration \
     file, and then restart the server.",
);

const NO_SCRIPTS: CommandError =
    CommandError::Text("ERR scripts and functions are not supported by Bitroster");

const NOTHING_RUNS: CommandError = CommandError::Text("NOTBUSY No scripts in execution right now.");

/// What Redis 7.0 dumps of an empty registry: version 10 and the checksum of nothing but it.
const EMPTY_DUMP: &[u8] = &[0x0a, 0x00, 0x5d, 0x9b, 0x5c, 0x40, 0x0f, 0x7f, 0xa2, 0xda];

pub(super) fn module(args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("module", args)?;
    match (name.as_str(), rest) {
        ("list", []) => Ok(Reply::Array(Vec::new())),
        ("load" | "loadex" | "unload", [_, ..]) => Err(NO_MODULES),
        ("help", []) => Ok(help(MODULE_HELP)),
        ("list" | "load" | "loadex" | "unload" | "help", _) => {
            Err(wrong_arity(&format!("module|{name}")))
        }
        _ => Err(unknown_subcommand("module", args)),
    }
}

pub(super) fn function(args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("function", args)?;
    match (name.as_str(), rest) {
        ("list", options) => {
            check_list(options)?;
            Ok(Reply::Array(Vec::new()))
        }
        ("flush", []) => Ok(Reply::Ok),
        ("flush", [mode]) => flush(mode, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
        ("stats", []) => Ok(Reply::Map(vec![
            (Reply::bulk("running_script"), Reply::Nil),
            (Reply::bulk("engines"), Reply::Map(vec![(Reply::bulk("LUA"), empty_engine())])),
        ])),
        ("dump", []) => Ok(Reply::bulk(EMPTY_DUMP)),
        ("kill", []) => Err(NOTHING_RUNS),
        ("delete", [_]) => Err(CommandError::Text("ERR Library not found")),
        ("load", [_, ..]) => Err(NO_SCRIPTS),
        ("restore", [payload, ..]) if payload == EMPTY_DUMP => Ok(Reply::Ok),
        ("restore", [_, ..]) => {
            Err(CommandError::Text("ERR DUMP payload version or checksum are wrong"))
        }
        ("help", []) => Ok(help(FUNCTION_HELP)),
        ("flush" | "stats" | "dump" | "kill" | "delete" | "load" | "restore" | "help", _) => {
            Err(wrong_arity(&format!("function|{name}")))
        }
        _ => Err(unknown_subcommand("function", args)),
    }
}

/// What Redis tells of its engine when it has no function.
fn empty_engine() -> Reply {
    let rows = ["libraries_count", "functions_count"];
    Reply::Map(rows.into_iter().map(|name| (Reply::bulk(name), Reply::Integer(0))).collect())
}

/// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`
fn check_list(options: &[Bytes]) -> Result<(), CommandError> {
    let mut rest = options;
    while let [option, after @ ..] = rest {
        rest = if option.eq_ignore_ascii_case(b"withcode") {
            after
        } else if option.eq_ignore_ascii_case(b"libraryname") {
            let [_, after @ ..] = after else {
                return Err(CommandError::Text("ERR library name argument was not given"));
            };
            after
        } else {
            let option = String::from_utf8_lossy(option);
            let option: String = option.chars().take(128).collect();
            return Err(CommandError::Message(format!("ERR Unknown argument {option}")));
        };
    }
    Ok(())
}

fn flush(mode: &[u8], refusal: &'static str) -> Result<Reply, CommandError> {
    if mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async") {
        Ok(Reply::Ok)
    } else {
        Err(CommandError::Text(refusal))
    }
}

pub(super) fn script(args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("script", args)?;
    match (name.as_str(), rest) {
        ("exists", hashes @ [_, ..]) => {
            Ok(Reply::Array(hashes.iter().map(|_| Reply::Integer(0)).collect()))
        }
        ("flush", []) => Ok(Reply::Ok),
        ("flush", [mode]) => flush(mode, "ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
        ("kill", []) => Err(NOTHING_RUNS),
        ("debug", [mode]) => match mode.to_ascii_lowercase().as_slice() {
            b"no" => Ok(Reply::Ok),
            b"yes" | b"sync" => Err(NO_SCRIPTS),
            _ => Err(CommandError::Text("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
        },
        ("load", [_]) => Err(NO_SCRIPTS),
        ("help", []) => Ok(help(SCRIPT_HELP)),
        ("exists" | "flush" | "kill" | "load" | "debug" | "help", _) => {
            Err(wrong_arity(&format!("script|{name}")))
        }
        _ => Err(unknown_subcommand("script", args)),
    }
}
