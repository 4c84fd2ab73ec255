//! Rules that no longer fit a page: what they gave when they did.

use jiff::Timestamp;

use crate::model::{ErrorKind, Failure, Matched};

/// The failure with what the rules gave at the last good poll, `at`, where that is known and of concern.
pub fn told(mut failure: Failure, before: Option<&Matched>, at: Option<Timestamp>) -> Failure {
    let Some(before) = before.filter(|_| failure.kind == ErrorKind::Selector) else { return failure };
    let when = at.map_or(String::new(), |at| format!(", {at:.0}"));
    let mut told = format!("; at the last good poll{when}: {} items", before.items);
    let (all, some): (Vec<_>, Vec<_>) = before.fields.iter().partition(|(_, count)| **count == before.items);
    if let Some(((last, _), rest)) = all.split_last() {
        let rest: Vec<&str> = rest.iter().map(|(field, _)| field.as_str()).collect();
        let and = if rest.is_empty() { "" } else { " and " };
        told += &format!(", all with {}{and}{last}", rest.join(", "));
    }
    for (field, count) in some {
        told += &format!(", {count} with {field}");
    }
    failure.message.push(&told);
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_that_fails_tells_what_it_gave_before() {
        let fields = [("id", 50), ("image", 0), ("link", 49), ("title", 50)];
        let before = Matched { items: 50, fields: fields.map(|(field, count)| (field.to_owned(), count)).into() };
        let at = Timestamp::from_second(1_767_993_240).ok();
        let drifted = Failure::fatal(ErrorKind::Selector, "\"h3\" matches nothing");
        assert_eq!(
            told(drifted.clone(), Some(&before), at).message,
            "\"h3\" matches nothing; at the last good poll, 2026-01-09T21:14:00Z: 50 items, all with id and title, 0 with image, 49 with link"
        );
        assert_eq!(told(drifted.clone(), None, at), drifted);
        let reset = Failure::transient(ErrorKind::ConnectionReset, "reset");
        assert_eq!(told(reset.clone(), Some(&before), at), reset);
    }
}
