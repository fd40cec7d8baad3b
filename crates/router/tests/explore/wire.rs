//! The transport: every request waits here until the explorer decides what becomes of it.

use std::{
    collections::hash_map::DefaultHasher,
    future::Future,
    hash::{Hash, Hasher},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bitroster_command::{Op, OpBatch, Outcome, ReadOp};
use bitroster_router::{Reading, Target, Transport, TransportError};
use bitroster_types::{Deadline, GroupId};
use futures_util::future::BoxFuture;

/// What a request's caller hears.
pub(crate) type Heard = Result<Vec<Outcome>, TransportError>;

/// One request of one router to one group.
pub(crate) struct Request {
    /// Whose it is.
    pub(crate) actor: usize,
    pub(crate) group: GroupId,
    pub(crate) ops: OpBatch,
    /// Whether it is a read, which leaves nothing behind.
    pub(crate) is_read: bool,
    /// A hash of who asks whom for what.
    pub(crate) mark: u64,
    /// Reached its group, or never will.
    has_landed: bool,
    /// Nobody waits for it any more.
    is_deaf: bool,
    heard: Option<Heard>,
    waker: Option<Waker>,
}

impl Request {
    /// Whether its caller still waits for an answer.
    pub(crate) fn is_awaited(&self) -> bool {
        self.heard.is_none() && !self.is_deaf
    }
}

/// All requests of one execution, in the order in which they were made.
#[derive(Default)]
pub(crate) struct Wire(Mutex<Vec<Request>>);

impl Wire {
    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.0.lock().unwrap()
    }

    /// How many requests an actor has made so far.
    pub(crate) fn made_by(&self, actor: usize) -> usize {
        self.requests().iter().filter(|request| request.actor == actor).count()
    }

    /// The requests that somebody waits for.
    pub(crate) fn waiting(&self) -> Vec<usize> {
        self.select(Request::is_awaited)
    }

    /// The writes that nobody waits for, and that may yet arrive.
    pub(crate) fn orphans(&self) -> Vec<usize> {
        self.select(|request| !request.is_awaited() && !request.is_read)
    }

    fn select(&self, wanted: impl Fn(&Request) -> bool) -> Vec<usize> {
        let requests = self.requests();
        let places = requests.iter().enumerate();
        places.filter(|(_, one)| !one.has_landed && wanted(one)).map(|(place, _)| place).collect()
    }

    /// Takes a request off the wire: its group and ops.
    pub(crate) fn land(&self, place: usize) -> (GroupId, OpBatch) {
        let request = &mut self.requests()[place];
        request.has_landed = true;
        (request.group, request.ops.clone())
    }

    /// Tells the caller, if it still listens.
    pub(crate) fn tell(&self, place: usize, heard: Heard) {
        let request = &mut self.requests()[place];
        if request.heard.is_none() {
            request.heard = Some(heard);
            if let Some(waker) = request.waker.take() {
                waker.wake();
            }
        }
    }
}

/// One router's end of the wire.
pub(crate) struct End {
    pub(crate) wire: Arc<Wire>,
    pub(crate) actor: usize,
}

impl End {
    fn send(&self, to: Target, ops: OpBatch, is_read: bool) -> Listener {
        let mut hasher = DefaultHasher::new();
        (self.actor, to.group, is_read, ops.as_bytes()).hash(&mut hasher);
        let mut requests = self.wire.requests();
        let place = requests.len();
        requests.push(Request {
            actor: self.actor,
            group: to.group,
            ops,
            is_read,
            mark: hasher.finish(),
            has_landed: false,
            is_deaf: false,
            heard: None,
            waker: None,
        });
        Listener { wire: Arc::clone(&self.wire), place }
    }
}

/// Waits for one request's answer; a request whose listener goes is an orphan.
struct Listener {
    wire: Arc<Wire>,
    place: usize,
}

impl Future for Listener {
    type Output = Heard;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Heard> {
        let request = &mut self.wire.requests()[self.place];
        match &request.heard {
            Some(heard) => Poll::Ready(heard.clone()),
            None => {
                request.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.wire.requests()[self.place].is_deaf = true;
    }
}

impl Transport for End {
    fn read_now(&self, _to: Target, _op: &ReadOp) -> Option<Outcome> {
        None
    }

    fn read(
        &self,
        to: Target,
        op: ReadOp,
        _reading: &Reading,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<Outcome, TransportError>> {
        let mut ops = OpBatch::new();
        ops.push(&Op::Read(op));
        let listener = self.send(to, ops, true);
        Box::pin(async move { Ok(listener.await?.pop().unwrap()) })
    }

    fn write(
        &self,
        to: Target,
        batch: OpBatch,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>> {
        Box::pin(self.send(to, batch, false))
    }
}

/// What a caller hears whose write may or may not be applied.
pub(crate) fn unknown() -> TransportError {
    TransportError::OutcomeUnknown { waited: Duration::from_secs(1) }
}
