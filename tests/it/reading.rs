//! Reading a source's document again: what is known of the last one spares work, and nothing is missed by it.

use std::{fs, sync::Arc};

use kawaraban::{
    config::{
        Source,
        load::{LoadOptions, load},
    },
    poll::{
        document::{Input, Parsed, read},
        window::Window,
    },
};

fn source() -> Arc<Source> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kawaraban.toml");
    fs::write(&path, "[[source]]\nname = \"news\"\nurl = \"https://news.example/feed.xml\"\n").unwrap();
    load(&path, &LoadOptions { read_secrets: true, env: &|_| None }).unwrap().config.sources[0].clone()
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
