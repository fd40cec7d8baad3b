//! The node's end of links that other nodes open.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bitroster_proto::{
    convert,
    internal::{
        Call, CallKind, Frame, Hello, Memory, Published, Role, Status as Verdict, peer_server::Peer,
    },
};
use bitroster_types::limits::{LINK_CALLS_MAX, RELAY_MESSAGE_BYTES_MAX};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::unconstrained,
    time::timeout,
};
use tonic::{Request as Incoming, Response as Reply, Status, Streaming};

use super::answers::Answers;
use crate::{
    Spawn,
    dispatcher::Dispatcher,
    error::with_causes,
    link::Ends,
    links::Links,
    outbox::Outbox,
    request::{Request, Response},
    state::StateFeed,
};

/// Answers that may wait on a link whose other side does not read, before it is broken.
const ANSWERS_WAITING_MAX: usize = 4 * LINK_CALLS_MAX;

/// Where links of other nodes arrive. Before the node is a member of a cluster they are refused.
#[derive(Default)]
pub struct PeerHost {
    links: OnceLock<Links>,
    open: Mutex<BTreeMap<u64, OpenLink>>,
    last: AtomicU64,
    /// Changed under the lock of `open`.
    is_over_memory: AtomicBool,
}

/// A link that came in: who is at its other end, and what waits for its way there.
struct OpenLink {
    hello: Hello,
    outbox: Arc<Outbox<Answers>>,
}

impl PeerHost {
    /// A host that refuses links.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Lets links in, with what this node's own links have: its identity, the cluster's state and
    /// the dispatcher. Later calls change nothing.
    pub fn admit(&self, links: Links) {
        self.links.get_or_init(|| links);
    }

    /// Tells all nodes that have a link to this one, now and later, whether it has more allocated
    /// than its `maxmemory`; see [`Links::is_over_memory`].
    pub fn set_over_memory(&self, is_over: bool) {
        if self.is_over_memory.load(Relaxed) == is_over {
            return;
        }
        let open = self.open.lock();
        self.is_over_memory.store(is_over, Relaxed);
        let memory = if is_over { Memory::Above } else { Memory::Below };
        open.values().for_each(|link| link.outbox.put_memory(memory));
    }

    /// Takes note of a link that came in, which learns what the others know.
    fn insert(&self, number: u64, link: OpenLink) {
        let mut open = self.open.lock();
        if self.is_over_memory.load(Relaxed) {
            link.outbox.put_memory(Memory::Above);
        }
        open.insert(number, link);
    }

