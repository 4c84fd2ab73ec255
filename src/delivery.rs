//! Items to destinations: what is sent, how fast, and what an answer means. Pure, but for [`stdout`].
//!
//! The [`courier`] is the state machine of one destination; [`rate_limit`] and, for a whole host, [`governor`] say
//! when a request may go out; [`response`] says what an answer means; the rest is what the wire sees.

pub mod courier;
pub mod embed;
pub mod governor;
pub mod leases;
pub mod markdown;
pub mod progress;
pub mod rate_limit;
pub mod request;
pub mod response;
pub mod stdout;
pub mod wait;

use crate::{
    config::{Destination, DestinationKind},
    model::line::escaped_json,
    store::Delivery,
};

/// An item as one destination would get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The exact body.
    pub json: String,
    /// As it would look, for a terminal.
    pub text: String,
}

/// What `destination` would be sent for `delivery`, in its source's colour.
pub fn render(destination: &Destination, delivery: &Delivery, color: Option<u32>) -> Rendered {
    match &destination.kind {
        DestinationKind::Discord { .. } => {
            let message = embed::message(delivery, color);
            Rendered { text: embed::shown(&message), json: to_json(&message) }
        }
        DestinationKind::Webhook { .. } | DestinationKind::Stdout => {
            let json = to_json(delivery);
            Rendered { text: json.clone(), json }
        }
    }
}

/// JSON of our own plain types, which cannot fail; safe to print to a terminal.
fn to_json(value: &impl serde::Serialize) -> String {
    escaped_json(&serde_json::to_string(value).unwrap_or_default()).into_owned()
}
