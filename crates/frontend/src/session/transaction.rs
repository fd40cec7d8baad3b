//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.
//!
//! Commands are parsed when they are queued. As in Redis an unknown command or a wrong number of
//! arguments spoils the transaction, while any other mistake is that command's own reply.
//!
//! Redis: `multi.c`, and `processCommand` in `server.c`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering::Relaxed,
};

use bitroster_command::{
    Command, CommandError, Reply, SessionCommand,
    table::{CommandSpec, Flags},
};
use bitroster_router::Watched;
use bitroster_types::{Key, limits::TRANSACTION_BYTES_MAX};

use super::{
    dialog::{Dialog, Pending, flags_at},
    listen::tell,
};
use crate::{access::commands::Place, admin};

/// What MULTI has queued.
#[derive(Debug, Default)]
pub(super) struct Queue {
    steps: Vec<Step>,
    bytes: usize,
    is_spoilt: bool,
    denies_oom: bool,
    may_write: bool,
}

/// One queued request.
#[derive(Debug)]
enum Step {
    /// For the groups.
    Groups(Place, Command),
    /// For the session.
    Session(Place, SessionCommand),
    /// Wrong in itself: its reply is ready.
    Refused(CommandError),
}

impl Queue {
    /// Makes EXEC refuse.
    pub(super) fn spoil(&mut self) {
        self.is_spoilt = true;
    }

    /// Whether one of the steps is a write.
    pub(super) fn may_write(&self) -> bool {
        self.may_write
    }

    /// Counts one more step, made of a request of `len` bytes; whether there is room for it.
    fn has_room(&mut self, len: usize) -> bool {
        self.bytes = self.bytes.saturating_add(len).saturating_add(size_of::<Step>());
        self.bytes <= TRANSACTION_BYTES_MAX
    }
}

/// What WATCH has noted, by key. A key watched again keeps its first state, as in Redis.
#[derive(Debug, Default)]
pub(super) struct Watches {
    keys: BTreeMap<Key, Watched>,
    bytes: usize,
}

impl Watches {
    /// The keys that are not watched yet, each once.
    ///
    /// # Errors
    ///
    /// Where they would take too much memory; nothing is to be watched then.
    fn missing(&self, keys: &[Key]) -> Result<Vec<Key>, CommandError> {
        let missing: BTreeSet<&Key> =
            keys.iter().filter(|key| !self.keys.contains_key(*key)).collect();
        let added: usize = missing.iter().map(|key| Self::bytes_of(key)).sum();
        if self.bytes.saturating_add(added) > TRANSACTION_BYTES_MAX {
            let refusal = format!("ERR watched keys exceed {TRANSACTION_BYTES_MAX} bytes");
            return Err(CommandError::Message(refusal));
        }
        Ok(missing.into_iter().cloned().collect())
    }

    fn add(&mut self, key: Key, watched: Watched) {
        self.bytes += Self::bytes_of(&key) + watched.bytes_len();
        self.keys.insert(key, watched);
    }

    /// What a key takes at least.
    fn bytes_of(key: &Key) -> usize {
        size_of::<Key>() + key.len()
    }
}

const EXEC_ABORT: CommandError =
    CommandError::Text("EXECABORT Transaction discarded because of previous errors.");

/// What a command is told that MULTI does not queue.
pub(super) const NOT_IN_MULTI: CommandError =
    CommandError::Text("ERR Command not allowed inside a transaction");

impl Dialog {
    /// MULTI.
    pub(super) fn begin(&mut self) -> Reply {
        if self.queue.is_some() {
            return CommandError::Text("ERR MULTI calls can not be nested").into();
        }
        self.queue = Some(Queue::default());
        self.client.queued.store(0, Relaxed);
        Reply::Ok
    }

    /// DISCARD.
    pub(super) fn discard(&mut self) -> Reply {
        if self.queue.is_none() {
            return CommandError::Text("ERR DISCARD without MULTI").into();
        }
        self.end_transaction();
        Reply::Ok
    }

