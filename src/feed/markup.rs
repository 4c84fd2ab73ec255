//! RSS, RDF and Atom: from text to entries.
//!
//! One walk reads them all, since real documents mix them: what an element means depends on its name and
//! on whether it stands in an item, not on the root.

use std::{rc::Rc, time::Duration};

use url::Url;

use super::{
    Content, Document, Entry, Error, Format, Hints, MOST_ENTRIES, Warning, detect,
    entry::{Child, Markup, absolute},
    names::{Prefixes, Space, Tag, tag},
    text::{self, Tags},
    xml::{Piece, Xml, attribute},
};

/// Children remembered of one entry.
const MOST_CHILDREN: usize = 2_000;

pub(super) fn read<'t>(text: &'t str, hints: &Hints<'_>) -> Result<Document<'t>, Error> {
    let mut walk = Walk {
        xml: Xml::new(text),
        prefixes: Prefixes::default(),
        root: None,
        base: hints.base.cloned().map(Rc::new),
        entries: Vec::new(),
        title: None,
        link: None,
        link_rank: 0,
        ttl: None,
        period: None,
        frequency: None,
        warnings: Vec::new(),
    };
    walk.run();
    let Some(format) = walk.root else { return Err(detect::not_a_feed(text)) };
    if walk.xml.truncated {
        walk.warnings.push(Warning::Truncated);
    } else if walk.xml.damaged {
        walk.warnings.push(Warning::Damaged);
    }
    let update_period = walk.update_period();
    let link = walk.link.and_then(|link| absolute(link, walk.base.as_deref()));
    Ok(Document {
        format,
        encoding: "",
        title: walk.title,
        link,
        update_period,
        entries: walk.entries,
        warnings: walk.warnings,
    })
}

struct Walk<'t> {
    xml: Xml<'t>,
    prefixes: Prefixes<'t>,
    root: Option<Format>,
    base: Option<Rc<Url>>,
    entries: Vec<Entry<'t>>,
    title: Option<String>,
    link: Option<&'t str>,
    link_rank: u8,
    ttl: Option<&'t str>,
    period: Option<&'t str>,
    frequency: Option<&'t str>,
    warnings: Vec<Warning>,
}

impl<'t> Walk<'t> {
    fn run(&mut self) {
        let mut closed = false;
        loop {
            match self.xml.next() {
                Piece::Start { name, attributes, empty } => {
                    self.prefixes.declare(attributes);
                    let (space, local) = self.prefixes.resolve(name);
                    match tag(space, local) {
                        Tag::Item if self.root.is_some() || !empty => {
                            if self.root.is_none() {
                                self.root = Some(if local.eq_ignore_ascii_case("entry") {
                                    Format::Atom10
                                } else {
                                    Format::Rss20
                                });
                            }
                            self.entry(name, attributes, empty);
                        }
                        Tag::Container => {
                            closed = false;
                            self.root = self.root.or_else(|| format(local, attributes));
                            if let Some(base) = attribute(attributes, "xml:base") {
                                self.rebase(base);
                            }
                        }
                        _ if self.root.is_none() => {}
                        found => self.about(name, found, attributes, empty),
                    }
                }
                Piece::End(name) => {
                    let (_, local) = self.prefixes.resolve(name);
                    closed |= ["rss", "feed", "rdf"].iter().any(|root| local.eq_ignore_ascii_case(root));
                }
                Piece::Text(_) | Piece::DocType(_) => {}
                Piece::Eof => break,
            }
            if self.entries.len() >= MOST_ENTRIES {
                self.warnings.push(Warning::TooManyEntries);
                return;
            }
        }
        self.xml.truncated |= !closed;
    }

    fn rebase(&mut self, base: &str) {
        let joined = match &self.base {
            Some(known) => known.join(base.trim()).ok(),
            None => Url::parse(base.trim()).ok(),
        };
        if let Some(joined) = joined {
            self.base = Some(Rc::new(joined));
        }
    }

