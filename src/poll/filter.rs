//! `include` and `exclude`: which items pass.

use crate::{
    config::{Filter, Patterns},
    model::Item,
};

/// An item passes if it matches any include, or there is none, and no exclude.
pub fn passes(filter: &Filter, item: &Item) -> bool {
    (filter.include.is_empty() || matches(&filter.include, item)) && !matches(&filter.exclude, item)
}

fn matches(patterns: &Patterns, item: &Item) -> bool {
    let any = |patterns: &[regex::Regex], text: Option<&str>| {
        text.is_some_and(|text| patterns.iter().any(|pattern| pattern.is_match(text)))
    };
    any(&patterns.title, item.title.as_deref())
        || any(&patterns.summary, item.summary.as_deref())
        || any(&patterns.link, item.link.as_deref())
        || item.authors.iter().any(|author| any(&patterns.author, Some(author)))
        || item.categories.iter().any(|category| any(&patterns.category, Some(category)))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn item(title: &str, category: &str) -> Item {
        Item { title: Some(title.into()), categories: vec![category.into()], ..Item::default() }
    }

    fn patterns(title: &[&str], category: &[&str]) -> Patterns {
        let all = |texts: &[&str]| texts.iter().map(|text| Regex::new(text).unwrap()).collect();
        Patterns { title: all(title), category: all(category), ..Patterns::default() }
    }

    #[test]
    fn any_include_lets_pass_and_any_exclude_keeps_out() {
        let filter = Filter { include: patterns(&["(?i)conan"], &["anime"]), exclude: patterns(&["sponsored"], &[]) };
        assert!(passes(&filter, &item("Detective Conan", "tv")));
        assert!(passes(&filter, &item("Other", "anime")));
        assert!(!passes(&filter, &item("Other", "tv")));
        assert!(!passes(&filter, &item("Conan, sponsored", "anime")));
        assert!(passes(&Filter::default(), &Item::default()));
        assert!(!passes(&filter, &Item::default()));
    }
}
