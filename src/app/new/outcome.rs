//! What `new` is asked, and what it answers: the shape of `--json`.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use url::Url;

use crate::{
    model::{ErrorKind, Item, Line, Name},
    page::discover::Found,
};

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Order {
    /// What to look at.
    pub url: Url,
    /// As what, whatever it seems to be.
    pub kind: Option<Kind>,
    /// Whether addresses that are not global may be asked.
    pub private: bool,
}

/// How a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// As a feed.
    Feed,
    /// As a page, by selectors.
    Html,
    /// As JSON, by paths.
    Json,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// What was looked at.
    #[serde(serialize_with = "in_full")]
    pub url: Url,
    /// What it is, in words.
    pub seen: String,
    /// Why it could not be fetched.
    pub error_kind: Option<ErrorKind>,
    /// What may be its feeds.
    pub candidates: Vec<Candidate>,
    /// The best.
    pub chosen: Option<Chosen>,
    /// The `[[source]]` for it.
    pub toml: Option<String>,
    /// The configured source that watches it already.
    pub watched_by: Option<Name>,
    /// What it yields now, in the document's order.
    pub items: Vec<Item>,
    /// What could not be had, and other things worth knowing.
    pub notes: Vec<String>,
}

/// An address that was asked.
#[derive(Debug, Serialize)]
pub struct Candidate {
    /// Where.
    #[serde(serialize_with = "in_full")]
    pub url: Url,
    /// Why there.
    pub found: Found,
    /// What its page calls it.
    pub title: Option<String>,
    /// The feed there, if it is one.
    pub feed: Option<FeedFacts>,
    /// Why it is none.
    pub error_kind: Option<ErrorKind>,
    /// The same in words.
    pub message: Option<Line>,
}

/// What a feed is worth.
#[derive(Debug, Serialize)]
pub struct FeedFacts {
    /// Its format.
    pub format: &'static str,
    /// Its title.
    pub title: Option<String>,
    /// Items in it.
    pub items: usize,
    /// Items with a date.
    pub with_dates: usize,
    /// Items with an id or a link.
    pub with_ids: usize,
    /// The newest date.
    pub newest: Option<Timestamp>,
    /// It is about what readers say.
    pub comments: bool,
    /// All that in words.
    #[serde(skip)]
    pub words: String,
}

/// The best of it.
#[derive(Debug, Serialize)]
pub struct Chosen {
    /// How it is read.
    pub kind: Kind,
    /// Where.
    #[serde(serialize_with = "in_full")]
    pub url: Url,
    /// Why.
    pub reason: String,
}

fn in_full<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.as_str())
}
