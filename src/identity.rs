//! What makes an item the same item: its keys, and the order in which new ones are delivered.
//!
//! Keys, strongest first: the guid, where no other entry of the document has the same; the link,
//! likewise; a hash of title, date, link and text. An entry is *seen* when its strongest usable key is
//! remembered. A key is a 48-bit hash: sets are per source, so that even a source of 100,000 remembered
//! keys meets a false match once in 10^9 new items.

use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::Item;

/// What identity needs to know of an entry, borrowed from the document.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The document's own guid or id.
    pub id: Option<&'a str>,
    /// Absolute link.
    pub link: Option<&'a str>,
    /// Title.
    pub title: Option<&'a str>,
    /// Published, else updated.
    pub time: Option<Timestamp>,
    /// Summary or content as the document has it.
    pub text: Option<&'a str>,
}

impl<'a> From<&'a Item> for Facts<'a> {
    fn from(item: &'a Item) -> Self {
        Self {
            id: item.id.as_deref(),
            link: item.link.as_deref(),
            title: item.title.as_deref(),
            time: item.time(),
            text: item.content_html.as_deref().or(item.summary.as_deref()),
        }
    }
}

/// The keys of one entry. Those that another entry of the same document shares are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// From the guid.
    pub id: Option<u64>,
    /// From the link.
    pub link: Option<u64>,
    /// From title, date, link and text.
    pub content: u64,
}

impl Keys {
    /// The key that decides whether the entry is seen.
    pub fn strongest(&self) -> u64 {
        self.id.or(self.link).unwrap_or(self.content)
    }

    /// All of them, strongest first.
    pub fn all(&self) -> impl Iterator<Item = u64> {
        self.id.into_iter().chain(self.link).chain([self.content])
    }
}

/// The keys of every entry of a document, in its order.
pub fn keys<'a>(entries: impl Iterator<Item = Facts<'a>>) -> Vec<Keys> {
    let mut scratch = Vec::new();
    usable(&entries.map(|facts| alone(&facts, &mut scratch)).collect::<Vec<_>>())
}

/// Of the keys that each entry of a document would have alone, those that no other entry has.
pub fn usable(alone: &[Keys]) -> Vec<Keys> {
    let shared = |keys: &[Keys], of: fn(&Keys) -> Option<u64>| {
        let mut all = Vec::with_capacity(keys.len());
        all.extend(keys.iter().filter_map(of));
        all.sort_unstable();
        let twice = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        twice.collect::<Vec<u64>>()
    };
    let (ids, links) = (shared(alone, |keys| keys.id), shared(alone, |keys| keys.link));
    let mut keys = alone.to_vec();
    for entry in &mut keys {
        entry.id = entry.id.filter(|key| ids.binary_search(key).is_err());
        entry.link = entry.link.filter(|key| links.binary_search(key).is_err());
    }
    keys
}

/// The keys of an entry as if it stood alone. `scratch` holds what is hashed, and is made once for a document.
pub fn alone(facts: &Facts<'_>, scratch: &mut Vec<u8>) -> Keys {
    fn present(text: Option<&str>) -> Option<&str> {
        text.map(str::trim).filter(|text| !text.is_empty())
    }
    let id = present(facts.id).map(|id| {
        scratch.clear();
        part(scratch, b"i", |scratch| scratch.extend_from_slice(id.as_bytes()));
        key(scratch)
    });
    let link = present(facts.link).map(|link| {
        scratch.clear();
        part(scratch, b"l", |scratch| comparable(link, scratch));
        key(scratch)
    });
    scratch.clear();
    part(scratch, b"c", |scratch| scratch.extend_from_slice(facts.title.unwrap_or_default().as_bytes()));
    part(scratch, b"t", |scratch| scratch.extend(facts.time.iter().flat_map(|time| time.as_second().to_le_bytes())));
    part(scratch, b"l", |scratch| comparable(present(facts.link).unwrap_or_default(), scratch));
    part(scratch, b"x", |scratch| scratch.extend_from_slice(facts.text.unwrap_or_default().as_bytes()));
    Keys { id, link, content: key(scratch) }
}

/// Six bytes of a hash: as much as is worth its place on disk. Never 0, so that there is a number for none.
fn key(scratch: &[u8]) -> u64 {
    (xxh3_64(scratch) >> 16).max(1)
}

