//! From the bytes of an item's own page to what they add to it; guarded as the reading of a document is.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use url::Url;

use crate::{
    model::{Failure, Item},
    page::{self, Expired, Given, article, rules::Enrich},
    poll::document,
    store,
};

pub use crate::page::article::Found;

/// What reading a page needs to know.
#[derive(Debug, Clone)]
pub struct Input {
    /// The body, decompressed.
    pub body: bytes::Bytes,
    /// `Content-Type` as sent.
    pub content_type: Option<String>,
    /// Where it came from in the end: the base of relative addresses.
    pub url: Url,
    /// What is looked for.
    pub rules: Arc<Enrich>,
}

/// Reads a page. A fault of ours is the failure `panic`, and of this item's page alone.
///
/// # Errors
/// Those of [`article::read`].
pub fn read(input: &Input, expired: Expired<'_>) -> Result<Found, Failure> {
    guarded(|| {
        let given = Given {
            content_type: input.content_type.as_deref(),
            // what the operator says of a source's encoding is not said of the pages that it links to
            encoding: None,
            url: &input.url,
            may_be_empty: true,
            before: None,
            expired,
        };
        article::read(&input.body, &input.rules, &given)
    })
}

/// Adds what was found to the item, as much of it as will be stored: many items wait for the last of them.
pub fn merge(item: &mut Item, found: Found) {
    article::merge(item, found);
    store::bound(item);
}

fn guarded(read: impl FnOnce() -> Result<Found, page::Error>) -> Result<Found, Failure> {
    let read = catch_unwind(AssertUnwindSafe(read)).map_err(|cause| document::panicked(&*cause))?;
    read.map_err(|error| Failure::fatal(error.kind(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;

    #[test]
    fn an_item_takes_no_more_from_its_page_than_is_stored() {
        let authors = (0..200).map(|n| format!("{n}{}", "名".repeat(20_000))).collect();
        let summary = Some("名".repeat(20_000));
        let configured = article::Details { authors, summary, ..article::Details::default() };
        let mut item = Item::default();
        merge(&mut item, Found { configured, ..Found::default() });
        let bytes = item.authors.iter().map(String::len).sum::<usize>() + item.summary.map_or(0, |text| text.len());
        assert!((32 << 10..64 << 10).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_panic_is_a_failure_of_this_page() {
        let failure = guarded(|| panic!("no such thing")).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Panic);
        assert!(failure.message.contains("no such thing"), "{failure}");
    }
}
