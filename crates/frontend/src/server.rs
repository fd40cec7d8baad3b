//! The listener, admission, the clock and the end.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use bitroster_router::Router;
use bitroster_telemetry::metric::Page;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};
use tracing::{debug, info, warn};

use crate::{
    Access, Handshake, NodeStatus, Options, Spawn, Users,
    admin::pause::Pause,
    client::{Client, Clients},
    latency::Monitor,
    metrics::{Carrier, Metrics, Refusal, Totals},
    options::Settings,
    pubsub::{PubSub, Relay},
    session::Session,
    slowlog::SlowLog,
    tls::HANDSHAKE_MAX,
};

/// Time between two attempts to accept while the system has no more file handles.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How often the front end's clock moves and idle clients are looked for.
const CLOCK_TICK: Duration = Duration::from_secs(1);

/// What was done in one second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) commands: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

impl Rates {
    fn of(totals: &Totals) -> Self {
        let Totals { commands, received_bytes, sent_bytes, .. } = *totals;
        Self { commands, received_bytes, sent_bytes }
    }

    fn since(self, before: Self) -> Self {
        Self {
            commands: self.commands.saturating_sub(before.commands),
            received_bytes: self.received_bytes.saturating_sub(before.received_bytes),
            sent_bytes: self.sent_bytes.saturating_sub(before.sent_bytes),
        }
    }
}

/// What a client is told that is one too many.
const CLIENTS_MAX: &str = "-ERR max number of clients reached\r\n";

/// What a client from elsewhere is told in protected mode: Redis's text, with our own ways out.
const PROTECTED: &str = "-DENIED Redis is running in protected mode because protected mode is \
    enabled and no password is set for the default user. In this mode connections are only \
    accepted from the loopback interface. If you want to connect from external computers to \
    Bitroster you may adopt one of the following solutions: 1) Set up an authentication password \
    for the default user: server.requirepass in the configuration, or 'ACL SETUSER default \
    >password' from the loopback interface. 2) Turn the default user off and use others: 'ACL \
    SETUSER default off resetpass'. 3) Start the server with --insecure, however MAKE SURE it is \
    not publicly accessible from internet if you do so. NOTE: You only need to do one of the above \
    things in order for the server to start accepting connections from the outside.\r\n";

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) router: Router,
    pub(crate) status: Arc<dyn NodeStatus>,
    pub(crate) settings: Settings,
    pub(crate) clients: Clients,
    pub(crate) metrics: Metrics,
    pub(crate) slowlog: SlowLog,
    pub(crate) latency: Monitor,
    pub(crate) pubsub: PubSub,
    pub(crate) pause: Pause,
    /// Whether clients of this machine may use DEBUG.
    pub(crate) debug_is_local: AtomicBool,
    spawn: Arc<dyn Spawn>,
    started: Instant,
    /// Seconds since the start; moved by [`Frontend::run_clock`], read by everybody.
    now_secs: AtomicU64,
    rates: Mutex<Rates>,
    is_ready: AtomicBool,
    is_over_memory: Arc<AtomicBool>,
    is_stopping: AtomicBool,
    stop: Notify,
}

impl Shared {
    /// Who may do what.
    pub(crate) fn access(&self) -> &Access {
        &self.settings.access
    }

    /// Takes the cluster's users, and ends the clients of those that are deleted, or may not listen
    /// any more to what they listen to.
    pub(crate) fn follow_users(&self, revision: u64, users: &Users) {
        if self.access().follow(revision, users) {
            self.clients.end_deleted();
        }
        self.clients.end_forbidden_listeners();
    }

    pub(crate) fn now_secs(&self) -> u64 {
        self.now_secs.load(Relaxed)
    }

    /// Time since the front end was made.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// What was done a second over the last tick of the clock.
    pub(crate) fn rates(&self) -> Rates {
        *self.rates.lock()
    }

    /// Whether the groups have recovered and are known, so that keys can be asked for.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Relaxed) && self.router.has_map()
    }

    /// Whether the front end ends.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }

    /// Waits until the front end ends.
    pub(crate) async fn stopped(&self) {
        let stopped = self.stop.notified();
        if !self.is_stopping() {
            stopped.await;
        }
    }

    /// Whether writes that take memory are refused.
    #[inline]
    pub(crate) fn is_over_memory(&self) -> bool {
        self.is_over_memory.load(Relaxed)
    }
}

