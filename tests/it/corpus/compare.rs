//! When two readings of a feed are the same reading: white space, entities, percent signs and host case
//! apart, as parsers differ there without being wrong.

use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;

/// White space, the separators among the control characters too.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// The text on one line. Parsers differ in how often they resolve references; readers want none left.
pub(super) fn exact(text: Option<&str>) -> String {
    unescape(&unescape(text.unwrap_or_default()))
        .split(is_space)
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The letters of a title, whatever markup is around them.
pub(super) fn loose(text: Option<&str>) -> String {
    static MARKUP: LazyLock<Regex> = LazyLock::new(|| Regex::new("(?s)<!--.*?-->|</?[a-zA-Z][^<>]*>").unwrap());
    let text = unescape(&unescape(text.unwrap_or_default()));
    let invisible = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{2060}' | '\u{ad}');
    MARKUP.replace_all(&text, "").chars().filter(|&c| !is_space(c) && !invisible(c)).collect()
}

/// A link by its parts.
pub(super) fn link(text: Option<&str>) -> String {
    let text = unescape(text.unwrap_or_default().trim_matches(is_space));
    let text: String = text.chars().filter(|&c| !is_space(c)).collect();
    let (rest, fragment) = text.split_once('#').map_or((&*text, None), |(rest, part)| (rest, Some(part)));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, part)| (rest, Some(part)));
    let Some((scheme, rest)) = rest.split_once("//").filter(|(scheme, _)| scheme.is_empty() || scheme.ends_with(':'))
    else {
        return unquote(&text);
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let mut out = format!("{}//{}", scheme.to_lowercase(), host(authority));
    out += &unquote(if path == "/" { "" } else { path });
    for (sign, part) in [('?', query), ('#', fragment)] {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            out.push(sign);
            out += &unquote(part);
        }
    }
    out
}

/// The authority as it goes over the wire: lowercase, in Punycode.
fn host(authority: &str) -> String {
    let lower = authority.to_lowercase();
    if lower.is_ascii() {
        return lower;
    }
    let url = url::Url::parse(&format!("http://{lower}/"));
    url.map_or(lower.clone(), |url| url[url::Position::BeforeHost..url::Position::AfterPort].to_owned())
}

/// An id: a link where it is one.
pub(super) fn id(text: Option<&str>) -> String {
    let text = text.unwrap_or_default().trim_matches(is_space);
    if text.starts_with("http") { link(Some(text)) } else { exact(Some(&unescape(text))).trim().to_owned() }
}

/// A time, to the second.
pub(super) fn second(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(|at| at.as_second())
}

fn unquote(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&b| char::from(b).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Character references resolved: the numeric ones, and those names that titles and links are met with.
fn unescape(text: &str) -> String {
    static REFERENCE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("&(?:#([0-9]+)|#[xX]([0-9a-fA-F]+)|([a-zA-Z0-9]+));?").unwrap());
    if !text.contains('&') {
        return text.to_owned();
    }
    let replaced = REFERENCE.replace_all(text, |found: &regex::Captures<'_>| {
        let number = |n: usize, radix| found.get(n).map(|digits| u32::from_str_radix(digits.as_str(), radix));
        let c = match number(1, 10).or_else(|| number(2, 16)) {
            Some(code) => Some(code.map_or('\u{fffd}', of_code)),
            None => NAMES.iter().find(|(name, _)| *name == &found[3]).map(|(_, c)| *c),
        };
        c.map_or_else(|| found[0].to_owned(), String::from)
    });
    replaced.into_owned()
}

fn of_code(code: u32) -> char {
    match u8::try_from(code) {
        Ok(byte @ 0x80..=0x9f) => encoding_rs::WINDOWS_1252.decode(&[byte]).0.chars().next().unwrap_or_default(),
        _ => char::from_u32(code).filter(|&c| c != '\0').unwrap_or('\u{fffd}'),
    }
}

const NAMES: &[(&str, char)] = &[
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", '\u{a0}'),
    ("shy", '\u{ad}'),
    ("copy", '©'),
    ("reg", '®'),
    ("trade", '™'),
    ("laquo", '«'),
    ("raquo", '»'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("hellip", '…'),
    ("euro", '€'),
    ("eacute", 'é'),
    ("egrave", 'è'),
    ("uuml", 'ü'),
    ("ouml", 'ö'),
    ("auml", 'ä'),
    ("szlig", 'ß'),
];
