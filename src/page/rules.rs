//! What to take from a page or from JSON: `[source.html]`, `[source.json]` and `[source.enrich]` as values.
//!
//! A [`Rule`] is what the configuration calls a FIELD. It is the same for both kinds but for how it points
//! into the document: a CSS selector ([`Css`]) or a path ([`Path`]).

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::tz::TimeZone;
use regex::Regex;
use scraper::Selector;
use serde_json_path::JsonPath;

/// Where something stands in the configuration, for messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// `source[ann].html.items`
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}, column {})", self.key, self.line, self.column)
    }
}

/// Rules are compared by what `Debug` shows; a line that moved changes none of them.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

/// A CSS selector.
#[derive(Clone)]
pub struct Css {
    /// As written.
    pub text: String,
    /// Where.
    pub place: Place,
    /// Compiled.
    pub selector: Selector,
}

impl fmt::Debug for Css {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

/// A way into JSON.
#[derive(Clone)]
pub struct Path {
    /// As written.
    pub text: String,
    /// Where.
    pub place: Place,
    /// What it means.
    pub steps: Steps,
}

/// The two languages of a [`Path`].
#[derive(Clone)]
pub enum Steps {
    /// A JSON Pointer (RFC 6901): `/data/Page/media`; the empty one is the whole value.
    Pointer(String),
    /// JSONPath (RFC 9535): `$.data[*]`.
    Query(JsonPath),
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

/// A way into a document: a CSS selector or a path.
pub trait Point: fmt::Debug + Clone {
    /// As written.
    fn text(&self) -> &str;
    /// Where it stands in the configuration.
    fn place(&self) -> &Place;
}

impl Point for Css {
    fn text(&self) -> &str {
        &self.text
    }

    fn place(&self) -> &Place {
        &self.place
    }
}

impl Point for Path {
    fn text(&self) -> &str {
        &self.text
    }

    fn place(&self) -> &Place {
        &self.place
    }
}

/// A FIELD: where a text is found, and what is made of it.
#[derive(Debug, Clone)]
pub struct Rule<P> {
    /// Where it stands in the configuration.
    pub place: Place,
    /// Where the text comes from.
    pub take: Take<P>,
    /// Its first group, or the whole match, is what is kept; a text that it does not match is none.
    pub regex: Option<Regex>,
    /// A shorter text, in characters, is none: the next match is tried.
    pub min_length: usize,
    /// A longer text is cut to so many characters, the ellipsis included.
    pub max_length: Option<usize>,
    /// How a date is read; fields that are none have the default.
    pub date: DateRule<P>,
}

/// Where a field's text comes from.
#[derive(Debug, Clone)]
pub enum Take<P> {
    /// The first match that gives something.
    Pick(Pick<P>),
    /// Always this.
    Const(String),
    /// The first field that gives something.
    Any(Vec<Rule<P>>),
    /// What the fields give, those that give nothing left out, with `with` between them.
    Join {
        /// In this order.
        parts: Vec<Rule<P>>,
        /// A space, unless it is said.
        with: String,
    },
}

/// A selection within an item.
#[derive(Debug, Clone)]
pub struct Pick<P> {
    /// Below the item; none is the item itself (`:self`).
    pub select: Option<P>,
    /// What of the match; for JSON always the text.
    pub what: What,
}

/// What of an element is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// What the field commonly means: the address for `link` and `image`, the moment for `published`
    /// where the element has one in an attribute, else the text.
    Natural,
    /// The inner HTML: `attr = "html"`.
    Html,
    /// An attribute's value.
    Attribute(String),
}

/// How a date is read. The alternatives of [`Take::Any`] each have what is said of the whole, unless they
/// say otherwise themselves.
#[derive(Debug, Clone)]
pub struct DateRule<P> {
    /// strftime; none reads automatically.
    pub format: Option<String>,
    /// Of times that do not say theirs.
    pub zone: TimeZone,
    /// The text of the nearest preceding element that matches is put before the time.
    pub under: Option<P>,
}

impl<P> Default for DateRule<P> {
    fn default() -> Self {
        Self { format: None, zone: TimeZone::UTC, under: None }
    }
}

/// The fields of an item.
#[derive(Debug, Clone)]
pub struct Fields<P> {
    /// Required.
    pub title: Rule<P>,
    /// The item's address; most items have it where it is configured.
    pub link: Option<Rule<P>>,
    /// The item's own identity; most items have it where it is configured.
    pub id: Option<Rule<P>>,
    /// When.
    pub published: Option<Rule<P>>,
    /// Text; with `attr = "html"` also the item's HTML content.
    pub summary: Option<Rule<P>>,
    /// Address of an image.
    pub image: Option<Rule<P>>,
    /// Every match is one.
    pub author: Option<Rule<P>>,
    /// Every match is one.
    pub category: Option<Rule<P>>,
    /// Further fields by name.
    pub extra: BTreeMap<String, Rule<P>>,
}

/// `[source.html]`
#[derive(Debug, Clone)]
pub struct PageRules {
    /// Which elements are items.
    pub items: Items,
    /// What to take from each.
    pub fields: Fields<Css>,
}

/// Which elements of a page are items.
#[derive(Debug, Clone)]
pub enum Items {
    /// Each match is one.
    All(Css),
    /// After a heading.
    After {
        /// The heading: the first match…
        after: Css,
        /// …whose text matches.
        matching: Option<Regex>,
        /// Its following siblings, or what stands in them.
        select: Css,
        /// So many at most.
        first: Option<usize>,
    },
}

/// `[source.json]`
#[derive(Debug, Clone)]
pub struct JsonRules {
    /// Where the items are: an array (each element is one), or every node of a query.
    pub items: Path,
    /// What to take from each.
    pub fields: Fields<Path>,
    /// The JSON is the text of this element of an HTML page.
    pub embedded: Option<Css>,
}

/// `[source.enrich]`: what a new item's own page adds. What a field finds replaces what the list had; where
/// there is no field, what the list did not have is filled in from the page's metadata.
#[derive(Debug, Clone)]
pub struct Enrich {
    /// All visits of one poll together end within this time; the items go without what is missing then.
    pub timeout: Option<Duration>,
    /// An image, wherever it was found, is used only if a small request says that it is one.
    pub verify_image: bool,
    /// Address of an image.
    pub image: Option<Rule<Css>>,
    /// Text.
    pub summary: Option<Rule<Css>>,
    /// Every match is one.
    pub author: Option<Rule<Css>>,
    /// When.
    pub published: Option<Rule<Css>>,
    /// Address of a film, kept as the extra field `video`.
    pub video: Option<Rule<Css>>,
}
