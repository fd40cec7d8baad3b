//! Goal: what a replica says to another arrives as it was said, and nothing else is taken for it.
//!
//! Method: random messages to bytes and back; each cut at every length, lengthened, or with a
//! length that lies. Random bytes must give errors, or what encodes to the same bytes.

use std::collections::BTreeSet;

use openraft::raft::TransferLeaderError;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::raft::types::{Entry, Membership, Payload, Proposal, StoredMembership};

fn votes() -> impl Strategy<Value = Vote> {
    (0..5_u64, any::<u64>(), any::<bool>()).prop_map(|(term, voted_for, committed)| {
        if committed { Vote::new_committed(term, voted_for) } else { Vote::new(term, voted_for) }
    })
}

fn log_ids() -> impl Strategy<Value = LogId> {
    (0..5_u64, 0..1000_u64).prop_map(|(term, index)| LogId::new_term_index(term, index))
}

fn membership() -> Membership {
    let configs = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])];
    Membership::new_with_defaults(configs, [1, 2, 3, 4, 9])
}

fn payloads() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Blank),
        Just(Payload::Membership(membership())),
        vec(any::<u8>(), 0..40).prop_map(|mut bytes| {
            bytes.insert(0, 1);
            Payload::Normal(Proposal(bytes.into()))
        }),
    ]
}

fn appends() -> impl Strategy<Value = Append> {
    let entries = vec((0..3_u64, payloads()), 0..6);
    (option::of(log_ids()), entries, option::of(log_ids()), any::<u64>()).prop_map(
        |(prev_log_id, steps, leader_commit, leader)| {
            let mut term = prev_log_id.map_or(0, |log_id| log_id.leader_id.term);
            let mut next = prev_log_id.map_or(0, |log_id| log_id.index + 1);
            let entries = steps.into_iter().map(|(step, payload)| {
                term += step;
                next += 1;
                Entry { log_id: LogId::new_term_index(term, next - 1), payload }
            });
            let entries = entries.collect();
            let vote = Vote::new_committed(term + 1, leader);
            Append { vote, prev_log_id, entries, leader_commit }
        },
    )
}

fn same(one: &Append, other: &Append) -> bool {
    one.vote == other.vote
        && one.prev_log_id == other.prev_log_id
        && one.entries == other.entries
        && one.leader_commit == other.leader_commit
}

fn answers() -> impl Strategy<Value = Appended> {
    prop_oneof![
        Just(Appended::Success),
        option::of(log_ids()).prop_map(Appended::PartialSuccess),
        Just(Appended::Conflict),
        votes().prop_map(Appended::HigherVote),
    ]
}

fn transferred() -> impl Strategy<Value = Transferred> {
    prop_oneof![
        Just(Ok(())),
        (votes(), votes()).prop_map(|(expected, actual)| {
            Err(TransferLeaderError::VoteChanged { expected, actual })
        }),
        (option::of(log_ids()), option::of(log_ids())).prop_map(|(expected, actual)| {
            Err(TransferLeaderError::LogNotFlushed { expected, actual })
        }),
    ]
}

fn parts() -> impl Strategy<Value = SnapshotPart> {
    prop_oneof![
        option::of(log_ids()).prop_map(|last_log_id| {
            let last_membership = StoredMembership::new(last_log_id, membership());
            SnapshotPart::Begin(SnapshotMeta { last_log_id, last_membership })
        }),
        (any::<u64>(), vec(any::<u8>(), 0..100))
            .prop_map(|(offset, bytes)| SnapshotPart::Piece(offset, bytes.into())),
        any::<u64>().prop_map(SnapshotPart::End),
    ]
}

/// Whether no shorter form and no longer one is taken.
fn is_exact<T>(bytes: &Bytes, decode: impl Fn(&Bytes) -> io::Result<T>) -> bool {
    let longer = Bytes::from([&bytes[..], &[0]].concat());
    (0..bytes.len()).all(|len| decode(&bytes.slice(..len)).is_err()) && decode(&longer).is_err()
}

