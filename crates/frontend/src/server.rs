//! The listener, admission, the clock and the end.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bitroster_router::Router;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tracing::{debug, info, warn};

use crate::{
    NodeStatus, Options, Spawn,
    admin::pause::Pause,
    client::Clients,
    latency::Monitor,
    metrics::{Metrics, Publisher, Totals},
    options::Settings,
    pubsub::{PubSub, Relay},
    session::Session,
    slowlog::SlowLog,
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
    publisher: Publisher,
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

    /// Whether writes that take memory are refused.
    #[inline]
    pub(crate) fn is_over_memory(&self) -> bool {
        self.is_over_memory.load(Relaxed)
    }
}

/// The clients' side of a node. A clone is cheap and shares all.
#[derive(Clone)]
pub struct Frontend {
    shared: Arc<Shared>,
}

impl Frontend {
    /// A front end that listens nowhere yet and answers `LOADING` until
    /// [`set_ready`](Self::set_ready), and as long as the router has no map.
    ///
    /// While `is_over_memory` holds, commands that may take memory are refused. The metric
    /// recorder must be installed before.
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
            publisher: Publisher::new(),
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

    /// Accepts clients until [`shutdown`](Self::shutdown); each gets a task of its own.
    pub async fn serve(&self, listener: TcpListener) {
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
                Ok((stream, addr)) => self.admit(stream, addr),
                Err(error) => {
                    warn!(%error, "cannot accept a client");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, addr: SocketAddr) {
        // Replies are one write a turn; waiting for more of them would only delay the client.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a client left before it was served");
            return;
        }
        let local_addr = stream.local_addr().unwrap_or(addr);
        let frontend = self.clone();
        let session = async move { frontend.converse(stream, addr, local_addr).await };
        self.shared.spawn.spawn("session", Box::pin(session));
    }

    /// Serves one client until either side ends the conversation. The listener does so for every
    /// client it accepts; `stream` may be any pair of byte streams.
    pub async fn converse<S>(&self, mut stream: S, addr: SocketAddr, local_addr: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let shared = &self.shared;
        let clients_max = shared.settings.clients_max();
        let added = shared.clients.add(addr, local_addr, shared.now_secs(), clients_max);
        let Some(client) = added else {
            shared.metrics.add_refused();
            let refusal = b"-ERR max number of clients reached\r\n";
            if let Err(error) = stream.write_all(refusal).await {
                debug!(%error, "a refused client did not wait for the refusal");
            }
            return;
        };
        shared.metrics.add_accepted();
        if shared.is_stopping.load(Relaxed) {
            client.end();
        }
        let session = Session::new(Arc::clone(shared), Arc::clone(&client), stream);
        let ended = session.run().await;
        shared.pubsub.leave(&client);
        shared.clients.remove(&client);
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

    /// Copies what was counted to the metric recorder; called at a scrape.
    pub fn publish(&self) {
        self.shared.publisher.publish(&self.shared.metrics, self.shared.clients.len());
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
