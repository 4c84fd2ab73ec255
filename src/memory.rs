//! What polls may hold in memory over all sources, and which of them held much when the process died.

pub mod budget;
pub mod marks;
mod room;

pub use budget::Budget;
pub use marks::{Mark, Marks};
pub use room::{NoRoom, Room};

use crate::model::Name;

/// Who may be to blame for the end of a process.
#[derive(Debug, Default)]
pub struct Suspects {
    /// Where they are noted; none if the file cannot be written.
    pub marks: Option<Marks>,
    /// Those of the process before this one.
    pub crashed: Vec<(Name, Mark)>,
}
