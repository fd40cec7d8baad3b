//! The stream of a leader's log to one follower.
//!
//! openraft gives a stream of requests and takes one of answers. A few requests are on their way at
//! a time, so that a follower takes the next one while it syncs the one before; they arrive in
//! their order, see [`Peers::call`](crate::peers::Peers::call). A request that brings no entries,
//! but what is committed, waits a moment for the next one, which says it too: under load that
//! spares half of all messages.
//!
//! openraft takes the answer that a follower has its log up to *y* for an answer to everything that
//! it has asked of it up to *y*, also to what it asked last and was not sent yet. So it may think
//! that it was heard by as much later than it was as one answer takes. No more is asked of openraft
//! while an answer is overdue, which bounds that by [`Timing::overdue`]; nothing that has to be
//! exact relies on it.
//!
//! [`Timing::overdue`]: crate::options::Timing::overdue

use std::collections::VecDeque;
use std::future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bitroster_types::limits::{APPENDS_BYTES_MAX, APPENDS_MAX};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesOrdered, Stream, StreamExt as _};
use openraft::errors::RPCError;
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult};
use tokio::time::{Instant, Sleep, sleep};

use super::message;
use super::network::{Failure, Peer};
use super::types::{LogId, TypeConfig};

/// How long a request without entries waits for one that has some: a few round trips, and a
/// fraction of a heartbeat's interval.
const HOLD: Duration = Duration::from_millis(5);

/// One answer of a follower, as openraft takes it.
pub(super) type Answer = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// Sends the requests of `input` until it ends or one fails, and gives the answers in order.
/// Several requests may have one answer: it is that of the last of them.
pub(super) fn answers<'a, S>(
    peer: &'a Peer,
    input: S,
    option: RPCOption,
) -> impl Stream<Item = Answer> + Send + 'a
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    stream::unfold(Some(Appends::new(peer, input, option)), async |appends| {
        let mut appends = appends?;
        let (answer, goes_on) = appends.next_answer().await?;
        Some((answer, goes_on.then_some(appends)))
    })
}

/// Requests on their way to one follower.
struct Appends<'a, S> {
    peer: &'a Peer,
    option: RPCOption,
    input: S,
    flying: FuturesOrdered<BoxFuture<'a, Answered>>,
    flying_bytes: usize,
    /// When those that fly were sent.
    sent_at: VecDeque<Instant>,
    /// What is sent next, once it may fly with those that do.
    next: Option<Encoded>,
    /// A request without entries, and until when it is held.
    held: Option<(Encoded, Pin<Box<Sleep>>)>,
    /// Whether a request was sent: openraft may wait for the answer to the first one.
    has_sent: bool,
    has_ended: bool,
}

/// A request that is ready to be sent.
struct Encoded {
    range: Range,
    body: Bytes,
}

/// The entries of a request: those after `prev` up to `last`.
#[derive(Clone, Copy)]
struct Range {
    prev: Option<LogId>,
    last: Option<LogId>,
}

/// A request that was sent, and what came of it.
struct Answered {
    range: Range,
    bytes: usize,
    answer: Result<AppendEntriesResponse<TypeConfig>, Failure>,
}

enum Event {
    Answered(Answered),
    Request(Option<AppendEntriesRequest<TypeConfig>>),
    HeldLongEnough,
}

