//! What a document is that is no feed; and feeds that a browser wrapped into a page.

use std::borrow::Cow;

use memchr::memmem;
use serde::de::IgnoredAny;
use url::Url;

use super::{
    Error, Text,
    attribute::attribute,
    entity::Entities,
    text::{self, Tags},
};
use crate::model::{RedactedUrl, line::one_line};

/// How much of a document is looked at to tell what it is, in bytes.
const HEAD: usize = 256 << 10;

/// Feeds of a page that are named.
const NAMED: usize = 5;

/// Longest title quoted, in bytes.
const QUOTED: usize = 80;

/// Says what was found instead of a feed. A page's own feeds are named, as whoever configured the page was
/// after them.
pub(super) fn not_a_feed(text: &str, base: Option<&Url>) -> Error {
    let head = head(text);
    let lower = head.to_ascii_lowercase();
    let mut what = kind(head, &lower);
    let feeds = advertised(head, &lower, base);
    if !feeds.is_empty() {
        what.push_str("; it names as its feeds: ");
        what.push_str(&feeds.join(", "));
    }
    Error::NotAFeed(what)
}

fn kind(head: &str, lower: &str) -> String {
    let root = root(head);
    match root {
        Some("opml") => return "an OPML list of feeds, not a feed".to_owned(),
        Some("urlset" | "sitemapindex") => return "a sitemap, not a feed".to_owned(),
        _ => {}
    }
    if let Some(what) = page(root, lower) {
        return match page_title(head, lower) {
            Some(title) => format!("{what}, not a feed: \"{title}\""),
            None => format!("{what}, not a feed"),
        };
    }
    if let Some(what) = binary(head) {
        return format!("{what}, not a feed");
    }
    if head.starts_with(['{', '[']) {
        return "JSON, but not a JSON Feed: it has no \"items\"".to_owned();
    }
    if serde_json::from_str::<IgnoredAny>(head).is_ok() {
        return "JSON, but not a JSON Feed: a lone value".to_owned();
    }
    match root {
        Some(name) if name.len() <= QUOTED => format!("XML, but no feed: its root is <{name}>"),
        _ if head.starts_with('<') => "XML, but no feed that is known".to_owned(),
        _ => match quotable(head.lines().next().unwrap_or_default()) {
            Some(line) => format!("text, neither XML nor JSON: \"{line}\""),
            None => "neither XML nor JSON".to_owned(),
        },
    }
}

/// A page, by its signs.
fn page(root: Option<&str>, lower: &str) -> Option<String> {
    let has = |sign: &str| memmem::find(lower.as_bytes(), sign.as_bytes()).is_some();
    let begins = root.is_some_and(|name| PAGES.iter().any(|known| name.eq_ignore_ascii_case(known)));
    if !begins && !["<!doctype html", "<html", "<head", "<body"].into_iter().any(has) {
        return None;
    }
    let challenge = CHALLENGES.iter().find(|(sign, _)| has(sign));
    Some(match challenge {
        Some((_, whose)) => format!("a challenge page for browsers ({whose})"),
        None => "an HTML page".to_owned(),
    })
}

fn binary(head: &str) -> Option<&'static str> {
    MAGIC.iter().find(|(sign, _)| head.starts_with(sign)).map(|(_, what)| *what)
}

/// Says what a document is, to somebody who looked for something in it that is not there.
pub(crate) fn described(text: &str) -> String {
    let head = head(text);
    let lower = head.to_ascii_lowercase();
    if let Some(what) = page(root(head), &lower) {
        return match page_title(head, &lower) {
            Some(title) => format!("{what}: \"{title}\""),
            None => what,
        };
    }
    match (binary(head), root(head)) {
        (Some(what), _) => what.to_owned(),
        (None, Some(name)) if name.len() <= QUOTED => format!("a document of <{name}>"),
        (None, _) if head.is_empty() => "empty".to_owned(),
        (None, _) if head.starts_with(['{', '[']) => "JSON".to_owned(),
        (None, _) => match quotable(head.lines().next().unwrap_or_default()) {
            Some(line) => format!("text: \"{line}\""),
            None => "text".to_owned(),
        },
    }
}

/// The beginning of a document, as far as it is looked at.
fn head(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.floor_char_boundary(HEAD.min(text.len()))]
}

/// What a page begins with that leaves out its outermost elements.
const PAGES: &[&str] = &[
    "a", "b", "br", "center", "div", "font", "form", "h1", "h2", "h3", "hr", "iframe", "img", "main", "meta",
    "noscript", "p", "pre", "script", "span", "strong", "style", "table", "ul",
];

/// Signs of pages that ask for a browser or a human, in lowercase.
const CHALLENGES: &[(&str, &str)] = &[
    ("_cf_chl_opt", "Cloudflare"),
    ("/cdn-cgi/challenge-platform", "Cloudflare"),
    ("cf-browser-verification", "Cloudflare"),
    ("attention required! | cloudflare", "Cloudflare"),
    ("ddos-guard", "DDoS-Guard"),
    ("_incapsula_resource", "Imperva"),
    ("sucuri_cloudproxy", "Sucuri"),
    ("anubis_challenge", "Anubis"),
    ("awswafcookiedomainlist", "AWS WAF"),
];

