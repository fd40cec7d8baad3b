//! The task of one lane: opens the stream, follows it, and opens it again.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bitroster_proto::{
    convert,
    internal::{Frame, Hello, Memory, Published, peer_client::PeerClient},
};
use bitroster_types::limits::RPC_MESSAGE_BYTES_MAX;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Streaming, transport::Endpoint};

use super::{Lane, Route, calls::Calls};
use crate::{
    error::with_causes,
    identity::Identity,
    metrics::Metrics,
    outbox::Contents as _,
    pressure::Pressure,
    publish::Audience,
    state::{StateCell, StateFeed},
    tls::{LinkTls, client_config},
};

/// The first pause after a failed try; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause after a failed try.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a connection may take, and then the other side's greeting.
const OPENING_MAX: Duration = Duration::from_secs(1);

/// How often a silent connection is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// How long the answer to that may take.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes on their way that need no leave of the other side: what a fast network holds in
/// milliseconds.
pub(crate) const WINDOW_BYTES: u32 = 8 << 20;

/// What both ends of a lane belong to.
#[derive(Clone)]
pub(crate) struct Ends {
    /// This node.
    pub(crate) identity: Arc<Identity>,
    /// What both sides hand on.
    pub(crate) states: StateCell,
    pub(crate) metrics: Metrics,
    /// How connections are made; plain where `None`.
    pub(crate) tls: Option<Arc<dyn LinkTls>>,
    /// Who hears what other nodes' clients publish.
    pub(crate) audience: Arc<OnceLock<Arc<dyn Audience>>>,
    /// Which other nodes are above their `maxmemory`.
    pub(crate) pressure: Arc<Pressure>,
}

impl Ends {
    /// Hands on what another node's client has published.
    pub(crate) fn hear(&self, published: Published) {
        if let Some(audience) = self.audience.get() {
            audience.hear(published.channel, published.message, published.sharded);
        }
    }
}

/// The task of one lane.
pub(crate) struct Run {
    pub(crate) lane: Arc<Lane>,
    pub(crate) route: Route,
    pub(crate) ends: Ends,
}

impl Run {
    /// Opens the lane whenever it is to be open, until it is closed.
    pub(crate) async fn run(self) {
        let mut pause = PAUSE_MIN;
        while !self.is_closed() {
            if !self.is_wanted() {
                self.lane.wake.notified().await;
                continue;
            }
            let why = match self.open().await {
                Ok(incoming) => {
                    let opened = Instant::now();
                    self.lane.outbox.update(Calls::up);
                    let node = self.route.node;
                    tracing::debug!(%node, address = self.route.address, "link up");
                    self.count_link(1.0);
                    let why = self.follow(incoming).await;
                    self.note_memory(Memory::Below);
                    self.count_link(-1.0);
                    if !self.is_closed() {
                        tracing::info!(%node, address = self.route.address, why, "link broken");
                    }
                    self.lane.outbox.update(|calls| calls.broken(&why));
                    if opened.elapsed() < PAUSE_MAX {
                        // Whoever greets and goes is not to be asked in a circle.
                        self.rest(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    } else {
                        // It was up: the first try to open it again is made at once.
                        pause = PAUSE_MIN;
                    }
                    continue;
                }
                Err(why) => why,
            };
            tracing::debug!(node = %self.route.node, why, "no link");
            self.lane.outbox.update(|calls| calls.down(&why));
            self.rest(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            if !self.route.is_kept_open {
                // Nobody waits: the next call makes the next try.
                self.lane.outbox.update(Calls::reset);
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.lane.outbox.update(|calls| calls.is_closed())
    }

    /// Whether the lane is to be open: always, or because a call waits.
    fn is_wanted(&self) -> bool {
        self.route.is_kept_open || !self.lane.outbox.update(|calls| calls.is_empty())
    }

    /// Takes note of what the other node says of its memory. Both of its lanes say the same, and
    /// one is always open.
    fn note_memory(&self, memory: Memory) {
        if self.route.is_kept_open && memory != Memory::Unspecified {
            let link = Arc::as_ptr(&self.lane).addr();
            self.ends.pressure.set(self.route.node, link, memory == Memory::Above);
        }
    }

    /// Counts each node once.
    fn count_link(&self, change: f64) {
        if self.route.is_kept_open {
            self.ends.metrics.links.increment(change);
        }
    }

    /// Waits for `pause` to pass or the lane to be closed.
    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.closed() => {}
        }
    }

    /// Connects and exchanges greetings.
    async fn open(&self) -> Result<Streaming<Frame>, String> {
        let Route { node, address, .. } = &self.route;
        let identity = &self.ends.identity;
        let tls = self.ends.tls.as_deref();
        let endpoint = endpoint(address, tls).map_err(|error| error.to_string())?;
        let channel = endpoint.connect().await.map_err(|error| with_causes(&error))?;
        let frames = self.lane.outbox.open(identity.hello());
        let mut client = PeerClient::new(channel)
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX);
        let greeted = async {
            let mut incoming = client.link(frames).await?.into_inner();
            let first = incoming.message().await?;
            Ok::<_, tonic::Status>((incoming, first.and_then(|frame| frame.hello)))
        };
        let greeted = timeout(OPENING_MAX, greeted).await;
        let (incoming, hello) = greeted
            .map_err(|_| format!("{address} does not greet within {OPENING_MAX:?}"))?
            .map_err(|status| status.message().to_owned())?;
        let hello = hello.ok_or_else(|| format!("{address} does not greet"))?;
        identity.check(&hello)?;
        if convert::optional_node(hello.node) == Some(*node) {
            Ok(incoming)
        } else {
            let Hello { node: other, .. } = hello;
            Err(format!("{address} is node {other}, not {node}"))
        }
    }

    /// Hands on what comes until the stream ends, and returns why it did.
    async fn follow(&self, mut incoming: Streaming<Frame>) -> String {
        let mut feed = StateFeed::new(&self.ends.states);
        loop {
            tokio::select! {
                frame = incoming.message() => match frame {
                    Ok(Some(frame)) => {
                        self.note_memory(frame.memory());
                        if !frame.state.is_empty() {
                            feed.receive(&frame.state);
                        }
                        if !frame.answers.is_empty() {
                            self.lane.outbox.update(|calls| {
                                frame.answers.into_iter().for_each(|answer| calls.answer(answer));
                            });
                        }
                        frame.published.into_iter().for_each(|it| self.ends.hear(it));
                    }
                    Ok(None) => return "closed by the other side".to_owned(),
                    Err(status) => return with_causes(&status),
                },
                state = feed.next() => self.lane.outbox.put_state(state),
                () = self.closed() => return "closed".to_owned(),
            }
        }
    }

    async fn closed(&self) {
        while !self.is_closed() {
            self.lane.wake.notified().await;
        }
    }
}

/// How another node is reached.
///
/// # Errors
///
/// If the address is none, or the certificates cannot be used.
pub(crate) fn endpoint(address: &str, tls: Option<&dyn LinkTls>) -> Result<Endpoint, crate::Error> {
    let refused = || crate::Error::Address { address: address.to_owned() };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|_| refused())?;
    let endpoint = match tls {
        None => endpoint,
        Some(tls) => endpoint.tls_config(client_config(tls)).map_err(|error| {
            crate::Error::Unreachable { address: address.to_owned(), reason: with_causes(&error) }
        })?,
    };
    Ok(endpoint
        .connect_timeout(OPENING_MAX)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true))
}
