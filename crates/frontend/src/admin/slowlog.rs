//! SLOWLOG: what the slow log holds.

use bitroster_command::{CommandError, Reply, parse_i64};
use bytes::Bytes;

use super::{help, integer, subcommand, unknown_subcommand, wrong_arity};
use crate::slowlog::{Entry, SlowLog};

const HELP: &[&str] = &[
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
    "HELP",
    "    Print this help.",
];

/// Entries that `SLOWLOG GET` answers where no count is given. Redis's.
const COUNT_DEFAULT: usize = 10;

const BAD_COUNT: CommandError =
    CommandError::Text("ERR count should be greater than or equal to -1");

pub(super) fn run(log: &SlowLog, args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("slowlog", args)?;
    match (name.as_str(), rest) {
        ("get", []) => Ok(entries(log, COUNT_DEFAULT)),
        ("get", [count]) => match parse_i64(count) {
            Some(-1) => Ok(entries(log, usize::MAX)),
            Some(count) => Ok(entries(log, usize::try_from(count).map_err(|_| BAD_COUNT)?)),
            None => Err(BAD_COUNT),
        },
        ("len", []) => Ok(Reply::Integer(integer(log.len() as u64))),
        ("reset", []) => {
            log.clear();
            Ok(Reply::Ok)
        }
        ("help", []) => Ok(help(HELP)),
        ("get", _) => Err(super::unknown_use("slowlog", args)),
        ("len" | "reset" | "help", _) => Err(wrong_arity(&format!("slowlog|{name}"))),
        _ => Err(unknown_subcommand("slowlog", args)),
    }
}

fn entries(log: &SlowLog, count: usize) -> Reply {
    let entry = |entry: Entry| {
        Reply::Array(vec![
            Reply::Integer(integer(entry.id)),
            Reply::Integer(integer(entry.time_secs)),
            Reply::Integer(integer(entry.micros)),
            Reply::Array(entry.args.into_iter().map(Reply::Bulk).collect()),
            Reply::bulk(entry.addr),
            Reply::bulk(entry.client_name),
        ])
    };
    Reply::Array(log.newest(count).into_iter().map(entry).collect())
}
