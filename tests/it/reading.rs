//! Reading a source's document again: what is known of the last one spares work, and nothing is missed by it.

use std::{collections::BTreeMap, fs, sync::Arc};

use jiff::tz::TimeZone;
use kawaraban::{
    config::{
        OnEmpty, Source, SourceKind,
        load::{LoadOptions, Needed, load},
    },
    model::{ErrorKind, Failure, Matched},
    page::rules::{Css, DateRule, Fields, Items, PageRules, Pick, Place, Rule, Take, What},
    poll::{
        document::{Input, Parsed, read},
        window::Window,
    },
};

fn source() -> Arc<Source> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kawaraban.toml");
    fs::write(&path, "[[source]]\nname = \"news\"\nurl = \"https://news.example/feed.xml\"\n").unwrap();
    load(&path, &LoadOptions { secrets: Needed::All, env: &|_| None }).unwrap().config.sources[0].clone()
}

struct Reader {
    source: Arc<Source>,
    window: Arc<Window>,
}

impl Reader {
    fn new() -> Self {
        Self { source: source(), window: Arc::default() }
    }

    /// Titles of the items that may be new.
    fn read(&mut self, items: &[String]) -> Vec<String> {
        let body = format!("<rss version=\"2.0\"><channel><title>News</title>{}</channel></rss>", items.concat());
        let url = self.source.url.clone();
        let input = Input {
            body: body.into(),
            content_type: None,
            url,
            source: self.source.clone(),
            window: self.window.clone(),
            matched: None,
        };
        let Parsed { candidates, window, keys, .. } = read(&input, &|| false).unwrap();
        assert_eq!(keys.len(), items.len());
        self.window = Arc::new(window);
        candidates.into_iter().map(|candidate| candidate.item.title.unwrap_or_default()).collect()
    }
}

fn item(title: &str, guid: &str, link: &str) -> String {
    format!(
        "<item><title>{title}</title><guid isPermaLink=\"false\">{guid}</guid><link>https://news.example/{link}</link></item>\n"
    )
}

#[test]
fn only_what_the_last_document_lacked_may_be_new() {
    let mut reader = Reader::new();
    let items: Vec<String> = (0..20).map(|n| item(&format!("Title {n}"), &format!("g{n}"), &format!("l{n}"))).collect();
    assert_eq!(reader.read(&items[1..]).len(), 19);
    assert_eq!(reader.read(&items), ["Title 0"]);
    // an edited title of a known guid is no news; the others stay known by their bytes
    let mut edited = items.clone();
    edited[3] = item("Title 3, corrected", "g3", "l3");
    assert_eq!(reader.read(&edited), [""; 0]);
    let reversed: Vec<String> = edited.iter().rev().cloned().collect();
    assert_eq!(reader.read(&reversed), [""; 0]);
}

/// The guid that made an item seen is shared now, so that it counts for neither: both are known by their
/// links, and the old one's was never remembered as its strongest key. The store decides, but has to be asked.
#[test]
fn an_item_with_the_same_bytes_is_asked_for_when_another_takes_its_guid() {
    let mut reader = Reader::new();
    let old = item("Old", "guid", "old");
    assert_eq!(reader.read(std::slice::from_ref(&old)), ["Old"]);
    assert_eq!(reader.read(&[item("New", "guid", "new"), old.clone()]), ["New", "Old"]);
    assert_eq!(reader.read(&[item("New", "guid", "new"), old]), [""; 0]);
}

/// A source of a page with a heading and a link an item.
pub(crate) fn page(on_empty: OnEmpty) -> Arc<Source> {
    let place = |key: &str| Place { line: 4, column: 1, key: format!("source[news].html.{key}") };
    let css = |key: &str, text: &str| Css {
        text: text.into(),
        place: place(key),
        selector: scraper::Selector::parse(text).unwrap(),
    };
    let rule = |key: &str, text: &str| Rule {
        place: place(key),
        take: Take::Pick(Pick { select: Some(css(key, text)), what: What::Natural }),
        regex: None,
        min_length: 0,
        max_length: None,
        date: DateRule { format: None, zone: TimeZone::UTC, under: None },
    };
    let fields = Fields {
        title: rule("title", "h3"),
        link: Some(rule("link", "a")),
        id: None,
        published: None,
        summary: None,
        image: None,
        author: None,
        category: None,
        extra: BTreeMap::new(),
    };
    let rules = PageRules { items: Items::All(css("items", "div[class]")), fields };
    Arc::new(Source { kind: SourceKind::Html(Arc::new(rules)), on_empty, ..Source::clone(&source()) })
}

fn read_page(source: &Arc<Source>, window: &Arc<Window>, body: String) -> Result<Parsed, Failure> {
    let url = source.url.clone();
    let (source, window) = (source.clone(), window.clone());
    read(&Input { body: body.into(), content_type: None, url, source, window, matched: None }, &|| false)
}

pub(crate) fn boxes(class: &str, numbers: std::ops::Range<u32>) -> String {
    let one = |n| format!("<div class={class}><h3><a href=/{n}>Title {n}</a></h3></div>");
    format!("<!doctype html><title>News</title>{}", numbers.map(one).collect::<String>())
}

#[test]
fn a_page_that_changed_its_looks_has_nothing_new() {
    let source = page(OnEmpty::Auto);
    let first = read_page(&source, &Arc::default(), boxes("news", 1..5)).unwrap();
    assert_eq!((first.format, first.whole, first.keys.len(), first.candidates.len()), ("html", true, 4, 4));
    let fields = [("link".to_owned(), 4), ("title".to_owned(), 4)];
    assert_eq!(first.matched, Some(Matched { items: 4, fields: fields.into_iter().collect() }));
    let window = Arc::new(first.window);
    let changed = read_page(&source, &window, boxes("card", 0..5)).unwrap();
    let titles: Vec<_> = changed.candidates.iter().map(|new| (new.index, new.item.title.as_deref())).collect();
    assert_eq!(titles, [(0, Some("Title 0"))]);
    assert_eq!(changed.candidates[0].item.link.as_deref(), Some("https://news.example/0"));
}

#[test]
fn a_page_without_items_is_an_error_unless_it_may_be_empty() {
    for on_empty in [OnEmpty::Auto, OnEmpty::Fail] {
        let failure = read_page(&page(on_empty), &Arc::default(), boxes("news", 0..0)).unwrap_err();
        assert_eq!((failure.kind, failure.retry), (ErrorKind::Selector, false));
        assert_eq!(
            failure.message,
            "source[news].html.items (line 4, column 1): \"div[class]\" matches nothing; what came is an HTML page: \"News\""
        );
    }
    let empty = read_page(&page(OnEmpty::Ok), &Arc::default(), boxes("news", 0..0)).unwrap();
    assert_eq!((empty.keys.len(), empty.matched.map(|matched| matched.items)), (0, Some(0)));
    let drifted = boxes("news", 1..5).replace("h3>", "h2>");
    let failure = read_page(&page(OnEmpty::Ok), &Arc::default(), drifted).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Selector);
}
