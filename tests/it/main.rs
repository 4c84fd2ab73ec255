//! Every integration test, as one program.

mod config;
