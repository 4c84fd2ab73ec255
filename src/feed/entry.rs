//! One entry: from the spans of its elements to what identity needs, and on to the whole item.

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell},
    ops::Range,
    rc::Rc,
};

use jiff::Timestamp;
use url::Url;

use super::{
    Error, Format, Warning,
    attribute::attribute,
    budget::{Base, Budget},
    construct::{author, child_text, html, title},
    date::{self, Flaw, Region},
    entity::Entities,
    link::{absolute, absolute_value},
    media,
    names::Tag,
    picture,
    text::{self, Tags},
};
use crate::{
    identity::Facts,
    model::{Enclosure, Item, item::UNSET},
};

/// What all entries of a document share.
#[derive(Debug)]
pub(super) struct Shared<'t> {
    pub(super) text: &'t str,
    pub(super) format: Cell<Format>,
    pub(super) entities: Entities,
    /// What may be derived from the document.
    pub(super) budget: Rc<Budget>,
    /// The elements of all entries, one entry after the other.
    pub(super) children: OnceCell<Vec<Child>>,
    /// Authors of the feed, who are those of an Atom entry without its own.
    pub(super) authors: OnceCell<Vec<String>>,
}

/// An element of an entry, by its place in the document: not yet looked into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Child {
    name: u32,
    attributes: u32,
    /// Where the attributes end.
    tag_end: u32,
    body: u32,
    body_end: u32,
    tag: Tag,
}

impl Child {
    /// From slices of the document.
    pub(super) fn new(text: &str, tag: Tag, name: &str, attributes: &str, body: &str) -> Self {
        let place = |part: &str| (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize) as u32;
        let body_start = if body.is_empty() { place(attributes) } else { place(body) };
        Self {
            name: place(name),
            attributes: place(attributes),
            tag_end: place(attributes) + attributes.len() as u32,
            body: body_start,
            body_end: body_start + body.len() as u32,
            tag,
        }
    }
}

/// An element of an entry in its document.
#[derive(Clone, Copy)]
pub(super) struct Element<'t> {
    pub(super) tag: Tag,
    /// With prefix.
    pub(super) name: &'t str,
    pub(super) attributes: &'t str,
    /// What stands between its tags.
    pub(super) body: &'t str,
}

impl<'t> Element<'t> {
    fn of(child: &Child, text: &'t str) -> Self {
        let part = |range: Range<u32>| text.get(range.start as usize..range.end as usize).unwrap_or_default();
        Self {
            tag: child.tag,
            name: part(child.name..child.attributes),
            attributes: part(child.attributes..child.tag_end),
            body: part(child.body..child.body_end),
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'t str> {
        attribute(self.attributes, name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The name without its prefix.
    pub(super) fn local(&self) -> &'t str {
        self.name.rsplit(':').next().unwrap_or(self.name)
    }
}

/// An entry of RSS or Atom.
#[derive(Debug)]
pub(super) struct Markup<'t> {
    shared: Rc<Shared<'t>>,
    base: Option<Rc<Url>>,
    /// The item's own attributes.
    attributes: &'t str,
    children: Range<u32>,
    id: Option<Cow<'t, str>>,
    link: Option<Cow<'t, str>>,
    title: Option<Cow<'t, str>>,
    published: Option<Timestamp>,
    updated: Option<Timestamp>,
    /// The only date is the one that says that nobody set one.
    unset: bool,
}

/// What is needed beside the elements to read an entry.
pub(super) struct Context<'a, 't> {
    pub(super) shared: &'a Rc<Shared<'t>>,
    pub(super) base: Option<Rc<Url>>,
    pub(super) region: Region,
    /// Titles are those of RSS, whose references are often written twice.
    pub(super) rss: bool,
}

impl<'t> Markup<'t> {
    /// Reads what identity needs of the entry whose elements are `children`, the last of `all`.
    pub(super) fn new(
        all: &[Child],
        children: Range<u32>,
        attributes: &'t str,
        context: Context<'_, 't>,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let Context { shared, base, region, rss } = context;
        let text = shared.text;
        let entities = &shared.entities;
        let list = all.get(children.start as usize..children.end as usize).unwrap_or_default();
        let each = |wanted: Tag| list.iter().filter(move |c| c.tag == wanted).map(move |c| Element::of(c, text));
        let value = |element: Element<'t>| text::value(element.body, Tags::Drop, entities);

        let id = each(Tag::Id).map(value).find(|id| !id.is_empty() && id.len() <= ID).map(text::fold);
        let id = id.or_else(|| rdf_about(attributes, entities));
        let mut titles = each(Tag::Title).chain(each(Tag::DcTitle)).map(|e| title(e.body, e.attributes, entities, rss));
        let title = titles.find(|title| !title.is_empty());
        let mut unset = false;
        let mut moment = |tags: &[Tag]| {
            let elements = tags.iter().flat_map(|tag| each(*tag)).map(value).filter(|written| !written.is_empty());
            let readings = elements.map(|written| date::examine(&written, region));
            best_date(readings.inspect(|reading| {
                unset |= reading.flaw == Some(Flaw::Unset);
                warnings.extend(reading.flaw.map(warning));
            }))
        };
        let published = moment(&[Tag::Published, Tag::Issued, Tag::DcDate, Tag::Created]);
        let updated = moment(&[Tag::Updated]);
        // a field out of its range may be any other's fault: a sound date is worth more
        let published = match (published, updated) {
            (Some((_, false)), Some((_, true))) => None,
            _ => published,
        };
        let (published, updated) = (published.map(|(at, _)| at), updated.map(|(at, _)| at));
        let joined = Base { url: base.as_deref(), budget: &shared.budget };
        let link = link(each(Tag::Link), each(Tag::Id), joined, entities);
        Self { shared: shared.clone(), base, attributes, children, id, link, title, published, updated, unset }
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        let described = [Tag::Content, Tag::Description, Tag::Summary];
        Facts {
            id: self.id.as_deref(),
            link: self.link.as_deref(),
            title: self.title.as_deref(),
            time: self.published.or(self.updated),
            text: described.into_iter().find_map(|tag| self.each(tag).next()).map(|element| element.body),
        }
    }

