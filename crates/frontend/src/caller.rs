//! Conversations of clients that the node serves by ways of its own, such as its console.
//!
//! A [`Caller`] asks one command after the other and is somebody, as a RESP session is: parser,
//! users, limits, metrics and the slow log are the same. It stands in CLIENT LIST as long as it is
//! there.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bitroster_command::{CommandError, Reply};
use bytes::Bytes;

use crate::{
    Frontend, Identity,
    client::Client,
    metrics::{Carrier, Metrics, Refusal},
    server::Shared,
    session::Dialog,
};

const PROTECTED: CommandError = CommandError::Text(
    "DENIED no password is set for the user 'default': only this machine's own clients are served",
);

const TOO_MANY: CommandError = CommandError::Text("BUSY max number of clients reached");

const STOPPING: CommandError = CommandError::Text("LOADING the node stops");

/// Somebody who has said who it is, for callers to come.
///
/// It ends with any change of the user's rules or passwords: who holds it has to say it again.
#[derive(Clone, Debug)]
pub struct Login {
    identity: Identity,
    fingerprint: [u8; 32],
}

impl Login {
    /// The user's name.
    pub fn user(&self) -> &[u8] {
        self.identity.name()
    }

    /// Whether the user is as it was at the login. Costs one hash of its rules.
    pub fn is_current(&self) -> bool {
        !self.identity.is_deleted() && self.identity.fingerprint() == self.fingerprint
    }
}

/// One client's conversation. Ends when dropped.
pub struct Caller {
    dialog: Dialog,
    client: Arc<Client>,
    shared: Arc<Shared>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.shared.clients.remove(&self.client);
    }
}

impl Frontend {
    /// A conversation with a client at `addr`, as the user of a login; without one as `default`
    /// where that needs no password.
    ///
    /// # Errors
    ///
    /// `DENIED` in protected mode, `NOAUTH` where the client has to log in first, and where there
    /// are too many clients.
    pub fn call(
        &self,
        addr: SocketAddr,
        local_addr: SocketAddr,
        login: Option<&Login>,
    ) -> Result<Caller, CommandError> {
        let mut caller = self.open_call(addr, local_addr)?;
        if let Some(login) = login {
            caller.dialog.resume(login.identity.clone());
        }
        caller.dialog.introduce(None)?;
        Ok(caller)
    }

    /// A conversation of the node with itself, as somebody who may do everything.
    ///
    /// # Errors
    ///
    /// Where there are too many clients.
    pub fn call_by_node(&self) -> Result<Caller, CommandError> {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut caller = self.open_call(here, here)?;
        caller.dialog.resume(self.shared.access().of_node());
        Ok(caller)
    }

    /// Makes a login of a name and a password. Takes as long as AUTH does, whatever is wrong.
    ///
    /// # Errors
    ///
    /// `WRONGPASS`, which ACL LOG notes; and as [`call`](Self::call).
    pub fn log_in(
        &self,
        addr: SocketAddr,
        local_addr: SocketAddr,
        (user, password): (&[u8], &[u8]),
    ) -> Result<Login, CommandError> {
        let mut caller = self.open_call(addr, local_addr)?;
        caller.dialog.introduce(Some((user, password)))?;
        let identity = caller.dialog.identity().ok_or(crate::access::NO_AUTH)?;
        Ok(Login { fingerprint: identity.fingerprint(), identity })
    }

    /// Whether anybody is let in as `default`, which is on and has no password.
    pub fn is_open(&self) -> bool {
        !self.access().asks_for_password()
    }

    /// Whether clients at other machines are refused: nobody needs a password, and that is not
    /// wanted.
    pub fn is_protected(&self) -> bool {
        let settings = &self.shared.settings;
        settings.is_protected && !settings.has_password()
    }

