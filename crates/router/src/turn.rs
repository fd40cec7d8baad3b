//! One pipeline's worth of commands of one connection.

use bitroster_command::{Command, Reply};

use crate::Router;

/// One pipeline's worth of commands of one connection, and their replies in request order.
pub struct Turn {
    router: Router,
    places: Vec<Option<Reply>>,
}

impl Turn {
    pub(crate) fn new(router: Router) -> Self {
        Self { router, places: Vec::new() }
    }

    /// Takes a command that needs one group only: answers it at once or queues it for the next
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// Gives the command back where it needs [`run`](Self::run); nothing was done.
    pub fn try_push(&mut self, command: Command) -> Result<(), Command> {
        self.places.reserve(1);
        Err(command)
    }

    /// Adds a reply that the session made by itself, in its place.
    pub fn push_reply(&mut self, reply: Reply) {
        self.places.push(Some(reply));
    }

    /// Flushes what is queued, then runs `command` to its end and adds its reply.
    pub async fn run(&mut self, command: Command) {
        self.flush().await;
        let reply = self.router.run(command).await;
        self.push_reply(reply);
    }

    /// Sends what is queued, all groups at once, and waits until every command has its reply.
    #[expect(clippy::unused_async, clippy::needless_pass_by_ref_mut, reason = "the plans follow")]
    pub async fn flush(&mut self) {}

    /// Hands out the replies in request order; the turn is empty afterwards.
    ///
    /// # Panics
    ///
    /// If commands are queued that were not flushed.
    pub fn drain(&mut self, mut f: impl FnMut(Reply)) {
        for reply in self.places.drain(..) {
            f(reply.expect("a turn is drained after its flush"));
        }
    }

    /// How many commands and replies the turn holds.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether the turn holds nothing.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// About how many bytes of ops and replies the turn holds.
    pub fn queued_bytes(&self) -> usize {
        0
    }
}
