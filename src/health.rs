//! What goes well and what does not: counters, outages, and the report that `/health` answers.

pub mod body;
pub mod book;
pub mod event;
pub mod ledger;
pub mod outage;
pub mod report;
