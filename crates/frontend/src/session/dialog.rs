//! One client's side of the conversation, without its socket.
//!
//! [`Dialog::take`] is the hot path: it answers or queues a request without waiting. What must
//! wait comes back as [`Pending`] and is finished by [`Dialog::complete`].

use std::{
    future::{Future as _, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::{Duration, Instant},
};

use bitroster_command::{
    Command, CommandError, Reply, SessionCommand, lookup, parse,
    table::{CommandSpec, Flags},
};
use bitroster_resp::{Encoder, Limits, ProtocolError, Version};
use bitroster_router::{Reading, Turn};
use bitroster_types::limits::{TURN_BYTES_MAX, TURN_COMMANDS_MAX};
use bytes::BytesMut;

use super::{
    listen::tell,
    tally::{Tally, Turned},
    transaction::{Queue, Watches},
};
use crate::{
    admin, catalog,
    client::Client,
    encode::encode,
    pubsub::{Kind, event::Events},
    server::Shared,
};

/// A request that cannot be finished without waiting.
pub(super) enum Pending {
    /// For the groups: [`Turn::run`].
    Groups(Command),
    /// For the session, after what came before it has been answered.
    Session(SessionCommand),
    /// Held by CLIENT PAUSE, after what came before it has been answered.
    Held(Held),
}

/// A request that CLIENT PAUSE holds.
pub(super) struct Held {
    spec: &'static CommandSpec,
    command: Command,
    /// Bytes of the request.
    len: usize,
}

impl Pending {
    /// Whether the turn is to be answered before.
    pub(super) fn comes_after_all(&self) -> bool {
        matches!(self, Self::Session(_) | Self::Held(_))
    }

    /// Whether it may take long by somebody's will, so that replies must not wait with it.
    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }
}

/// Which replies CLIENT REPLY holds back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mute {
    /// None.
    #[default]
    Nothing,
    /// That of the next command.
    Next,
    /// All.
    All,
}

/// One client's state.
pub(crate) struct Dialog {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Arc<Client>,
    pub(super) turn: Turn,
    pub(super) protocol: Version,
    pub(super) is_authenticated: bool,
    pub(super) is_closing: bool,
    pub(super) mute: Mute,
    pub(super) reading: Reading,
    pub(super) queue: Option<Queue>,
    pub(super) watched: Watches,
    /// Whether the client listens to a channel.
    pub(super) is_listening: bool,
    /// What the turn's replies may tell those who listen to keys, by place.
    pub(super) events: Vec<(usize, Events)>,
    /// What the turn's commands cost.
    tally: Tally,
}

