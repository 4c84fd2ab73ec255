//! What a page says of its article in JSON-LD (schema.org), in the shapes that pages really use: one object, a
//! list, a `@graph`; names as texts, objects, lists of either, or references by `@id`.
//!
//! What is no JSON is passed over: it is an offer of the page's, and nobody's duty.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Expired, json};

/// Scripts that are read, bytes of each, and values of all, an object counting as some.
pub(super) const MOST_SCRIPTS: usize = 16;
const LONGEST: usize = 512 * 1024;
const MOST_VALUES: usize = 200_000;
/// Texts kept of one kind, and the longest: a reference by `@id` repeats what it refers to.
const MAX_TEXTS: usize = 50;
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Objects looked at, and how deep within each other.
const MOST_NODES: usize = 2_000;
const DEEPEST: usize = 4;

/// The first value found of each; addresses as they stand there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct LinkedData {
    pub(super) images: Vec<String>,
    pub(super) description: Option<String>,
    pub(super) authors: Vec<String>,
    pub(super) published: Option<String>,
    pub(super) videos: Vec<String>,
}

/// Reads the texts of a page's `application/ld+json` scripts, as far as there is time.
pub(super) fn read(scripts: &[String], expired: Expired<'_>) -> LinkedData {
    let mut left = MOST_VALUES;
    let fit = scripts.iter().filter(|script| script.len() <= LONGEST).take(MOST_SCRIPTS).take_while(|_| !expired());
    let fit = fit.map(|script| bare(script)).filter(|script| match left.checked_sub(json::weight(script.as_bytes())) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
    let values: Vec<Value> = fit.filter_map(|script| serde_json::from_str(script).ok()).collect();
    let mut nodes = Nodes::default();
    values.iter().for_each(|value| nodes.gather(value, 0));

    let mut found = LinkedData::default();
    let (articles, others): (Vec<&Node>, Vec<&Node>) =
        nodes.all.iter().copied().partition(|node| has_type(node, is_article));
    for article in articles.into_iter().take_while(|_| !expired()) {
        let texts = |key, of: &[&str]| article.get(key).map_or_else(Vec::new, |value| nodes.texts(value, of));
        fill(&mut found.images, || texts("image", &["url", "contentUrl"]));
        fill(&mut found.images, || texts("thumbnailUrl", &[]));
        fill(&mut found.authors, || texts("author", &["name"]));
        fill(&mut found.videos, || texts("video", &["contentUrl", "embedUrl"]));
        let first = |key| texts(key, &[]).first().map(|text| (*text).to_owned());
        found.description = found.description.or_else(|| first("description"));
        found.published = found.published.or_else(|| first("datePublished"));
    }
    for film in others.into_iter().filter(|node| has_type(node, |name| name == "VideoObject")) {
        fill(&mut found.videos, || nodes.named(film, &["contentUrl", "embedUrl"]).into_iter().collect());
    }
    found
}

fn fill<'v>(list: &mut Vec<String>, texts: impl FnOnce() -> Vec<&'v str>) {
    if list.is_empty() {
        *list = texts().into_iter().map(str::to_owned).collect();
    }
}

/// Without what some pages put around it so that old browsers do not show it.
fn bare(script: &str) -> &str {
    let script = script.trim();
    let script = script.strip_prefix("<!--").or_else(|| script.strip_prefix("//<![CDATA[")).unwrap_or(script);
    let script = script.strip_suffix("-->").or_else(|| script.strip_suffix("//]]>")).unwrap_or(script);
    script.trim().trim_end_matches(';')
}

type Node = Map<String, Value>;

/// Whether one of the node's types is such a one; with or without `https://schema.org/` before it.
fn has_type(node: &Node, fits: impl Fn(&str) -> bool) -> bool {
    let fits = |value: &Value| {
        let name = value.as_str().unwrap_or_default();
        fits(name.rsplit(['/', ':']).next().unwrap_or_default())
    };
    match node.get("@type") {
        Some(Value::Array(types)) => types.iter().any(fits),
        Some(one) => fits(one),
        None => false,
    }
}

fn is_article(name: &str) -> bool {
    name.ends_with("Article") || name.ends_with("Posting") || matches!(name, "Report" | "Review")
}

#[derive(Default)]
struct Nodes<'v> {
    all: Vec<&'v Node>,
    by_id: HashMap<&'v str, &'v Node>,
}

impl<'v> Nodes<'v> {
    fn gather(&mut self, value: &'v Value, depth: usize) {
        if depth > DEEPEST || self.all.len() >= MOST_NODES {
            return;
        }
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.gather(value, depth + 1)),
            Value::Object(node) => {
                self.all.push(node);
                if let Some(id) = node.get("@id").and_then(Value::as_str).filter(|_| node.len() > 1) {
                    self.by_id.entry(id).or_insert(node);
                }
                for key in ["@graph", "mainEntity", "mainEntityOfPage"] {
                    if let Some(inner) = node.get(key) {
                        self.gather(inner, depth + 1);
                    }
                }
            }
            _ => {}
        }
    }

    /// The texts that a value means: itself, or the first of the keys `of` that its objects have.
    fn texts(&self, value: &'v Value, of: &[&str]) -> Vec<&'v str> {
        let list = std::slice::from_ref(value);
        let values = value.as_array().map_or(list, Vec::as_slice).iter().take(MOST_NODES);
        let texts = values.filter_map(|value| match value {
            Value::String(text) => said(text),
            Value::Object(node) => self.named(node, of),
            _ => None,
        });
        texts.take(MAX_TEXTS).collect()
    }

    fn named(&self, node: &'v Node, of: &[&str]) -> Option<&'v str> {
        let own = |node: &'v Node| {
            of.iter().find_map(|key| match node.get(*key)? {
                Value::Array(values) => values.first()?.as_str().and_then(said),
                value => value.as_str().and_then(said),
            })
        };
        own(node).or_else(|| own(self.by_id.get(node.get("@id")?.as_str()?)?))
    }
}