proptest! {
    #[test]
    fn appends_come_back_as_they_were_and_only_whole(append in appends()) {
        let bytes = encode_append(&append);
        prop_assert!(same(&decode_append(&bytes).unwrap(), &append));
        prop_assert!(is_exact(&bytes, decode_append));
    }

    #[test]
    fn ballots_and_their_answers_come_back_as_they_were(
        vote in votes(),
        last_log_id in option::of(log_ids()),
        flag in any::<bool>(),
    ) {
        let ballot = Ballot { vote, last_log_id, leadership_transfer: flag };
        let bytes = encode_ballot(&ballot);
        prop_assert_eq!(decode_ballot(&bytes).unwrap(), ballot);
        prop_assert!(is_exact(&bytes, |bytes| decode_ballot(bytes)));
        let voted = Voted { vote, vote_granted: flag, last_log_id };
        let bytes = encode_voted(&voted);
        prop_assert_eq!(decode_voted(&bytes).unwrap(), voted);
        prop_assert!(is_exact(&bytes, |bytes| decode_voted(bytes)));
    }

    #[test]
    fn answers_to_an_append_come_back_as_they_were(answer in answers()) {
        let bytes = encode_appended(&answer);
        prop_assert_eq!(decode_appended(&bytes).unwrap(), answer);
        prop_assert!(is_exact(&bytes, |bytes| decode_appended(bytes)));
    }

    #[test]
    fn transfers_and_their_answers_come_back_as_they_were(
        vote in votes(),
        to in any::<u64>(),
        last in option::of(log_ids()),
        answer in transferred(),
    ) {
        let transfer = Transfer::new(vote, to, last);
        let bytes = encode_transfer(&transfer);
        prop_assert_eq!(decode_transfer(&bytes).unwrap(), transfer);
        prop_assert!(is_exact(&bytes, |bytes| decode_transfer(bytes)));
        let bytes = encode_transferred(&answer);
        prop_assert_eq!(decode_transferred(&bytes).unwrap(), answer);
        prop_assert!(is_exact(&bytes, |bytes| decode_transferred(bytes)));
    }

    #[test]
    fn parts_of_snapshots_come_back_as_they_were(
        transfer in any::<u64>(),
        vote in votes(),
        part in parts(),
        theirs in option::of(votes()),
    ) {
        let message = SnapshotMessage { transfer, vote, part };
        let bytes = encode_snapshot(&message);
        prop_assert_eq!(&decode_snapshot(&bytes).unwrap(), &message);
        // A piece may have any length.
        if !matches!(message.part, SnapshotPart::Piece(..)) {
            prop_assert!(is_exact(&bytes, decode_snapshot));
        }
        let bytes = encode_received(theirs.as_ref());
        prop_assert_eq!(decode_received(&bytes).unwrap(), theirs);
        prop_assert!(is_exact(&bytes, |bytes| decode_received(bytes)));
    }

    #[test]
    fn garbage_is_an_error_or_what_it_says(bytes in vec(any::<u8>(), 0..80)) {
        let bytes = Bytes::from(bytes);
        if let Ok(append) = decode_append(&bytes) {
            prop_assert_eq!(encode_append(&append), bytes.clone());
        }
        if let Ok(message) = decode_snapshot(&bytes) {
            prop_assert_eq!(encode_snapshot(&message), bytes.clone());
        }
        if let Ok(ballot) = decode_ballot(&bytes) {
            prop_assert_eq!(encode_ballot(&ballot), bytes);
        }
    }
}

#[test]
fn a_lying_count_or_length_allocates_nothing() {
    let vote = Vote::new_committed(3, 1);
    let empty = Append { vote, prev_log_id: None, entries: Vec::new(), leader_commit: None };
    let mut bytes = encode_append(&empty).to_vec();
    let count = bytes.len() - 4;
    bytes[count..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(decode_append(&bytes.clone().into()).is_err());
    bytes[count..].copy_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&3_u64.to_le_bytes());
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(decode_append(&bytes.into()).is_err());
}

#[test]
fn entries_that_no_leader_sends_are_refused() {
    let entry = |term| Entry { log_id: LogId::new_term_index(term, 1), payload: Payload::Blank };
    let prev_log_id = Some(LogId::new_term_index(2, 0));
    let append = |vote, term| {
        let entries = vec![entry(term)];
        encode_append(&Append { vote, prev_log_id, entries, leader_commit: None })
    };
    assert!(decode_append(&append(Vote::new_committed(3, 1), 2)).is_ok());
    assert!(decode_append(&append(Vote::new_committed(3, 1), 1)).is_err(), "terms go back");
    assert!(decode_append(&append(Vote::new_committed(3, 1), 4)).is_err(), "a later term");
    assert!(decode_append(&append(Vote::new(3, 1), 2)).is_err(), "nobody elected");
    let last = Some(LogId::new_term_index(1, u64::MAX));
    let vote = Vote::new_committed(3, 1);
    let after = Append { vote, prev_log_id: last, entries: Vec::new(), leader_commit: None };
    assert!(decode_append(&encode_append(&after)).is_err(), "no index left");
    let ballot =
        Ballot { vote: Vote::new(u64::MAX, 1), last_log_id: None, leadership_transfer: false };
    assert!(decode_ballot(&encode_ballot(&ballot)).is_err(), "no term left");
}

#[test]
fn a_payload_is_a_slice_of_the_message() {
    let payload = Payload::Normal(Proposal(Bytes::from(vec![1; 100])));
    let entries = vec![Entry { log_id: LogId::new_term_index(1, 0), payload }];
    let vote = Vote::new_committed(1, 1);
    let append = Append { vote, prev_log_id: None, entries, leader_commit: None };
    let body = encode_append(&append);
    let Payload::Normal(proposal) = decode_append(&body).unwrap().entries.remove(0).payload else {
        panic!("the entry holds ops");
    };
    assert!(body.as_ptr_range().contains(&proposal.0.as_ptr()));
}