    /// The addresses of routers that have a link to this node, ascending.
    pub fn routers(&self) -> Vec<String> {
        let open = self.open.lock();
        let routers = open.values().filter(|link| link.hello.role() == Role::Router);
        let mut addresses: Vec<String> = routers.map(|link| link.hello.address.clone()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

impl PeerHost {
    /// Sends a message that a client of this node published to all other nodes, as well as may be:
    /// nobody learns whether it arrived, and one that is longer than
    /// [`RELAY_MESSAGE_BYTES_MAX`](bitroster_types::limits::RELAY_MESSAGE_BYTES_MAX) stays here.
    pub fn publish(&self, channel: &Bytes, message: &Bytes, sharded: bool) {
        let Some(links) = self.links.get() else { return };
        if channel.len() + message.len() > RELAY_MESSAGE_BYTES_MAX {
            return;
        }
        let (channel, message) = (channel.clone(), message.clone());
        let published = Published { channel, message, sharded, pass_on: false };
        // Routers have links to members only, so one member tells the other routers.
        links.publish(&published, links.identity().node.is_none());
        self.publish_to_routers(&published, None);
    }

    /// Sends a published message to each router that has a link to this node, once, but for the one
    /// at `except`.
    fn publish_to_routers(&self, published: &Published, except: Option<&str>) {
        let open = self.open.lock();
        let mut told = BTreeSet::new();
        for link in open.values().filter(|link| link.hello.role() == Role::Router) {
            let address = link.hello.address.as_str();
            if except != Some(address) && told.insert(address) {
                link.outbox.put_published(Published { pass_on: false, ..published.clone() });
            }
        }
    }
}

/// How long the calls of a link that is closed may take: they carry deadlines of their own.
const CLOSING_MAX: Duration = Duration::from_secs(5);

/// The service behind [`PeerHost`].
pub(crate) struct PeerService {
    pub(crate) host: Arc<PeerHost>,
    /// Turns true when links are to end.
    pub(crate) closing: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Peer for PeerService {
    type LinkStream = BoxStream<'static, Result<Frame, Status>>;

    async fn link(
        &self,
        request: Incoming<Streaming<Frame>>,
    ) -> Result<Reply<Self::LinkStream>, Status> {
        let Some(links) = self.host.links.get() else {
            return Err(Status::unavailable("not a member of a cluster yet"));
        };
        let mut incoming = request.into_inner();
        let first = incoming.message().await?;
        let Some(hello) = first.and_then(|frame| frame.hello) else {
            return Err(Status::invalid_argument("a link begins with a greeting"));
        };
        let ends = links.ends();
        if let Err(why) = ends.identity.check(&hello) {
            tracing::warn!(why, "a link was refused");
            return Err(Status::failed_precondition(why));
        }
        let outbox = Outbox::new(Answers::new(ends.metrics.clone()));
        let frames = outbox.open(ends.identity.hello());
        let ear = Ear {
            hello,
            host: Arc::clone(&self.host),
            incoming,
            outbox,
            ends: ends.clone(),
            dispatcher: Arc::clone(links.dispatcher()),
            spawn: Arc::clone(links.spawn()),
            closing: self.closing.clone(),
            messages: Arc::new(Semaphore::new(LINK_CALLS_MAX)),
            requests: Arc::new(Semaphore::new(LINK_CALLS_MAX)),
        };
        links.spawn().spawn("link end", Box::pin(ear.run()));
        Ok(Reply::new(frames.map(Ok).boxed()))
    }
}

/// The task that listens to one link.
struct Ear {
    hello: Hello,
    host: Arc<PeerHost>,
    incoming: Streaming<Frame>,
    outbox: Arc<Outbox<Answers>>,
    ends: Ends,
    dispatcher: Arc<Dispatcher>,
    spawn: Arc<dyn Spawn>,
    closing: watch::Receiver<bool>,
    /// Shares for messages between replicas, which must not wait for reads and writes.
    messages: Arc<Semaphore>,
    /// Shares for reads and writes.
    requests: Arc<Semaphore>,
}

impl Ear {
    /// Answers calls until the link breaks or ends.
    async fn run(mut self) {
        let number = self.host.last.fetch_add(1, Relaxed);
        let node = convert::optional_node(self.hello.node);
        tracing::debug!(?node, address = self.hello.address, "a link came in");
        let link = OpenLink { hello: self.hello.clone(), outbox: Arc::clone(&self.outbox) };
        self.host.insert(number, link);
        let broken = self.listen().await;
        self.host.open.lock().remove(&number);
        tracing::debug!(?node, address = self.hello.address, broken, "a link went");
        if broken.is_none() && timeout(CLOSING_MAX, self.drain()).await.is_err() {
            tracing::info!(?node, "a link was closed with calls unanswered");
        }
        self.outbox.end();
    }

    /// Takes calls until the link breaks, and returns why, or is to be closed.
    async fn listen(&mut self) -> Option<String> {
        let mut feed = StateFeed::new(&self.ends.states);
        let mut closing = self.closing.clone();
        // Whoever closes holds the sender, or has gone.
        let closing = async move { drop(closing.wait_for(|closing| *closing).await) };
        tokio::pin!(closing);
        loop {
            tokio::select! {
                frame = self.incoming.message() => match frame {
                    Ok(Some(frame)) => {
                        if !frame.state.is_empty() {
                            feed.receive(&frame.state);
                        }
                        frame.calls.into_iter().for_each(|call| self.take(call));
                        frame.published.into_iter().for_each(|it| self.hear(it));
                        if self.outbox.update(|answers| answers.len()) > ANSWERS_WAITING_MAX {
                            return Some("it does not read its answers".to_owned());
                        }
                    }
                    Ok(None) => return Some("closed by the other side".to_owned()),
                    Err(status) => return Some(with_causes(&status)),
                },
                state = feed.next() => self.outbox.put_state(state),
                () = &mut closing => return None,
            }
        }
    }

    /// Hands on what a client of the other node published.
    fn hear(&self, published: Published) {
        if published.pass_on {
            self.host.publish_to_routers(&published, Some(&self.hello.address));
        }
        self.ends.hear(published);
    }

    /// Starts a call, or refuses it where too many are open.
    fn take(&self, call: Call) {
        let (shares, is_message) = match call.kind() {
            CallKind::Raft => (&self.messages, true),
            CallKind::Read | CallKind::Write | CallKind::Fold | CallKind::Unspecified => {
                (&self.requests, false)
            }
        };
        self.ends.metrics.received_bytes.increment(call.body.len() as u64);
        let Ok(permit) = Arc::clone(shares).try_acquire_owned() else {
            let busy = Response::refused(Verdict::Busy, "too many requests of this node are open");
            self.outbox.update(|answers| answers.push(busy.into_answer(call.id), None));
            return;
        };
        let work = Work {
            ends: self.ends.clone(),
            dispatcher: Arc::clone(&self.dispatcher),
            outbox: Arc::clone(&self.outbox),
            permit,
        };
        let mut task: BoxFuture<'static, ()> = Box::pin(work.run(call));
        // Messages between replicas reach them in the order in which they came: tasks would start
        // in any. The first poll hands a message over; only its answer is waited for by a task.
        if is_message && unconstrained(&mut task).now_or_never().is_some() {
            return;
        }
        self.spawn.spawn("call", task);
    }

    /// Waits until what was taken is answered and sent.
    async fn drain(&self) {
        let all = u32::try_from(LINK_CALLS_MAX).expect("a small constant");
        for shares in [&self.messages, &self.requests] {
            // Never closed.
            drop(shares.acquire_many(all).await);
        }
    }
}

/// One call at work.
struct Work {
    ends: Ends,
    dispatcher: Arc<Dispatcher>,
    outbox: Arc<Outbox<Answers>>,
    permit: OwnedSemaphorePermit,
}

impl Work {
    async fn run(self, call: Call) {
        let id = call.id;
        let response = match Request::from_call(call) {
            Ok((request, deadline)) => {
                self.ends.metrics.call_received(request.kind());
                self.dispatcher.handle(request, deadline).await
            }
            Err(error) => Response::refused(Verdict::Refused, error.to_string()),
        };
        let Self { outbox, permit, .. } = self;
        outbox.update(|answers| answers.push(response.into_answer(id), Some(permit)));
    }
}
