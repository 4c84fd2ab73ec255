//! The two ways into a document, a CSS selector and a path into JSON, with words for what is wrong with one.

use scraper::{Selector, error::SelectorErrorKind};
use selectors::parser::SelectorParseErrorKind;
use serde_json_path::JsonPath;

use crate::{
    config::reader::Value,
    page::rules::{Css, Path, Point, Steps},
};

/// Longest selector or path, in bytes.
const LONGEST: usize = 1000;

/// Brackets of one, which are read by going down into each: some hundreds within each other end the stack.
const MOST_BRACKETS: usize = 50;

/// Filters of a query: each one within another doubles the time that reading it takes.
const MOST_FILTERS: usize = 4;

/// Each `..` of a query looks at everything below everything that the one before found: two of them find the
/// same values as often as these are deep, which takes hundreds of megabytes for a document of two.
const MOST_DESCENTS: usize = 1;

/// What `[source.html]` and `[source.json]` differ in.
pub(super) trait Language: Point {
    /// Whether there are elements, which have attributes.
    const ATTRIBUTES: bool;
    /// What is written where one is due.
    const FORM: &'static str;
    /// Reads one; what is wrong with it is told.
    fn read(value: &Value<'_>) -> Option<Self>;
    /// Whether this is the item itself.
    fn is_self(text: &str) -> bool;
}

impl Language for Css {
    const ATTRIBUTES: bool = true;
    const FORM: &'static str = "a CSS selector";

    fn read(value: &Value<'_>) -> Option<Self> {
        let text = text::<Self>(value)?;
        if Self::is_self(text) {
            value.error("\":self\" is the item itself, and here is none: it stands in the select of an item's field");
            return None;
        }
        match Selector::parse(text) {
            Ok(selector) => Some(Self { text: text.to_owned(), place: value.place(), selector }),
            Err(error) => {
                value.error(format_args!("{} is no CSS selector: {}", value.found(), selector_fault(&error)));
                None
            }
        }
    }

    fn is_self(text: &str) -> bool {
        text == ":self"
    }
}

impl Language for Path {
    const ATTRIBUTES: bool = false;
    const FORM: &'static str = "a JSON Pointer such as \"/data/items\" or a JSONPath such as \"$.data[*]\"";

    fn read(value: &Value<'_>) -> Option<Self> {
        let text = text::<Self>(value)?;
        let steps = if text.is_empty() || text.starts_with('/') {
            if pointer_is_broken(text) {
                value.error(format_args!(
                    "{} is no JSON Pointer: behind \"~\" stands 0 (for \"~\") or 1 (for \"/\")",
                    value.found()
                ));
                return None;
            }
            Steps::Pointer(text.to_owned())
        } else if text.starts_with('$') {
            Steps::Query(query(value, text)?)
        } else {
            let slash = format!("/{}", text.replace('.', "/"));
            let plain = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
            let near = if plain { format!("; did you mean {slash:?}?") } else { String::new() };
            value.error(format_args!("expected {}, found {}{near}", Self::FORM, value.found()));
            return None;
        };
        Some(Self { text: text.to_owned(), place: value.place(), steps })
    }

    fn is_self(text: &str) -> bool {
        text.is_empty() || text == ":self"
    }
}

fn text<'t, P: Language>(value: &Value<'t>) -> Option<&'t str> {
    let text = value.string(P::FORM)?;
    if text.len() > LONGEST {
        value.error(format_args!("is longer than {LONGEST} bytes; expected {}", P::FORM));
        return None;
    }
    if text.matches(['(', '[']).count() > MOST_BRACKETS {
        value.error(format_args!("has more than {MOST_BRACKETS} brackets; expected {}", P::FORM));
        return None;
    }
    Some(text)
}

fn pointer_is_broken(text: &str) -> bool {
    text.match_indices('~').any(|(at, _)| !text[at + 1..].starts_with(['0', '1']))
}

fn query(value: &Value<'_>, text: &str) -> Option<JsonPath> {
    let found = value.found();
    if descents(text) > MOST_DESCENTS {
        value.error(format_args!(
            "{found} goes through everything below more than once (\"..\"), which can take very long: say the \
             way"
        ));
        return None;
    }
    if text.matches('?').count() > MOST_FILTERS {
        value.error(format_args!("{found} has more than {MOST_FILTERS} filters (\"?\"), which can take very long"));
        return None;
    }
    if has_costly_filter(text) {
        value.error(format_args!(
            "{found} has a filter that goes through everything (\"..\" or \"$\") for each value, which can take very \
             long: say the way from \"@\""
        ));
        return None;
    }
    let path = JsonPath::parse(text);
    path.map_err(|error| {
        let at = character(text, error.position());
        value.error(format_args!("{found} is no JSONPath: it cannot be read near its character {at}{}", why(&error)));
    })
    .ok()
}

/// The parser's last word, where it is one for readers.
fn why(error: &serde_json_path::ParseError) -> String {
    let last = error.message().lines().next().and_then(|line| line.rsplit(", ").next()).unwrap_or_default();
    let is_one = last.starts_with("expected") || last.starts_with("function");
    if is_one { format!(" ({last})") } else { String::new() }
}

/// How often a query has `..` outside quotes.
fn descents(text: &str) -> usize {
    let mut descents = 0;
    signs(text, |sign| descents += usize::from(sign == Sign::Descent));
    descents
}

