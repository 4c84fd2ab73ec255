//! Pages and JSON as sources: bytes and rules in, items out. Pure: no clock, no I/O, no script is ever run.
//!
//! | step | where |
//! | --- | --- |
//! | what the configuration says is to be taken | [`rules`] |
//! | bytes to text | `encoding` |
//! | text to a document tree of bounded size | [`dom`] |
//! | places that are items | [`html`], [`json`] |
//! | what a field gives there | [`field`] |
//! | what an element says: words, moments, addresses | [`text`], [`time`], [`image`] |
//! | what an item's own page adds | [`article`]: `metadata`, `linked_data` |
//! | for `new`: a page's feeds; rules for a page that has none | [`discover`], [`propose`] |
//!
//! A page is somebody else's, and changes when they like. Rules that no longer fit are an error
//! ([`Error::Selector`]), never an empty list.

pub mod article;
pub mod discover;
pub mod dom;
pub mod encoding;
mod extract;
pub mod field;
pub mod html;
pub mod image;
pub mod json;
mod linked_data;
mod metadata;
pub mod propose;
pub mod rules;
pub mod text;
pub mod time;

use encoding_rs::Encoding;
use url::Url;

use crate::model::{ErrorKind, Item, Matched};

/// Changes whenever the same bytes and rules may give other items than before.
pub const VERSION: u32 = 1;

/// Why a page or JSON gave no items.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The rules do not fit the document: nothing matched, or what is needed is missing in most items.
    #[error("{0}")]
    Selector(String),
    /// The document is not what its kind says: no JSON, for one.
    #[error("{0}")]
    Malformed(String),
    /// More elements, deeper, or more values than are read, or a text that takes too long to read.
    #[error("{0}")]
    TooLarge(String),
}

impl Error {
    /// The kind, as health and log know it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Selector(_) => ErrorKind::Selector,
            Self::Malformed(_) => ErrorKind::Malformed,
            Self::TooLarge(_) => ErrorKind::TooLarge,
        }
    }
}

/// Whether the time that reading may take is over. Asked now and then while a page is parsed and selectors are
/// matched, for which no other bound holds.
pub type Expired<'a> = &'a dyn Fn() -> bool;

/// What is known of a document beside its bytes.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The Content-Type of the answer.
    pub content_type: Option<&'a str>,
    /// The encoding, whatever the document says.
    pub encoding: Option<&'static Encoding>,
    /// Where it came from in the end.
    pub url: &'a Url,
    /// Whether a document without items is as it should be.
    pub may_be_empty: bool,
    /// What the same rules gave when they last fitted.
    pub before: Option<&'a Matched>,
    /// When to give up.
    pub expired: Expired<'a>,
}

/// What was read of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extract {
    /// In the document's order, each with a title.
    pub items: Vec<Item>,
    /// How well the rules fitted.
    pub matched: Matched,
    /// What was passed over, for the operator.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests;
