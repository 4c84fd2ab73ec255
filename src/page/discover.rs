//! The feeds of a page: those that it names, and where one may be all the same.
//!
//! Nothing is fetched here: a [`Lead`] is an address worth a look. What was found there is put in order by
//! [`rank`].

use std::fmt;

use scraper::{ElementRef, Html};
use serde::Serialize;
use url::Url;

pub mod rank;

/// How an address came to be one that may be a feed's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// It is what was asked about.
    Asked,
    /// `<link rel="alternate">` with a feed's type.
    Named,
    /// A link that looks as if it led to a feed.
    Linked,
    /// Sites of this make have their feeds there.
    Site,
    /// Many sites have theirs there.
    Common,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "asked for",
            Self::Named => "named by the page",
            Self::Linked => "linked from the page",
            Self::Site => "where such sites have theirs",
            Self::Common => "where feeds commonly are",
        })
    }
}

/// An address that may be a feed's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// Absolute, http or https, without a fragment.
    pub url: Url,
    /// Why.
    pub found: Found,
    /// What the page calls it.
    pub title: Option<String>,
}

/// Leads taken from one page; a page that names more is an index of feeds, and its first are as good as any.
const MOST: usize = 12;

/// Characters of a link's text that are looked at.
const TEXT: usize = 64;

/// Longest address taken, in bytes.
const LONGEST: usize = 2048;

/// The leads that the page gives, best first. `url` is where the page was found.
pub fn of_page(html: &Html, url: &Url) -> Vec<Lead> {
    let mut leads = Leads::default();
    let (mut linked, mut sites) = (Leads::default(), Leads::default());
    let base = base(html, url);
    for element in html.root_element().descendent_elements() {
        match element.value().name() {
            "link" => {
                let Some(href) = element.attr("href").and_then(|href| join(&base, href)) else { continue };
                let rel = element.attr("rel").unwrap_or_default();
                if is_feed_type(element.attr("type")) && (has_word(rel, "alternate") || has_word(rel, "feed")) {
                    leads.add(href, Found::Named, element.attr("title"));
                } else if has_word(rel, "EditURI") {
                    sites.extend(recent_changes(&href));
                } else if has_word(rel, "canonical") && is_host(&href, "youtube.com") {
                    sites.extend(of_site(&href));
                }
            }
            "meta" if is_media_wiki(element) => sites.extend(of_wiki(&base)),
            "a" => {
                let Some(href) = element.attr("href").and_then(|href| join(&base, href)) else { continue };
                if is_feed_type(element.attr("type"))
                    || (same_site(&href, url) && (looks_like_feed(&href) || says_feed(element)))
                {
                    linked.add(href, Found::Linked, element.attr("title"));
                }
            }
            _ => {}
        }
    }
    for lead in sites.0.into_iter().chain(linked.0) {
        leads.push(lead);
    }
    leads.0
}

/// Leads that follow from the address alone, best first.
pub fn of_address(url: &Url) -> Vec<Lead> {
    let mut leads = Leads::default();
    leads.extend(of_site(url));
    // a section of a site often has a feed of its own
    let section = url.path().trim_end_matches('/');
    if !section.is_empty() && !section.rsplit('/').next().unwrap_or_default().contains('.') {
        for end in ["/feed", "/rss", ".rss"] {
            leads.extend(at(url, &format!("{section}{end}"), Found::Common));
        }
    }
    for path in COMMON {
        leads.extend(at(url, path, Found::Common));
    }
    leads.0
}

/// Where feeds commonly are.
#[rustfmt::skip]
const COMMON: [&str; 10] = [
    "/feed", "/rss", "/rss.xml", "/feed.xml", "/atom.xml", "/index.xml", "/feed/", "/feed.json", "/index.rdf",
    "/blog/feed",
];

#[derive(Default)]
struct Leads(Vec<Lead>);

impl Leads {
    fn add(&mut self, url: Url, found: Found, title: Option<&str>) {
        let title = title.map(folded).filter(|title| !title.is_empty());
        self.push(Lead { url, found, title });
    }

    fn push(&mut self, lead: Lead) {
        if self.0.len() < MOST && !self.0.iter().any(|other| other.url == lead.url) {
            self.0.push(lead);
        }
    }

    fn extend(&mut self, leads: impl IntoIterator<Item = Lead>) {
        leads.into_iter().for_each(|lead| self.push(lead));
    }
}

/// What relative links are relative to.
pub(super) fn base(html: &Html, url: &Url) -> Url {
    let base = html.root_element().descendent_elements().find(|element| element.value().name() == "base");
    let href = base.and_then(|base| base.attr("href")).filter(|href| href.len() <= LONGEST);
    href.and_then(|href| url.join(href.trim()).ok())
        .filter(|base| base.as_str().len() <= LONGEST)
        .filter(|base| matches!(base.scheme(), "http" | "https"))
        .unwrap_or_else(|| url.clone())
}

