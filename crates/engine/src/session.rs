//! Sessions of routers: which numbered batches have been applied, and what came of them.
//!
//! A router that gets no answer sends its batch again, under the same number, to whoever leads the
//! group then; the log may hold both. The first is applied, and its outcomes are kept until the
//! router says that it has them; the second is answered from them. So every replica knows of every
//! number of an open session whether its batch was applied.
//!
//! All of it is bounded: sessions, numbers in a session, bytes of an answer and of all answers.
//! What is bounded away is an answer, never the knowledge that a batch was applied.

use std::collections::BTreeMap;

use bitroster_command::{
    CommandError, Numbered, NumberedOutcome, Op, Outcome, OutcomeBatch, OutcomeWriter, WriteOp,
};
use bitroster_types::{
    SessionId, UnixMillis,
    limits::{
        SESSION_IDLE_MS_MAX, SESSION_REPLY_BYTES_MAX, SESSION_WINDOW_MAX, SESSIONS_MAX,
        SESSIONS_REPLY_BYTES_MAX,
    },
    planted::Fault,
};

use crate::{Engine, size::class};

/// What is to be done about a numbered batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Not applied yet: apply its ops now, then call [`Engine::end_batch`] within the same entry.
    Fresh,
    /// Not to be applied: this is the answer.
    Repeat(NumberedOutcome),
    /// Not to be applied, and not applied earlier: the session has as many unanswered batches as it
    /// may. The same batch may be sent again.
    Refused(CommandError),
}

/// All sessions of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    /// The newest id given.
    pub(crate) newest: SessionId,
    pub(crate) open: BTreeMap<SessionId, Session>,
    /// Bytes of all kept outcomes.
    kept_bytes: u64,
    /// Batches in all windows.
    batches: usize,
    /// No session ends before. Not part of the state: only saves looking at all of them.
    next_end: UnixMillis,
}

/// One session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    /// The router has the answers up to this number.
    pub(crate) answered: u64,
    /// Log time of its last batch.
    pub(crate) used: UnixMillis,
    /// The applied batches above `answered`, and their outcomes if they are kept.
    pub(crate) window: BTreeMap<u64, Option<OutcomeBatch>>,
}

impl Session {
    fn end(&self) -> UnixMillis {
        UnixMillis(self.used.0.saturating_add(SESSION_IDLE_MS_MAX))
    }

    fn kept_bytes(&self) -> u64 {
        self.window.values().map(bytes_of).sum()
    }
}

fn bytes_of(kept: &Option<OutcomeBatch>) -> u64 {
    kept.as_ref().map_or(0, |batch| batch.bytes().len() as u64)
}

impl Sessions {
    fn open(&mut self, time: UnixMillis) -> Result<SessionId, CommandError> {
        if self.open.len() >= SESSIONS_MAX {
            return Err(CommandError::SESSIONS);
        }
        self.newest.0 += 1;
        self.put(self.newest, Session { used: time, ..Session::default() });
        Ok(self.newest)
    }

    /// Puts a session in its place. Whether the place was free.
    pub(crate) fn put(&mut self, id: SessionId, session: Session) -> bool {
        self.kept_bytes += session.kept_bytes();
        self.batches += session.window.len();
        self.next_end = self.next_end.min(session.end());
        self.open.insert(id, session).is_none()
    }

    fn begin(&mut self, id: SessionId, number: u64, answered: u64, time: UnixMillis) -> Batch {
        let Some(session) = self.open.get_mut(&id) else {
            return Batch::Repeat(NumberedOutcome::NoSession);
        };
        session.used = time;
        session.answered = session.answered.max(answered.min(number.saturating_sub(1)));
        while let Some(row) = session.window.first_entry() {
            if *row.key() > session.answered {
                break;
            }
            self.kept_bytes -= bytes_of(&row.remove());
            self.batches -= 1;
        }
        if number <= session.answered {
            return Batch::Repeat(NumberedOutcome::Forgotten);
        }
        match session.window.get(&number) {
            Some(Some(kept)) => Batch::Repeat(NumberedOutcome::Applied(kept.clone())),
            Some(None) => Batch::Repeat(NumberedOutcome::Forgotten),
            None if session.window.len() >= SESSION_WINDOW_MAX => {
                Batch::Refused(CommandError::SESSION_WINDOW)
            }
            None => {
                session.window.insert(number, None);
                self.batches += 1;
                Batch::Fresh
            }
        }
    }