impl Dialog {
    pub(super) fn new(shared: Arc<Shared>, client: Arc<Client>) -> Self {
        Self {
            turn: shared.router.turn(),
            is_authenticated: !shared.settings.has_password(),
            shared,
            client,
            protocol: Version::Resp2,
            is_closing: false,
            mute: Mute::Nothing,
            reading: Reading::default(),
            queue: None,
            watched: Watches::default(),
            is_listening: false,
            events: Vec::new(),
            tally: Tally::default(),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.client.addr
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// What the client may send at present.
    pub(super) fn limits(&self) -> Limits {
        if self.is_authenticated {
            Limits::authenticated(self.shared.settings.parse_limits.bulk_bytes_max)
        } else {
            Limits::unauthenticated()
        }
    }

    /// Whether the turn should be answered before more is taken.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.turn.len() >= TURN_COMMANDS_MAX
            || self.turn.queued_bytes() >= TURN_BYTES_MAX
            || self.mute == Mute::Next
    }

    pub(super) fn note_received(&self, bytes: usize) {
        self.client.active_secs.store(self.shared.now_secs(), Relaxed);
        self.shared.metrics.add_received(bytes);
    }

    pub(super) fn note_sent(&self, bytes: usize) {
        if bytes > 0 {
            self.shared.metrics.add_sent(bytes);
        }
    }

    /// Answers a breach of the protocol; the conversation is over.
    pub(super) fn refuse(&mut self, error: ProtocolError) {
        self.shared.metrics.add_protocol_error();
        if !error.is_silent() {
            self.turn.push_reply(CommandError::Message(format!("ERR {error}")).into());
        }
        self.is_closing = true;
    }

    /// Takes one request of `len` bytes: answers it, queues it, or gives back what must wait.
    pub(super) fn take(&mut self, args: &[&[u8]], len: usize) -> Option<Pending> {
        let Some(spec) = args.first().and_then(|name| lookup(name)) else {
            self.tally.take(None);
            return self.refuse_unread(args);
        };
        self.count(spec);
        if !self.is_plain() {
            return self.take_with_care(spec, args, len);
        }
        match spec.parse(args, &self.shared.settings.parse_limits) {
            Ok(Command::Session(command)) => self.take_session(command),
            Ok(command) => self.turn.try_push(command).err().map(Pending::Groups),
            Err(error) => self.refuse_args(spec, args, error),
        }
    }

    /// Answers a request whose arguments are wrong.
    #[cold]
    fn refuse_args(
        &mut self,
        spec: &CommandSpec,
        args: &[&[u8]],
        error: CommandError,
    ) -> Option<Pending> {
        if !spec.takes(args.len()) {
            self.tally.reject();
        }
        self.turn.push_reply(error.into());
        None
    }

    /// Whether any command may run at once, as nearly always.
    #[inline]
    fn is_plain(&self) -> bool {
        self.is_authenticated
            && self.queue.is_none()
            && self.shared.is_ready()
            && !self.shared.is_over_memory()
            && !self.is_listening
            && !self.shared.pause.is_set()
            && !self.shared.pubsub.classes.is_any()
    }

    /// Checks what [`is_plain`](Self::is_plain) rules out, in Redis's order.
    #[cold]
    fn take_with_care(
        &mut self,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        len: usize,
    ) -> Option<Pending> {
        if let Err(error) = self.admit(spec, args) {
            if let Some(queue) = &mut self.queue {
                queue.spoil();
            }
            self.tally.reject();
            self.turn.push_reply(error.into());
            return None;
        }
        match spec.parse(args, &self.shared.settings.parse_limits) {
            Ok(command) if self.is_held(spec) => Some(Pending::Held(Held { spec, command, len })),
            Ok(command) => self.dispatch(spec, command, len),
            Err(error) if self.queue.is_some() => self.take_in_transaction(spec, Err(error), len),
            Err(error) => self.refuse_args(spec, args, error),
        }
    }

    /// Whether CLIENT PAUSE holds a command: CLIENT itself never, so that a pause can be ended.
    fn is_held(&self, spec: &CommandSpec) -> bool {
        self.shared.pause.is_set()
            && spec.name != "client"
            && (self.queue.is_none() || spec.name == "exec")
            && self.shared.pause.holds(self.may_write(spec)).is_some()
    }

    /// Whether a command counts as a write for CLIENT PAUSE.
    fn may_write(&self, spec: &CommandSpec) -> bool {
        let in_queue = || self.queue.as_ref().is_some_and(Queue::may_write);
        spec.flags.contains(Flags::WRITE)
            || matches!(spec.name, "publish" | "spublish")
            || spec.name == "exec" && in_queue()
    }

    /// Takes a command that may run, on the careful way.
    fn dispatch(
        &mut self,
        spec: &'static CommandSpec,
        command: Command,
        len: usize,
    ) -> Option<Pending> {
        if self.queue.is_some() {
            return self.take_in_transaction(spec, Ok(command), len);
        }
        match command {
            Command::Session(command) => self.take_session(command),
            command => {
                self.note_events(&command);
                self.turn.try_push(command).err().map(Pending::Groups)
            }
        }
    }

    /// Whether `spec` may run at all now. Redis: `processCommand` in `server.c`.
    fn admit(&self, spec: &'static CommandSpec, args: &[&[u8]]) -> Result<(), CommandError> {
        if !spec.takes(args.len()) {
            return spec.parse(args, &self.shared.settings.parse_limits).map(drop);
        }
        if !self.is_authenticated && !spec.flags.contains(Flags::NO_AUTH) {
            return Err(CommandError::Text("NOAUTH Authentication required."));
        }
        if spec.flags.contains(Flags::DENYOOM) && self.shared.is_over_memory() {
            return Err(CommandError::OutOfMemory);
        }
        self.admit_listener(spec)?;
        if !spec.flags.contains(Flags::LOADING) && !self.shared.is_ready() {
            return Err(CommandError::Loading);
        }
        Ok(())
    }

    /// Refuses what is in no row of the table.
    #[cold]
    fn refuse_unread(&mut self, args: &[&[u8]]) -> Option<Pending> {
        if let Some(queue) = &mut self.queue {
            queue.spoil();
        }
        let refusal = match parse(args, &self.shared.settings.parse_limits) {
            Err(error) => error,
            Ok(_) => CommandError::Text("ERR unknown command"),
        };
        self.turn.push_reply(refusal.into());
        None
    }

    /// Answers a command of the session's own, unless it has to wait.
    fn take_session(&mut self, command: SessionCommand) -> Option<Pending> {
        if self.must_wait(&command) {
            return Some(Pending::Session(command));
        }
        let reply = self.answer_now(command);
        self.turn.push_reply(reply);
        None
    }

    /// Whether what came before must be answered first, or an answer must be waited for.
    fn must_wait(&self, command: &SessionCommand) -> bool {
        match command {
            SessionCommand::Hello { .. }
            | SessionCommand::Auth { .. }
            | SessionCommand::Quit
            | SessionCommand::Reset
            | SessionCommand::Exec
            | SessionCommand::Subscribe { .. }
            | SessionCommand::Unsubscribe { .. }
            | SessionCommand::Watch { .. } => true,
            // What the client wrote before must be there when others hear of it.
            SessionCommand::Publish { .. } => self.turn.waiting() > 0,
            SessionCommand::Admin { name, args } => {
                admin::client::is_reply_mode(name, args)
                    || admin::client::is_consistency(name, args)
                    || admin::later::is_slow(name, args)
            }
            SessionCommand::Ping { .. }
            | SessionCommand::Echo { .. }
            | SessionCommand::Select { .. }
            | SessionCommand::Multi
            | SessionCommand::Discard
            | SessionCommand::Unwatch
            | SessionCommand::Time
            | SessionCommand::Wait { .. }
            | SessionCommand::Info { .. } => false,
        }
    }

    /// Answers a command that need not wait.
    pub(super) fn answer_now(&mut self, command: SessionCommand) -> Reply {
        match command {
            SessionCommand::Ping { message } => self.pong(message),
            SessionCommand::Echo { message } => Reply::Bulk(message),
            SessionCommand::Auth { user, password } => {
                self.authenticate(user.as_deref(), &password).into()
            }
            SessionCommand::Select { index: 0 } => Reply::Ok,
            SessionCommand::Select { .. } => {
                CommandError::Text("ERR DB index is out of range").into()
            }
            SessionCommand::Multi => self.begin(),
            SessionCommand::Discard => self.discard(),
            SessionCommand::Unwatch => {
                self.unwatch();
                Reply::Ok
            }
            SessionCommand::Time => admin::time(),
            SessionCommand::Wait { .. } => admin::replication::wait(&self.shared),
            SessionCommand::Info { sections } => admin::info::info(&self.shared, &sections),
            SessionCommand::Admin { name, args } if admin::client::is_consistency(name, &args) => {
                self.consistency(&args[1..]).into()
            }
            SessionCommand::Admin { name, args } => {
                admin::run(&self.shared, &self.client, name, &args)
            }
            SessionCommand::Publish { channel, message, sharded } => {
                self.publish(&channel, &message, sharded)
            }
            SessionCommand::Hello { .. }
            | SessionCommand::Quit
            | SessionCommand::Reset
            | SessionCommand::Exec
            | SessionCommand::Subscribe { .. }
            | SessionCommand::Unsubscribe { .. }
            | SessionCommand::Watch { .. } => {
                CommandError::Text("ERR Command not allowed inside a transaction").into()
            }
        }
    }

    /// Finishes what had to wait, for which everything before is answered if it
    /// [`comes_after_all`](Pending::comes_after_all). Returns how long it took.
    pub(super) async fn complete(&mut self, pending: Pending, out: &mut BytesMut) -> Duration {
        let pending = match pending {
            Pending::Held(held) => {
                let is_write = self.may_write(held.spec);
                if !self.wait_for_pause(is_write).await {
                    self.is_closing = true;
                    return Duration::ZERO;
                }
                match self.dispatch(held.spec, held.command, held.len) {
                    Some(pending) => pending,
                    None => return Duration::ZERO,
                }
            }
            other => other,
        };
        match pending {
            Pending::Groups(command) => {
                self.turn.flush().await;
                let started = Instant::now();
                Box::pin(self.turn.run(command)).await;
                let took = started.elapsed();
                self.tally.set_alone(self.turn.len() - 1, took);
                took
            }
            Pending::Session(command) => {
                let started = Instant::now();
                let reply = Box::pin(self.answer_later(command, out)).await;
                let took = started.elapsed();
                if let Some(reply) = reply {
                    self.tally.set_alone(self.turn.len(), took);
                    self.turn.push_reply(reply);
                } else {
                    self.tally.finish_last(&self.shared.metrics, took);
                }
                took
            }
            Pending::Held(_) => Duration::ZERO,
        }
    }

    /// Answers a command whose turn has come; `None` where CLIENT REPLY asks for silence or the
    /// answer is in `out` already.
    async fn answer_later(&mut self, command: SessionCommand, out: &mut BytesMut) -> Option<Reply> {
        let reply = match command {
            SessionCommand::Subscribe { channels, patterned, sharded } => {
                self.subscribe(Kind::new(patterned, sharded), &channels, out);
                return None;
            }
            SessionCommand::Unsubscribe { channels, patterned, sharded } => {
                self.unsubscribe(Kind::new(patterned, sharded), &channels, out);
                return None;
            }
            SessionCommand::Hello { version, auth, name } => self.hello(version, auth, name).into(),
            SessionCommand::Quit => {
                self.is_closing = true;
                Reply::Ok
            }
            SessionCommand::Reset => self.reset(),
            SessionCommand::Exec => self.exec().await,
            SessionCommand::Watch { keys } => self.watch(&keys).await,
            SessionCommand::Admin { name, args } if admin::client::is_reply_mode(name, &args) => {
                return self.set_mute(&args);
            }
            SessionCommand::Admin { name, args } if admin::later::is_slow(name, &args) => {
                admin::later::run(&self.shared, &self.client, name, &args).await
            }
            other @ (SessionCommand::Ping { .. }
            | SessionCommand::Echo { .. }
            | SessionCommand::Auth { .. }
            | SessionCommand::Select { .. }
            | SessionCommand::Multi
            | SessionCommand::Discard
            | SessionCommand::Unwatch
            | SessionCommand::Time
            | SessionCommand::Wait { .. }
            | SessionCommand::Info { .. }
            | SessionCommand::Publish { .. }
            | SessionCommand::Admin { .. }) => self.answer_now(other),
        };
        Some(reply)
    }

    /// Waits for the end of a pause; false where the client is asked to go before.
    async fn wait_for_pause(&self, is_write: bool) -> bool {
        let mut wait = pin!(self.shared.pause.wait(is_write));
        poll_fn(|cx| {
            if self.client.poll_ending(cx.waker()) {
                return Poll::Ready(false);
            }
            wait.as_mut().poll(cx).map(|()| true)
        })
        .await
    }

    /// Waits for every reply of the turn and appends them to `out`. Returns what the turn took
    /// where it was slow.
    pub(super) async fn answer(&mut self, out: &mut BytesMut) -> Option<Turned> {
        if self.turn.is_empty() {
            return None;
        }
        self.turn.flush().await;
        let Self { turn, tally, events, shared, .. } = self;
        let is_muted = self.mute != Mute::Nothing;
        let mut events = events.drain(..).peekable();
        let mut encoder = Encoder::new(out, self.protocol);
        let mut place = 0;
        turn.drain(|reply| {
            if let Reply::Error(error) = &reply {
                shared.metrics.add_error(error);
                tally.fail(&shared.metrics, place);
            }
            if let Some((_, events)) = events.next_if(|(at, _)| *at == place) {
                tell(shared, &events, &reply);
            }
            if !is_muted {
                encode(&reply, &mut encoder);
            }
            place += 1;
        });
        drop(events);
        if self.mute == Mute::Next {
            self.mute = Mute::Nothing;
        }
        let turned = self.tally.settle(&self.shared.metrics, place);
        (turned.requests > 0 && self.is_slow(turned.took)).then_some(turned)
    }

    /// Whether the slow log is to know of something that took so long; the latency monitor is told
    /// here.
    pub(super) fn is_slow(&self, took: Duration) -> bool {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if self.shared.latency.takes(millis) {
            self.shared.latency.note("command", admin::unix_time().as_secs(), millis);
        }
        self.shared.slowlog.takes(took)
    }

    /// Writes a slow request into the slow log; `more` requests were answered with it.
    #[cold]
    pub(super) fn log_slow(&self, args: &[&[u8]], more: usize, took: Duration) {
        let is_kept = args
            .first()
            .and_then(|name| lookup(name))
            .is_none_or(|spec| !spec.flags.contains(Flags::SKIP_SLOWLOG) || spec.name == "exec");
        if is_kept {
            let who = (self.client.addr.to_string(), self.client.names.lock().name.clone());
            self.shared.slowlog.add(args, more, took, admin::unix_time(), who);
        }
    }

    /// Counts a request for `spec`.
    #[inline]
    fn count(&mut self, spec: &'static CommandSpec) {
        let index = catalog::index(spec);
        if self.tally.take(Some(index)) {
            self.client.last_command.store(index, Relaxed);
        }
    }
}
