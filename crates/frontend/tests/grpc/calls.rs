//! Who may call, until when, and what a refusal says.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bitroster_frontend::Options;
use bitroster_proto::public::{
    ExecuteRequest, GetBitRequest, PipelineRequest, SetBitRequest, SetRequest,
};
use futures_util::stream;
use prost::Message as _;
use tonic::{Code, Request};

use crate::{
    harness::{Grpc, details, key},
    support::Harness,
};

fn set_bit() -> SetBitRequest {
    SetBitRequest { key: key("k"), offset: 1, value: true }
}

fn get_bit() -> GetBitRequest {
    GetBitRequest { key: key("k"), offset: 1 }
}

/// A request with a word in its head.
fn with<T>(message: T, name: &'static str, value: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(name, value.parse().unwrap());
    request
}

#[tokio::test]
async fn where_there_is_a_password_each_call_says_it() {
    let options = Options { password: Some("secret".to_owned()), ..Options::default() };
    let grpc = Grpc::over(Harness::ready(options)).await;
    let mut bitmaps = grpc.bitmaps();
    let status = bitmaps.set_bit(set_bit()).await.unwrap_err();
    assert_eq!((status.code(), details(&status).0.as_str()), (Code::Unauthenticated, "NOAUTH"));
    // "default:wrong", "other:secret"
    for wrong in ["Basic ZGVmYXVsdDp3cm9uZw==", "Basic b3RoZXI6c2VjcmV0"] {
        let status = bitmaps.set_bit(with(set_bit(), "authorization", wrong)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(details(&status).0, "WRONGPASS");
    }
    let status = bitmaps.set_bit(with(set_bit(), "authorization", "Bearer x")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let none = stream::iter(Vec::<PipelineRequest>::new());
    let status = grpc.commands().pipeline(none).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    // "default:secret"
    let right = with(set_bit(), "authorization", "Basic ZGVmYXVsdDpzZWNyZXQ=");
    assert!(!bitmaps.set_bit(right).await.unwrap().into_inner().previous);
}

#[tokio::test]
async fn a_node_that_loads_or_has_no_memory_refuses_as_it_does_in_resp() {
    let grpc = Grpc::over(Harness::loading(Options::default())).await;
    let mut bitmaps = grpc.bitmaps();
    let status = bitmaps.set_bit(set_bit()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(details(&status), ("LOADING".to_owned(), vec!["RetryInfo".to_owned()]));
    grpc.node.frontend.set_ready();
    grpc.node.give_map();
    grpc.node.is_over_memory.store(true, Relaxed);
    let status = bitmaps.set_bit(set_bit()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(details(&status), ("OOM".to_owned(), vec!["RetryInfo".to_owned()]));
    assert!(!bitmaps.get_bit(get_bit()).await.unwrap().into_inner().value);
}

#[tokio::test]
async fn a_call_ends_by_its_deadline_and_says_what_that_means() {
    let grpc = Grpc::ready().await;
    grpc.node.hold(true);
    // A client of tonic's gives up by itself, so the deadline is sent by hand.
    let message = set_bit().encode_to_vec();
    let said = grpc.web("Bitmaps/SetBit", "grpc-timeout: 80m\r\n", &message).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("grpc-status: 4\r\n") || said.contains("grpc-status:4\r\n"), "{said}");
    assert!(said.contains("UNKNOWNOUTCOME"), "{said}");
    let requests = stream::iter([PipelineRequest { commands: vec![] }]);
    let requests = futures_util::StreamExt::chain(requests, stream::pending());
    let mut request = Request::new(requests);
    request.set_timeout(Duration::from_millis(80));
    let mut responses = grpc.commands().pipeline(request).await.unwrap().into_inner();
    assert!(responses.message().await.unwrap().is_some());
    let status = responses.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

#[tokio::test]
async fn a_call_that_its_client_drops_ends_and_its_write_goes_on() {
    let grpc = Grpc::ready().await;
    grpc.node.hold(true);
    let mut bitmaps = grpc.bitmaps();
    {
        let call = bitmaps.set_bit(set_bit());
        let mut call = std::pin::pin!(call);
        tokio::select! {
            _ = &mut call => panic!("nothing is answered while writes are held"),
            () = grpc.node.held(1) => {}
        }
    }
    grpc.node.dropped(1).await;
    grpc.node.hold(false);
    let mut reader = grpc.bitmaps();
    assert!(reader.get_bit(get_bit()).await.unwrap().into_inner().value);
}

#[tokio::test]
async fn reads_are_as_fresh_as_the_call_wants_and_tell_their_age() {
    let grpc = Grpc::ready().await;
    let mut bitmaps = grpc.bitmaps();
    let plain = bitmaps.get_bit(get_bit()).await.unwrap();
    assert!(plain.metadata().get("bitroster-age-ms").is_none());
    let stale = bitmaps.get_bit(with(get_bit(), "bitroster-consistency", "stale")).await.unwrap();
    assert_eq!(stale.metadata().get("bitroster-age-ms").unwrap(), "12");
    let status =
        bitmaps.get_bit(with(get_bit(), "bitroster-consistency", "sometimes")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn messages_have_the_limits_of_values() {
    let mut options = Options::default();
    options.parse_limits.bulk_bytes_max = 1 << 20;
    let grpc = Grpc::over(Harness::ready(options)).await;
    let mut keys = grpc.keys();
    let set = |len| SetRequest { key: key("k"), value: vec![1; len].into(), ..Default::default() };
    assert!(keys.set(set(1 << 20)).await.unwrap().into_inner().written);
    let status = keys.set(set(2 << 20)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_connection_is_a_client_among_the_others() {
    let options = Options { clients_max: 2, ..Options::default() };
    let grpc = Grpc::over(Harness::ready(options)).await;
    let args = |line: &str| ExecuteRequest { args: line.split(' ').map(key).collect() };
    grpc.commands().execute(args("CLIENT ID")).await.unwrap();
    assert_eq!(grpc.node.frontend.connections(), 1);
    let mut resp = grpc.node.connect();
    resp.ask("PING", "+PONG\r\n").await;
    let one_too_many = Grpc::dial(grpc.port).await;
    let mut client = bitroster_proto::public::bitmaps_client::BitmapsClient::new(one_too_many);
    assert!(client.get_bit(get_bit()).await.is_err());
    assert_eq!(grpc.node.frontend.connections(), 2);
    resp.ask("CLIENT KILL ID 1", ":1\r\n").await;
    // The channel dials again by itself; its old connection is gone.
    let mut bitmaps = grpc.bitmaps();
    while bitmaps.get_bit(get_bit()).await.is_err() {}
    let listed = resp.ask_text("CLIENT LIST").await;
    assert!(!listed.contains("id=1 ") && listed.lines().count() == 2, "{listed}");
}

#[tokio::test]
async fn the_end_answers_what_is_open_and_ends_pipelines() {
    let grpc = Grpc::ready().await;
    let mut responses = grpc
        .commands()
        .pipeline(futures_util::StreamExt::chain(
            stream::iter([PipelineRequest { commands: vec![] }]),
            stream::pending(),
        ))
        .await
        .unwrap()
        .into_inner();
    assert!(responses.message().await.unwrap().is_some());
    let ended = grpc.node.frontend.shutdown(Duration::from_secs(20));
    let (left, last) = tokio::join!(ended, responses.message());
    assert!(last.unwrap().is_none());
    assert_eq!(left, 0);
}
