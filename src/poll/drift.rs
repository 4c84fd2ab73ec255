//! Rules that no longer fit a page: what they gave when they did.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::model::{ErrorKind, Failure, Matched};

/// The failure with what the rules gave at the last good poll, `at`, where that is known and of concern.
pub fn told(mut failure: Failure, before: Option<&Matched>, at: Option<Timestamp>) -> Failure {
    let Some(before) = before.filter(|_| failure.kind == ErrorKind::Selector) else { return failure };
    let when = at.map_or(String::new(), |at| format!(", {at:.0}"));
    let _ = write!(failure.message, "; at the last good poll{when}: {} items", before.items);
    for (n, (field, count)) in before.fields.iter().enumerate() {
        let _ = write!(failure.message, "{} {count} with {field}", if n == 0 { "," } else { " and" });
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_that_fails_tells_what_it_gave_before() {
        let before =
            Matched { items: 50, fields: [("link".to_owned(), 49), ("title".to_owned(), 50)].into_iter().collect() };
        let at = Timestamp::from_second(1_767_993_240).ok();
        let drifted = Failure::fatal(ErrorKind::Selector, "\"h3\" matches nothing");
        assert_eq!(
            told(drifted.clone(), Some(&before), at).message,
            "\"h3\" matches nothing; at the last good poll, 2026-01-09T21:14:00Z: 50 items, 49 with link and 50 with title"
        );
        assert_eq!(told(drifted.clone(), None, at), drifted);
        let reset = Failure::transient(ErrorKind::ConnectionReset, "reset");
        assert_eq!(told(reset.clone(), Some(&before), at), reset);
    }
}
