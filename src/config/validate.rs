//! The sections of the file, one function each, and what must fit between them.

mod destination;
mod enrich;
mod field;
mod moment;
mod page;
mod pointer;
mod rename;
mod source;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use slog::Level;
use url::{Host, ParseError, Url};

use super::{
    Backfill, Concurrency, Config, Destination, DestinationKind, DiscordLimits, Http, Listen, Log, LogFormat, Source,
    fetch_settings::{FetchSettings, Roots},
    load::LoadOptions,
    reader::{Table, Value, short},
    secret::{self, Found, Secrets, readable_by_all},
    value::Compiled,
};
use crate::{
    memory::budget::{DEFAULT as DEFAULT_MEMORY, LEAST as LEAST_MEMORY, largest_document},
    model::{Name, Secret},
};
use rename::Renames;

/// The whole file. None only where what is missing is reported.
pub(super) fn config(mut root: Table<'_>, path: &Path, options: &LoadOptions<'_>) -> Option<Config> {
    let base = path.parent().unwrap_or(Path::new(""));
    let (needed, plain) = (options.secrets, Cell::new(false));
    let secrets = Secrets { env: options.env, base, read: true, plain: &plain };
    let roots = Roots::default();
    let compiled = Compiled::default();

    let (state_dir, state_dir_given) = state_dir(&mut root, base, options.env);
    let log = log(root.table("log"));
    let http = http(root.table("http"), &secrets.reading(needed.of_http()));

    let mut fetch_table = root.table("fetch");
    let mut fetch = FetchSettings::default();
    fetch.read(&mut fetch_table, &secrets.reading(needed.of_fetch()), &roots);
    let concurrency = Concurrency {
        total: fetch_table.get("max_concurrent").and_then(|value| value.integer(1..=u32::MAX)).unwrap_or(512) as usize,
        per_host: fetch_table.get("max_concurrent_per_host").and_then(|value| value.integer(0..=u32::MAX)).unwrap_or(0)
            as usize,
        memory: memory(&mut fetch_table, fetch.request.max_body),
    };
    fetch_table.finish();
    let discord = discord(root.table("discord"));

    let source_tables = root.tables("source");
    let destination_tables = root.tables("destination");

    let mut names = Names::new("destination");
    let destinations: Vec<Arc<Destination>> = destination_tables
        .into_iter()
        .filter_map(|table| destination::destination(table, &mut names, &secrets, needed).map(Arc::new))
        .collect();
    let destinations = match (destinations.is_empty(), Name::new("stdout")) {
        (true, Ok(name)) if names.order.is_empty() => {
            names.order.push(name.clone());
            vec![Arc::new(Destination { name, backfill: Backfill::Newest(0), kind: DestinationKind::Stdout })]
        }
        _ => destinations,
    };

    let mut source_names = Names::new("source");
    let context = source::Context {
        fetch: &fetch,
        destinations: &names.order,
        backfills: &destinations.iter().map(|destination| (destination.name.clone(), destination.backfill)).collect(),
        renames: Renames::default(),
        urls: RefCell::default(),
        secrets: &secrets,
        needed,
        roots: &roots,
        compiled: &compiled,
        unfiltered: Arc::default(),
    };
    let mut sources: Vec<Arc<Source>> = source_tables
        .into_iter()
        .filter_map(|table| source::source(table, &mut source_names, &context).map(Arc::new))
        .collect();
    context.renames.check(root.report, &source_names);
    // they were collected where the tables were, which are much larger
    sources.shrink_to_fit();

    if !sources.iter().any(|source| source.enabled) {
        root.report.warn(&(0..0), "source", "no source is enabled: there is nothing to watch");
    }
    if plain.get() && readable_by_all(path) {
        root.report.warn(&(0..0), "", IN_THE_OPEN);
    }
    root.finish();
    Some(Config {
        path: path.to_owned(),
        state_dir,
        state_dir_given,
        log,
        http,
        concurrency,
        discord,
        sources,
        destinations,
    })
}

/// What to do with a secret that stands in a file which everybody can read.
const IN_THE_OPEN: &str = "holds a secret, and every user of this machine can read it: move the secret to a file of its own \
    with mode 0600, and name that with { credential = \"NAME\" } (systemd's LoadCredential=NAME:PATH) or { file = \"PATH\" }";

