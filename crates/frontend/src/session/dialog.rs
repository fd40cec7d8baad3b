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
    table::{COMMANDS, CommandSpec, Flags},
};
use bitroster_resp::{Limits, ProtocolError, Version};
use bitroster_router::{Reading, Turn};
use bitroster_types::limits::{TURN_BYTES_MAX, TURN_COMMANDS_MAX};
use bytes::BytesMut;

use super::{
    tally::Tally,
    transaction::{NOT_IN_MULTI, Queue, Watches},
};
use crate::{
    access::{Identity, NO_AUTH, commands::Place, log::Context},
    admin,
    client::Client,
    metrics::Carrier,
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
    place: Place,
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
    /// Who the client is; `None` before it has said so.
    pub(super) identity: Option<Identity>,
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
    pub(super) tally: Tally,
}

/// The flags of a command at one place: BM.QUERY and BM.WINDOW write with STORE, BM.SPACE with
/// DROP.
pub(super) fn flags_at(spec: &CommandSpec, place: Place) -> Flags {
    match place.name().rsplit_once('|') {
        Some((_, "store")) => spec.flags.and(Flags::WRITE).and(Flags::DENYOOM),
        Some((_, "drop")) => spec.flags.and(Flags::WRITE),
        Some(_) | None => spec.flags,
    }
}

/// What a client is told that may not run a command: an EXEC is over whatever is wrong with it.
fn refusal_at(spec: &CommandSpec, error: CommandError) -> CommandError {
    if spec.name != "exec" {
        return error;
    }
    let text = error.to_string();
    let reason = text.strip_prefix("ERR ").unwrap_or(&text);
    CommandError::Message(format!("EXECABORT Transaction discarded because of: {reason}"))
}

