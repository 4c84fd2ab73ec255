//! Text out of markup: the value of an XML element, and the words of an HTML fragment.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};

pub(crate) use super::fold::fold;
use super::{
    entity::{Entities, Meaning},
    fold::Folded,
};

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

/// Whether the whole element is one CDATA section.
pub(super) fn is_cdata(raw: &str) -> bool {
    raw.trim_start().starts_with(CDATA)
}

/// The value of an element: references resolved once, CDATA taken as it stands, comments left out, trimmed.
pub(super) fn value<'t>(raw: &'t str, tags: Tags, entities: &Entities) -> Cow<'t, str> {
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
    // what stands before is text, though it is not yet taken up
    let mut from = 0;
    // ends of CDATA sections that began within one another
    let mut unpaired = 0usize;
    while let Some(found) = memchr2(b'<', b'&', &rest.as_bytes()[from..]) {
        let at = from + found;
        let here = &rest[at..];
        rest = if here.as_bytes()[0] == b'&' {
            let Some((meaning, used)) = entities.resolve(&here[1..]) else {
                from = at + 1;
                continue;
            };
            push_unpaired(&mut out, &rest[..at], &mut unpaired);
            match meaning {
                Meaning::Char(c) => out.push(c),
                Meaning::Text(text) => out.push_str(text),
            }
            &here[1 + used..]
        } else if let Some(inner) = here.strip_prefix(CDATA) {
            push_unpaired(&mut out, &rest[..at], &mut unpaired);
            let end = memmem::find(inner.as_bytes(), CDATA_END.as_bytes());
            for (n, part) in inner[..end.unwrap_or(inner.len())].split(CDATA).enumerate() {
                unpaired += usize::from(n > 0);
                out.push_str(part);
            }
            end.map_or("", |end| &inner[end + CDATA_END.len()..])
        } else if here.starts_with("<!--") {
            push_unpaired(&mut out, &rest[..at], &mut unpaired);
            memmem::find(here.as_bytes(), b"-->").map_or("", |end| &here[end + 3..])
        } else {
            match tag_end(here) {
                Some(end) if tags == Tags::Drop => {
                    push_unpaired(&mut out, &rest[..at], &mut unpaired);
                    &here[end..]
                }
                end => {
                    from = at + end.unwrap_or(1);
                    continue;
                }
            }
        };
        from = 0;
    }
    push_unpaired(&mut out, rest, &mut unpaired);
    out.truncate(out.trim_end().len());
    let leading = out.len() - out.trim_start().len();
    if leading > 0 {
        out.drain(..leading);
    }
    Cow::Owned(out)
}

/// Takes text up without the ends of CDATA sections that are still due.
fn push_unpaired(out: &mut String, text: &str, unpaired: &mut usize) {
    let mut rest = text;
    while *unpaired > 0
        && let Some((before, after)) = rest.split_once(CDATA_END)
    {
        out.push_str(before);
        rest = after;
        *unpaired -= 1;
    }
    out.push_str(rest);
}

/// Where the tag that begins here ends, behind its `>`; nothing where `<` begins no tag.
pub(super) fn tag_end(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let first = match bytes.get(1)? {
        b'/' => bytes.get(2)?,
        b'!' | b'?' => {
            let end = memchr2(b'>', b'<', &bytes[1..])? + 1;
            return (bytes[end] == b'>').then_some(end + 1);
        }
        first => first,
    };
    if !first.is_ascii_alphabetic() {
        return None;
    }
    let mut at = 2;
    loop {
        at += memchr::memchr3(b'>', b'"', b'<', bytes.get(at..)?)?;
        match bytes[at] {
            b'>' => return Some(at + 1),
            b'<' => return None,
            // a quoted value may hold ">"; a quote without its other half is no quote
            _ => at += memchr(b'"', &bytes[at + 1..]).map_or(1, |close| close + 2),
        }
    }
}

/// The name of the tag that begins here, without its slash.
pub(super) fn tag_name(tag: &str) -> &str {
    let name = tag.trim_start_matches(['<', '/']);
    let end = name.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b':' || b == b'-')).unwrap_or(name.len());
    &name[..end]
}

/// The words of an HTML fragment: tags out, references decoded once, white space folded, cut before the
/// word that would make it longer than `longest` bytes.
pub(crate) fn words(html: &str, longest: usize) -> String {
    let none = Entities::none();
    let mut out = Folded::with_capacity(html.len().min(longest));
    let mut rest = html;
    while out.text.len() <= longest {
        // no more than is kept, where no markup interrupts the text
        let near = rest.floor_char_boundary((longest - out.text.len()).saturating_add(4));
        let at = out.run(&rest[..near]);
        rest = &rest[at..];
        match rest.as_bytes().first() {
            None => break,
            Some(_) if at == near => {}
            Some(b'&') => {
                rest = match none.resolve(&rest[1..]) {
                    Some((Meaning::Char(c), used)) => {
                        out.push(c.encode_utf8(&mut [0; 4]));
                        &rest[1 + used..]
                    }
                    _ => {
                        out.word("&");
                        &rest[1..]
                    }
                };
            }
            Some(_) if rest.starts_with("<!--") => {
                rest = memmem::find(rest.as_bytes(), b"-->").map_or("", |end| &rest[end + 3..]);
            }
            Some(_) => rest = tag(&mut out, rest),
        }
    }
    cut(out.text, longest)
}

