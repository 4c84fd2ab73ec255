//! RSS, RDF and Atom: from text to entries.
//!
//! One walk reads them all, since real documents mix them: what an element means depends on its name and
//! on whether it stands in an item, not on the root.

use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
    time::Duration,
};

use memchr::memmem;
use url::Url;

use super::{
    Content, Document, Entry, Error, Format, Hints, MAX_ENTRIES, Warning,
    attribute::attribute,
    budget::{Base, Budget},
    construct,
    date::Region,
    detect,
    entity::Entities,
    entry::{Child, Context, Markup, NAME, Shared},
    link::absolute_value,
    names::{self, Prefixes, Tag},
    recall::{self, Recall, Span},
    text::{self, Tags},
    xml::{NESTED, Piece, Xml},
};

/// Elements remembered of one entry.
const MOST_CHILDREN: usize = 1000;

/// Reads a document of elements.
pub(super) fn read<'t>(text: &'t str, hints: &Hints<'_>, known: Option<&[Span]>) -> Result<Document<'t>, Error> {
    let budget = Rc::new(Budget::of(text.len()));
    let shared = Rc::new(Shared {
        text,
        format: Cell::new(Format::Rss20),
        entities: entities(text),
        budget: budget.clone(),
        children: OnceCell::new(),
        authors: OnceCell::new(),
    });
    let mut walk = Walk {
        xml: Xml::new(text),
        prefixes: Prefixes::default(),
        shared: shared.clone(),
        root: Root::None,
        item: String::from("item"),
        closed: false,
        base: budget.base(hints.base).cloned().map(Rc::new),
        children: Vec::new(),
        // as many as the last document had, and some new ones
        entries: Vec::with_capacity(known.map_or(0, |known| known.len() + 8)),
        about: About::default(),
        warnings: Vec::new(),
        recall: Recall::new(known),
        full: false,
    };
    walk.run();
    walk.finish(text, hints.base)
}

/// The entities that the DOCTYPE declares.
fn entities(text: &str) -> Entities {
    let mut entities = Entities::none();
    let head = &text.as_bytes()[..text.len().min(HEAD)];
    if let Some(start) = memmem::find(head, b"<!DOCTYPE") {
        let rest = &text[start..];
        let end = memmem::find(rest.as_bytes(), b"]>").or_else(|| memchr::memchr(b'>', rest.as_bytes()));
        if let Some(subset) = end.filter(|&end| end <= SUBSET).and_then(|end| rest.get(..end)) {
            entities.declare(subset);
        }
    }
    entities
}

/// How far into the document its DOCTYPE is looked for, and how long it may be, in bytes.
const HEAD: usize = 4 << 10;
const SUBSET: usize = 256 << 10;

/// What the document's outermost element made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// Nothing yet.
    None,
    /// A page, in which only a feed that says plainly that it is one is taken for one.
    Html,
    /// Some element that is no feed's: items in it may be a feed's all the same.
    Unknown,
    /// A feed.
    Feed(Format),
}

struct Walk<'t, 'm> {
    xml: Xml<'t>,
    prefixes: Prefixes<'t>,
    shared: Rc<Shared<'t>>,
    root: Root,
    /// What an item is called here, with prefix.
    item: String,
    /// The root's end tag was met.
    closed: bool,
    base: Option<Rc<Url>>,
    children: Vec<Child>,
    entries: Vec<Entry<'t>>,
    about: About<'t>,
    warnings: Vec<Warning>,
    recall: Recall<'m>,
    /// More entries were met than are read.
    full: bool,
}

/// What is said of the whole feed.
#[derive(Default)]
struct About<'t> {
    title: Option<String>,
    link: Option<&'t str>,
    link_rank: u8,
    language: Option<&'t str>,
    ttl: Option<&'t str>,
    period: Option<&'t str>,
    frequency: Option<&'t str>,
    authors: Vec<String>,
    region: Option<Region>,
}

