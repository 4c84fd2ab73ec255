//! How well rules fitted a document: what tells a page that changed from one that has nothing new.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts of one reading of a page or of JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matched {
    /// Places that were items.
    pub items: usize,
    /// For each configured field, the items that had it.
    pub fields: BTreeMap<String, usize>,
}

impl Matched {
    /// Whether most items had the field.
    pub fn most(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|has| has * 2 > self.items)
    }
}
