//! The headers of a request: what the configuration says, and the validators.

use awc::http::header::{self, HeaderName, HeaderValue};
use base64::{Engine, prelude::BASE64_STANDARD};
use url::Url;

use super::Validators;
use crate::config::RequestSettings;

/// Feeds first, then anything: some servers choose by it.
const ACCEPT: &str = "application/rss+xml, application/atom+xml, application/rdf+xml;q=0.9, \
                      application/feed+json;q=0.9, application/xml;q=0.8, text/xml;q=0.8, */*;q=0.5";

/// In the order in which they are given.
pub(super) type Headers = Vec<(HeaderName, HeaderValue)>;

/// What is sent to the configured origin, and what to any other.
pub(super) fn configured(url: &Url, settings: &RequestSettings) -> (Headers, Headers) {
    let mut abroad = vec![
        (header::ACCEPT, HeaderValue::from_static(ACCEPT)),
        (header::ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
    ];
    abroad
        .extend(HeaderValue::from_bytes(settings.user_agent.as_bytes()).ok().map(|agent| (header::USER_AGENT, agent)));
    // these would contradict what the client itself writes of the connection and the body
    let managed = [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let configured: Headers = settings
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(value.expose().as_bytes()).ok()?))
        })
        .filter(|(name, _)| !managed.contains(name))
        .collect();
    let overridden = |name: &HeaderName| configured.iter().any(|(other, _)| other == name);
    let mut at_home: Headers = abroad.iter().filter(|(name, _)| !overridden(name)).cloned().collect();
    let credentials = match &settings.basic_auth {
        Some(auth) => Some((auth.user.clone(), auth.password.expose().clone())),
        None if url.username().is_empty() && url.password().is_none() => None,
        None => Some((percent_decoded(url.username()), percent_decoded(url.password().unwrap_or_default()))),
    };
    if let Some((user, password)) = credentials.filter(|_| !overridden(&header::AUTHORIZATION)) {
        let token = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        at_home.extend(HeaderValue::from_str(&token).ok().map(|value| (header::AUTHORIZATION, value)));
    }
    at_home.extend(configured);
    (at_home, abroad)
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
