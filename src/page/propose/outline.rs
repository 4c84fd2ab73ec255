//! The tree as a list in document order, each element with what it holds: made in one walk, so that every
//! later question about an element costs nothing.

use ego_tree::iter::Edge;
use scraper::{ElementRef, Html, Node};
use url::Url;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::names;
use crate::feed::date;

/// Classes of an element that are looked at.
const CLASSES: usize = 6;

/// A link's text from which on it reads like a title, in characters.
const TITLE: u32 = 14;

/// A paragraph from which on it reads like a summary, in characters.
pub(super) const SUMMARY: u32 = 40;

/// Score of a link whose class says that it is a title; that of one in a heading is twice as much.
pub(super) const TITLED: u32 = 500;

/// Longest text that is looked at as a date, in characters.
const DATE: u32 = 48;

/// Every element of a page.
pub(super) struct Outline<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) base: &'a Url,
}

/// An element.
pub(super) struct Entry<'a> {
    pub(super) element: ElementRef<'a>,
    pub(super) parent: Option<usize>,
    /// The place behind its last descendant.
    pub(super) end: usize,
    /// Alike for elements with like ancestors: of its own tag and name, and those of all above.
    pub(super) path: u64,
    /// Menus, footers and the like.
    pub(super) aside: bool,
    /// How long its text is, about in characters.
    pub(super) text: u32,
    pub(super) holds: Holds,
}

/// What an element holds, itself included.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Holds {
    /// Links whose text reads like a title.
    pub(super) titles: u32,
    /// The link that most looks like that of the whole.
    pub(super) link: Option<(u32, usize)>,
    pub(super) headings: u32,
    pub(super) heading: Option<usize>,
    pub(super) date: Option<usize>,
    pub(super) image: Option<usize>,
    pub(super) summary: Option<usize>,
}

impl Holds {
    /// Takes in what a part holds that stands behind all before it.
    fn add(&mut self, part: &Self) {
        self.titles += part.titles;
        self.headings += part.headings;
        if part.link.is_some_and(|(score, _)| self.link.is_none_or(|(best, _)| score > best)) {
            self.link = part.link;
        }
        self.heading = self.heading.or(part.heading);
        self.date = self.date.or(part.date);
        self.image = self.image.or(part.image);
        self.summary = self.summary.or(part.summary);
    }
}

impl<'a> Entry<'a> {
    pub(super) fn tag(&self) -> &'a str {
        self.element.value().name()
    }

    /// Its classes that will stay.
    pub(super) fn classes(&self) -> impl Iterator<Item = &'a str> {
        let classes = self.element.attr("class").unwrap_or_default().split_ascii_whitespace();
        classes.take(2 * CLASSES).filter(|class| names::is_stable(class)).take(CLASSES)
    }

    /// The parts of its classes that will stay where a build tool made the rest.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &'a str> {
        let classes = self.element.attr("class").unwrap_or_default().split_ascii_whitespace();
        classes.take(CLASSES).filter_map(names::module_prefix)
    }

    /// The tag of the element before it, among its parent's.
    pub(super) fn before(&self) -> Option<&'a str> {
        let before = self.element.prev_siblings().find_map(ElementRef::wrap)?;
        Some(before.value().name())
    }

    pub(super) fn id(&self) -> Option<&'a str> {
        self.element.attr("id").filter(|id| names::is_stable(id))
    }
}

