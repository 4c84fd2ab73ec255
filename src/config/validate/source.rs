//! `[[source]]`

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use awc::http::header::{HeaderName, HeaderValue};
use url::Url;

use super::{
    Names,
    enrich::enrich,
    page::{Reading, reading},
    rename::Renames,
    secret_url, unless_wrong,
};
use crate::{
    config::{
        Backfill, BasicAuth, Filter, Patterns, Source,
        fetch_settings::{FetchSettings, Roots},
        load::Needed,
        reader::{DidYouMean, Table, Value},
        secret::{Found, Secrets},
        value::Compiled,
    },
    model::{Name, Secret},
    page::rules::Enrich,
};

/// What every source is checked against.
pub(super) struct Context<'a> {
    pub(super) fetch: &'a FetchSettings,
    pub(super) destinations: &'a [Name],
    pub(super) backfills: &'a HashMap<Name, Backfill>,
    pub(super) renames: Renames,
    /// What is read where, and by which source first.
    pub(super) urls: RefCell<HashMap<String, Name>>,
    pub(super) secrets: &'a Secrets<'a>,
    pub(super) needed: Needed<'a>,
    pub(super) roots: &'a Roots,
    pub(super) compiled: &'a Compiled,
    pub(super) unfiltered: Arc<Filter>,
}

/// None where a fault was reported.
pub(super) fn source(mut table: Table<'_>, names: &mut Names, context: &Context<'_>) -> Option<Source> {
    let name = names.take(&mut table);
    let secrets = &context.secrets.reading(context.needed.of_source(name.as_ref()));
    let was = table.get("was").map(|value| context.renames.read(&value));
    let label = table.get("label").and_then(|value| value.line("a line of text"));
    let url_value = table.require("url", "the URL of a feed, a page or JSON");
    let url =
        url_value.as_ref().and_then(|value| secret_url(value, secrets.get_harmless(value), "https://unread.invalid/"));
    let color = table.get("color").map(|value| color(&value));
    let reading = reading(&mut table, context.compiled);
    let enrichment = enrichment(&mut table, reading.as_ref(), context.compiled);
    let to = match table.get("to") {
        Some(value) => to(&value, context.destinations),
        None => context.destinations.to_vec(),
    };
    let enabled = table.get("enabled").and_then(|value| value.flag()).unwrap_or(true);

    let mut settings = context.fetch.clone();
    let header_table = table.table("headers");
    let own_headers = headers(&header_table, secrets);
    let basic_auth = table.get("basic_auth");
    let mut login = basic_auth.as_ref().and_then(|value| self::basic_auth(value, secrets));
    settings.read(&mut table, secrets, context.roots);
    let filter = Filter {
        include: patterns(table.table("include"), context.compiled),
        exclude: patterns(table.table("exclude"), context.compiled),
    };
    // most sources filter nothing, and share that
    let filter = if filter.include.is_empty() && filter.exclude.is_empty() {
        context.unfiltered.clone()
    } else {
        Arc::new(filter)
    };

    let url = url.map(|url| {
        let (url, in_url) = without_login(url);
        match (in_url, url_value.as_ref()) {
            (Some(_), Some(value)) if basic_auth.is_some() => {
                value.error("holds a user name or password, and there is basic_auth too: leave one of them away");
            }
            (Some(in_url), _) => login = Some(in_url),
            (None, _) => {}
        }
        url
    });
    let own_authorization =
        header_table.entries().into_iter().find(|(key, ..)| key.eq_ignore_ascii_case("authorization"));
    if let Some((_, span, value)) = own_authorization.filter(|_| login.is_some()) {
        value.report.error(
            &span,
            &value.key,
            "there is basic_auth too, which is the same header: leave one of them away",
        );
    }
    for key in ["memory", "max_concurrent", "max_concurrent_per_host"] {
        table.refuse(key, "counts over all sources, and stands in [fetch] only");
    }
    table.finish();

    let (name, reading) = (name?, reading?);
    if let (Some(url), Some(value), true) = (&url, &url_value, enabled) {
        warn_of_twin(value, &name, url, &reading, context);
    }
    // most sources are requested alike, and share how
    if !own_headers.is_empty() || login.is_some() || reading.post.is_some() {
        let own = Arc::make_mut(&mut settings.request);
        (own.headers, own.basic_auth, own.post) = (own_headers, login, reading.post);
    }
    Some(Source {
        label: label.unwrap_or_else(|| name.to_string()),
        name,
        url: url?,
        kind: reading.kind,
        backfill_to: backfill_to(&to, context.backfills),
        to,
        was: unless_wrong(was)?,
        enabled,
        retry: settings.retry(),
        breaker: settings.breaker(),
        request: settings.request,
        schedule: settings.schedule,
        backfill: settings.backfill,
        hold_above: settings.hold_above,
        retention: settings.retention,
        on_empty: settings.on_empty,
        encoding: settings.encoding,
        filter,
        enrich: enrichment?,
        color: unless_wrong(color)?,
    })
}

/// The destinations that get something of a source that they are new to.
fn backfill_to(to: &[Name], backfills: &HashMap<Name, Backfill>) -> Vec<(Name, Backfill)> {
    let backfill = |name: &Name| Some((name.clone(), *backfills.get(name)?));
    to.iter().filter_map(backfill).filter(|(_, backfill)| *backfill != Backfill::Newest(0)).collect()
}

