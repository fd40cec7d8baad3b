//! The service `Bitmaps`: sets in and out, in pieces.

use bitroster_frontend::Options;
use bitroster_proto::public::{
    CountRequest, ExportBitsRequest, Format, ImportBitsRequest, ImportHeader, ImportMode, Offsets,
    import_bits_request::Part,
};
use bytes::Bytes;
use futures_util::stream;
use tonic::{Code, Status};

use crate::{
    harness::{Grpc, key},
    support::Harness,
};

fn header(format: Format, mode: ImportMode) -> Part {
    Part::Header(ImportHeader { key: key("k"), format: format.into(), mode: mode.into() })
}

fn offsets(offsets: impl IntoIterator<Item = u64>) -> Part {
    Part::Offsets(Offsets { offsets: offsets.into_iter().collect() })
}

impl Grpc {
    async fn import(&self, parts: Vec<Part>) -> Result<u64, Status> {
        let pieces = parts.into_iter().map(|part| ImportBitsRequest { part: Some(part) });
        let pieces = stream::iter(pieces.collect::<Vec<_>>());
        Ok(self.bitmaps().import_bits(pieces).await?.into_inner().count)
    }

    async fn export(&self, name: &str, format: Format) -> (Vec<u8>, usize) {
        let request = ExportBitsRequest { key: key(name), format: format.into() };
        let mut stream = self.bitmaps().export_bits(request).await.unwrap().into_inner();
        let (mut whole, mut messages) = (Vec::new(), 0);
        while let Some(message) = stream.message().await.unwrap() {
            messages += 1;
            whole.extend_from_slice(&message.data);
        }
        (whole, messages)
    }

    async fn count(&self) -> u64 {
        let request = CountRequest { key: key("k"), range: None };
        self.bitmaps().count(request).await.unwrap().into_inner().count
    }
}

#[tokio::test]
async fn numbers_come_in_pieces_and_count_by_their_mode() {
    let grpc = Grpc::ready().await;
    let first = header(Format::Unspecified, ImportMode::Set);
    let parts = vec![first, offsets(0..1000), offsets([7, 5_000_000]), offsets([])];
    assert_eq!(grpc.import(parts).await.unwrap(), 1001);
    let merge = |mode| vec![header(Format::Unspecified, mode), offsets([1, 2000])];
    assert_eq!(grpc.import(merge(ImportMode::Or)).await.unwrap(), 1);
    assert_eq!(grpc.count().await, 1002);
    assert_eq!(grpc.import(merge(ImportMode::AndNot)).await.unwrap(), 2);
    assert_eq!(grpc.import(merge(ImportMode::Xor)).await.unwrap(), 2);
    assert_eq!(grpc.count().await, 1002);
    assert_eq!(grpc.import(merge(ImportMode::Unspecified)).await.unwrap(), 2);
    assert_eq!(grpc.count().await, 2);
}

#[tokio::test]
async fn what_is_exported_can_be_imported_in_every_format() {
    let grpc = Grpc::ready().await;
    let first = header(Format::Unspecified, ImportMode::Set);
    let odd = (0..600_000).map(|at| at * 8 + at % 7);
    grpc.import(vec![first.clone(), offsets(odd)]).await.unwrap();
    for format in [Format::Roaring32, Format::Roaring64, Format::Bytes, Format::Csv] {
        let (whole, messages) = grpc.export("k", format).await;
        assert!(messages > 1, "{format:?}: {} bytes in {messages} messages", whole.len());
        grpc.import(vec![first.clone(), offsets([1])]).await.unwrap();
        let mut parts = vec![header(format, ImportMode::Set)];
        let pieces = whole.chunks(100_003).map(Bytes::copy_from_slice);
        parts.extend(pieces.map(Part::Data));
        assert_eq!(grpc.import(parts).await.unwrap(), 600_000, "{format:?}");
        assert_eq!(grpc.export("k", format).await.0, whole);
    }
    assert_eq!(grpc.export("none", Format::Csv).await, (vec![], 0));
}

#[tokio::test]
async fn pieces_that_do_not_fit_change_nothing() {
    let mut options = Options::default();
    options.parse_limits.bulk_bytes_max = 1 << 20;
    let grpc = Grpc::over(Harness::ready(options)).await;
    let numbers = header(Format::Unspecified, ImportMode::Set);
    let bytes = header(Format::Bytes, ImportMode::Set);
    let data = |len| Part::Data(vec![1; len].into());
    let cases = [
        vec![],
        vec![offsets([1])],
        vec![numbers.clone(), numbers.clone()],
        vec![numbers.clone(), data(1)],
        vec![bytes.clone(), offsets([1])],
        vec![bytes, data(1 << 20), data(1)],
        vec![numbers.clone(), offsets(0..300_000)],
        vec![numbers.clone(), offsets([1 << 40])],
        vec![header(Format::Csv, ImportMode::Or), Part::Data(key("1\nx\n"))],
        vec![header(Format::Roaring32, ImportMode::Or), data(5)],
    ];
    for parts in cases {
        let told = format!("{:?}", parts.iter().take(2).collect::<Vec<_>>());
        let told: String = told.chars().take(200).collect();
        let status = grpc.import(parts).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{told}: {status:?}");
    }
    assert_eq!(grpc.count().await, 0);
    let request = ExportBitsRequest { key: key("k"), format: 0 };
    let status = grpc.bitmaps().export_bits(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
