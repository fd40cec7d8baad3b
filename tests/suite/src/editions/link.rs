//! One client's connection to whichever server answers.

use std::{sync::Arc, thread, time::Duration};

use bitroster_resp::Frame;

use super::{Shared, lock};
use crate::Client;

/// How long a client waits for an answer: longer than any server takes over a request.
const PATIENCE: Duration = Duration::from_secs(15);

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    /// It was answered.
    Answer(Frame),
    /// It was sent, and nobody knows.
    Unknown,
    /// It was not sent, or refused by a server that applied nothing.
    Refused,
}

/// A connection that is made anew with the next server when it breaks.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    connection: Option<Client>,
    address: usize,
}

impl Link {
    pub(super) fn new(shared: Arc<Shared>, address: usize) -> Self {
        Self { shared, connection: None, address }
    }

    /// Connects, unless it is connected; false if nobody accepts the connection at once.
    pub(super) fn connect(&mut self) -> bool {
        if self.connection.is_none() {
            let addresses = lock(&self.shared.addresses).clone();
            let address = addresses[self.address % addresses.len()];
            self.connection = Client::connect_to(address, PATIENCE).ok();
            if self.connection.is_none() {
                self.give_up();
            }
        }
        self.connection.is_some()
    }

    /// Sends a request and waits for its reply.
    pub(super) fn ask(&mut self, args: &[impl AsRef<[u8]>]) -> Reply {
        if !self.connect() {
            return Reply::Refused;
        }
        let client = self.connection.as_mut().expect("it is connected");
        let Ok(frame) = client.call(args) else {
            self.give_up();
            return Reply::Unknown;
        };
        let Frame::Error(text) = &frame else { return Reply::Answer(frame) };
        let refused = ["CLUSTERDOWN", "LOADING", "BUSY", "OOM"];
        if refused.iter().any(|word| text.starts_with(word.as_bytes())) {
            // Another server may do better.
            self.give_up();
            return Reply::Refused;
        }
        if text.starts_with(b"UNKNOWNOUTCOME") {
            return Reply::Unknown;
        }
        Reply::Answer(frame)
    }

    /// Sends a request that does no harm twice until it is answered.
    ///
    /// # Panics
    ///
    /// If it is not answered within a minute.
    pub fn insist(&mut self, args: &[impl AsRef<[u8]>]) -> Frame {
        crate::wait::until("a request is answered", || match self.ask(args) {
            Reply::Answer(frame) => Some(frame),
            Reply::Unknown | Reply::Refused => None,
        })
    }

    fn give_up(&mut self) {
        self.connection = None;
        self.address += 1;
        thread::park_timeout(PAUSE);
    }
}
