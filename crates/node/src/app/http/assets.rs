//! The console's pages, which the binary carries.

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

/// Names and contents.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// What pages may load and run: only what comes from here.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

struct File {
    content: &'static [u8],
    kind: &'static str,
    tag: HeaderValue,
}

static TABLE: LazyLock<HashMap<&'static str, File>> = LazyLock::new(|| {
    let file = |(name, content): &(&'static str, &'static [u8])| {
        let digest = Sha256::digest(content);
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::from_str(&format!("\"{hex}\"")).expect("digits are a header");
        (*name, File { content, kind: kind_of(name), tag })
    };
    FILES.iter().map(file).collect()
});

fn kind_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" => "application/json; charset=utf-8",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// `GET /console/`
pub(super) async fn index(headers: HeaderMap) -> Response {
    answer("index.html", &headers)
}

/// `GET /console/...`
pub(super) async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    answer(&path, &headers)
}

fn answer(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = TABLE.get(name) else {
        return (StatusCode::NOT_FOUND, "there is no such page\n").into_response();
    };
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| {
        known.to_str().is_ok_and(|known| {
            known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == file.tag)
        })
    });
    let head: [(HeaderName, HeaderValue); 6] = [
        (header::ETAG, file.tag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind)),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, file.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_known_is_not_sent_again() {
        let first = answer("index.html", &HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(first.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(answer("index.html", &headers).status(), StatusCode::NOT_MODIFIED);
        for absent in ["", "../build.rs", "/etc/passwd", "index.htm", "vendor/"] {
            assert_eq!(answer(absent, &headers).status(), StatusCode::NOT_FOUND, "{absent}");
        }
    }

    #[test]
    fn no_page_holds_what_the_policy_forbids() {
        for (name, content) in FILES.iter().filter(|(name, _)| name.ends_with(".html")) {
            let text = String::from_utf8_lossy(content).to_lowercase();
            for forbidden in ["<style", " style=", " onclick=", "src=\"http", "src=\"/", "href=\"/"]
            {
                assert!(!text.contains(forbidden), "{name} has {forbidden}");
            }
            let mut scripts = text.split("<script").skip(1);
            assert!(scripts.all(|script| script.contains("src=")), "{name} has a script inside");
        }
    }
}
