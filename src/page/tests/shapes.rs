//! Pages of the shapes that sources have in the wild, in good and in changed form.

use serde_json::json;

use super::*;

fn news_boxes(class: &str) -> String {
    let boxes = (1..=4).map(|n| {
        format!(
            "<div class=\"{class}\" data-track=\"t\" data-topics=\"article23869{n} news anime\">\
             <div class=\"thumbnail lazyload\" data-src=\"/thumbnails/crop/9{n}.jpg\"><a href=\"/news/{n}\"></a></div>\
             <div class=\"wrap\"><div><h3>\n<a href=\"/news/2026-01-09/story-{n}/.23869{n}\">Story <cite>{n}</cite> &amp; more</a>\n</h3>\
             <div class=\"byline\"><time datetime=\"2026-01-0{n}T21:14:00Z\" title=\"x\">Jan {n}</time> by <a href=\"/u\">A. Writer</a></div></div>\
             <div class=\"preview\"><span class=\"intro\">What it is about ― </span><span class=\"full\">in more words.</span></div></div></div>\n"
        )
    });
    format!(
        "<!DOCTYPE html><html lang=en><title>Front page</title><body><div id=feed>{}</div>",
        boxes.collect::<String>()
    )
}

fn news_rules() -> Value {
    json!({
        "items": "div.herald.box.news.t-news",
        "title": "h3",
        "link": { "select": "h3 a", "attr": "href" },
        "id": { "select": ":self", "attr": "data-topics", "regex": r"article(\d+)" },
        "published": { "select": "time", "attr": "datetime" },
        "image": { "select": "div.thumbnail", "attr": "data-src" },
        "summary": ".preview",
        "category": { "select": ":self", "attr": "data-topics", "regex": r"\b(anime|manga|games)\b" },
        "extra": { "series": { "const": "Detective Conan" } },
    })
}

#[test]
fn boxes_of_news() {
    let read = read_page(news_boxes("herald box news t-news"), &news_rules()).unwrap();
    assert_eq!((read.items.len(), read.matched.items, read.warnings.len()), (4, 4, 0));
    assert!(read.matched.fields.values().all(|count| *count == 4), "{:?}", read.matched);
    assert_eq!(
        shown(Ok(read))[1],
        json!({
            "id": "238692",
            "title": "Story 2 & more",
            "link": "https://site.example/news/2026-01-09/story-2/.238692",
            "published": "2026-01-02T21:14:00Z",
            "summary": "What it is about ― in more words.",
            "categories": ["anime"],
            "image": "https://site.example/thumbnails/crop/92.jpg",
            "extra": { "series": "Detective Conan" },
        })
    );
}

#[test]
fn boxes_that_changed() {
    assert_eq!(
        told(read_page(news_boxes("card news"), &news_rules())),
        "source[x].items (line 7, column 3): \"div.herald.box.news.t-news\" matches nothing; \
         what came is an HTML page: \"Front page\""
    );
    let gone = news_boxes("herald box news t-news").replace("h3>", "h2>");
    assert_eq!(
        told(read_page(gone, &news_rules())),
        "source[x].title (line 7, column 3): \"h3\" gives a title for none of the 4 items"
    );
    let page = news_boxes("herald box news t-news");
    let fewer_links = page.replacen("<a href=\"/news/2026", "<a name=\"/news/2026", 3);
    assert_eq!(
        told(read_page(fewer_links, &news_rules())),
        "source[x].link (line 7, column 3): \"h3 a\" (its href) gives a link for 1 of 4 items"
    );
    // half of them may be otherwise: an advertisement in between
    let some = read_page(page.replacen("<h3>", "<h4>", 2).replacen("</h3>", "</h4>", 2), &news_rules());
    let some = some.unwrap();
    assert_eq!((some.items.len(), some.matched.items, some.matched.fields["title"]), (2, 4, 2));
    assert_eq!(
        some.warnings,
        [
            "2 of 4 items have no title and were left out",
            "2 of 4 items have no link and are known by what else they have"
        ]
    );
    let challenge = "<html><title>Just a moment...</title><script>window._cf_chl_opt={}</script>";
    assert!(told(read_page(challenge, &news_rules())).ends_with("(Cloudflare): \"Just a moment...\""));
}

#[test]
fn nothing_where_nothing_may_be() {
    let rules = page_rules(&news_rules());
    let empty = with_given(&|| false, |given| {
        super::super::html::read(b"<p>no news", &rules, &Given { may_be_empty: true, ..*given })
    });
    assert_eq!(empty.unwrap().matched.items, 0);
    assert!(matches!(read_page(" \n", &news_rules()), Err(Error::Malformed(_))));
}

