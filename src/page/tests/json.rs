//! JSON by paths.

use serde_json::json;

use super::*;

#[test]
fn an_answer_of_graphql() {
    let media = |id: u32, english: &str| {
        format!(
            "{{\"id\":{id},\"siteUrl\":\"https://list.example/anime/{id}\",\"title\":{{\"romaji\":\"R{id}\",\"english\":{english}}},\
             \"description\":\"A <i>girl</i> &amp; a cat.<br><br>\\n(Source: x)\",\"coverImage\":{{\"large\":\"https://img.example/{id}.jpg\"}},\
             \"genres\":[\"Comedy\",\"Mystery\",\"Comedy\"],\"updatedAt\":176799324{id},\"startDate\":{{\"year\":2026,\"month\":1,\"day\":9}},\
             \"isAdult\":false,\"studios\":{{\"nodes\":[{{\"name\":\"A\"}},{{\"name\":\"B\"}}]}}}}"
        )
    };
    let answer = format!("{{\"data\":{{\"Page\":{{\"media\":[{},{}]}}}}}}", media(0, "\"E0\""), media(1, "null"));
    let rules = json!({
        "items": "/data/Page/media",
        "title": { "any": ["/title/english", "/title/romaji"] },
        "link": "/siteUrl",
        "id": "/id",
        "published": "/updatedAt",
        "summary": "/description",
        "image": "/coverImage/large",
        "category": "/genres",
        "author": "$.studios.nodes[*].name",
        "extra": { "adult": "/isAdult", "romaji": "$.title.romaji" },
    });
    let read = read_json(&answer, &rules).unwrap();
    assert!(read.matched.fields.values().all(|count| *count == 2), "{:?}", read.matched);
    assert_eq!(
        shown(Ok(read))[1],
        json!({
            "id": "1",
            "title": "R1",
            "link": "https://list.example/anime/1",
            "published": "2026-01-09T21:14:01Z",
            "summary": "A girl & a cat. (Source: x)",
            "content_html": "A <i>girl</i> &amp; a cat.<br><br>\n(Source: x)",
            "image": "https://img.example/1.jpg",
            "authors": ["A", "B"],
            "categories": ["Comedy", "Mystery"],
            "extra": { "adult": "false", "romaji": "R1" },
        })
    );
    let started = json!({
        "items": "$.data.Page.media[*]", "title": "$.title.romaji",
        "published": { "join": ["/startDate/year", "/startDate/month", "/startDate/day"], "with": "-", "zone": "Asia/Tokyo" },
    });
    assert_eq!(shown(read_json(&answer, &started))[0]["published"], "2026-01-08T15:00:00Z");
    let refused = "{\"errors\":[{\"message\":\"Too Many Requests.\",\"status\":429}],\"data\":null}";
    assert_eq!(
        told(read_json(refused, &rules)),
        "source[x].items (line 7, column 3): \"/data/Page/media\" gives no items; the answer says: \"Too Many Requests.\""
    );
}

#[test]
fn every_way_to_the_items() {
    let json = r#"{"a":[{"t":"1"},{"t":"2"}],"days":[{"list":[{"t":"3"}]},{"list":[{"t":"4"},{"t":"5"}]}],
                  "one":{"t":"6"},"words":["7","8"],"none":[],"null":null,"a/b":[{"t":"9"}]}"#;
    for (items, title, expected) in [
        ("/a", "/t", "12"),
        ("$.a", "/t", "12"),
        ("$.a[*]", "$.t", "12"),
        ("$.a[1:]", "/t", "2"),
        ("$.days[*].list[*]", "/t", "345"),
        ("$.days[?@.list[1]].list[*]", "/t", "45"),
        ("/days/1/list", "/t", "45"),
        ("/one", "/t", "6"),
        ("$.one", "/t", "6"),
        ("", "/one/t", "6"),
        ("/words", ":self", "78"),
        ("/a~1b", "/t", "9"),
        ("$..t", ":self", "6912345"),
    ] {
        let read = read_json(json, &json!({ "items": items, "title": title })).unwrap();
        let titles: String = read.items.into_iter().filter_map(|item| item.title).collect();
        let sorted = |text: &str| {
            let mut chars: Vec<char> = text.chars().collect();
            chars.sort_unstable();
            chars
        };
        // of an object's members no order is promised
        let same = if items == "$..t" { sorted(&titles) == sorted(expected) } else { titles == expected };
        assert!(same, "{items}: {titles}");
    }
    for items in ["/none", "/null", "/missing", "$.missing[*]", "$.none[*]"] {
        told(read_json(json, &json!({ "items": items, "title": "/t" })));
    }
    // not by the rule, but by what it gives
    assert_eq!(
        told(read_json(json, &json!({ "items": "/days", "title": "/t" }))),
        "source[x].title (line 7, column 3): \"/t\" gives a title for none of the 2 items"
    );
}