/// The clients' side of a node. A clone is cheap and shares all.
#[derive(Clone)]
pub struct Frontend {
    pub(crate) shared: Arc<Shared>,
}

impl Frontend {
    /// A front end that listens nowhere yet and answers `LOADING` until
    /// [`set_ready`](Self::set_ready), and as long as the router has no map.
    ///
    /// While `is_over_memory` holds, commands that may take memory are refused.
    pub fn new(
        router: Router,
        status: Arc<dyn NodeStatus>,
        spawn: Arc<dyn Spawn>,
        is_over_memory: Arc<AtomicBool>,
        options: Options,
    ) -> Self {
        let shared = Shared {
            router,
            status,
            settings: Settings::new(options),
            clients: Clients::default(),
            metrics: Metrics::new(),
            slowlog: SlowLog::default(),
            latency: Monitor::default(),
            pubsub: PubSub::default(),
            pause: Pause::default(),
            debug_is_local: AtomicBool::new(false),
            spawn,
            started: Instant::now(),
            now_secs: AtomicU64::new(0),
            rates: Mutex::default(),
            is_ready: AtomicBool::new(false),
            is_over_memory,
            is_stopping: AtomicBool::new(false),
            stop: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Lets commands through: the groups have recovered.
    pub fn set_ready(&self) {
        self.shared.is_ready.store(true, Relaxed);
    }

    /// Who may do what, for another front end.
    pub fn access(&self) -> Access {
        self.shared.access().clone()
    }

    /// Takes the cluster's users as of a revision, unless newer ones are known; ends the clients of
    /// those that are deleted, and those that listen to what their users may not hear any more.
    pub fn follow_users(&self, revision: u64, users: &Users) {
        self.shared.follow_users(revision, users);
    }

    /// Accepts clients until [`shutdown`](Self::shutdown); each gets a task of its own.
    pub async fn serve(&self, listener: TcpListener) {
        self.accept(listener, None).await;
    }

    /// As [`serve`](Self::serve), for clients that speak TLS.
    pub async fn serve_tls(&self, listener: TcpListener, handshake: Arc<dyn Handshake>) {
        self.accept(listener, Some(handshake)).await;
    }

    async fn accept(&self, listener: TcpListener, handshake: Option<Arc<dyn Handshake>>) {
        loop {
            let stopped = self.shared.stop.notified();
            if self.shared.is_stopping.load(Relaxed) {
                return;
            }
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped => return,
            };
            match accepted {
                Ok((stream, addr)) => self.admit(stream, addr, handshake.clone()),
                Err(error) => {
                    warn!(%error, "cannot accept a client");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, addr: SocketAddr, handshake: Option<Arc<dyn Handshake>>) {
        // Replies are one write a turn; waiting for more of them would only delay the client.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a client left before it was served");
            return;
        }
        let local_addr = stream.local_addr().unwrap_or(addr);
        let frontend = self.clone();
        let session: BoxFuture<'static, ()> = match handshake {
            None => Box::pin(async move { frontend.converse(stream, addr, local_addr).await }),
            Some(handshake) => Box::pin(async move {
                frontend.converse_tls(stream, addr, local_addr, &*handshake).await;
            }),
        };
        self.shared.spawn.spawn("session", session);
    }

    /// Serves one client until either side ends the conversation. The listener does so for every
    /// client it accepts; `stream` may be any pair of byte streams.
    pub async fn converse<S>(&self, mut stream: S, addr: SocketAddr, local_addr: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        match self.register(Carrier::Resp, addr, local_addr) {
            Ok(client) => self.run(client, stream).await,
            Err(refusal) => refuse(&mut stream, refusal).await,
        }
    }

    /// As [`converse`](Self::converse), after a handshake. A client that is not let in gets no
    /// handshake, unless there is room for telling it why.
    async fn converse_tls(
        &self,
        stream: TcpStream,
        addr: SocketAddr,
        local_addr: SocketAddr,
        handshake: &dyn Handshake,
    ) {
        let registered = self.register(Carrier::Resp, addr, local_addr);
        if matches!(registered, Err(CLIENTS_MAX)) {
            return;
        }
        let client = registered.as_ref().ok();
        let ended = poll_fn(|cx| match client {
            Some(client) if client.poll_ending(cx.waker()) => Poll::Ready(()),
            _ => Poll::Pending,
        });
        let stream = tokio::select! {
            shaken = timeout(HANDSHAKE_MAX, handshake.shake(stream, addr)) => {
                shaken.unwrap_or_else(|_| {
                    handshake.note_timeout(addr);
                    None
                })
            }
            () = ended => None,
        };
        match (registered, stream) {
            (Ok(client), Some(stream)) => self.run(client, stream).await,
            (Ok(client), None) => {
                self.shared.metrics.add_refused(Refusal::Tls);
                self.shared.clients.remove(&client);
            }
            (Err(refusal), Some(mut stream)) => refuse(&mut stream, refusal).await,
            (Err(_), None) => {}
        }
    }

    /// Counts a client in.
    ///
    /// # Errors
    ///
    /// What it is to be told where it may not stay.
    pub(crate) fn register(
        &self,
        carrier: Carrier,
        addr: SocketAddr,
        local_addr: SocketAddr,
    ) -> Result<Arc<Client>, &'static str> {
        let shared = &self.shared;
        let is_local = addr.ip().to_canonical().is_loopback();
        if !is_local && shared.settings.is_protected && !shared.settings.has_password() {
            shared.metrics.add_refused(Refusal::Protected);
            return Err(PROTECTED);
        }
        let clients_max = shared.settings.clients_max();
        let now_secs = shared.now_secs();
        let added = shared.clients.add(carrier, (addr, local_addr), now_secs, clients_max);
        let Some(client) = added else {
            shared.metrics.add_refused(Refusal::ClientsMax);
            return Err(CLIENTS_MAX);
        };
        shared.metrics.add_accepted(carrier);
        if shared.is_stopping.load(Relaxed) {
            client.end();
        }
        Ok(client)
    }

    async fn run<S>(&self, client: Arc<Client>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let session = Session::new(Arc::clone(&self.shared), Arc::clone(&client), stream);
        let ended = session.run().await;
        self.shared.pubsub.leave(&client);
        self.shared.clients.remove(&client);
        match ended {
            Ok(()) => {}
            Err(error) if is_usual(&error) => debug!(client = client.id, %error, "client lost"),
            Err(error) => info!(client = client.id, %error, "client dropped"),
        }
    }

    /// Moves the clock and drops idle clients, for ever: a task of the node's.
    pub async fn run_clock(&self) {
        let mut ticks = tokio::time::interval(CLOCK_TICK);
        let mut before = Rates::default();
        loop {
            ticks.tick().await;
            let done = Rates::of(&self.shared.metrics.totals());
            *self.shared.rates.lock() = done.since(before);
            before = done;
            let now_secs = self.shared.uptime().as_secs();
            self.shared.now_secs.store(now_secs, Relaxed);
            self.shared.clients.end_idle(now_secs, self.shared.settings.timeout_secs());
        }
    }

    /// Names the way of messages to the other nodes; later calls change nothing.
    pub fn set_relay(&self, relay: Arc<dyn Relay>) {
        self.shared.pubsub.set_relay(relay);
    }

    /// Hands a message that was published at another node to the clients of this one that listen
    /// to `channel`; how many there are. Costs one copy of the message a protocol.
    pub fn deliver(&self, channel: &Bytes, message: &Bytes, sharded: bool) -> usize {
        self.shared.pubsub.deliver(channel, message, sharded, self.shared.now_secs())
    }

    /// Shows what was counted here and by the router.
    pub fn publish(&self, page: &mut Page) {
        self.shared.metrics.publish(&self.shared.clients, page);
        self.shared.router.publish(page);
    }

    /// Clients connected now.
    pub fn connections(&self) -> usize {
        self.shared.clients.len()
    }

    /// Stops accepting, lets every client have the replies to what it has sent, and waits for
    /// their sessions to end, `grace` at most. Returns how many were still there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.shared.is_stopping.store(true, Relaxed);
        self.shared.stop.notify_waiters();
        self.shared.clients.end_all();
        match tokio::time::timeout(grace, self.shared.clients.empty()).await {
            Ok(()) => 0,
            Err(_elapsed) => self.shared.clients.len(),
        }
    }
}

/// Tells a client why it may not stay.
async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, refusal: &str) {
    if let Err(error) = stream.write_all(refusal.as_bytes()).await {
        debug!(%error, "a refused client did not wait for the refusal");
    } else if let Err(error) = stream.shutdown().await {
        debug!(%error, "a refused client did not wait for the end");
    }
}

/// Whether a client that leaves without a word shows itself in this way.
fn is_usual(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotConnected
    )
}
