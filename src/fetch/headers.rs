//! The headers of a request: what the configuration says, and the validators.

use awc::http::header::{self, HeaderName, HeaderValue};
use base64::{Engine, prelude::BASE64_STANDARD};
use url::Url;

use super::{Validators, Wanted};
use crate::{
    config::{BasicAuth, RequestSettings},
    model::Secret,
};

/// Feeds first, then anything: some servers choose by it.
static ACCEPT: HeaderValue = HeaderValue::from_static(
    "application/rss+xml, application/atom+xml, application/rdf+xml;q=0.9, \
     application/feed+json;q=0.9, application/xml;q=0.8, text/xml;q=0.8, */*;q=0.5",
);
static ACCEPT_PAGE: HeaderValue = HeaderValue::from_static("text/html, application/xhtml+xml;q=0.9, */*;q=0.5");
static ACCEPT_IMAGE: HeaderValue = HeaderValue::from_static("image/*, */*;q=0.1");

/// In the order in which they are given.
pub(super) type Headers = Vec<(HeaderName, HeaderValue)>;

/// What is sent to the configured origin (`at_home`), or to any other: there, nothing that was configured.
/// A body is JSON unless they say otherwise.
pub(super) fn configured(settings: &RequestSettings, wanted: Wanted, at_home: bool, with_body: bool) -> Headers {
    let accept = match wanted {
        Wanted::Document => &ACCEPT,
        Wanted::Page => &ACCEPT_PAGE,
        Wanted::Image => &ACCEPT_IMAGE,
    };
    let json = with_body.then(|| HeaderValue::from_static("application/json"));
    let usual = [
        (header::ACCEPT, Some(accept.clone())),
        (header::CONTENT_TYPE, json),
        (header::ACCEPT_ENCODING, Some(HeaderValue::from_static("gzip"))),
        (header::USER_AGENT, HeaderValue::from_bytes(settings.user_agent.as_bytes()).ok()),
    ];
    let usual = usual.into_iter().filter_map(|(name, value)| Some((name, value?)));
    if !at_home || (settings.headers.is_empty() && settings.basic_auth.is_none()) {
        return usual.collect();
    }
    // these would contradict what the client itself writes of the connection and the body
    let managed = [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let own = settings.headers.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.expose().as_bytes()).ok()?))
    });
    let own: Headers = own.filter(|(name, _)| !managed.contains(name)).collect();
    let overridden = |name: &HeaderName| own.iter().any(|(other, _)| other == name);
    let mut headers: Headers = usual.filter(|(name, _)| !overridden(name)).collect();
    if let Some(BasicAuth { user, password }) =
        settings.basic_auth.as_ref().filter(|_| !overridden(&header::AUTHORIZATION))
    {
        let token = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.expose())));
        headers.extend(HeaderValue::from_str(&token).ok().map(|value| (header::AUTHORIZATION, value)));
    }
    headers.extend(own);
    headers
}

/// The login that a URL holds.
pub(super) fn login(url: &Url) -> Option<BasicAuth> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let password = percent_decoded(url.password().unwrap_or_default());
    Some(BasicAuth { user: percent_decoded(url.username()), password: Secret::new(password) })
}

/// What asks for the document only if it has changed.
pub(super) fn conditional(validators: Validators<'_>) -> Headers {
    let value = |text: Option<&str>| text.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok());
    let etag = value(validators.etag).map(|etag| (header::IF_NONE_MATCH, etag));
    let modified = value(validators.last_modified).map(|date| (header::IF_MODIFIED_SINCE, date));
    etag.into_iter().chain(modified).collect()
}

/// Userinfo as it was meant: `%XX` is one byte.
pub(super) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
