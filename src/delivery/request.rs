//! The requests that destinations get.

use std::time::Duration;

use awc::http::{
    Method,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT},
};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use url::Url;

use super::{embed, governor::DISCORD, to_json};
use crate::{
    config::{Destination, DestinationKind},
    fetch::Outgoing,
    model::Secret,
    store::Delivery,
};

/// Discord asks for this form, and Cloudflare in front of it refuses unknown agents.
const DISCORD_AGENT: &str = concat!("DiscordBot (", env!("CARGO_PKG_REPOSITORY"), ", ", env!("CARGO_PKG_VERSION"), ")");
const AGENT: &str = concat!("kawaraban/", env!("CARGO_PKG_VERSION"), " (+", env!("CARGO_PKG_REPOSITORY"), ")");
/// From resolving to the answer's last byte.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 1024 * 1024;

/// The request that delivers an item, in its source's colour; none to `stdout`.
pub fn deliver(destination: &Destination, delivery: &Delivery, color: Option<u32>, now: Timestamp) -> Option<Outgoing> {
    match &destination.kind {
        DestinationKind::Discord { url } => Some(discord(url, Some(to_json(&embed::message(delivery, color))))),
        DestinationKind::Webhook { url, secret } => {
            Some(webhook(url, secret.as_ref(), &delivery.id, to_json(delivery), now))
        }
        DestinationKind::Stdout => None,
    }
}

/// The request that sends one clearly marked test message; none to `stdout`.
pub fn test(destination: &Destination, delivery: &Delivery, now: Timestamp) -> Option<Outgoing> {
    match &destination.kind {
        DestinationKind::Discord { url } => {
            Some(discord(url, Some(to_json(&embed::test_message(destination.name.as_str(), now)))))
        }
        DestinationKind::Webhook { .. } | DestinationKind::Stdout => deliver(destination, delivery, None, now),
    }
}

/// The request that asks whether the destination is there, and sends nothing; none to `stdout`.
pub fn probe(destination: &Destination) -> Option<Outgoing> {
    match &destination.kind {
        DestinationKind::Discord { url } => Some(discord(url, None)),
        DestinationKind::Webhook { url, .. } => {
            Some(outgoing(Method::GET, url.expose().clone(), AGENT, Vec::new(), None))
        }
        DestinationKind::Stdout => None,
    }
}

/// Execute Webhook with `wait=true`, so that the answer means that the message was saved; without a body,
/// Get Webhook with Token.
fn discord(url: &Secret<Url>, body: Option<String>) -> Outgoing {
    let mut url = url.expose().clone();
    use_discords_host(&mut url);
    let Some(body) = body else { return outgoing(Method::GET, url, DISCORD_AGENT, Vec::new(), None) };
    let kept: Vec<_> = url
        .query_pairs()
        .filter(|(key, _)| key != "wait")
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(kept).append_pair("wait", "true");
    outgoing(Method::POST, url, DISCORD_AGENT, Vec::new(), Some(body))
}

/// Version 10 of the API is served under `discord.com` only: `ptb.discordapp.com` becomes `ptb.discord.com`.
fn use_discords_host(url: &mut Url) {
    let rest = url.host_str().and_then(|host| host.strip_suffix("discordapp.com"));
    if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.ends_with('.')) {
        let host = format!("{rest}{DISCORD}");
        // a domain in place of a domain is always taken
        let _ = url.set_host(Some(&host));
    }
}

fn webhook(url: &Secret<Url>, secret: Option<&Secret>, id: &str, body: String, now: Timestamp) -> Outgoing {
    let mut headers = vec![(HeaderName::from_static("idempotency-key"), ascii(id))];
    if let Some(secret) = secret {
        let timestamp = now.as_second().to_string();
        let signature = format!("sha256={}", signature(secret.expose().as_bytes(), &timestamp, body.as_bytes()));
        headers.push((HeaderName::from_static("x-kawaraban-timestamp"), ascii(&timestamp)));
        headers.push((HeaderName::from_static("x-kawaraban-signature"), ascii(&signature)));
    }
    outgoing(Method::POST, url.expose().clone(), AGENT, headers, Some(body))
}

