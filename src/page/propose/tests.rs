use std::fmt::Write as _;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::page::dom;

fn proposals(page: &str) -> Vec<Proposal> {
    let html = dom::parse(page, &|| false).unwrap();
    of_page(&html, &Url::parse("https://news.example/latest/").unwrap(), &|| false)
}

/// The first proposal.
fn check(page: &str, due: Expect) {
    let first = proposals(page).into_iter().next();
    due.assert_eq(
        &first.map_or_else(|| "none\n".to_owned(), |first| format!("{} items\n{}", first.count, first.table())),
    );
}

/// `count` times, with the number and words of some length that are never the same.
fn each(count: usize, of: impl Fn(usize, &str) -> String) -> String {
    const WORDS: [&str; 7] = ["harbour", "lantern", "printers", "bridge", "theatre", "river", "wrestlers"];
    let title = |n: usize| format!("The {} of the {} quarter, part {n}", WORDS[n % 7], WORDS[(n * 3 + 1) % 7]);
    (0..count).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "{}", of(n, &title(n)));
        text
    })
}

const MENU: &str = "<nav><ul><li><a href=/a>Home</a><li><a href=/b>Theatre</a><li><a href=/c>Markets</a>\
    <li><a href=/d>Letters</a><li><a href=/e>About the paper</a></ul></nav>";

