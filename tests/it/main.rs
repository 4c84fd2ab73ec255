//! Integration tests: everything over real sockets on loopback.

#[path = "../support/mod.rs"]
mod support;

mod fetch;