impl<'t> Walk<'t, '_> {
    fn run(&mut self) {
        loop {
            match self.xml.next() {
                Piece::Start { name, attributes, empty } => self.start(name, attributes, empty),
                Piece::End(name) => {
                    let (_, local) = self.prefixes.resolve(name);
                    self.closed |= ["rss", "feed", "rdf"].iter().any(|root| local.eq_ignore_ascii_case(root));
                }
                Piece::Eof => break,
            }
            if self.shared.budget.is_exceeded() {
                return;
            }
            if self.entries.len() > MAX_ENTRIES && !self.skip_to_newest() {
                self.entries.truncate(MAX_ENTRIES);
                return;
            }
        }
        self.xml.truncated |= !self.closed && matches!(self.root, Root::Feed(_));
    }

    /// The document has too many entries. True if reading goes on, as the newest are still to come.
    fn skip_to_newest(&mut self) -> bool {
        if std::mem::replace(&mut self.full, true) {
            return false;
        }
        let times = |entry: &Entry<'_>| entry.facts().and_then(|facts| facts.time);
        let mut dated = self.entries.iter().filter_map(times);
        let start = match (dated.next(), dated.next_back()) {
            (Some(first), Some(last)) if first < last => newest_at_end(self.shared.text, &self.item),
            // the dates of known entries were not read: read them
            (_, None) if self.entries.iter().any(|entry| entry.known().is_some()) => {
                self.recall.forget();
                self.about = About::default();
                self.full = false;
                Some(0)
            }
            _ => None,
        };
        if self.full {
            self.warnings.push(Warning::TooManyEntries);
        }
        let Some(start) = start else { return false };
        self.entries.clear();
        self.children.clear();
        self.xml.restart(start);
        true
    }

    fn start(&mut self, name: &'t str, attributes: &'t str, empty: bool) {
        self.prefixes.declare(attributes);
        let (space, local) = match self.root {
            Root::None => self.prefixes.resolve_root(name),
            _ => self.prefixes.resolve(name),
        };
        match names::tag(space, local) {
            Tag::Container => self.container(name, local, attributes, empty),
            // Atom knows no items: what is called so in its feed is some extension's
            Tag::Item if self.is_atom() && local.eq_ignore_ascii_case("item") => {
                self.describe(name, Tag::Other, attributes, empty);
            }
            Tag::Item if self.root != Root::Html => self.entry(name, attributes, empty),
            found => match self.root {
                Root::None if ["html", "head", "body"].iter().any(|html| local.eq_ignore_ascii_case(html)) => {
                    self.root = Root::Html;
                }
                Root::None => self.root = Root::Unknown,
                Root::Feed(_) => self.describe(name, found, attributes, empty),
                Root::Html | Root::Unknown => self.xml.skip_copies(self.xml.tag(name, attributes)),
            },
        }
    }

    /// The base of what stands in an element with its own, which is relative to that around it.
    fn rebased(&self, own: &str) -> Option<Rc<Url>> {
        let joined = self.shared.budget.rebase(self.base.as_deref(), own);
        joined.map(Rc::new).or_else(|| self.base.clone())
    }

    fn is_atom(&self) -> bool {
        matches!(self.root, Root::Feed(Format::Atom03 | Format::Atom10))
    }

    fn container(&mut self, name: &str, local: &str, attributes: &'t str, empty: bool) {
        let format = format(local, attributes);
        let plain = attributes.contains("version") || attributes.contains("xmlns");
        match (self.root, format) {
            (Root::Feed(_), _) => {}
            (Root::Html, Some(_)) if !plain => return,
            (_, Some(format)) => {
                self.root = Root::Feed(format);
                self.closed = empty;
                let prefix = name.rsplit_once(':').map(|(prefix, _)| prefix).filter(|_| format != Format::Rss10);
                let item = if local.eq_ignore_ascii_case("feed") { "entry" } else { "item" };
                self.item = prefix.map_or_else(|| item.to_owned(), |prefix| format!("{prefix}:{item}"));
            }
            (_, None) => return,
        }
        if let Some(base) = attribute(attributes, "xml:base") {
            self.base = self.rebased(base);
            self.recall.rebased();
        }
        if let Some(language) = attribute(attributes, "xml:lang") {
            self.about.language = Some(language);
        }
        if local.eq_ignore_ascii_case("channel") && names::is_cdf(attributes) {
            self.root = Root::Feed(Format::Cdf);
        }
    }

    /// An element that speaks of the whole feed.
    fn describe(&mut self, name: &'t str, found: Tag, attributes: &'t str, empty: bool) {
        let item = std::mem::take(&mut self.item);
        let body = if empty { "" } else { self.xml.element(name, &item, 0, found.is_short()) };
        self.item = item;
        let about = &mut self.about;
        match found {
            Tag::Title | Tag::DcTitle if about.title.is_none() => {
                let rss = !matches!(self.root, Root::Feed(Format::Atom03 | Format::Atom10));
                let title = construct::title(body, attributes, &self.shared.entities, rss);
                about.title = (!title.is_empty()).then(|| title.into_owned());
            }
            Tag::Link => {
                let href = attribute(attributes, "href");
                let rank = match (attribute(attributes, "rel"), href) {
                    (None, None) => 3,
                    (None | Some("alternate"), _) => 2,
                    _ => 0,
                };
                let link = href.unwrap_or(body).trim();
                if rank > about.link_rank && !link.is_empty() {
                    about.link = Some(link);
                    about.link_rank = rank;
                }
            }
            Tag::Author if about.authors.len() < 10 => {
                let author = construct::author(body, &self.shared.entities);
                if !author.is_empty() {
                    about.authors.push(text::cut(author, NAME));
                }
            }
            Tag::Language => about.language = Some(body),
            Tag::Ttl => about.ttl = Some(body),
            Tag::UpdatePeriod => about.period = Some(body),
            Tag::UpdateFrequency => about.frequency = Some(body),
            _ => {}
        }
    }

    fn entry(&mut self, name: &'t str, attributes: &'t str, empty: bool) {
        if !matches!(self.root, Root::Feed(_)) && self.entries.is_empty() {
            name.clone_into(&mut self.item);
        }
        let base = match attribute(attributes, "xml:base") {
            Some(own) => self.rebased(own),
            None => self.base.clone(),
        };
        let region = self.region();
        // what a declared entity gives depends on how much the others gave before
        let recalled = self.recall.remembers && !empty && !self.xml.damaged && !self.shared.entities.any();
        let surroundings = recalled.then(|| self.recall.context(self.base.as_deref(), region, &self.prefixes));
        // from the name on: the sign before it is what made it a tag
        let rest = self.xml.from(name);
        if let Some(end) = surroundings.and_then(|context| self.known(rest, name, context)) {
            self.xml.skip_to(end);
            return;
        }
        let first = self.children.len();
        if !empty && !self.elements(name) {
            // cut off: what identifies the item may be cut too, and it would come again as another one
            self.children.truncate(first);
            return;
        }
        let context = Context { shared: &self.shared, base, region, rss: !self.is_atom() };
        let children = first as u32..self.children.len() as u32;
        let warned = self.warnings.len();
        let markup = Markup::new(&self.children, children, attributes, context, &mut self.warnings);
        let sound = !self.xml.damaged && self.warnings.len() == warned;
        // a document of nothing but bad dates has one warning, not a million
        self.warnings.dedup();
        let read = &rest[..rest.len() - self.xml.rest().len()];
        let span = surroundings.filter(|_| sound && self.recall.holds(&self.prefixes));
        let span =
            span.map_or_else(Span::default, |context| recall::span(read.trim_ascii_end().as_bytes(), name, context));
        self.entries.push(Entry { span, content: Content::Markup(markup) });
    }

    /// Passes over items of the last document: the one that `rest` begins with, from its name on, and those that
    /// follow it, which need no reader to be met. Gives what is behind them.
    fn known(&mut self, mut rest: &'t str, name: &str, context: u64) -> Option<&'t str> {
        let mut end = None;
        while let Some((index, length)) = self.recall.find(rest.as_bytes(), name, context) {
            self.entries.push(Entry { span: self.recall.span(index), content: Content::Known(index) });
            let behind = rest.get(length..).unwrap_or_default();
            end = Some(behind);
            let Some(next) = behind.trim_ascii_start().strip_prefix('<') else { break };
            // its attributes would be for the reader to see
            let bare = next.strip_prefix(name).is_some_and(|behind| behind.starts_with('>'));
            if !bare || self.entries.len() > MAX_ENTRIES {
                break;
            }
            rest = next;
        }
        end
    }

    /// Takes up the elements of an item; whether they are whole.
    fn elements(&mut self, item: &'t str) -> bool {
        let first = self.children.len();
        loop {
            let position = self.xml.position();
            match self.xml.next() {
                Piece::Start { name, attributes, empty } => {
                    self.prefixes.declare(attributes);
                    let (space, local) = self.prefixes.resolve(name);
                    let found = names::tag(space, local);
                    if found == Tag::Item && name == item {
                        if empty {
                            continue;
                        }
                        // the one before was never closed
                        self.xml.damaged = true;
                        self.xml.restart(position);
                        return true;
                    }
                    let full = self.children.len() - first >= MOST_CHILDREN;
                    if (found == Tag::Other || full) && !empty && self.xml.is_flat() {
                        // it has no end, and nothing in it is wanted
                        self.xml.skip_copies(self.xml.tag(name, attributes));
                        continue;
                    }
                    let flattened = matches!(found, Tag::MediaGroup | Tag::MediaContent);
                    let body =
                        if empty || flattened { "" } else { self.xml.element(name, item, NESTED, found.is_short()) };
                    if self.xml.truncated {
                        return false;
                    }
                    if found != Tag::Other && !full {
                        self.children.push(Child::new(self.shared.text, found, name, attributes, body));
                    }
                }
                Piece::End(end) if end == item => return true,
                Piece::End(end) => {
                    let (space, local) = self.prefixes.resolve(end);
                    match names::tag(space, local) {
                        Tag::Container => {
                            self.xml.damaged = true;
                            self.xml.restart(position);
                            return true;
                        }
                        Tag::Item => {
                            self.xml.damaged = true;
                            return true;
                        }
                        _ => {}
                    }
                }
                Piece::Eof => {
                    self.xml.truncated = true;
                    return false;
                }
            }
        }
    }

    /// Where the feed comes from, once its own description was read.
    fn region(&mut self) -> Region {
        *self.about.region.get_or_insert_with(|| {
            let link = self.about.link.and_then(|link| Url::parse(link).ok());
            let host = link.as_ref().or(self.base.as_deref()).and_then(Url::host_str);
            Region::of(self.about.language, host)
        })
    }

    fn finish(mut self, text: &'t str, base: Option<&Url>) -> Result<Document<'t>, Error> {
        self.shared.budget.check()?;
        let format = match self.root {
            Root::Feed(format) => format,
            // items without a feed around them: a piece of one, if they hold what items hold
            Root::None | Root::Unknown if self.holds_news() => {
                if self.entries.is_empty() {
                    Format::Rss20
                } else {
                    self.guessed()
                }
            }
            Root::None | Root::Unknown | Root::Html => return Err(detect::not_a_feed(text, base)),
        };
        if self.xml.truncated {
            self.warnings.push(Warning::Truncated);
        } else if self.xml.damaged {
            self.warnings.push(Warning::Damaged);
        }
        let update_period = self.about.update_period();
        let base = Base { url: self.base.as_deref(), budget: &self.shared.budget };
        let link = self.about.link.and_then(|link| absolute_value(link, base, &self.shared.entities));
        let link = link.map(std::borrow::Cow::into_owned);
        let atom = matches!(format, Format::Atom03 | Format::Atom10);
        self.shared.format.set(format);
        // each is set once, here
        let _ = self.shared.children.set(self.children);
        let _ = self.shared.authors.set(if atom { self.about.authors } else { Vec::new() });
        Ok(Document {
            format,
            encoding: "",
            title: self.about.title,
            link,
            update_period,
            entries: self.entries,
            warnings: self.warnings,
            budget: self.shared.budget.clone(),
        })
    }

    fn holds_news(&self) -> bool {
        self.entries.iter().any(|entry| {
            // one that is known was news before
            let Some(facts) = entry.facts() else { return true };
            facts.title.is_some() && (facts.link.is_some() || facts.id.is_some() || facts.time.is_some())
        })
    }

    fn guessed(&self) -> Format {
        if self.item.ends_with("entry") { Format::Atom10 } else { Format::Rss20 }
    }
}

impl About<'_> {
    fn update_period(&self) -> Option<Duration> {
        let none = Entities::none();
        let text = |raw: &str| text::value(raw, Tags::Drop, &none).to_ascii_lowercase();
        let number = |raw: &str| text(raw).parse::<u32>().ok().filter(|&n| n > 0);
        if let Some(minutes) = self.ttl.and_then(number) {
            return Some(Duration::from_secs(u64::from(minutes) * 60));
        }
        let hours = match text(self.period?).as_str() {
            "hourly" => 1,
            "daily" => 24,
            "weekly" => 24 * 7,
            "monthly" => 24 * 30,
            "yearly" => 24 * 365,
            _ => return None,
        };
        Some(Duration::from_secs(hours * 3600) / self.frequency.and_then(number).unwrap_or(1))
    }
}