    /// An element that speaks of the whole feed.
    fn about(&mut self, name: &'t str, found: Tag, attributes: &'t str, empty: bool) {
        let body = if empty { "" } else { self.skip(name, found) };
        match found {
            Tag::Title if self.title.is_none() => {
                let title = super::entry::title(body, attributes);
                self.title = (!title.is_empty()).then_some(title);
            }
            Tag::Link => {
                let href = attribute(attributes, "href");
                let rank = match (href, attribute(attributes, "rel")) {
                    (None, _) => 3,
                    (Some(_), None | Some("alternate")) => 2,
                    (Some(_), Some("self")) => 0,
                    _ => 0,
                };
                let link = href.unwrap_or(body).trim();
                if rank > self.link_rank && !link.is_empty() {
                    self.link = Some(link);
                    self.link_rank = rank;
                }
            }
            Tag::Ttl => self.ttl = Some(body),
            Tag::UpdatePeriod => self.period = Some(body),
            Tag::UpdateFrequency => self.frequency = Some(body),
            _ => {}
        }
    }

    /// The element's span; one that holds items is entered instead.
    fn skip(&mut self, name: &'t str, found: Tag) -> &'t str {
        self.xml.element(name, "item", found.is_short())
    }

    fn entry(&mut self, name: &'t str, attributes: &'t str, empty: bool) {
        let mut base = self.base.clone();
        if let Some(own) = attribute(attributes, "xml:base") {
            let joined = match &base {
                Some(known) => known.join(own.trim()).ok(),
                None => Url::parse(own.trim()).ok(),
            };
            base = joined.map(Rc::new).or(base);
        }
        let mut children = Vec::with_capacity(16);
        let mut position = self.xml.position();
        while !empty {
            match self.xml.next() {
                Piece::Start { name: child, attributes, empty } => {
                    self.prefixes.declare(attributes);
                    let (space, local) = self.prefixes.resolve(child);
                    let found = tag(space, local);
                    if found == Tag::Item && (child == name || space == Space::Core) {
                        // the last item was never closed
                        self.xml.damaged = true;
                        self.xml.restart(position);
                        break;
                    }
                    let body = if empty { "" } else { self.xml.element(child, name, found.is_short()) };
                    if found != Tag::Other && children.len() < MOST_CHILDREN {
                        children.push(Child { tag: found, name: child, local, attributes, body });
                    }
                }
                Piece::End(end) if end == name => break,
                Piece::End(end) => {
                    let (space, local) = self.prefixes.resolve(end);
                    if matches!(tag(space, local), Tag::Container | Tag::Item) {
                        self.xml.damaged = true;
                        if tag(space, local) == Tag::Container {
                            self.xml.restart(position);
                        }
                        break;
                    }
                }
                Piece::Text(_) | Piece::DocType(_) => {}
                Piece::Eof => {
                    self.xml.truncated = true;
                    break;
                }
            }
            position = self.xml.position();
        }
        let markup = Markup::new(children, attributes, base, &mut self.warnings);
        self.entries.push(Entry(Content::Markup(markup)));
    }

    fn update_period(&self) -> Option<Duration> {
        if let Some(minutes) = self.ttl.and_then(|ttl| text::value(ttl, Tags::Drop).trim().parse::<u32>().ok()) {
            return (minutes > 0).then(|| Duration::from_secs(u64::from(minutes) * 60));
        }
        let hours = match text::value(self.period?, Tags::Drop).to_ascii_lowercase().as_str() {
            "hourly" => 1,
            "daily" => 24,
            "weekly" => 24 * 7,
            "monthly" => 24 * 30,
            "yearly" => 24 * 365,
            _ => return None,
        };
        let frequency = self.frequency.and_then(|f| text::value(f, Tags::Drop).parse::<u32>().ok()).unwrap_or(1).max(1);
        Some(Duration::from_secs(hours * 3600 / u64::from(frequency)))
    }
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
