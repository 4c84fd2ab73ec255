//! The actors: thin shells that read a clock, do the I/O, and feed what came of it to pure state.
//!
//! An actor imports no other actor's module, only [`messages`]; who is wired to whom is the
//! business of the Supervisor and of the app.

pub mod arrivals;
pub mod articles;
pub mod clock;
pub mod death_watch;
pub mod delivery;
pub mod enrich;
pub mod health;
pub mod limits;
pub mod messages;
pub mod source;
pub mod supervisor;
