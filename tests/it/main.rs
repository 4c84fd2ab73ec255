//! Every integration test, as one program.

mod cli;
mod config;
