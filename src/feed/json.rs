//! JSON Feed 1.0 and 1.1.
//!
//! Read item by item straight into items, so that a document takes no more memory than what is kept of it,
//! and one that breaks off keeps all items before the break.

mod loose;

use std::{collections::VecDeque, rc::Rc};

use serde_json::{Deserializer, error::Category};

use self::loose::{Feed, Object};
use super::{
    Content, Document, Entry, Error, Format, Hints, MAX_ENTRIES, Warning,
    budget::{Base, Budget},
    construct::TITLE,
    date, detect,
    entry::{AUTHOR, ENCLOSURE, EXCERPT, SUMMARY, warning},
    link::absolute,
    media, picture, text,
};
use crate::model::{Enclosure, Item};

/// Reads a JSON Feed; nothing where the text is no JSON at all.
pub(super) fn read<'t>(text: &str, hints: &Hints<'_>) -> Option<Result<Document<'t>, Error>> {
    text.starts_with(['{', '[']).then(|| document(text, hints))
}

fn document<'t>(text: &str, hints: &Hints<'_>) -> Result<Document<'t>, Error> {
    let mut warnings = Vec::new();
    let mut entries: VecDeque<Box<Item>> = VecDeque::new();
    let budget = Rc::new(Budget::of(text.len()));
    let base = Base { url: budget.base(hints.base), budget: &budget };
    // known once there are too many
    let mut newest_last = None;
    let mut feed = Feed::new(|object| {
        if budget.is_exceeded() {
            return;
        }
        if entries.len() == MAX_ENTRIES {
            if newest_last.is_none() {
                warnings.push(Warning::TooManyEntries);
            }
            if !*newest_last.get_or_insert_with(|| is_newest_last(&entries)) {
                return;
            }
            entries.pop_front();
        }
        entries.push_back(Box::new(item(&object, base, &mut warnings)));
        warnings.dedup();
    });
    let mut reader = Deserializer::from_str(text.trim_end_matches('\0'));
    let outcome = feed.read(&mut reader);
    let Feed { about, has_items, .. } = feed;
    match outcome {
        Err(error) if has_items => warnings.push(match error.classify() {
            Category::Eof => Warning::Truncated,
            _ => Warning::Damaged,
        }),
        Err(error) => return Err(Error::Malformed(format!("not valid JSON: {error}"))),
        Ok(()) if !has_items => return Err(detect::not_a_feed(text, hints.base)),
        Ok(()) => {}
    }
    let version = about.text("version").unwrap_or_default();
    // many an API lists "items": without the version, they must be what a feed's are
    if !version.contains("jsonfeed.org") && !entries.iter().any(|item| is_news(item)) {
        return Err(Error::NotAFeed("JSON, but not a JSON Feed: its \"items\" are no news".to_owned()));
    }
    let shared = &about.authors[..about.authors.len().min(SHARED_AUTHORS)];
    for item in entries.iter_mut().filter(|item| item.authors.is_empty()) {
        if budget.take(shared.iter().map(|author| AUTHOR + author.len()).sum()) {
            item.authors = shared.to_vec();
        }
    }
    budget.check()?;
    Ok(Document {
        format: if version.ends_with("/1") || version.ends_with("1.0") { Format::Json10 } else { Format::Json11 },
        encoding: "",
        title: about.text("title").map(|title| text::fold(title.into()).into_owned()),
        link: about.text("home_page_url").map(str::to_owned),
        update_period: None,
        entries: entries
            .into_iter()
            .map(|item| Entry { span: super::Span::default(), content: Content::Ready(item) })
            .collect(),
        warnings,
        budget,
    })
}

/// Authors of the whole feed, who are those of each item without its own.
const SHARED_AUTHORS: usize = 10;

fn is_newest_last(entries: &VecDeque<Box<Item>>) -> bool {
    let mut times = entries.iter().filter_map(|item| item.published.or(item.updated));
    matches!((times.next(), times.next_back()), (Some(first), Some(last)) if first < last)
}

/// Whether the item says something, and can be known again.
fn is_news(item: &Item) -> bool {
    (item.title.is_some() || item.content_html.is_some()) && (item.id.is_some() || item.link.is_some())
}

fn item(object: &Object, base: Base<'_>, warnings: &mut Vec<Warning>) -> Item {
    let owned = |key: &str| object.text(key).map(str::to_owned);
    let link = |key: &str| object.text(key).and_then(|link| absolute(link, base));
    let mut time = |key: &str| {
        let reading = date::examine(object.text(key)?, date::Region::Unknown);
        warnings.extend(reading.flaw.map(warning));
        reading.at
    };
    let (published, updated) = (time("date_published"), time("date_modified"));
    let content_html = object.text("content_html");
    let content_text = object.text("content_text");
    let folded = |plain: &str, longest| text::cut(text::fold(plain.into()).into_owned(), longest);
    let own_summary = object.text("summary").map(|plain| folded(plain, SUMMARY));
    let summary = own_summary.or_else(|| content_text.map(|plain| folded(plain, EXCERPT)));
    let fit = |url: &String| picture::unfit(url).is_none();
    let image = link("image").filter(fit).or_else(|| link("banner_image").filter(fit));
    let image = image.or_else(|| media::first_in(content_html?, base));
    // what a list takes beside its texts may be many times what it is written in
    base.budget.take(AUTHOR * (object.authors.len() + object.tags.len()));
    Item {
        id: owned("id"),
        title: object.text("title").map(|title| text::cut(text::fold(title.into()).into_owned(), TITLE)),
        link: link("url").or_else(|| link("external_url")),
        published,
        updated,
        summary: summary.or_else(|| content_html.map(|html| text::words(html, EXCERPT))),
        content_html: content_html
            .map(str::to_owned)
            .or_else(|| content_text.map(|plain| text::escape(plain).into_owned())),
        authors: object.authors.clone(),
        categories: object.tags.clone(),
        image,
        enclosures: object.attachments.iter().filter_map(|file| enclosure(file, base)).collect(),
        ..Item::default()
    }
}

fn enclosure(file: &Object, base: Base<'_>) -> Option<Enclosure> {
    base.budget.take(ENCLOSURE).then_some(())?;
    Some(Enclosure {
        url: absolute(file.text("url")?, base)?,
        media_type: file.text("mime_type").map(str::to_owned),
        length: file.text("size_in_bytes").and_then(|size| size.parse().ok()),
    })
}
