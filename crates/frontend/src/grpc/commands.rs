//! The service `Commands`.

use std::collections::VecDeque;

use bitroster_command::Reply;
use bitroster_proto::public::{
    CommandLine, ExecuteRequest, ExecuteResponse, PipelineRequest, PipelineResponse,
    commands_server::Commands,
};
use bitroster_types::limits::{GRPC_REPLIES_BYTES_MAX, TURN_BYTES_MAX, TURN_COMMANDS_MAX};
use futures_util::{
    FutureExt as _,
    stream::{self, StreamExt as _},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Outcome, Pages,
    answer::message_of,
    fault,
    gate::{Call, Gate, within},
};

/// Any command.
pub(super) struct CommandsService(pub(super) Gate);

#[tonic::async_trait]
impl Commands for CommandsService {
    async fn execute(&self, request: Request<ExecuteRequest>) -> Outcome<ExecuteResponse> {
        let (mut call, asked) = self.0.open(request)?;
        if asked.args.is_empty() {
            return Err(fault::invalid("args", "must begin with a command's name"));
        }
        let answer = call.ask_as_given(&asked.args).await?;
        Ok(call.respond(ExecuteResponse { reply: Some(message_of(answer.0)) }))
    }

    type PipelineStream = Pages<PipelineResponse>;

    async fn pipeline(
        &self,
        request: Request<Streaming<PipelineRequest>>,
    ) -> Outcome<Self::PipelineStream> {
        let (call, requests) = self.0.open(request)?;
        let closing = self.0.closing.clone();
        let pipeline = Pipeline { call, requests, closing, ready: VecDeque::new(), ended: false };
        let responses = stream::try_unfold(pipeline, |mut pipeline| async move {
            let response = pipeline.next().await?;
            Ok::<_, Status>(response.map(|response| (response, pipeline)))
        });
        Ok(Response::new(responses.boxed()))
    }
}

/// A conversation of many commands.
struct Pipeline {
    call: Call,
    requests: Streaming<PipelineRequest>,
    closing: watch::Receiver<bool>,
    /// Answers that the client has not taken.
    ready: VecDeque<PipelineResponse>,
    ended: bool,
}

impl Pipeline {
    /// The next answer; `None` at the end.
    async fn next(&mut self) -> Result<Option<PipelineResponse>, Status> {
        if self.ready.is_empty() && !self.ended {
            let deadline = self.call.deadline();
            within(deadline, self.turn()).await??;
        }
        Ok(self.ready.pop_front())
    }

    /// Waits for a request, takes those that are there already with it, and answers them all.
    async fn turn(&mut self) -> Result<(), Status> {
        let first = tokio::select! {
            request = self.requests.message() => request?,
            _ = self.closing.wait_for(|closing| *closing) => None,
        };
        let Some(first) = first else {
            self.ended = true;
            return Ok(());
        };
        self.call.dialog.note_activity();
        let (mut sizes, mut replies) = (Vec::new(), Vec::new());
        let (mut commands, mut bytes, mut counted, mut replied) = (0, 0, 0, 0);
        let mut next = Some(first);
        while let Some(PipelineRequest { commands: lines }) = next {
            sizes.push(lines.len());
            commands += lines.len();
            bytes += lines.iter().map(bytes_of).sum::<usize>();
            for line in &lines {
                self.call.dialog.ask_next(&line.args, &mut replies).await;
                replied += replies[counted..].iter().map(Reply::heap_bytes).sum::<usize>();
                counted = replies.len();
                if replied > GRPC_REPLIES_BYTES_MAX {
                    let text = format!(
                        "the replies to one message take more than {GRPC_REPLIES_BYTES_MAX} bytes, \
                         and commands of it have run: send fewer in one message"
                    );
                    return Err(Status::resource_exhausted(text));
                }
                if self.call.dialog.has_ended() {
                    break;
                }
            }
            let is_full = commands >= TURN_COMMANDS_MAX || bytes + replied >= TURN_BYTES_MAX;
            if is_full || self.call.dialog.has_ended() {
                break;
            }
            // What has not arrived is for the next turn; the end is seen again then.
            next = self.requests.message().now_or_never().transpose()?.flatten();
        }
        self.call.dialog.settle(&mut replies).await;
        self.ended = self.call.dialog.has_ended();
        let mut replies = replies.into_iter();
        for size in sizes {
            let replies = replies.by_ref().take(size).map(|reply: Reply| message_of(reply));
            self.ready.push_back(PipelineResponse { replies: replies.collect() });
        }
        Ok(())
    }
}

fn bytes_of(line: &CommandLine) -> usize {
    line.args.iter().map(bytes::Bytes::len).sum()
}
