//! The service `Bitmaps`: single bits, counts, combinations.

use bitroster_proto::public::{
    Combination, CombineCountRequest, CombineRequest, CountRequest, GetBitRequest, IndexRange,
    IndexUnit, PositionRequest, SetBitRequest,
};
use tonic::Code;

use crate::harness::{Grpc, details, key};

#[tokio::test]
async fn a_bit_is_set_read_counted_and_found() {
    let grpc = Grpc::ready().await;
    let mut bitmaps = grpc.bitmaps();
    let set = |offset, value| SetBitRequest { key: key("k"), offset, value };
    assert!(!bitmaps.set_bit(set(9, true)).await.unwrap().into_inner().previous);
    assert!(bitmaps.set_bit(set(9, true)).await.unwrap().into_inner().previous);
    bitmaps.set_bit(set(3, true)).await.unwrap();
    let get = |offset| GetBitRequest { key: key("k"), offset };
    assert!(bitmaps.get_bit(get(9)).await.unwrap().into_inner().value);
    assert!(!bitmaps.get_bit(get(10)).await.unwrap().into_inner().value);
    let mut count = async |range| {
        let request = CountRequest { key: key("k"), range };
        bitmaps.count(request).await.unwrap().into_inner().count
    };
    assert_eq!(count(None).await, 2);
    let range = |start, end, unit: IndexUnit| Some(IndexRange { start, end, unit: unit.into() });
    assert_eq!(count(range(-1, -1, IndexUnit::Byte)).await, 1);
    assert_eq!(count(range(0, 8, IndexUnit::Bit)).await, 1);
    assert_eq!(count(range(0, 8, IndexUnit::Unspecified)).await, 2);
    let asked = PositionRequest { key: key("k"), bit: true, ..PositionRequest::default() };
    let mut find = async |request: PositionRequest| {
        bitmaps.position(request).await.map(|response| response.into_inner().offset)
    };
    assert_eq!(find(asked.clone()).await.unwrap(), Some(3));
    assert_eq!(find(PositionRequest { start: Some(1), ..asked.clone() }).await.unwrap(), Some(9));
    let (start, end, unit) = (Some(4), Some(8), IndexUnit::Bit.into());
    let bits = PositionRequest { start, end, unit, ..asked.clone() };
    assert_eq!(find(bits.clone()).await.unwrap(), None);
    let status = find(PositionRequest { end: None, ..bits }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let none = PositionRequest { key: key("none"), ..asked };
    assert_eq!(find(none.clone()).await.unwrap(), None);
    assert_eq!(find(PositionRequest { bit: false, ..none }).await.unwrap(), Some(0));
}

#[tokio::test]
async fn bitmaps_are_combined_into_a_key_or_only_counted() {
    let grpc = Grpc::ready().await;
    let mut bitmaps = grpc.bitmaps();
    for (name, offsets) in [("a", [1, 2, 30]), ("b", [2, 3, 4])] {
        for offset in offsets {
            let request = SetBitRequest { key: key(name), offset, value: true };
            bitmaps.set_bit(request).await.unwrap();
        }
    }
    let sources = vec![key("a"), key("b")];
    let cases = [
        (Combination::And, 1),
        (Combination::Or, 5),
        (Combination::Xor, 4),
        (Combination::Diff, 2),
        (Combination::Diff1, 2),
        (Combination::Andor, 1),
        (Combination::One, 4),
    ];
    for (combination, expected) in cases {
        let (combination, sources) = (combination.into(), sources.clone());
        let request = CombineCountRequest { combination, sources: sources.clone() };
        assert_eq!(bitmaps.combine_count(request).await.unwrap().into_inner().count, expected);
        let request = CombineRequest { combination, target: key("to"), sources };
        assert_eq!(bitmaps.combine(request).await.unwrap().into_inner().length_bytes, 4);
        let counted = CountRequest { key: key("to"), range: None };
        assert_eq!(bitmaps.count(counted).await.unwrap().into_inner().count, expected);
    }
    let not = Combination::Not.into();
    let request = CombineRequest { combination: not, target: key("to"), sources };
    let status = bitmaps.combine(request).await.unwrap_err();
    assert_eq!(status.message(), "ERR BITOP NOT must be called with a single source key.");
    let request = CombineCountRequest { combination: 99, sources: vec![key("a")] };
    let status = bitmaps.combine_count(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(details(&status).1, ["BadRequest"]);
}

#[tokio::test]
async fn limits_and_their_words_are_those_of_resp() {
    let grpc = Grpc::ready().await;
    let mut bitmaps = grpc.bitmaps();
    let request = SetBitRequest { key: key("k"), offset: 1 << 32, value: true };
    let status = bitmaps.set_bit(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "ERR bit offset is not an integer or out of range");
    let long = "k".repeat(65_537);
    let request = SetBitRequest { key: key(&long), offset: 1, value: true };
    let status = bitmaps.set_bit(request).await.unwrap_err();
    let mut client = grpc.node.connect();
    client.send(format!("*4\r\n$6\r\nSETBIT\r\n$65537\r\n{long}\r\n$1\r\n1\r\n$1\r\n1\r\n")).await;
    client.expect(&format!("-{}\r\n", status.message())).await;
}
