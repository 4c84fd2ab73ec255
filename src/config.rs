//! The configuration as the rest of the program sees it: checked, complete, with every default filled in.
//!
//! A [`Config`] is only born from [`load::load`], which tells every fault of a file at once. No other
//! module reads files or the environment for settings.

pub mod diagnostic;
mod fetch_settings;
pub mod load;
mod reader;
mod secret;
mod source_text;
mod validate;
mod value;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use regex::Regex;
use url::Url;

use crate::{
    model::{Name, Secret},
    page::rules::{Enrich, JsonRules, PageRules},
};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// Whether the file or `$STATE_DIRECTORY` names it; if not, it is the default.
    pub state_dir_given: bool,
    /// Logging.
    pub log: Log,
    /// The daemon's own HTTP server.
    pub http: Http,
    /// Limits over all sources.
    pub concurrency: Concurrency,
    /// Limits that Discord does not announce.
    pub discord: DiscordLimits,
    /// Every source of the file, in its order, the disabled ones too.
    pub sources: Vec<Arc<Source>>,
    /// Every destination, in order; `stdout` where the file has none.
    pub destinations: Vec<Arc<Destination>>,
}

/// `[log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Least level that is written.
    pub level: slog::Level,
    /// How records are written.
    pub format: LogFormat,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// journald when `$JOURNAL_STREAM` is ours, terminal on a tty, else JSON.
    Auto,
    /// Human-readable lines.
    Terminal,
    /// One JSON object a line.
    Json,
    /// The journal's own protocol, with fields.
    Journald,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where to listen; empty switches the server off.
    pub listen: Vec<Listen>,
    /// Names under which a reverse proxy serves it.
    pub hosts: Vec<String>,
    /// The admin routes' bearer token; without it they answer 403.
    pub admin_token: Option<Secret>,
    /// Whether everything but `/health…` and `/metrics` needs the token too.
    pub require_token: bool,
}

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `"127.0.0.1:8787"`
    Tcp(SocketAddr),
    /// `"unix:/path"`
    Unix(PathBuf),
}

/// The keys that stand only in `[fetch]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Attempts in flight over all sources, at least 1.
    pub total: usize,
    /// Attempts in flight for one host; 0: no limit.
    pub per_host: usize,
    /// Bytes that bodies, reading and unstored items may take together.
    pub memory: u64,
}

/// `[discord]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscordLimits {
    /// Over all destinations; 0: off.
    pub requests_per_second: u32,
    /// Per webhook; 0: off.
    pub channel_per_minute: u32,
}

/// A `[[source]]` with the defaults of `[fetch]` filled in.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its identity.
    pub name: Name,
    /// What people read; the name where none is set.
    pub label: String,
    /// What is fetched. May hold secrets: show it with [`crate::model::RedactedUrl`].
    pub url: Url,
    /// How it is read.
    pub kind: SourceKind,
    /// The destinations' names.
    pub to: Vec<Name>,
    /// Whether it is polled at all.
    pub enabled: bool,
    /// How it is requested.
    pub request: Arc<RequestSettings>,
    /// When it is polled.
    pub schedule: Schedule,
    /// Attempts within a poll.
    pub retry: Retry,
    /// When to stop asking for a while.
    pub breaker: Breaker,
    /// Newest items delivered at the first successful poll.
    pub backfill: Backfill,
    /// Destinations that get the newest items first when they are new to this source.
    pub backfill_to: Vec<(Name, Backfill)>,
    /// New items of one poll that are delivered at most, once the source is known; 0: no limit.
    pub hold_above: usize,
    /// The name that the source had before.
    pub was: Option<Name>,
    /// How long an item that left the document is remembered.
    pub retention: Duration,
    /// Whether a document without items is a failure.
    pub on_empty: OnEmpty,
    /// A WHATWG label that overrides what the document says of itself; none: automatic.
    pub encoding: Option<&'static encoding_rs::Encoding>,
    /// Which items pass.
    pub filter: Arc<Filter>,
    /// What the pages of new items add.
    pub enrich: Option<Arc<Enrich>>,
    /// Of what destinations show of its items: 0xRRGGBB.
    pub color: Option<u32>,
}

/// How a source's document is read.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// RSS, Atom, RDF, JSON Feed.
    Feed,
    /// A page, by CSS selectors.
    Html(Arc<PageRules>),
    /// JSON, by paths.
    Json(Arc<JsonRules>),
}

/// The part of `[fetch]` that concerns a request.
#[derive(Debug, Clone)]
pub struct RequestSettings {
    /// One attempt, from resolving to the last byte, redirects included.
    pub timeout: Duration,
    /// Resolving, and connecting, each.
    pub connect_timeout: Duration,
    /// Bytes, compressed and decompressed each.
    pub max_body: u64,
    /// Redirects followed.
    pub max_redirects: u32,
    /// Whether connections are kept between polls.
    pub keep_alive: bool,
    /// `User-Agent`
    pub user_agent: String,
    /// `http://` (CONNECT) or `socks5://`.
    pub proxy: Option<Secret<Url>>,
    /// Additional roots, as certificates in DER; shared by all sources that name the same file.
    pub extra_roots: Arc<Vec<rustls_pki_types::CertificateDer<'static>>>,
    /// Whether addresses that are not global may be fetched.
    pub allow_private_addresses: bool,
    /// Further headers, checked to be valid HTTP.
    pub headers: Vec<(String, Secret)>,
    /// `Authorization: Basic`
    pub basic_auth: Option<BasicAuth>,
    /// The body to POST, which may hold a key; none is a GET.
    pub post: Option<Secret>,
}

