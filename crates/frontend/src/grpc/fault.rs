//! Refusals to statuses with details.
//!
//! Details are `google.rpc.Status` as the richer error model of gRPC has it: `ErrorInfo` always,
//! `BadRequest` where the arguments are at fault, `RetryInfo` where the same call may be sent
//! again. Those few messages are written down here rather than generated.

use std::collections::HashMap;

use bitroster_command::{CommandError, Retry};
use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

/// `ErrorInfo.domain` of every status.
const DOMAIN: &str = "bitroster";

/// When a call that was refused with nothing applied is worth another try.
const RETRY_DELAY_MS: i32 = 100;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

/// `google.rpc.RetryInfo`, and in it `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Span>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// `google.rpc.BadRequest`.
#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

/// The code that a Redis client's error begins with.
pub(super) fn code_of(message: &str) -> &str {
    message.split(' ').next().unwrap_or_default()
}

/// The status of a refused or failed command.
pub(super) fn status_of(error: &CommandError) -> Status {
    let message = error.to_string();
    let code = grpc_code(error, &message);
    let mut metadata = retry_of(error.retry());
    if let CommandError::NoLeader { group } = error {
        metadata.insert("group".to_owned(), group.to_string());
    }
    let mut details = vec![error_info(code_of(&message), metadata)];
    if code == Code::InvalidArgument {
        let description = message.strip_prefix("ERR ").unwrap_or(&message);
        details.push(bad_request("", description));
    }
    if error.retry() == Retry::Safe {
        details.push(retry_soon());
    }
    rich(code, message, details)
}

/// A field of a message is wrong.
pub(super) fn invalid(field: &str, description: impl Into<String>) -> Status {
    let description = description.into();
    let message = format!("ERR {field}: {description}");
    let info = error_info("ERR", retry_of(Retry::Never));
    let details = vec![info, bad_request(field, &description)];
    rich(Code::InvalidArgument, message, details)
}

/// The client's deadline has passed. What was sent is done or not: nobody waited for it.
pub(super) fn late() -> Status {
    let message = "UNKNOWNOUTCOME no answer within the call's deadline; a write may or may not be \
                   applied";
    let details = vec![error_info("UNKNOWNOUTCOME", retry_of(Retry::IfIdempotent))];
    rich(Code::DeadlineExceeded, message.to_owned(), details)
}

/// The pieces of an import came too slowly; nothing was applied.
pub(super) fn slow() -> Status {
    let message = "TIMEOUT the import's pieces come too slowly; nothing was applied";
    let details = vec![error_info("TIMEOUT", retry_of(Retry::Safe)), retry_soon()];
    rich(Code::Aborted, message.to_owned(), details)
}

fn retry_of(retry: Retry) -> HashMap<String, String> {
    let retry = match retry {
        Retry::Never => "never",
        Retry::Safe => "safe",
        Retry::IfIdempotent => "if-idempotent",
    };
    HashMap::from([("retry".to_owned(), retry.to_owned())])
}

fn retry_soon() -> Any {
    let retry_delay = Some(Span { seconds: 0, nanos: RETRY_DELAY_MS * 1_000_000 });
    any("google.rpc.RetryInfo", &RetryInfo { retry_delay })
}

fn grpc_code(error: &CommandError, message: &str) -> Code {
    match error {
        CommandError::Syntax | CommandError::NotAnInteger => Code::InvalidArgument,
        CommandError::OutOfMemory => Code::ResourceExhausted,
        CommandError::NoLeader { .. } | CommandError::Loading | CommandError::Busy(_) => {
            Code::Unavailable
        }
        CommandError::OutcomeUnknown { .. } => Code::Unknown,
        CommandError::Text(_) | CommandError::Message(_) => code_of_text(error, message),
    }
}

fn code_of_text(error: &CommandError, message: &str) -> Code {
    if *error == CommandError::NO_SUCH_KEY {
        return Code::NotFound;
    }
    match code_of(message) {
        "ERR" if message.starts_with("ERR unknown command") => Code::Unimplemented,
        "ERR" | "NOPROTO" => Code::InvalidArgument,
        "NOAUTH" | "WRONGPASS" => Code::Unauthenticated,
        "NOPERM" => Code::PermissionDenied,
        "BUSYKEY" => Code::AlreadyExists,
        "EXECABORT" => Code::Aborted,
        "OOM" => Code::ResourceExhausted,
        "CLUSTERDOWN" | "LOADING" | "BUSY" | "TRYAGAIN" => Code::Unavailable,
        "UNKNOWNOUTCOME" => Code::Unknown,
        // WRONGTYPE and whatever else depends on what is there.
        _ => Code::FailedPrecondition,
    }
}

