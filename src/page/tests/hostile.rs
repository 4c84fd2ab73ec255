//! Documents that mean harm, or no good.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn everything() -> Value {
    json!({
        "items": ".i", "title": { "any": ["h3", ":self"] }, "link": "a", "id": { "select": ":self", "attr": "id" },
        "published": { "select": "time", "under": "h4" }, "image": "img", "author": "b", "category": "i",
        "summary": { "select": "p", "attr": "html" }, "extra": { "x": { "join": ["u", "s"] } },
    })
}

#[test]
fn pages_without_measure_are_refused() {
    for page in [
        "<div class=i>".repeat(1_000_000),
        "<p class=i><b><i>".repeat(1_000_000),
        "<table><tr><td class=i>".repeat(300_000),
        "<li class=i>x</li>".repeat(1_200_000),
    ] {
        assert!(matches!(read_page(page, &everything()), Err(Error::TooLarge(_))));
    }
    let large = format!("<p class=i>{}</p>", "word ".repeat(4_000_000));
    assert_eq!(read_page(large, &json!({ "items": ".i", "title": ":self" })).unwrap().items.len(), 1);
}

/// Each of these holds all that come after it: what is taken of them would come to gigabytes.
#[test]
fn items_within_items_do_not_multiply() {
    let page = format!("{}{}", "<div class=i>".repeat(2_000), "word ".repeat(5_000));
    let rules = json!({ "items": ".i", "title": ":self" });
    assert!(matches!(read_page(&page, &rules), Err(Error::TooLarge(_))));
    let html = json!({ "items": ".i", "title": { "const": "x" }, "summary": { "select": ":self", "attr": "html" } });
    assert!(matches!(read_page(&page, &html), Err(Error::TooLarge(_))));
}

/// What one place says for many items: a base, a constant.
#[test]
fn what_is_repeated_in_every_item_is_bounded() {
    let rows = "<a class=i href=b>t</a>".repeat(4_000);
    let rules = json!({ "items": ".i", "title": ":self", "link": ":self" });
    let page = |length: usize| format!("<base href='http://e.example/{}/'>{rows}", "x".repeat(length));
    assert!(matches!(read_page(page(1_900), &rules), Err(Error::TooLarge(_))));
    let ignored = read_page(page(2_100), &rules).unwrap();
    assert_eq!(ignored.items[0].link.as_deref(), Some("https://site.example/news/b"), "{:?}", ignored.warnings);
    let long = json!({ "items": ".i", "title": ":self", "extra": { "x": { "const": "c".repeat(1_000) } } });
    assert!(matches!(read_page(&rows, &long), Err(Error::TooLarge(_))));
    let values = format!("[{}0]", "{\"t\":1},".repeat(4_000));
    let long =
        json!({ "items": "", "title": "/t", "extra": { "x": { "join": [{ "const": "c".repeat(1_000) }, "/t"] } } });
    assert!(matches!(read_json(&values, &long), Err(Error::TooLarge(_))));
}

#[test]
fn what_takes_too_long_is_given_up() {
    let page = "<i></i>".repeat(50_000);
    let all_rules = page_rules(&everything());
    let read = with_given(&after(3), |given| super::super::html::read(page.as_bytes(), &all_rules, given));
    assert!(matches!(read, Err(Error::TooLarge(told)) if told.contains("takes too long")));
    // to read its text takes 86 looks at the clock
    for items in ["* ~ * ~ b", "b ~ i ~ i", "i:nth-last-child(3n + 1) ~ b", "i"] {
        let rules = page_rules(&json!({ "items": items, "title": ":self" }));
        let read = with_given(&after(90), |given| super::super::html::read(page.as_bytes(), &rules, given));
        assert_eq!(told(read), format!("source[x].items (line 7, column 3): {items:?} takes too long"));
    }
    let rules = page_rules(&json!({ "items": "body", "title": { "const": "x" }, "link": "b ~ a" }));
    let read = with_given(&after(990), |given| super::super::html::read(page.as_bytes(), &rules, given));
    assert_eq!(told(read), "source[x].link (line 7, column 3): \"b ~ a\" takes too long");
    let rules = json_rules(&json!({ "items": "", "title": "$..x" }));
    let json = format!("[{}0]", "{},".repeat(1000));
    let read = with_given(&after(9), |given| super::super::json::read(json.as_bytes(), &rules, given));
    assert!(told(read).ends_with("takes too long"));
}

