//! Commands that a session answers.

use bytes::Bytes;

use super::{Parsed, Request, is, keyspace::database_index, parse_i64, printable};
use crate::{Command, CommandError, SessionCommand};

fn session(command: SessionCommand) -> Parsed {
    Ok(Command::Session(command))
}

/// `PING [message]`
pub(crate) fn ping(request: &Request<'_>) -> Parsed {
    match request.rest(1) {
        [] => session(SessionCommand::Ping { message: None }),
        [_] => session(SessionCommand::Ping { message: Some(request.value(1)?) }),
        _ => Err(request.wrong_arity()),
    }
}

/// `ECHO message`
pub(crate) fn echo(request: &Request<'_>) -> Parsed {
    session(SessionCommand::Echo { message: request.value(1)? })
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`
pub(crate) fn hello(request: &Request<'_>) -> Parsed {
    let (mut version, mut auth, mut name) = (None, None, None);
    let mut rest = request.rest(1);
    if let [number, after @ ..] = rest {
        let number = parse_i64(number)
            .ok_or(CommandError::Text("ERR Protocol version is not an integer or out of range"))?;
        if !(2..=3).contains(&number) {
            return Err(CommandError::PROTOCOL);
        }
        version = Some(number);
        rest = after;
    }
    while let [word, after @ ..] = rest {
        rest = match after {
            [user, password, after @ ..] if is(word, "auth") => {
                auth = Some((Bytes::copy_from_slice(user), Bytes::copy_from_slice(password)));
                after
            }
            [text, after @ ..] if is(word, "setname") => {
                if !is_client_name(text) {
                    return Err(CommandError::CLIENT_NAME);
                }
                name = Some(Bytes::copy_from_slice(text));
                after
            }
            _ => {
                let word = printable(word, word.len());
                let text = format!("ERR Syntax error in HELLO option '{word}'");
                return Err(CommandError::Message(text));
            }
        };
    }
    session(SessionCommand::Hello { version, auth, name })
}

/// Whether a connection may be called so: printable, without blanks. The empty name is none.
pub fn is_client_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

/// `AUTH [user] password`
pub(crate) fn auth(request: &Request<'_>) -> Parsed {
    match request.rest(1) {
        [_] => session(SessionCommand::Auth { user: None, password: request.value(1)? }),
        [_, _] => {
            let (user, password) = (Some(request.value(1)?), request.value(2)?);
            session(SessionCommand::Auth { user, password })
        }
        _ => Err(CommandError::Syntax),
    }
}

/// `SELECT index`
pub(crate) fn select(request: &Request<'_>) -> Parsed {
    session(SessionCommand::Select { index: database_index(request.args[1])? })
}

/// `QUIT`
pub(crate) fn quit(_: &Request<'_>) -> Parsed {
    session(SessionCommand::Quit)
}

/// `RESET`
pub(crate) fn reset(_: &Request<'_>) -> Parsed {
    session(SessionCommand::Reset)
}

/// `MULTI`
pub(crate) fn multi(_: &Request<'_>) -> Parsed {
    session(SessionCommand::Multi)
}

/// `EXEC`
pub(crate) fn exec(_: &Request<'_>) -> Parsed {
    session(SessionCommand::Exec)
}

/// `DISCARD`
pub(crate) fn discard(_: &Request<'_>) -> Parsed {
    session(SessionCommand::Discard)
}

/// `WATCH key [key ...]`
pub(crate) fn watch(request: &Request<'_>) -> Parsed {
    session(SessionCommand::Watch { keys: request.keys(1)? })
}

/// `UNWATCH`
pub(crate) fn unwatch(_: &Request<'_>) -> Parsed {
    session(SessionCommand::Unwatch)
}

/// `TIME`
pub(crate) fn time(_: &Request<'_>) -> Parsed {
    session(SessionCommand::Time)
}

/// `WAIT replicas timeout`
pub(crate) fn wait(request: &Request<'_>) -> Parsed {
    let replicas = request.integer(1)?;
    let timeout_ms = parse_i64(request.args[2])
        .ok_or(CommandError::Text("ERR timeout is not an integer or out of range"))?;
    if timeout_ms < 0 {
        return Err(CommandError::Text("ERR timeout is negative"));
    }
    session(SessionCommand::Wait { replicas, timeout_ms })
}

/// `INFO [section ...]`
pub(crate) fn info(request: &Request<'_>) -> Parsed {
    let lower = |name: &&[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
    session(SessionCommand::Info { sections: request.rest(1).iter().map(lower).collect() })
}

/// A command whose sub-commands the session interprets.
pub(crate) fn admin(request: &Request<'_>) -> Parsed {
    let args = request.rest(1).iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
    session(SessionCommand::Admin { name: request.spec.name, args })
}