impl<'a> Outline<'a> {
    pub(super) fn new(html: &'a Html, base: &'a Url) -> Self {
        let mut outline = Self { entries: Vec::new(), base };
        let mut open: Vec<usize> = Vec::new();
        // elements whose text nobody reads, and headings
        let (mut mute, mut headings) = (0usize, 0usize);
        for edge in html.tree.root().traverse() {
            match edge {
                Edge::Open(node) => match node.value() {
                    Node::Element(element) => {
                        let Some(element_ref) = ElementRef::wrap(node) else { continue };
                        mute += usize::from(is_mute(element.name()));
                        headings += usize::from(is_heading(element.name()));
                        outline.open(element_ref, open.last().copied());
                        open.push(outline.entries.len() - 1);
                    }
                    Node::Text(text) if mute == 0 => {
                        if let Some(&own) = open.last() {
                            outline.entries[own].text += length(text);
                        }
                    }
                    _ => {}
                },
                Edge::Close(node) => {
                    if let Some(element) = node.value().as_element() {
                        let Some(own) = open.pop() else { continue };
                        outline.close(own, headings > 0, mute > 0);
                        mute -= usize::from(is_mute(element.name()));
                        headings -= usize::from(is_heading(element.name()));
                    }
                }
            }
        }
        outline
    }

    fn open(&mut self, element: ElementRef<'a>, parent: Option<usize>) {
        let above = parent.map(|parent| &self.entries[parent]);
        let (seed, mut aside) = above.map_or((0, false), |above| (above.path, above.aside));
        let tag = element.value().name();
        let mut entry = Entry { element, parent, end: 0, path: 0, aside: false, text: 0, holds: Holds::default() };
        let name =
            entry.id().or_else(|| entry.classes().next()).or_else(|| entry.prefixes().next()).unwrap_or_default();
        entry.path = xxh3_64_with_seed(name.as_bytes(), xxh3_64_with_seed(tag.as_bytes(), seed));
        aside |= match tag {
            "nav" | "footer" | "aside" | "select" | "dialog" => true,
            "html" | "body" | "main" => false,
            // that of an article is part of it
            "header" => !self.within(parent, &["article", "main", "section", "li"]),
            _ => {
                let classes = element.attr("class").unwrap_or_default().split_ascii_whitespace().take(CLASSES);
                classes.chain(element.attr("id")).any(names::is_aside)
                    || matches!(element.attr("role"), Some("navigation" | "menu" | "contentinfo" | "banner"))
            }
        };
        entry.aside = aside;
        self.entries.push(entry);
    }

    /// Whether one of the nearest elements above is one of these.
    fn within(&self, mut at: Option<usize>, tags: &[&str]) -> bool {
        for _ in 0..8 {
            let Some(entry) = at.map(|at| &self.entries[at]) else { return false };
            if tags.contains(&entry.tag()) {
                return true;
            }
            at = entry.parent;
        }
        false
    }

    fn close(&mut self, own: usize, in_heading: bool, mute: bool) {
        let end = self.entries.len();
        let entry = &mut self.entries[own];
        entry.end = end;
        if !mute {
            let (element, text) = (entry.element, entry.text);
            let tag = element.value().name();
            let holds = &mut entry.holds;
            match tag {
                "a" if element.attr("href").is_some_and(leads_on) => {
                    let heading = in_heading || holds.heading.is_some();
                    let titled = element
                        .attr("class")
                        .is_some_and(|classes| classes.split_ascii_whitespace().any(names::is_title));
                    // a link around an image is the item's, but one with words says more
                    let score = text.min(200) + 2 * TITLED * u32::from(heading) + TITLED * u32::from(titled);
                    holds.titles += u32::from(text >= TITLE || (heading && text > 0));
                    if text > 0 && holds.link.is_none_or(|(best, _)| score > best) {
                        holds.link = Some((score, own));
                    }
                }
                _ if is_heading(tag) && text > 0 => {
                    holds.headings += 1;
                    holds.heading = holds.heading.or(Some(own));
                }
                _ if is_picture(element) => holds.image = holds.image.or(Some(own)),
                _ => {}
            }
            let says_summary =
                || element.attr("class").is_some_and(|c| c.split_ascii_whitespace().any(names::is_summary));
            if text >= SUMMARY && holds.summary.is_none() && !in_heading && (tag == "p" || says_summary()) {
                holds.summary = Some(own);
            }
            if holds.date.is_none() && end - own <= 4 && is_date(element, text) {
                holds.date = Some(own);
            }
        }
        let (holds, text, parent) = (entry.holds, entry.text, entry.parent);
        if let Some(parent) = parent {
            let parent = &mut self.entries[parent];
            parent.text = parent.text.saturating_add(text);
            parent.holds.add(&holds);
        }
    }