impl<'a, S> Appends<'a, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    fn new(peer: &'a Peer, input: S, option: RPCOption) -> Self {
        Self {
            peer,
            option,
            input,
            flying: FuturesOrdered::new(),
            flying_bytes: 0,
            sent_at: VecDeque::new(),
            next: None,
            held: None,
            has_sent: false,
            has_ended: false,
        }
    }

    /// The next answer, and whether others may follow; `None` at the end.
    async fn next_answer(&mut self) -> Option<(Answer, bool)> {
        loop {
            self.launch();
            let Self { input, flying, held, sent_at, .. } = self;
            let overdue = self.peer.overdue();
            // An answer that comes has it polled again.
            let request = future::poll_fn(|context| match sent_at.front() {
                Some(at) if at.elapsed() > overdue => Poll::Pending,
                _ => input.poll_next_unpin(context),
            });
            let takes_more = self.next.is_none() && !self.has_ended;
            let is_held = held.is_some();
            let held = async {
                if let Some((_, until)) = held {
                    until.await;
                }
            };
            let event = tokio::select! {
                biased;
                Some(answered) = flying.next(), if !flying.is_empty() => Event::Answered(answered),
                request = request, if takes_more => Event::Request(request),
                () = held, if is_held && takes_more => Event::HeldLongEnough,
                else => return None,
            };
            match event {
                Event::Answered(answered) => return Some(self.judge(answered)),
                Event::Request(Some(request)) => self.take(&request),
                Event::Request(None) => {
                    self.has_ended = true;
                    self.next = self.held.take().map(|(held, _)| held);
                }
                Event::HeldLongEnough => self.next = self.held.take().map(|(held, _)| held),
            }
        }
    }

    /// Takes a request of openraft's; one that was held is said by this one.
    fn take(&mut self, request: &AppendEntriesRequest<TypeConfig>) {
        let encoded = Encoded::new(request);
        let until = self.held.take().map(|(_, until)| until);
        if request.entries.is_empty() && self.has_sent {
            self.held = Some((encoded, until.unwrap_or_else(|| Box::pin(sleep(HOLD)))));
        } else {
            self.next = Some(encoded);
        }
    }

    /// Sends what is next, if it may fly with those that do.
    fn launch(&mut self) {
        let has_room = |next: &mut Encoded| {
            let bytes = self.flying_bytes + next.body.len();
            self.flying.is_empty() || self.flying.len() < APPENDS_MAX && bytes <= APPENDS_BYTES_MAX
        };
        let Some(Encoded { range, body }) = self.next.take_if(has_room) else { return };
        let (peer, option, bytes) = (self.peer, self.option.clone(), body.len());
        self.flying_bytes += bytes;
        self.has_sent = true;
        self.sent_at.push_back(Instant::now());
        self.flying.push_back(Box::pin(async move {
            Answered { range, bytes, answer: peer.append(body, &option).await }
        }));
    }

    fn judge(&mut self, answered: Answered) -> (Answer, bool) {
        let Answered { range: Range { prev, last }, bytes, answer } = answered;
        self.flying_bytes -= bytes;
        self.sent_at.pop_front();
        match answer {
            Ok(answer) => {
                let is_whole = match &answer {
                    AppendEntriesResponse::PartialSuccess(upto) => *upto == last,
                    AppendEntriesResponse::Success
                    | AppendEntriesResponse::Conflict
                    | AppendEntriesResponse::HigherVote(_) => true,
                };
                let result = answer.into_stream_result(prev, last);
                let goes_on = is_whole && result.is_ok();
                (Ok(result), goes_on)
            }
            Err(failure) => (Err(failure.into()), false),
        }
    }
}

impl Encoded {
    fn new(request: &AppendEntriesRequest<TypeConfig>) -> Self {
        let prev = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(prev);
        Self { range: Range { prev, last }, body: message::encode_append(request) }
    }
}

#[cfg(test)]
mod tests {
    use bitroster_types::limits::RPC_PIECE_BYTES;
    use bitroster_types::{GroupId, NodeId};
    use futures_util::poll;
    use futures_util::stream::BoxStream;
    use openraft::RaftNetworkFactory as _;
    use openraft::raft::StreamAppendError;
    use tokio::sync::mpsc;
    use tokio::time;

    use super::super::network::Network;
    use super::super::types::{Entry, Host, Payload, Proposal, Vote};
    use super::super::wire::{Sent, wire};
    use super::*;
    use crate::metrics::{Metrics, NodeMetrics};
    use crate::options::Timing;
    use crate::peers::MessageKind;

    type Request = AppendEntriesRequest<TypeConfig>;

    fn success() -> Bytes {
        message::encode_appended(&AppendEntriesResponse::Success)
    }

