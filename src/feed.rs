//! Feeds: bytes and hints in, a document out. Pure: no clock, no I/O.
//!
//! RSS 0.90 to 2.0, RDF, Atom 0.3 and 1.0, JSON Feed, as they are found rather than as they should be.
//! The work goes in steps, so that a poll pays only for what is new: [`decode`] finds the encoding and
//! borrows where the bytes already are UTF-8; [`read`] finds the entries; [`Entry::facts`] tells what
//! identity needs to know; [`Entry::item`] reads the rest of one entry. [`parse`] does all of it at once.

use std::{borrow::Cow, fmt, rc::Rc, time::Duration};

use encoding_rs::Encoding;
use serde::{Serialize, Serializer};
use url::Url;

use budget::Budget;
pub use recall::Span;

use crate::{
    identity::Facts,
    model::{ErrorKind, Item},
};

mod attribute;
pub(crate) mod budget;
mod construct;
pub mod date;
pub(crate) mod detect;
mod encoding;
mod entity;
mod entry;
pub(crate) mod fold;
mod json;
pub(crate) mod link;
mod markup;
mod media;
mod names;
pub(crate) mod picture;
mod recall;
pub(crate) mod text;
mod xml;

/// Changes whenever the same bytes may give other ids, links or dates than before: what was remembered of a
/// document is then not to be relied on.
pub const PARSER_VERSION: u32 = 4;

/// What is known of a document beside its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hints<'a> {
    /// The Content-Type of the answer.
    pub content_type: Option<&'a str>,
    /// The URL it came from: what relative links are relative to.
    pub base: Option<&'a Url>,
    /// The encoding, whatever the document says.
    pub encoding: Option<&'static Encoding>,
}

/// A document as text.
#[derive(Debug)]
pub struct Text<'a> {
    /// The text; borrowed where the bytes were UTF-8.
    pub text: Cow<'a, str>,
    /// The encoding's name, as the WHATWG list writes it.
    pub encoding: &'static str,
    /// What was found wrong on the way.
    pub warnings: Vec<Warning>,
}

/// What kind of feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RSS 0.90, in RDF.
    Rss090,
    /// RSS 0.91.
    Rss091,
    /// RSS 0.92 and 0.93.
    Rss092,
    /// RSS 1.0, in RDF.
    Rss10,
    /// RSS 2.0, and RSS that does not say which.
    Rss20,
    /// Atom 0.3.
    Atom03,
    /// Atom 1.0.
    Atom10,
    /// JSON Feed 1.0.
    Json10,
    /// JSON Feed 1.1.
    Json11,
    /// Channel Definition Format.
    Cdf,
}

impl Format {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rss090 => "rss0.90",
            Self::Rss091 => "rss0.91",
            Self::Rss092 => "rss0.92",
            Self::Rss10 => "rss1.0",
            Self::Rss20 => "rss2.0",
            Self::Atom03 => "atom0.3",
            Self::Atom10 => "atom1.0",
            Self::Json10 => "json1.0",
            Self::Json11 => "json1.1",
            Self::Cdf => "cdf",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What was wrong with a document that could be read all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// The document ends before it is complete.
    Truncated,
    /// Tags that do not fit together.
    Damaged,
    /// Bytes that are not valid in the document's encoding.
    InvalidBytes,
    /// More entries than are read.
    TooManyEntries,
    /// A date that no feed can mean.
    AbsurdDate,
    /// A date that could not be read.
    UnknownDate,
    /// A date with a field beyond its range, carried over.
    OddDate,
    /// A date in a zone whose name is not known, read as UTC.
    UnknownZone,
    /// A base that is too long to be joined to every link.
    LongBase,
    /// A link that its base makes too long.
    LongLink,
}

