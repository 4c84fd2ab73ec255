//! Text out of markup: the value of an XML element, and the words of an HTML fragment.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};

use super::entity;

/// What becomes of tags inside a text element.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tags {
    /// They stay, as in a description whose HTML was not escaped.
    Keep,
    /// They go, their text stays.
    Drop,
}

const CDATA: &str = "<![CDATA[";
const CDATA_END: &str = "]]>";

/// The value of an element: references resolved, CDATA taken as it stands, comments left out.
pub(super) fn value(raw: &str, tags: Tags) -> Cow<'_, str> {
    let raw = raw.trim();
    if memchr2(b'<', b'&', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    if let Some(inner) = raw.strip_prefix(CDATA) {
        match memmem::find(inner.as_bytes(), CDATA_END.as_bytes()) {
            Some(end) if end + CDATA_END.len() == inner.len() => return Cow::Borrowed(inner[..end].trim()),
            None => return Cow::Borrowed(inner.trim()),
            Some(_) => {}
        }
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr2(b'<', b'&', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.as_bytes()[0] == b'&' {
            rest = reference(rest, &mut out);
        } else if let Some(inner) = rest.strip_prefix(CDATA) {
            let end = memmem::find(inner.as_bytes(), CDATA_END.as_bytes());
            out.push_str(&inner[..end.unwrap_or(inner.len())]);
            rest = end.map_or("", |end| &inner[end + CDATA_END.len()..]);
        } else if rest.starts_with("<!--") {
            rest = memmem::find(rest.as_bytes(), b"-->").map_or("", |end| &rest[end + 3..]);
        } else if let Some(end) = tag_end(rest) {
            if tags == Tags::Keep {
                out.push_str(&rest[..end]);
            }
            rest = &rest[end..];
        } else {
            out.push('<');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    match out.trim() {
        trimmed if trimmed.len() == out.len() => Cow::Owned(out),
        trimmed => Cow::Owned(trimmed.to_owned()),
    }
}

/// Resolves what begins with an ampersand; what is no reference stays as it is.
fn reference<'t>(rest: &'t str, out: &mut String) -> &'t str {
    match entity::resolve(&rest[1..]) {
        Some((c, used)) => {
            out.push(c);
            &rest[1 + used..]
        }
        None => {
            out.push('&');
            &rest[1..]
        }
    }
}

/// Where the tag that begins here ends, behind its `>`; nothing where `<` begins no tag.
pub(super) fn tag_end(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let first = match bytes.get(1)? {
        b'/' => bytes.get(2)?,
        b'!' | b'?' => return Some(memchr(b'>', bytes)? + 1),
        first => first,
    };
    if !first.is_ascii_alphabetic() {
        return None;
    }
    let mut at = 2;
    loop {
        at += memchr::memchr3(b'>', b'"', b'<', &bytes[at..])?;
        match bytes[at] {
            b'>' => return Some(at + 1),
            b'<' => return None,
            _ => {
                // a quoted value may hold ">"; a quote without its other half is no quote
                match memchr(b'"', &bytes[at + 1..]) {
                    Some(close) => at += close + 2,
                    None => at += 1,
                }
            }
        }
    }
}

/// The words of an HTML fragment: tags out, references decoded once, white space folded.
pub(super) fn words(html: &str) -> String {
    let mut out = Words { text: String::with_capacity(html.len().min(1 << 16)), gap: false };
    let mut rest = html;
    while let Some(at) = memchr2(b'<', b'&', rest.as_bytes()) {
        out.push(&rest[..at]);
        rest = &rest[at..];
        if rest.as_bytes()[0] == b'&' {
            let mut c = String::new();
            rest = reference(rest, &mut c);
            out.push(&c);
        } else if rest.starts_with("<!--") {
            rest = memmem::find(rest.as_bytes(), b"-->").map_or("", |end| &rest[end + 3..]);
        } else if let Some(end) = tag_end(rest) {
            let name = tag_name(&rest[..end]);
            if BLOCKS.iter().any(|block| name.eq_ignore_ascii_case(block)) {
                out.gap = true;
            }
            let silent = SILENT.iter().find(|silent| name.eq_ignore_ascii_case(silent));
            rest = match silent {
                Some(silent) if !rest.starts_with("</") => after_element(&rest[end..], silent),
                _ => &rest[end..],
            };
        } else {
            out.push("<");
            rest = &rest[1..];
        }
    }
    out.push(rest);
    out.text
}

/// Elements that break a line.
const BLOCKS: &[&str] = &[
    "p",
    "br",
    "div",
    "li",
    "ul",
    "ol",
    "tr",
    "td",
    "th",
    "table",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "blockquote",
    "pre",
    "section",
    "article",
    "figure",
    "figcaption",
    "dl",
    "dt",
    "dd",
    "header",
    "footer",
];

/// Elements whose text is not for readers.
const SILENT: &[&str] = &["script", "style"];

/// The name of the tag that begins here, without its slash.
pub(super) fn tag_name(tag: &str) -> &str {
    let name = tag.trim_start_matches(['<', '/']);
    let end = name.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b':' || b == b'-')).unwrap_or(name.len());
    &name[..end]
}

fn after_element<'t>(rest: &'t str, name: &str) -> &'t str {
    for at in memmem::find_iter(rest.as_bytes(), b"</") {
        let after = &rest[at + 2..];
        if after.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return memchr(b'>', after.as_bytes()).map_or("", |end| &after[end + 1..]);
        }
    }
    ""
}

/// Text under construction, white space folded.
struct Words {
    text: String,
    gap: bool,
}

impl Words {
    fn push(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        let Some(first) = words.next() else {
            self.gap |= !text.is_empty();
            return;
        };
        self.gap |= text.starts_with(char::is_whitespace);
        self.word(first);
        for word in words {
            self.gap = true;
            self.word(word);
        }
        self.gap = text.ends_with(char::is_whitespace);
    }

    fn word(&mut self, word: &str) {
        if self.gap && !self.text.is_empty() {
            self.text.push(' ');
        }
        self.gap = false;
        self.text.push_str(word);
    }
}

/// White space folded.
pub(super) fn fold(text: &str) -> String {
    let mut out = Words { text: String::with_capacity(text.len()), gap: false };
    out.push(text);
    out.text
}

/// Whether the text plainly holds HTML: a tag that HTML knows.
pub(super) fn has_markup(text: &str) -> bool {
    memchr::memchr_iter(b'<', text.as_bytes()).any(|at| {
        let rest = &text[at..];
        tag_end(rest).is_some() && KNOWN.iter().any(|known| tag_name(rest).eq_ignore_ascii_case(known))
    })
}

/// Elements met in titles.
const KNOWN: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "b",
    "big",
    "blockquote",
    "br",
    "cite",
    "code",
    "del",
    "div",
    "em",
    "font",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "mark",
    "nobr",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "sup",
    "table",
    "td",
    "th",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
    "wbr",
];