    fn log_id(index: u64) -> LogId {
        LogId::new_term_index(1, index)
    }

    /// A request with the one entry `index`, or with none after it.
    fn request(index: u64, payload: Option<usize>) -> Request {
        let entry = |len| Entry {
            log_id: log_id(index),
            payload: Payload::Normal(Proposal(vec![7; len].into())),
        };
        Request {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(log_id(index - u64::from(payload.is_some()))),
            entries: payload.map(entry).into_iter().collect(),
            leader_commit: None,
        }
    }

    /// The indices that a request brings, with the one before.
    fn indices(sent: &Sent) -> (u64, u64) {
        assert_eq!(sent.kind, MessageKind::Append);
        let request = message::decode_append(&sent.body).unwrap();
        let prev = request.prev_log_id.unwrap().index;
        (prev, prev + request.entries.len() as u64)
    }

    /// Runs `test` with the requests' way in, the answers' way out, and what is sent between.
    async fn with_follower<F: Future<Output = ()>>(
        test: impl FnOnce(
            mpsc::UnboundedSender<Request>,
            BoxStream<'static, Answer>,
            mpsc::Receiver<Sent>,
        ) -> F,
    ) {
        let (peers, sent) = wire();
        let mut network = Network {
            group: GroupId(1),
            peers: Some(peers),
            timing: Timing { heartbeat_ms: 100, election_timeout_ms_min: 800 },
            transfers: Default::default(),
            metrics: Metrics::new(NodeMetrics::new()),
        };
        let peer = network.new_client(2, &Host(NodeId(2).0)).await;
        let (input, mut requests) = mpsc::unbounded_channel();
        let input_stream = stream::poll_fn(move |context| requests.poll_recv(context)).boxed();
        let option = RPCOption::new(Duration::from_secs(60));
        // The stream borrows its peer, and both end with the test's process.
        let answers = answers(Box::leak(Box::new(peer)), input_stream, option).boxed();
        test(input, answers, sent).await;
    }

    #[tokio::test]
    async fn requests_are_sent_before_others_are_answered_and_answers_keep_their_order() {
        with_follower(async |input, mut answers, mut sent| {
            for index in 1..=3 {
                input.send(request(index, Some(10))).unwrap();
            }
            assert!(poll!(answers.next()).is_pending());
            let mut waiting: Vec<Sent> = (0..3).map(|_| sent.try_recv().unwrap()).collect();
            assert_eq!(waiting.iter().map(indices).collect::<Vec<_>>(), [(0, 1), (1, 2), (2, 3)]);
            while let Some(last) = waiting.pop() {
                last.answer(success());
            }
            for index in 1..=3 {
                assert_eq!(answers.next().await.unwrap().unwrap(), Ok(Some(log_id(index))));
            }
            drop(input);
            assert!(answers.next().await.is_none());
        })
        .await;
    }

