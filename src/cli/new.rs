//! `new`: from an address to a `[[source]]`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use url::Url;

use super::{FOUND_FAILING, Global, INVALID, parse::item_line, settings};
use crate::{
    app::new::{self, Candidate, Found, Kind, Order, Outcome},
    config::diagnostic::Diagnostics,
    model::{
        Name, RedactedUrl,
        line::{escaped_json, one_line},
    },
};

/// Items shown of those that a source would yield.
const SHOWN: usize = 10;

/// What `new` was told.
pub(super) struct Options {
    pub(super) url: String,
    pub(super) kind: Option<Kind>,
    pub(super) private: bool,
    pub(super) json: bool,
}

/// The table goes to standard output and all else to standard error. Exit status 0 if there is one, 3 if
/// nothing there can be a source or a source watches it already, 2 if the URL is none.
pub(super) fn run(global: &Global, options: &Options) -> Result<ExitCode, Diagnostics> {
    let url = match address(&options.url) {
        Ok(url) => url,
        Err(message) => {
            anstream::eprintln!("error: {message}");
            return Ok(ExitCode::from(INVALID));
        }
    };
    let found = settings::found(global)?;
    let sources = found.as_ref().map(|loaded| loaded.config.sources.as_slice()).unwrap_or_default();
    let taken: BTreeSet<String> = sources.iter().map(|source| source.name.to_string()).collect();
    let path = found.as_ref().map(|loaded| loaded.config.path.as_path());
    let watching = |url: &Url| sources.iter().find(|source| same_address(&source.url, url)).map(|source| &source.name);
    if let Some(name) = watching(&url).filter(|_| !options.json) {
        anstream::eprintln!("{}", watched(name));
        return Ok(ExitCode::from(FOUND_FAILING));
    }
    let order = Order { url, kind: options.kind, private: options.private };
    let mut outcome = new::run(&order, &taken, &|table| settings::draft(path, table))?;
    let chosen = outcome.chosen.as_ref().and_then(|chosen| watching(&chosen.url));
    outcome.watched_by = watching(&order.url).or(chosen).cloned();

    let good = outcome.toml.is_some() && outcome.watched_by.is_none();
    if options.json {
        // serializing our own plain struct cannot fail
        anstream::println!("{}", escaped_json(&serde_json::to_string(&outcome).unwrap_or_default()));
    } else {
        if let Some(name) = &outcome.watched_by {
            anstream::eprintln!("{}", watched(name));
        }
        anstream::eprint!("{}", findings(&outcome));
        if let Some(toml) = outcome.toml.filter(|_| good) {
            anstream::print!("{}", escaped_json(&toml));
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(FOUND_FAILING) })
}

fn watched(name: &Name) -> String {
    format!("the source {:?} already watches this: nothing to add", name.as_str())
}

/// Whether two addresses are one to a reader: http or https, with or without a final slash.
fn same_address(one: &Url, other: &Url) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    one.host_str() == other.host_str()
        && (one.port() == other.port())
        && path(one) == path(other)
        && one.query() == other.query()
}

/// As people write addresses: without a scheme it is https.
fn address(text: &str) -> Result<Url, String> {
    const FORM: &str = "expected an http:// or https:// URL";
    let text = text.trim();
    let url = match Url::parse(text) {
        Err(url::ParseError::RelativeUrlWithoutBase) if text.contains('.') && !text.starts_with(['.', '/']) => {
            Url::parse(&format!("https://{text}"))
        }
        parsed => parsed,
    };
    match url {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err(format!("{FORM}, found another scheme")),
        Err(error) => Err(format!("{FORM}, found none: {error}")),
    }
}

fn findings(outcome: &Outcome) -> String {
    let bold = Style::new().bold();
    let mut text = format!("{bold}{}{bold:#} is {}\n", RedactedUrl(&outcome.url), one_line(&outcome.seen));
    let (misses, told): (Vec<_>, Vec<_>) = outcome.candidates.iter().partition(|candidate| is_miss(candidate));
    text.extend(told.into_iter().map(candidate));
    text += &missed(&misses);
    text.extend(outcome.notes.iter().map(|note| format!("  {}\n", one_line(note))));
    let Some(chosen) = &outcome.chosen else {
        if outcome.error_kind.is_some() {
            text += "nothing could be looked at: check the address and the connection, then try again\n";
            return text;
        }
        text += "nothing there can be a source: no feed, and nothing that repeats and looks like news\n";
        return text;
    };
    let how = match chosen.kind {
        Kind::Feed => "feed",
        Kind::Html => "selectors",
        Kind::Json => "paths",
    };
    let green = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
    text += &format!("{green}{how}{green:#}: {}: {}\n", RedactedUrl(&chosen.url), one_line(&chosen.reason));
    let count = outcome.items.len();
    text += &format!("it yields {count} item{} now\n", if count == 1 { "" } else { "s" });
    text.extend(outcome.items.iter().take(SHOWN).map(item_line));
    if count > SHOWN {
        text += &format!("  and {} more\n", count - SHOWN);
    }
    text
}

/// A place that was only worth a try, and tried in vain.
fn is_miss(candidate: &Candidate) -> bool {
    candidate.feed.is_none() && candidate.found == Found::Common
}

/// The misses, a line a kind.
fn missed(misses: &[&Candidate]) -> String {
    let mut paths: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for miss in misses {
        paths.entry(kind_of(miss)).or_default().push(miss.url.path());
    }
    let style = Style::new().fg_color(Some(AnsiColor::Red.into()));
    let dim = Style::new().dimmed();
    let line = |(kind, paths): (String, Vec<&str>)| {
        format!("  {style}✖{style:#} {kind}: {}  {dim}{}{dim:#}\n", paths.join(" "), Found::Common)
    };
    paths.into_iter().map(line).collect()
}

fn kind_of(candidate: &Candidate) -> String {
    candidate.error_kind.map(|kind| kind.to_string()).unwrap_or_default()
}

fn candidate(candidate: &Candidate) -> String {
    let (mark, color, words) = match &candidate.feed {
        Some(feed) if feed.items > 0 && !feed.comments => ("●", AnsiColor::Green, feed.words.clone()),
        Some(feed) => ("▲", AnsiColor::Yellow, feed.words.clone()),
        None => ("✖", AnsiColor::Red, kind_of(candidate)),
    };
    let style = Style::new().fg_color(Some(color.into()));
    let dim = Style::new().dimmed();
    let url = RedactedUrl(&candidate.url);
    format!("  {style}{mark}{style:#} {url}  {}  {dim}{}{dim:#}\n", one_line(&words), candidate.found)
}
