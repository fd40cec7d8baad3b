//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.
//!
//! Commands are parsed when they are queued. As in Redis an unknown command or a wrong number of
//! arguments spoils the transaction, while any other mistake is that command's own reply.
//!
//! Redis: `multi.c`, and `processCommand` in `server.c`.

use std::sync::atomic::Ordering::Relaxed;

use bitroster_command::{
    Command, CommandError, Reply, SessionCommand,
    table::{CommandSpec, Flags},
};
use bitroster_types::{Key, limits::TRANSACTION_BYTES_MAX};

use super::dialog::{Dialog, Pending};

/// What MULTI has queued.
#[derive(Debug, Default)]
pub(super) struct Queue {
    steps: Vec<Step>,
    bytes: usize,
    is_spoilt: bool,
    denies_oom: bool,
}

/// One queued request.
#[derive(Debug)]
enum Step {
    /// For the groups.
    Groups(Command),
    /// For the session.
    Session(SessionCommand),
    /// Wrong in itself: its reply is ready.
    Refused(CommandError),
}

impl Queue {
    /// Makes EXEC refuse.
    pub(super) fn spoil(&mut self) {
        self.is_spoilt = true;
    }
}

const EXEC_ABORT: CommandError =
    CommandError::Text("EXECABORT Transaction discarded because of previous errors.");

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
        self.watched = Vec::new();
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
        parsed: Result<Command, CommandError>,
        len: usize,
    ) -> Option<Pending> {
        let reply = match parsed {
            Ok(Command::Session(command)) => match command {
                SessionCommand::Exec | SessionCommand::Quit | SessionCommand::Reset => {
                    return Some(Pending::Session(command));
                }
                SessionCommand::Multi | SessionCommand::Discard => self.answer_now(command),
                SessionCommand::Watch { .. } => {
                    CommandError::Text("ERR WATCH inside MULTI is not allowed").into()
                }
                SessionCommand::Hello { .. } => {
                    self.queue.iter_mut().for_each(Queue::spoil);
                    CommandError::Text("ERR Command not allowed inside a transaction").into()
                }
                other @ (SessionCommand::Ping { .. }
                | SessionCommand::Echo { .. }
                | SessionCommand::Auth { .. }
                | SessionCommand::Select { .. }
                | SessionCommand::Unwatch
                | SessionCommand::Time
                | SessionCommand::Wait { .. }
                | SessionCommand::Info { .. }
                | SessionCommand::Admin { .. }) => self.enqueue(spec, Step::Session(other), len),
            },
            Ok(command) => self.enqueue(spec, Step::Groups(command), len),
            Err(error) => self.enqueue(spec, Step::Refused(error), len),
        };
        self.turn.push_reply(reply);
        None
    }

    fn enqueue(&mut self, spec: &CommandSpec, step: Step, len: usize) -> Reply {
        let Some(queue) = &mut self.queue else {
            return CommandError::Text("ERR EXEC without MULTI").into();
        };
        queue.bytes = queue.bytes.saturating_add(len);
        if queue.bytes > TRANSACTION_BYTES_MAX {
            queue.steps = Vec::new();
            queue.spoil();
            let refusal = format!("ERR a transaction exceeds {TRANSACTION_BYTES_MAX} bytes");
            return CommandError::Message(refusal).into();
        }
        queue.denies_oom |= spec.flags.contains(Flags::DENYOOM);
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
        let watched = std::mem::take(&mut self.watched);
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
            match step {
                Step::Groups(command) => {
                    commands.push(command);
                    rest.push(None);
                }
                step @ (Step::Session(_) | Step::Refused(_)) => rest.push(Some(step)),
            }
        }
        let done = if commands.is_empty() && watched.is_empty() {
            Reply::Array(Vec::new())
        } else {
            self.shared.router.transaction(&watched, commands).await
        };
        if let Reply::Array(replies) = done { self.merge(replies, rest) } else { done }
    }

    /// Puts the session's own replies between those of the groups.
    fn merge(&mut self, replies: Vec<Reply>, rest: Vec<Option<Step>>) -> Reply {
        let mut replies = replies.into_iter();
        let merged = rest.into_iter().map(|step| match step {
            None | Some(Step::Groups(_)) => {
                replies.next().expect("a transaction answers each of its commands")
            }
            Some(Step::Session(command)) => self.answer_now(command),
            Some(Step::Refused(error)) => error.into(),
        });
        Reply::Array(merged.collect())
    }

    /// WATCH.
    pub(super) async fn watch(&mut self, keys: &[Key]) -> Reply {
        match self.shared.router.watch(keys).await {
            Ok(watched) => {
                self.watched.extend(watched);
                self.client.watched.store(self.watched.len() as u64, Relaxed);
                Reply::Ok
            }
            Err(error) => error.into(),
        }
    }
}
