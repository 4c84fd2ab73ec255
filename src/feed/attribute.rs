//! The attributes of a tag, as they are found.

use memchr::memchr;

/// One attribute of a tag.
pub(super) struct Attribute<'t> {
    /// Name with prefix.
    pub(super) name: &'t str,
    /// References unresolved.
    pub(super) value: &'t str,
    /// Written as XML has it.
    pub(super) sound: bool,
}

/// Attributes looked at in one tag.
const ATTRIBUTES: usize = 128;

/// The attributes of a tag: quoted, unquoted or without a value.
pub(super) fn attributes(text: &str) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return None;
        }
        let end = rest.bytes().position(|b| b.is_ascii_whitespace() || b == b'=').unwrap_or(rest.len());
        let name = &rest[..end];
        let after = rest[end..].trim_start();
        let Some(after) = after.strip_prefix('=') else {
            rest = after;
            return Some(Attribute { name, value: "", sound: false });
        };
        let after = after.trim_start();
        let quote = after.as_bytes().first().copied().filter(|b| matches!(b, b'"' | b'\''));
        let sound = !name.is_empty() && !name.contains(['"', '\'', '<']);
        match quote.and_then(|quote| memchr(quote, &after.as_bytes()[1..])) {
            Some(close) => {
                rest = &after[close + 2..];
                let sound = sound && rest.bytes().next().is_none_or(|b| b.is_ascii_whitespace() || b == b'/');
                Some(Attribute { name, value: &after[1..close + 1], sound })
            }
            None => {
                let after = after.trim_start_matches(['"', '\'']);
                let end = after.bytes().position(|b| b.is_ascii_whitespace()).unwrap_or(after.len());
                rest = &after[end..];
                Some(Attribute { name, value: &after[..end], sound: false })
            }
        }
    })
    .take(ATTRIBUTES)
}

/// The value of the attribute of that name, ASCII case apart.
pub(super) fn attribute<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    if text.is_empty() {
        return None;
    }
    attributes(text).find(|attribute| attribute.name.eq_ignore_ascii_case(name)).map(|attribute| attribute.value)
}
