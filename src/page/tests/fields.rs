//! Every option of a FIELD, and what fields take that say nothing.

use serde_json::{Value, json};

use super::*;

/// The only item's `field`, by a rule.
fn field(field: &str, spec: Value, html: &str) -> Value {
    let mut rules = json!({ "items": "article", "title": { "const": "title" } });
    let spec = match field.strip_prefix("extra.") {
        Some(name) => json!({ name: spec }),
        None => spec,
    };
    let key = field.split('.').next().unwrap();
    rules[key] = spec;
    let item = only(read_page(format!("<article id=a1 class='x y'>{html}</article>"), &rules));
    item.pointer(&format!("/{}", field.replace('.', "/"))).cloned().unwrap_or_default()
}

#[test]
fn every_option_of_a_field() {
    let html = "<h3>One <b>two</b></h3><h3>Three</h3><p>id: 42, rev 7</p><p></p><a href=/x title=' T  1 '>go</a>";
    for (spec, expected) in [
        (json!("h3"), json!("One two")),
        (json!({ "select": "h3" }), json!("One two")),
        (json!({ "select": ":self", "attr": "id" }), json!("a1")),
        (json!({ "select": ":self", "attr": "CLASS" }), json!("x y")),
        (json!({ "select": "a", "attr": "title" }), json!("T 1")),
        (json!({ "select": "a", "attr": "none" }), json!(null)),
        (json!({ "select": "h3", "attr": "html" }), json!("One <b>two</b>")),
        (json!({ "select": "p", "regex": r"id: (\d+)" }), json!("42")),
        (json!({ "select": "p", "regex": r"rev \d" }), json!("rev 7")),
        (json!({ "select": "p", "regex": r"(x)?rev" }), json!("rev")),
        (json!({ "select": "p", "regex": "none" }), json!(null)),
        // the first match that gives something
        (json!({ "select": "p, h3", "regex": "T.*" }), json!("Three")),
        (json!({ "select": "h3", "min_length": 6 }), json!("One two")),
        (json!({ "select": "h3", "min_length": 8 }), json!(null)),
        (json!({ "select": "h3", "regex": "^T.*|two", "min_length": 5 }), json!("Three")),
        (json!({ "select": "h3", "max_length": 5 }), json!("One…")),
        (json!({ "select": "h3", "max_length": 7 }), json!("One two")),
        (json!({ "const": "fixed" }), json!("fixed")),
        (json!({ "any": ["h1", "h2", "h3", "p"] }), json!("One two")),
        (json!({ "any": ["h1", { "const": "else" }] }), json!("else")),
        (json!({ "any": ["h3", "p"], "regex": r"\d+" }), json!("42")),
        (json!({ "any": ["h3", "p"], "min_length": 9 }), json!("id: 42, rev 7")),
        (json!({ "join": ["h3", "h1", "a"] }), json!("One two go")),
        (json!({ "join": ["h3", { "const": "x" }], "with": "" }), json!("One twox")),
        (json!({ "join": ["h1", "h2"], "with": ", " }), json!(null)),
        (json!({ "join": ["h3", "p"], "regex": "(?i)TWO ID", "max_length": 4 }), json!("two…")),
        (json!({ "any": [{ "join": ["h1", "h2"] }, { "any": ["h6", "a"] }] }), json!("go")),
        (json!(":scope > h3 + h3"), json!("Three")),
        (json!("h3:nth-of-type(2)"), json!("Three")),
        (json!("article h3"), json!("One two")),
    ] {
        assert_eq!(field("extra.it", spec.clone(), html), expected, "{spec}");
    }
}

#[test]
fn links_are_found_and_made_absolute() {
    let html = "<h3><a href=#>menu</a> <a href='../1?a=1&amp;copy=2#x'>One</a></h3><i>/spelled</i><b>words</b>\
                <u data-u=2>see</u><iframe src=//video.example/e></iframe><s><a href='javascript:go()'>y</a></s>";
    for (spec, expected) in [
        (json!("h3"), json!("https://site.example/1?a=1&copy=2#x")),
        (json!("a"), json!("https://site.example/1?a=1&copy=2#x")),
        (json!({ "select": "a", "attr": "href" }), json!("https://site.example/1?a=1&copy=2#x")),
        (json!("iframe"), json!("https://video.example/e")),
        (json!("i"), json!("https://site.example/spelled")),
        (json!("b"), json!(null)),
        (json!("s"), json!(null)),
        (json!({ "select": "s a", "attr": "href" }), json!(null)),
        (json!({ "select": "b", "regex": "w.*" }), json!(null)),
        (json!({ "select": "u", "attr": "data-u" }), json!("https://site.example/news/2")),
        (
            json!({ "join": [{ "const": "/w?id=" }, { "select": "u", "attr": "data-u" }], "with": "" }),
            json!("https://site.example/w?id=2"),
        ),
        (json!({ "join": [{ "const": "/" }, "b"], "with": "" }), json!("https://site.example/words")),
        (json!({ "any": ["s", "b", "i"] }), json!("https://site.example/spelled")),
        (json!({ "any": ["h3"], "regex": r"^[^?]+" }), json!("https://site.example/1")),
        (json!({ "const": "https://other.example/" }), json!("https://other.example/")),
    ] {
        assert_eq!(field("link", spec.clone(), html), expected, "{spec}");
    }
    // a further field's address is one, unless it is taken apart
    assert_eq!(field("extra.v", json!({ "select": "iframe", "attr": "src" }), html), "https://video.example/e");
    assert_eq!(field("extra.v", json!({ "select": "iframe", "attr": "src", "regex": "e$" }), html), "e");
}

