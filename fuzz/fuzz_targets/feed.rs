//! Any bytes at all are a feed or an error, and what is read of them is bounded by them.

#![no_main]

use kawaraban::{
    feed::{self, Hints},
    identity,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let base = "https://example.org/feeds/all.xml".parse().unwrap();
    let hints = Hints { base: Some(&base), ..Hints::default() };
    let Ok(text) = feed::decode(bytes, &hints) else { return };
    let Ok(document) = feed::read(&text, &hints) else { return };
    let keys = identity::keys(document.entries.iter().filter_map(feed::Entry::facts));
    assert_eq!(keys.len(), document.entries.len());
    assert!(document.entries.len() <= bytes.len());
    // the same bytes again are known where they are, and nothing else changes
    let spans: Vec<_> = document.entries.iter().map(feed::Entry::span).collect();
    let again = feed::read_again(&text, &hints, &spans).unwrap();
    assert_eq!(again.entries.len(), document.entries.len());
    assert!(again.entries.iter().enumerate().all(|(n, entry)| {
        entry.known().is_none_or(|known| document.entries[known].span() == document.entries[n].span())
    }));
    let mut kept = 0;
    for item in document.entries.iter().filter_map(|entry| entry.item().ok().flatten()) {
        // what is said once for many items is bounded by the document
        kept += item.text_bytes();
        assert!(kept <= 5 * text.text.len() + (1 << 20), "{kept} bytes for {}", text.text.len());
        // a title is one line, whatever stood in it
        assert!(item.title.as_deref().is_none_or(|title| !title.is_empty() && !title.contains(['\n', '\r', '\0'])));
    }
});