    #[tokio::test]
    async fn few_messages_and_bytes_fly_at_a_time() {
        with_follower(async |input, mut answers, mut sent| {
            let many = APPENDS_MAX as u64 + 2;
            for index in 1..=many {
                input.send(request(index, Some(10))).unwrap();
            }
            input.send(request(many + 1, Some(RPC_PIECE_BYTES))).unwrap();
            input.send(request(many + 2, Some(10))).unwrap();
            drop(input);
            assert!(poll!(answers.next()).is_pending());
            assert_eq!(sent.len(), APPENDS_MAX);
            for index in 1..=many {
                sent.try_recv().unwrap().answer(success());
                assert_eq!(answers.next().await.unwrap().unwrap(), Ok(Some(log_id(index))));
                assert!(poll!(answers.next()).is_pending());
            }
            // One that is long flies alone.
            let long = sent.try_recv().unwrap();
            assert_eq!((indices(&long), sent.len()), ((many, many + 1), 0));
            long.answer(success());
            answers.next().await.unwrap().unwrap().unwrap();
            assert!(poll!(answers.next()).is_pending());
            assert_eq!(indices(&sent.try_recv().unwrap()), (many + 1, many + 2));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_more_is_asked_for_while_an_answer_is_overdue() {
        with_follower(async |input, mut answers, mut sent| {
            input.send(request(1, Some(10))).unwrap();
            assert!(poll!(answers.next()).is_pending());
            time::advance(Duration::from_millis(400)).await;
            input.send(request(2, Some(10))).unwrap();
            assert!(poll!(answers.next()).is_pending());
            assert_eq!(sent.len(), 2, "it may just come");
            time::advance(Duration::from_millis(1)).await;
            input.send(request(3, Some(10))).unwrap();
            assert!(poll!(answers.next()).is_pending());
            assert_eq!(sent.len(), 2);
            for index in 1..=3 {
                sent.try_recv().unwrap().answer(success());
                assert_eq!(answers.next().await.unwrap().unwrap(), Ok(Some(log_id(index))));
                assert!(poll!(answers.next()).is_pending());
            }
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_committed_goes_with_the_next_entries_or_alone_after_a_moment() {
        with_follower(async |input, mut answers, mut sent| {
            // The first request may be one that openraft waits for.
            input.send(request(1, None)).unwrap();
            assert!(poll!(answers.next()).is_pending());
            sent.try_recv().unwrap().answer(success());
            assert_eq!(answers.next().await.unwrap().unwrap(), Ok(Some(log_id(1))));

            input.send(request(1, None)).unwrap();
            input.send(request(2, Some(10))).unwrap();
            assert!(poll!(answers.next()).is_pending());
            let with_entry = sent.try_recv().unwrap();
            assert_eq!((indices(&with_entry), sent.len()), ((1, 2), 0));
            with_entry.answer(success());
            assert_eq!(answers.next().await.unwrap().unwrap(), Ok(Some(log_id(2))));

            input.send(request(2, None)).unwrap();
            let (answer, ()) = tokio::join!(answers.next(), async {
                let alone = sent.recv().await.unwrap();
                assert_eq!(indices(&alone), (2, 2));
                alone.answer(success());
            });
            assert_eq!(answer.unwrap().unwrap(), Ok(Some(log_id(2))));

            // The end of the input leaves nothing unsaid.
            input.send(request(2, None)).unwrap();
            drop(input);
            assert!(poll!(answers.next()).is_pending());
            assert_eq!(indices(&sent.try_recv().unwrap()), (2, 2));
        })
        .await;
    }

    #[tokio::test]
    async fn the_first_answer_that_is_not_success_is_the_last() {
        let not_success = [
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(Vote::new(9, 3)),
            AppendEntriesResponse::PartialSuccess(Some(log_id(0))),
        ];
        for answer in not_success {
            with_follower(async |input, mut answers, mut sent| {
                input.send(request(1, Some(10))).unwrap();
                input.send(request(2, Some(10))).unwrap();
                assert!(poll!(answers.next()).is_pending());
                sent.try_recv().unwrap().answer(message::encode_appended(&answer));
                sent.try_recv().unwrap().answer(success());
                let expected = match answer {
                    AppendEntriesResponse::Conflict => Err(StreamAppendError::Conflict(log_id(0))),
                    AppendEntriesResponse::HigherVote(vote) => {
                        Err(StreamAppendError::HigherVote(vote))
                    }
                    AppendEntriesResponse::PartialSuccess(upto) => Ok(upto),
                    AppendEntriesResponse::Success => unreachable!("not among them"),
                };
                assert_eq!(answers.next().await.unwrap().unwrap(), expected);
                assert!(answers.next().await.is_none());
            })
            .await;
        }
        with_follower(async |input, mut answers, mut sent| {
            input.send(request(1, Some(10))).unwrap();
            input.send(request(2, Some(10))).unwrap();
            assert!(poll!(answers.next()).is_pending());
            drop(sent.try_recv().unwrap());
            assert!(answers.next().await.unwrap().is_err());
            assert!(answers.next().await.is_none());
        })
        .await;
    }
}