/// Whether a filter of a query leads to more than what is below the value that it is asked of.
fn has_costly_filter(text: &str) -> bool {
    let (mut depth, mut filter, mut costly) = (0u32, None, false);
    signs(text, |sign| match sign {
        Sign::Char('[') => depth += 1,
        Sign::Char(']') => {
            depth = depth.saturating_sub(1);
            filter = filter.filter(|opened| depth >= *opened);
        }
        Sign::Char('?') => filter = filter.or(Some(depth)),
        Sign::Char('$') | Sign::Descent => costly |= filter.is_some(),
        Sign::Char(_) => {}
    });
    costly
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Char(char),
    /// `..`
    Descent,
}

/// What a query consists of outside quotes.
fn signs(text: &str, mut each: impl FnMut(Sign)) {
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '.') if chars.next_if_eq(&'.').is_some() => each(Sign::Descent),
            (None, c) => each(Sign::Char(c)),
        }
    }
}

/// A byte's place, counted from 1, as one in characters.
fn character(text: &str, place: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < place).count().max(1)
}

fn selector_fault(error: &SelectorErrorKind) -> &'static str {
    use SelectorErrorKind as Kind;
    match error {
        Kind::UnexpectedToken => "a character stands where it may not (no class begins with a digit)",
        Kind::EndOfLine => "something is missing at its end, or before a closing bracket",
        Kind::InvalidAtRule | Kind::InvalidAtRuleBody | Kind::QualRuleInvalid => "rules are none",
        Kind::TooManyNestedBlocks => "its brackets are nested too deep",
        Kind::ExpectedColonOnPseudoElement | Kind::ExpectedIdentityOnPseudoElement => "a name is due behind \"::\"",
        Kind::UnexpectedSelectorParseError(kind) => part_fault(kind),
    }
}

fn part_fault(kind: &SelectorParseErrorKind) -> &'static str {
    use SelectorParseErrorKind as Kind;
    match kind {
        Kind::EmptySelector => "there is nothing where something is due, as on both sides of a comma",
        Kind::DanglingCombinator => "nothing stands on one side of a \">\", \"+\" or \"~\"",
        Kind::NonCompoundSelector => "only a simple selector may stand in these brackets",
        Kind::PseudoElementExpectedColon | Kind::PseudoElementExpectedIdent | Kind::NoIdentForPseudo => {
            "a name is due behind \":\""
        }
        Kind::UnsupportedPseudoClassOrElement
        | Kind::NonPseudoElementAfterSlotted
        | Kind::InvalidPseudoElementAfterSlotted
        | Kind::InvalidPseudoElementInsideWhere
        | Kind::InvalidState => {
            "it has a pseudo-class or pseudo-element that is not known here; there are :not(), :is(), :where(), \
             :has(), :nth-child() and their like (for an attribute use attr, for a text regex)"
        }
        Kind::NoQualifiedNameInAttributeSelector
        | Kind::UnexpectedTokenInAttributeSelector
        | Kind::ExpectedBarInAttr
        | Kind::BadValueInAttr
        | Kind::InvalidQualNameInAttr => "in [] stands a name alone, or as in [name=\"value\"]",
        Kind::ExpectedNamespace | Kind::ExplicitNamespaceUnexpectedToken => "there are no namespaces (\"|\") here",
        Kind::UnexpectedIdent => "a name stands where none may",
        Kind::ClassNeedsIdent => "behind \".\" stands a class, which begins with no digit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::{Report, Table};

    #[test]
    fn descents_are_counted_outside_quotes() {
        assert_eq!(
            [descents("$..a"), descents("$..a..b['..']..c"), descents("$['a\\'..']"), descents("$.a.b")],
            [1, 3, 0, 0]
        );
    }

    #[test]
    fn the_longest_texts_are_read_within_the_stack_and_in_time() {
        let longest = |part: &str| part.repeat(LONGEST / part.len());
        for part in [":not(", ":is(a,", ":has(", ":nth-child(1 of ", "[", "(", "a>", "a ", ":", "*|"] {
            check::<Css>(&longest(part));
        }
        for part in ["(", "!(", "!", "$[?", "@[?", "length(", "count($[?", "[", "&&", "1&&", "@.a&&", ".a", ".a,"] {
            check::<Path>(&format!("$[?{}", longest(part)));
        }
        // the most that is let through
        for part in ["$[?", "@[?", "count($[?"] {
            check::<Path>(&format!("${}", part.repeat(MOST_FILTERS)));
            check::<Path>(&format!("${}{}", part.repeat(MOST_FILTERS), "(".repeat(MOST_BRACKETS - 2 * MOST_FILTERS)));
        }
        for part in ["(", "["] {
            check::<Css>(&format!("a{}", format!(":not{part}").repeat(MOST_BRACKETS)));
        }
    }

    /// Reads one from a file; that it ends is what is tested.
    fn check<P: Language>(text: &str) {
        let file = format!("x = '{text}'");
        let document = toml::de::DeTable::parse(&file).unwrap();
        let report = Report::new(std::path::Path::new("x"), &file);
        let mut table = Table::root(&report, document.get_ref());
        let _ = P::read(&table.get("x").unwrap());
    }
}
