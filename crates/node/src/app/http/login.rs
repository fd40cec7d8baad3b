//! Sessions: who a browser is.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use axum::{
    Extension,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse as _,
};
use bitroster_command::CommandError;
use bitroster_frontend::Login;
use bitroster_telemetry::build;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Answer, Console, Ends, Refusal, answer_value};
use crate::config::RoleWord;

/// The cookie's name.
const COOKIE: &str = "bitroster_session";

/// Sessions at a time; the one that is idle longest goes for a new one.
const SESSIONS_MAX: usize = 1000;

/// How long a session may be idle.
const IDLE_MAX: Duration = Duration::from_secs(12 * 3600);

/// Logins that may fail in one [`WINDOW`] from one address, and from all together.
const FAILURES_MAX: usize = 10;
const FAILURES_OF_ALL_MAX: usize = 200;

/// The time that failures are remembered.
const WINDOW: Duration = Duration::from_secs(60);

/// What a browser shows: 128 random bits. Only their hash is kept, so that finding it takes no time
/// that tells anything of them.
type Key = [u8; 32];

/// Who has logged in.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<Key, Session>>,
    failures: Mutex<VecDeque<(Instant, IpAddr)>>,
}

struct Session {
    login: Login,
    used: Instant,
}

impl Sessions {
    /// The login of a token; none where there is no such session, or its user has changed.
    pub(super) fn find(&self, token: &str) -> Option<Login> {
        self.find_at(token, Instant::now())
    }

    fn find_at(&self, token: &str, now: Instant) -> Option<Login> {
        let key = key_of(token);
        let mut open = self.open.lock();
        let session = open.get_mut(&key)?;
        if now.duration_since(session.used) > IDLE_MAX || !session.login.is_current() {
            open.remove(&key);
            return None;
        }
        session.used = now;
        Some(session.login.clone())
    }

    /// Opens a session; its token.
    ///
    /// # Errors
    ///
    /// Where the system gives no randomness.
    fn open(&self, login: Login) -> Result<String, Refusal> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|_| {
            Refusal::http(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no random numbers")
        })?;
        let token: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
        let now = Instant::now();
        let mut open = self.open.lock();
        if open.len() >= SESSIONS_MAX {
            open.retain(|_, session| now.duration_since(session.used) <= IDLE_MAX);
        }
        if open.len() >= SESSIONS_MAX
            && let Some(oldest) = open.iter().min_by_key(|(_, it)| it.used).map(|(key, _)| *key)
        {
            open.remove(&oldest);
        }
        open.insert(key_of(&token), Session { login, used: now });
        Ok(token)
    }

    fn close(&self, token: &str) {
        self.open.lock().remove(&key_of(token));
    }

    /// Whether somebody at this address may try a password now.
    fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        let mut failures = self.failures.lock();
        while failures.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            failures.pop_front();
        }
        let own = failures.iter().filter(|(_, failed)| *failed == address).count();
        own < FAILURES_MAX && failures.len() < FAILURES_OF_ALL_MAX
    }

    /// Notes a password that was wrong.
    fn note_failure(&self, address: IpAddr, now: Instant) {
        let mut failures = self.failures.lock();
        if failures.len() < FAILURES_OF_ALL_MAX {
            failures.push_back((now, address));
        }
    }
}

fn key_of(token: &str) -> Key {
    Sha256::digest(token.as_bytes()).into()
}

/// The token in a request's cookies.
pub(super) fn token_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).map(str::trim);
    pairs.find_map(|pair| pair.strip_prefix(COOKIE)?.strip_prefix('='))
}

