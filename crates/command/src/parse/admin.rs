//! Operators' commands, where they touch a key or are not served.

use super::{Parsed, Request, integer, is, keyspace::database_index, session::admin};
use crate::{Command, CommandError, Composite};

/// `OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT key` and `OBJECT HELP`
pub(crate) fn object(request: &Request<'_>) -> Parsed {
    if !is(request.args[1], "encoding") {
        return admin(request);
    }
    if request.args.len() != 3 {
        return Err(CommandError::wrong_arity("object|encoding"));
    }
    Ok(Command::Composite(Box::new(Composite::ObjectEncoding { key: request.key(2)? })))
}

/// `MEMORY USAGE key [SAMPLES count]` and the other sub-commands. There is nothing to sample: a
/// value knows what it takes.
pub(crate) fn memory(request: &Request<'_>) -> Parsed {
    if !is(request.args[1], "usage") {
        return admin(request);
    }
    let mut rest = match request.rest(2) {
        [] => return Err(CommandError::wrong_arity("memory|usage")),
        [_, rest @ ..] => rest,
    };
    while let [word, after @ ..] = rest {
        let ([count, after @ ..], true) = (after, is(word, "samples")) else {
            return Err(CommandError::Syntax);
        };
        if integer(count)? < 0 {
            return Err(CommandError::Syntax);
        }
        rest = after;
    }
    Ok(Command::Composite(Box::new(Composite::MemoryUsage { key: request.key(2)? })))
}

/// `SWAPDB index index`: there is one database only, and it may be swapped with itself.
pub(crate) fn swap_db(request: &Request<'_>) -> Parsed {
    let refusals = ["ERR invalid first DB index", "ERR invalid second DB index"];
    for (index, refusal) in request.args[1..].iter().zip(refusals) {
        let index = database_index(index).map_err(|_| CommandError::Text(refusal))?;
        if index != 0 {
            return Err(CommandError::DATABASE);
        }
    }
    admin(request)
}

/// `MOVE key db`: there is no other database.
pub(crate) fn moving(request: &Request<'_>) -> Parsed {
    let index = database_index(request.args[2])?;
    Err(if index == 0 { CommandError::SAME_KEY } else { CommandError::DATABASE })
}

/// `REPLICAOF host port` and `SLAVEOF`: the cluster decides who follows whom.
pub(crate) fn replica_of(request: &Request<'_>) -> Parsed {
    let name = request.spec.name.to_ascii_uppercase();
    Err(CommandError::Message(format!("ERR {name} not allowed in cluster mode.")))
}

/// `MONITOR`: what all clients of a cluster send passes no single place.
pub(crate) fn monitor(_: &Request<'_>) -> Parsed {
    Err(CommandError::Text("ERR MONITOR is not supported: no node sees all requests; see SLOWLOG"))
}
