//! Every integration test, as one program: real sockets, a real disk, the real binary.

#![allow(unreachable_pub, missing_docs, reason = "a test binary has no outside")]

#[path = "../support/mod.rs"]
mod support;

mod arrivals;
mod cli;
mod clock;
mod config;
mod config_pages;
mod corpus;
mod crashed;
mod crowd;
mod daemon;
mod damage;
mod delivery;
mod discord_fake;
mod disk_faults;
mod ends;
mod enrich;
mod fetch;
mod few_files;
mod hostile_text;
mod memory;
mod names;
mod new;
mod pages;
mod panic;
mod presets;
mod reading;
mod reload;
mod stdout;
mod store;
mod systemd;
mod waits;
mod web;
