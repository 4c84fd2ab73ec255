//! A `[[source]]` as text.

use std::{collections::BTreeSet, fmt::Write as _};

use url::{Host, Url};

use crate::{
    model::Name,
    page::propose::{Proposal, quoted},
};

/// Longest label, in characters.
const LABEL: usize = 80;

/// What a table says.
pub(super) struct Table<'a> {
    pub(super) name: &'a Name,
    pub(super) label: Option<&'a str>,
    pub(super) url: &'a Url,
    /// None reads a feed.
    pub(super) rules: Option<&'a Proposal>,
    pub(super) private: bool,
}

impl Table<'_> {
    /// It begins with an empty line, so that it may follow whatever a file ends with.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\n[[source]]\nname = {}\n", quoted(self.name.as_str()));
        if let Some(label) = self.label.map(label).filter(|label| !label.is_empty()) {
            let _ = writeln!(text, "label = {}", quoted(&label));
        }
        let _ = writeln!(text, "url = {}", quoted(self.url.as_str()));
        if let Some(rules) = self.rules {
            text.push_str(&rules.keys());
        }
        if self.private {
            text.push_str("allow_private_addresses = true\n");
        }
        if let Some(rules) = self.rules {
            text.push('\n');
            text.push_str(&rules.table());
        }
        text
    }
}

fn label(title: &str) -> String {
    let plain: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let plain = plain.trim();
    match plain.char_indices().nth(LABEL) {
        Some((end, _)) => format!("{}…", plain[..end].trim_end()),
        None => plain.to_owned(),
    }
}

/// Hosts on which everybody has a part: there the title says more.
const SHARED: [&str; 12] = [
    "youtube.com",
    "reddit.com",
    "github.com",
    "gitlab.com",
    "medium.com",
    "feedburner.com",
    "bsky.app",
    "vimeo.com",
    "tumblr.com",
    "codeberg.org",
    "google.com",
    "localhost",
];

/// Parts of a host's name that say nothing.
const SILENT: [&str; 9] = ["www", "www2", "m", "feeds", "feed", "rss", "api", "en", "web"];

/// A name that is not taken: from the host, or from the title where the host tells little.
pub(super) fn name(url: &Url, title: Option<&str>, taken: &BTreeSet<String>) -> Option<Name> {
    let host = of_host(url);
    let title = title.map(slug).filter(|slug| !slug.is_empty());
    let base = host.or(title).unwrap_or_else(|| "source".to_owned());
    let fits = |name: &String| !taken.contains(name);
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.clone())
        .chain(numbered.take(taken.len() + 1))
        .find(fits)
        .and_then(|name| Name::new(&name).ok())
}

fn of_host(url: &Url) -> Option<String> {
    let Some(Host::Domain(domain)) = url.host() else { return None };
    if SHARED.iter().any(|shared| domain == *shared || domain.ends_with(&format!(".{shared}"))) {
        return None;
    }
    let mut parts: Vec<&str> = domain.split('.').collect();
    // "co.uk", "ne.jp"
    let second = parts.len() > 2 && parts.last().is_some_and(|top| top.len() == 2);
    let second =
        second && matches!(parts[parts.len() - 2], "co" | "com" | "org" | "net" | "ac" | "gov" | "ne" | "or" | "go");
    let public = (1 + usize::from(second)).min(parts.len() - 1);
    parts.truncate(parts.len() - public);
    while parts.len() > 1 && SILENT.contains(&parts[0]) {
        parts.remove(0);
    }
    Some(slug(&parts.join("-"))).filter(|slug| !slug.is_empty())
}

/// `[a-z0-9-]`, 48 characters at most: room for a number.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => slug.push(c),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
        if slug.len() == 48 {
            break;
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_host_or_from_the_title() {
        let taken: BTreeSet<String> = ["kept".to_owned(), "kept-2".to_owned()].into();
        for (url, title, due) in [
            ("https://www.animenewsnetwork.com/news/", None, "animenewsnetwork"),
            ("https://feeds.news.co.uk/rss", None, "news"),
            ("https://blog.printers.example/", None, "blog-printers"),
            ("https://xn--bcher-kva.example/", None, "xn-bcher-kva"),
            ("https://www.youtube.com/feeds/videos.xml", Some("A Channel!"), "a-channel"),
            ("http://127.0.0.1:8080/", Some("Ünser Blatt"), "nser-blatt"),
            ("http://127.0.0.1:8080/", Some("名探偵"), "source"),
            ("http://127.0.0.1:8080/", None, "source"),
            ("https://kept.example/", None, "kept-3"),
        ] {
            assert_eq!(name(&Url::parse(url).unwrap(), title, &taken).unwrap().as_str(), due, "{url}");
        }
        let long = "long ".repeat(40);
        assert!(name(&Url::parse("http://[::1]/").unwrap(), Some(&long), &taken).unwrap().as_str().len() <= 64);
    }

    #[test]
    fn whatever_a_page_calls_itself_the_table_is_toml() {
        let name = Name::new("x").unwrap();
        let url = Url::parse("https://h.example/a?b='\"c").unwrap();
        for title in ["plain", "\"''' \\ \u{1b}[31m\nname = 1", "'", &"\u{1F600}".repeat(300), " ", "]]"] {
            let table = Table { name: &name, label: Some(title), url: &url, rules: None, private: true };
            let read: toml::Table = table.text().parse().unwrap();
            let source = &read["source"][0];
            assert_eq!(source["url"].as_str(), Some(url.as_str()));
            assert_eq!(source["allow_private_addresses"].as_bool(), Some(true));
            let label = source.get("label").and_then(toml::Value::as_str).unwrap_or("-");
            assert!(!label.chars().any(char::is_control) && label.chars().count() <= LABEL + 1);
        }
    }
}
