//! Conversations of clients that do not speak RESP: commands in, replies out, without bytes.

use std::sync::atomic::Ordering::Relaxed;

use bitroster_command::{CommandError, Reply};
use bytes::{Bytes, BytesMut};

use super::{Dialog, dialog::Mute, transaction::Queue};
use crate::{access::Identity, client::Client};

/// Commands that only mean something to what follows them on the same connection.
const OF_A_CONNECTION: [&[u8]; 10] = [
    b"multi", b"exec", b"discard", b"watch", b"unwatch", b"auth", b"hello", b"reset", b"quit",
    b"select",
];

/// Commands whose answers do not come one for one.
const PUSHING: [&[u8]; 7] = [
    b"subscribe",
    b"psubscribe",
    b"ssubscribe",
    b"unsubscribe",
    b"punsubscribe",
    b"sunsubscribe",
    b"monitor",
];

const NO_PUSHES: CommandError =
    CommandError::Text("ERR this command answers with messages, which only RESP carries");

const NOT_ANSWERED: CommandError = CommandError::Text("ERR the client was ended");

const NOT_ALONE: CommandError = CommandError::Text(
    "ERR this command means something to a connection only: send it in a pipeline",
);

const NO_SILENCE: CommandError = CommandError::Text("ERR every command of a pipeline is answered");

impl Dialog {
    /// Tells who asks.
    ///
    /// # Errors
    ///
    /// `WRONGPASS` where they are not who they say they are, `NOAUTH` where they had to say it.
    pub(crate) fn introduce(
        &mut self,
        credentials: Option<(&[u8], &[u8])>,
    ) -> Result<(), CommandError> {
        if let Some((user, password)) = credentials {
            self.authenticate("authorization", Some(user), password)?;
        }
        match self.identity {
            Some(_) => Ok(()),
            None => Err(CommandError::Text("NOAUTH Authentication required.")),
        }
    }

    /// Makes the client somebody who has said it before.
    pub(crate) fn resume(&mut self, identity: Identity) {
        self.become_user(Some(identity));
    }

    /// Who the client is, once it has said so.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }

    /// What reads may miss from now on, by its name.
    ///
    /// # Errors
    ///
    /// Where there is no such consistency.
    pub(crate) fn read_as(&mut self, consistency: &Bytes) -> Result<(), CommandError> {
        self.consistency(std::slice::from_ref(consistency)).map(drop)
    }

    /// Runs one command that stands for itself.
    ///
    /// # Cancel safety
    ///
    /// A write may be applied although the future was dropped; the dialog must not be used again.
    pub(crate) async fn ask(&mut self, args: &[Bytes]) -> Reply {
        if args.first().is_some_and(|name| is_of_a_connection(name, args.get(1))) {
            return NOT_ALONE.into();
        }
        let mut replies = Vec::with_capacity(1);
        self.ask_next(args, &mut replies).await;
        self.settle(&mut replies).await;
        // A client that is ended while CLIENT PAUSE holds it gets none.
        replies.pop().unwrap_or_else(|| NOT_ANSWERED.into())
    }

    /// Runs the next command of a pipeline, or queues it; the replies that are there are appended
    /// to `replies`, in the order of the commands.
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    pub(crate) async fn ask_next(&mut self, args: &[Bytes], replies: &mut Vec<Reply>) {
        if let Some(refusal) = refusal_of(args) {
            self.refuse_call(refusal);
            return;
        }
        let len = args.iter().map(Bytes::len).sum();
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        if let Some(pending) = self.take(&args, len) {
            if pending.comes_after_all() {
                self.settle(replies).await;
            }
            // What is said in bytes was refused above.
            self.complete(pending, &mut BytesMut::new()).await;
        }
        if self.is_full() {
            self.settle(replies).await;
        }
    }

    /// Answers a command that cannot be run here; EXEC refuses what it was to be a part of.
    fn refuse_call(&mut self, refusal: CommandError) {
        self.tally.take(None);
        self.queue.iter_mut().for_each(Queue::spoil);
        self.turn.push_reply(refusal.into());
    }

    /// Waits for every reply of the turn and appends them to `replies`.
    pub(crate) async fn settle(&mut self, replies: &mut Vec<Reply>) {
        if self.turn.is_empty() {
            return;
        }
        self.turn.flush().await;
        let turned = self.hand_out(|reply| replies.push(reply));
        self.mute = Mute::Nothing;
        if turned.requests > 0 {
            // For the latency monitor; the slow log is of RESP's requests.
            self.is_slow(turned.took);
        }
    }

    /// How old the oldest answer since the last question was, in milliseconds.
    pub(crate) fn age_ms(&self) -> u64 {
        self.reading.age_ms.swap(0, Relaxed)
    }

    /// Whether the client has said that it goes.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_closing || self.client.is_ending()
    }

    /// Notes that the client is not idle.
    pub(crate) fn note_activity(&self) {
        self.client.note_activity(self.shared.now_secs());
    }
}

/// Why a command cannot be answered by one reply.
fn refusal_of(args: &[Bytes]) -> Option<CommandError> {
    let name = args.first()?;
    if PUSHING.iter().any(|other| name.eq_ignore_ascii_case(other)) {
        return Some(NO_PUSHES);
    }
    is_silencing(name, args.get(1)).then_some(NO_SILENCE)
}

fn is_of_a_connection(name: &[u8], sub: Option<&Bytes>) -> bool {
    OF_A_CONNECTION.iter().any(|other| name.eq_ignore_ascii_case(other))
        || is_silencing(name, sub)
        || (name.eq_ignore_ascii_case(b"client")
            && sub.is_some_and(|sub| sub.eq_ignore_ascii_case(b"consistency")))
}

fn is_silencing(name: &[u8], sub: Option<&Bytes>) -> bool {
    name.eq_ignore_ascii_case(b"client")
        && sub.is_some_and(|sub| sub.eq_ignore_ascii_case(b"reply"))
}

impl Client {
    /// Notes that the client has said something, at the front end's clock.
    pub(crate) fn note_activity(&self, now_secs: u64) {
        self.active_secs.store(now_secs, Relaxed);
    }
}