#[test]
fn a_list_with_classes() {
    let news = each(8, |n, title| {
        format!(
            "<article class='post post-{n} teaser has-image'><a class=thumb href=/n/{n}><img src=/i/{n}.jpg></a>\
             <h2 class=entry-title><a href=/n/{n}>{title}</a></h2><time datetime=2026-01-0{}T10:00:00Z>then</time>\
             <p>What was heard of it in the streets, and by whom, at some length.</p><a href=/by/x>somebody</a></article>",
            n + 1
        )
    });
    check(
        &format!("{MENU}<main>{news}</main>"),
        expect![[r#"
        8 items
        [source.html]
        items = "article.post"
        title = "h2"
        link = "h2 a"
        published = "time"
        summary = "p"
        image = "img"
    "#]],
    );
}

#[test]
fn a_list_with_names_that_a_program_made() {
    let news = each(6, |n, title| {
        format!(
            "<div class='sc-bdVaJa css-1x2y3z'><a class=_3xYz href=/n/{n}><span class=Card_title__x{n}8Kq>{title}</span></a>\
             <span class=css-9k2>January {}, 2026</span></div>",
            n + 1
        )
    });
    check(
        &format!("{MENU}<div id=app><div class=css-77><section>{news}</section></div></div>"),
        expect![[r#"
            6 items
            [source.html]
            items = "section > div"
            title = "a"
            link = "a"
            published = "a + span"
        "#]],
    );
}

#[test]
fn a_list_with_css_modules() {
    let news = each(6, |n, title| {
        format!(
            "<li class=News_card__x8Kq2><a class=News_link__a1B2c href=/n/{n}><img data-src=/{n}.png></a>\
             <div class=News_body__9zZ1><a class=News_title__qq81 href=/n/{n}>{title}</a></div></li>"
        )
    });
    let more = each(6, |n, title| format!("<li><a href=/old/{n}>{title}</a></li>"));
    check(
        &format!("<ul>{news}</ul><ul>{more}</ul>"),
        expect![[r#"
            6 items
            [source.html]
            items = 'li[class*="News_card__"]'
            title = 'a[class*="News_title__"]'
            link = "a"
            image = "img"
        "#]],
    );
}

#[test]
fn a_table() {
    let rows = each(12, |n, title| {
        format!(
            "<tr><td>2026-01-{:02}</td><td><img src=/flag.gif width=16></td><td><a href=item?id={n}>{title}</a></td></tr>",
            n + 1
        )
    });
    let menu = each(12, |n, _| format!("<td><a href=/section/{n}>Section {n}</a></td>"));
    check(
        &format!("<table><tr>{menu}</tr></table><table width=600><tr><th>Day<th><th>Title</tr>{rows}</table>"),
        expect![[r#"
            12 items
            [source.html]
            items = "table + table tr:has(a[href])"
            title = "a"
            link = "a"
            published = "td"
        "#]],
    );
}

#[test]
fn cards_in_rows() {
    let rows = each(4, |row, _| {
        let cards = each(3, |n, _| {
            let number = row * 3 + n;
            format!(
                "<div class=col><div class=card><a href=/n/{number}><img src=/{number}.jpg alt=''></a><div class=card-body>\
                 <h3 class=card-title>A story of the {number}. day, and its end</h3>\
                 <a class=more href=/n/{number}>Read more</a></div></div></div>"
            )
        });
        format!("<div class=row>{cards}</div>")
    });
    check(
        &format!("{MENU}<div class=container>{rows}</div>"),
        expect![[r#"
            12 items
            [source.html]
            items = "div.card"
            title = "h3"
            link = "a"
            image = "img"
        "#]],
    );
}

#[test]
fn whole_cards_that_are_links() {
    let news = each(5, |n, title| {
        format!("<a class=tile href='/n/{n}'><div class=tile__name></div><div class=headline>{title}</div></a>")
    });
    check(
        &format!("<div class=tiles>{news}</div><div class=other><a class=tile href=/x>More</a></div>"),
        expect![[r#"
            5 items
            [source.html]
            items = "div.tiles > a.tile"
            title = "div.headline"
            link = ":self"
        "#]],
    );
}

#[test]
fn a_menu_with_more_links_than_there_are_news() {
    let menu = each(60, |n, _| format!("<li class=item><a href=/s/{n}>Quarter {n}</a></li>"));
    let news = each(4, |n, title| format!("<li class=item><a href=/n/{n}>{title}</a></li>"));
    check(
        &format!("<div class=left><ul class=list>{menu}</ul></div><div class=middle><ul class=list>{news}</ul></div>"),
        expect![[r#"
            4 items
            [source.html]
            items = "div.middle li.item"
            title = "a"
            link = "a"
        "#]],
    );
}

#[test]
fn changes_of_a_wiki() {
    let lines = each(9, |n, title| {
        format!(
            "<li data-mw-revid={n} class='mw-changeslist-line mw-changeslist-edit mw-line-odd'>(<a href=/d?{n}>diff</a> | \
             <a href=/h?{n}>hist</a>) <span class=mw-changeslist-title><a class=mw-changeslist-title href=/wiki/{n}>{title}</a></span>; \
             <span class=mw-changeslist-date>21:{n}4</span> <a class=mw-userlink href=/wiki/User:X>Somebody with a long long long long name</a></li>"
        )
    });
    check(
        &format!("{MENU}<div class=mw-changeslist><h4>9 January 2026</h4><ul class=special>{lines}</ul></div>"),
        expect![[r#"
            9 items
            [source.html]
            items = "li.mw-changeslist-line"
            title = "a.mw-changeslist-title"
            link = "a.mw-changeslist-title"
        "#]],
    );
}

#[test]
fn nothing_that_repeats() {
    check(
        "<h1>A page</h1><p>with <a href=/one>one link that has words enough</a> and text.",
        expect![[r#"
        none
    "#]],
    );
    check(
        MENU,
        expect![[r#"
        none
    "#]],
    );
    check(
        "",
        expect![[r#"
        none
    "#]],
    );
}

#[test]
fn json() {
    let proposals = |value: serde_json::Value| {
        of_json(&value)
            .first()
            .map_or_else(|| "none\n".to_owned(), |first| format!("{} items\n{}", first.count, first.table()))
    };
    let posts: Vec<_> = (0..4)
        .map(|n| json!({"id": n, "date": "2026-01-09T10:00:00", "link": format!("https://news.example/{n}"),
            "title": {"rendered": format!("Title {n}")}, "excerpt": {"rendered": "<p>What was said of it.</p>"}, "tags": [1, 2]}))
        .collect();
    expect![[r#"
        4 items
        [source.json]
        items = ""
        title = "/title/rendered"
        link = "/link"
        id = "/id"
        published = "/date"
        summary = "/excerpt/rendered"
    "#]]
    .assert_eq(&proposals(json!(posts)));
    let children: Vec<_> = (0..3)
        .map(|n| {
            json!({"kind": "t3", "data": {"title": format!("Title {n}"), "permalink": format!("/r/x/{n}"),
            "created_utc": 1_790_000_000.0, "name": format!("t3_{n}"), "thumbnail": "self"}})
        })
        .collect();
    expect![[r#"
        3 items
        [source.json]
        items = "/data/children"
        title = "/data/title"
        link = "/data/permalink"
        published = "/data/created_utc"
    "#]]
    .assert_eq(&proposals(json!({"kind": "Listing", "data": {"after": null, "children": children}})));
    let media: Vec<_> = (0..3)
        .map(|n| json!({"siteUrl": format!("https://list.example/{n}"), "title": {"romaji": format!("Meitantei {n}")},
            "coverImage": {"large": format!("https://list.example/{n}.png")}, "streams": [{"title": "x", "url": "https://y.example/"}]}))
        .collect();
    expect![[r#"
        3 items
        [source.json]
        items = "/data/a~1b/media"
        title = "/title/romaji"
        link = "/siteUrl"
        image = "/coverImage/large"
    "#]]
    .assert_eq(&proposals(json!({"data": {"a/b": {"media": media, "genres": [{"name": "one"}]}}})));
    assert_eq!(proposals(json!({"error": "no"})), "none\n");
    assert_eq!(proposals(json!([[], [1, 2], {"x": [{"y": 1}]}])), "none\n");
}

#[test]
fn a_clock_that_has_run_out_ends_it() {
    let news = each(20, |n, title| format!("<article><a href=/{n}>{title}</a></article>"));
    let html = dom::parse(&news, &|| false).unwrap();
    let url = Url::parse("https://news.example/").unwrap();
    assert_eq!(of_page(&html, &url, &|| true), []);
    // and in the middle of it
    let asked = std::cell::Cell::new(0);
    let expired = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    assert_eq!(of_page(&html, &url, &expired), []);
    assert!((4..10).contains(&asked.get()), "it was asked {} times, and went on", asked.get());
}

#[test]
fn pages_made_to_be_slow_give_rules_within_bounds_or_none() {
    let deep = format!("{}<a href=/x>A title with words enough</a>", "<div class='item news'>".repeat(2_000));
    let wide = each(5_000, |n, title| format!("<li class='item n{n}'><a href=/{n}>{title}</a></li>"));
    let lists = each(500, |n, title| {
        let word: String = n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
        let items = each(3, |k, _| format!("<li class=l{word}><a href=/{n}/{k}>{title}, {k}</a></li>"));
        format!("<ul class=u{word}>{items}</ul>")
    });
    let comments = format!("<p>{}</p>", "<!-- --> ".repeat(20_000)).repeat(2);
    for page in [deep, wide, lists, comments] {
        for proposal in proposals(&page) {
            assert!(scraper::Selector::parse(&proposal.items).is_ok());
            assert!((3..=200).contains(&proposal.count));
        }
    }
}

#[test]
fn a_title_that_is_a_class_is_no_item() {
    let rows = each(9, |n, title| {
        format!(
            "<tr class=athing><td class=rank>{n}.</td><td class=title><a href='https://x.example/{n}'>{title}</a>\
             <span class=site>(<a href='/from'>x.example</a>)</span></td></tr><tr><td colspan=2>{n} points</td></tr>"
        )
    });
    check(
        &format!("<table><tr><td><table>{rows}</table></table>"),
        expect![[r#"
            9 items
            [source.html]
            items = "tr.athing"
            title = "a"
            link = "a"
        "#]],
    );
}

#[test]
fn short_titles_under_headings_with_pictures_that_load_late() {
    let news = (1..5).fold(String::new(), |mut text, n| {
        let _ = writeln!(
            text,
            "<div class='box news'><div class=picture data-src='/i/{n}.webp?w=9'></div><h3><a href=/n/{n}>Film {n}</a></h3>\
             <time datetime=2026-01-0{n}>then</time></div>"
        );
        text
    });
    check(
        &format!("{MENU}<div class='box talk'><a href=/talk>Talk about it</a></div>{news}"),
        expect![[r#"
        4 items
        [source.html]
        items = "div.news"
        title = "h3"
        link = "h3 a"
        published = "time"
        image = "div.picture"
    "#]],
    );
}
