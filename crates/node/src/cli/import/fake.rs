//! A server for tests: it answers what it is told to, and remembers what it was asked.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use bitroster_resp::{Frame, FrameLimits, decode_frame};
use parking_lot::Mutex;

use super::super::remote::{AccessArgs, Target};

/// A server that listens as long as the test runs.
pub(super) struct Fake {
    pub(super) target: Target,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Starts it. `answer` gets the number of the connection, from 0 on, and the words of a
    /// request, and tells the reply's bytes; without one the connection is closed.
    pub(super) fn start<A>(answer: A) -> Self
    where
        A: Fn(usize, &[&str]) -> Option<String> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&heard);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (answer, remembered) = (answer.clone(), Arc::clone(&remembered));
                let stream = stream.expect("a connection");
                thread::spawn(move || {
                    serve(stream, &remembered, |words| answer(connection, words))
                });
            }
        });
        let address = format!("127.0.0.1:{port}").parse().expect("an address");
        let access = AccessArgs { timeout_ms: 10_000, ..AccessArgs::default() };
        let target = Target::new(&address, &access, "BITROSTER_NONE").expect("a target");
        Self { target, heard }
    }

    /// The requests so far that begin with this.
    pub(super) fn heard(&self, beginning: &str) -> Vec<String> {
        let heard = self.heard.lock();
        heard.iter().filter(|request| request.starts_with(beginning)).cloned().collect()
    }
}

fn serve(
    mut stream: TcpStream,
    heard: &Mutex<Vec<String>>,
    answer: impl Fn(&[&str]) -> Option<String>,
) {
    let (mut received, mut buf) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        while let Some((request, len)) =
            decode_frame(&received, FrameLimits::default()).expect("a request")
        {
            received.drain(..len);
            let Frame::Array(words) = request else { panic!("{request:?} is no request") };
            let words: Vec<String> = words.into_iter().map(word_of).collect();
            heard.lock().push(words.join(" "));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let Some(reply) = answer(&words) else { return };
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
        match stream.read(&mut buf) {
            Ok(0) | Err(_) => return,
            Ok(read) => received.extend_from_slice(&buf[..read]),
        }
    }
}

fn word_of(word: Frame) -> String {
    let Frame::Bulk(word) = word else { panic!("{word:?} is no word") };
    String::from_utf8_lossy(&word).into_owned()
}

/// A reply of these bytes.
pub(super) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// The reply to TIME.
pub(super) fn time(millis: i64) -> String {
    format!("*2\r\n{}{}", bulk(&(millis / 1000).to_string()), bulk("0"))
}

/// What any server is asked first, answered as a Redis of this run does, or a Bitroster.
pub(super) fn greet(words: &[&str], run: &str, is_ours: bool) -> Option<String> {
    Some(match (words[0], is_ours) {
        ("PING", _) => "+PONG\r\n".to_owned(),
        ("PEXPIRETIME", _) => ":-2\r\n".to_owned(),
        ("COMMAND", true) => "*1\r\n*1\r\n+bm.import\r\n".to_owned(),
        ("COMMAND", false) => "*1\r\n$-1\r\n".to_owned(),
        ("INFO", false) => bulk(&format!("# Server\r\nrun_id:{run}")),
        ("INFO", true) => bulk(&format!("# Replication\r\nmaster_replid:{run}")),
        _ => panic!("nobody asks {words:?}"),
    })
}
