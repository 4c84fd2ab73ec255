//! Reads the clocks. What is decided by them is decided elsewhere.

use std::{sync::OnceLock, time::Instant};

use jiff::Timestamp;

use crate::model::Moment;

/// Now. The steady clock begins with the process.
pub fn now() -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    Moment { steady: START.get_or_init(Instant::now).elapsed(), wall: Timestamp::now() }
}
