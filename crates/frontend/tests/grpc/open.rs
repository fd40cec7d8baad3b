//! What any client finds without our files: health, reflection, gRPC-Web.

use bitroster_frontend::Options;
use bitroster_proto::public::{SetBitRequest, SetBitResponse};
use futures_util::stream;
use prost::Message as _;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

use crate::{
    harness::{Grpc, key},
    support::Harness,
};

#[tokio::test]
async fn health_follows_whether_keys_can_be_asked_for() {
    let grpc = Grpc::over(Harness::loading(Options::default())).await;
    let mut health = HealthClient::new(grpc.channel.clone());
    let named = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut watch = health.watch(named("bitroster.v1.Bitmaps")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let checked = health.check(named("")).await.unwrap().into_inner();
    assert_eq!(checked.status(), ServingStatus::NotServing);
    grpc.node.frontend.set_ready();
    grpc.node.give_map();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let checked = health.check(named("bitroster.v1.Keys")).await.unwrap().into_inner();
    assert_eq!(checked.status(), ServingStatus::Serving);
    assert_eq!(health.check(named("nobody")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_tells_of_every_service_in_both_versions() {
    let grpc = Grpc::ready().await;
    let expected = [
        "bitroster.v1.Bitmaps",
        "bitroster.v1.Commands",
        "bitroster.v1.Ids",
        "bitroster.v1.Keys",
        "grpc.health.v1.Health",
    ];
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(grpc.channel.clone());
    let mut answers =
        client.server_reflection_info(stream::iter([asked])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in expected {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
    let asked = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                "bitroster.v1.Bitmaps".to_owned(),
            ),
        ),
    };
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(grpc.channel.clone());
    let mut answers =
        client.server_reflection_info(stream::iter([asked])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(files) =
        answer
    else {
        panic!("{answer:?}")
    };
    let text = String::from_utf8_lossy(&files.file_descriptor_proto[0]).into_owned();
    assert!(text.contains("bitroster/v1/bitmaps.proto"));
    assert!(text.contains("Sets or clears one bit and tells what it was"), "comments are told");
}

#[tokio::test]
async fn browsers_may_call_over_http_1() {
    let grpc = Grpc::ready().await;
    let message = SetBitRequest { key: key("k"), offset: 5, value: true }.encode_to_vec();
    for previous in [false, true] {
        let said = grpc.web("Bitmaps/SetBit", "", &message).await;
        let text = String::from_utf8_lossy(&said);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("application/grpc-web+proto") && text.contains("grpc-status:0"));
        let expected = SetBitResponse { previous }.encode_to_vec();
        let mut frame = vec![0, 0, 0, 0, u8::try_from(expected.len()).unwrap()];
        frame.extend_from_slice(&expected);
        let end = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        assert!(said[end..].windows(frame.len()).any(|part| part == frame), "{text}");
    }
}

#[tokio::test]
async fn a_foreign_page_may_not_call_while_everybody_may() {
    let grpc = Grpc::ready().await;
    let message = SetBitRequest { key: key("k"), offset: 5, value: true }.encode_to_vec();
    let foreign = "origin: http://evil.example\r\n";
    let said = grpc.web("Bitmaps/SetBit", foreign, &message).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("grpc-status: 7\r\n") && said.contains("NOPERM"), "{said}");
    let said = grpc.web("Bitmaps/SetBit", "origin: http://localhost:3000\r\n", &message).await;
    assert!(String::from_utf8_lossy(&said).contains("grpc-status:0"));
}
