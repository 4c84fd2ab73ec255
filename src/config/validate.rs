//! The sections of the file, one function each, and what must fit between them.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use awc::http::header::{HeaderName, HeaderValue};
use slog::Level;
use url::{Host, Url};

use super::{
    BasicAuth, Concurrency, Config, Destination, DestinationKind, DiscordLimits, Filter, Http, Listen, Log, LogFormat,
    Patterns, Source, SourceKind,
    fetch_settings::{FetchSettings, Roots},
    load::LoadOptions,
    reader::{DidYouMean, Table, Value, short},
    secret::{Found, Secrets},
};
use crate::model::{Name, Secret};

/// The whole file. None only where what is missing is reported.
pub(super) fn config(mut root: Table<'_>, path: &Path, options: &LoadOptions<'_>) -> Option<Config> {
    let base = path.parent().unwrap_or(Path::new(""));
    let secrets = Secrets { env: options.env, base, read: options.read_secrets, plain: Cell::new(false) };
    let roots = Roots::default();

    let state_dir = state_dir(&mut root, base, options.env);
    let log = log(root.table("log"));
    let http = http(root.table("http"), &secrets);

    let mut fetch_table = root.table("fetch");
    let mut fetch = FetchSettings::default();
    fetch.read(&mut fetch_table, &secrets, &roots);
    let concurrency = Concurrency {
        total: fetch_table.get("max_concurrent").and_then(|value| value.integer(1..=u32::MAX)).unwrap_or(512) as usize,
        per_host: fetch_table.get("max_concurrent_per_host").and_then(|value| value.integer(0..=u32::MAX)).unwrap_or(0)
            as usize,
    };
    fetch_table.finish();
    let discord = discord(root.table("discord"));

    let source_tables = root.tables("source");
    let destination_tables = root.tables("destination");

    let mut names = Names::new("destination");
    let destinations: Vec<Arc<Destination>> = destination_tables
        .into_iter()
        .filter_map(|table| destination(table, &mut names, &secrets).map(Arc::new))
        .collect();
    let destinations = match (destinations.is_empty(), Name::new("stdout")) {
        (true, Ok(name)) if names.order.is_empty() => {
            names.order.push(name.clone());
            vec![Arc::new(Destination { name, kind: DestinationKind::Stdout })]
        }
        _ => destinations,
    };

    let mut source_names = Names::new("source");
    let context = SourceContext { fetch: &fetch, destinations: &names.order, secrets: &secrets, roots: &roots };
    let sources: Vec<Arc<Source>> = source_tables
        .into_iter()
        .filter_map(|table| source(table, &mut source_names, &context).map(Arc::new))
        .collect();

    if !sources.iter().any(|source| source.enabled) {
        root.report.warn(&(0..0), "source", "no source is enabled: there is nothing to watch");
    }
    if secrets.plain.get() && readable_by_all(path) {
        root.report.warn(&(0..0), "", "holds secrets and can be read by every user of this machine: chmod o-r it");
    }
    root.finish();
    Some(Config { path: path.to_owned(), state_dir, log, http, concurrency, discord, sources, destinations })
}

/// Every key of every table: what may be named as the place of a syntax error.
pub(super) const KEYS: &[&str] = &[];

fn state_dir(root: &mut Table<'_>, base: &Path, env: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    if let Some(value) = root.get("state_dir") {
        let path = value.string("a path").filter(|path| {
            let fits = !path.is_empty() && !path.contains('\0');
            if !fits {
                value.wrong("a path");
            }
            fits
        });
        return base.join(path.unwrap_or("state"));
    }
    // systemd separates several by colons
    let given = env("STATE_DIRECTORY").and_then(|paths| std::env::split_paths(&paths).next());
    given.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("state"))
}

fn log(mut table: Table<'_>) -> Log {
    let levels = [
        ("trace", Level::Trace),
        ("debug", Level::Debug),
        ("info", Level::Info),
        ("warn", Level::Warning),
        ("warning", Level::Warning),
        ("error", Level::Error),
        ("critical", Level::Critical),
    ];
    let formats = [
        ("auto", LogFormat::Auto),
        ("terminal", LogFormat::Terminal),
        ("json", LogFormat::Json),
        ("journald", LogFormat::Journald),
    ];
    let level = table.get("level").and_then(|value| value.choice(&levels)).unwrap_or(Level::Info);
    let format = table.get("format").and_then(|value| value.choice(&formats)).unwrap_or(LogFormat::Auto);
    table.finish();
    Log { level, format }
}