/// Appends one part with its length, so that no two lists of parts read the same.
fn part(scratch: &mut Vec<u8>, tag: &[u8; 1], write: impl FnOnce(&mut Vec<u8>)) {
    scratch.extend_from_slice(tag);
    let at = scratch.len();
    scratch.extend_from_slice(&[0; 8]);
    write(scratch);
    let length = (scratch.len() - at - 8) as u64;
    scratch[at..at + 8].copy_from_slice(&length.to_le_bytes());
}

/// Links compare with scheme (http and https alike) and host lowercased and without `utm_*`, `fbclid`
/// and `gclid`; the fragment is kept.
fn comparable(link: &str, out: &mut Vec<u8>) {
    let Some((scheme, rest)) = link.split_once("://") else { return out.extend_from_slice(link.as_bytes()) };
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, tail) = rest.split_at(host_end);
    let (before, fragment) = tail.split_at(tail.find('#').unwrap_or(tail.len()));
    let (path, query) = before.split_at(before.find('?').unwrap_or(before.len()));
    if scheme.eq_ignore_ascii_case("https") {
        out.extend_from_slice(b"http");
    } else {
        lowered(scheme, out);
    }
    out.extend_from_slice(b"://");
    lowered(host, out);
    out.extend_from_slice(path.as_bytes());
    let kept = query.get(1..).unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !tracking(pair));
    for (n, pair) in kept.enumerate() {
        out.push(if n == 0 { b'?' } else { b'&' });
        out.extend_from_slice(pair.as_bytes());
    }
    out.extend_from_slice(fragment.as_bytes());
}

fn lowered(text: &str, out: &mut Vec<u8>) {
    if text.is_ascii() {
        out.extend(text.bytes().map(|byte| byte.to_ascii_lowercase()));
    } else {
        out.extend_from_slice(text.to_lowercase().as_bytes());
    }
}

fn tracking(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    name == "fbclid" || name == "gclid" || name.starts_with("utm_")
}

/// The order of delivery of a poll's new items: indexes of `times` (in document order), oldest first by
/// time where every item has one, ties and the rest by reversed document order. "Newest" is the end.
pub fn delivery_order(times: &[Option<Timestamp>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..times.len()).rev().collect();
    if times.iter().all(Option::is_some) {
        order.sort_by_key(|&index| times[index]);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(id: Option<&'a str>, link: Option<&'a str>, title: &'a str) -> Facts<'a> {
        Facts { id, link, title: Some(title), ..Facts::default() }
    }

    #[test]
    fn a_guid_that_every_entry_has_is_no_key() {
        let keys = keys(
            [facts(Some("N/A"), Some("http://a/1"), "1"), facts(Some("N/A"), Some("http://a/2"), "2")].into_iter(),
        );
        assert!(keys.iter().all(|keys| keys.id.is_none() && keys.strongest() == keys.link.unwrap()));
        assert_ne!(keys[0].strongest(), keys[1].strongest());
    }

    #[test]
    fn an_entry_with_nothing_of_its_own_is_known_by_its_content() {
        let keys = keys([facts(None, None, "1"), facts(Some(" "), None, "2")].into_iter());
        assert!(keys.iter().all(|keys| keys.strongest() == keys.content));
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn links_compare_without_what_campaigns_add() {
        let comparable = |link: &str| {
            let mut out = Vec::new();
            super::comparable(link, &mut out);
            out
        };
        let same = |a: &str, b: &str| comparable(a) == comparable(b);
        assert!(same("https://Example.ORG/a?utm_source=x&b=1&fbclid=2", "http://example.org/a?b=1"));
        assert!(same("HTTP://example.org/a?gclid=1", "https://example.org/a"));
        assert!(!same("http://example.org/a#1", "http://example.org/a#2"));
        assert!(!same("http://example.org/A", "http://example.org/a"));
        assert!(!same("http://example.org/a?b=1", "http://example.org/a?b=2"));
        assert!(same("urn:x:1", "urn:x:1"));
    }

    #[test]
    fn order_is_oldest_first_and_reversed_document_order_without_dates() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        assert_eq!(delivery_order(&[at(3), at(1), at(2)]), [1, 2, 0]);
        assert_eq!(delivery_order(&[at(3), None, at(2)]), [2, 1, 0]);
        assert_eq!(delivery_order(&[at(1), at(1), at(0)]), [2, 1, 0]);
    }
}
