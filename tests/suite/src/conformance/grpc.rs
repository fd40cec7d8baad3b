//! The public gRPC API as a medium: each case is one stream of `Commands.Pipeline`.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bitroster_proto::public::{
    CommandLine, ExecuteRequest, PipelineRequest, PipelineResponse, Reply,
    commands_client::CommandsClient, reply,
};
use bitroster_resp::Frame;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Streaming,
    transport::{Channel, Endpoint},
};

use super::Medium;

/// Streams of `Commands.Pipeline` to one server.
pub struct Grpc {
    name: String,
    runtime: Runtime,
    client: CommandsClient<Channel>,
    stream: Option<Stream>,
}

/// One conversation.
struct Stream {
    requests: mpsc::Sender<PipelineRequest>,
    responses: Streaming<PipelineResponse>,
}

impl Grpc {
    /// A connection to the server at `address`.
    ///
    /// # Panics
    ///
    /// If nobody listens there.
    pub fn connect(name: &str, address: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let channel = runtime.block_on(endpoint.connect()).expect("the gRPC API answers");
        let client = CommandsClient::new(channel);
        Self { name: format!("gRPC on {name}"), runtime, client, stream: None }
    }
}

/// Runs one command by `Commands.Execute` as a user: the reply as RESP3 would carry it, or the code
/// and the message of the status.
///
/// # Panics
///
/// If nobody listens at `address`.
pub fn execute(
    address: SocketAddr,
    (user, password): (&str, &str),
    words: &str,
) -> Result<Frame, (Code, String)> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let channel = endpoint.connect().await.expect("the gRPC API answers");
        let args = words.split(' ').map(|word| word.to_owned().into()).collect();
        let mut request = Request::new(ExecuteRequest { args });
        let said = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let said = said.parse().expect("base64 is plain text");
        request.metadata_mut().insert("authorization", said);
        match CommandsClient::new(channel).execute(request).await {
            Ok(said) => Ok(said.into_inner().reply.map_or(Frame::Nil, frame)),
            Err(status) => Err((status.code(), status.message().to_owned())),
        }
    })
}

impl Medium for Grpc {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&mut self) {
        let (requests, sent) = mpsc::channel(1);
        let opened = self.client.pipeline(ReceiverStream::new(sent));
        let first = PipelineRequest { commands: vec![line(&[b"FLUSHALL".to_vec()])] };
        let opened = self.runtime.block_on(async {
            requests.send(first).await.expect("the stream takes requests");
            let mut responses = opened.await.expect("the stream opens").into_inner();
            let flushed = responses.message().await.expect("an answer to FLUSHALL");
            assert!(flushed.is_some(), "the stream ended");
            Stream { requests, responses }
        });
        self.stream = Some(opened);
    }

    fn call(&mut self, request: &[Vec<u8>]) -> Result<Frame> {
        let stream = self.stream.as_mut().context("a case was started")?;
        let request = PipelineRequest { commands: vec![line(request)] };
        let response = self.runtime.block_on(async {
            stream.requests.send(request).await.context("the stream takes no more")?;
            stream.responses.message().await.context("the stream failed")
        })?;
        let mut replies = response.context("the stream ended")?.replies;
        replies.pop().map(frame).context("no reply")
    }
}

fn line(args: &[Vec<u8>]) -> CommandLine {
    CommandLine { args: args.iter().map(|arg| arg.clone().into()).collect() }
}

/// A reply as RESP3 would carry it.
fn frame(reply: Reply) -> Frame {
    use reply::Value as V;
    match reply.value {
        None => Frame::Nil,
        Some(V::Integer(number)) => Frame::Integer(number),
        Some(V::Bulk(bytes)) => Frame::Bulk(bytes),
        Some(V::Status(text)) => Frame::Simple(text.into()),
        Some(V::Text(text)) => Frame::Verbatim { format: *b"txt", text: text.into() },
        Some(V::Double(number)) => Frame::Double(number),
        Some(V::Array(items)) => Frame::Array(items.items.into_iter().map(frame).collect()),
        Some(V::Set(items)) => Frame::Set(items.items.into_iter().map(frame).collect()),
        Some(V::Map(map)) => Frame::Map(
            map.entries
                .into_iter()
                .map(|entry| {
                    let side = |side: Option<Reply>| side.map_or(Frame::Nil, frame);
                    (side(entry.key), side(entry.value))
                })
                .collect(),
        ),
        Some(V::Error(error)) => Frame::Error(error.message.into()),
    }
}