impl Dialog {
    pub(crate) fn new(shared: Arc<Shared>, client: Arc<Client>) -> Self {
        let identity = shared.access().default_identity();
        client.identity.lock().clone_from(&identity);
        Self {
            turn: shared.router.turn(),
            identity,
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
        if self.identity.is_some() {
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
        self.shared.metrics.add_received(Carrier::Resp, bytes);
    }

    pub(super) fn note_sent(&self, bytes: usize) {
        if bytes > 0 {
            self.shared.metrics.add_sent(Carrier::Resp, bytes);
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
        self.identity.as_ref().is_some_and(Identity::is_free)
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
        let place = Place::of(spec, args);
        if let Err(error) = self.admit(spec, place, args) {
            return self.refuse_at(spec, error);
        }
        let parsed = spec.parse(args, &self.shared.settings.parse_limits);
        if let Ok(command) = &parsed
            && let Err(error) = self.admit_command(place, command)
        {
            return self.refuse_admission(error);
        }
        match parsed {
            Ok(command) if self.is_held(spec, place) => {
                Some(Pending::Held(Held { spec, place, command, len }))
            }
            Ok(command) => self.dispatch(spec, place, command, len),
            Err(error) if self.queue.is_some() => {
                self.take_in_transaction(spec, place, Err(error), len)
            }
            Err(error) => self.refuse_args(spec, args, error),
        }
    }

    /// Answers a command that may not run now; an EXEC is over.
    fn refuse_at(&mut self, spec: &CommandSpec, error: CommandError) -> Option<Pending> {
        let refused = self.refuse_admission(refusal_at(spec, error));
        if spec.name == "exec" {
            self.end_transaction();
        }
        refused
    }

    /// Takes a command that was held, if it may still run.
    fn take_held(&mut self, held: Held) -> Option<Pending> {
        let Held { spec, place, command, len } = held;
        if let Err(error) = self.admit_now(spec, place) {
            return self.refuse_at(spec, error);
        }
        if let Err(error) = self.admit_command(place, &command) {
            return self.refuse_admission(error);
        }
        self.dispatch(spec, place, command, len)
    }

    /// Whether CLIENT PAUSE holds a command: CLIENT itself never, so that a pause can be ended.
    fn is_held(&self, spec: &CommandSpec, place: Place) -> bool {
        self.shared.pause.is_set()
            && spec.name != "client"
            && (self.queue.is_none() || spec.name == "exec")
            && self.shared.pause.holds(self.may_write(spec, place)).is_some()
    }

    /// Whether a command counts as a write for CLIENT PAUSE.
    fn may_write(&self, spec: &CommandSpec, place: Place) -> bool {
        let in_queue = || self.queue.as_ref().is_some_and(Queue::may_write);
        flags_at(spec, place).contains(Flags::WRITE)
            || matches!(spec.name, "publish" | "spublish")
            || spec.name == "exec" && in_queue()
    }

    /// Takes a command that may run, on the careful way.
    fn dispatch(
        &mut self,
        spec: &'static CommandSpec,
        place: Place,
        command: Command,
        len: usize,
    ) -> Option<Pending> {
        if self.queue.is_some() {
            return self.take_in_transaction(spec, place, Ok(command), len);
        }
        match command {
            Command::Session(command) => self.take_session(command),
            command @ (Command::Read(_) | Command::Write(_) | Command::Composite(_)) => {
                self.note_events(&command);
                self.turn.try_push(command).err().map(Pending::Groups)
            }
        }
    }

    /// Whether `spec` may run at all now. Redis: `processCommand` in `server.c`.
    fn admit(
        &mut self,
        spec: &'static CommandSpec,
        place: Place,
        args: &[&[u8]],
    ) -> Result<(), CommandError> {
        if !spec.takes(args.len()) {
            return spec.parse(args, &self.shared.settings.parse_limits).map(drop);
        }
        self.admit_now(spec, place)
    }

    /// Whether `spec` may run as things are now, with whatever arguments.
    fn admit_now(&mut self, spec: &'static CommandSpec, place: Place) -> Result<(), CommandError> {
        if self.identity.is_none() {
            // The user `default` may have lost its password meanwhile.
            self.become_user(self.shared.access().default_identity());
        }
        match &self.identity {
            None if !spec.flags.contains(Flags::NO_AUTH) => return Err(NO_AUTH),
            Some(identity) if !identity.is_free() => {
                identity.admit_place(place, self.context(), || self.describe())?;
            }
            None | Some(_) => {}
        }
        if flags_at(spec, place).contains(Flags::DENYOOM) && self.shared.is_over_memory() {
            return Err(CommandError::OutOfMemory);
        }
        self.admit_listener(spec)?;
        if !spec.flags.contains(Flags::LOADING) && !self.shared.is_ready() {
            return Err(CommandError::Loading);
        }
        Ok(())
    }

    /// Whether the client may do this to these keys and channels.
    fn admit_command(&self, place: Place, command: &Command) -> Result<(), CommandError> {
        match &self.identity {
            Some(identity) if !identity.is_free() => {
                identity.admit_from(place, command, self.context(), || self.describe())
            }
            None | Some(_) => Ok(()),
        }
    }

    fn refuse_admission(&mut self, error: CommandError) -> Option<Pending> {
        self.tally.reject();
        if let Some(queue) = &mut self.queue {
            queue.spoil();
        }
        self.turn.push_reply(error.into());
        None
    }

    /// Where a command stands, for ACL LOG.
    fn context(&self) -> Context {
        if self.queue.is_some() { Context::Multi } else { Context::TopLevel }
    }

    /// The client's line of CLIENT LIST.
    pub(super) fn describe(&self) -> String {
        let last = usize::from(self.client.last_command.load(Relaxed));
        let command = COMMANDS.get(last).map_or("NULL", |spec| spec.name);
        let mut out = String::new();
        self.client.describe(self.shared.now_secs(), command, &mut out);
        out
    }

    /// Makes the client somebody, or nobody.
    pub(super) fn become_user(&mut self, identity: Option<Identity>) {
        self.client.identity.lock().clone_from(&identity);
        self.identity = identity;
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
            | SessionCommand::Watch { .. }
            | SessionCommand::Info { .. } => true,
            // What the client wrote before must be there when others hear of it.
            SessionCommand::Publish { .. } => self.turn.waiting() > 0,
            SessionCommand::Admin { name, args } => {
                *name == "acl"
                    || admin::client::is_reply_mode(name, args)
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
            | SessionCommand::Wait { .. } => false,
        }
    }

    /// Answers a command that need not wait.
    pub(super) fn answer_now(&mut self, command: SessionCommand) -> Reply {
        match command {
            SessionCommand::Ping { message } => self.pong(message),
            SessionCommand::Echo { message } => Reply::Bulk(message),
            SessionCommand::Auth { user, password } => {
                self.authenticate("AUTH", user.as_deref(), &password).into()
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
            | SessionCommand::Watch { .. } => NOT_IN_MULTI.into(),
        }
    }

    /// Finishes what had to wait, for which everything before is answered if it
    /// [`comes_after_all`](Pending::comes_after_all). Returns how long it took.
    pub(super) async fn complete(&mut self, pending: Pending, out: &mut BytesMut) -> Duration {
        let pending = match pending {
            Pending::Held(held) => {
                let is_write = self.may_write(held.spec, held.place);
                if !self.wait_for_pause(is_write).await {
                    self.is_closing = true;
                    return Duration::ZERO;
                }
                match self.take_held(held) {
                    Some(pending) => pending,
                    None => return Duration::ZERO,
                }
            }
            other @ (Pending::Groups(_) | Pending::Session(_)) => other,
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
            SessionCommand::Info { sections } => {
                admin::info::info_of_cluster(&self.shared, &sections).await
            }
            SessionCommand::Admin { name, args } if admin::client::is_reply_mode(name, &args) => {
                return self.set_mute(&args);
            }
            SessionCommand::Admin { name: "acl", args } => self.acl(&args).await.into(),
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
}
