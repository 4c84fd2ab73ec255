//! Pages and JSON as sources: bytes and rules in, items out. Pure: no clock, no I/O, no script is ever run.
//!
//! | step | where |
//! | --- | --- |
//! | what the configuration says is to be taken | [`rules`] |
//! | bytes to text | `encoding` |
//! | text to a document tree of bounded size | [`dom`] |
//!
//! A page is somebody else's, and changes when they like. Rules that no longer fit are an error
//! ([`Error::Selector`]), never an empty list.

pub mod discover;
pub mod dom;
pub mod encoding;
pub mod propose;
pub mod rules;

use crate::model::ErrorKind;

/// Why a page or JSON gave no items.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The rules do not fit the document: nothing matched, or what is needed is missing in most items.
    #[error("{0}")]
    Selector(String),
    /// The document is not what its kind says: no JSON, for one.
    #[error("{0}")]
    Malformed(String),
    /// More elements, deeper, or more values than are read.
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

/// Whether the time that reading may take is over. Asked now and then while selectors are matched, for
/// which no other bound holds.
pub type Expired<'a> = &'a dyn Fn() -> bool;
