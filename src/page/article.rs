//! An item's own page: what it adds to what the list had. Pure.
//!
//! What a configured selector finds replaces what the item has, for somebody chose it. What the page says of
//! itself only fills in what is missing.

use jiff::Timestamp;
use scraper::ElementRef;

use super::{
    Error, Given, dom, encoding,
    field::{self, Kind, Within},
    html, metadata,
    rules::{Css, Enrich, Rule},
};
use crate::model::{Item, item::UNSET};

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

/// Reads an article's page.
///
/// # Errors
/// [`Error::TooLarge`], as for every page; [`Error::Selector`] where matching takes too long.
pub fn read(bytes: &[u8], rules: &Enrich, given: &Given<'_>) -> Result<Found, Error> {
    let page = encoding::decode(bytes, given.content_type, given.encoding);
    let html = dom::parse(&page, given.expired)?;
    let base = html::base(&html, given.url);
    let within = html::within(&html, &base, given, page.len());
    let configured = configured(html.root_element(), rules, &within)?;
    Ok(Found { configured, automatic: metadata::find(&html, &base, given.expired) })
}

fn configured(page: ElementRef<'_>, rules: &Enrich, within: &Within<'_>) -> Result<Details, Error> {
    let first = |rule: &Option<Rule<Css>>, kind| match rule {
        Some(rule) => field::first(page, rule, kind, within),
        None => Ok(None),
    };
    let text = |rule, kind| Ok::<_, Error>(first(rule, kind)?.map(|found| found.text));
    let summary = first(&rules.summary, Kind::Summary)?;
    let (summary, content_html) = summary.map_or((None, None), |found| (Some(found.text), found.html));
    Ok(Details {
        image: text(&rules.image, Kind::Image)?,
        summary,
        content_html,
        authors: match &rules.author {
            Some(rule) => field::all(page, rule, Kind::Words, within)?,
            None => Vec::new(),
        },
        published: first(&rules.published, Kind::Date)?.and_then(|found| found.at),
        video: text(&rules.video, Kind::Link)?.map(|address| metadata::watch(&address).unwrap_or(address)),
    })
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
    item.published = automatic.published.filter(|_| item.published.is_none_or(|at| at == UNSET)).or(item.published);
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
