//! One client's side of the conversation, without its socket.
//!
//! [`Dialog::take`] is the hot path: it answers or queues a request without waiting. What must
//! wait comes back as [`Pending`] and is finished by [`Dialog::complete`].

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bitroster_command::{
    Command, CommandError, Reply, SessionCommand, lookup, parse,
    table::{COMMANDS, CommandSpec, Flags},
};
use bitroster_resp::{Encoder, Limits, ProtocolError, Version};
use bitroster_router::{Reading, Turn};
use bitroster_types::limits::{TURN_BYTES_MAX, TURN_COMMANDS_MAX};
use bytes::BytesMut;

use super::transaction::{Queue, Watches};
use crate::{
    access::{Identity, NO_AUTH, commands::Place, log::Context},
    admin, catalog,
    client::Client,
    encode::encode,
    server::Shared,
};

/// A request that cannot be finished without waiting.
pub(super) enum Pending {
    /// For the groups: [`Turn::run`].
    Groups(Command),
    /// For the session, after what came before it has been answered.
    Session(SessionCommand),
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
    /// The last command's index, and how often it ran since that was last counted.
    run: (u16, u64),
    /// Commands since the last answer.
    turn_commands: usize,
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
            run: (u16::MAX, 0),
            turn_commands: 0,
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
        self.turn_commands += 1;
        let Some(spec) = args.first().and_then(|name| lookup(name)) else {
            return self.refuse_unread(args);
        };
        self.count(spec);
        if !self.is_plain() {
            return self.take_with_care(spec, args, len);
        }
        match spec.parse(args, &self.shared.settings.parse_limits) {
            Ok(Command::Session(command)) => self.take_session(command),
            Ok(command) => self.turn.try_push(command).err().map(Pending::Groups),
            Err(error) => {
                self.turn.push_reply(error.into());
                None
            }
        }
    }

    /// Whether any command may run at once, as nearly always.
    #[inline]
    fn is_plain(&self) -> bool {
        self.identity.as_ref().is_some_and(Identity::is_free)
            && self.queue.is_none()
            && self.shared.is_ready()
            && !self.shared.is_over_memory()
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
            return self.refuse_admission(error);
        }
        let parsed = spec.parse(args, &self.shared.settings.parse_limits);
        if let Ok(command) = &parsed
            && let Err(error) = self.admit_command(place, command)
        {
            return self.refuse_admission(error);
        }
        if self.queue.is_some() {
            return self.take_in_transaction(spec, place, parsed, len);
        }
        match parsed {
            Ok(Command::Session(command)) => self.take_session(command),
            Ok(command) => self.turn.try_push(command).err().map(Pending::Groups),
            Err(error) => {
                self.turn.push_reply(error.into());
                None
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
        if spec.flags.contains(Flags::DENYOOM) && self.shared.is_over_memory() {
            return Err(CommandError::OutOfMemory);
        }
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
        if Self::must_wait(&command) {
            return Some(Pending::Session(command));
        }
        let reply = self.answer_now(command);
        self.turn.push_reply(reply);
        None
    }

    /// Whether what came before must be answered first, or an answer must be waited for.
    fn must_wait(command: &SessionCommand) -> bool {
        match command {
            SessionCommand::Hello { .. }
            | SessionCommand::Auth { .. }
            | SessionCommand::Quit
            | SessionCommand::Reset
            | SessionCommand::Exec
            | SessionCommand::Watch { .. } => true,
            SessionCommand::Admin { name, args } => {
                *name == "acl"
                    || admin::client::is_reply_mode(name, args)
                    || admin::client::is_consistency(name, args)
            }
            SessionCommand::Ping { .. }
            | SessionCommand::Echo { .. }
            | SessionCommand::Select { .. }
            | SessionCommand::Multi
            | SessionCommand::Discard
            | SessionCommand::Unwatch
            | SessionCommand::Time
            | SessionCommand::Wait { .. }
            | SessionCommand::Info { .. }
            | SessionCommand::Subscribe { .. }
            | SessionCommand::Unsubscribe { .. }
            | SessionCommand::Publish { .. } => false,
        }
    }

    /// Answers a command that need not wait.
    pub(super) fn answer_now(&mut self, command: SessionCommand) -> Reply {
        match command {
            SessionCommand::Ping { message: None } => Reply::Status("PONG"),
            SessionCommand::Ping { message: Some(message) } | SessionCommand::Echo { message } => {
                Reply::Bulk(message)
            }
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
            SessionCommand::Subscribe { .. }
            | SessionCommand::Unsubscribe { .. }
            | SessionCommand::Publish { .. } => {
                CommandError::Text("ERR channels are not served here").into()
            }
            SessionCommand::Hello { .. }
            | SessionCommand::Quit
            | SessionCommand::Reset
            | SessionCommand::Exec
            | SessionCommand::Watch { .. } => {
                CommandError::Text("ERR Command not allowed inside a transaction").into()
            }
        }
    }

    /// Finishes what had to wait.
    pub(super) async fn complete(&mut self, pending: Pending, out: &mut BytesMut) {
        match pending {
            Pending::Groups(command) => Box::pin(self.turn.run(command)).await,
            Pending::Session(command) => {
                self.answer(out).await;
                if let Some(reply) = Box::pin(self.answer_later(command)).await {
                    self.turn.push_reply(reply);
                }
            }
        }
    }

    /// Answers a command whose turn has come; `None` where CLIENT REPLY asks for silence.
    pub(super) async fn answer_later(&mut self, command: SessionCommand) -> Option<Reply> {
        let reply = match command {
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
            SessionCommand::Admin { name: "acl", args } => self.acl(&args).await.into(),
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
            | SessionCommand::Subscribe { .. }
            | SessionCommand::Unsubscribe { .. }
            | SessionCommand::Publish { .. }
            | SessionCommand::Admin { .. }) => self.answer_now(other),
        };
        Some(reply)
    }

    /// Waits for every reply of the turn and appends them to `out`.
    pub(super) async fn answer(&mut self, out: &mut BytesMut) {
        if self.turn.is_empty() {
            return;
        }
        self.turn.flush().await;
        let shared = &self.shared;
        if self.mute == Mute::Nothing {
            let mut encoder = Encoder::new(out, self.protocol);
            self.turn.drain(|reply| {
                if let Reply::Error(error) = &reply {
                    shared.metrics.add_error(error);
                }
                encode(&reply, &mut encoder);
            });
        } else {
            self.turn.drain(drop);
            if self.mute == Mute::Next {
                self.mute = Mute::Nothing;
            }
        }
        self.count_turn();
    }

    /// Counts a run of `spec`. Runs of one command are added up, so that a pipeline costs one
    /// shared counter a turn.
    #[inline]
    fn count(&mut self, spec: &'static CommandSpec) {
        let index = catalog::index(spec);
        if index == self.run.0 {
            self.run.1 += 1;
        } else {
            self.shared.metrics.add_commands(self.run.0, self.run.1);
            self.run = (index, 1);
            self.client.last_command.store(index, Relaxed);
        }
    }

    pub(super) fn count_turn(&mut self) {
        self.shared.metrics.add_commands(self.run.0, self.run.1);
        self.shared.metrics.add_turn(self.turn_commands);
        self.run.1 = 0;
        self.turn_commands = 0;
    }
}