fn http(mut table: Table<'_>, secrets: &Secrets<'_>) -> Http {
    let listen = table.get("listen");
    let addresses = match &listen {
        Some(value) => {
            let mut addresses = Vec::new();
            for item in value.array("an array of addresses").unwrap_or_default() {
                match item.listen(secrets.base) {
                    Some(address) if addresses.contains(&address) && !any_port(&address) => {
                        item.error("is listed twice");
                    }
                    address => addresses.extend(address),
                }
            }
            addresses
        }
        None => vec![Listen::Tcp(([127, 0, 0, 1], 8787).into())],
    };
    let hosts = table.get("hosts").and_then(|value| value.array("an array of host names")).unwrap_or_default();
    let token = table.get("admin_token");
    let admin_token = token.as_ref().and_then(|value| admin_token(value, secrets));
    let require_token = table.get("require_token");
    let required = require_token.as_ref().and_then(Value::flag).unwrap_or(false);
    if let Some(value) = require_token.filter(|_| required && token.is_none()) {
        value.error("needs an admin_token, and there is none");
    }
    let public = |address: &Listen| matches!(address, Listen::Tcp(address) if !address.ip().is_loopback());
    if let Some(value) = listen.filter(|_| token.is_none() && addresses.iter().any(public)) {
        value.warn("listens beyond loopback without an admin_token: anyone who reaches it can read the reports");
    }
    table.finish();
    Http { listen: addresses, hosts: hosts.iter().filter_map(host).collect(), admin_token, require_token: required }
}

fn any_port(address: &Listen) -> bool {
    matches!(address, Listen::Tcp(address) if address.port() == 0)
}

fn host(value: &Value<'_>) -> Option<String> {
    const FORM: &str = "a host name without scheme and port, such as \"news.example\"";
    let host = Host::parse(value.string(FORM)?).ok();
    if host.is_none() {
        value.wrong(FORM);
    }
    host.map(|host| host.to_string())
}

