//! One command, and what the console does not run.

use std::time::{Duration, Instant};

use axum::{
    Extension,
    body::Bytes as Body,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bitroster_command::{Flags, Reply, lookup};
use bitroster_frontend::Caller;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    Answer, Console, Ends, Refusal, answer,
    json::{self, TooLong},
};

/// How long one command may take.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest answer, in bytes of JSON.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Commands that only mean something to what follows them on the same connection, and those that
/// nobody shall press by mistake.
const NEVER: &[&str] = &[
    "asking",
    "auth",
    "client",
    "debug",
    "discard",
    "exec",
    "hello",
    "monitor",
    "multi",
    "psubscribe",
    "punsubscribe",
    "quit",
    "readonly",
    "readwrite",
    "reset",
    "select",
    "shutdown",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "unsubscribe",
    "unwatch",
    "watch",
];

/// Commands that change nothing and have no such flag, each with those of its sub-commands that
/// change nothing; all of them where none is named.
const LOOKS: &[(&str, &[&str])] = &[
    ("acl", &["cat", "dryrun", "getuser", "help", "list", "users", "whoami"]),
    (
        "cluster",
        &["countkeysinslot", "help", "info", "keyslot", "myid", "nodes", "shards", "slots"],
    ),
    ("command", &[]),
    ("config", &["get", "help"]),
    ("echo", &[]),
    ("info", &[]),
    ("lastsave", &[]),
    ("latency", &["doctor", "graph", "help", "histogram", "history", "latest"]),
    ("memory", &["doctor", "help", "malloc-stats", "stats", "usage"]),
    ("ping", &[]),
    ("pubsub", &[]),
    ("role", &[]),
    ("slowlog", &["get", "help", "len"]),
    ("time", &[]),
];

/// An argument: text, or bytes that are none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Arg {
    Text(String),
    Bytes { base64: String },
}

/// The body of a command.
#[derive(Deserialize)]
struct Line {
    args: Vec<Arg>,
}

impl Line {
    fn read(body: &[u8]) -> Result<Vec<Bytes>, Refusal> {
        let wrong = |why: String| Refusal::http(StatusCode::BAD_REQUEST, why);
        let line: Self = serde_json::from_slice(body).map_err(|error| {
            wrong(format!("the body must be {{\"args\": [text or {{\"base64\": text}}]}}: {error}"))
        })?;
        let bytes = |arg: Arg| match arg {
            Arg::Text(text) => Ok(Bytes::from(text)),
            Arg::Bytes { base64 } => match STANDARD.decode(base64) {
                Ok(bytes) => Ok(Bytes::from(bytes)),
                Err(error) => Err(wrong(format!("an argument is no base64: {error}"))),
            },
        };
        let args: Vec<Bytes> = line.args.into_iter().map(bytes).collect::<Result<_, _>>()?;
        if args.is_empty() { Err(wrong("args is empty".to_owned())) } else { Ok(args) }
    }
}

/// `POST /api/v1/command`
pub(super) async fn run(
    State(console): State<Console>,
    Extension(ends): Extension<Ends>,
    headers: HeaderMap,
    body: Result<Body, BytesRejection>,
) -> Answer {
    let mut caller = console.call(&headers, ends)?;
    let args = Line::read(&body?)?;
    check(&args, console.inner.may_write)?;
    let Ok(_running) = console.inner.commands.try_acquire() else {
        let why = "too many commands of the console run: try again";
        return Err(Refusal::http(StatusCode::TOO_MANY_REQUESTS, why));
    };
    let started = Instant::now();
    let Ok(reply) = timeout(COMMAND_TIME_MAX, ask(&mut caller, &args)).await else {
        let why = "no answer within 10 s; a command that writes may be done all the same";
        return Err(Refusal::http(StatusCode::GATEWAY_TIMEOUT, why));
    };
    let seconds = started.elapsed().as_secs_f64();
    let reply = reply?;
    if let Reply::Error(error) = reply {
        return Err((*error).into());
    }
    let reply = json::write(&reply, REPLY_BYTES_MAX).map_err(|TooLong| too_long())?;
    Ok(answer(&format!("{{\"reply\":{reply},\"seconds\":{seconds:.6}}}")))
}

fn too_long() -> Refusal {
    Refusal::http(StatusCode::PAYLOAD_TOO_LARGE, "reply larger than 1 MiB: ask for less")
}