/// A heading is looked for once, however many items stand under it.
#[test]
fn a_day_of_many_items_is_read_in_one_pass() {
    let page = format!("<h4>9 January 2026</h4><ul>{}</ul>", "<li><time>21:14</time>".repeat(20_000));
    let rules = page_rules(
        &json!({ "items": "li", "title": { "const": "x" }, "published": { "select": "time", "under": "h4" } }),
    );
    let looks = Cell::new(0u32);
    let count = || {
        looks.set(looks.get() + 1);
        false
    };
    let read = with_given(&count, |given| super::super::html::read(page.as_bytes(), &rules, given)).unwrap();
    assert_eq!(read.matched.fields["published"], crate::feed::MAX_ENTRIES);
    // one an item, and one for 64 elements: 40,000 for the items, 5,000 for times, 10,000 for headings
    assert!(looks.get() < 5_000 + 3_000, "{}", looks.get());
}

#[test]
fn json_without_measure_is_refused() {
    let rules = json!({ "items": "", "title": "/t" });
    let objects = format!("[{}0]", "{\"t\":0},".repeat(1_000_000));
    for json in [objects, format!("[{}0]", "0,".repeat(4_000_000)), "[".repeat(2_000_000)] {
        assert!(matches!(read_json(&json, &rules), Err(Error::TooLarge(_))));
    }
    for json in ["[".repeat(10_000), format!("[{{\"t\":{}", "[".repeat(500))] {
        assert!(matches!(read_json(&json, &rules), Err(Error::Malformed(_))));
    }
    // signs in strings are none
    let prose = format!("[{{\"t\":\"{}\"}}]", "a, [b], {c} \\\" , ".repeat(100_000));
    assert_eq!(read_json(&prose, &rules).unwrap().items.len(), 1);
    assert!(matches!(read_json("[\"\\", &rules), Err(Error::Malformed(_))));
}

const PAGE: &str = "<!doctype html><meta charset=utf-8><base href=/x/><h4>9 January 2026</h4><div class=i id=1><h3><a href='../a?b&amp;c'>One</a></h3>\
    <time>21:14</time><img srcset='a 1w, b 2w' data-src='//x/y'><p>名 &copy; <b>é</b></p><i>c</i></div><table class=i><tr><td>x<p class=i>y</table>";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_cut_or_damaged_page_never_panics(end in 0..PAGE.len(), at in 0..PAGE.len(), byte: u8) {
        let mut bytes = PAGE.as_bytes().to_vec();
        bytes[at] = byte;
        bytes.truncate(end);
        let _ = read_page(&bytes, &everything());
    }

    #[test]
    fn markup_of_any_kind_never_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "<div class=i>", "</div>", "<table>", "<tr>", "<td class=i>", "<p>", "</p>", "<template>", "<svg>", "<math>", "<a href=x>", "<a>",
        "</table>", "<select>", "<option class=i>", "text", "<h4>9 May 2026</h4>", "<time>1:02", "<frameset>", "<noscript>", "<script>",
        "</script>", "<!--", "-->", "<body class=i>", "<html class=i>", "&#x110000;", "\0", "<img srcset=','>",
    ]), 0..60)) {
        let _ = read_page(parts.concat(), &everything());
    }

    #[test]
    fn cut_json_never_panics(end in 0..200usize, at in 0..200usize, byte: u8) {
        let mut bytes = br#"{"a":[{"t":"x\u00e9 \ud83d\ude00","u":"/1","d":1767993240,"l":["a",null,1.5e3]},{"t":"<b>y</b>"}],"b":{"c":null}}"#.to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(end.min(bytes.len()));
        let rules = json!({ "items": "$..a[*]", "title": "/t", "link": "/u", "published": "/d", "category": "/l" });
        let _ = read_json(&bytes, &rules);
    }
}