    /// The text of an element, white space folded, as far as it is worth comparing.
    pub(super) fn text(&self, at: usize) -> String {
        let text: String = self.entries[at].element.text().take(64).flat_map(str::chars).take(512).collect();
        super::super::discover::folded(&text)
    }

    /// Where a link leads.
    pub(super) fn href(&self, at: usize) -> Option<Url> {
        self.base.join(self.entries[at].element.attr("href")?.trim()).ok()
    }
}

/// Elements whose text is none of the page's.
fn is_mute(tag: &str) -> bool {
    matches!(tag, "script" | "style" | "template" | "svg" | "noscript" | "head" | "textarea" | "select" | "iframe")
}

pub(super) fn is_heading(tag: &str) -> bool {
    matches!(tag, "h1" | "h2" | "h3" | "h4" | "h5" | "h6")
}

/// Characters, but each run of white space as one, that at the ends as none, and ideographs and the like,
/// of which few make a title, as two.
fn length(text: &str) -> u32 {
    let (mut length, mut space) = (0u32, true);
    for c in text.chars() {
        let white = c.is_whitespace();
        length += u32::from(!white || !space) + u32::from(c >= '\u{2e80}');
        space = white;
    }
    length.saturating_sub(u32::from(space && length > 0))
}

/// Whether a link leads to another page.
fn leads_on(href: &str) -> bool {
    let href = href.trim_start();
    let scheme = |scheme: &str| href.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    !href.is_empty()
        && !href.starts_with('#')
        && !["javascript:", "mailto:", "tel:", "data:", "about:"].into_iter().any(scheme)
}

/// Whether it is a picture worth showing, and no icon or tracker. One that a script loads may be anything.
fn is_picture(image: ElementRef<'_>) -> bool {
    if image.value().name() != "img" {
        let file = image.attr("data-src").unwrap_or_default().split(['?', '#']).next().unwrap_or_default();
        let end = file.rsplit('.').next().unwrap_or_default();
        return ["jpg", "jpeg", "png", "webp", "avif"].iter().any(|kind| end.eq_ignore_ascii_case(kind));
    }
    let lazy = ["data-src", "data-lazy-src", "data-original", "srcset", "data-srcset"];
    let address = |name: &str| image.attr(name).is_some_and(|src| !src.is_empty() && !src.starts_with("data:"));
    let tiny = |name: &str| image.attr(name).and_then(|size| size.parse().ok()).is_some_and(|size: u32| size < 40);
    (address("src") || lazy.into_iter().any(address)) && !tiny("width") && !tiny("height")
}

/// Whether it says when.
fn is_date(element: ElementRef<'_>, text: u32) -> bool {
    let readable = |text: &str| date::read(text).is_some();
    match element.value().name() {
        "time" if element.attr("datetime").is_some_and(readable) => return true,
        "abbr" if element.attr("title").is_some_and(readable) => return true,
        "a" | "h1" | "h2" | "h3" if !element.attr("class").is_some_and(|class| class.contains("date")) => return false,
        _ => {}
    }
    if !(8..=DATE).contains(&text) {
        return false;
    }
    let text: String = element.text().flat_map(str::chars).take(4 * DATE as usize).collect();
    // a number alone may be anything, and so may be a time of day
    let year = text.as_bytes().windows(4).any(|four| four.iter().all(u8::is_ascii_digit));
    let more = text.chars().any(|c| !c.is_ascii_digit() && !c.is_whitespace());
    year && more && readable(super::super::discover::folded(&text).as_str())
}
