//! The service `Keys`.

use bitroster_proto::public::{
    CopyRequest, DeleteRequest, ExistsRequest, ExpireCondition, ExpireRequest, GetRequest,
    RenameRequest, ScanRequest, SetCondition, SetRequest, TtlRequest, expire_request::Expiry,
    set_request,
};
use bytes::Bytes;
use tonic::Code;

use crate::harness::{Grpc, details, key};

fn set(name: &str, value: &[u8]) -> SetRequest {
    let value = Bytes::copy_from_slice(value);
    SetRequest { key: key(name), value, ..SetRequest::default() }
}

#[tokio::test]
async fn values_are_written_read_and_removed() {
    let grpc = Grpc::ready().await;
    let mut keys = grpc.keys();
    assert!(keys.set(set("k", b"\xff\0")).await.unwrap().into_inner().written);
    let absent = SetRequest { condition: SetCondition::IfAbsent.into(), ..set("k", b"no") };
    assert!(!keys.set(absent).await.unwrap().into_inner().written);
    let present = SetRequest { condition: SetCondition::IfPresent.into(), ..set("none", b"no") };
    assert!(!keys.set(present).await.unwrap().into_inner().written);
    let got = keys.get(GetRequest { key: key("k") }).await.unwrap().into_inner();
    assert_eq!(got.value.as_deref(), Some(&b"\xff\0"[..]));
    let none = keys.get(GetRequest { key: key("none") }).await.unwrap().into_inner();
    assert_eq!(none.value, None);
    let both = vec![key("k"), key("k"), key("none")];
    let exists = keys.exists(ExistsRequest { keys: both.clone() }).await.unwrap().into_inner();
    assert_eq!(exists.count, 2);
    assert_eq!(keys.delete(DeleteRequest { keys: both }).await.unwrap().into_inner().deleted, 1);
}

#[tokio::test]
async fn expiries_are_set_told_and_taken_away() {
    let grpc = Grpc::ready().await;
    let mut keys = grpc.keys();
    let ttl = |name: &str| TtlRequest { key: key(name) };
    let none = keys.ttl(ttl("k")).await.unwrap().into_inner();
    assert_eq!((none.exists, none.ttl_ms), (false, None));
    let expiry = Some(set_request::Expiry::TtlMs(5_000));
    keys.set(SetRequest { expiry, ..set("k", b"1") }).await.unwrap();
    let some = keys.ttl(ttl("k")).await.unwrap().into_inner();
    assert_eq!((some.exists, some.ttl_ms), (true, Some(5_000)));
    let expiry = Some(set_request::Expiry::KeepTtl(true));
    keys.set(SetRequest { expiry, ..set("k", b"2") }).await.unwrap();
    assert_eq!(keys.ttl(ttl("k")).await.unwrap().into_inner().ttl_ms, Some(5_000));
    let mut change = async |expiry, condition: ExpireCondition| {
        let condition = condition.into();
        let request = ExpireRequest { key: key("k"), expiry: Some(expiry), condition };
        let changed = keys.expire(request).await.unwrap().into_inner().changed;
        (changed, keys.ttl(ttl("k")).await.unwrap().into_inner().ttl_ms)
    };
    let always = ExpireCondition::Unspecified;
    assert_eq!(change(Expiry::TtlMs(9), ExpireCondition::IfLater).await, (false, Some(5_000)));
    assert_eq!(change(Expiry::TtlMs(7_000), always).await, (true, Some(7_000)));
    assert_eq!(change(Expiry::ExpireAtMs(1_700_000_009_000), always).await, (true, Some(9_000)));
    assert_eq!(change(Expiry::Persist(true), always).await, (true, None));
    assert_eq!(change(Expiry::TtlMs(0), always).await, (true, None));
    assert!(!keys.ttl(ttl("k")).await.unwrap().into_inner().exists);
    let nothing = ExpireRequest { key: key("k"), ..ExpireRequest::default() };
    let status = keys.expire(nothing).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(details(&status), ("ERR".to_owned(), vec!["BadRequest".to_owned()]));
}

#[tokio::test]
async fn keys_are_renamed_and_copied() {
    let grpc = Grpc::ready().await;
    let mut keys = grpc.keys();
    let rename = |source: &str, target: &str, only_if_absent| RenameRequest {
        source: key(source),
        target: key(target),
        only_if_absent,
    };
    let status = keys.rename(rename("a", "b", false)).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "ERR no such key"));
    keys.set(set("a", b"1")).await.unwrap();
    keys.set(set("taken", b"2")).await.unwrap();
    assert!(!keys.rename(rename("a", "taken", true)).await.unwrap().into_inner().renamed);
    assert!(keys.rename(rename("a", "b", false)).await.unwrap().into_inner().renamed);
    let copy = |replace| CopyRequest { source: key("b"), target: key("taken"), replace };
    assert!(!keys.copy(copy(false)).await.unwrap().into_inner().copied);
    assert!(keys.copy(copy(true)).await.unwrap().into_inner().copied);
    let got = keys.get(GetRequest { key: key("taken") }).await.unwrap().into_inner();
    assert_eq!(got.value.as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn a_scan_lists_every_key_and_can_be_gone_on_from() {
    let grpc = Grpc::ready().await;
    let mut keys = grpc.keys();
    for number in 0..300 {
        keys.set(set(&format!("user:{number}"), b"1")).await.unwrap();
    }
    keys.set(set("other", b"1")).await.unwrap();
    let (mut names, mut cursor, mut messages) = (Vec::new(), 0, 0);
    loop {
        let request = ScanRequest { r#match: key("user:*"), cursor, page: 50 };
        let mut stream = keys.scan(request).await.unwrap().into_inner();
        // Two messages of each stream, and then a new one from there.
        for _ in 0..2 {
            let Some(message) = stream.message().await.unwrap() else { break };
            messages += 1;
            names.extend(message.keys);
            cursor = message.next_cursor;
        }
        if cursor == 0 {
            break;
        }
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 300);
    assert!(messages >= 6, "{messages} messages");
}