#[test]
fn recent_changes_of_a_wiki() {
    let line = |id: u32, time: &str| {
        format!(
            "<li data-mw-revid=\"{id}\" data-mw-ts=\"20260109211400\" class=\"mw-changeslist-line mw-changeslist-edit\">\
             (<a href=\"/w/index.php?title=P&amp;diff={id}\" class=\"mw-changeslist-diff\">diff</a> | hist) . . \
             <span class=\"mw-title\"><a href=\"/wiki/Page_{id}\" class=\"mw-changeslist-title\" title=\"Page {id}\">Page {id}</a></span>; \
             <span class=\"mw-changeslist-date\">{time}</span> . . <bdi><a class=\"mw-userlink\" href=\"/wiki/User:E{id}\">Editor {id}</a></bdi> \
             <span class=\"comment comment--without-parentheses\">fixed a typo</span></li>\n"
        )
    };
    let html = format!(
        "<html lang=en><div class=mw-changeslist><h4>9 January 2026</h4>\n<div><ul class=special>{}{}</ul></div>\
         <h4>8 January 2026</h4>\n<div><ul class=special>{}</ul></div></div>",
        line(3, "21:14"),
        line(2, "09:05"),
        line(1, "23:59")
    );
    let rules = json!({
        "items": "li[data-mw-revid]",
        "title": { "join": ["a.mw-changeslist-title", "a.mw-userlink"], "with": " by " },
        "link": { "select": "a.mw-changeslist-diff", "attr": "href" },
        "id": { "select": ":self", "attr": "data-mw-revid" },
        "published": { "select": ".mw-changeslist-date", "under": "h4" },
        "author": "a.mw-userlink",
        "summary": "span.comment",
    });
    let items = shown(read_page(html, &rules));
    assert_eq!(
        items[0],
        json!({
            "id": "3",
            "title": "Page 3 by Editor 3",
            "link": "https://site.example/w/index.php?title=P&diff=3",
            "published": "2026-01-09T21:14:00Z",
            "authors": ["Editor 3"],
            "summary": "fixed a typo",
        })
    );
    let times: Vec<_> = items.iter().map(|item| &item["published"]).collect();
    assert_eq!(times, ["2026-01-09T21:14:00Z", "2026-01-09T09:05:00Z", "2026-01-08T23:59:00Z"]);
}

#[test]
fn a_page_history_of_a_wiki() {
    let html = "<ul><li class=mw-changeslist-line><a class=mw-changeslist-title href=/wiki/P>P</a> \
                <a class=mw-changeslist-date href='/w/index.php?oldid=5'>21:14, 9 January 2026</a></li></ul>";
    let rules = json!({
        "items": "li.mw-changeslist-line", "title": "a.mw-changeslist-title",
        "link": "a.mw-changeslist-date", "published": "a.mw-changeslist-date",
    });
    let item = &shown(read_page(html, &rules))[0];
    assert_eq!(item["published"], "2026-01-09T21:14:00Z");
    assert_eq!(item["link"], "https://site.example/w/index.php?oldid=5");
}

#[test]
fn links_after_a_heading() {
    let rules = |select: &str, first: Value| {
        json!({
            "items": { "after": "h2, h3", "matching": r"(?i)latest\s+tms\s+news", "select": select, "first": first },
            "title": ":self", "link": { "select": ":self", "attr": "href" },
        })
    };
    let html = "<h2>About</h2><a href=/about>About us</a><h3>LATEST <br> TMS NEWS</h3><p><i>x</i></p>\
                <a href=/1>One</a><div><a href=/2>Two</a><span><a href=/3>Three</a></span></div>text\
                <a href=/4>Four <a href=/5>Five</a></a><a href=/6>Six</a>";
    let titles = |spec: &Value| -> Vec<String> {
        read_page(html, spec).unwrap().items.into_iter().filter_map(|item| item.title).collect()
    };
    assert_eq!(titles(&rules("a", json!(5))), ["One", "Two", "Three", "Four", "Five"]);
    assert_eq!(titles(&rules("a", json!(1))), ["One"]);
    assert_eq!(titles(&rules("a", json!(2))), ["One", "Two"]);
    assert_eq!(titles(&rules("a", json!(null))), ["One", "Two", "Three", "Four", "Five", "Six"]);
    assert_eq!(titles(&rules("div a", json!(null))), ["Two", "Three"]);
    assert_eq!(shown(read_page(html, &rules("a", json!(5))))[2]["link"], "https://site.example/3");
    assert_eq!(
        told(read_page(html, &rules("b", json!(5)))),
        "source[x].items.select (line 7, column 3): \"b\" matches nothing after the heading; what came is an HTML page"
    );
    assert_eq!(
        told(read_page(html.replace("NEWS", "STORIES"), &rules("a", json!(5)))),
        "source[x].items.after (line 7, column 3): no \"h2, h3\" with a text like \"(?i)latest\\\\s+tms\\\\s+news\" to follow; \
         what came is an HTML page"
    );
}

#[test]
fn items_come_in_the_order_of_the_page() {
    // what stands in a table where it may not is moved before it
    let html = "<table><tr><td><p class=i>two</p></td></tr><p class=i>one</p></table><p class=i>three</p>";
    let titles: Vec<_> = read_page(html, &json!({ "items": ".i", "title": ":self" })).unwrap().items;
    let titles: Vec<_> = titles.iter().filter_map(|item| item.title.as_deref()).collect();
    assert_eq!(titles, ["one", "two", "three"]);
}

#[test]
fn a_page_in_any_encoding() {
    let rules = json!({ "items": "li", "title": ":self" });
    let html = "<meta charset=shift_jis><li>名探偵コナン";
    let bytes = encoding_rs::SHIFT_JIS.encode(html).0;
    assert_eq!(shown(read_page(&bytes, &rules))[0]["title"], "名探偵コナン");
    assert_eq!(shown(read_page(b"<li>\xe9\xff\xfe\x00x", &rules)).len(), 1);
}