    fn open_call(&self, addr: SocketAddr, local_addr: SocketAddr) -> Result<Caller, CommandError> {
        let shared = Arc::clone(&self.shared);
        if shared.is_stopping() {
            return Err(STOPPING);
        }
        if self.is_protected() && !addr.ip().to_canonical().is_loopback() {
            shared.metrics.add_refused(Refusal::Protected);
            return Err(PROTECTED);
        }
        let clients_max = shared.settings.clients_max();
        let client =
            shared.clients.add(Carrier::Http, (addr, local_addr), shared.now_secs(), clients_max);
        let Some(client) = client else {
            shared.metrics.add_refused(Refusal::ClientsMax);
            return Err(TOO_MANY);
        };
        // Not counted as opened: it is one call, and its connection the node's.
        let dialog = Dialog::new(Arc::clone(&shared), Arc::clone(&client));
        Ok(Caller { dialog, client, shared })
    }

    /// What is counted from now on, sample by sample.
    pub fn sampler(&self) -> Sampler {
        Sampler { shared: Arc::clone(&self.shared), before: Counted::of(&self.shared.metrics) }
    }
}

impl Caller {
    /// Runs one command that stands for itself.
    ///
    /// # Cancel safety
    ///
    /// A write may be applied although the future was dropped; the caller must not be used again.
    pub async fn ask(&mut self, args: &[Bytes]) -> Reply {
        let started = Instant::now();
        let reply = self.dialog.ask(args).await;
        let took = started.elapsed();
        if self.shared.slowlog.takes(took) {
            let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
            self.dialog.log_slow(&args, 0, took);
        }
        reply
    }
}

impl Caller {
    /// Runs commands in a pipeline: one reply each, in their order.
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    pub async fn ask_all(&mut self, lines: &[Vec<Bytes>]) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(lines.len());
        for line in lines {
            self.dialog.ask_next(line, &mut replies).await;
        }
        self.dialog.settle(&mut replies).await;
        replies
    }
}

/// Counts of commands between two looks.
pub struct Sampler {
    shared: Arc<Shared>,
    before: Counted,
}

/// What was counted up to one moment.
struct Counted {
    at: Instant,
    errors: u64,
    commands: Vec<Vec<u64>>,
}

/// What was counted between two moments.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The time between them.
    pub span: Duration,
    /// The commands that ran.
    pub commands: Vec<CommandSample>,
    /// Error replies.
    pub errors: u64,
    /// Clients connected at the end.
    pub connections: usize,
}

/// Runs of one command.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandSample {
    /// The command's name in lower case.
    pub name: &'static str,
    /// How many; at least 1.
    pub calls: u64,
    /// The time that 99 of 100 of them took no longer than, in seconds; within a quarter.
    pub p99_seconds: f64,
}

impl Counted {
    fn of(metrics: &Metrics) -> Self {
        Self {
            at: Instant::now(),
            errors: metrics.totals().errors,
            commands: metrics.classes().map(|(_, classes)| classes).collect(),
        }
    }
}

impl Sampler {
    /// What was counted since the last sample.
    pub fn take(&mut self) -> Sample {
        let now = Counted::of(&self.shared.metrics);
        let names = self.shared.metrics.classes().map(|(name, _)| name);
        let pairs = names.zip(now.commands.iter().zip(&self.before.commands));
        let commands = pairs.filter_map(|(name, (now, before))| {
            // A count that is lower was reset.
            let is_reset = now.iter().zip(before).any(|(now, before)| now < before);
            let before = if is_reset { &[][..] } else { &before[..] };
            let before = before.iter().copied().chain(std::iter::repeat(0));
            let runs: Vec<u64> = now.iter().zip(before).map(|(now, before)| now - before).collect();
            let calls = runs.iter().sum();
            let p99_seconds = crate::latency::percentile(&runs, 990);
            (calls > 0).then_some(CommandSample { name, calls, p99_seconds })
        });
        let sample = Sample {
            span: now.at.duration_since(self.before.at),
            commands: commands.collect(),
            errors: now.errors.checked_sub(self.before.errors).unwrap_or(now.errors),
            connections: self.shared.clients.len(),
        };
        self.before = now;
        sample
    }
}
