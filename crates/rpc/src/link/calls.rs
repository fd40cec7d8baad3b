//! The calls of one lane: what waits to be sent, and what waits for an answer.

use std::collections::{HashMap, VecDeque};

use bitroster_proto::internal::{Answer, Frame};
use bitroster_types::{
    Deadline,
    limits::{LINK_BYTES_MAX, LINK_CALLS_MAX, RPC_FRAME_BYTES, RPC_MESSAGE_BYTES_MAX},
};
use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use crate::{
    error::CallError,
    metrics::Metrics,
    outbox::Contents,
    request::{Kind, Request, Response},
};

/// What a call ends with.
pub(crate) type Reply = Result<Response, CallError>;

/// Whether the other end can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not tried, or broken and tried again at once: calls wait.
    Opening,
    /// Calls are sent.
    Up,
    /// The last try failed, for this reason: calls fail at once.
    Down(String),
    /// Ended for good.
    Closed,
}

/// The calls of one lane.
pub(crate) struct Calls {
    phase: Phase,
    /// Calls not sent, in order; a number without a call was forgotten.
    queue: VecDeque<u64>,
    open: HashMap<u64, Open>,
    open_bytes: usize,
    last_id: u64,
    metrics: Metrics,
}

/// A call without an answer.
struct Open {
    kind: Kind,
    bytes: usize,
    reply: oneshot::Sender<Reply>,
    /// The call, until it is sent.
    unsent: Option<(Request, Deadline)>,
    /// What has come of an answer in pieces.
    pieces: Vec<Bytes>,
    pieces_bytes: usize,
}

impl Calls {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            phase: Phase::Opening,
            queue: VecDeque::new(),
            open: HashMap::new(),
            open_bytes: 0,
            last_id: 0,
            metrics,
        }
    }

    pub(crate) const fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Queues a call and returns its number and where its answer comes.
    ///
    /// # Errors
    ///
    /// [`CallError::NotSent`] where the other end cannot be reached or too much waits for it.
    pub(crate) fn push(
        &mut self,
        request: Request,
        deadline: Deadline,
    ) -> Result<(u64, oneshot::Receiver<Reply>), CallError> {
        match &self.phase {
            Phase::Opening | Phase::Up => {}
            Phase::Down(reason) => return Err(CallError::not_sent(reason.clone())),
            Phase::Closed => return Err(CallError::not_sent("the link is closed")),
        }
        let bytes = request.body_len();
        let is_full = self.open_bytes + bytes > LINK_BYTES_MAX && !self.open.is_empty();
        if is_full || self.open.len() >= LINK_CALLS_MAX {
            return Err(CallError::not_sent("too much waits for this node"));
        }
        self.last_id += 1;
        self.open_bytes += bytes;
        let (reply, answer) = oneshot::channel();
        let open = Open {
            kind: request.kind(),
            bytes,
            reply,
            unsent: Some((request, deadline)),
            pieces: Vec::new(),
            pieces_bytes: 0,
        };
        self.open.insert(self.last_id, open);
        self.queue.push_back(self.last_id);
        Ok((self.last_id, answer))
    }

    /// Forgets a call that nobody waits for any more. Says whether it may have arrived.
    pub(crate) fn forget(&mut self, id: u64) -> bool {
        let was_sent = self.remove(id).is_some_and(|open| open.unsent.is_none());
        if was_sent {
            self.metrics.lost.increment(1);
        }
        was_sent
    }

    /// Hands an answer, or a piece of one, to who waits for it.
    pub(crate) fn answer(&mut self, mut answer: Answer) {
        self.metrics.received_bytes.increment(answer.body.len() as u64);
        let Some(open) = self.open.get_mut(&answer.id) else { return };
        if answer.more || !open.pieces.is_empty() {
            open.pieces_bytes += answer.body.len();
            open.pieces.push(std::mem::take(&mut answer.body));
            if open.pieces_bytes > RPC_MESSAGE_BYTES_MAX {
                let lost = CallError::lost("the answer is longer than any");
                self.finish(answer.id, Err(lost));
                return;
            }
            if answer.more {
                return;
            }
            let mut body = BytesMut::with_capacity(open.pieces_bytes);
            open.pieces.drain(..).for_each(|piece| body.extend_from_slice(&piece));
            answer.body = body.freeze();
        }
        let (id, response) = (answer.id, Response::from_answer(open.kind, answer));
        self.finish(id, Ok(response));
    }

    /// Calls may be sent from now on.
    pub(crate) fn up(&mut self) {
        if !self.is_closed() {
            self.phase = Phase::Up;
        }
    }

    /// The stream broke: what was sent is lost, what was not waits for the next one.
    pub(crate) fn broken(&mut self, reason: &str) {
        if !self.is_closed() {
            self.phase = Phase::Opening;
        }
        let sent = self.open.iter().filter(|(_, open)| open.unsent.is_none());
        let sent: Vec<u64> = sent.map(|(id, _)| *id).collect();
        for id in sent {
            self.metrics.lost.increment(1);
            self.finish(id, Err(CallError::lost(reason)));
        }
    }

    /// The other end cannot be reached: all calls fail, and others until the next try succeeds.
    pub(crate) fn down(&mut self, reason: &str) {
        self.broken(reason);
        if !self.is_closed() {
            self.phase = Phase::Down(reason.to_owned());
        }
        self.fail_unsent(reason);
    }

    /// The next call makes the next try.
    pub(crate) fn reset(&mut self) {
        if !self.is_closed() {
            self.phase = Phase::Opening;
        }
    }

    /// Fails all calls, now and ever after.
    pub(crate) fn close(&mut self) {
        self.broken("the link is closed");
        self.phase = Phase::Closed;
        self.fail_unsent("the link is closed");
    }

    fn fail_unsent(&mut self, reason: &str) {
        for id in std::mem::take(&mut self.queue) {
            self.finish(id, Err(CallError::not_sent(reason)));
        }
    }

    fn finish(&mut self, id: u64, reply: Reply) {
        if let Some(open) = self.remove(id) {
            // Who waits may have gone.
            drop(open.reply.send(reply));
        }
    }

    fn remove(&mut self, id: u64) -> Option<Open> {
        let open = self.open.remove(&id)?;
        self.open_bytes -= open.bytes;
        Some(open)
    }
}