/// `memory`, which is to have room for a document of `max_body`.
fn memory(fetch: &mut Table<'_>, max_body: u64) -> u64 {
    let Some(value) = fetch.get("memory") else { return DEFAULT_MEMORY };
    let Some(memory) = value.size(LEAST_MEMORY..=1 << 40) else { return DEFAULT_MEMORY };
    let largest = largest_document(memory);
    if largest < max_body {
        value.warn(format_args!(
            "has room for documents of {largest} bytes, which is less than max_body: larger ones are refused"
        ));
    }
    memory
}

/// Every key of every table: what may be named as the place of a syntax error.
pub(super) const KEYS: &[&str] = &[
    "state_dir",
    "log",
    "level",
    "format",
    "http",
    "listen",
    "hosts",
    "admin_token",
    "require_token",
    "fetch",
    "interval",
    "jitter",
    "timeout",
    "connect_timeout",
    "max_body",
    "max_redirects",
    "keep_alive",
    "user_agent",
    "proxy",
    "ca_file",
    "encoding",
    "allow_private_addresses",
    "backfill",
    "retention",
    "on_empty",
    "hold_above",
    "memory",
    "max_concurrent",
    "max_concurrent_per_host",
    "retry",
    "attempts",
    "min_backoff",
    "max_backoff",
    "breaker",
    "failures",
    "cooldown",
    "max_cooldown",
    "discord",
    "requests_per_second",
    "channel_per_minute",
    "source",
    "name",
    "label",
    "was",
    "url",
    "kind",
    "to",
    "enabled",
    "headers",
    "basic_auth",
    "user",
    "password",
    "include",
    "exclude",
    "title",
    "summary",
    "link",
    "author",
    "category",
    "color",
    "method",
    "body",
    "embedded",
    "html",
    "json",
    "enrich",
    "items",
    "after",
    "matching",
    "first",
    "id",
    "published",
    "image",
    "extra",
    "select",
    "attr",
    "regex",
    "const",
    "any",
    "join",
    "with",
    "min_length",
    "max_length",
    "zone",
    "under",
    "verify_image",
    "video",
    "destination",
    "secret",
    "env",
    "file",
    "credential",
];

/// The state directory, and whether the file or the environment names it.
fn state_dir(root: &mut Table<'_>, base: &Path, env: &dyn Fn(&str) -> Option<OsString>) -> (PathBuf, bool) {
    if let Some(value) = root.get("state_dir") {
        return (base.join(value.path("a path").unwrap_or("state")), true);
    }
    // systemd separates several by colons
    let given = env("STATE_DIRECTORY").and_then(|paths| std::env::split_paths(&paths).next());
    match given.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => (path, true),
        None => (PathBuf::from("state"), false),
    }
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
    let host = Host::parse(value.string(FORM)?).ok().filter(|host| !host.to_string().contains('*'));
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

/// Not set, or set and right; None is what is wrong, and was told.
fn unless_wrong<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => value.map(Some),
    }
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
        self.lines.insert(name.clone(), value.report.text.line_of(value.span.start));
        self.order.push(name.clone());
        Some(name)
    }
}

/// An http(s) URL that is not shown in any message.
fn secret_url(value: &Value<'_>, found: Option<Found>, placeholder: &str) -> Option<Url> {
    match found? {
        Found::Text(text) => http_url(value, &text),
        Found::Elsewhere => Url::parse(placeholder).ok(),
    }
}

/// The messages say nothing of the text but its scheme, and that only where it surely is one.
fn http_url(value: &Value<'_>, text: &str) -> Option<Url> {
    const FORM: &str = "expected an http:// or https:// URL";
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => return Some(url),
        Ok(url) if text.get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://")) => {
            value.error(format_args!("{FORM}, found one with the scheme {:?}", short(url.scheme())));
        }
        _ if secret::is_variable(text) => value.error(secret::VARIABLE),
        Err(ParseError::RelativeUrlWithoutBase) => {
            value.error(format_args!("{FORM}, found no scheme: write https:// before it"));
        }
        Ok(_) => value.error(format_args!("{FORM}, found something else (it is not shown): does it lack https://?")),
        Err(error) => value.error(format_args!("{FORM}, found none: {error}")),
    }
    None
}
