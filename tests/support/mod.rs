//! Servers of our own making, for the tests and for the demonstration: nothing here leaves loopback.
#![allow(dead_code, reason = "each user of this code needs a part of it")]

pub mod client;
pub mod daemon;
pub mod discord;
pub mod disk;
pub mod farm;
pub mod names;
pub mod receiver;
pub mod shim;
pub mod wire;
