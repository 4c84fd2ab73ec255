//! What feed-rs makes of a feed, in our terms: for README's table.

use std::panic;

use feed_rs::{model::Entry, parser};
use jiff::Timestamp;
use kawaraban::{
    feed::{Format, OwnedDocument},
    model::{Enclosure, Item},
};

/// The feed as feed-rs reads it; nothing where it gives an error, or panics.
pub(super) fn read(bytes: &[u8]) -> Option<OwnedDocument> {
    let feed = panic::catch_unwind(|| parser::parse(bytes).ok()).ok()??;
    Some(OwnedDocument {
        format: Format::Rss20,
        encoding: String::new(),
        title: feed.title.map(|title| title.content),
        link: None,
        update_period: None,
        items: feed.entries.into_iter().map(item).collect(),
        warnings: Vec::new(),
    })
}

fn item(entry: Entry) -> Item {
    let moment = |at: i64| Timestamp::from_second(at).ok();
    let alternate = entry.links.iter().find(|link| link.rel.as_deref().is_none_or(|rel| rel == "alternate"));
    let files = entry.media.into_iter().flat_map(|media| media.content).filter_map(|content| content.url);
    Item {
        id: Some(entry.id),
        title: entry.title.map(|title| title.content),
        link: alternate.or(entry.links.first()).map(|link| link.href.clone()),
        published: entry.published.and_then(|at| moment(at.timestamp())),
        updated: entry.updated.and_then(|at| moment(at.timestamp())),
        enclosures: files.map(|url| Enclosure { url: url.into(), ..Enclosure::default() }).collect(),
        ..Item::default()
    }
}