/// The text, if it says something and is of a length that somebody would write.
fn said(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| (1..=MAX_TEXT_BYTES).contains(&text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(script: &str) -> LinkedData {
        read(&[script.to_owned()], &|| false)
    }

    #[test]
    fn an_article_is_found_in_every_shape() {
        let article = r#"{"@type":"NewsArticle","headline":"x","image":"/a.jpg","author":"Ann","datePublished":"2026-01-09","description":"d"}"#;
        let expected = LinkedData {
            images: vec!["/a.jpg".into()],
            description: Some("d".into()),
            authors: vec!["Ann".into()],
            published: Some("2026-01-09".into()),
            videos: Vec::new(),
        };
        for script in [
            article.to_owned(),
            format!("[{article}]"),
            format!(r#"[{{"@type":"Organization","image":"/logo.png"}}, {article}]"#),
            format!(r#"{{"@context":"https://schema.org","@graph":[{{"@type":"WebSite"}},{article}]}}"#),
            format!(r#"{{"@type":"WebPage","image":"/page.jpg","mainEntity":{article}}}"#),
            format!("<!--{article}-->"),
            format!("\n//<![CDATA[\n{article};\n//]]>"),
            article.replace("NewsArticle", "https://schema.org/BlogPosting"),
            article.replace("\"NewsArticle\"", r#"["Thing", "Article"]"#),
        ] {
            assert_eq!(one(&script), expected, "{script}");
        }
    }

    #[test]
    fn names_and_images_are_texts_objects_lists_or_references() {
        let data = |image: &str, author: &str| {
            one(&format!(
                r##"{{"@graph":[{{"@type":"Article","image":{image},"author":{author}}},
                {{"@type":"Person","@id":"#ann","name":"Ann"}},{{"@type":"ImageObject","@id":"#i","url":"/i.jpg"}}]}}"##
            ))
        };
        for (image, author) in [
            ("\"/i.jpg\"", "\"Ann\""),
            (r#"{"@type":"ImageObject","url":"/i.jpg"}"#, r#"{"@type":"Person","name":" Ann "}"#),
            (r#"{"contentUrl":["/i.jpg","/j.jpg"]}"#, r#"{"name":["Ann"]}"#),
            (r##"{"@id":"#i"}"##, r##"[{"@id":"#ann"}]"##),
        ] {
            let found = data(image, author);
            assert_eq!((found.images, found.authors), (vec!["/i.jpg".to_owned()], vec!["Ann".to_owned()]), "{image}");
        }
        let two = data(r#"["/i.jpg", {"url":"/j.jpg"}]"#, r#"[{"name":"Ann"},"Bob",{"url":"http://x"},7,null]"#);
        assert_eq!((two.images.len(), two.authors), (2, vec!["Ann".to_owned(), "Bob".to_owned()]));
    }

    #[test]
    fn films_are_the_articles_own_or_stand_beside_it() {
        let own = one(r#"{"@type":"Article","video":{"@type":"VideoObject","contentUrl":"/f.mp4","embedUrl":"/f"}}"#);
        assert_eq!(own.videos, ["/f.mp4"]);
        let beside =
            one(r#"[{"@type":"Article"},{"@type":"VideoObject","embedUrl":"https://www.youtube.com/embed/x"}]"#);
        assert_eq!(beside.videos, ["https://www.youtube.com/embed/x"]);
    }

    #[test]
    fn what_is_no_article_or_no_json_says_nothing() {
        let deep = "[".repeat(100_000);
        let loops = r##"{"@type":"Article","@id":"#a","author":{"@id":"#a"},"image":{"@id":"#b"}}"##;
        for script in ["", "null", "{", "[1,\"a\",[[]]]", &deep, loops, r#"{"@type":"Product","image":"/p.jpg"}"#] {
            assert_eq!(one(script), LinkedData::default(), "{}", &script[..script.len().min(80)]);
        }
        let mut many = vec!["{".to_owned(); MOST_SCRIPTS];
        many.push(r#"{"@type":"Article","author":"Ann"}"#.into());
        assert_eq!(read(&many, &|| false), LinkedData::default());
        let values = format!(r#"{{"@type":"Article","author":"Ann","x":[{}0]}}"#, "0,".repeat(MOST_VALUES));
        assert_eq!(one(&values), LinkedData::default());
        let long = format!(r#"{{"@type":"Article","author":"{}"}}"#, "a".repeat(LONGEST));
        assert_eq!(one(&long), LinkedData::default());
    }

    #[test]
    fn what_is_referred_to_often_is_not_kept_often() {
        let references = vec![r##"{"@id":"#a"}"##; 2000].join(",");
        let name = "a".repeat(MAX_TEXT_BYTES);
        let found = one(&format!(
            r##"[{{"@type":"Article","author":[{references}],"image":[{references}]}},{{"@id":"#a","name":"{name}x"}}]"##
        ));
        assert_eq!(found, LinkedData::default(), "nobody has so long a name");
        let found =
            one(&format!(r##"[{{"@type":"Article","author":[{references}]}},{{"@id":"#a","name":"{name}"}}]"##));
        assert_eq!(found.authors.len(), MAX_TEXTS);
    }
}