/// Asks; a value that would be too long is not fetched at all.
async fn ask(caller: &mut Caller, args: &[Bytes]) -> Result<Reply, Refusal> {
    if let [name, key] = args
        && name.eq_ignore_ascii_case(b"get")
        && let Reply::Integer(len) = caller.ask(&[Bytes::from_static(b"STRLEN"), key.clone()]).await
        && len > REPLY_BYTES_MAX as i64
    {
        return Err(too_long());
    }
    Ok(caller.ask(args).await)
}

/// Whether the console runs a command. What its user may do is not decided here.
fn check(args: &[Bytes], may_write: bool) -> Result<(), Refusal> {
    // An unknown command has an error of its own.
    let Some(spec) = args.first().and_then(|name| lookup(name)) else { return Ok(()) };
    if NEVER.contains(&spec.name) {
        let why = format!("the console does not run {}", spec.name.to_uppercase());
        return Err(Refusal::new(StatusCode::FORBIDDEN, "CONSOLE", why));
    }
    let slices: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
    let flags = spec.flags_of(&slices);
    let is_sub = |subs: &[&str]| {
        let sub = args.get(1);
        subs.is_empty()
            || sub.is_some_and(|sub| subs.iter().any(|it| sub.eq_ignore_ascii_case(it.as_bytes())))
    };
    let looks = || LOOKS.iter().any(|(name, subs)| *name == spec.name && is_sub(subs));
    let is_read = flags.contains(Flags::READONLY) && !flags.contains(Flags::WRITE);
    if may_write || is_read || looks() {
        return Ok(());
    }
    let why = "READONLY the console only reads: console.write is false";
    Err(Refusal::new(StatusCode::FORBIDDEN, "READONLY", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(line: &str, may_write: bool) -> Option<String> {
        let args: Vec<Bytes> = line.split(' ').map(|arg| Bytes::from(arg.to_owned())).collect();
        check(&args, may_write).err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_console_that_only_reads_runs_what_reads() {
        for line in [
            "GETBIT a 1",
            "BM.QUERY COUNT a",
            "BM.PREFIXES x",
            "BM.WINDOW f LAST 3d",
            "SCAN 0",
            "slowlog get",
            "CONFIG GET x",
            "INFO",
            "ACL WHOAMI",
            "no-such-command",
        ] {
            assert_eq!(checked(line, false), None, "{line}");
        }
        for line in [
            "SETBIT a 1 1",
            "BM.QUERY STORE d a",
            "BM.WINDOW f LAST 3d STORE d",
            "BM.SPACE DROP s",
            "BM.PURGE 1 MATCH *",
            "FLUSHALL",
            "CONFIG SET a b",
            "CONFIG",
            "SLOWLOG RESET",
            "ACL SETUSER a",
            "ACL LOG RESET",
            "CLUSTER FORGET x",
            "PUBLISH a b",
            "BGSAVE",
            "LATENCY RESET",
        ] {
            assert_eq!(checked(line, false).as_deref(), Some("READONLY"), "{line}");
            assert_eq!(checked(line, true), None, "{line}");
        }
    }

    #[test]
    fn what_belongs_to_a_connection_is_never_run() {
        for line in ["AUTH x", "multi", "CLIENT LIST", "SHUTDOWN", "Debug SLEEP 1", "MONITOR"] {
            assert_eq!(checked(line, true).as_deref(), Some("CONSOLE"), "{line}");
        }
        for name in NEVER.iter().chain(LOOKS.iter().map(|(name, _)| name)) {
            // Names that the table has not are refused as unknown.
            let is_known = lookup(name.as_bytes()).is_some();
            assert!(is_known || ["asking", "monitor", "readonly", "readwrite"].contains(name));
        }
    }

    #[test]
    fn arguments_are_text_or_base64() {
        let read = |body: &str| Line::read(body.as_bytes()).map_err(|it| it.status.as_u16());
        let args = read(r#"{"args":["GET",{"base64":"/wA="}]}"#).unwrap();
        assert_eq!(args, [&b"GET"[..], &[0xff, 0]]);
        for wrong in ["", "[]", "{}", r#"{"args":[]}"#, r#"{"args":[1]}"#, r#"{"args":["a""#] {
            assert_eq!(read(wrong), Err(400), "{wrong}");
        }
        assert_eq!(read(r#"{"args":[{"base64":"!"}]}"#), Err(400));
    }
}