fn rich(code: Code, message: String, details: Vec<Any>) -> Status {
    let status = RichStatus { code: code.into(), message: message.clone(), details };
    Status::with_details(code, message, Bytes::from(status.encode_to_vec()))
}

fn error_info(reason: &str, metadata: HashMap<String, String>) -> Any {
    let (reason, domain) = (reason.to_owned(), DOMAIN.to_owned());
    any("google.rpc.ErrorInfo", &ErrorInfo { reason, domain, metadata })
}

fn bad_request(field: &str, description: &str) -> Any {
    let violation = FieldViolation { field: field.to_owned(), description: description.to_owned() };
    any("google.rpc.BadRequest", &BadRequest { field_violations: vec![violation] })
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn details(status: &Status) -> RichStatus {
        let rich = RichStatus::decode(status.details()).unwrap();
        assert_eq!((rich.code, rich.message.as_str()), (status.code().into(), status.message()));
        rich
    }

    fn names(rich: &RichStatus) -> Vec<&str> {
        rich.details.iter().map(|any| any.type_url.rsplit('.').next().unwrap()).collect()
    }

    #[test]
    fn a_status_says_what_a_client_can_do() {
        let unknown = CommandError::OutcomeUnknown { waited: Duration::from_secs(1) };
        let wrong_type = CommandError::Text("WRONGTYPE no");
        let cases: [(CommandError, Code, &str, &str, &[&str]); 8] = [
            (CommandError::Syntax, Code::InvalidArgument, "ERR", "never", &["BadRequest"]),
            (CommandError::NO_SUCH_KEY, Code::NotFound, "ERR", "never", &[]),
            (
                CommandError::NoLeader { group: 3 },
                Code::Unavailable,
                "CLUSTERDOWN",
                "safe",
                &["RetryInfo"],
            ),
            (CommandError::OutOfMemory, Code::ResourceExhausted, "OOM", "safe", &["RetryInfo"]),
            (CommandError::Loading, Code::Unavailable, "LOADING", "safe", &["RetryInfo"]),
            (unknown, Code::Unknown, "UNKNOWNOUTCOME", "if-idempotent", &[]),
            (wrong_type, Code::FailedPrecondition, "WRONGTYPE", "never", &[]),
            (CommandError::Text("NOPERM no"), Code::PermissionDenied, "NOPERM", "never", &[]),
        ];
        for (error, code, reason, retry, beside) in cases {
            let status = status_of(&error);
            assert_eq!((status.code(), status.message()), (code, error.to_string().as_str()));
            let rich = details(&status);
            assert_eq!(names(&rich), [&["ErrorInfo"], beside].concat(), "{error}");
            let info = ErrorInfo::decode(rich.details[0].value.as_slice()).unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "bitroster"));
            assert_eq!(info.metadata["retry"], retry, "{error}");
        }
        let rich = details(&status_of(&CommandError::NoLeader { group: 3 }));
        let info = ErrorInfo::decode(rich.details[0].value.as_slice()).unwrap();
        assert_eq!(info.metadata["group"], "3");
    }

    #[test]
    fn an_import_that_came_too_slowly_may_be_sent_again() {
        let status = slow();
        assert_eq!(status.code(), Code::Aborted);
        let rich = details(&status);
        assert_eq!(names(&rich), ["ErrorInfo", "RetryInfo"]);
        let info = ErrorInfo::decode(rich.details[0].value.as_slice()).unwrap();
        assert_eq!((info.reason.as_str(), info.metadata["retry"].as_str()), ("TIMEOUT", "safe"));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let rich = details(&invalid("unit", "must be one"));
        let request = BadRequest::decode(rich.details[1].value.as_slice()).unwrap();
        assert_eq!(request.field_violations[0].field, "unit");
        assert_eq!(request.field_violations[0].description, "must be one");
    }
}
