//! Every integration test, as one program: real sockets, a real disk, the real binary.

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod config;
mod corpus;
mod daemon;
mod fetch;
