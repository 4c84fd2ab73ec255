//! From a body's bytes to keys of all entries and whole items of those that may be new.
//!
//! A source remembers the entries of its last document (its [`Window`]): those with the same bytes are not
//! even read again, those with the same keys are known to be seen, and only the rest is turned into items.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use url::Url;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::{
    config::{OnEmpty, Source, SourceKind},
    feed,
    identity::{self, Keys},
    model::{ErrorKind, Failure, Matched},
    page::{self, Expired},
    poll::{filter, window::Window},
    store::Candidate,
};

/// A document that was read.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Keys of every entry, in document order.
    pub keys: Vec<Keys>,
    /// What to remember of it until the next.
    pub window: Window,
    /// Entries outside the window, ascending.
    pub candidates: Vec<Candidate>,
    /// The word for its format.
    pub format: &'static str,
    /// How often it says that it changes: advice, which changes no schedule.
    pub update_period: Option<Duration>,
    /// Whether it was read whole and without error: only then are its validators worth keeping.
    pub whole: bool,
    /// What was recovered from, for the operator.
    pub warnings: Vec<String>,
    /// How well the rules of a page or of JSON fitted.
    pub matched: Option<Matched>,
}

/// What reading a body needs to know.
#[derive(Debug, Clone)]
pub struct Input {
    /// The body, decompressed.
    pub body: bytes::Bytes,
    /// `Content-Type` as sent.
    pub content_type: Option<String>,
    /// Where it came from in the end: the base of relative links.
    pub url: Url,
    /// The source as configured.
    pub source: Arc<Source>,
    /// The last document.
    pub window: Arc<Window>,
    /// What the rules gave at the last good poll.
    pub matched: Option<Matched>,
}