    /// UNWATCH.
    pub(super) fn unwatch(&mut self) {
        self.watched = Watches::default();
        self.client.watched.store(0, Relaxed);
    }

    /// Forgets queue and watches.
    pub(super) fn end_transaction(&mut self) {
        self.queue = None;
        self.client.queued.store(-1, Relaxed);
        self.unwatch();
    }

    /// Takes a request of `len` bytes while MULTI queues.
    pub(super) fn take_in_transaction(
        &mut self,
        spec: &CommandSpec,
        place: Place,
        parsed: Result<Command, CommandError>,
        len: usize,
    ) -> Option<Pending> {
        if spec.flags.contains(Flags::NO_MULTI) {
            self.queue.iter_mut().for_each(Queue::spoil);
            self.turn.push_reply(NOT_IN_MULTI.into());
            return None;
        }
        let reply = match parsed {
            Ok(Command::Session(command)) => match command {
                SessionCommand::Exec | SessionCommand::Quit | SessionCommand::Reset => {
                    return Some(Pending::Session(command));
                }
                SessionCommand::Multi | SessionCommand::Discard => self.answer_now(command),
                SessionCommand::Watch { .. } => {
                    CommandError::Text("ERR WATCH inside MULTI is not allowed").into()
                }
                SessionCommand::Hello { .. }
                | SessionCommand::Subscribe { .. }
                | SessionCommand::Unsubscribe { .. } => {
                    self.queue.iter_mut().for_each(Queue::spoil);
                    NOT_IN_MULTI.into()
                }
                other @ (SessionCommand::Ping { .. }
                | SessionCommand::Echo { .. }
                | SessionCommand::Auth { .. }
                | SessionCommand::Select { .. }
                | SessionCommand::Unwatch
                | SessionCommand::Time
                | SessionCommand::Wait { .. }
                | SessionCommand::Info { .. }
                | SessionCommand::Publish { .. }
                | SessionCommand::Admin { .. }) => {
                    self.enqueue(spec, Step::Session(place, other), len)
                }
            },
            Ok(command) => self.enqueue(spec, Step::Groups(place, command), len),
            Err(error) => self.enqueue(spec, Step::Refused(error), len),
        };
        self.turn.push_reply(reply);
        None
    }

    fn enqueue(&mut self, spec: &CommandSpec, step: Step, len: usize) -> Reply {
        let Some(queue) = &mut self.queue else {
            return CommandError::Text("ERR EXEC without MULTI").into();
        };
        let kept = match &step {
            Step::Groups(_, Command::Composite(composite)) => composite.heap_bytes(),
            Step::Groups(..) | Step::Session(..) | Step::Refused(_) => 0,
        };
        if !queue.has_room(len.saturating_add(kept)) {
            queue.steps = Vec::new();
            queue.spoil();
            let refusal = format!("ERR a transaction exceeds {TRANSACTION_BYTES_MAX} bytes");
            return CommandError::Message(refusal).into();
        }
        let flags = match &step {
            Step::Groups(place, _) => flags_at(spec, *place),
            Step::Session(..) | Step::Refused(_) => spec.flags,
        };
        queue.denies_oom |= flags.contains(Flags::DENYOOM);
        queue.may_write |= flags.contains(Flags::WRITE);
        queue.steps.push(step);
        let queued = i64::try_from(queue.steps.len()).unwrap_or(i64::MAX);
        self.client.queued.store(queued, Relaxed);
        Reply::Status("QUEUED")
    }