    fn children(&self) -> &[Child] {
        let all = self.shared.children.get().map(Vec::as_slice).unwrap_or_default();
        all.get(self.children.start as usize..self.children.end as usize).unwrap_or_default()
    }

    fn every(&self, wanted: impl Fn(Tag) -> bool) -> impl Iterator<Item = Element<'t>> {
        let text = self.shared.text;
        self.children().iter().filter(move |child| wanted(child.tag)).map(move |child| Element::of(child, text))
    }

    fn each(&self, wanted: Tag) -> impl Iterator<Item = Element<'t>> {
        self.every(move |tag| tag == wanted)
    }

    fn value(&self, raw: &'t str) -> Cow<'t, str> {
        text::value(raw, Tags::Drop, &self.shared.entities)
    }

    /// The item as it is shown and delivered: a link or title that the document leaves out is taken from where it may
    /// stand too, and a date that says that nobody set one is kept as that.
    pub(super) fn item(&self) -> Result<Item, Error> {
        let budget = &*self.shared.budget;
        let base = Base { url: self.base.as_deref(), budget };
        let content = self.first_html([Tag::Content]);
        let described = self.first_html([Tag::Summary, Tag::Description]);
        let described = described.or_else(|| self.first_html([Tag::MediaDescription, Tag::ItunesSummary]));
        let summary = match (&described, &content) {
            (Some((html, plain)), Some(_)) => Some(summary(html, *plain, SUMMARY)),
            (Some((html, plain)), None) | (None, Some((html, plain))) => Some(summary(html, *plain, EXCERPT)),
            (None, None) => None,
        };
        let mut item = Item {
            id: self.id.as_deref().map(str::to_owned),
            title: self.title.as_deref().map(str::to_owned).or_else(|| self.other_title()),
            link: self.link.clone().or_else(|| self.about()).map(Cow::into_owned),
            published: self.published.or((self.unset && self.updated.is_none()).then_some(UNSET)),
            updated: self.updated,
            summary: summary.filter(|text| !text.is_empty()),
            ..Item::default()
        };
        for element in self.every(Tag::is_listed) {
            self.take(element, &mut item, base);
        }
        if item.enclosures.is_empty() {
            let attached = self.each(Tag::MediaContent).filter_map(|e| media::attached(&e, base));
            item.enclosures.extend(attached.take(LISTED).filter(|_| budget.take(ENCLOSURE)));
        }
        if item.authors.is_empty()
            && let Some(authors) = self.shared.authors.get()
            && budget.take(authors.iter().map(|author| AUTHOR + author.len()).sum())
        {
            item.authors.clone_from(authors);
        }
        let pictured =
            || [&content, &described].into_iter().flatten().find_map(|(html, _)| media::first_in(html, base));
        item.image = self.image(&item, base).or_else(pictured);
        item.content_html = content.or(described).and_then(|(html, plain)| {
            let written = html.len();
            let html = if plain { escaped(html) } else { html };
            // plain text grows where its signs become references
            budget.take(html.len() - written).then(|| html.into_owned())
        });
        budget.check()?;
        Ok(item)
    }

    /// What the item is about, where that is a link.
    fn about(&self) -> Option<Cow<'t, str>> {
        rdf_about(self.attributes, &self.shared.entities).filter(|about| about.contains("://"))
    }

    /// The title in another vocabulary than the feed's own.
    fn other_title(&self) -> Option<String> {
        let entities = &self.shared.entities;
        let titles = self.each(Tag::OtherTitle).map(|e| title(e.body, e.attributes, entities, false));
        titles.filter(|title| !title.is_empty()).map(Cow::into_owned).next()
    }

    /// Takes up one element into the lists of an item.
    fn take(&self, element: Element<'t>, item: &mut Item, base: Base<'_>) {
        match element.tag {
            Tag::Author | Tag::Creator => push(&mut item.authors, author(element.body, &self.shared.entities)),
            Tag::Category => {
                let name = element.attribute("label").or_else(|| element.attribute("term"));
                push(&mut item.categories, text::fold(self.value(name.unwrap_or(element.body))).into_owned());
            }
            Tag::Keywords => {
                for word in self.value(element.body).split(',').take(WORDS) {
                    push(&mut item.categories, text::fold(word.into()).into_owned());
                }
            }
            Tag::Enclosure | Tag::Link => {
                let is_link = element.tag == Tag::Link;
                let attached = !is_link || element.attribute("rel") == Some("enclosure");
                if attached && item.enclosures.len() < LISTED && base.budget.take(ENCLOSURE) {
                    let url = if is_link { "href" } else { "url" };
                    item.enclosures.extend(media::enclosure(&element, url, base));
                }
            }
            Tag::Extra | Tag::OrigLink => {
                let (name, value) = match (element.attribute("name"), element.attribute("value")) {
                    (Some(name), Some(value)) => (name, self.value(value)),
                    _ => (element.local(), self.value(element.body)),
                };
                if !value.is_empty() && !item.extra.contains_key(name) {
                    item.extra.insert(name.to_owned(), text::cut(text::fold(value).into_owned(), FIELD));
                }
            }
            _ => {}
        }
    }

    /// The first of these elements that says something: its HTML, or its plain text and `true`.
    fn first_html<const N: usize>(&self, tags: [Tag; N]) -> Option<(Cow<'t, str>, bool)> {
        let entities = &self.shared.entities;
        let atom = matches!(self.shared.format.get(), Format::Atom03 | Format::Atom10);
        tags.into_iter()
            .flat_map(|tag| self.each(tag))
            .map(|element| html(&element, atom, entities))
            .find(|(html, _)| !html.is_empty())
    }

    fn image(&self, item: &Item, base: Base<'_>) -> Option<String> {
        let media = self.every(|tag| matches!(tag, Tag::MediaContent | Tag::MediaThumbnail));
        let fit = |url: &String| picture::unfit(url).is_none();
        media::largest(media, base)
            .or_else(|| self.each(Tag::ItunesImage).filter_map(|e| absolute(e.attribute("href")?, base)).find(fit))
            .or_else(|| self.each(Tag::Image).filter_map(|e| self.image_element(&e, base)).find(fit))
            .or_else(|| item.enclosures.iter().filter(|e| media::is_image(e)).map(|e| e.url.clone()).find(fit))
    }

    /// `<image><url>…</url></image>`, or the URL itself.
    fn image_element(&self, element: &Element<'t>, base: Base<'_>) -> Option<String> {
        let inner = child_text(element.body, "url").unwrap_or(element.body);
        let url = absolute(element.attribute("href").or_else(|| element.attribute("url")).unwrap_or(inner), base)?;
        url.contains("://").then_some(url)
    }
}