/// How a body is read. A plain function, so that it may run on any thread; tests put in their own.
pub type Read = fn(&Input, Expired<'_>) -> Result<Parsed, Failure>;

/// How long reading may take. Only a page can come near it: what selectors cost, and a tag without end. A daemon
/// that is told to end waits for what is being read, and has 5 s.
pub const LONGEST_READ: Duration = Duration::from_secs(3);

/// Reads a body as its source's kind has it; `expired` tells when [`LONGEST_READ`] is over.
pub fn read(input: &Input, expired: Expired<'_>) -> Result<Parsed, Failure> {
    let given = page::Given {
        content_type: input.content_type.as_deref(),
        encoding: input.source.encoding,
        url: &input.url,
        may_be_empty: input.source.on_empty == OnEmpty::Ok,
        before: input.matched.as_ref(),
        expired,
    };
    match &input.source.kind {
        SourceKind::Feed => read_feed(input),
        SourceKind::Html(rules) => from_rules(input, "html", page::html::read(&input.body, rules, &given)),
        SourceKind::Json(rules) => from_rules(input, "json", page::json::read(&input.body, rules, &given)),
    }
}

/// Runs `read`, turning a panic into the failure `panic`.
pub fn read_guarded(read: Read, input: &Input, expired: Expired<'_>) -> Result<Parsed, Failure> {
    catch_unwind(AssertUnwindSafe(|| read(input, expired))).unwrap_or_else(|cause| Err(panicked(&*cause)))
}

/// The failure for a caught panic.
pub fn panicked(cause: &(dyn Any + Send)) -> Failure {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let text: String = text.chars().take(200).collect();
    Failure::fatal(ErrorKind::Panic, format!("reading the answer panicked, please report it: {text}"))
}

fn read_feed(input: &Input) -> Result<Parsed, Failure> {
    let hints = feed::Hints {
        content_type: input.content_type.as_deref(),
        base: Some(&input.url),
        encoding: input.source.encoding,
    };
    let text = feed::decode(&input.body, &hints).map_err(unreadable)?;
    let again = read_entries(input, &text, &hints, &input.window)?;
    let parsed = match again {
        Some(parsed) => parsed,
        // an entry with the bytes of an old one is new all the same, since another one took its keys
        None => read_entries(input, &text, &hints, &Window::default())?.unwrap_or_default(),
    };
    if parsed.keys.is_empty() && input.source.on_empty == OnEmpty::Fail {
        return Err(Failure::fatal(ErrorKind::Empty, "the document has no items, and on_empty is \"fail\""));
    }
    Ok(parsed)
}

/// What rules gave of a page or of JSON. Their items are whole already: only those outside the window go on.
fn from_rules(
    input: &Input,
    format: &'static str,
    read: Result<page::Extract, page::Error>,
) -> Result<Parsed, Failure> {
    let page::Extract { items, matched, warnings } =
        read.map_err(|error| Failure::fatal(error.kind(), error.to_string()))?;
    let mut scratch = Vec::new();
    let alone: Vec<Keys> = items.iter().map(|item| identity::alone(&item.into(), &mut scratch)).collect();
    let keys = identity::usable(&alone);
    let window = Window::new(alone.iter().map(|_| feed::Span::default()), &alone, &keys);
    let seen = input.window.lookup();
    let unseen = items.into_iter().enumerate().zip(&keys);
    let unseen = unseen.filter(|((index, _), keys)| !seen.holds(keys.strongest(), Some(*index)));
    let candidates = unseen.map(|((index, item), _)| {
        let passes = filter::passes(&input.source.filter, &item);
        Candidate::new(index, item, passes)
    });
    Ok(Parsed {
        candidates: candidates.collect(),
        keys,
        window,
        format,
        update_period: None,
        whole: true,
        warnings,
        matched: Some(matched),
    })
}

/// Reads the entries but those whose bytes are in `window`; `None` if one of these is needed.
fn read_entries(
    input: &Input,
    text: &feed::Text<'_>,
    hints: &feed::Hints<'_>,
    window: &Window,
) -> Result<Option<Parsed>, Failure> {
    let mut document = feed::read_again(text, hints, window.spans()).map_err(unreadable)?;
    let mut scratch = Vec::with_capacity(1024);
    let mut alone = Vec::with_capacity(document.entries.len());
    for entry in &document.entries {
        let keys = match entry.facts() {
            Some(facts) => Some(identity::alone(&facts, &mut scratch)),
            None => entry.known().and_then(|index| window.alone(index)),
        };
        let Some(keys) = keys else { return Ok(None) };
        alone.push(keys);
    }
    let keys = identity::usable(&alone);
    let left_behind = Window::new(document.entries.iter().map(feed::Entry::span), &alone, &keys);
    let seen = input.window.lookup();
    let mut candidates = Vec::new();
    for (index, (entry, keys)) in document.entries.iter().zip(&keys).enumerate() {
        if !seen.holds(keys.strongest(), entry.known()) {
            let Some(item) = entry.item().map_err(unreadable)? else { return Ok(None) };
            let passes = filter::passes(&input.source.filter, &item);
            candidates.push(Candidate::new(index, item, passes));
        }
    }
    document.complete_warnings();
    Ok(Some(Parsed {
        candidates,
        format: document.format.as_str(),
        update_period: document.update_period,
        // a cut document may be whole the next time, under the same validators
        whole: !document.warnings.contains(&feed::Warning::Truncated),
        warnings: document.warnings.iter().map(|warning| format!("{warning}: {}", warning.meaning())).collect(),
        window: left_behind,
        keys,
        matched: None,
    }))
}

fn unreadable(error: feed::Error) -> Failure {
    Failure::fatal(error.kind(), error.to_string())
}

/// Tells the URL of a source from others without showing it.
pub fn address(source: &Source) -> u64 {
    xxh3_64(source.url.as_str().as_bytes())
}

/// Validators and body hash of a source hold only for the same URL, kind, encoding, headers and parser.
pub fn fingerprint(source: &Source) -> u64 {
    let mut hasher = Xxh3Default::new();
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(source.url.as_str().as_bytes());
    match &source.kind {
        SourceKind::Feed => add(b"feed"),
        // what `Debug` shows of rules is what they say, and not where
        SourceKind::Html(rules) => add(format!("html {} {rules:?}", page::VERSION).as_bytes()),
        SourceKind::Json(rules) => add(format!("json {} {rules:?}", page::VERSION).as_bytes()),
    }
    if let Some(body) = &source.request.post {
        add(b"POST");
        add(body.expose().as_bytes());
    }
    add(source.encoding.map_or("auto", encoding_rs::Encoding::name).as_bytes());
    for (name, value) in &source.request.headers {
        add(name.to_ascii_lowercase().as_bytes());
        add(value.expose().as_bytes());
    }
    add(&feed::PARSER_VERSION.to_le_bytes());
    hasher.digest()
}
