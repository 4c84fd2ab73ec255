//! What a stored document changes in its source's record: which destinations know the source, and whether it
//! flooded.

use serde::{Deserialize, Serialize};

use super::{Ingested, SourceRecord};
use crate::{
    config::{Backfill, Source},
    model::Name,
};

/// New items of one poll that were too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Items marked seen, and not delivered.
    pub held: u64,
    /// Of so many.
    pub of: u64,
}

impl SourceRecord {
    /// Destinations that get the newest items of the source with its next document, for they are new to it.
    pub fn due_backfills<'s>(&'s self, source: &'s Source) -> impl Iterator<Item = (Name, Backfill)> + 's {
        source.backfill_to.iter().filter(|(name, _)| self.is_new_to(name)).cloned()
    }

    /// Destinations of a known source that never had anything of it.
    pub fn new_destinations<'s>(&'s self, source: &'s Source) -> impl Iterator<Item = &'s Name> {
        source.to.iter().filter(|name| self.is_new_to(name))
    }

    /// No destination is new to a source that has yet to be polled, nor to one of an earlier version, which did
    /// not note them.
    fn is_new_to(&self, destination: &Name) -> bool {
        self.destinations.as_ref().is_some_and(|known| !known.iter().any(|name| name == destination.as_str()))
    }

    /// Takes over the destinations that the stored record names: its answer may not have reached the source.
    pub(super) fn keep_destinations(&mut self, stored: Option<Vec<String>>) {
        let count = |names: &Option<Vec<String>>| names.as_ref().map_or(0, Vec::len);
        if count(&stored) > count(&self.destinations) {
            self.destinations = stored;
        }
    }

    /// A document was stored with this record.
    pub fn stored(&mut self, source: &Source, ingested: &Ingested) {
        let all = self.destinations.is_none() || ingested.accepted > 0;
        let due: Vec<Name> = self.due_backfills(source).map(|(name, _)| name).collect();
        let known = self.destinations.get_or_insert_default();
        for name in &source.to {
            if (all || due.contains(name)) && !known.iter().any(|known| known == name.as_str()) {
                known.push(name.to_string());
            }
        }
        let Ingested { held, accepted, .. } = *ingested;
        self.held = (held > 0).then_some(Held { held, of: held + accepted });
    }
}
