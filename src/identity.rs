//! What makes an item the same item: its keys, and the order in which new ones are delivered.
//!
//! Keys, strongest first: the guid, where no other entry of the document has the same; the link,
//! likewise; a hash of title, date, link and text. An entry is *seen* when its strongest usable key is
//! remembered. A key is a 64-bit hash: sets are per source, so that even a source of 100,000 remembered
//! keys meets a false match once in 10^14 new items.

use std::{borrow::Cow, collections::HashMap};

use jiff::Timestamp;
use xxhash_rust::xxh3::Xxh3Default;

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
    let mut keys: Vec<Keys> = entries.map(|facts| unchecked(&facts)).collect();
    let mut uses: HashMap<u64, u32> = HashMap::with_capacity(keys.len() * 2);
    for key in keys.iter().flat_map(|keys| keys.id.into_iter().chain(keys.link)) {
        *uses.entry(key).or_default() += 1;
    }
    for entry in &mut keys {
        let unique = |key: &u64| uses.get(key) == Some(&1);
        entry.id = entry.id.filter(unique);
        entry.link = entry.link.filter(unique);
    }
    keys
}

/// Keys as if the entry stood alone.
fn unchecked(facts: &Facts<'_>) -> Keys {
    let present = |text: Option<&'_ str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let id = present(facts.id);
    let link = present(facts.link).map(|link| comparable(&link).into_owned());
    let second = facts.time.map(|time| time.as_second().to_le_bytes());
    let content = hash(&[
        b"c",
        facts.title.unwrap_or_default().as_bytes(),
        second.as_ref().map_or(&[][..], |bytes| bytes),
        link.as_deref().unwrap_or_default().as_bytes(),
        facts.text.unwrap_or_default().as_bytes(),
    ]);
    Keys {
        id: id.map(|id| hash(&[b"i", id.as_bytes()])),
        link: link.map(|link| hash(&[b"l", link.as_bytes()])),
        content,
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = Xxh3Default::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.digest()
}

/// Links compare with scheme (http and https alike) and host lowercased and without `utm_*`, `fbclid`
/// and `gclid`; the fragment is kept.
fn comparable(link: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = link.split_once("://") else { return Cow::Borrowed(link) };
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, tail) = rest.split_at(host_end);
    let scheme = if scheme.eq_ignore_ascii_case("https") { "http".to_owned() } else { scheme.to_ascii_lowercase() };
    let (before, fragment) = tail.split_at(tail.find('#').unwrap_or(tail.len()));
    let (path, query) = before.split_at(before.find('?').unwrap_or(before.len()));
    let mut out = format!("{scheme}://{}{path}", host.to_lowercase());
    let kept = query.get(1..).unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !tracking(pair));
    for (n, pair) in kept.enumerate() {
        out.push(if n == 0 { '?' } else { '&' });
        out.push_str(pair);
    }
    out.push_str(fragment);
    Cow::Owned(out)
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
