//! `[[destination]]`

use url::{Host, Url};

use super::{Names, secret_url};
use crate::{
    config::{
        Backfill, Destination, DestinationKind,
        fetch_settings::backfill,
        load::Needed,
        reader::{Table, Value},
        secret::{Found, Secrets},
    },
    model::Secret,
};

#[derive(Debug, Clone, Copy)]
enum Kind {
    Discord,
    Webhook,
    Stdout,
}

/// None where a fault was reported.
pub(super) fn destination(
    mut table: Table<'_>,
    names: &mut Names,
    secrets: &Secrets<'_>,
    needed: Needed<'_>,
) -> Option<Destination> {
    let name = names.take(&mut table);
    let secrets = &secrets.reading(needed.of_destination(name.as_ref()));
    let choices = [("discord", Kind::Discord), ("webhook", Kind::Webhook), ("stdout", Kind::Stdout)];
    let kind = table.require("kind", "\"discord\", \"webhook\" or \"stdout\"").and_then(|kind| kind.choice(&choices));
    let backfill = table.get("backfill").map_or(Some(Backfill::Newest(0)), |value| backfill(&value));
    let kind = match kind {
        Some(Kind::Stdout) => {
            table.finish();
            DestinationKind::Stdout
        }
        Some(Kind::Discord) => {
            let url = table.require("url", "the URL of a Discord webhook, a SECRET");
            table.finish();
            DestinationKind::Discord { url: discord_url(&url?, secrets)? }
        }
        Some(Kind::Webhook) => {
            let url = table.require("url", "the URL to POST to, a SECRET");
            let secret = table.get("secret").map(|value| secrets.get(&value));
            table.finish();
            let secret = match secret {
                Some(found) => Some(Secret::new(match found? {
                    Found::Text(text) => text,
                    Found::Elsewhere => String::new(),
                })),
                None => None,
            };
            DestinationKind::Webhook { url: webhook_url(&url?, secrets)?, secret }
        }
        None => {
            // which keys it may have is not known without its kind
            return None;
        }
    };
    Some(Destination { name: name?, backfill: backfill?, kind })
}

fn webhook_url(value: &Value<'_>, secrets: &Secrets<'_>) -> Option<Secret<Url>> {
    secret_url(value, secrets.get(value), "https://unread.invalid/").map(Secret::new)
}

/// A Discord webhook's URL, rewritten to the version of the API that we speak.
fn discord_url(value: &Value<'_>, secrets: &Secrets<'_>) -> Option<Secret<Url>> {
    const SHAPE: &str = "https://HOST/api/webhooks/ID/TOKEN, as Discord's \"Copy Webhook URL\" gives it";
    let mut url = secret_url(value, secrets.get(value), "https://unread.invalid/api/webhooks/1/unread")?;
    let segments: Vec<&str> = url.path().split('/').skip(1).collect();
    let segments = match segments.as_slice() {
        ["api", version, rest @ ..] if is_version(version) => rest,
        ["api", rest @ ..] => rest,
        _ => &[],
    };
    let path = match segments {
        ["webhooks", id, token] | ["webhooks", id, token, ""] if is_id(id) && !token.is_empty() => {
            format!("/api/v10/webhooks/{id}/{token}")
        }
        ["webhooks", _, _, form @ ("slack" | "github")] => {
            value.error(format_args!(
                "ends in \"/{form}\", where Discord reads messages of another service; leave that away, expected {SHAPE}"
            ));
            return None;
        }
        _ => {
            value.error(format_args!(
                "is not the URL of a Discord webhook; expected {SHAPE} (a SECRET, so it is not shown)"
            ));
            return None;
        }
    };
    if url.scheme() == "http" && !is_loopback(&url) {
        value.error("must be https: over http anyone on the way reads the token");
        return None;
    }
    url.set_path(&path);
    url.set_fragment(None);
    Some(Secret::new(url))
}

/// `v` and digits.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(is_id)
}

fn is_id(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