/// Two sources that read the same document alike post everything twice. Different rules for one page do not.
fn warn_of_twin(value: &Value<'_>, name: &Name, url: &Url, reading: &Reading, context: &Context<'_>) {
    let post = reading.post.as_ref().map(|body| body.expose().as_str());
    let read = format!("{url}\n{:?}\n{post:?}", reading.kind);
    if let Some(first) = context.urls.borrow().get(&read) {
        value.warn(format_args!("is that of source {first:?} too: what it publishes is posted by both"));
        return;
    }
    context.urls.borrow_mut().insert(read, name.clone());
}

/// `[source.enrich]`; None where a fault was told.
fn enrichment(table: &mut Table<'_>, reading: Option<&Reading>, compiled: &Compiled) -> Option<Option<Arc<Enrich>>> {
    let Some(value) = table.get("enrich") else { return Some(None) };
    if reading.is_some_and(|reading| !reading.has_links()) {
        value.error("visits the links of new items, and no link is configured");
    }
    enrich(value.table()?, compiled).map(|enrich| Some(Arc::new(enrich)))
}

fn color(value: &Value<'_>) -> Option<u32> {
    const FORM: &str = "a colour such as \"#2e51a2\"";
    let digits = value.string(FORM)?.strip_prefix('#').filter(|digits| digits.len() == 6);
    let color = digits
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    if color.is_none() {
        value.wrong(FORM);
    }
    color
}

fn to(value: &Value<'_>, known: &[Name]) -> Vec<Name> {
    const FORM: &str = "an array of destinations' names";
    let Some(items) = value.array(FORM) else { return Vec::new() };
    if items.is_empty() {
        value.error("names no destination; leave the key away for all of them, or set enabled = false");
    }
    let mut to: Vec<Name> = Vec::new();
    for item in items {
        let Some(text) = item.string("a destination's name") else { continue };
        match known.iter().find(|name| name.as_str() == text) {
            Some(name) if to.contains(name) => item.error(format_args!("{name:?} is listed twice")),
            Some(name) => to.push(name.clone()),
            None if value.report.is_broken() => {}
            None => {
                let names = known.iter().map(Name::as_str);
                let near = DidYouMean(text, names.clone());
                let all = names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
                let found = item.found();
                item.error(format_args!("no destination has the name {found}{near}; the destinations are {all}"));
            }
        }
    }
    to
}

/// Headers that are ours to send, each with what to do instead.
const OWN_HEADERS: [(&str, &str); 13] = [
    ("accept-encoding", "kawaraban says what it can decode"),
    ("connection", "use keep_alive"),
    ("content-length", "kawaraban sends it"),
    ("expect", "kawaraban asks for no leave to send"),
    ("host", "it follows from the url"),
    ("if-modified-since", "kawaraban keeps the validators"),
    ("if-none-match", "kawaraban keeps the validators"),
    ("proxy-authorization", "put user and password into the proxy's URL"),
    ("range", "a part of a document is no document"),
    ("te", "kawaraban sends it"),
    ("transfer-encoding", "kawaraban sends it"),
    ("upgrade", "kawaraban sends it"),
    ("user-agent", "use user_agent"),
];

fn headers(table: &Table<'_>, secrets: &Secrets<'_>) -> Vec<(String, Secret)> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut headers = Vec::new();
    for (name, span, value) in table.entries() {
        let fault = |message: String| value.report.error(&span, &value.key, message);
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            fault("is no name of a header: letters, digits and hyphens".to_owned());
            continue;
        };
        if let Some((_, instead)) = OWN_HEADERS.iter().find(|(own, _)| *own == header.as_str()) {
            fault(format!("cannot be set: {instead}"));
            continue;
        }
        if !seen.insert(header.as_str().to_owned()) {
            fault("is set twice (case does not matter)".to_owned());
            continue;
        }
        match secrets.get_harmless(&value) {
            Some(Found::Text(text)) if HeaderValue::from_str(&text).is_err() => {
                value.error("a header's value has visible ASCII characters, spaces and tabs only (it is not shown)");
            }
            Some(Found::Text(text)) => headers.push((name, Secret::new(text))),
            Some(Found::Elsewhere) => headers.push((name, Secret::new(String::new()))),
            None => {}
        }
    }
    headers
}

fn basic_auth(value: &Value<'_>, secrets: &Secrets<'_>) -> Option<BasicAuth> {
    let mut table = value.clone().confidential().table()?;
    let user = table.require("user", "a user name");
    let password = table.require("password", "a SECRET");
    table.finish();
    let user = user.and_then(|value| {
        let user = value.string("a user name")?;
        // RFC 7617: the first colon ends the user name
        let fits = !user.contains(':') && !user.chars().any(char::is_control);
        if !fits {
            value.error("a user name has no colon and no control characters");
        }
        fits.then(|| user.to_owned())
    });
    let password = match secrets.get(&password?)? {
        Found::Text(text) => text,
        Found::Elsewhere => String::new(),
    };
    Some(BasicAuth { user: user?, password: Secret::new(password) })
}

/// Takes user and password out of a URL.
fn without_login(mut url: Url) -> (Url, Option<BasicAuth>) {
    if url.username().is_empty() && url.password().is_none() {
        return (url, None);
    }
    let login = BasicAuth {
        user: percent_decoded(url.username()),
        password: Secret::new(percent_decoded(url.password().unwrap_or_default())),
    };
    // cannot fail for a URL with a host
    let _ = url.set_username("");
    let _ = url.set_password(None);
    (url, Some(login))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |at: usize| tail.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn patterns(mut table: Table<'_>, compiled: &Compiled) -> Patterns {
    let mut of = |key| table.get(key).map(|value| value.patterns(compiled)).unwrap_or_default();
    let patterns = Patterns {
        title: of("title"),
        summary: of("summary"),
        link: of("link"),
        author: of("author"),
        category: of("category"),
    };
    table.finish();
    patterns
}