impl Contents for Calls {
    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn fill(&mut self, frame: &mut Frame) {
        let mut bytes = 0;
        while let Some(id) = self.queue.pop_front() {
            let Some(open) = self.open.get_mut(&id) else { continue };
            if bytes > 0 && bytes + open.bytes > RPC_FRAME_BYTES {
                self.queue.push_front(id);
                break;
            }
            if let Some((request, deadline)) = open.unsent.take() {
                bytes += open.bytes;
                self.metrics.call_sent(open.kind);
                frame.calls.push(request.into_call(id, deadline));
            }
        }
        self.metrics.sent_bytes.increment(bytes as u64);
        self.metrics.frame_sent(frame.calls.len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bitroster_shard::MessageKind;
    use bitroster_types::{GroupId, ReplicaId};

    use super::*;
    use crate::request::Body;

    fn message(len: usize) -> Request {
        Request::Raft {
            group: GroupId(1),
            replica: ReplicaId(1),
            kind: MessageKind::Append,
            body: vec![0; len].into(),
        }
    }

    fn soon() -> Deadline {
        Deadline::at(Instant::now() + Duration::from_secs(60))
    }

    fn filled(calls: &mut Calls) -> Vec<u64> {
        let mut frame = Frame::default();
        calls.fill(&mut frame);
        frame.calls.iter().map(|call| call.id).collect()
    }

    #[test]
    fn a_frame_takes_all_that_waits_up_to_its_bytes() {
        let mut calls = Calls::new(Metrics::new());
        let half = RPC_FRAME_BYTES / 2;
        for len in [10, half, half, 10, 2 * RPC_FRAME_BYTES, 10] {
            calls.push(message(len), soon()).unwrap();
        }
        assert_eq!(filled(&mut calls), [1, 2]);
        assert_eq!(filled(&mut calls), [3, 4]);
        assert_eq!(filled(&mut calls), [5]);
        assert_eq!(filled(&mut calls), [6]);
        assert!(calls.is_empty());
    }

    #[test]
    fn a_break_loses_what_was_sent_and_keeps_what_was_not() {
        let mut calls = Calls::new(Metrics::new());
        let (_, mut sent) = calls.push(message(1), soon()).unwrap();
        assert_eq!(filled(&mut calls), [1]);
        let (_, mut unsent) = calls.push(message(1), soon()).unwrap();
        calls.broken("gone");
        assert_eq!(sent.try_recv().unwrap(), Err(CallError::lost("gone")));
        assert!(unsent.try_recv().is_err());
        calls.down("away");
        assert_eq!(unsent.try_recv().unwrap(), Err(CallError::not_sent("away")));
        assert_eq!(calls.push(message(1), soon()).unwrap_err(), CallError::not_sent("away"));
        calls.up();
        assert!(calls.push(message(1), soon()).is_ok());
        calls.close();
        calls.up();
        assert!(calls.push(message(1), soon()).is_err());
    }

    #[test]
    fn a_forgotten_call_is_not_sent_any_more() {
        let mut calls = Calls::new(Metrics::new());
        let (first, _) = calls.push(message(1), soon()).unwrap();
        calls.push(message(1), soon()).unwrap();
        assert!(!calls.forget(first));
        assert_eq!(filled(&mut calls), [2]);
        assert!(calls.forget(2));
        assert_eq!((calls.open.len(), calls.open_bytes), (0, 0));
    }

    #[test]
    fn open_calls_are_bounded_by_count_and_by_bytes() {
        let mut calls = Calls::new(Metrics::new());
        calls.push(message(LINK_BYTES_MAX + 1), soon()).unwrap();
        assert!(calls.push(message(1), soon()).is_err());
        let mut calls = Calls::new(Metrics::new());
        for _ in 0..LINK_CALLS_MAX {
            calls.push(message(0), soon()).unwrap();
        }
        assert!(calls.push(message(0), soon()).is_err());
        assert!(filled(&mut calls).len() == LINK_CALLS_MAX);
        calls.answer(Answer { id: 7, ..Answer::default() });
        assert!(calls.push(message(0), soon()).is_ok());
    }

    #[test]
    fn an_answer_in_pieces_is_one_answer() {
        let mut calls = Calls::new(Metrics::new());
        let (id, mut reply) = calls.push(message(1), soon()).unwrap();
        filled(&mut calls);
        for (body, more) in [("ab", true), ("", true), ("c", false)] {
            assert!(reply.try_recv().is_err());
            calls.answer(Answer { id, body: body.into(), more, ..Answer::default() });
        }
        assert_eq!(reply.try_recv().unwrap().unwrap().body, Body::Message("abc".into()));
        calls.answer(Answer { id: 99, more: true, ..Answer::default() });
    }
}
