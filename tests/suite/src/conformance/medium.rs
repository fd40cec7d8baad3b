//! What carries requests and replies.

use anyhow::Result;
use bitroster_resp::Frame;

use crate::Client;

/// Carries requests to a server and its replies back.
pub trait Medium {
    /// What it is, for reports.
    fn name(&self) -> &str;

    /// Starts a case: an empty keyspace and a new connection.
    fn start(&mut self);

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    ///
    /// Where no reply comes. An error reply is a frame.
    fn call(&mut self, request: &[Vec<u8>]) -> Result<Frame>;
}

/// A Redis connection.
pub struct Resp<F> {
    name: String,
    connect: F,
    protocol: u8,
    client: Client,
}

impl<F: FnMut() -> Client> Resp<F> {
    /// Connections that `connect` makes, in version 2 or 3 of the protocol.
    pub fn new(name: &str, protocol: u8, mut connect: F) -> Self {
        let client = connect();
        Self { name: format!("RESP{protocol} on {name}"), connect, protocol, client }
    }
}

impl<F: FnMut() -> Client> Medium for Resp<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&mut self) {
        self.client = (self.connect)();
        if self.protocol == 3 {
            let hello = self.client.words("HELLO 3").expect("an answer to HELLO");
            assert!(matches!(hello, Frame::Map(_)), "HELLO 3 answered {hello:?}");
        }
        let flushed = self.client.words("FLUSHALL").expect("an answer to FLUSHALL");
        assert_eq!(flushed, Frame::Simple("OK".into()));
    }

    fn call(&mut self, request: &[Vec<u8>]) -> Result<Frame> {
        self.client.call(request)
    }
}
