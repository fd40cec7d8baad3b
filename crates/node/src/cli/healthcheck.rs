//! `bitroster healthcheck`: one HTTP request, by hand, so that an image needs no other program.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;

use super::{
    exit::{Code, Failing as _, Failure},
    output,
};

/// Most bytes read of the answer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Arguments of `bitroster healthcheck`.
#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    /// Address of the node's admin HTTP server.
    #[arg(long, default_value = "127.0.0.1:9380", env = "BITROSTER_HEALTHCHECK")]
    admin: SocketAddr,
    /// What to ask: `/readyz` or `/livez`.
    #[arg(long, default_value = "/readyz")]
    path: String,
    /// Milliseconds to wait for the answer.
    #[arg(long, default_value_t = 2_000)]
    timeout_ms: u64,
}

/// Runs `bitroster healthcheck`: succeeds where the node answers 200.
pub(crate) fn run(args: &HealthcheckArgs) -> anyhow::Result<Code> {
    let answer = ask(args).with_context(|| format!("no answer from {}", args.admin));
    let answer = answer.failing(Code::Unreachable)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("no status");
    if status != "200" {
        let text = format!("{} answers {status}: {}", args.admin, body.trim());
        return Err(Failure::new(Code::Bad, text).into());
    }
    output::print(format!("{}\n", body.trim()))?;
    Ok(Code::Done)
}

fn ask(args: &HealthcheckArgs) -> anyhow::Result<String> {
    let timeout = Duration::from_millis(args.timeout_ms.max(1));
    let mut stream = TcpStream::connect_timeout(&args.admin, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(
        stream,
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        args.path, args.admin
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;
    use crate::cli::exit::code_of;

    fn check_against(answer: &'static str) -> anyhow::Result<Code> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The request may arrive in pieces, and what is unread at the end loses the answer.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request).into_owned()
        });
        let args = HealthcheckArgs { admin, path: "/readyz".to_owned(), timeout_ms: 10_000 };
        let done = run(&args);
        assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
        done
    }

    #[test]
    fn a_ready_node_passes() {
        check_against("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").unwrap();
    }

    #[test]
    fn a_node_that_is_not_ready_fails_with_its_reason() {
        let error = check_against("HTTP/1.1 503 Service Unavailable\r\n\r\n1 of 4 groups\n");
        let error = error.unwrap_err();
        assert!(error.to_string().contains("answers 503: 1 of 4 groups"));
        assert_eq!(code_of(&error), Code::Bad);
    }

    #[test]
    fn where_nobody_listens_nobody_is_reached() {
        let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let args = HealthcheckArgs { admin, path: "/readyz".to_owned(), timeout_ms: 10_000 };
        assert_eq!(code_of(&run(&args).unwrap_err()), Code::Unreachable);
    }
}
