//! One entry: from the spans of its elements to an item.

use std::{borrow::Cow, rc::Rc};

use jiff::Timestamp;
use url::Url;

use super::{
    Warning, date,
    names::Tag,
    text::{self, Tags},
    xml::attribute,
};
use crate::{
    identity::Facts,
    model::{Enclosure, Item},
};

/// An element of an entry, not yet looked into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Child<'t> {
    pub(super) tag: Tag,
    pub(super) name: &'t str,
    pub(super) local: &'t str,
    pub(super) attributes: &'t str,
    pub(super) body: &'t str,
}

/// An entry of RSS or Atom.
#[derive(Debug)]
pub(super) struct Markup<'t> {
    children: Vec<Child<'t>>,
    base: Option<Rc<Url>>,
    id: Option<Cow<'t, str>>,
    link: Option<String>,
    title: Option<String>,
    published: Option<Timestamp>,
    updated: Option<Timestamp>,
    text: Option<&'t str>,
}

impl<'t> Markup<'t> {
    pub(super) fn new(
        children: Vec<Child<'t>>,
        attributes: &'t str,
        base: Option<Rc<Url>>,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let first = |wanted: Tag| children.iter().filter(move |child| child.tag == wanted);
        let id = first(Tag::Id).map(|child| text::value(child.body, Tags::Drop)).find(|id| !id.is_empty());
        let id = id.or_else(|| attribute(attributes, "rdf:about").map(|about| text::value(about, Tags::Drop)));
        let title = [Tag::Title, Tag::MediaTitle].into_iter().flat_map(first);
        let title = title.map(|child| title_of(child)).find(|title| !title.is_empty());
        let mut date = |wanted: Tag| {
            first(wanted).find_map(|child| match date::read(&text::value(child.body, Tags::Drop)) {
                date::Read::At(at) => Some(at),
                date::Read::Absurd => {
                    warnings.push(Warning::AbsurdDate);
                    None
                }
                date::Read::Unknown => {
                    warnings.push(Warning::UnknownDate);
                    None
                }
            })
        };
        let published = date(Tag::Published).or_else(|| date(Tag::DcDate)).or_else(|| date(Tag::Created));
        let updated = date(Tag::Updated);
        let raw = first(Tag::Content).chain(first(Tag::Description)).chain(first(Tag::Summary)).next();
        let mut entry = Self { base, id, link: None, title, published, updated, text: raw.map(|c| c.body), children };
        entry.link = entry.find_link(attributes);
        entry
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            id: self.id.as_deref(),
            link: self.link.as_deref(),
            title: self.title.as_deref(),
            time: self.published.or(self.updated),
            text: self.text,
        }
    }

    fn all(&self, wanted: Tag) -> impl Iterator<Item = &Child<'t>> {
        self.children.iter().filter(move |child| child.tag == wanted)
    }

    fn find_link(&self, attributes: &str) -> Option<String> {
        let base = self.base.as_deref();
        let original = self.all(Tag::OrigLink).map(|child| child.body).next();
        let mut best: Option<(u8, &str)> = original.map(|link| (9, link));
        for child in self.all(Tag::Link) {
            let href = attribute(child.attributes, "href").map(str::trim).filter(|href| !href.is_empty());
            let (rank, link) = match href {
                Some(href) => match attribute(child.attributes, "rel").map(str::trim) {
                    None | Some("" | "alternate") => (7, href),
                    Some("self") => (2, href),
                    Some(_) => (0, href),
                },
                None => (8, child.body.trim()),
            };
            if rank > 0 && !link.is_empty() && best.is_none_or(|(known, _)| rank > known) {
                best = Some((rank, link));
            }
        }
        if best.is_none_or(|(rank, _)| rank < 5) {
            let permalink = self.all(Tag::Id).find(|child| {
                child.name.ends_with("guid")
                    && !attribute(child.attributes, "isPermaLink").is_some_and(|v| v.eq_ignore_ascii_case("false"))
            });
            if let Some(child) = permalink
                && is_url(text::value(child.body, Tags::Drop).trim())
            {
                best = Some((5, child.body));
            }
        }
        let found = best.and_then(|(_, link)| absolute(link, base));
        found
            .or_else(|| attribute(attributes, "rdf:about").and_then(|about| absolute(about, base)))
            .or_else(|| self.all(Tag::Enclosure).find_map(|child| absolute(attribute(child.attributes, "url")?, base)))
    }

    /// The whole item.
    pub(super) fn item(&self) -> Item {
        let base = self.base.as_deref();
        let content = self.all(Tag::Content).map(|child| html(child)).find(|html| !html.is_empty());
        let described = [Tag::Summary, Tag::Description].into_iter().flat_map(|tag| self.all(tag));
        let described = described.map(|child| html(child)).find(|html| !html.is_empty());
        let summary = described.as_deref().or(content.as_deref()).map(text::words).filter(|text| !text.is_empty());
        let content_html = content.or(described).map(Cow::into_owned);
        let mut item = Item {
            id: self.id.as_deref().map(str::to_owned),
            title: self.title.clone(),
            link: self.link.clone(),
            published: self.published,
            updated: self.updated,
            summary,
            content_html,
            ..Item::default()
        };
        for child in &self.children {
            match child.tag {
                Tag::Creator | Tag::Author => {
                    push(&mut item.authors, text::words(&text::value(child.body, Tags::Drop)))
                }
                Tag::Category => {
                    let name = attribute(child.attributes, "label").or_else(|| attribute(child.attributes, "term"));
                    push(&mut item.categories, text::fold(&text::value(name.unwrap_or(child.body), Tags::Drop)));
                }
                Tag::Enclosure => enclosure(&mut item, attribute(child.attributes, "url"), child, base),
                Tag::Link if attribute(child.attributes, "rel").is_some_and(|rel| rel.trim() == "enclosure") => {
                    enclosure(&mut item, attribute(child.attributes, "href"), child, base);
                }
                Tag::Torrent => {
                    let value = text::value(child.body, Tags::Drop);
                    if !value.is_empty() {
                        item.extra.insert(child.local.to_owned(), value.into_owned());
                    }
                }
                _ => {}
            }
        }
        item.image = self.image(&item);
        item
    }

    fn image(&self, item: &Item) -> Option<String> {
        let base = self.base.as_deref();
        let from = |tag: Tag, name: &'static str| {
            self.all(tag).find_map(move |child| absolute(attribute(child.attributes, name)?, base))
        };
        from(Tag::MediaThumbnail, "url").or_else(|| from(Tag::ItunesImage, "href")).or_else(|| {
            let picture = |e: &&Enclosure| e.media_type.as_deref().is_some_and(|t| t.starts_with("image/"));
            item.enclosures.iter().find(picture).map(|e| e.url.clone())
        })
    }
}