fn join(base: &Url, href: &str) -> Option<Url> {
    let href = href.trim();
    if href.len() > LONGEST || href.starts_with('#') {
        return None;
    }
    let mut url = base.join(href).ok()?;
    url.set_fragment(None);
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

fn at(url: &Url, path: &str, found: Found) -> Option<Lead> {
    let mut url = url.join(path).ok()?;
    url.set_fragment(None);
    Some(Lead { url, found, title: None })
}

fn has_word(text: &str, word: &str) -> bool {
    text.split_ascii_whitespace().any(|other| other.eq_ignore_ascii_case(word))
}

fn is_feed_type(kind: Option<&str>) -> bool {
    const TYPES: [&str; 5] = [
        "application/rss+xml",
        "application/atom+xml",
        "application/rdf+xml",
        "application/feed+json",
        // what JSON Feed 1.0 had, and what much else has: a look tells
        "application/json",
    ];
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    TYPES.iter().any(|other| other.eq_ignore_ascii_case(kind))
}

/// By its address.
fn looks_like_feed(url: &Url) -> bool {
    let path = url.path().trim_end_matches('/').to_ascii_lowercase();
    let last = path.rsplit('/').next().unwrap_or_default();
    let query = url.query().unwrap_or_default().to_ascii_lowercase();
    matches!(last, "feed" | "rss" | "atom" | "rss2" | "rdf" | "feed.json" | "index.rdf")
        || [".rss", ".atom", ".rdf"].iter().any(|end| last.ends_with(end))
        || (last.ends_with(".xml") && ["rss", "feed", "atom"].iter().any(|word| last.contains(word)))
        || ["feed=rss", "feed=atom", "format=rss", "format=atom", "feedformat=", "type=rss", "output=rss"]
            .iter()
            .any(|word| query.contains(word))
}

/// By what stands on it.
fn says_feed(link: ElementRef<'_>) -> bool {
    let mut text: String = link.text().take(8).flat_map(str::chars).take(TEXT).collect();
    text.push(' ');
    text.push_str(link.attr("title").filter(|title| title.len() <= TEXT).unwrap_or_default());
    let is_word = |word: &str| word.eq_ignore_ascii_case("rss") || word.eq_ignore_ascii_case("atom");
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.clone().count() <= 5 && words.clone().any(is_word)
}

/// The same host, one under the same name, or one that is there for feeds: a link elsewhere is mostly a
/// reader that wants to be used.
fn same_site(url: &Url, page: &Url) -> bool {
    let (Some(host), Some(own)) = (url.host_str(), page.host_str()) else { return false };
    let name = |host: &str| host.trim_start_matches("www.").to_owned();
    let (host, own) = (name(host), name(own));
    host == own
        || host.ends_with(&format!(".{own}"))
        || own.ends_with(&format!(".{host}"))
        || host.starts_with("feeds.")
        || host == "feeds2.feedburner.com"
}

fn is_host(url: &Url, name: &str) -> bool {
    url.host_str().is_some_and(|host| host == name || host.ends_with(&format!(".{name}")))
}

/// Sites that are known to have feeds, and do not always say so.
fn of_site(url: &Url) -> Vec<Lead> {
    let segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let mut leads = Vec::new();
    if is_host(url, "youtube.com") {
        let list = url.query_pairs().find(|(key, _)| key == "list").map(|(_, list)| list.into_owned());
        let query = match (segments.as_slice(), list) {
            (["channel", id, ..], _) => Some(("channel_id", (*id).to_owned())),
            (["user", name, ..], _) => Some(("user", (*name).to_owned())),
            (_, Some(list)) => Some(("playlist_id", list)),
            _ => None,
        };
        if let (Some((key, value)), Ok(mut feed)) = (query, Url::parse("https://www.youtube.com/feeds/videos.xml")) {
            feed.query_pairs_mut().append_pair(key, &value);
            leads.push(Lead { url: feed, found: Found::Site, title: None });
        }
    } else if is_host(url, "reddit.com") {
        leads.extend(at(url, &format!("{}/.rss", url.path().trim_end_matches('/')), Found::Site));
    } else if let ("github.com", [owner, repository, ..]) = (url.host_str().unwrap_or_default(), segments.as_slice()) {
        leads.extend(at(url, &format!("/{owner}/{repository}/releases.atom"), Found::Site));
        leads.extend(at(url, &format!("/{owner}/{repository}/tags.atom"), Found::Site));
    } else if url.path().starts_with("/wiki/") {
        leads.extend(of_wiki(url));
    }
    leads
}

fn is_media_wiki(meta: ElementRef<'_>) -> bool {
    let is = |name: &str, value: &str| meta.attr(name).is_some_and(|text| text.eq_ignore_ascii_case(value));
    is("name", "generator") && meta.attr("content").is_some_and(|content| content.starts_with("MediaWiki"))
}

/// The two places where `api.php` commonly is.
fn of_wiki(url: &Url) -> Vec<Lead> {
    ["/api.php", "/w/api.php"]
        .iter()
        .filter_map(|path| url.join(path).ok())
        .flat_map(|api| recent_changes(&api))
        .collect()
}

fn recent_changes(api: &Url) -> Option<Lead> {
    let mut url = api.clone();
    if !url.path().ends_with("/api.php") {
        return None;
    }
    url.set_query(Some("action=feedrecentchanges&feedformat=atom"));
    Some(Lead { url, found: Found::Site, title: Some("recent changes".to_owned()) })
}

/// White space as one space, and not without end.
pub(super) fn folded(text: &str) -> String {
    let mut folded = String::new();
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().filter(|c| !c.is_control()).take(200));
        if folded.len() > 400 {
            break;
        }
    }
    folded
}

/// What the page calls itself.
pub fn title(html: &Html) -> Option<String> {
    let head = html.root_element().descendent_elements();
    let (mut title, mut site) = (None, None);
    for element in head {
        match element.value().name() {
            "title" if title.is_none() => title = Some(folded(&element.text().take(8).collect::<String>())),
            "meta" if site.is_none() && element.attr("property") == Some("og:site_name") => {
                site = element.attr("content").map(folded);
            }
            "body" => break,
            _ => {}
        }
    }
    let said = |text: &String| !text.is_empty();
    title.filter(said).or(site.filter(said))
}

#[cfg(test)]
mod tests;