fn outgoing(
    method: Method,
    url: Url,
    agent: &'static str,
    mut headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<String>,
) -> Outgoing {
    headers.push((USER_AGENT, HeaderValue::from_static(agent)));
    if body.is_some() {
        headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    }
    Outgoing {
        method,
        url,
        headers,
        body: body.map(Bytes::from),
        timeout: TIMEOUT,
        connect_timeout: CONNECT_TIMEOUT,
        max_answer: MAX_ANSWER,
    }
}

/// Hexadecimal digits and the like, which are always valid.
fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// HMAC-SHA256 (RFC 2104) of timestamp, ".", body, in hexadecimal.
fn signature(key: &[u8], timestamp: &str, body: &[u8]) -> String {
    // a key of any length is taken
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Backfill,
        model::{Item, Name},
        store::SourceRef,
    };

    fn header<'a>(request: &'a Outgoing, name: &str) -> Option<&'a str> {
        request.headers.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.to_str().ok())
    }

    fn delivery() -> Delivery {
        let source = SourceRef { name: "a".into(), label: "A".into() };
        let item = Item { title: Some("t".into()), ..Item::default() };
        Delivery { id: "0f".repeat(16), source, item, accepted_at: Timestamp::UNIX_EPOCH }
    }

    fn to(kind: DestinationKind) -> Destination {
        Destination { name: Name::new("news").unwrap(), backfill: Backfill::Newest(0), kind }
    }

    #[test]
    fn discord_is_asked_to_wait_and_the_query_is_kept() {
        let url = Url::parse("https://discord.com/api/v10/webhooks/1/t?thread_id=7&wait=false").unwrap();
        let destination = to(DestinationKind::Discord { url: Secret::new(url) });
        let request = deliver(&destination, &delivery(), None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(request.url.query(), Some("thread_id=7&wait=true"));
        assert!(header(&request, "user-agent").unwrap().starts_with("DiscordBot (https://"));
        let probe = probe(&destination).unwrap();
        assert_eq!((probe.method, probe.body), (Method::GET, None));
    }

    #[test]
    fn discords_old_host_is_rewritten() {
        for (configured, asked) in [
            ("https://discordapp.com/api/v10/webhooks/1/t", "discord.com"),
            ("https://ptb.discordapp.com/api/v10/webhooks/1/t", "ptb.discord.com"),
            ("https://notdiscordapp.com/api/v10/webhooks/1/t", "notdiscordapp.com"),
            ("http://127.0.0.1:8/api/v10/webhooks/1/t", "127.0.0.1"),
        ] {
            let destination = to(DestinationKind::Discord { url: Secret::new(Url::parse(configured).unwrap()) });
            for request in [deliver(&destination, &delivery(), None, Timestamp::UNIX_EPOCH), probe(&destination)] {
                assert_eq!(request.unwrap().url.host_str(), Some(asked));
            }
        }
    }

    #[test]
    fn a_webhook_can_verify_who_sends() {
        let url = Secret::new(Url::parse("https://h.example/x").unwrap());
        let secret = Some(Secret::new("key".to_owned()));
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let request = deliver(&to(DestinationKind::Webhook { url, secret }), &delivery(), None, now).unwrap();
        assert_eq!(header(&request, "idempotency-key"), Some("0f".repeat(16).as_str()));
        assert_eq!(header(&request, "x-kawaraban-timestamp"), Some("1700000000"));
        let body = request.body.clone().unwrap();
        let expected = format!("sha256={}", signature(b"key", "1700000000", &body));
        assert_eq!(header(&request, "x-kawaraban-signature"), Some(expected.as_str()));
    }

    #[test]
    fn the_signature_is_the_one_that_others_compute() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature(b"key", "1700000000", b"{}"),
            "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
        );
    }
}
