//! What goes well and what does not: counters, outages, and the report that `/health` answers.

pub mod body;
mod clock;
pub mod counters;
mod destination;
pub mod event;
pub mod limits;
pub mod outage;
pub mod report;
mod source;
pub mod state;
mod verdict;