#[test]
fn every_option_of_a_field() {
    let json = json!([{
        "t": " Title  one ", "html": "<p>Tom &amp; <b>J</b></p>", "ref": "Tom&#8217;s &amp; AT&amp;T", "less": "1 < 2 & 3",
        "n": 5, "f": 1.5, "yes": true, "null": null, "o": {"x": "in"}, "list": ["", null, "a", "b", "a"], "url": "/p?a=1&b=2",
        "js": "javascript:x()", "s": 1767993240, "ms": 1767993240000i64, "us": 1767993240000000i64, "iso": "2026-01-09T21:14:00+09:00",
        "local": "2026-01-09 21:14", "day": "9 January 2026", "time": "21:14", "ymd": 20260109, "float": 1767993240.25
    }])
    .to_string();
    let field = |name: &str, spec: Value| {
        let mut rules = json!({ "items": "", "title": { "const": "title" } });
        match name {
            "extra" => rules["extra"] = json!({ "it": spec }),
            name => rules[name] = spec,
        }
        let item = only(read_json(&json, &rules));
        let path = match name {
            "extra" => "/extra/it".to_owned(),
            "category" => "/categories".to_owned(),
            name => format!("/{name}"),
        };
        item.pointer(&path).cloned().unwrap_or_default()
    };
    for (name, spec, expected) in [
        ("title", json!("/t"), json!("Title one")),
        ("title", json!("/html"), json!("Tom & J")),
        ("title", json!("/ref"), json!("Tom’s & AT&T")),
        ("title", json!("/less"), json!("1 < 2 & 3")),
        ("summary", json!("/html"), json!("Tom & J")),
        ("extra", json!("/html"), json!("<p>Tom &amp; <b>J</b></p>")),
        ("extra", json!("/n"), json!("5")),
        ("extra", json!("/f"), json!("1.5")),
        ("extra", json!("/yes"), json!("true")),
        ("extra", json!("/null"), json!(null)),
        ("extra", json!("/o"), json!(null)),
        ("extra", json!("/o/x"), json!("in")),
        ("extra", json!("/list"), json!("a")),
        ("extra", json!("/list/3"), json!("b")),
        ("extra", json!({ "select": "$.list[*]", "regex": "b|x" }), json!("b")),
        ("extra", json!({ "select": "/t", "max_length": 6 }), json!("Title…")),
        ("extra", json!({ "any": ["/null", "/o", "/n"] }), json!("5")),
        ("extra", json!({ "join": ["/n", "/null", "/f"], "with": "/" }), json!("5/1.5")),
        ("category", json!("/list"), json!(["a", "b"])),
        ("category", json!("$.list[1:3]"), json!(["a"])),
        ("link", json!("/url"), json!("https://site.example/p?a=1&b=2")),
        ("link", json!("/js"), json!(null)),
        ("link", json!({ "join": [{ "const": "/anime/" }, "/n"], "with": "" }), json!("https://site.example/anime/5")),
        ("image", json!("/url"), json!("https://site.example/p?a=1&b=2")),
        ("published", json!("/s"), json!("2026-01-09T21:14:00Z")),
        ("published", json!("/ms"), json!("2026-01-09T21:14:00Z")),
        ("published", json!("/us"), json!("2026-01-09T21:14:00Z")),
        ("published", json!("/float"), json!("2026-01-09T21:14:00.25Z")),
        ("published", json!("/iso"), json!("2026-01-09T12:14:00Z")),
        ("published", json!({ "select": "/local", "zone": "Asia/Tokyo" }), json!("2026-01-09T12:14:00Z")),
        ("published", json!({ "select": "/ymd", "format": "%Y%m%d" }), json!("2026-01-09T00:00:00Z")),
        ("published", json!({ "select": "/time", "under": "/day" }), json!("2026-01-09T21:14:00Z")),
        ("published", json!("/time"), json!(null)),
        ("published", json!("/n"), json!(null)),
    ] {
        assert_eq!(field(name, spec.clone(),), expected, "{name} {spec}");
    }
    let rules = json!({ "items": "", "title": "/t", "summary": "/t" });
    assert_eq!(shown(read_json(&json, &rules))[0].get("content_html"), None);
}

