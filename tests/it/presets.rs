//! The presets of `config/presets`, over pages of the same shape, in good and in changed form.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use expect_test::{Expect, expect};
use kawaraban::{
    config::{
        Config, Source,
        load::{LoadOptions, Needed, load},
    },
    feed::date::Region,
    identity::Keys,
    model::{ErrorKind, Failure, Item, Matched},
    page::{
        dom,
        field::{self, Kind, Within},
        rules::{Css, Rule},
    },
    poll::document::{self, Input, Parsed},
};
use url::Url;

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn preset(file: &str) -> Config {
    let path = root().join("config/presets").join(file);
    let loaded = load(&path, &LoadOptions { secrets: Needed::None, env: &|_| None });
    let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.warnings, [], "{file}");
    loaded.config
}

fn source(file: &str, name: &str) -> Arc<Source> {
    preset(file).sources.iter().find(|source| source.name.as_str() == name).unwrap().clone()
}

fn page(file: &str) -> String {
    std::fs::read_to_string(root().join("tests/fixtures/pages").join(file)).unwrap()
}

fn read(source: &Arc<Source>, body: &str) -> Result<Parsed, Failure> {
    let parsed = read_after(source, body, None)?;
    assert_eq!(parsed.warnings, [""; 0]);
    Ok(parsed)
}

/// Reads a page of which `matched` is what the last one gave.
fn read_after(source: &Arc<Source>, body: &str, matched: Option<Matched>) -> Result<Parsed, Failure> {
    let input = Input {
        body: body.to_owned().into(),
        content_type: None,
        url: source.url.clone(),
        source: source.clone(),
        window: Arc::default(),
        matched,
    };
    document::read(&input, &|| false)
}

/// Everything that each item has, a line a field.
fn shown(parsed: &Parsed) -> String {
    let shown = |item: &Item| {
        let serde_json::Value::Object(fields) = serde_json::to_value(item).unwrap() else { panic!("no object") };
        let is_set = |value: &serde_json::Value| match value {
            serde_json::Value::Null => false,
            serde_json::Value::Array(list) => !list.is_empty(),
            serde_json::Value::Object(map) => !map.is_empty(),
            _ => true,
        };
        fields.iter().filter(|(_, value)| is_set(value)).map(|(key, value)| format!("{key}: {value}\n")).collect()
    };
    parsed.candidates.iter().map(|candidate| shown(&candidate.item)).collect::<Vec<String>>().join("\n")
}

fn check(file: &str, name: &str, fixture: &str, expected: &Expect) {
    expected.assert_eq(&shown(&read(&source(file, name), &page(fixture)).unwrap()));
}

#[test]
fn every_preset_is_a_configuration_with_labels_and_colours() {
    let mut files = 0;
    for entry in std::fs::read_dir(root().join("config/presets")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        for source in preset(&file).sources {
            assert_ne!(source.label, source.name.as_str(), "{file}");
            assert!(source.color.is_some(), "{file}: {} has no colour", source.name);
            let is_wiki = source.name.as_str().contains("-wiki-") || source.name.as_str().contains("-fandom-");
            assert_eq!(source.request.timeout.as_secs(), if is_wiki { 25 } else { 20 }, "{file}: {}", source.name);
        }
        files += 1;
    }
    assert_eq!(files, 3);
}

#[test]
fn the_feeds_are_those_of_the_example() {
    let example = load(&root().join("config/kawaraban.toml"), &LoadOptions { secrets: Needed::None, env: &|_| None });
    let addresses = |config: &Config| -> Vec<(String, String)> {
        config.sources.iter().map(|source| (source.name.to_string(), source.url.to_string())).collect()
    };
    assert_eq!(addresses(&preset("anime-feeds.toml")), addresses(&example.unwrap().config));
}