/// `basic_auth`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// When a source is polled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// From start to start; at least 50 ms.
    pub interval: Duration,
    /// 0 to 1: the wait is `interval × (1 ± jitter/2)`.
    pub jitter: f64,
}

/// `[fetch.retry]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts per poll, the first included; at least 1.
    pub attempts: u32,
    /// First wait.
    pub min_backoff: Duration,
    /// Longest wait; not less than the first.
    pub max_backoff: Duration,
}

/// `[fetch.breaker]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Failed polls in a row that open it; at least 1.
    pub failures: u32,
    /// How long it stays open the first time.
    pub cooldown: Duration,
    /// Where doubling the cooldown ends; not less than the first.
    pub max_cooldown: Duration,
}

/// `backfill`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backfill {
    /// Every item.
    All,
    /// The newest so many.
    Newest(usize),
}

/// `on_empty`
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnEmpty {
    /// `fail` for pages and JSON, `ok` for feeds.
    Auto,
    /// No items are fine.
    Ok,
    /// No items are the error `empty`.
    Fail,
}

/// `include` and `exclude`
#[derive(Debug, Default)]
pub struct Filter {
    /// An item passes if it matches any of these, or if there are none…
    pub include: Patterns,
    /// …and none of these.
    pub exclude: Patterns,
}

/// Regular expressions by the field they look at.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    /// Over the title.
    pub title: Vec<Regex>,
    /// Over the summary.
    pub summary: Vec<Regex>,
    /// Over the link.
    pub link: Vec<Regex>,
    /// Over each author.
    pub author: Vec<Regex>,
    /// Over each category.
    pub category: Vec<Regex>,
}

impl Patterns {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let Self { title, summary, link, author, category } = self;
        [title, summary, link, author, category].into_iter().all(Vec::is_empty)
    }
}

/// A `[[destination]]`
#[derive(Debug, Clone)]
pub struct Destination {
    /// Its identity.
    pub name: Name,
    /// Of each source that it is new to, the newest items that it gets first.
    pub backfill: Backfill,
    /// Where and how items go.
    pub kind: DestinationKind,
}

/// A destination's kind, with what each needs.
#[derive(Debug, Clone)]
pub enum DestinationKind {
    /// A Discord webhook: the URL as configured, checked for its shape, rewritten to `/api/v10/`.
    Discord {
        /// The whole URL is a credential.
        url: Secret<Url>,
    },
    /// Any HTTP endpoint that takes our JSON.
    Webhook {
        /// The URL may hold a key.
        url: Secret<Url>,
        /// Key of `X-Kawaraban-Signature`.
        secret: Option<Secret>,
    },
    /// One JSON line an item on standard output.
    Stdout,
}

impl Config {
    /// Sources with the name that they had before: the former name first.
    pub fn renames(&self) -> Vec<(Name, Name)> {
        self.sources.iter().filter_map(|source| Some((source.was.clone()?, source.name.clone()))).collect()
    }

    /// The colours of the sources that have one.
    pub fn colors(&self) -> BTreeMap<Name, u32> {
        self.sources.iter().filter_map(|source| Some((source.name.clone(), source.color?))).collect()
    }
}

impl Source {
    /// Whether nothing changed, secrets included.
    pub fn same_as(&self, other: &Self) -> bool {
        let secrets = |source: &Self| {
            let request = &source.request;
            let headers: Vec<_> = request.headers.iter().map(|(_, value)| value.expose().clone()).collect();
            let password = request.basic_auth.as_ref().map(|auth| auth.password.expose().clone());
            let post = request.post.as_ref().map(|body| body.expose().clone());
            (headers, password, request.proxy.as_ref().map(|proxy| proxy.expose().clone()), post)
        };
        // `Debug` shows every field but the secrets
        format!("{self:?}") == format!("{other:?}") && secrets(self) == secrets(other)
    }
}

impl Destination {
    /// Whether nothing changed, secrets included.
    pub fn same_as(&self, other: &Self) -> bool {
        use DestinationKind::{Discord, Stdout, Webhook};
        self.name == other.name
            && self.backfill == other.backfill
            && match (&self.kind, &other.kind) {
                (Discord { url: a }, Discord { url: b }) => a == b,
                (Webhook { url: a, secret: s }, Webhook { url: b, secret: t }) => (a, s) == (b, t),
                (Stdout, Stdout) => true,
                (Discord { .. } | Webhook { .. } | Stdout, _) => false,
            }
    }
}
