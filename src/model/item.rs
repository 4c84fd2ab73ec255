//! One news item, as every kind of source yields it and every destination receives it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The first second of the year 1, which programs write where nobody set a date. An item keeps it as the document
/// has it; it is no time to go by.
pub const UNSET: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// One entry of a source. Its JSON form is that of `parse --json` (contract, section 6).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The document's own guid or id.
    pub id: Option<String>,
    /// Plain text: tags stripped, entities decoded once, white space folded.
    pub title: Option<String>,
    /// Absolute where a base is known.
    pub link: Option<String>,
    /// When it was first published, UTC.
    pub published: Option<Timestamp>,
    /// When it was last changed, UTC.
    pub updated: Option<Timestamp>,
    /// Plain text.
    pub summary: Option<String>,
    /// HTML as the source gave it: hostile until proven otherwise.
    pub content_html: Option<String>,
    /// Names of the authors.
    pub authors: Vec<String>,
    /// Categories, tags, topics.
    pub categories: Vec<String>,
    /// URL of an image that stands for the item.
    pub image: Option<String>,
    /// Attached files.
    pub enclosures: Vec<Enclosure>,
    /// Further fields by name (torrent data, a page's own fields), for templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

impl Item {
    /// The time that the item is ordered by: published, else updated; none where nobody set one.
    pub fn time(&self) -> Option<Timestamp> {
        self.published.filter(|at| *at != UNSET).or(self.updated)
    }

    /// Bytes of all its texts.
    pub fn text_bytes(&self) -> usize {
        let texts = [&self.id, &self.title, &self.link, &self.summary, &self.content_html, &self.image];
        let lists = [&self.authors, &self.categories];
        texts.into_iter().flatten().map(String::len).sum::<usize>()
            + lists.into_iter().flatten().map(String::len).sum::<usize>()
            + self.enclosures.iter().map(|file| file.url.len()).sum::<usize>()
            + self.extra.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// A file attached to an item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// Absolute where a base is known.
    pub url: String,
    /// Media type.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
    /// Bytes.
    pub length: Option<u64>,
}
