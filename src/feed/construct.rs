//! Elements that hold prose: titles, content, people. What they mean depends on what they say of themselves.

use std::borrow::Cow;

use super::{
    attribute::attribute,
    entity::Entities,
    entry::Element,
    names::Tag,
    text::{self, Tags},
};

/// Longest title looked at, in bytes of the document.
pub(super) const TITLE: usize = 64 << 10;

/// The start of a title that is none.
fn bounded(body: &str) -> &str {
    if body.len() <= TITLE { body } else { &body[..body.floor_char_boundary(TITLE)] }
}

/// What a title's markup is, as far as its element says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Html,
    Xhtml,
    Untold,
}

fn kind(attributes: &str) -> Kind {
    let mode = attribute(attributes, "mode").map(str::trim);
    match attribute(attributes, "type").map(str::trim) {
        Some("text" | "plain" | "text/plain") => Kind::Text,
        Some("html" | "text/html") if mode == Some("xml") => Kind::Xhtml,
        Some("html" | "text/html") => Kind::Html,
        Some("xhtml" | "application/xhtml+xml" | "application/xml" | "text/xml") if mode != Some("escaped") => {
            Kind::Xhtml
        }
        Some("xhtml" | "application/xhtml+xml") => Kind::Html,
        _ => Kind::Untold,
    }
}

/// A title as people read it: plain text, on one line. Those of `rss` have their references often written twice.
pub(super) fn title<'t>(body: &'t str, attributes: &str, entities: &Entities, rss: bool) -> Cow<'t, str> {
    let body = bounded(body);
    if memchr::memchr2(b'<', b'&', body.as_bytes()).is_none() {
        return text::fold(Cow::Borrowed(body));
    }
    let value = match kind(attributes) {
        Kind::Html => Cow::Owned(text::words(&text::value(body, Tags::Keep, entities), usize::MAX)),
        Kind::Xhtml if text::is_cdata(body) => text::value(body, Tags::Drop, entities),
        Kind::Xhtml => Cow::Owned(text::words(body, usize::MAX)),
        Kind::Text => text::value(body, Tags::Drop, entities),
        Kind::Untold => {
            let value = text::value(body, Tags::Drop, entities);
            // CDATA hides its references from XML, so that they were meant for HTML
            let markup = text::has_tags(&value) || (text::is_cdata(body) && value.contains('&'));
            if markup {
                Cow::Owned(text::words(&value, usize::MAX))
            } else if rss {
                text::decoded_again(value)
            } else {
                value
            }
        }
    };
    text::fold(value)
}

/// The HTML of a content element, or its plain text and `true`.
pub(super) fn html<'t>(element: &Element<'t>, atom: bool, entities: &Entities) -> (Cow<'t, str>, bool) {
    let media_type = element.attribute("type").unwrap_or_default();
    if ["image/", "audio/", "video/"].iter().any(|top| media_type.starts_with(top)) {
        return (Cow::Borrowed(""), false);
    }
    match kind(element.attributes) {
        Kind::Xhtml if !text::is_cdata(element.body) => (Cow::Borrowed(unwrapped(element.body.trim())), false),
        Kind::Text => (text::value(element.body, Tags::Drop, entities), true),
        _ => {
            let value = text::value(element.body, Tags::Keep, entities);
            // Atom's default is text, but what holds tags was meant as HTML
            let plain = atom && media_type.is_empty() && element.tag != Tag::Content && !text::has_tags(&value);
            (value, plain)
        }
    }
}

/// The content of the `div` that XHTML content is wrapped in.
fn unwrapped(xhtml: &str) -> &str {
    let inner = || {
        let name = text::tag_name(xhtml);
        let open = text::tag_end(xhtml).filter(|_| name == "div" || name.ends_with(":div"))?;
        let close = xhtml.rfind("</").filter(|&close| close >= open)?;
        let last = text::tag_name(&xhtml[close..]) == name && xhtml[close..].trim_end().ends_with('>');
        // one element, not two beside each other
        let one = !xhtml[open..close].contains("</div") || xhtml[open..close].contains("<div");
        (last && one).then(|| xhtml[open..close].trim())
    };
    inner().unwrap_or(xhtml)
}

/// The name of an author: an Atom person's, or what RSS has: `a@example.org (Name)`.
pub(super) fn author(body: &str, entities: &Entities) -> String {
    if let Some(name) = child_text(body, "name").or_else(|| child_text(body, "email")) {
        return text::fold(text::value(name, Tags::Drop, entities)).into_owned();
    }
    let value = text::fold(text::value(body, Tags::Drop, entities));
    let named = value.split_once('(').filter(|(address, _)| address.contains('@'));
    let named = named.and_then(|(_, rest)| rest.strip_suffix(')')).map(str::trim).filter(|name| !name.is_empty());
    let bracketed = value.split_once('<').filter(|(name, rest)| !name.trim().is_empty() && rest.contains('@'));
    match (named, bracketed) {
        (Some(name), _) => name.to_owned(),
        (None, Some((name, _))) => name.trim().trim_matches('"').to_owned(),
        (None, None) => value.into_owned(),
    }
}

/// What stands in the first child element of that local name.
pub(super) fn child_text<'t>(body: &'t str, local: &str) -> Option<&'t str> {
    let mut rest = body;
    while let Some(at) = memchr::memchr(b'<', rest.as_bytes()) {
        rest = &rest[at..];
        if rest.starts_with("<![CDATA[") {
            rest = &rest[memchr::memmem::find(rest.as_bytes(), b"]]>")?..];
            continue;
        }
        let name = text::tag_name(rest);
        if !rest.starts_with("</") && name.rsplit(':').next().is_some_and(|n| n.eq_ignore_ascii_case(local)) {
            let after = &rest[text::tag_end(rest)?..];
            let end = memchr::memmem::find(after.as_bytes(), b"</")?;
            return Some(&after[..end]).filter(|text| !text.trim().is_empty());
        }
        rest = &rest[1..];
    }
    None
}
