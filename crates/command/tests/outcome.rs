//! Goal: whatever outcome a group gives comes back from its bytes, and no bytes can hurt the
//! reader.
//!
//! Method: every variant is generated, written and read; encoded outcomes are cut at every byte,
//! changed and made up; golden bytes pin the form, which lies in snapshots.
//!
//! Mutants killed: a tag used twice, fields swapped, a depth or a claimed length not checked, the
//! outcomes of a numbered batch read without the rule against further ones.

#[path = "common/ops.rs"]
mod ops;

use std::time::Duration;

use bitroster_command::{
    CommandError, EntryError, Grant, Header, NumberedOutcome, Outcome, OutcomeBatch, OutcomeWriter,
    Reply, Retry,
};
use bitroster_types::{GroupId, LogIndex, SessionId, UnixMillis, Version, limits::REPLY_DEPTH_MAX};
use bytes::Bytes;
use ops::{grant, group, time, value, version};
use proptest::{collection::vec, option, prelude::*};

fn error() -> impl Strategy<Value = CommandError> {
    prop_oneof![
        Just(CommandError::Syntax),
        Just(CommandError::NotAnInteger),
        ".{0,40}".prop_map(CommandError::Message),
        Just(CommandError::OutOfMemory),
        any::<u16>().prop_map(|group| CommandError::NoLeader { group }),
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| {
            CommandError::OutcomeUnknown { waited: Duration::new(secs, nanos) }
        }),
        Just(CommandError::Loading),
        Just(CommandError::SESSIONS),
        Just(CommandError::SESSION_WINDOW),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let status = prop::sample::select(vec!["string", "none", "PONG", "QUEUED", "RESET"]);
    let leaf = prop_oneof![
        Just(Reply::Ok),
        status.prop_map(Reply::Status),
        (-70..70_i64).prop_map(Reply::Integer),
        any::<i64>().prop_map(Reply::Integer),
        value().prop_map(Reply::Bulk),
        value().prop_map(Reply::Text),
        Just(Reply::Nil),
        Just(Reply::NilArray),
        (-1e9..1e9_f64).prop_map(Reply::Double),
        error().prop_map(Reply::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Reply::Array),
            vec(inner.clone(), 0..4).prop_map(Reply::Set),
            vec((inner.clone(), inner), 0..3).prop_map(Reply::Map),
        ]
    })
}

fn header() -> impl Strategy<Value = Box<Header>> {
    (option::of(version()), option::of(time()), vec(group(), 0..5), any::<[u64; 2]>()).prop_map(
        |(version, expiry, spread, [len_bytes, modified])| {
            let modified = LogIndex(modified);
            Box::new(Header { version, expiry, spread, len_bytes, modified })
        },
    )
}

fn plain_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => reply().prop_map(Outcome::Reply),
        1 => header().prop_map(Outcome::Spread),
        1 => option::of(header()).prop_map(Outcome::Header),
        1 => Just(Outcome::AskHome),
        1 => grant().prop_map(Outcome::Granted),
        1 => version().prop_map(Outcome::Reserved),
        1 => vec(reply(), 0..4).prop_map(Outcome::Replies),
        1 => any::<u64>().prop_map(|session| Outcome::Session(SessionId(session))),
        1 => version().prop_map(Outcome::Newer),
        1 => Just(Outcome::NotOwner),
        1 => Just(Outcome::Tick),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let numbered = prop_oneof![
        2 => vec(plain_outcome(), 0..4).prop_map(|all| NumberedOutcome::Applied(encoded(&all))),
        1 => Just(NumberedOutcome::Forgotten),
        1 => Just(NumberedOutcome::NoSession),
    ];
    prop_oneof![6 => plain_outcome(), 1 => numbered.prop_map(Outcome::Numbered)]
}

fn encoded(outcomes: &[Outcome]) -> OutcomeBatch {
    let mut writer = OutcomeWriter::new();
    for outcome in outcomes {
        writer.push(outcome);
    }
    let len = writer.len_bytes();
    let batch = writer.finish();
    assert_eq!((batch.count() as usize, batch.bytes().len()), (outcomes.len(), len));
    batch
}

