//! A gRPC server over one engine, and its clients.

use bitroster_frontend::Options;
use bitroster_proto::public::{
    bitmaps_client::BitmapsClient, commands_client::CommandsClient, ids_client::IdsClient,
    keys_client::KeysClient,
};
use bytes::Bytes;
use prost::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tonic::{Status, transport::Channel};

use crate::support::Harness;

/// A server and a connection to it.
pub(crate) struct Grpc {
    pub(crate) node: Harness,
    pub(crate) port: u16,
    pub(crate) channel: Channel,
}

impl Grpc {
    /// A server that answers everything.
    pub(crate) async fn ready() -> Self {
        Self::over(Harness::ready(Options::default())).await
    }

    /// A server over a node.
    pub(crate) async fn over(node: Harness) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let frontend = node.frontend.clone();
        #[allow(clippy::disallowed_methods, reason = "a test owns its tasks")]
        drop(tokio::spawn(async move { frontend.serve_grpc(listener, None).await.unwrap() }));
        let channel = Self::dial(port).await;
        Self { node, port, channel }
    }

    /// One more connection.
    pub(crate) async fn dial(port: u16) -> Channel {
        let endpoint = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// A call as a browser makes it, with `heads` among its headers: all that comes back.
    pub(crate) async fn web(&self, path: &str, heads: &str, message: &[u8]) -> Vec<u8> {
        let len = u32::try_from(message.len()).unwrap();
        let body = [&[0][..], &len.to_be_bytes(), message].concat();
        let head = format!(
            "POST /bitroster.v1.{path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
             content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n{heads}\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        said
    }

    pub(crate) fn bitmaps(&self) -> BitmapsClient<Channel> {
        BitmapsClient::new(self.channel.clone())
    }

    pub(crate) fn keys(&self) -> KeysClient<Channel> {
        KeysClient::new(self.channel.clone())
    }

    pub(crate) fn ids(&self) -> IdsClient<Channel> {
        IdsClient::new(self.channel.clone())
    }

    pub(crate) fn commands(&self) -> CommandsClient<Channel> {
        CommandsClient::new(self.channel.clone())
    }
}

pub(crate) fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

/// `google.rpc.Status`, as far as a test looks.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// Only the first field: `ErrorInfo.reason`.
#[derive(Clone, PartialEq, Message)]
struct Reason {
    #[prost(string, tag = "1")]
    reason: String,
}

/// The reason in a status's details, and the names of the others.
pub(crate) fn details(status: &Status) -> (String, Vec<String>) {
    let rich = RichStatus::decode(status.details()).unwrap();
    assert_eq!(rich.code, i32::from(status.code()));
    let mut names = rich.details.iter().map(|any| any.type_url.clone());
    assert_eq!(names.next().as_deref(), Some("type.googleapis.com/google.rpc.ErrorInfo"));
    let reason = Reason::decode(rich.details[0].value.as_slice()).unwrap().reason;
    (reason, names.map(|name| name.rsplit('.').next().unwrap().to_owned()).collect())
}