#[test]
fn the_front_page_of_ann() {
    check(
        "anime-pages.toml",
        "ann-page",
        "ann.html",
        &expect![[r#"
        id: "article238699"
        image: "https://www.animenewsnetwork.com/thumbnails/crop400x400/cms/news.4/238699/poster.jpg"
        link: "https://www.animenewsnetwork.com/news/2026-01-09/a-first-trailer/.238699"
        published: "2026-01-09T21:14:00Z"
        title: "A First Trailer Shows Rain & Lanterns"

        id: "article238701"
        image: "https://www.animenewsnetwork.com/thumbnails/crop400x400/cms/news.4/238701/cover.png"
        link: "https://www.animenewsnetwork.com/news/2026-01-09/manga-ends-in-spring/.238701"
        published: "2026-01-09T16:30:00Z"
        title: "\"The Lamplighter's Notebook\" Ends in Spring"

        id: "article238640"
        link: "https://www.animenewsnetwork.com/news/2026-01-08/a-voice-actor-returns/.238640"
        published: "2026-01-08T07:05:09Z"
        title: "A Voice Actor Returns – 名探偵"
    "#]],
    );
}

#[test]
fn the_conan_page_of_ann() {
    check(
        "anime-pages.toml",
        "ann-conan-page",
        "ann-conan.html",
        &expect![[r#"
        extra: {"series":"Detective Conan"}
        id: "article238555"
        image: "https://cdn.example/thumbs/238555.jpg"
        link: "https://www.animenewsnetwork.com/news/2026-01-06/film-29-dated/.238555"
        published: "2026-01-06T12:00:00Z"
        title: "Film 29 Gets a Date"

        extra: {"series":"Detective Conan"}
        id: "article238111"
        image: "https://www.animenewsnetwork.com/thumbnails/238111.jpg"
        link: "https://www.animenewsnetwork.com/news/2025-12-20/a-special-on-two-evenings/.238111"
        published: "2025-12-20T10:30:00Z"
        title: "A Special on Two Evenings"
    "#]],
    );
}

#[test]
fn a_wikis_page_of_recent_changes() {
    let expected = expect![[r#"
        authors: ["Chekhov"]
        extra: {"comment":"(Trivia: a word on the cover)","editor":"Chekhov"}
        id: "412345"
        link: "https://www.detectiveconanworld.com/wiki/File_1152"
        published: "2026-01-09T21:14:00Z"
        title: "File 1152"

        authors: ["198.51.100.7"]
        extra: {"editor":"198.51.100.7"}
        id: "412340"
        link: "https://www.detectiveconanworld.com/wiki/Movie_29"
        published: "2026-01-09T00:05:00Z"
        title: "Movie 29"

        authors: ["Spica"]
        extra: {"comment":"(chapter's page <nowiki> & title)","editor":"Spica"}
        id: "412339"
        link: "https://www.detectiveconanworld.com/wiki/File_1152"
        published: "2026-01-08T23:59:00Z"
        title: "File 1152"
    "#]];
    check("anime-pages.toml", "conan-wiki-page", "recent-changes.html", &expected);
    check("mediawiki.toml", "conan-wiki-page", "recent-changes.html", &expected);
}

#[test]
fn a_fandom_page_of_recent_changes() {
    let expected = expect![[r#"
        authors: ["Haibara"]
        extra: {"comment":"Fixed the date","editor":"Haibara"}
        id: "88123"
        link: "https://detectiveconan.fandom.com/wiki/Ran"
        published: "2026-01-09T21:14:37Z"
        title: "Ran"

        authors: ["Hattori"]
        extra: {"editor":"Hattori"}
        id: "88120"
        link: "https://detectiveconan.fandom.com/wiki/Movie_1"
        published: "2026-01-09T03:02:01Z"
        title: "Movie 1"
    "#]];
    check("anime-pages.toml", "conan-fandom-page", "recent-changes-fandom.html", &expected);
    check("mediawiki.toml", "conan-fandom-page", "recent-changes-fandom.html", &expected);
}

#[test]
fn what_stands_under_a_heading_of_tms() {
    check(
        "anime-pages.toml",
        "tms",
        "tms.html",
        &expect![[r#"
        link: "https://www.tmsanime.com/news/film-29"
        title: "Film 29 in Cinemas"

        link: "https://www.tmsanime.com/news/exhibition"
        title: "Exhibition in Osaka"

        link: "https://www.tmsanime.com/news/box-set"
        title: "A Box Set"

        link: "https://www.tmsanime.com/news/four"
        title: "Four"

        link: "https://www.tmsanime.com/news/five"
        title: "Five"
    "#]],
    );
}

#[test]
fn a_wikis_recent_changes_by_api() {
    check(
        "mediawiki.toml",
        "conan-wiki-api",
        "recent-changes.json",
        &expect![[r#"
        authors: ["Chekhov"]
        extra: {"comment":"/* Trivia */ a word on the cover","editor":"Chekhov"}
        id: "412345"
        link: "https://www.detectiveconanworld.com/wiki/Special:Diff/412345"
        published: "2026-01-09T21:14:37Z"
        title: "File 1152"

        authors: ["198.51.100.7"]
        extra: {"editor":"198.51.100.7"}
        id: "412340"
        link: "https://www.detectiveconanworld.com/wiki/Special:Diff/412340"
        published: "2026-01-09T00:05:02Z"
        title: "Rain & Lanterns"
    "#]],
    );
}

#[test]
fn a_wikis_recent_changes_by_feed() {
    check(
        "mediawiki.toml",
        "conan-wiki-feed",
        "recent-changes.atom",
        &expect![[r#"
        authors: ["Chekhov"]
        content_html: "<p>a word on the cover</p>"
        id: "https://wiki.example/wiki/index.php?title=File_1152&diff=412345&oldid=412001"
        link: "https://wiki.example/wiki/index.php?title=File_1152&diff=412345&oldid=412001"
        summary: "a word on the cover"
        title: "File 1152"
        updated: "2026-01-09T21:14:37Z"
    "#]],
    );
}

#[test]
fn an_article_of_ann_adds_what_the_list_does_not_have() {
    let source = source("anime-pages.toml", "ann-page");
    let enrich = source.enrich.as_ref().unwrap();
    let tree = dom::parse(&page("ann-article.html"), &|| false).unwrap();
    let url = Url::parse("https://www.animenewsnetwork.com/news/2026-01-09/a-first-trailer/.238699").unwrap();
    let within = Within::new(&url, Region::Unknown, &|| false, 0);
    let of = |rule: &Option<Rule<Css>>, kind| {
        let found = field::first(tree.root_element(), rule.as_ref().unwrap(), kind, &within).unwrap().unwrap();
        found.at.map_or(found.text, |at| at.to_string())
    };
    let summary = of(&enrich.summary, Kind::Summary);
    assert!(summary.starts_with("The staff of the film Rain & Lanterns showed"), "{summary}");
    assert!(summary.ends_with('…') && summary.chars().count() <= 350, "{summary}");
    assert_eq!(of(&enrich.published, Kind::Date), "2026-01-09T21:14:30Z");
    assert_eq!(of(&enrich.image, Kind::Image), "https://cdn.example/thumbnails/max1200x630/238699/poster.jpg");
    assert_eq!(of(&enrich.video, Kind::Link), "https://www.youtube.com/watch?v=a1B2_c3-D4e");
    let without = dom::parse("<div class=meat><p>No film here.</p></div>", &|| false).unwrap();
    let video = enrich.video.as_ref().unwrap();
    assert_eq!(field::first(without.root_element(), video, Kind::Link, &within).unwrap(), None);
}

/// The rules of a preset with another text for a part of its file.
fn adapted(file: &str, name: &str, from: &str, to: &str) -> Arc<Source> {
    let text = std::fs::read_to_string(root().join("config/presets").join(file)).unwrap();
    assert!(text.contains(from), "{from}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(file);
    std::fs::write(&path, text.replace(from, to)).unwrap();
    let config = load(&path, &LoadOptions { secrets: Needed::None, env: &|_| None }).unwrap().config;
    config.sources.iter().find(|source| source.name.as_str() == name).unwrap().clone()
}

/// A page whose class was renamed fails; once the rules are adapted, nothing counts as new.
fn renamed(file: &str, name: &str, fixture: &str, (class, selector): (&str, &str), (new, adapted_to): (&str, &str)) {
    let body = page(fixture);
    let source = source(file, name);
    let known = read(&source, &body).unwrap().keys;
    assert!(body.contains(class), "{class}");
    let changed = body.replace(class, new);
    let error = read(&source, &changed).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Selector, "{error}");
    let told = error.to_string();
    assert!(told.contains(&format!("source[{name}].html.")) && told.contains("line"), "{told}");
    let again = read(&adapted(file, name, selector, adapted_to), &changed).unwrap();
    assert_eq!(unknown(&again, &known), 0, "{name}: seen items count as new");
}

/// Entries that the store would take for new after it saw entries with the keys `known`.
fn unknown(parsed: &Parsed, known: &[Keys]) -> usize {
    assert!(!parsed.keys.is_empty());
    let known: BTreeSet<u64> = known.iter().flat_map(Keys::all).collect();
    parsed.keys.iter().filter(|keys| !known.contains(&keys.strongest())).count()
}

#[test]
fn a_renamed_class_is_an_error_and_posts_nothing_twice() {
    let ann = ("herald box news t-news", "div.herald.box.news.t-news");
    renamed("anime-pages.toml", "ann-page", "ann.html", ann, ("card story", "div.card.story"));
    renamed("anime-pages.toml", "ann-conan-page", "ann-conan.html", ann, ("card story", "div.card.story"));
    let line = ("mw-changeslist-line ", "li.mw-changeslist-line:");
    renamed("anime-pages.toml", "conan-wiki-page", "recent-changes.html", line, ("change ", "li.change:"));
    renamed("anime-pages.toml", "conan-fandom-page", "recent-changes-fandom.html", line, ("change ", "li.change:"));
    let title = ("mw-changeslist-title", "a.mw-changeslist-title");
    renamed("anime-pages.toml", "conan-wiki-page", "recent-changes.html", title, ("page-title", "a.page-title"));
    renamed(
        "anime-pages.toml",
        "tms",
        "tms.html",
        ("Latest <b>TMS</b>", "latest\\s+tms\\s+news"),
        ("More of the", "more of the"),
    );
}

#[test]
fn an_attribute_that_is_gone_is_an_error_and_its_links_still_tell_the_items() {
    let source = source("anime-pages.toml", "ann-page");
    let body = page("ann.html");
    let Parsed { keys: known, matched, .. } = read(&source, &body).unwrap();
    let changed = body.replace("data-topics", "data-tags");
    let error = read_after(&source, &changed, matched).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Selector);
    assert!(error.to_string().contains("source[ann-page].html.id"), "{error}");
    let id = "id = { select = \":self\", attr = \"data-topics\", regex = 'article\\d+' }\n";
    let again = read(&adapted("anime-pages.toml", "ann-page", id, ""), &changed).unwrap();
    assert_eq!(unknown(&again, &known), 0);
    // a page that never had them is read: its links are enough
    let never = read_after(&source, &changed, None).unwrap();
    assert_eq!((never.keys.len(), unknown(&never, &known)), (known.len(), 0));
}
