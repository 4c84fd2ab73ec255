//! Links: references resolved, and absolute where a base is known.

use std::borrow::Cow;

use super::{
    budget::Base,
    entity::Entities,
    text::{self, Tags},
};

/// Longest link taken, in bytes.
const LONGEST: usize = 16 << 10;

/// The link in an element or attribute.
pub(super) fn absolute_value<'t>(raw: &'t str, base: Base<'_>, entities: &Entities) -> Option<Cow<'t, str>> {
    resolved(text::value(raw, Tags::Drop, entities), base)
}

/// A link whose references are resolved already, made absolute.
pub(crate) fn resolved<'t>(link: Cow<'t, str>, base: Base<'_>) -> Option<Cow<'t, str>> {
    if link.is_empty() || link.len() > LONGEST {
        return None;
    }
    // a link broken over lines by a formatter; a space within one is the author's
    let link = if memchr::memchr3(b'\n', b'\r', b'\t', link.as_bytes()).is_some() {
        Cow::Owned(link.split(['\n', '\r', '\t']).map(str::trim).collect())
    } else {
        link
    };
    if has_scheme(&link) { Some(link) } else { base.join(link) }
}

/// The same, on its own.
pub(super) fn absolute(raw: &str, base: Base<'_>) -> Option<String> {
    absolute_value(raw, base, &Entities::none()).map(Cow::into_owned)
}

fn has_scheme(link: &str) -> bool {
    link.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}