#[test]
fn a_base_moves_links() {
    let rules = json!({ "items": "li", "title": ":self", "link": "a" });
    let link = |head: &str| shown(read_page(format!("{head}<li><a href=x>One</a>"), &rules))[0]["link"].clone();
    assert_eq!(link(""), "https://site.example/news/x");
    assert_eq!(link("<base href=/b/>"), "https://site.example/b/x");
    assert_eq!(link("<base href=https://other.example/c/><base href=/d/>"), "https://other.example/c/x");
    assert_eq!(link("<base href='http://[bad'>"), "https://site.example/news/x");
}

#[test]
fn images_are_found_where_they_load_from() {
    let html = "<div class=t data-src=/t.jpg></div><p>x<img src='data:image/gif;base64,R0' data-lazy-src=l.jpg></p>\
                <picture><source srcset='s.webp 1x, b.webp 2x'><img src=b.jpg></picture><i>/words.png</i>";
    for (spec, expected) in [
        (json!(".t"), json!("https://site.example/t.jpg")),
        (json!({ "select": ".t", "attr": "data-src" }), json!("https://site.example/t.jpg")),
        (json!(":self"), json!("https://site.example/news/l.jpg")),
        (json!("picture"), json!("https://site.example/news/b.webp")),
        (json!({ "select": "source", "attr": "srcset" }), json!("https://site.example/news/b.webp")),
        (json!({ "select": "p img", "attr": "src" }), json!(null)),
        (json!({ "select": "img", "attr": "src" }), json!("https://site.example/news/b.jpg")),
        (json!("i"), json!(null)),
        (json!({ "select": "i", "regex": ".*" }), json!(null)),
        (json!({ "any": ["i", "picture img"] }), json!("https://site.example/news/b.jpg")),
    ] {
        assert_eq!(field("image", spec.clone(), html), expected, "{spec}");
    }
}

#[test]
fn dates_are_read_from_where_they_are() {
    let html = "<time datetime=2026-01-09T21:14:00+09:00>yesterday</time><time>9 Jan 2026</time><b>21:14, 9 January 2026</b>\
                <abbr title=2026-01-09T21:14:00Z>today</abbr><s>Posted 09.01.2026 at 21.14</s><u>21:14</u><i data-t=1767993240></i>\
                <time datetime=soon>2026-01-08</time>";
    for (spec, expected) in [
        (json!("time"), json!("2026-01-09T12:14:00Z")),
        (json!({ "select": "time", "attr": "datetime", "zone": "Asia/Tokyo" }), json!("2026-01-09T12:14:00Z")),
        (json!("b"), json!("2026-01-09T21:14:00Z")),
        (json!({ "select": "b", "zone": "Asia/Tokyo" }), json!("2026-01-09T12:14:00Z")),
        (json!("abbr"), json!("2026-01-09T21:14:00Z")),
        (
            json!({ "select": "s", "regex": r"[\d.]+ at [\d.]+", "format": "%d.%m.%Y at %H.%M" }),
            json!("2026-01-09T21:14:00Z"),
        ),
        (
            json!({ "select": "s", "format": "Posted %d.%m.%Y at %H.%M", "zone": "Europe/Berlin" }),
            json!("2026-01-09T20:14:00Z"),
        ),
        (json!({ "select": "i", "attr": "data-t" }), json!("2026-01-09T21:14:00Z")),
        (json!("u"), json!(null)),
        (json!("u, b"), json!("2026-01-09T21:14:00Z")),
        (json!("time[datetime=soon]"), json!("2026-01-08T00:00:00Z")),
        (json!({ "any": ["u", "h1", "b"] }), json!("2026-01-09T21:14:00Z")),
        (json!({ "any": ["u", { "select": "b", "zone": "Asia/Tokyo" }] }), json!("2026-01-09T12:14:00Z")),
        (
            json!({ "any": ["u", { "select": "b", "zone": "UTC" }], "zone": "Asia/Tokyo" }),
            json!("2026-01-09T21:14:00Z"),
        ),
        (
            json!({ "any": [{ "select": "s", "format": "Posted %d.%m.%Y at %H.%M" }, "b"] }),
            json!("2026-01-09T21:14:00Z"),
        ),
        (
            json!({ "any": ["s"], "regex": r"[\d.]+ at [\d.]+", "format": "%d.%m.%Y at %H.%M" }),
            json!("2026-01-09T21:14:00Z"),
        ),
        (json!({ "join": [{ "const": "2026-01-08" }, "u"] }), json!("2026-01-08T21:14:00Z")),
    ] {
        assert_eq!(field("published", spec.clone(), html), expected, "{spec}");
    }
}