/// It travels in a header, where only visible ASCII arrives unharmed.
fn admin_token(value: &Value<'_>, secrets: &Secrets<'_>) -> Option<Secret> {
    match secrets.get(value)? {
        Found::Text(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Some(Secret::new(text)),
        Found::Text(_) => {
            value.error("a token has visible ASCII characters only, and no spaces (it is not shown)");
            None
        }
        Found::Elsewhere => Some(Secret::new(String::new())),
    }
}

fn discord(mut table: Table<'_>) -> DiscordLimits {
    let mut limit = |key, default| table.get(key).and_then(|value| value.integer(0..=100_000)).unwrap_or(default);
    let limits = DiscordLimits {
        requests_per_second: limit("requests_per_second", 40),
        channel_per_minute: limit("channel_per_minute", 28),
    };
    table.finish();
    limits
}

/// The names given so far in one list, to tell a second use of one.
struct Names {
    what: &'static str,
    order: Vec<Name>,
    lines: HashMap<Name, usize>,
}

impl Names {
    fn new(what: &'static str) -> Self {
        Self { what, order: Vec::new(), lines: HashMap::new() }
    }

    /// The table's `name`, if it is one and new.
    fn take(&mut self, table: &mut Table<'_>) -> Option<Name> {
        let value = table.require("name", "a name such as \"ann\"")?;
        let name = value.name()?;
        table.rename(name.as_str());
        if let Some(line) = self.lines.get(&name) {
            value.error(format_args!("{name:?} is already the name of the {} in line {line}", self.what));
            return None;
        }
        self.lines.insert(name.clone(), value.report.text.place(value.span.start).line);
        self.order.push(name.clone());
        Some(name)
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Discord,
    Webhook,
    Stdout,
}

fn destination(mut table: Table<'_>, names: &mut Names, secrets: &Secrets<'_>) -> Option<Destination> {
    let name = names.take(&mut table);
    let choices = [("discord", Kind::Discord), ("webhook", Kind::Webhook), ("stdout", Kind::Stdout)];
    let kind = table.require("kind", "\"discord\", \"webhook\" or \"stdout\"").and_then(|kind| kind.choice(&choices));
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
    Some(Destination { name: name?, kind })
}

/// An http(s) URL that is not shown in any message.
fn secret_url(value: &Value<'_>, secrets: &Secrets<'_>, placeholder: &str) -> Option<Url> {
    let text = match secrets.get(value)? {
        Found::Text(text) => text,
        Found::Elsewhere => placeholder.to_owned(),
    };
    http_url(value, &text)
}

/// The messages say nothing of the text but its scheme.
fn http_url(value: &Value<'_>, text: &str) -> Option<Url> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
        Ok(url) => {
            let scheme = short(url.scheme());
            value.error(format_args!("expected an http:// or https:// URL, found one with the scheme {scheme:?}"));
            None
        }
        Err(error) => {
            value.error(format_args!("expected an http:// or https:// URL, found none: {error}"));
            None
        }
    }
}

fn webhook_url(value: &Value<'_>, secrets: &Secrets<'_>) -> Option<Secret<Url>> {
    secret_url(value, secrets, "https://unread.invalid/").map(Secret::new)
}

/// A Discord webhook's URL, rewritten to the version of the API that we speak.
fn discord_url(value: &Value<'_>, secrets: &Secrets<'_>) -> Option<Secret<Url>> {
    const SHAPE: &str = "https://HOST/api/webhooks/ID/TOKEN, as Discord's \"Copy Webhook URL\" gives it";
    let mut url = secret_url(value, secrets, "https://unread.invalid/api/webhooks/1/unread")?;
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

/// What every source is checked against.
struct SourceContext<'a> {
    fetch: &'a FetchSettings,
    destinations: &'a [Name],
    secrets: &'a Secrets<'a>,
    roots: &'a Roots,
}

fn source(mut table: Table<'_>, names: &mut Names, context: &SourceContext<'_>) -> Option<Source> {
    let name = names.take(&mut table);
    let label = table.get("label").and_then(|value| value.line("a line of text"));
    let url_value = table.require("url", "the URL of a feed");
    let url = url_value.as_ref().and_then(|value| secret_url(value, context.secrets, "https://unread.invalid/"));
    let kind = match table.get("kind") {
        Some(value) => source_kind(&value, &mut table),
        None => Some(SourceKind::Feed),
    };
    let to = match table.get("to") {
        Some(value) => to(&value, context.destinations),
        None => context.destinations.to_vec(),
    };
    let enabled = table.get("enabled").and_then(|value| value.flag()).unwrap_or(true);

    let mut settings = context.fetch.clone();
    let header_table = table.table("headers");
    settings.request.headers = headers(&header_table, context.secrets);
    let basic_auth = table.get("basic_auth");
    settings.request.basic_auth = basic_auth.as_ref().and_then(|value| self::basic_auth(value, context.secrets));
    settings.read(&mut table, context.secrets, context.roots);
    let filter = Filter { include: patterns(table.table("include")), exclude: patterns(table.table("exclude")) };

    let url = url.map(|url| {
        let (url, login) = without_login(url);
        match (login, url_value.as_ref()) {
            (Some(_), Some(value)) if basic_auth.is_some() => {
                value.error("holds a user name or password, and there is basic_auth too: leave one of them away");
            }
            (Some(login), _) => settings.request.basic_auth = Some(login),
            (None, _) => {}
        }
        url
    });
    let own_authorization =
        header_table.entries().into_iter().find(|(key, ..)| key.eq_ignore_ascii_case("authorization"));
    if let Some((_, span, value)) = own_authorization.filter(|_| settings.request.basic_auth.is_some()) {
        value.report.error(
            &span,
            &value.key,
            "there is basic_auth too, which is the same header: leave one of them away",
        );
    }
    for key in ["max_concurrent", "max_concurrent_per_host"] {
        table.refuse(key, "counts over all sources, and stands in [fetch] only");
    }
    table.finish();

    let name = name?;
    Some(Source {
        label: label.unwrap_or_else(|| name.to_string()),
        name,
        url: url?,
        kind: kind?,
        to,
        enabled,
        retry: settings.retry(),
        breaker: settings.breaker(),
        request: settings.request,
        schedule: settings.schedule,
        backfill: settings.backfill,
        retention: settings.retention,
        on_empty: settings.on_empty,
        encoding: settings.encoding,
        filter,
    })
}

fn source_kind(value: &Value<'_>, table: &mut Table<'_>) -> Option<SourceKind> {
    if let Some(kind @ ("html" | "json")) = value.as_str() {
        value.error(format_args!(
            "the kind {kind:?} does not exist yet: this version reads feeds only, kind = \"feed\""
        ));
        table.ignore(&["html", "json", "enrich", "method", "body", "embedded"]);
        return None;
    }
    value.choice(&[("feed", SourceKind::Feed)])
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
    ("expect", "kawaraban sends no bodies"),
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
    let mut seen: BTreeMap<String, ()> = BTreeMap::new();
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
        if seen.insert(header.as_str().to_owned(), ()).is_some() {
            fault("is set twice (case does not matter)".to_owned());
            continue;
        }
        match secrets.get(&value) {
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

fn patterns(mut table: Table<'_>) -> Patterns {
    let mut of = |key| table.get(key).map(|value| value.patterns()).unwrap_or_default();
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

fn readable_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}
