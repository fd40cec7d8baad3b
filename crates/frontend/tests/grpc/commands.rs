//! The service `Commands`.

use bitroster_proto::public::{
    CommandLine, ExecuteRequest, PipelineRequest, Reply, RetryAdvice, reply::Value,
};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::Code;

use crate::harness::{Grpc, details};

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn request(lines: &[&str]) -> PipelineRequest {
    let line = |line: &&str| CommandLine { args: words(line) };
    PipelineRequest { commands: lines.iter().map(line).collect() }
}

/// A reply in short.
fn short(reply: &Reply) -> String {
    let all = |replies: &[Reply]| replies.iter().map(short).collect::<Vec<_>>().join(" ");
    match &reply.value {
        None => "nil".to_owned(),
        Some(Value::Integer(number)) => number.to_string(),
        Some(Value::Bulk(bytes)) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Some(Value::Status(text) | Value::Text(text)) => text.clone(),
        Some(Value::Double(number)) => format!("{number:.2}"),
        Some(Value::Array(array)) => format!("[{}]", all(&array.items)),
        Some(Value::Set(set)) => format!("({})", all(&set.items)),
        Some(Value::Map(map)) => {
            let pair = |at: &bitroster_proto::public::MapEntry| {
                let part = |part: &Option<Reply>| part.as_ref().map(short).unwrap_or_default();
                format!("{}:{}", part(&at.key), part(&at.value))
            };
            format!("{{{}}}", map.entries.iter().map(pair).collect::<Vec<_>>().join(" "))
        }
        Some(Value::Error(error)) => format!("!{}", error.message),
    }
}

#[tokio::test]
async fn any_command_is_executed_and_its_reply_keeps_its_form() {
    let grpc = Grpc::ready().await;
    let mut commands = grpc.commands();
    for (line, expected) in [
        ("PING", "PONG"),
        ("SETBIT k 7 1", "0"),
        ("GET k", r#""\u{1}""#),
        ("GET none", "nil"),
        ("MSET a 1 b 2", "OK"),
        ("MGET a b none", "[\"1\" \"2\" nil]"),
        ("BITFIELD k SET i8 0 -3 GET i8 0", "[1 -3]"),
        ("CONFIG GET maxclients", "{\"maxclients\":\"10000\"}"),
    ] {
        let args = words(line);
        let response = commands.execute(ExecuteRequest { args }).await.unwrap().into_inner();
        assert_eq!(short(&response.reply.unwrap()), expected, "{line}");
    }
}

#[tokio::test]
async fn an_executed_command_that_is_refused_is_a_status() {
    let grpc = Grpc::ready().await;
    let mut commands = grpc.commands();
    for (line, code, text) in [
        ("NOPE", Code::Unimplemented, "ERR unknown command 'NOPE', with args beginning with: "),
        ("SETBIT k", Code::InvalidArgument, "ERR wrong number of arguments for 'setbit' command"),
        ("MULTI", Code::InvalidArgument, "ERR this command means something to a connection only"),
        ("client reply OFF", Code::InvalidArgument, "ERR this command means something"),
        ("PSUBSCRIBE *", Code::InvalidArgument, "ERR this command answers with messages"),
        ("RENAME none other", Code::NotFound, "ERR no such key"),
    ] {
        let args = words(line);
        let status = commands.execute(ExecuteRequest { args }).await.unwrap_err();
        assert_eq!(status.code(), code, "{line}");
        assert!(status.message().starts_with(text), "{line}: {}", status.message());
        assert_eq!(details(&status).0, "ERR");
    }
    let nothing = commands.execute(ExecuteRequest { args: vec![] }).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument, "{nothing:?}");
}

#[tokio::test]
async fn a_pipeline_answers_each_request_in_order_errors_among_the_replies() {
    let grpc = Grpc::ready().await;
    let mut commands = grpc.commands();
    let requests = (0..200).map(|at| {
        let bit = format!("SETBIT k {at} 1");
        request(&[&bit, "BITCOUNT k", "NOPE", "GETBIT k x"])
    });
    let mut responses =
        commands.pipeline(stream::iter(requests.collect::<Vec<_>>())).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(response) = responses.message().await.unwrap() {
        count += 1;
        let said: Vec<_> = response.replies.iter().map(short).collect();
        assert_eq!(said[..2], ["0".to_owned(), count.to_string()]);
        assert!(said[2].starts_with("!ERR unknown command"), "{said:?}");
        assert_eq!(said[3], "!ERR bit offset is not an integer or out of range");
        let Some(Value::Error(error)) = &response.replies[3].value else { panic!("{said:?}") };
        assert_eq!((error.code.as_str(), error.retry()), ("ERR", RetryAdvice::Never));
    }
    assert_eq!(count, 200);
}

#[tokio::test]
async fn a_pipeline_is_a_connection_with_transactions_and_a_conversation() {
    let grpc = Grpc::ready().await;
    let mut commands = grpc.commands();
    let (send, receive) = mpsc::channel(8);
    let requests = stream::unfold(receive, |mut receive: mpsc::Receiver<_>| async move {
        receive.recv().await.map(|request| (request, receive))
    });
    let mut responses = commands.pipeline(requests).await.unwrap().into_inner();
    let aborted = "!EXECABORT Transaction discarded because of previous errors. 1";
    let dialog: [(&[&str], &str); 7] = [
        (&["WATCH w", "MULTI", "SETBIT w 0 1"], "OK OK QUEUED"),
        (&["GETBIT w 0", "EXEC"], "QUEUED [0 1]"),
        (&["CLIENT REPLY OFF", "GETBIT w 0"], "!ERR every command of a pipeline is answered 1"),
        (
            &["MULTI", "CLIENT REPLY OFF", "SETBIT w 0 0"],
            "OK !ERR every command of a pipeline is answered QUEUED",
        ),
        (&["EXEC", "GETBIT w 0"], aborted),
        (&["CLIENT CONSISTENCY stale", "CLIENT CONSISTENCY"], "OK [\"stale\" 0]"),
        (&[], ""),
    ];
    for (lines, expected) in dialog {
        send.send(request(lines)).await.unwrap();
        let response = responses.message().await.unwrap().unwrap();
        let said: Vec<_> = response.replies.iter().map(short).collect();
        assert_eq!(said.join(" "), expected);
    }
    send.send(request(&["QUIT", "PING"])).await.unwrap();
    let last = responses.message().await.unwrap().unwrap();
    assert_eq!(last.replies.iter().map(short).collect::<Vec<_>>(), ["OK"]);
    assert!(responses.message().await.unwrap().is_none(), "the stream ends after QUIT");
}
