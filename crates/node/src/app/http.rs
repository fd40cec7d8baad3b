//! The console: its pages, and the HTTP API that they and others use (`docs/http.md`).
//!
//! Commands go the way of all commands: the user that a request comes from may do what ACL says,
//! and no more. Whoever is not a user yet learns whether a login is needed, and nothing else.
//!
//! | module    | job                                                          |
//! |-----------|--------------------------------------------------------------|
//! | `guard`   | which requests are let in at all                             |
//! | `login`   | sessions: who a browser is                                   |
//! | `command` | one command, and what the console does not run               |
//! | `json`    | replies as JSON                                              |
//! | `cluster` | what all nodes say of themselves                             |
//! | `series`  | fifteen minutes of samples                                   |
//! | `assets`  | the pages                                                    |
//! | `serve`   | connections, and their bounds                                |

mod assets;
mod cluster;
mod command;
mod guard;
mod json;
mod login;
mod series;
pub(super) mod serve;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use bitroster_command::CommandError;
use bitroster_frontend::{Caller, Frontend, Login};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub(super) use self::cluster::Sight;
use self::{cluster::Gatherer, login::Sessions, series::Ring};
use crate::config::RoleWord;

/// Longest body of a request, in bytes: a command with some thousand arguments.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Commands of the console that run at a time.
const COMMANDS_MAX: usize = 16;

/// The console of a node that serves clients. Clones are the same.
#[derive(Clone)]
pub(super) struct Console {
    inner: Arc<Inner>,
}

struct Inner {
    role: RoleWord,
    may_write: bool,
    is_dev: bool,
    /// Set once the node serves clients.
    front: Arc<OnceLock<Frontend>>,
    /// Where clients connect, once they may.
    address: OnceLock<String>,
    sessions: Sessions,
    gatherer: Gatherer,
    ring: Ring,
    commands: Semaphore,
}

/// What a console is started with.
pub(super) struct ConsoleOptions {
    pub(super) role: RoleWord,
    /// Whether commands that write may be run.
    pub(super) may_write: bool,
    /// Whether this is `bitroster dev`.
    pub(super) is_dev: bool,
    pub(super) front: Arc<OnceLock<Frontend>>,
    pub(super) sight: Sight,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Why a request is not answered as it wants to be.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: String,
    message: String,
}

type Answer = Result<Response, Refusal>;

impl Refusal {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// One of HTTP's own.
    fn http(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "HTTP", message)
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        let text = error.to_string();
        let (code, _) = text.split_once(' ').unwrap_or((&text, ""));
        let status = match code {
            "NOAUTH" | "WRONGPASS" => StatusCode::UNAUTHORIZED,
            "NOPERM" | "DENIED" => StatusCode::FORBIDDEN,
            "BUSY" => StatusCode::TOO_MANY_REQUESTS,
            "LOADING" | "CLUSTERDOWN" | "OOM" => StatusCode::SERVICE_UNAVAILABLE,
            "UNKNOWNOUTCOME" => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, code: code.to_owned(), message: text.clone() }
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        Self::http(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, code, message } = self;
        let mut response =
            answer(&json!({ "error": { "code": code, "message": message } }).to_string());
        *response.status_mut() = status;
        response
    }
}

/// JSON that is nobody's to keep.
fn answer(text: &str) -> Response {
    let head = [
        (header::CONTENT_TYPE, "application/json; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (head, text.to_owned()).into_response()
}

fn answer_value(value: &Value) -> Response {
    answer(&value.to_string())
}

impl Console {
    pub(super) fn new(options: ConsoleOptions) -> Self {
        let ConsoleOptions { role, may_write, is_dev, front, sight } = options;
        let inner = Inner {
            role,
            may_write,
            is_dev,
            front,
            address: OnceLock::new(),
            sessions: Sessions::default(),
            gatherer: Gatherer::new(sight),
            ring: Ring::default(),
            commands: Semaphore::new(COMMANDS_MAX),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Tells where clients connect; later calls change nothing.
    pub(super) fn set_address(&self, address: String) {
        self.inner.address.get_or_init(|| address);
    }

    /// Takes samples, for ever: a task of the node's.
    pub(super) async fn sample(self) {
        series::sample(&self.inner).await;
    }

    /// The console's routes.
    pub(super) fn routes(&self) -> Router {
        let guarded = middleware::from_fn_with_state(self.clone(), guard::check);
        let api = Router::new()
            .route("/session", get(login::session))
            .route("/login", post(login::log_in))
            .route("/logout", post(login::log_out))
            .route("/command", post(command::run))
            .route("/cluster", get(cluster::show))
            .route("/series", get(series::show))
            .fallback(unknown)
            .method_not_allowed_fallback(wrong_method)
            .layer(guarded)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self.clone());
        Router::new()
            .nest("/api/v1", api)
            .route("/console", get(|| async { Redirect::permanent("console/") }))
            .route("/console/", get(assets::index))
            .route("/console/{*path}", get(assets::file))
    }

    fn front(&self) -> Result<&Frontend, Refusal> {
        let starting = || Refusal::from(CommandError::Loading);
        self.inner.front.get().ok_or_else(starting)
    }

    /// The login that a request's cookie names, if it still holds.
    fn login_of(&self, headers: &HeaderMap) -> Option<Login> {
        self.inner.sessions.find(login::token_of(headers)?)
    }

    /// A conversation as the user of the request.
    fn call(&self, headers: &HeaderMap, ends: Ends) -> Result<Caller, Refusal> {
        let login = self.login_of(headers);
        Ok(self.front()?.call(ends.peer, ends.local, login.as_ref())?)
    }

    /// Whether a request may look at the cluster's figures: whoever may be a user may.
    fn admit(&self, headers: &HeaderMap, ends: Ends) -> Result<(), Refusal> {
        self.call(headers, ends).map(drop)
    }
}

async fn unknown() -> Refusal {
    Refusal::http(StatusCode::NOT_FOUND, "there is no such call")
}

async fn wrong_method() -> Refusal {
    Refusal::http(StatusCode::METHOD_NOT_ALLOWED, "this call wants another method")
}
