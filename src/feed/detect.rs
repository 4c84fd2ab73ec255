//! What a document is that is no feed.

use super::Error;

/// Says what was found instead of a feed.
pub(super) fn not_a_feed(text: &str) -> Error {
    let head: String = text.trim_start().chars().take(2048).collect::<String>().to_ascii_lowercase();
    let what = if head.contains("<!doctype html") || head.contains("<html") {
        "an HTML page, not a feed"
    } else if head.starts_with(['{', '[']) {
        "JSON, but not a JSON Feed"
    } else if head.starts_with('<') {
        "XML, but no feed that is known"
    } else {
        "neither XML nor JSON"
    };
    Error::NotAFeed(what.into())
}
