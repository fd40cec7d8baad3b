//! A plain client of the console's HTTP API.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};

/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A browser of one console: it keeps its cookie.
#[derive(Clone, Debug)]
pub struct Browser {
    address: SocketAddr,
    cookie: Option<String>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// HTTP's number.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub text: String,
}

impl Answered {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The code of an error.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn code(&self) -> String {
        let json = self.json();
        json["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {json}")).to_owned()
    }
}

impl Browser {
    /// A browser without a cookie.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, cookie: None }
    }

    /// Sends a request with these headers besides its own; keeps the cookie that comes back.
    ///
    /// # Panics
    ///
    /// If nobody answers, or not by HTTP.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answered {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let mut line = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        if headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("host")) {
            line("Host", &self.address.to_string());
        }
        if let Some(cookie) = &self.cookie {
            line("Cookie", cookie);
        }
        if !body.is_empty() {
            line("Content-Length", &body.len().to_string());
        }
        headers.iter().for_each(|(name, value)| line(name, value));
        head.push_str("\r\n");
        let mut stream =
            TcpStream::connect_timeout(&self.address, ANSWER_TIMEOUT).expect("somebody listens");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a timeout");
        stream.write_all(head.as_bytes()).expect("send");
        // A refusal may come before all of the body is taken.
        let sent = stream.write_all(body);
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        assert!(!bytes.is_empty(), "no answer to {method} {path}: {sent:?}, {read:?}");
        let answered = parse(&String::from_utf8_lossy(&bytes));
        if let Some(cookie) = answered.header("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        answered
    }

    /// `GET path`
    pub fn get(&mut self, path: &str) -> Answered {
        self.send("GET", path, &[], b"")
    }

    /// `POST path` of JSON, as a page of the console does.
    pub fn post(&mut self, path: &str, body: &Value) -> Answered {
        let headers = [("Content-Type", "application/json"), ("Sec-Fetch-Site", "same-origin")];
        self.send("POST", path, &headers, body.to_string().as_bytes())
    }

    /// Runs a command, written as words with spaces between.
    pub fn command(&mut self, words: &str) -> Answered {
        let args: Vec<&str> = words.split(' ').collect();
        self.post("/api/v1/command", &json!({ "args": args }))
    }

    /// The reply to a command, which must have one.
    ///
    /// # Panics
    ///
    /// If it has none.
    pub fn reply(&mut self, words: &str) -> Value {
        let answered = self.command(words);
        assert_eq!(answered.status, 200, "{words}: {}", answered.text);
        answered.json()["reply"].clone()
    }

    /// Logs in.
    pub fn log_in(&mut self, user: &str, password: &str) -> Answered {
        self.post("/api/v1/login", &json!({ "user": user, "password": password }))
    }

    /// The cookie it has.
    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }
}

fn parse(text: &str) -> Answered {
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answered {
        status: status.and_then(|status| status.parse().ok()).expect("a status"),
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        text: body.to_owned(),
    }
}