/// Longest summary, in bytes, where the document gives one beside the content.
pub(super) const SUMMARY: usize = 32 << 10;

/// Longest summary made of the content itself: more than any destination shows.
pub(super) const EXCERPT: usize = 4096;

fn summary(html: &str, plain: bool, longest: usize) -> String {
    if plain { text::cut(text::fold(html.into()).into_owned(), longest) } else { text::words(html, longest) }
}

/// The first sound date, else the first with a field out of its range; and whether it is sound.
fn best_date(readings: impl Iterator<Item = date::Reading>) -> Option<(Timestamp, bool)> {
    let mut odd = None;
    for reading in readings {
        match (reading.at, reading.flaw) {
            (Some(at), Some(Flaw::Overflow)) => odd = odd.or(Some((at, false))),
            (Some(at), _) => return Some((at, true)),
            (None, _) => {}
        }
    }
    odd
}

/// Plain text as HTML.
fn escaped(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => text::escape(text),
        Cow::Owned(text) => Cow::Owned(text::escape(&text).into_owned()),
    }
}

pub(super) fn warning(flaw: Flaw) -> Warning {
    match flaw {
        Flaw::Unreadable => Warning::UnknownDate,
        Flaw::Absurd | Flaw::Unset => Warning::AbsurdDate,
        Flaw::Overflow => Warning::OddDate,
        Flaw::UnknownZone => Warning::UnknownZone,
    }
}

