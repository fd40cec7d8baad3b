//! Who asks, until when, and one call's conversation.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bitroster_command::{CommandError, Reply};
use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::{Request, Response, Status, metadata::MetadataMap, service::Interceptor};

use super::{answer::Answer, args::Args, connection::Peer, fault};
use crate::{access::Identity, client::Client, host::is_own, server::Shared, session::Dialog};

/// What a call answers.
pub(super) type Outcome<T> = Result<Response<T>, Status>;

/// What reads of a call may miss: linearizable, leader or stale.
const CONSISTENCY: &str = "bitroster-consistency";

/// How old the oldest answer of a call was, in milliseconds, where it was not linearizable.
const AGE: &str = "bitroster-age-ms";

/// The time before the client's deadline at which a call ends by itself, so that its end can be
/// told in our own words.
const DEADLINE_MARGIN: Duration = Duration::from_millis(2);

/// What all services share.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) shared: Arc<Shared>,
    /// Whether the server ends.
    pub(super) closing: watch::Receiver<bool>,
}

/// Who has said that they are who.
#[derive(Clone)]
struct Credentials {
    user: Bytes,
    password: Bytes,
}

/// What a call's head says.
#[derive(Clone)]
struct Caller {
    client: Arc<Client>,
    credentials: Option<Credentials>,
    /// Who that is, once it was found to be so.
    identity: Option<Identity>,
    consistency: Option<Bytes>,
    deadline: Option<Instant>,
}

/// Lets a call in before its body is read.
impl Interceptor for Gate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let deadline = deadline_of(request.metadata());
        let Some(Peer(client)) = request.extensions().get::<Peer>().cloned() else {
            return Err(Status::internal("a call came without a connection"));
        };
        client.note_activity(self.shared.now_secs());
        self.check_page(request.metadata())?;
        let mut caller = Caller {
            client,
            credentials: credentials_of(request.metadata())?,
            identity: None,
            consistency: consistency_of(request.metadata()),
            deadline,
        };
        caller.identity = self.dialog(&caller)?.identity();
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}

impl Gate {
    /// A call and what it asks.
    pub(super) fn open<T>(&self, request: Request<T>) -> Result<(Call, T), Status> {
        let Some(caller) = request.extensions().get::<Caller>() else {
            return Err(Status::internal("a call came past the gate"));
        };
        let call = Call {
            dialog: self.dialog(caller)?,
            deadline: caller.deadline,
            tells_age: caller.consistency.is_some(),
        };
        Ok((call, request.into_inner()))
    }

    /// Refuses pages of foreign hosts where everybody may ask, whoever may connect: a page may give
    /// its own host this machine's address, and its browser then lets it call.
    fn check_page(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let origin = metadata.get("origin").map(|origin| origin.as_bytes());
        if admits_page(origin, !self.shared.access().asks_for_password()) {
            return Ok(());
        }
        let refusal = "NOPERM pages of other hosts may not call while no password is set";
        Err(fault::status_of(&CommandError::Text(refusal)))
    }

    fn dialog(&self, caller: &Caller) -> Result<Dialog, Status> {
        let mut dialog = Dialog::of_call(Arc::clone(&self.shared), Arc::clone(&caller.client));
        if let Some(identity) = &caller.identity {
            dialog.resume(identity.clone());
        } else {
            let said = caller.credentials.as_ref();
            let said = said.map(|said| (said.user.as_ref(), said.password.as_ref()));
            dialog.introduce(said).map_err(|error| fault::status_of(&error))?;
        }
        if let Some(consistency) = &caller.consistency {
            dialog.read_as(consistency).map_err(|error| fault::status_of(&error))?;
        }
        Ok(dialog)
    }
}

/// One call's conversation.
pub(super) struct Call {
    pub(super) dialog: Dialog,
    deadline: Option<Instant>,
    tells_age: bool,
}

impl Call {
    /// Runs one command.
    ///
    /// # Errors
    ///
    /// The status of its error, and that the deadline has passed.
    pub(super) async fn ask(&mut self, args: Args) -> Result<Answer, Status> {
        self.ask_as_given(&args.into_vec()).await
    }

    /// As [`ask`](Self::ask), with the client's own words.
    pub(super) async fn ask_as_given(&mut self, args: &[Bytes]) -> Result<Answer, Status> {
        let deadline = self.deadline;
        let reply = within(deadline, self.dialog.ask(args)).await?;
        if let Reply::Error(error) = &reply {
            return Err(fault::status_of(error));
        }
        Ok(Answer(reply))
    }

