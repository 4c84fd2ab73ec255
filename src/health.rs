//! What goes well and what does not: counters per source and per error kind, and what follows from them.
//!
//! Pure: the actor around it reads the clock.

pub mod report;
