//! What `[fetch]` sets for every source and a `[[source]]` may set again: one reader for both.

use std::{cell::RefCell, collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use encoding_rs::Encoding;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use url::Url;

use super::{
    Backfill, Breaker, OnEmpty, RequestSettings, Retry, Schedule,
    reader::{Table, Value},
    secret::{Found, Secrets},
    value::ONE_MS,
};
use crate::model::Secret;

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// Below this an interval is warned of: few publishers like to be asked so often.
const POLITE: Duration = Duration::from_secs(30);

/// The settings of `[fetch]`, or those of one source over them.
#[derive(Debug, Clone)]
pub(super) struct FetchSettings {
    /// One for all sources that set nothing of it themselves.
    pub(super) request: Arc<RequestSettings>,
    pub(super) schedule: Schedule,
    attempts: u32,
    backoff: Bounds,
    failures: u32,
    cooldown: Bounds,
    pub(super) backfill: Backfill,
    pub(super) hold_above: usize,
    pub(super) retention: Duration,
    pub(super) on_empty: OnEmpty,
    pub(super) encoding: Option<&'static Encoding>,
}

impl Default for FetchSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            request: Arc::new(RequestSettings {
                timeout: seconds(20),
                connect_timeout: seconds(10),
                max_body: 8 << 20,
                max_redirects: 5,
                keep_alive: false,
                user_agent: concat!("kawaraban/", env!("CARGO_PKG_VERSION"), " (+", env!("CARGO_PKG_REPOSITORY"), ")")
                    .to_owned(),
                proxy: None,
                extra_roots: Arc::default(),
                allow_private_addresses: false,
                headers: Vec::new(),
                basic_auth: None,
                post: None,
            }),
            schedule: Schedule { interval: seconds(300), jitter: 0.1 },
            attempts: 3,
            backoff: Bounds::new(seconds(2), seconds(10)),
            failures: 3,
            cooldown: Bounds::new(seconds(300), seconds(3600)),
            backfill: Backfill::Newest(1),
            hold_above: 50,
            retention: 90 * DAY,
            on_empty: OnEmpty::Auto,
            encoding: None,
        }
    }
}

impl FetchSettings {
    /// `[fetch.retry]`
    pub(super) fn retry(&self) -> Retry {
        Retry { attempts: self.attempts, min_backoff: self.backoff.least, max_backoff: self.backoff.most }
    }

    /// `[fetch.breaker]`
    pub(super) fn breaker(&self) -> Breaker {
        Breaker { failures: self.failures, cooldown: self.cooldown.least, max_cooldown: self.cooldown.most }
    }