fn push(list: &mut Vec<String>, text: String) {
    if !text.is_empty() && !list.contains(&text) {
        list.push(text);
    }
}

fn enclosure(item: &mut Item, url: Option<&str>, child: &Child<'_>, base: Option<&Url>) {
    let Some(url) = url.and_then(|url| absolute(url, base)) else { return };
    let media_type = attribute(child.attributes, "type").map(|t| text::value(t, Tags::Drop).into_owned());
    let length = attribute(child.attributes, "length").and_then(|length| length.trim().parse().ok());
    item.enclosures.push(Enclosure { url, media_type: media_type.filter(|t| !t.is_empty()), length });
}

fn is_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// The link, references resolved, absolute where a base is known.
pub(super) fn absolute(link: &str, base: Option<&Url>) -> Option<String> {
    let link = text::value(link, Tags::Drop);
    let link = link.trim();
    if link.is_empty() {
        return None;
    }
    match base {
        Some(base) if !is_absolute(link) => base.join(link).map(String::from).ok(),
        _ => Some(link.to_owned()),
    }
}

fn is_absolute(link: &str) -> bool {
    link.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

fn title_of(child: &Child<'_>) -> String {
    title(child.body, child.attributes)
}

/// A title as plain text.
pub(super) fn title(body: &str, attributes: &str) -> String {
    let value = text::value(body, Tags::Drop);
    let markup = match attribute(attributes, "type").map(str::trim) {
        Some("html" | "text/html" | "xhtml") => true,
        Some("text" | "text/plain") => false,
        _ => text::has_markup(&value),
    };
    if markup { text::words(&value) } else { text::fold(&value) }
}

/// The HTML of a content element.
fn html<'t>(child: &Child<'t>) -> Cow<'t, str> {
    match attribute(child.attributes, "type").map(str::trim) {
        Some("xhtml" | "application/xhtml+xml") => Cow::Borrowed(child.body.trim()),
        _ => text::value(child.body, Tags::Keep),
    }
}
