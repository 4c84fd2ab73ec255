//! Classes and ids: which of them somebody chose, and which a program makes anew at each build.

/// How much a name says, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// It says what the thing is.
    Telling,
    /// Somebody chose it.
    Plain,
    /// It says how the thing looks.
    Looks,
}

/// Words for what a list of news is made of.
#[rustfmt::skip]
const TELLING: [&str; 22] = [
    "article", "articles", "post", "posts", "story", "stories", "news", "item", "items", "entry", "entries",
    "card", "teaser", "headline", "title", "date", "time", "summary", "excerpt", "hentry", "changeslist", "feed",
];

/// Words for how things look and where they stand.
#[rustfmt::skip]
const LOOKS: [&str; 36] = [
    "flex", "grid", "row", "rows", "col", "cols", "column", "columns", "container", "wrapper", "wrap", "inner",
    "outer", "clearfix", "cf", "left", "right", "center", "pull", "text", "block", "inline", "float", "mb", "mt",
    "ml", "mr", "px", "py", "pt", "pb", "box", "group", "unit", "small", "large",
];

/// Words for what is so now, and otherwise in a moment, or of one item and not of the next.
#[rustfmt::skip]
const STATES: [&str; 30] = [
    "active", "current", "selected", "first", "last", "odd", "even", "hidden", "visible", "show", "shown", "open",
    "closed", "collapsed", "loading", "loaded", "lazy", "lazyload", "lazyloaded", "hover", "focus", "disabled",
    "new", "unread", "read", "visited", "sticky", "featured", "alt", "wow",
];

/// Prefixes under which libraries put what they make up.
#[rustfmt::skip]
const MADE: [&str; 9] = [
    "css", "sc", "jsx", "jss", "emotion", "svelte", "astro", "styled", "makestyles",
];

/// Words of what is about a page's content, and not it.
#[rustfmt::skip]
const ASIDE: [&str; 30] = [
    "nav", "navbar", "navigation", "menu", "submenu", "footer", "sidebar", "breadcrumb", "breadcrumbs",
    "pagination", "pager", "paginator", "social", "share", "sharing", "comments", "commentlist", "cookie",
    "cookies", "consent", "toc", "related", "banner", "ads", "advert", "topbar", "toolbar", "tagcloud", "tabs",
    "languages",
];

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(['-', '_']).filter(|word| !word.is_empty())
}

/// Whether a name can stand in a selector as it is.
pub(super) fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && name.len() <= 48
}

/// Whether a class or id will be the same tomorrow and for the next item.
pub(super) fn is_stable(name: &str) -> bool {
    name.len() >= 2
        && is_plain(name)
        && !name.bytes().any(|b| b.is_ascii_digit())
        // a variant: "card--wide"
        && !name.contains("--")
        && !name.starts_with('_')
        && !words(name).next().is_some_and(|first| MADE.contains(&first.to_ascii_lowercase().as_str()))
        && !(words(name).count() == 1 && STATES.contains(&name.to_ascii_lowercase().as_str()))
        && !["is-", "has-", "js-"].iter().any(|prefix| name.starts_with(prefix))
        && !words(name).any(is_made_up)
}

/// Whether a word looks as if nobody had to read it: "bdVaJa", "xkcdqz".
fn is_made_up(word: &str) -> bool {
    let vowels = word.bytes().filter(|b| b"aeiouyAEIOUY".contains(b)).count();
    if word.len() >= 6 && vowels == 0 {
        return true;
    }
    // the parts of camelCase
    let mut parts: Vec<usize> = vec![0];
    let mut before_lower = true;
    for b in word.bytes() {
        match parts.last_mut() {
            Some(last) if !(b.is_ascii_uppercase() && before_lower) => *last += 1,
            _ => parts.push(1),
        }
        before_lower = b.is_ascii_lowercase();
    }
    parts.iter().filter(|length| (1..=2).contains(*length)).count() >= 2
}

/// The part of a class of a "CSS module" that somebody chose: `Card_title__` of `Card_title__x8Kq2`.
pub(super) fn module_prefix(name: &str) -> Option<&str> {
    let at = name.rfind("__")?;
    let (prefix, hash) = (&name[..at + 2], &name[at + 2..]);
    let made = hash.len() >= 4 && (hash.bytes().any(|b| b.is_ascii_digit()) || is_made_up(hash));
    (made && is_stable(name[..at].trim_end_matches('_'))).then_some(prefix)
}

/// How much a stable name says.
pub(super) fn weight(name: &str) -> Weight {
    let lower = name.to_ascii_lowercase();
    let is = |list: &[&str]| words(&lower).any(|word| list.contains(&word));
    match () {
        () if is(&TELLING) => Weight::Telling,
        () if words(&lower).all(|word| LOOKS.contains(&word)) => Weight::Looks,
        () => Weight::Plain,
    }
}

/// Whether a class or id says that its element is about the page and not of its content.
pub(super) fn is_aside(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let mut words = words(&lower);
    let (first, last) = (words.next(), words.next());
    // "content-with-sidebar" has one, and is none
    let rest_is_short = words.next().is_none();
    let negated = matches!(first, Some("has" | "with" | "no" | "without" | "not"));
    rest_is_short && !negated && [first, last].into_iter().flatten().any(|word| ASIDE.contains(&word))
}

/// Whether a class says that its element is a title.
pub(super) fn is_title(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    words(&lower).any(|word| matches!(word, "title" | "headline" | "heading"))
}

/// Whether a class says that its element is a summary.
pub(super) fn is_summary(name: &str) -> bool {
    const SUMMARY: [&str; 10] =
        ["summary", "excerpt", "teaser", "intro", "lead", "description", "desc", "abstract", "blurb", "standfirst"];
    let lower = name.to_ascii_lowercase();
    words(&lower).any(|word| SUMMARY.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_somebody_chose_are_told_from_those_that_a_program_made() {
        for name in ["news", "t-news", "mw-changeslist-line", "newsListItem", "card__title", "hentry", "herald"] {
            assert!(is_stable(name), "{name}");
        }
        for name in [
            "css-xyzabc",
            "sc-bdVaJa",
            "bdVaJa",
            "_abc",
            "x",
            "post-123",
            "a1b2c3",
            "xkcdqz",
            "card--wide",
            "odd",
            "is-open",
            "md:w-full",
            "Card_title__x8Kq2",
            "名",
        ] {
            assert!(!is_stable(name), "{name}");
        }
        assert_eq!(module_prefix("Card_title__x8Kq2"), Some("Card_title__"));
        assert_eq!(module_prefix("card__title"), None);
        assert_eq!(module_prefix("a__"), None);
    }

    #[test]
    fn names_say_more_or_less() {
        assert!(weight("news-list") < weight("herald"));
        assert!(weight("herald") < weight("col-left"));
        assert!(is_aside("main-menu") && is_aside("footer") && is_aside("site_nav"));
        assert!(!is_aside("content-with-sidebar") && !is_aside("has-sidebar") && !is_aside("news"));
    }
}
