//! Items of the last document recognised by their bytes, so that a poll reads only what changed.
//!
//! A feed that has one new item still sends all of them. What an item gives depends on its bytes and on
//! little else (base, prefixes, region); where both are as they were, reading it again gives the same. So an
//! item that was read without any repair leaves its [`Span`], and where the next document has these bytes at
//! the start of an item, it is passed over.

use std::hash::{Hash, Hasher};

use url::Url;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64, xxh3_64_with_seed};

use super::{date::Region, names::Prefixes};

/// The bytes of one item in its document, and what its reading depended on beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Bytes; 0 for an item that has to be read each time.
    length: u32,
    /// Of the first bytes: most items differ there, so that few are hashed in vain.
    head: u16,
    /// Six bytes of a hash of the bytes and their context.
    hash: [u16; 3],
}

impl Span {
    fn new(bytes: &[u8], context: u64) -> Self {
        Self { length: bytes.len() as u32, head: head(bytes), hash: hash(bytes, context) }
    }
}

fn head(bytes: &[u8]) -> u16 {
    xxh3_64(&bytes[..bytes.len().min(HEAD)]) as u16
}

fn hash(bytes: &[u8], context: u64) -> [u16; 3] {
    let hash = xxh3_64_with_seed(bytes, context);
    [hash as u16, (hash >> 16) as u16, (hash >> 32) as u16]
}

/// Bytes of an item that are compared before the rest. A shorter item is read each time.
const HEAD: usize = 64;

/// How many items are looked at, from the expected one on and then from the start: as many may have left the
/// document at one place, or changed places.
const NEAR: usize = 64;

/// The items of the last document, met in their order.
pub(super) struct Recall<'m> {
    /// Whether the items of this document are to be met again.
    pub(super) remembers: bool,
    spans: &'m [Span],
    next: usize,
    /// What an item's reading depends on, and how many prefixes were known when it was made.
    context: Option<(usize, u64)>,
}

impl<'m> Recall<'m> {
    /// Takes every item for an unknown one from now on.
    pub(super) fn forget(&mut self) {
        self.spans = &[];
        self.next = 0;
    }

    pub(super) fn new(spans: Option<&'m [Span]>) -> Self {
        Self { remembers: spans.is_some(), spans: spans.unwrap_or_default(), next: 0, context: None }
    }

    /// The base of what follows is another.
    pub(super) fn rebased(&mut self) {
        self.context = None;
    }

    /// The context of items at this place of the document.
    pub(super) fn context(&mut self, base: Option<&Url>, region: Region, prefixes: &Prefixes<'_>) -> u64 {
        match self.context {
            Some((known, context)) if known == prefixes.len() => context,
            Some(_) | None => {
                let mut hasher = Xxh3Default::new();
                base.map(Url::as_str).hash(&mut hasher);
                region.hash(&mut hasher);
                prefixes.hash(&mut hasher);
                let context = hasher.finish();
                self.context = Some((prefixes.len(), context));
                context
            }
        }
    }

    /// Whether the context is still that of the last item: nothing was learned from it.
    pub(super) fn holds(&self, prefixes: &Prefixes<'_>) -> bool {
        self.context.is_some_and(|(known, _)| known == prefixes.len())
    }

    /// The span of an item of the last document.
    pub(super) fn span(&self, index: usize) -> Span {
        self.spans.get(index).copied().unwrap_or_default()
    }

    /// Whether `rest` begins with an item of that name that is known: which, and its length.
    pub(super) fn find(&mut self, rest: &[u8], name: &str, context: u64) -> Option<(usize, usize)> {
        let all = self.spans.iter().enumerate();
        let head = (!self.spans.is_empty()).then(|| head(rest))?;
        let mut ahead = all.clone().skip(self.next).chain(all.take(self.next)).take(NEAR);
        let (index, span) = ahead.find(|(_, span)| {
            let bytes = rest.get(..span.length as usize).filter(|bytes| span.head == head && ends(bytes, name));
            bytes.is_some_and(|bytes| hash(bytes, context) == span.hash)
        })?;
        self.next = index + 1;
        Some((index, span.length as usize))
    }
}