fn rdf_about<'t>(attributes: &'t str, entities: &Entities) -> Option<Cow<'t, str>> {
    let about = attribute(attributes, "rdf:about")?;
    Some(text::value(about, Tags::Drop, entities)).filter(|about| !about.is_empty())
}

/// The link, by what it says of itself: RSS's own, an alternate, one that says nothing, a guid that is a
/// permanent link, the entry itself.
fn link<'t>(
    links: impl Iterator<Item = Element<'t>>,
    mut ids: impl Iterator<Item = Element<'t>>,
    base: Base<'_>,
    entities: &Entities,
) -> Option<Cow<'t, str>> {
    let mut best: Option<(u8, &str)> = None;
    for element in links {
        let href = element.attribute("href");
        let rank = match (element.attribute("rel"), href) {
            (None, None) => 9,
            (Some("alternate"), _) => 8,
            (None, _) => 7,
            (Some("self"), _) => 3,
            (Some(_), _) => continue,
        };
        let link = href.unwrap_or(element.body);
        if best.is_none_or(|(known, _)| rank > known) && !link.trim().is_empty() {
            best = Some((rank, link));
        }
    }
    if best.is_none_or(|(rank, _)| rank < 5) {
        let is_permanent = |element: &Element<'t>| {
            element.local().eq_ignore_ascii_case("guid")
                && !element.attribute("isPermaLink").is_some_and(|value| value.eq_ignore_ascii_case("false"))
                && is_web(&text::value(element.body, Tags::Drop, entities))
        };
        best = ids.find(is_permanent).map(|element| (5, element.body)).or(best);
    }
    best.and_then(|(_, link)| absolute_value(link, base, entities))
}

fn is_web(text: &str) -> bool {
    let scheme = text.split("://").next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && Url::parse(text).is_ok_and(|url| url.has_host())
}

fn push(list: &mut Vec<String>, text: String) {
    let text = text::cut(text, NAME);
    if !text.is_empty() && !list.contains(&text) && list.len() < LISTED {
        list.push(text);
    }
}

/// Authors, categories or attached files taken of one entry.
pub(super) const LISTED: usize = 50;

/// Words of a list of keywords that are looked at.
const WORDS: usize = 500;

/// What one takes in memory beside its texts, in bytes.
pub(super) const ENCLOSURE: usize = size_of::<Enclosure>();
pub(super) const AUTHOR: usize = size_of::<String>();

/// Longest id that is one, name of an author or category, and further field, in bytes.
const ID: usize = 16 << 10;
pub(super) const NAME: usize = 1 << 10;
const FIELD: usize = 16 << 10;