/// `GET /api/v1/session`
pub(super) async fn session(
    State(console): State<Console>,
    Extension(ends): Extension<Ends>,
    headers: HeaderMap,
) -> Answer {
    let front = console.front()?;
    let login = console.login_of(&headers);
    let is_open = !front.access().asks_for_password();
    // Protected mode and the like are told at once, not at the first command.
    if login.is_some() || is_open {
        console.admit(&headers, ends)?;
    }
    let user = match &login {
        Some(login) => Some(String::from_utf8_lossy(login.user()).into_owned()),
        None => is_open.then(|| "default".to_owned()),
    };
    Ok(answer_value(&json!({
        "user": user,
        "login_required": user.is_none(),
        "write": console.inner.may_write,
        "dev": console.inner.is_dev,
        "version": build::VERSION,
        "commit": build::commit(),
        "node": console.inner.address.get(),
        "role": match console.inner.role {
            RoleWord::All => "all",
            RoleWord::Shard => "shard",
            RoleWord::Router => "router",
        },
    })))
}

/// The body of a login.
#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

/// `POST /api/v1/login`
pub(super) async fn log_in(
    State(console): State<Console>,
    Extension(ends): Extension<Ends>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    // What is wrong with it may be quoted by the parser: it is not told, for it is a password.
    let Credentials { user, password } = serde_json::from_slice(&body?).map_err(|_| {
        let why = "the body must be {\"user\": text, \"password\": text}";
        Refusal::http(StatusCode::BAD_REQUEST, why)
    })?;
    let (sessions, address, now) = (&console.inner.sessions, ends.peer.ip(), Instant::now());
    if !sessions.may_try(address, now) {
        let why = "too many logins have failed: try again in a minute";
        return Err(Refusal::http(StatusCode::TOO_MANY_REQUESTS, why));
    }
    let user = if user.is_empty() { "default" } else { &user };
    let said = (user.as_bytes(), password.as_bytes());
    let login = console.front()?.log_in(ends.peer, ends.local, said).inspect_err(|error| {
        if matches!(error, CommandError::Text(text) if text.starts_with("WRONGPASS")) {
            sessions.note_failure(address, now);
        }
    })?;
    let token = sessions.open(login)?;
    let mut response = answer_value(&json!({ "user": user }));
    set_cookie(response.headers_mut(), &token, IDLE_MAX.as_secs());
    Ok(response)
}

/// `POST /api/v1/logout`
pub(super) async fn log_out(State(console): State<Console>, headers: HeaderMap) -> Answer {
    if let Some(token) = token_of(&headers) {
        console.inner.sessions.close(token);
    }
    let mut response = answer_value(&json!({})).into_response();
    set_cookie(response.headers_mut(), "", 0);
    Ok(response)
}

fn set_cookie(headers: &mut HeaderMap, token: &str, secs: u64) {
    let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={secs}");
    if let Ok(mut value) = HeaderValue::from_str(&cookie) {
        value.set_sensitive(true);
        headers.insert(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_among_other_cookies() {
        let token = |cookies: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(header::COOKIE, HeaderValue::from_static(cookie));
            }
            token_of(&headers).map(str::to_owned)
        };
        assert_eq!(token(&["bitroster_session=ab12"]), Some("ab12".to_owned()));
        assert_eq!(token(&["a=b; bitroster_session=c; d=e"]), Some("c".to_owned()));
        assert_eq!(token(&["a=b", "x=y;bitroster_session=z"]), Some("z".to_owned()));
        assert_eq!(token(&["bitroster_sessions=c"]), None);
        assert_eq!(token(&[]), None);
    }

    #[test]
    fn who_fails_too_often_has_to_wait_and_holds_up_nobody_else() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..FAILURES_MAX {
            assert!(sessions.may_try(one, now));
            sessions.note_failure(one, now);
        }
        assert!(!sessions.may_try(one, now) && sessions.may_try(other, now));
        assert!(sessions.may_try(one, now + WINDOW + Duration::from_secs(1)));
        for n in 0..=255 {
            sessions.note_failure(IpAddr::from([10, 1, 0, n]), now);
        }
        assert!(!sessions.may_try(other, now));
        assert!(sessions.failures.lock().len() <= FAILURES_OF_ALL_MAX);
    }
}