impl Warning {
    /// What it means, for a person, and what there is to do about it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Truncated => "it ends before it is complete; what came before was read",
            Self::Damaged => "tags that do not fit together were passed over",
            Self::InvalidBytes => {
                "bytes that are not valid in its encoding became U+FFFD; set `encoding` of the source to the right one"
            }
            Self::TooManyEntries => "it has more than 5000 entries; only the newest by its order were read",
            Self::AbsurdDate => "a date that cannot be meant was left out",
            Self::UnknownDate => "a date that could not be read was left out",
            Self::OddDate => "a date has a field beyond its range, which was carried over or corrected",
            Self::UnknownZone => "a date names a time zone that is not known, and was read as UTC",
            Self::LongBase => "a base of its links is longer than 2 KiB and was ignored",
            Self::LongLink => "a link that its base makes longer than 2 KiB was left out",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "truncated",
            Self::Damaged => "damaged",
            Self::InvalidBytes => "invalid_bytes",
            Self::TooManyEntries => "too_many_entries",
            Self::AbsurdDate => "absurd_date",
            Self::UnknownDate => "unknown_date",
            Self::OddDate => "odd_date",
            Self::UnknownZone => "unknown_zone",
            Self::LongBase => "long_base",
            Self::LongLink => "long_link",
        })
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a document could not be read as a feed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is something else; the message says what.
    #[error("{0}")]
    NotAFeed(String),
    /// A feed so damaged that nothing could be recovered.
    #[error("{0}")]
    Malformed(String),
    /// The text's encoding could not be read.
    #[error("{0}")]
    Encoding(String),
    /// Larger than is read.
    #[error("{0}")]
    TooLarge(String),
}

impl Error {
    /// The kind, as health and log know it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAFeed(_) => ErrorKind::NotAFeed,
            Self::Malformed(_) => ErrorKind::Malformed,
            Self::Encoding(_) => ErrorKind::Encoding,
            Self::TooLarge(_) => ErrorKind::TooLarge,
        }
    }
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Error", 2)?;
        out.serialize_field("kind", &self.kind())?;
        out.serialize_field("message", &self.to_string())?;
        out.end()
    }
}

/// A document of more bytes than this is refused.
pub const LARGEST: usize = 256 << 20;

/// Entries read of one document: of more, the newest by its order.
pub const MAX_ENTRIES: usize = 5_000;

/// Finds the encoding and decodes.
///
/// # Errors
/// [`Error::NotAFeed`] where there is nothing but white space, [`Error::TooLarge`] beyond [`LARGEST`].
pub fn decode<'a>(bytes: &'a [u8], hints: &Hints<'_>) -> Result<Text<'a>, Error> {
    if bytes.len() > LARGEST {
        return Err(Error::TooLarge(format!("{} bytes; at most {LARGEST} are read", bytes.len())));
    }
    let marked = Encoding::for_bom(bytes).map_or(0, |(_, mark)| mark);
    if bytes[marked..].iter().all(|b| b.is_ascii_whitespace() || *b == 0) {
        return Err(Error::NotAFeed("the document is empty".into()));
    }
    Ok(detect::unwrapped(encoding::decode(bytes, hints)))
}

/// Finds the feed and its entries.
///
/// # Errors
/// [`Error::NotAFeed`] with what it is instead.
pub fn read<'t>(text: &'t Text<'_>, hints: &Hints<'_>) -> Result<Document<'t>, Error> {
    read_again(text, hints, &[])
}

/// The same for a feed that was read before: entries whose bytes are among those of `known`, the
/// [`Entry::span`]s of the last document, are passed over, and tell only which they are ([`Entry::known`]).
///
/// # Errors
/// [`Error::NotAFeed`] with what it is instead.
pub fn read_again<'t>(text: &'t Text<'_>, hints: &Hints<'_>, known: &[Span]) -> Result<Document<'t>, Error> {
    read_with(text, hints, Some(known))
}

/// The same; `None` where no entry is going to be looked for again, so that nothing is remembered of them.
fn read_with<'t>(text: &'t Text<'_>, hints: &Hints<'_>, known: Option<&[Span]>) -> Result<Document<'t>, Error> {
    let body = text.text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0');
    let mut document = match json::read(body, hints) {
        Some(document) => document?,
        None => markup::read(&text.text, hints, known)?,
    };
    document.encoding = text.encoding;
    document.warnings.extend_from_slice(&text.warnings);
    document.complete_warnings();
    Ok(document)
}

