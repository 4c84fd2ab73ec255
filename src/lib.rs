//! kawaraban: watches news sources and delivers each new item to its destinations.
//!
//! | module | is |
//! | --- | --- |
//! | [`model`] | the words everything else is written in |
//! | [`config`] | the configuration, checked |
//! | [`resilience`] | breaker and backoff, pure |
//! | [`feed`] | bytes to entries, pure |
//! | [`page`] | pages and JSON to items, pure |
//! | [`identity`] | keys of an item, order, newness, pure |
//! | [`memory`] | what polls may hold at a time, and who held much when the process died |
//! | [`fetch`] | one HTTP attempt, from resolving to the last byte |
//! | [`store`] | what survives a restart |
//! | [`delivery`] | items to destinations: rendering, rate limits, what an answer means |
//! | [`health`] | what goes well and what does not, pure |
//! | [`actors`] | thin shells around the above: Supervisor, sources, deliveries, health |
//! | [`web`] | the HTTP routes |
//! | [`cli`], [`app`] | commands, and who is wired to whom |

pub mod actors;
pub mod app;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod feed;
pub mod fetch;
pub mod health;
pub mod identity;
pub mod memory;
pub mod model;
pub mod page;
pub mod poll;
pub mod resilience;
pub mod store;
pub mod web;
