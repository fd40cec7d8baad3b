//! A way to other replicas for tests: the test sees what is sent, and answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::{mpsc, oneshot};

use crate::peers::{Destination, MessageKind, PeerError, Peers};

/// More messages than any test leaves lying.
const MANY: usize = 64;

/// A message that was sent, and where its answer goes; nobody is reached where that is dropped.
pub(super) struct Sent {
    pub(super) to: Destination,
    pub(super) kind: MessageKind,
    pub(super) body: Bytes,
    answer: oneshot::Sender<Result<Bytes, PeerError>>,
}

impl Sent {
    pub(super) fn answer(self, answer: Bytes) {
        self.answer.send(Ok(answer)).unwrap();
    }
}

/// Hands what is sent to the test.
struct Wire(mpsc::Sender<Sent>);

/// The way, and what is sent over it, in order.
pub(super) fn wire() -> (Arc<dyn Peers>, mpsc::Receiver<Sent>) {
    let (wire, sent) = mpsc::channel(MANY);
    (Arc::new(Wire(wire)), sent)
}

impl Peers for Wire {
    fn call(
        &self,
        to: Destination,
        kind: MessageKind,
        body: Bytes,
        _timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Sent { to, kind, body, answer }).unwrap();
        Box::pin(answered.map(move |answer| {
            let reason = "gone".to_owned();
            answer.unwrap_or(Err(PeerError::Unreachable { node: to.node, reason }))
        }))
    }
}
