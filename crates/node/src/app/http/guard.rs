//! Which requests are let in at all.
//!
//! A page of another host must not use a browser's session, nor a node that asks for no password.
//! Three things keep it out: what changes something must be JSON, which a foreign page may not send
//! without being asked; the browser says where the page comes from; and while nobody needs a
//! password the host must be this machine by name or any by address, for a name may be made to
//! point anywhere.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bitroster_frontend::host::is_own;
use tokio::time::timeout;

use super::{Console, Refusal};

/// How long a request may take in all, its body included.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(20);

/// Lets a request through, or says why not.
pub(super) async fn check(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Response {
    let is_open = console.inner.front.get().is_some_and(|front| front.is_open());
    let checked = check_head(request.method(), request.headers(), request.uri(), is_open);
    if let Err(refusal) = checked {
        return refusal.into_response();
    }
    match timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            Refusal::http(StatusCode::GATEWAY_TIMEOUT, "the request took too long").into_response()
        }
    }
}

fn check_head(
    method: &Method,
    headers: &HeaderMap,
    uri: &Uri,
    is_open: bool,
) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let foreign = |why: &str| Refusal::http(StatusCode::FORBIDDEN, why);
    let host = text("host").or_else(|| uri.authority().map(|authority| authority.as_str()));
    if is_open && host.is_some_and(|host| !is_own(host)) {
        let why = "while no password is set the console answers to localhost or an IP address";
        return Err(foreign(why));
    }
    if method.is_safe() {
        return Ok(());
    }
    let is_json = text(header::CONTENT_TYPE.as_str()).is_some_and(|kind| {
        let (kind, _) = kind.split_once(';').unwrap_or((kind, ""));
        kind.trim().eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        let why = "Content-Type must be application/json";
        return Err(Refusal::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(foreign("pages of other sites may not call"));
    }
    let is_same = |origin: &str| {
        let (_, authority) = origin.split_once("://").unwrap_or(("", origin));
        host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
    };
    if text("origin").is_some_and(|origin| !is_same(origin)) {
        return Err(foreign("pages of other hosts may not call"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: Method, is_open: bool, headers: &[(&'static str, &str)]) -> u16 {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>();
        let uri = Uri::from_static("/api/v1/command");
        check_head(&method, &headers, &uri, is_open).map_or_else(|it| it.status.as_u16(), |()| 200)
    }

    #[test]
    fn what_changes_something_must_be_json_of_the_same_site() {
        let json = ("content-type", "application/json; charset=utf-8");
        let host = ("host", "db.example:9380");
        let post =
            |more: &[(&'static str, &str)]| checked(Method::POST, false, &[&[host], more].concat());
        assert_eq!(post(&[json]), 200);
        assert_eq!(post(&[json, ("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(post(&[json, ("origin", "http://db.example:9380")]), 200);
        assert_eq!(post(&[]), 415);
        assert_eq!(post(&[("content-type", "text/plain")]), 415);
        assert_eq!(post(&[json, ("sec-fetch-site", "same-site")]), 403);
        assert_eq!(post(&[json, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(post(&[json, ("origin", "http://evil.example")]), 403);
        assert_eq!(post(&[json, ("origin", "null")]), 403);
        assert_eq!(checked(Method::GET, false, &[host]), 200);
    }

    #[test]
    fn without_a_password_a_foreign_name_is_no_way_in() {
        let get = |host: &str| checked(Method::GET, true, &[("host", host)]);
        for own in ["localhost", "LOCALHOST:9380", "127.0.0.1:9380", "[::1]:9380", "10.0.0.1"] {
            assert_eq!(get(own), 200, "{own}");
        }
        for foreign in ["evil.example", "localhost.evil.example:9380", "[evil]:1", "", "127.1:x.y"]
        {
            assert_eq!(get(foreign), 403, "{foreign}");
        }
        assert_eq!(checked(Method::GET, true, &[]), 200);
    }
}