/// Where the last [`MAX_ENTRIES`] of the document's entries begin, if there are so many.
fn newest_at_end(text: &str, item: &str) -> Option<usize> {
    let tag = format!("<{item}");
    let is_tag = |at: &usize| {
        text.as_bytes().get(at + tag.len()).is_some_and(|next| next.is_ascii_whitespace() || b"/>".contains(next))
    };
    memmem::rfind_iter(text.as_bytes(), tag.as_bytes()).filter(is_tag).nth(MAX_ENTRIES - 1)
}

/// The format that a root element tells of.
fn format(local: &str, attributes: &str) -> Option<Format> {
    let version = attribute(attributes, "version").unwrap_or_default().trim();
    Some(match local.to_ascii_lowercase().as_str() {
        "rss" | "channel" => match version {
            "0.90" | "0.9" => Format::Rss090,
            "0.91" => Format::Rss091,
            "0.92" | "0.93" | "0.94" => Format::Rss092,
            "1.0" => Format::Rss10,
            _ => Format::Rss20,
        },
        "rdf" if attributes.contains("netscape.com/rdf/simple/0.9") => Format::Rss090,
        "rdf" => Format::Rss10,
        "feed" if version == "0.3" || attributes.contains("purl.org/atom/ns") => Format::Atom03,
        "feed" => Format::Atom10,
        _ => return None,
    })
}