fn decode(count: u32, bytes: &[u8]) -> Result<Vec<Outcome>, EntryError> {
    OutcomeBatch::from_encoded(count, Bytes::copy_from_slice(bytes)).decode()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_outcome_comes_back_as_it_was(outcomes in vec(outcome(), 0..8)) {
        let batch = encoded(&outcomes);
        let sent = OutcomeBatch::from_encoded(batch.count(), batch.bytes().clone());
        prop_assert_eq!(&sent, &batch);
        prop_assert_eq!(sent.decode(), Ok(outcomes));
    }

    #[test]
    fn outcomes_cut_at_any_byte_are_an_error(outcomes in vec(outcome(), 1..4)) {
        let batch = encoded(&outcomes);
        for len in 0..batch.bytes().len() {
            let cut = OutcomeBatch::from_encoded(batch.count(), batch.bytes().slice(..len));
            prop_assert!(cut.decode().is_err(), "{len} bytes");
        }
        let fewer = OutcomeBatch::from_encoded(batch.count() - 1, batch.bytes().clone());
        prop_assert!(fewer.decode().is_err());
        let more = OutcomeBatch::from_encoded(u32::MAX, batch.bytes().clone());
        prop_assert_eq!(more.decode(), Err(EntryError::Truncated));
    }

    #[test]
    fn changed_outcomes_never_panic(
        outcomes in vec(outcome(), 1..4),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let batch = encoded(&outcomes);
        let mut bytes = batch.bytes().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(outcomes) = decode(batch.count(), &bytes) {
            encoded(&outcomes);
        }
    }

    #[test]
    fn outcomes_made_up_never_panic(bytes in vec(any::<u8>(), 0..300), count in 301_u32..) {
        prop_assert!(decode(count, &bytes).is_err());
    }
}

#[test]
fn the_usual_answers_take_a_byte() {
    for reply in [Reply::Integer(0), Reply::Integer(1), Reply::Integer(63), Reply::Ok, Reply::Nil] {
        assert_eq!(encoded(&[reply.into()]).bytes().len(), 1);
    }
    assert!(encoded(&[Reply::Integer(64).into()]).bytes().len() > 1);
    assert!(encoded(&[Reply::Integer(-1).into()]).bytes().len() > 1);
}

#[test]
fn a_text_of_ours_comes_back_as_an_equal_text() {
    let sent = CommandError::BIT_OFFSET;
    let got = encoded(&[sent.clone().into()]).decode().unwrap();
    let [Outcome::Reply(Reply::Error(got))] = &got[..] else { panic!("{got:?}") };
    assert_eq!((got.to_string(), got.retry()), (sent.to_string(), sent.retry()));
}

#[test]
fn what_this_build_does_not_know_keeps_its_meaning() {
    let sent = [Reply::Status("NEWSTATUS").into(), CommandError::Busy("a new reason").into()];
    let got = encoded(&sent).decode().unwrap();
    assert_eq!(got[0], Reply::Text(Bytes::from_static(b"NEWSTATUS")).into());
    let Outcome::Reply(Reply::Error(error)) = &got[1] else { panic!("{got:?}") };
    assert!(matches!(**error, CommandError::Busy(_)));
    assert_eq!(error.retry(), Retry::Safe);
}

#[test]
fn replies_nest_as_deep_as_they_may_and_no_deeper() {
    let nested = |depth| (0..depth).fold(Reply::Nil, |inner, _| Reply::Array(vec![inner]));
    let deepest = vec![Outcome::Reply(nested(REPLY_DEPTH_MAX - 1))];
    assert_eq!(encoded(&deepest).decode(), Ok(deepest));
    let deeper = encoded(&[nested(REPLY_DEPTH_MAX).into()]).decode();
    assert_eq!(deeper, Err(EntryError::Field("depth of a reply")));
    // An array of one, a million times.
    let bottomless = [0x46, 1].repeat(1_000_000);
    assert_eq!(decode(1, &bottomless), Err(EntryError::Field("depth of a reply")));
}

#[test]
fn a_numbered_batch_among_the_outcomes_of_one_is_refused() {
    for inner in [
        NumberedOutcome::Forgotten,
        NumberedOutcome::NoSession,
        NumberedOutcome::Applied(OutcomeBatch::default()),
    ] {
        let batch = encoded(&[Outcome::Numbered(inner)]);
        let outer = encoded(&[Outcome::Numbered(NumberedOutcome::Applied(batch))]);
        let got = outer.decode().unwrap();
        let [Outcome::Numbered(NumberedOutcome::Applied(batch))] = &got[..] else { panic!() };
        let refused = Err(EntryError::Field("outcome of a numbered batch"));
        assert_eq!(batch.clone().decode(), refused);
    }
}

