//! What goes well and what does not: counters, outages, and the report that `/health` answers.

pub mod body;
pub mod counters;
pub mod event;
pub mod limits;
pub mod outage;
pub mod report;
pub mod source;
pub mod state;
pub mod verdict;