    /// Sets what the table sets; what it does not, or sets wrongly, stays.
    pub(super) fn read(&mut self, table: &mut Table<'_>, secrets: &Secrets<'_>, roots: &Roots) {
        let interval = table.get("interval");
        if let Some(duration) = interval.as_ref().and_then(|value| value.duration(ONE_MS * 50..=YEAR)) {
            self.schedule.interval = duration;
            if let Some(value) = interval.filter(|_| duration < POLITE) {
                value.warn(format_args!(
                    "{} is less than 30s: few publishers like to be asked so often",
                    humantime::format_duration(duration)
                ));
            }
        }
        set(&mut self.schedule.jitter, table.get("jitter").and_then(|value| value.fraction(0.0..=1.0)));

        let request = &mut self.request;
        set_own(request, |own| &mut own.timeout, table.get("timeout").and_then(|value| value.duration(ONE_MS..=DAY)));
        set_own(
            request,
            |own| &mut own.connect_timeout,
            table.get("connect_timeout").and_then(|value| value.duration(ONE_MS..=DAY)),
        );
        set_own(request, |own| &mut own.max_body, table.get("max_body").and_then(|value| value.size(1..=1 << 30)));
        set_own(
            request,
            |own| &mut own.max_redirects,
            table.get("max_redirects").and_then(|value| value.integer(0..=100)),
        );
        set_own(request, |own| &mut own.keep_alive, table.get("keep_alive").and_then(|value| value.flag()));
        set_own(request, |own| &mut own.user_agent, table.get("user_agent").and_then(|value| user_agent(&value)));
        let via = table.get("proxy");
        set_own(request, |own| &mut own.proxy, via.as_ref().and_then(|value| proxy(value, secrets)));
        set_own(
            request,
            |own| &mut own.extra_roots,
            table.get("ca_file").and_then(|value| roots.read(&value, secrets)),
        );
        let private = table.get("allow_private_addresses").and_then(|value| value.flag());
        set_own(request, |own| &mut own.allow_private_addresses, private);
        if let Some(value) = via.filter(|_| request.proxy.is_some() && !request.allow_private_addresses) {
            value.warn(
                "names are resolved by the proxy, so that private addresses behind them cannot be refused here: have \
                 the proxy refuse them, or set allow_private_addresses = true if it may reach them",
            );
        }

        set(&mut self.encoding, table.get("encoding").and_then(|value| encoding(&value)));
        set(&mut self.backfill, table.get("backfill").and_then(|value| backfill(&value)));
        let hold_above = table.get("hold_above").and_then(|value| value.integer(0..=u32::MAX));
        set(&mut self.hold_above, hold_above.map(|number| number as usize));
        set(&mut self.retention, table.get("retention").and_then(|value| value.duration(Duration::ZERO..=YEAR * 100)));
        let choices = [("auto", OnEmpty::Auto), ("ok", OnEmpty::Ok), ("fail", OnEmpty::Fail)];
        set(&mut self.on_empty, table.get("on_empty").and_then(|value| value.choice(&choices)));

        let mut retry = table.table("retry");
        set(&mut self.attempts, retry.get("attempts").and_then(|value| value.integer(1..=100)));
        self.backoff.read(&mut retry, ("min_backoff", "max_backoff"), Duration::ZERO..=DAY);
        retry.finish();

        let mut breaker = table.table("breaker");
        set(&mut self.failures, breaker.get("failures").and_then(|value| value.integer(1..=u32::MAX)));
        self.cooldown.read(&mut breaker, ("cooldown", "max_cooldown"), ONE_MS..=YEAR);
        breaker.finish();
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Sets what is shared until then.
fn set_own<T>(
    request: &mut Arc<RequestSettings>,
    place: impl FnOnce(&mut RequestSettings) -> &mut T,
    value: Option<T>,
) {
    if let Some(value) = value {
        *place(Arc::make_mut(request)) = value;
    }
}

/// Two durations of which the first is not longer than the second. Where only one of them is set, the
/// other one's default gives way.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    least: Duration,
    most: Duration,
    least_set: bool,
    most_set: bool,
}

impl Bounds {
    fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, least_set: false, most_set: false }
    }

    fn read(
        &mut self,
        table: &mut Table<'_>,
        (least_key, most_key): (&'static str, &'static str),
        range: std::ops::RangeInclusive<Duration>,
    ) {
        let (least, most) = (table.get(least_key), table.get(most_key));
        if let Some(duration) = least.as_ref().and_then(|value| value.duration(range.clone())) {
            (self.least, self.least_set) = (duration, true);
        }
        if let Some(duration) = most.as_ref().and_then(|value| value.duration(range)) {
            (self.most, self.most_set) = (duration, true);
        }
        if self.least <= self.most {
            return;
        }
        match (self.least_set, self.most_set) {
            (true, false) => self.most = self.least,
            (false, _) => self.least = self.most,
            (true, true) => {
                if let Some(value) = least.or(most) {
                    value.error(format_args!(
                        "{least_key} ({}) is longer than {most_key} ({})",
                        humantime::format_duration(self.least),
                        humantime::format_duration(self.most)
                    ));
                }
                self.most = self.least;
            }
        }
    }
}