#[test]
fn json_in_a_page() {
    let page = "<!DOCTYPE html><title>App</title><div id=__next></div><script id=other>1</script>\
                <script id=__NEXT_DATA__ type=application/json>{\"props\":{\"posts\":[{\"t\":\"a < b </b> & c\",\"u\":\"/1\"}]}}</script>";
    let rules = |embedded: &str| json!({ "embedded": embedded, "items": "/props/posts", "title": "/t", "link": "/u" });
    let item = &shown(read_json(page, &rules("script#__NEXT_DATA__")))[0];
    assert_eq!(item["link"], "https://site.example/1");
    assert_eq!(
        told(read_json(page, &rules("script#data"))),
        "source[x].embedded (line 7, column 3): \"script#data\" matches nothing; what came is an HTML page: \"App\""
    );
    assert!(matches!(read_json(page, &rules("div")), Err(Error::Malformed(_))));
}

#[test]
fn what_is_no_json_is_said_to_be_what_it_is() {
    let rules = json!({ "items": "", "title": "/t" });
    for (body, expected) in [
        ("", "the answer is empty, and no JSON"),
        ("  \n", "the answer is empty, and no JSON"),
        ("<!doctype html><title>Sign in</title>", "no JSON but an HTML page: \"Sign in\""),
        ("<?xml version='1.0'?><rss/>", "no JSON but a document of <rss>"),
        ("Service unavailable", "no JSON but text: \"Service unavailable\""),
        ("{\"a\":1,}", "not valid JSON: trailing comma at line 1 column 8"),
        ("{\"a\":[1,2", "not valid JSON: EOF while parsing a list at line 1 column 9"),
    ] {
        assert_eq!(read_json(body, &rules), Err(Error::Malformed(expected.into())));
    }
    assert_eq!(shown(read_json("\u{feff}[{\"t\":\"1\"}]\0\n", &rules)).len(), 1);
}

#[test]
fn of_too_many_items_the_newest_are_read() {
    let rules = json!({ "items": "$[*]", "title": "/t", "id": "/t", "published": "/at" });
    let answer = |numbers: Vec<usize>| {
        let items: Vec<_> = numbers.into_iter().map(|n| json!({ "t": n, "at": 1_790_000_000 + n })).collect();
        serde_json::to_string(&items).unwrap()
    };
    for (newest_last, numbers) in [(false, (0..5_010).rev().collect::<Vec<usize>>()), (true, (0..5_010).collect())] {
        let read = read_json(answer(numbers), &rules).unwrap();
        assert_eq!(read.items.len(), crate::feed::MAX_ENTRIES);
        let (first, last) = (read.items[0].title.as_deref(), read.items[4_999].title.as_deref());
        let (kept, shown) = if newest_last { ("last", ("10", "5009")) } else { ("first", ("5009", "10")) };
        assert_eq!((first, last), (Some(shown.0), Some(shown.1)));
        assert_eq!(read.warnings, [format!("5010 items, of which the {kept} 5000 were read")]);
    }
}