#[test]
fn values_that_no_outcome_has_are_errors() {
    let field = |bytes: &[u8]| match decode(1, bytes) {
        Err(EntryError::Field(name)) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(b"\x4b"), "reply");
    assert_eq!(field(b"\x7f"), "reply");
    assert_eq!(field(b"\xff"), "outcome");
    assert_eq!(field(b"\x62\x01\xff"), "error");
    assert_eq!(field(b"\x65\x00\x80\x94\xeb\xdc\x03"), "duration");
    assert_eq!(field(b"\x80"), "outcome");
    // An array of 2^32 replies, and an applied batch of 2^35 outcomes.
    assert_eq!(decode(1, b"\x46\xff\xff\xff\xff\x0f\0"), Err(EntryError::Truncated));
    assert_eq!(decode(1, b"\x89\x80\x80\x80\x80\x80\x01\0"), Err(EntryError::Truncated));
}

#[test]
fn values_are_slices_of_what_was_received() {
    let batch = encoded(&[Reply::bulk([7; 1000]).into()]);
    let received = batch.bytes().clone();
    let got = batch.decode().unwrap();
    let [Outcome::Reply(Reply::Bulk(value))] = &got[..] else { panic!("{got:?}") };
    assert!(received.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn the_bytes_of_each_outcome_never_change() {
    let (version, groups) = (Version(2), vec![GroupId(7)]);
    let expiry = Some(UnixMillis(3));
    let header = Header {
        version: Some(version),
        expiry: None,
        spread: groups,
        len_bytes: 4,
        modified: LogIndex(5),
    };
    let map = Reply::Map(vec![(Reply::bulk("a"), Reply::Double(0.5))]);
    let unknown = CommandError::OutcomeUnknown { waited: Duration::new(1, 2) };
    let applied = NumberedOutcome::Applied(encoded(&[Reply::Ok.into()]));
    let outcomes = [
        Reply::Integer(5).into(),
        Reply::Ok.into(),
        Reply::Integer(-2).into(),
        Reply::bulk("b").into(),
        Reply::Text(Bytes::from_static(b"t")).into(),
        Reply::Nil.into(),
        Reply::NilArray.into(),
        Reply::Array(vec![Reply::Nil]).into(),
        Reply::Set(vec![]).into(),
        map.into(),
        Reply::Status("none").into(),
        CommandError::Syntax.into(),
        CommandError::NotAnInteger.into(),
        CommandError::Text("E").into(),
        CommandError::OutOfMemory.into(),
        CommandError::NoLeader { group: 9 }.into(),
        unknown.into(),
        CommandError::Loading.into(),
        CommandError::Busy("B").into(),
        Outcome::Spread(Box::new(header.clone())),
        Outcome::Header(None),
        Outcome::Header(Some(Box::new(header))),
        Outcome::AskHome,
        Outcome::Granted(Grant { version, expiry, drawn: version }),
        Outcome::Reserved(version),
        Outcome::Replies(vec![Reply::Integer(1)]),
        Outcome::Session(SessionId(6)),
        Outcome::Numbered(applied),
        Outcome::Numbered(NumberedOutcome::Forgotten),
        Outcome::Numbered(NumberedOutcome::NoSession),
        Outcome::Newer(version),
        Outcome::NotOwner,
        Outcome::Tick,
    ];
    let golden = b"\x05\x40\x41\x03\x42\x01b\x43\x01t\x44\x45\x46\x01\x44\x47\0\
        \x48\x01\x42\x01a\x49\0\0\0\0\0\0\xe0\x3f\x4a\x04none\
        \x60\x61\x62\x01E\x63\x64\x09\x65\x01\x02\x66\x67\x01B\
        \x81\x01\x02\0\x01\x07\x04\x05\x82\x83\x01\x02\0\x01\x07\x04\x05\
        \x84\x85\x02\x01\x03\x02\x86\x02\x87\x01\x01\x88\x06\
        \x89\x01\x01\x40\x8a\x8b\x8c\x02\x8d\x8e";
    assert_eq!(encoded(&outcomes).bytes(), &golden[..]);
}