fn user_agent(value: &Value<'_>) -> Option<String> {
    const FORM: &str = "a line of visible ASCII characters";
    let text = value.string(FORM)?;
    let fits = !text.trim().is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !fits {
        value.wrong(FORM);
    }
    fits.then(|| text.to_owned())
}

/// `"none"` is how a source does without the proxy that `[fetch]` sets.
fn proxy(value: &Value<'_>, secrets: &Secrets<'_>) -> Option<Option<Secret<Url>>> {
    const FORM: &str = "\"http://HOST:PORT\" (CONNECT), \"socks5://HOST:PORT\" or \"none\"";
    let text = match secrets.get_harmless(value)? {
        Found::Text(text) if text == "none" => return Some(None),
        Found::Text(text) => text,
        Found::Elsewhere => "http://unread.invalid:1/".to_owned(),
    };
    let Ok(mut url) = Url::parse(&text) else {
        value.error(format_args!("is no URL; expected {FORM}"));
        return None;
    };
    let default_port = match url.scheme() {
        "http" => 80,
        "socks5" => 1080,
        _ => {
            value.error(format_args!("a proxy is {FORM} (what was found is not shown)"));
            return None;
        }
    };
    if !url.has_host() || !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        value.error(format_args!("a proxy is a scheme, a host and a port, and nothing behind them: {FORM}"));
        return None;
    }
    if url.port_or_known_default().is_none() && url.set_port(Some(default_port)).is_err() {
        value.error(format_args!("expected {FORM}"));
        return None;
    }
    Some(Some(Secret::new(url)))
}

fn encoding(value: &Value<'_>) -> Option<Option<&'static Encoding>> {
    const FORM: &str = "\"auto\" or a WHATWG label such as \"utf-8\", \"windows-1252\" or \"shift_jis\"";
    let text = value.string(FORM)?;
    if text == "auto" {
        return Some(None);
    }
    let encoding = Encoding::for_label_no_replacement(text.as_bytes());
    if encoding.is_none() {
        value.wrong(FORM);
    }
    encoding.map(Some)
}

pub(super) fn backfill(value: &Value<'_>) -> Option<Backfill> {
    match value.as_str() {
        Some("all") => Some(Backfill::All),
        Some(_) => {
            value.wrong("a number of items or \"all\"");
            None
        }
        None => value.integer(0..=u32::MAX).map(|number| Backfill::Newest(number as usize)),
    }
}

type Certificates = Arc<Vec<CertificateDer<'static>>>;

/// The `ca_file`s read so far: sources that name the same file share its certificates.
#[derive(Default)]
pub(super) struct Roots(RefCell<HashMap<PathBuf, Certificates>>);

impl Roots {
    fn read(&self, value: &Value<'_>, secrets: &Secrets<'_>) -> Option<Certificates> {
        let path = secrets.base.join(value.path("the path of a PEM file")?);
        if let Some(known) = self.0.borrow().get(&path) {
            return Some(known.clone());
        }
        match certificates(&path) {
            Ok(certificates) => {
                let certificates = Arc::new(certificates);
                self.0.borrow_mut().insert(path, certificates.clone());
                Some(certificates)
            }
            Err(error) => {
                value.error(format_args!("{}: {error}", path.display()));
                None
            }
        }
    }
}

/// Largest `ca_file` that is read: several times a system's whole bundle.
const CA_FILE: u64 = 4 << 20;

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, String> {
    use std::io::Read as _;

    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    file.take(CA_FILE + 1).read_to_end(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > CA_FILE {
        return Err("is too large for a list of certificates".to_owned());
    }
    let mut store = rustls::RootCertStore::empty();
    let mut certificates = Vec::new();
    for (n, certificate) in CertificateDer::pem_slice_iter(&text).enumerate() {
        let certificate = certificate.map_err(|error| format!("is no PEM: {error}"))?;
        store.add(certificate.clone()).map_err(|error| format!("certificate {}: {error}", n + 1))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() { Err("holds no certificate (PEM)".to_owned()) } else { Ok(certificates) }
}
