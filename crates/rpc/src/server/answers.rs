//! The answers of one link on their way back.

use std::collections::VecDeque;

use bitroster_proto::internal::{Answer, Frame};
use bitroster_types::limits::{RPC_FRAME_BYTES, RPC_PIECE_BYTES};
use tokio::sync::OwnedSemaphorePermit;

use crate::{metrics::Metrics, outbox::Contents};

/// Answers that wait to be sent. Short ones first; long ones follow in pieces, in turn.
pub(crate) struct Answers {
    short: VecDeque<Waiting>,
    long: VecDeque<Waiting>,
    metrics: Metrics,
}

/// An answer and its share of what may be open on the link.
struct Waiting {
    answer: Answer,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Answers {
    pub(crate) const fn new(metrics: Metrics) -> Self {
        Self { short: VecDeque::new(), long: VecDeque::new(), metrics }
    }

    /// Queues an answer. The permit is given back once it is sent.
    pub(crate) fn push(&mut self, answer: Answer, permit: Option<OwnedSemaphorePermit>) {
        self.metrics.answered(answer.status());
        let is_long = answer.body.len() > RPC_PIECE_BYTES;
        let queue = if is_long { &mut self.long } else { &mut self.short };
        queue.push_back(Waiting { answer, _permit: permit });
    }

    /// Answers that wait.
    pub(crate) fn len(&self) -> usize {
        self.short.len() + self.long.len()
    }
}

impl Contents for Answers {
    fn is_empty(&self) -> bool {
        self.short.is_empty() && self.long.is_empty()
    }

    fn fill(&mut self, frame: &mut Frame) {
        let mut bytes = 0;
        while bytes < RPC_FRAME_BYTES
            && let Some(waiting) = self.short.pop_front()
        {
            bytes += waiting.answer.body.len();
            frame.answers.push(waiting.answer);
        }
        // One piece a frame: the next short answers wait for no more than that.
        if let Some(mut waiting) = self.long.pop_front() {
            let piece =
                waiting.answer.body.split_to(RPC_PIECE_BYTES.min(waiting.answer.body.len()));
            bytes += piece.len();
            if waiting.answer.body.is_empty() {
                waiting.answer.body = piece;
                frame.answers.push(waiting.answer);
            } else {
                let id = waiting.answer.id;
                frame.answers.push(Answer { id, body: piece, more: true, ..Answer::default() });
                self.long.push_back(waiting);
            }
        }
        self.metrics.sent_bytes.increment(bytes as u64);
        self.metrics.frame_sent(frame.answers.len());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_short_answer_overtakes_a_long_one_which_comes_whole() {
        let mut answers = Answers::new(Metrics::new());
        let body = Bytes::from(vec![7; RPC_PIECE_BYTES * 3 + 1]);
        answers.push(Answer { id: 1, body: body.clone(), count: 5, ..Answer::default() }, None);
        let mut pieces = Vec::new();
        for id in 2..6 {
            answers.push(Answer { id, ..Answer::default() }, None);
            let mut frame = Frame::default();
            answers.fill(&mut frame);
            assert_eq!(frame.answers.remove(0).id, id);
            pieces.push(frame.answers.remove(0));
        }
        assert!(answers.is_empty());
        let last = pieces.last().unwrap();
        assert_eq!((last.id, last.more, last.count), (1, false, 5));
        assert!(pieces.iter().rev().skip(1).all(|piece| piece.more && piece.id == 1));
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.body.clone()).collect();
        assert_eq!(whole, body);
    }
}