    /// The call's deadline, where it has one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// An answer, and how old it may be where that was asked for.
    pub(super) fn respond<T>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        if self.tells_age {
            response.metadata_mut().insert(AGE, self.dialog.age_ms().into());
        }
        response
    }
}

/// Waits for `work` until the deadline.
pub(super) async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = T>,
) -> Result<T, Status> {
    match deadline {
        Some(at) => timeout_at(at, work).await.map_err(|_elapsed| fault::late()),
        None => Ok(work.await),
    }
}

/// `authorization: Basic base64(user:password)`.
fn credentials_of(metadata: &MetadataMap) -> Result<Option<Credentials>, Status> {
    let Some(said) = metadata.get("authorization") else {
        return Ok(None);
    };
    let unreadable =
        || Status::unauthenticated("authorization must be Basic base64(user:password)");
    let said = said.as_bytes();
    let encoded = match said.split_first_chunk::<6>() {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"basic ") => rest.trim_ascii(),
        _ => return Err(unreadable()),
    };
    let decoded = STANDARD.decode(encoded).map_err(|_| unreadable())?;
    let colon = decoded.iter().position(|byte| *byte == b':').ok_or_else(unreadable)?;
    let decoded = Bytes::from(decoded);
    let (user, password) = (decoded.slice(..colon), decoded.slice(colon + 1..));
    let user = if user.is_empty() { Bytes::from_static(b"default") } else { user };
    Ok(Some(Credentials { user, password }))
}

/// Whether a call may be a page's of this origin, `scheme://host[:port]`; no page has none.
fn admits_page(origin: Option<&[u8]>, is_open: bool) -> bool {
    let host_of = |origin| std::str::from_utf8(origin).ok()?.split_once("://").map(|it| it.1);
    !is_open || origin.is_none_or(|origin| host_of(origin).is_some_and(is_own))
}

fn consistency_of(metadata: &MetadataMap) -> Option<Bytes> {
    metadata.get(CONSISTENCY).map(|name| Bytes::copy_from_slice(name.as_bytes()))
}

/// `grpc-timeout`: at most eight digits and a unit.
fn deadline_of(metadata: &MetadataMap) -> Option<Instant> {
    let said = metadata.get("grpc-timeout")?.to_str().ok()?;
    let left = timeout_of(said)?;
    Some(Instant::now() + left.saturating_sub(DEADLINE_MARGIN))
}

fn timeout_of(said: &str) -> Option<Duration> {
    let (digits, unit) = said.split_at_checked(said.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(timeout_of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout_of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(timeout_of("7S"), Some(Duration::from_secs(7)));
        for wrong in ["", "S", "1", "1s", "123456789m", "+1S", "-1S", "1é", "é"] {
            assert_eq!(timeout_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn while_everybody_may_ask_only_this_machines_own_pages_do() {
        let is_admitted = |origin: &str| admits_page(Some(origin.as_bytes()), true);
        for own in
            ["http://localhost", "https://localhost:3000", "http://[::1]:1", "http://10.0.0.1"]
        {
            assert!(is_admitted(own), "{own}");
        }
        for foreign in ["null", "", "http://localhost.evil.org", "http://evil.org:80/localhost"] {
            assert!(!is_admitted(foreign), "{foreign}");
            // Whoever needs a password is not let in by a name.
            assert!(admits_page(Some(foreign.as_bytes()), false));
        }
        assert!(admits_page(None, true) && !admits_page(Some(b"http://\xff"), true));
    }

    #[test]
    fn credentials_are_read_as_http_writes_them() {
        let read = |said: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", said.parse().unwrap());
            credentials_of(&metadata)
                .map(|read| read.map(|read| (read.user.to_vec(), read.password.to_vec())))
                .map_err(|status| status.code())
        };
        let pair = |user: &[u8], password: &[u8]| Ok(Some((user.to_vec(), password.to_vec())));
        assert_eq!(read("Basic YWxpY2U6cGE6c3M="), pair(b"alice", b"pa:ss"));
        assert_eq!(read("basic OnNlY3JldA=="), pair(b"default", b"secret"));
        for wrong in ["", "Basic", "Basic !", "Basic YWxpY2U=", "Bearer YTpi", "Basic\u{20}"] {
            assert_eq!(read(wrong), Err(tonic::Code::Unauthenticated), "{wrong}");
        }
        assert!(credentials_of(&MetadataMap::new()).unwrap().is_none());
    }
}