#[test]
fn a_time_stands_under_its_day() {
    let rules = json!({
        "items": "li", "title": "b",
        "published": { "select": "i", "under": "h4", "zone": "Europe/Berlin" },
    });
    let html = "<i>1:00</i><li><b>zero</b> <i>9:00</i></li>\
                <section><h4>9 January 2026</h4><div><ul><li><i>21:14</i> <b>one</b></li><li><b>two</b> <i>20:00</i></li></ul></div></section>\
                <h4>8 July 2026</h4><ul><li><b>three</b> <i>23:59</i> <i>0:00</i></li><li><b>four</b> <i>7 July 2026 1:00</i></li></ul>";
    let times: Vec<Value> =
        shown(read_page(html, &rules)).iter().map(|item| item.get("published").cloned().unwrap_or_default()).collect();
    let expected = json!([null, "2026-01-09T20:14:00Z", "2026-01-09T19:00:00Z", "2026-07-08T21:59:00Z",]);
    assert_eq!(times[..4], expected.as_array().unwrap()[..]);
    let formatted = json!({
        "items": "li", "title": "b",
        "published": { "select": "i", "under": "h4", "format": "%d %B %Y %H:%M" },
    });
    assert_eq!(shown(read_page(html, &formatted))[1]["published"], "2026-01-09T21:14:00Z");
    // where there is no time, there is the day
    let list = "<dl><dt>09.01.26</dt><dd><b>one</b></dd><dd><b>two</b></dd></dl>";
    let dated =
        json!({ "items": "dd", "title": "b", "published": { "select": "b", "under": "dt", "format": "%d.%m.%y" } });
    assert_eq!(shown(read_page(list, &dated))[1]["published"], "2026-01-09T00:00:00Z");
    // an element that holds the item is not before it
    let around = json!({ "items": "li", "title": "b", "published": { "select": "i", "under": "section, h4" } });
    assert_eq!(shown(read_page(html, &around))[1]["published"], "2026-01-09T21:14:00Z");
}

#[test]
fn authors_and_categories_are_all_that_match_each_once() {
    let html = "<a rel=author>Ann</a><a rel=author> </a><a rel=author>Bob</a><a rel=author>Ann</a><em>x</em>";
    for (spec, expected) in [
        (json!("a"), json!(["Ann", "Bob"])),
        (json!({ "select": "a", "regex": "^B.*" }), json!(["Bob"])),
        (json!({ "any": ["u", "a", "em"] }), json!(["Ann", "Bob"])),
        (json!({ "const": "One" }), json!(["One"])),
        (json!({ "join": ["a", "em"], "with": "/" }), json!(["Ann/x"])),
        (json!("u"), json!(null)),
    ] {
        for name in ["author", "category"] {
            let field = field(if name == "author" { "authors" } else { "categories" }, json!(null), "");
            assert_eq!(field, json!(null));
        }
        let rules = json!({ "items": "article", "title": { "const": "t" }, "author": spec, "category": spec });
        let item = shown(read_page(format!("<article>{html}</article>"), &rules)).remove(0);
        let all = |name: &str| item.get(name).cloned().unwrap_or_default();
        assert_eq!([all("authors"), all("categories")], [expected.clone(), expected], "{spec}");
    }
}

#[test]
fn a_summary_may_keep_its_html() {
    let html = "<div><p>One &amp; <b>two</b></p><p>three</p><script>no()</script></div>";
    assert_eq!(field("summary", json!("div"), html), "One & two three");
    assert_eq!(field("content_html", json!(null), html), json!(null));
    let rules = json!({
        "items": "article", "title": { "const": "t" },
        "summary": { "select": "div", "attr": "html", "min_length": 10, "max_length": 12 },
    });
    let item = &shown(read_page(format!("<article>{html}</article>"), &rules))[0];
    assert_eq!(item["summary"], "One & two…");
    assert_eq!(item["content_html"], "<p>One &amp; <b>two</b></p><p>three</p><script>no()</script>");
    let paragraph = json!({ "select": "p", "min_length": 10 });
    assert_eq!(field("summary", paragraph, "<p>short</p><p>long enough for it</p>"), "long enough for it");
}