    /// EXEC.
    pub(super) async fn exec(&mut self) -> Reply {
        let Some(queue) = self.queue.take() else {
            return CommandError::Text("ERR EXEC without MULTI").into();
        };
        let watched: Vec<_> = std::mem::take(&mut self.watched).keys.into_values().collect();
        self.end_transaction();
        if queue.is_spoilt {
            return EXEC_ABORT.into();
        }
        if queue.denies_oom && self.shared.is_over_memory() {
            let reason = CommandError::OutOfMemory;
            return CommandError::Message(format!(
                "EXECABORT Transaction discarded because of: {reason}"
            ))
            .into();
        }
        let mut commands = Vec::new();
        let mut rest = Vec::with_capacity(queue.steps.len());
        for step in queue.steps {
            match self.check_again(step) {
                Step::Groups(_, command) => {
                    commands.push(command);
                    rest.push(None);
                }
                step @ (Step::Session(..) | Step::Refused(_)) => rest.push(Some(step)),
            }
        }
        let events = self.events_of(&commands);
        let done = if commands.is_empty() && watched.is_empty() {
            Reply::Array(Vec::new())
        } else {
            self.shared.router.transaction(&watched, commands).await
        };
        let Reply::Array(replies) = done else { return done };
        for (events, reply) in events.iter().zip(&replies) {
            tell(&self.shared, events, reply);
        }
        self.merge(replies, rest).await
    }

    /// A queued step, or its refusal where the user's rules do not allow it any more.
    fn check_again(&self, step: Step) -> Step {
        let Some(identity) = self.identity.as_ref().filter(|identity| !identity.is_free()) else {
            return step;
        };
        let (place, command) = match step {
            Step::Groups(place, command) => (place, command),
            Step::Session(place, command) => (place, Command::Session(command)),
            Step::Refused(error) => return Step::Refused(error),
        };
        match (identity.check(place, &command), command) {
            (Err(denial), _) => Step::Refused(denial.at_exec()),
            (Ok(()), Command::Session(command)) => Step::Session(place, command),
            (Ok(()), command) => Step::Groups(place, command),
        }
    }

    /// Puts the session's own replies between those of the groups.
    async fn merge(&mut self, replies: Vec<Reply>, rest: Vec<Option<Step>>) -> Reply {
        let mut replies = replies.into_iter();
        let mut merged = Vec::with_capacity(rest.len());
        for step in rest {
            merged.push(match step {
                None | Some(Step::Groups(..)) => {
                    replies.next().expect("a transaction answers each of its commands")
                }
                Some(Step::Session(_, SessionCommand::Admin { name: "acl", args })) => {
                    self.acl(&args).await.into()
                }
                Some(Step::Session(_, SessionCommand::Admin { name, args }))
                    if admin::later::is_slow(name, &args) =>
                {
                    admin::later::run(&self.shared, &self.client, name, &args).await
                }
                Some(Step::Session(_, SessionCommand::Info { sections })) => {
                    admin::info::info_of_cluster(&self.shared, &sections).await
                }
                Some(Step::Session(_, command)) => self.answer_now(command),
                Some(Step::Refused(error)) => error.into(),
            });
        }
        Reply::Array(merged)
    }

    /// WATCH.
    pub(super) async fn watch(&mut self, keys: &[Key]) -> Reply {
        let missing = match self.watched.missing(keys) {
            Ok(missing) => missing,
            Err(error) => return error.into(),
        };
        match self.shared.router.watch(&missing).await {
            Ok(watched) => {
                for (key, watched) in missing.into_iter().zip(watched) {
                    self.watched.add(key, watched);
                }
                self.client.watched.store(self.watched.keys.len() as u64, Relaxed);
                Reply::Ok
            }
            Err(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_step_counts_more_than_its_request() {
        let mut queue = Queue::default();
        assert!(queue.has_room(0));
        assert_eq!(queue.bytes, size_of::<Step>());
        assert!(!queue.has_room(TRANSACTION_BYTES_MAX - size_of::<Step>()));
    }

    #[test]
    fn keys_of_watch_count_once_and_only_so_many() {
        let key = |name: &str| Key::new(name.as_bytes()).unwrap();
        let mut watches = Watches::default();
        assert_eq!(watches.missing(&[key("b"), key("a"), key("b")]), Ok(vec![key("a"), key("b")]));
        watches.bytes = TRANSACTION_BYTES_MAX;
        assert_eq!(watches.missing(&[]), Ok(vec![]));
        let Err(error) = watches.missing(&[key("a")]) else { panic!("there is room") };
        assert_eq!(error.to_string(), "ERR watched keys exceed 268435456 bytes");
    }
}