/// At most `longest` bytes, cut between words where that is near, with an ellipsis.
pub(super) fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let end = (0..=longest).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let end = text[..end].rfind(' ').filter(|&space| space > longest / 2).unwrap_or(end);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Passes over the tag that begins here, or takes its `<` as text.
fn tag<'t>(out: &mut Folded, rest: &'t str) -> &'t str {
    let Some(end) = tag_end(rest) else {
        out.word("<");
        return &rest[1..];
    };
    let name = tag_name(&rest[..end]);
    match flow(name) {
        Flow::Block => out.gap = true,
        Flow::Silent if !rest.starts_with("</") => return after_element(&rest[end..], name),
        Flow::Inline | Flow::Silent => {}
    }
    &rest[end..]
}

/// What an HTML element means to the text in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It goes on in the line.
    Inline,
    /// It breaks the line.
    Block,
    /// It is not for readers.
    Silent,
}

pub(crate) fn flow(name: &str) -> Flow {
    let mut buffer = [0u8; 10];
    let Some(lower) = buffer.get_mut(..name.len()) else { return Flow::Inline };
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    match &*lower {
        b"p" | b"br" | b"div" | b"li" | b"ul" | b"ol" | b"tr" | b"td" | b"th" | b"table" | b"hr" | b"pre" | b"dl"
        | b"dt" | b"dd" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"blockquote" | b"section" | b"article"
        | b"figure" | b"figcaption" | b"header" | b"footer" | b"main" | b"nav" | b"aside" | b"address" | b"center"
        | b"caption" | b"details" | b"summary" | b"dialog" | b"form" | b"fieldset" | b"option" => Flow::Block,
        b"script" | b"style" | b"template" => Flow::Silent,
        _ => Flow::Inline,
    }
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

/// A text whose references were written twice: those of letters, quotes, dashes and ampersands are resolved once
/// more. Those of `<` and `>`, and those between backticks, are what the text speaks of.
pub(super) fn decoded_again(text: Cow<'_, str>) -> Cow<'_, str> {
    if !has_references(&text) {
        return text;
    }
    let none = Entities::none();
    let mut out = String::with_capacity(text.len());
    let mut code = false;
    let mut rest = &*text;
    while let Some(at) = memchr2(b'&', b'`', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let is_reference = rest.as_bytes()[at] == b'&' && !code;
        let meant = none.resolve(after).filter(|(_, used)| is_reference && after.as_bytes()[used - 1] == b';');
        rest = match meant {
            Some((Meaning::Char(c), used)) if !is_spoken_of(c, &after[used..]) => {
                out.push(c);
                &after[used..]
            }
            _ => {
                if rest.as_bytes()[at] == b'`' {
                    code = !code && memchr(b'`', after.as_bytes()).is_some();
                }
                out.push_str(&rest[at..=at]);
                after
            }
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Whether a character written as a reference is a sign of markup, or the ampersand of one.
fn is_spoken_of(c: char, behind: &str) -> bool {
    let sign = |c: char| matches!(c, '<' | '>' | char::REPLACEMENT_CHARACTER) || c.is_control();
    match c {
        '&' => matches!(Entities::none().resolve(behind), Some((Meaning::Char(c), _)) if sign(c)),
        c => sign(c),
    }
}

/// Whether the text plainly holds HTML: an element that HTML knows, closed, or one that needs no end. A lone
/// `<div>` is more likely spoken of than meant.
pub(crate) fn has_tags(text: &str) -> bool {
    memchr::memchr_iter(b'<', text.as_bytes()).take(LOOKED_AT).any(|at| {
        let rest = &text[at..];
        let name = tag_name(rest);
        let Some(end) = tag_end(rest).filter(|_| is_one_of(KNOWN, name)) else { return false };
        is_one_of(VOID, name)
            || rest.starts_with("</")
            || memmem::find_iter(&rest.as_bytes()[end..rest.len().min(end + REACH)], b"</")
                .any(|close| tag_name(&rest[end + close..]).eq_ignore_ascii_case(name))
    })
}

/// Whether the text holds character references, whole ones: words that were written as HTML.
pub(crate) fn has_references(text: &str) -> bool {
    let none = Entities::none();
    let mut signs = memchr::memchr_iter(b'&', text.as_bytes()).take(LOOKED_AT);
    signs.any(|at| none.resolve(&text[at + 1..]).is_some_and(|(_, used)| text.as_bytes()[at + used] == b';'))
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Signs looked at to find out.
const LOOKED_AT: usize = 64;

/// How far the end of an element is looked for, in bytes.
const REACH: usize = 64 << 10;

/// Elements without an end tag.
const VOID: &[&str] = &["br", "hr", "img", "wbr", "p"];

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
    "script",
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

/// Plain text as HTML.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if memchr::memchr3(b'<', b'>', b'&', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}
