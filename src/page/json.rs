//! `kind = "json"`: items by JSON Pointer or JSONPath, from an answer or from a script element of a page.

use std::{borrow::Cow, ops::ControlFlow};

use memchr::{memchr_iter, memchr2};
use scraper::ElementRef;
use serde_json::Value;

use super::{
    Error, Extract, Given, dom, encoding,
    extract::extract,
    field::{Found, Kind, Subject, Visit, Within},
    rules::{Css, JsonRules, Path, Steps, What},
    text,
};
use crate::feed::{
    date::Region,
    detect,
    fold::fold,
    text::{has_references, has_tags, words},
};

/// Values read of one document, an object counting as [`OBJECT`]: some 60 MB.
const MOST_VALUES: usize = 1_000_000;

/// What an object takes beyond its values, in places of an array.
const OBJECT: usize = 12;

/// Longest text taken of HTML in a string, in bytes.
const LONGEST_WORDS: usize = 64 << 10;

/// Reads a document's items.
///
/// # Errors
/// [`Error::Malformed`] for what is no JSON, [`Error::Selector`] where the rules do not fit it,
/// [`Error::TooLarge`] for more values than are read.
pub fn read(bytes: &[u8], rules: &JsonRules, given: &Given<'_>) -> Result<Extract, Error> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::Malformed("the answer is empty, and no JSON".into()));
    }
    let document = encoding::decode(bytes, given.content_type, given.encoding);
    let value = match &rules.embedded {
        Some(css) => parse(&embedded(&document, css, given)?)?,
        None => parse(&document)?,
    };
    let within = Within::new(given.url, Region::of(None, given.url.host_str()), given.expired, document.len());
    let places = places(&value, &rules.items, &within)?;
    if places.is_empty() && !given.may_be_empty {
        let Path { text, place, .. } = &rules.items;
        let told = complaint(&value).map_or(String::new(), |told| format!("; the answer says: \"{told}\""));
        return Err(Error::Selector(format!("{place}: {text:?} gives no items{told}")));
    }
    extract(places, &rules.items, &rules.fields, given.before, &within)
}

/// The JSON in an element of a page.
fn embedded(page: &str, css: &Css, given: &Given<'_>) -> Result<String, Error> {
    let html = dom::parse(page, given.expired)?;
    let within = Within::new(given.url, Region::Unknown, given.expired, page.len());
    for element in html.tree.root().descendants().filter_map(ElementRef::wrap) {
        within.looked(css)?;
        if css.selector.matches(&element) {
            return Ok(text::raw(element));
        }
    }
    let Css { text, place, .. } = css;
    Err(Error::Selector(format!("{place}: {text:?} matches nothing; what came is {}", detect::described(page))))
}

/// Parses what it would not take too much memory to keep.
fn parse(text: &str) -> Result<Value, Error> {
    let text = text.trim_start_matches('\u{feff}').trim_matches(|c: char| c.is_whitespace() || c == '\0');
    if weight(text.as_bytes()) > MOST_VALUES {
        return Err(Error::TooLarge("the JSON has more values than are read".into()));
    }
    serde_json::from_str(text).map_err(|error| {
        let message = match detect::described(text) {
            what if what == "JSON" => format!("not valid JSON: {error}"),
            what => format!("no JSON but {what}"),
        };
        Error::Malformed(message)
    })
}

/// How many values there may be at most, by their signs: those outside of strings.
pub(super) fn weight(json: &[u8]) -> usize {
    let signs = |plain: &[u8]| {
        let objects = memchr_iter(b'{', plain).count();
        objects * OBJECT + memchr::memchr2_iter(b',', b'[', plain).count()
    };
    let mut weight = 1;
    let mut rest = json;
    loop {
        let Some(open) = memchr::memchr(b'"', rest) else { return weight + signs(rest) };
        weight += signs(&rest[..open]);
        rest = &rest[open + 1..];
        // to the end of the string
        loop {
            let Some(at) = memchr2(b'"', b'\\', rest) else { return weight };
            let escaped = rest[at] == b'\\';
            rest = rest.get(at + 1 + usize::from(escaped)..).unwrap_or_default();
            if !escaped {
                break;
            }
        }
    }
}

/// The values that are items: an array's elements, each node of a query, or the one value that there is.
fn places<'v>(value: &'v Value, items: &Path, within: &Within<'_>) -> Result<Vec<&'v Value>, Error> {
    within.check(items)?;
    let nodes = nodes(value, items);
    within.check(items)?;
    Ok(match nodes.as_slice() {
        [Value::Array(elements)] => elements.iter().collect(),
        _ => nodes.into_iter().filter(|node| !node.is_null()).collect(),
    })
}

fn nodes<'v>(value: &'v Value, path: &Path) -> Vec<&'v Value> {
    match &path.steps {
        Steps::Pointer(pointer) => value.pointer(pointer).into_iter().collect(),
        Steps::Query(query) => query.query(value).all(),
    }
}

/// What an answer without items has to say for itself, as GraphQL and many others do with status 200.
fn complaint(value: &Value) -> Option<String> {
    let places = ["/errors/0/message", "/error/message", "/error_description", "/error", "/message", "/detail"];
    places.into_iter().find_map(|place| value.pointer(place)?.as_str()).and_then(detect::quotable)
}

impl Subject for &Value {
    type Point = Path;

    fn each(self, select: Option<&Path>, within: &Within<'_>, visit: &mut Visit<'_, Self>) -> Result<(), Error> {
        let nodes = match select {
            Some(path) => {
                within.looked(path)?;
                nodes(self, path)
            }
            None => vec![self],
        };
        for node in nodes {
            // of a list, each is one
            let values = node.as_array().map_or(std::slice::from_ref(node), Vec::as_slice);
            for value in values {
                if visit(value)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn take(self, _what: &What, kind: Kind, _part: bool) -> Option<Found> {
        let text: Cow<'_, str> = match self {
            Value::String(text) => text.into(),
            Value::Number(number) => number.to_string().into(),
            Value::Bool(flag) => flag.to_string().into(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        let is_html = || has_tags(&text) || has_references(&text);
        Some(match kind {
            Kind::Words if is_html() => words(&text, LONGEST_WORDS).into(),
            Kind::Summary if is_html() => {
                Found { text: words(&text, LONGEST_WORDS), html: Some(text.into_owned()), at: None }
            }
            Kind::Words | Kind::Summary => fold(text).into_owned().into(),
            Kind::Text | Kind::Link | Kind::Image | Kind::Date => text.trim().to_owned().into(),
        })
    }

    fn under(self, item: Self, select: &Path, within: &Within<'_>) -> Result<Option<String>, Error> {
        let mut found = None;
        item.each(Some(select), within, &mut |value| {
            found = value.take(&What::Natural, Kind::Text, true).map(|found| found.text);
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }
}