/// A feed.
#[derive(Debug)]
pub struct Document<'t> {
    /// What kind of feed.
    pub format: Format,
    /// The encoding's name.
    pub encoding: &'static str,
    /// Plain text.
    pub title: Option<String>,
    /// The site that the feed belongs to.
    pub link: Option<String>,
    /// How often the feed says that it changes. Advice only.
    pub update_period: Option<Duration>,
    /// In the document's order.
    pub entries: Vec<Entry<'t>>,
    /// Each once.
    pub warnings: Vec<Warning>,
    budget: Rc<Budget>,
}

impl Document<'_> {
    /// Takes up what was met while entries were read into items.
    pub fn complete_warnings(&mut self) {
        self.warnings.extend(self.budget.met_long_base().then_some(Warning::LongBase));
        self.warnings.extend(self.budget.met_long_link().then_some(Warning::LongLink));
        self.warnings.sort_unstable();
        self.warnings.dedup();
    }
}

/// One entry, read as far as its identity.
#[derive(Debug)]
pub struct Entry<'t> {
    span: Span,
    content: Content<'t>,
}

#[derive(Debug)]
enum Content<'t> {
    Markup(entry::Markup<'t>),
    Ready(Box<Item>),
    /// An entry of the last document, by its place there.
    Known(usize),
}

impl Entry<'_> {
    /// Which entry of the last document has the same bytes, if one has: then it was not read again.
    pub fn known(&self) -> Option<usize> {
        match self.content {
            Content::Known(index) => Some(index),
            Content::Markup(_) | Content::Ready(_) => None,
        }
    }

    /// What to know the entry by in the next document.
    pub fn span(&self) -> Span {
        self.span
    }

    /// What identity needs, unless the entry was not read. Costs nothing: it was read already.
    pub fn facts(&self) -> Option<Facts<'_>> {
        Some(match &self.content {
            Content::Known(_) => return None,
            Content::Markup(markup) => markup.facts(),
            Content::Ready(item) => Facts::from(&**item),
        })
    }

    /// The whole item, as it is shown and delivered, unless the entry was not read. Reads the entry's content, which
    /// is the costly part.
    ///
    /// Where the document leaves the link out, it is taken from where one may stand beside it (`rdf:about`), and a
    /// missing title likewise (`media:title`).
    ///
    /// # Errors
    /// [`Error::TooLarge`] where the items of the document come to more than it says.
    pub fn item(&self) -> Result<Option<Item>, Error> {
        match &self.content {
            Content::Known(_) => Ok(None),
            Content::Markup(markup) => markup.item().map(Some),
            Content::Ready(item) => Ok(Some(Item::clone(item))),
        }
    }

    fn into_item(self) -> Result<Option<Item>, Error> {
        match self.content {
            Content::Ready(item) => Ok(Some(*item)),
            Content::Known(_) | Content::Markup(_) => self.item(),
        }
    }
}

/// A feed with all its items, on its own: the shape that `parse --json` prints.
#[derive(Debug, Serialize)]
pub struct OwnedDocument {
    /// What kind of feed.
    pub format: Format,
    /// The encoding's name, lowercase.
    pub encoding: String,
    /// Plain text.
    pub title: Option<String>,
    /// The site that the feed belongs to.
    pub link: Option<String>,
    /// How often the feed says that it changes. Advice only.
    #[serde(skip)]
    pub update_period: Option<Duration>,
    /// In the document's order.
    pub items: Vec<Item>,
    /// Each once.
    pub warnings: Vec<Warning>,
}

/// Reads a whole document.
///
/// # Errors
/// Those of [`decode`] and [`read`].
pub fn parse(bytes: &[u8], hints: &Hints<'_>) -> Result<OwnedDocument, Error> {
    let text = decode(bytes, hints)?;
    let mut document = read_with(&text, hints, None)?;
    let entries = std::mem::take(&mut document.entries);
    let items = entries.into_iter().filter_map(|entry| entry.into_item().transpose()).collect::<Result<_, _>>()?;
    document.complete_warnings();
    Ok(OwnedDocument {
        format: document.format,
        encoding: document.encoding.to_ascii_lowercase(),
        title: document.title,
        link: document.link,
        update_period: document.update_period,
        items,
        warnings: document.warnings,
    })
}

#[cfg(test)]
mod tests;