/// How files begin that are no text at all.
const MAGIC: &[(&str, &str)] = &[
    ("%PDF", "a PDF file"),
    ("PK\u{3}\u{4}", "a ZIP archive"),
    ("\u{1f}\u{fffd}", "compressed data"),
    ("\u{1f}\u{2039}", "compressed data"),
    ("GIF8", "an image"),
    ("\u{fffd}PNG", "an image"),
    ("\u{2030}PNG", "an image"),
];

/// The name of the outermost element.
fn root(head: &str) -> Option<&str> {
    let mut rest = head;
    loop {
        rest = rest.trim_start();
        if rest.starts_with("<!--") {
            rest = &rest[memmem::find(rest.as_bytes(), b"-->")? + 3..];
        } else if rest.starts_with("<?") || rest.starts_with("<!") {
            rest = &rest[memchr::memchr(b'>', rest.as_bytes())? + 1..];
        } else {
            return rest.starts_with('<').then(|| text::tag_name(rest)).filter(|name| !name.is_empty());
        }
    }
}

fn page_title(head: &str, lower: &str) -> Option<String> {
    let open = memmem::find(lower.as_bytes(), b"<title")?;
    let start = open + text::tag_end(&head[open..])?;
    let end = start + memmem::find(&lower.as_bytes()[start..], b"</title")?;
    quotable(&text::words(&head[start..end], QUOTED))
}

/// The line, where it is fit to be shown: what may hold an address or a key is not.
pub(crate) fn quotable(line: &str) -> Option<String> {
    let line = text::fold(Cow::Borrowed(line.trim()));
    let fit = !line.is_empty() && line.len() <= QUOTED + 4 && !line.contains(['/', '=', '@', '\u{fffd}']);
    fit.then(|| line.into_owned())
}

/// The feeds that a page links to, as far as they may be shown.
fn advertised(head: &str, lower: &str, base: Option<&Url>) -> Vec<String> {
    let mut found = Vec::new();
    for at in memmem::find_iter(lower.as_bytes(), b"<link") {
        let Some(end) = text::tag_end(&head[at..]) else { continue };
        let tag = head[at + "<link".len()..at + end].trim_end_matches(['>', '/']);
        let is = |name: &str, fits: &dyn Fn(&str) -> bool| {
            attribute(tag, name).is_some_and(|value| value.to_ascii_lowercase().split_whitespace().any(fits))
        };
        let feed = |kind: &str| FEEDS.contains(&kind.split(';').next().unwrap_or_default());
        if !is("rel", &|rel| rel == "alternate" || rel == "feed") || !is("type", &feed) {
            continue;
        }
        let Some(href) = attribute(tag, "href") else { continue };
        let href = text::value(href, Tags::Drop, &Entities::none());
        let url = base.map_or_else(|| Url::parse(&href), |base| base.join(&href));
        // without a base, a path is all there is to say
        let shown = match url {
            Ok(url) => RedactedUrl(&url).to_string(),
            Err(_) => one_line(href.split(['?', '#']).next().unwrap_or_default()).into_owned(),
        };
        if !shown.is_empty() && shown.len() <= 200 && !found.contains(&shown) {
            found.push(shown);
        }
        if found.len() == NAMED {
            break;
        }
    }
    found
}

const FEEDS: [&str; 5] =
    ["application/rss+xml", "application/atom+xml", "application/rdf+xml", "application/feed+json", "application/json"];

/// A browser's "view source", saved: the feed stands escaped in the page's `<pre>`. Gives the feed.
pub(super) fn unwrapped(text: Text<'_>) -> Text<'_> {
    let Some(feed) = escaped_feed(&text.text) else { return text };
    Text { text: Cow::Owned(feed), ..text }
}

fn escaped_feed(page: &str) -> Option<String> {
    let start = page.trim_start();
    let begins = |sign: &str| start.get(..sign.len()).is_some_and(|head| head.eq_ignore_ascii_case(sign));
    if !["<!doctype html", "<html", "<head", "<body", "<pre"].into_iter().any(begins) {
        return None;
    }
    let open = ["<pre", "<PRE"].into_iter().filter_map(|pre| memmem::find(start.as_bytes(), pre.as_bytes())).min();
    let open = open.filter(|&at| at < HEAD)?;
    let body = start[open + text::tag_end(&start[open..])?..].trim_start();
    let feeds = ["&lt;?xml", "&lt;rss", "&lt;feed", "&lt;rdf:RDF"];
    if !feeds.into_iter().any(|sign| body.starts_with(sign)) {
        return None;
    }
    let end = memmem::rfind(body.as_bytes(), b"</pre").or_else(|| memmem::rfind(body.as_bytes(), b"</PRE"));
    let end = end.unwrap_or(body.len());
    Some(text::value(&body[..end], Tags::Drop, &Entities::none()).into_owned())
}
