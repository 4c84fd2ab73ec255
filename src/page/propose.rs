//! Rules for a page that has no feed, from what repeats in it.
//!
//! | step | where |
//! | --- | --- |
//! | the tree as a list, with what each element holds | `outline` |
//! | elements alike, as lists of news | `group` |
//! | the names that will still be there next week | `names` |
//! | a selector for exactly these elements | `selector` |
//! | what in an item is its title, link, date, image, summary | `fields` |
//! | the same for JSON | `json` |
//!
//! Everything here is a suggestion: who reads it sees the items that it yields, and may write a better one.
//! The work is bounded by the size of the tree and, where selectors are tried, by the caller's clock.

use std::{collections::HashSet, fmt::Write as _};

use scraper::Html;
use serde_json::Value;
use url::Url;

mod fields;
mod group;
mod json;
mod names;
mod outline;
mod selector;

use super::Expired;

/// Proposals made for one document.
const MOST: usize = 5;

/// Groups of a page for which rules are tried.
const TRIED: usize = 12;

/// How the document would be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `kind = "html"`
    Html,
    /// `kind = "json"`
    Json,
}

/// A field's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// `title`, `link`, …
    pub name: &'static str,
    /// A selector or a pointer.
    pub select: String,
    /// Where more than none are asked for, in characters.
    pub min_length: usize,
}

/// Rules as the configuration writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// For which kind of source.
    pub kind: Kind,
    /// Where the items are.
    pub items: String,
    /// What to take from each.
    pub fields: Vec<Field>,
    /// The JSON is the text of this element of a page.
    pub embedded: Option<String>,
    /// Items in the document as it is now.
    pub count: usize,
}

impl Proposal {
    /// `kind = …` and what else belongs into the source's own table.
    pub fn keys(&self) -> String {
        let mut text = format!("kind = \"{}\"\n", self.word());
        if let Some(embedded) = &self.embedded {
            let _ = writeln!(text, "embedded = {}", quoted(embedded));
        }
        text
    }

    /// `[source.html]` or `[source.json]`.
    pub fn table(&self) -> String {
        let mut text = format!("[source.{}]\nitems = {}\n", self.word(), quoted(&self.items));
        for Field { name, select, min_length } in &self.fields {
            let select = quoted(select);
            let _ = match min_length {
                0 => writeln!(text, "{name} = {select}"),
                least => writeln!(text, "{name} = {{ select = {select}, min_length = {least} }}"),
            };
        }
        text
    }

    fn word(&self) -> &'static str {
        match self.kind {
            Kind::Html => "html",
            Kind::Json => "json",
        }
    }
}

/// A TOML string.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Rules for a page, the likeliest first; none where nothing repeats that looks like news.
pub fn of_page(html: &Html, url: &Url, expired: Expired<'_>) -> Vec<Proposal> {
    let base = super::discover::base(html, url);
    let outline = outline::Outline::new(html, &base);
    let mut proposals: Vec<Proposal> = Vec::new();
    let mut proposed = HashSet::new();
    for group in group::best_first(&outline, expired).into_iter().take(TRIED) {
        if expired() || proposals.len() == MOST {
            break;
        }
        // the same list again, a level above or below
        let links: Vec<usize> = group.links(&outline).collect();
        if links.iter().filter(|link| proposed.contains(*link)).count() * 2 > links.len() {
            continue;
        }
        let Some(items) = selector::of(&outline, &group, expired) else { continue };
        let Some(fields) = fields::of(&outline, &group, expired) else { continue };
        let count = group.members.len();
        proposals.push(Proposal { kind: Kind::Html, items, fields, embedded: None, count });
        proposed.extend(links);
    }
    proposals
}

/// Rules for JSON, the likeliest first.
pub fn of_json(value: &Value) -> Vec<Proposal> {
    json::of(value)
}

/// Rules for the JSON that a page carries within a script element, for a page that is built from it.
pub fn of_embedded(html: &Html) -> Vec<Proposal> {
    let scripts = html.root_element().descendent_elements().filter(|element| element.value().name() == "script");
    let mut proposals = Vec::new();
    for script in scripts {
        let json = script.attr("type").is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
        let Some(id) = script.attr("id").filter(|id| json && names::is_plain(id)) else { continue };
        let text: String = script.text().collect();
        let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
        let embedded = Some(format!("script#{id}"));
        proposals.extend(json::of(&value).into_iter().map(|rules| Proposal { embedded: embedded.clone(), ..rules }));
        if proposals.len() >= MOST {
            break;
        }
    }
    proposals.truncate(MOST);
    proposals
}

#[cfg(test)]
mod tests;
