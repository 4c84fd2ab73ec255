//! Pure state machines that decide when to try again: breaker, backoff, jitter.
//!
//! Time and randomness come in as arguments; what is to be done comes out as a value.

pub mod backoff;
pub mod breaker;
