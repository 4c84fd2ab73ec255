//! The words everything else is written in: items, error kinds, names, secrets, URLs fit to be shown.
//!
//! Nothing here knows a clock, a socket or an actor.

pub mod error;
pub mod item;
pub mod line;
pub mod matched;
pub mod millis;
pub mod moment;
pub mod name;
pub mod redact;
pub mod secret;

pub use error::{DeliveryError, ErrorKind, Failure};
pub use item::{Enclosure, Item};
pub use line::Line;
pub use matched::Matched;
pub use moment::Moment;
pub use name::Name;
pub use redact::RedactedUrl;
pub use secret::Secret;