/// The span to remember of an item that was read without any repair.
pub(super) fn span(bytes: &[u8], name: &str, context: u64) -> Span {
    if bytes.len() >= HEAD && ends(bytes, name) { Span::new(bytes, context) } else { Span::default() }
}

/// Whether the bytes end with the item's end tag, as nearly every item is written.
fn ends(bytes: &[u8], name: &str) -> bool {
    let end = bytes.strip_suffix(b">").and_then(|bytes| bytes.strip_suffix(name.as_bytes()));
    end.is_some_and(|bytes| bytes.ends_with(b"</"))
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Hints, decode, read_again};
    use super::*;

    /// What the second document gives of the entries of the first: `None` for what had to be read.
    fn known(first: &str, second: &str) -> Vec<Option<usize>> {
        let hints = Hints::default();
        let text = decode(first.as_bytes(), &hints).unwrap();
        let spans: Vec<Span> = read_again(&text, &hints, &[]).unwrap().entries.iter().map(Entry::span).collect();
        let text = decode(second.as_bytes(), &hints).unwrap();
        read_again(&text, &hints, &spans).unwrap().entries.iter().map(Entry::known).collect()
    }

    fn feed(items: &[&str]) -> String {
        format!("<rss version=\"2.0\"><channel><title>News</title>{}</channel></rss>", items.concat())
    }

    const A: &str = "<item><title>A</title><guid>a</guid><link>https://news.example/articles/a</link></item>\n";
    const B: &str = "<item><title>B</title><link>https://news.example/b</link><dc:date>2026-11-23</dc:date></item>\n";
    const C: &str = "<item><title>C &amp; D</title><description><![CDATA[<p>x</p>]]></description></item>\n";

    #[test]
    fn items_that_are_as_they_were_are_known() {
        assert_eq!(known(&feed(&[A, C]), &feed(&[A, C])), [Some(0), Some(1)]);
        assert_eq!(known(&feed(&[A, C]), &feed(&["<item><title>N</title></item>", A, C])), [None, Some(0), Some(1)]);
    }

    #[test]
    fn items_that_left_or_changed_cost_only_themselves() {
        assert_eq!(known(&feed(&[A, A, C]), &feed(&[C])), [Some(2)]);
        let edited = A.replace("<title>A", "<title>Z");
        assert_eq!(known(&feed(&[C, A, C]), &feed(&[C, &edited, C])), [Some(0), None, Some(2)]);
        assert_eq!(known(&feed(&[A, C]), &feed(&[C, A])), [Some(1), Some(0)]);
    }

    #[test]
    fn an_item_that_taught_a_prefix_is_read_each_time() {
        let once = feed(&[B, B]);
        assert_eq!(known(&once, &once), [None, Some(1)]);
        let declared = once.replace("<rss", "<rss xmlns:dc=\"http://purl.org/dc/elements/1.1/\"");
        assert_eq!(known(&declared, &declared), [Some(0), Some(1)]);
        let other = once.replace("<rss", "<rss xmlns:dc=\"urn:something-else\" xmlns:x=\"urn:x\"");
        assert_eq!(known(&declared, &other), [None, None]);
    }

    #[test]
    fn items_under_another_base_are_read() {
        let under = |base: &str| feed(&[A, C]).replace("<channel>", &format!("<channel xml:base=\"{base}\">"));
        assert_eq!(known(&under("http://a.example/"), &under("http://a.example/")), [Some(0), Some(1)]);
        assert_eq!(known(&under("http://a.example/"), &under("http://b.example/")), [None, None]);
        let own = A.replace("<item>", "<item xml:base=\"http://c.example/\">");
        assert_eq!(known(&feed(&[&own]), &feed(&[&own])), [Some(0)]);
    }

    #[test]
    fn repaired_items_and_those_with_a_warning_are_read_each_time() {
        for damaged in ["<item><title>A</title><guid>a</item>", "<item><title>A</title><pubDate>soon</pubDate></item>"]
        {
            let first = feed(&[damaged]);
            assert_eq!(known(&first, &first), [None], "{damaged}");
        }
        let cut = feed(&[A, C]).replace("</item>\n</channel></rss>", "");
        assert_eq!(known(&feed(&[A, C]), &cut), [Some(0)]);
    }
}