    /// Keeps the outcomes of a batch that has begun, if there is room. Whether it has begun.
    fn end(&mut self, id: SessionId, number: u64, outcomes: OutcomeBatch) -> bool {
        let row = self.open.get_mut(&id).and_then(|session| session.window.get_mut(&number));
        let Some(row @ None) = row else { return false };
        let len = outcomes.bytes().len();
        let sum = self.kept_bytes + len as u64;
        if len <= SESSION_REPLY_BYTES_MAX && sum <= SESSIONS_REPLY_BYTES_MAX {
            *row = Some(outcomes);
            self.kept_bytes = sum;
        }
        true
    }

    pub(crate) fn needs_sweep(&self, time: UnixMillis) -> bool {
        time >= self.next_end
    }

    /// Ends the sessions that nobody used for long. Costs a look at each; called at most once for
    /// each time that one may end.
    pub(crate) fn sweep(&mut self, time: UnixMillis) {
        let Self { open, kept_bytes, batches, .. } = self;
        open.retain(|_, session| {
            let stays = session.end() > time;
            if !stays {
                *kept_bytes -= session.kept_bytes();
                *batches -= session.window.len();
            }
            stays
        });
        self.next_end = open.values().map(Session::end).min().unwrap_or(UnixMillis(u64::MAX));
    }

    /// Heap bytes, about: rows of the maps at their size, outcomes exactly.
    pub(crate) fn bytes(&self) -> u64 {
        let row = class(size_of::<(u64, Option<OutcomeBatch>)>()) as u64;
        let session = class(size_of::<(SessionId, Session)>()) as u64;
        self.kept_bytes + self.batches as u64 * row + self.open.len() as u64 * session
    }
}

impl Engine {
    /// Starts a numbered batch of the entry begun last and says what is to be done about it.
    ///
    /// Whoever applies a batch's ops one by one calls this first, and [`end_batch`] after the last
    /// one, with no other batch in between; [`Engine::apply`] of a [`WriteOp::Numbered`] does all
    /// of it. What is kept of batches up to `answered` is forgotten, and the session counts as
    /// used at log time.
    ///
    /// Costs a few look-ups in ordered maps.
    ///
    /// [`end_batch`]: Self::end_batch
    pub fn begin_batch(&mut self, session: SessionId, number: u64, answered: u64) -> Batch {
        if Fault::ForgetSession.is_planted() {
            return Batch::Fresh;
        }
        let time = self.time;
        self.sessions_mut().begin(session, number, answered, time)
    }

    /// Ends a batch that [`begin_batch`](Self::begin_batch) called fresh: all its ops are applied,
    /// those that read answered too, and `outcomes` are what came of them.
    ///
    /// They are kept if they are not too long, by themselves and together with all others, and a
    /// repeat is answered from them; else a repeat is answered [`NumberedOutcome::Forgotten`].
    /// Every replica must call this with the same outcomes.
    ///
    /// # Panics
    ///
    /// If the batch was not begun, or was ended before.
    pub fn end_batch(&mut self, session: SessionId, number: u64, outcomes: OutcomeBatch) {
        let was_begun = self.sessions_mut().end(session, number, outcomes);
        let is_promised = !Fault::ForgetSession.is_planted();
        assert!(was_begun || !is_promised, "batch {number} of session {session:?} was not begun");
    }

    pub(crate) fn open_session(&mut self) -> Outcome {
        let time = self.time;
        self.sessions_mut().open(time).map_or_else(Outcome::from, Outcome::Session)
    }

    /// A whole numbered batch.
    pub(crate) fn numbered(&mut self, batch: &Numbered) -> Outcome {
        let Ok(ops) = read_ops(batch) else {
            return CommandError::Text("ERR a batch holds what cannot be applied").into();
        };
        match self.begin_batch(batch.session, batch.number, batch.answered) {
            Batch::Fresh => {}
            Batch::Repeat(outcome) => return Outcome::Numbered(outcome),
            Batch::Refused(error) => return error.into(),
        }
        let mut outcomes = OutcomeWriter::new();
        for op in &ops {
            outcomes.push(&match op {
                Op::Read(op) => self.read(op, self.time),
                Op::Write(op) => self.apply(op),
            });
        }
        let outcomes = outcomes.finish();
        self.end_batch(batch.session, batch.number, outcomes.clone());
        Outcome::Numbered(NumberedOutcome::Applied(outcomes))
    }
}

/// The ops of a batch; nothing if one of them cannot be read or must not be in it.
fn read_ops(batch: &Numbered) -> Result<Vec<Op>, ()> {
    let (mut ops, mut reader) = (Vec::new(), batch.ops.clone().into_reader());
    while let Some(op) = reader.next_op().map_err(drop)? {
        if matches!(op, Op::Write(WriteOp::OpenSession | WriteOp::Numbered(_))) {
            return Err(());
        }
        ops.push(op);
    }
    Ok(ops)
}
