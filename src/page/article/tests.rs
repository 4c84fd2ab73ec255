use std::cell::Cell;

use url::Url;

use super::*;
use crate::page::rules::{DateRule, Pick, Place, Take, What};

fn rules() -> Enrich {
    Enrich {
        timeout: None,
        verify_image: false,
        image: None,
        summary: None,
        author: None,
        published: None,
        video: None,
    }
}

/// With time enough to look at the clock so often.
fn found(page: &str, rules: &Enrich, looks: u32) -> Result<Found, Error> {
    let url = Url::parse("https://news.example/2026/a.html").unwrap();
    let left = Cell::new(looks);
    let expired = || left.replace(left.get().saturating_sub(1)) == 0;
    let given =
        Given { content_type: None, encoding: None, url: &url, may_be_empty: true, before: None, expired: &expired };
    read(page.as_bytes(), rules, &given)
}

fn automatic(page: &str) -> Details {
    found(page, &rules(), u32::MAX).unwrap().automatic
}

fn rule(css: &str, what: What) -> Option<Rule<Css>> {
    let place = Place { line: 1, column: 1, key: "source[a].enrich".into() };
    let selector = scraper::Selector::parse(css).unwrap();
    let select = Some(Css { text: css.into(), place: place.clone(), selector });
    let take = Take::Pick(Pick { select, what });
    Some(Rule { place, take, regex: None, min_length: 0, max_length: None, date: DateRule::default() })
}

fn time(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

const LONG: &str = "The famous detective has come back, and this time the whole town is looking for him.";

#[test]
fn opengraph_comes_first() {
    let found = automatic(
        r#"<!doctype html><head>
        <meta property="og:image" content="/i.jpg"><meta name=twitter:image content="/t.jpg">
        <meta name="OG:Description" content="Ann &amp;amp; Bob &amp;#039;say&amp;#039; &lt;b&gt;so&lt;/b&gt;.">
        <meta name=description content="other"><meta name=author content=" Ann ">
        <meta property="article:published_time" content="2026-01-09T21:14:00+09:00">
        <meta property="article:author" content="https://social.example/ann">
        <meta property="og:video" content="https://www.youtube-nocookie.com/embed/abcdefghijk?rel=0">
        <script type="application/ld+json">{"@type":"Article","image":"/l.jpg","description":"l"}</script>
        <body><article><p>No"#,
    );
    let expected = Details {
        image: Some("https://news.example/i.jpg".into()),
        summary: Some("Ann & Bob 'say' so.".into()),
        content_html: None,
        authors: vec!["Ann".into()],
        published: time("2026-01-09T12:14:00Z"),
        video: Some("https://www.youtube.com/watch?v=abcdefghijk".into()),
    };
    assert_eq!(found, expected);
}

#[test]
fn json_ld_fills_what_opengraph_lacks_and_attributes_what_both_lack() {
    let found = automatic(
        r#"<base href="/other/"><meta property=og:image content="data:image/png;base64,AAAA">
        <script type="Application/LD+JSON">{"@type":"NewsArticle","image":{"url":"l.jpg"},"description":"Tom &amp; Jerry",
        "author":[{"name":"Ann"},{"name":"Bob"},{"name":"Ann"}],"datePublished":"2026-01-09T21:14:00Z",
        "video":{"embedUrl":"//films.example/1"}}</script>"#,
    );
    assert_eq!(found.image.as_deref(), Some("https://news.example/other/l.jpg"));
    assert_eq!(found.summary.as_deref(), Some("Tom & Jerry"));
    assert_eq!(found.authors, ["Ann", "Bob"]);
    assert_eq!(found.published, time("2026-01-09T21:14:00Z"));
    assert_eq!(found.video.as_deref(), Some("https://films.example/1"));

    let found = automatic(
        "<link rel=image_src href=/s.jpg><time itemprop=datePublished datetime=2026-01-09T21:14Z>yesterday</time>
        <script type='application/ld+json'>{\"@type\":</script>
        <iframe src=https://ads.example/></iframe><form>
        <aside><iframe src=https://www.youtube.com/embed/00000000000></iframe></aside>
        <figure><iframe data-src='//www.youtube.com/embed/ABCDEFGHIJK'></iframe></figure>",
    );
    assert_eq!(found.image.as_deref(), Some("https://news.example/s.jpg"));
    assert_eq!(found.published, time("2026-01-09T21:14:00Z"));
    assert_eq!(found.video.as_deref(), Some("https://www.youtube.com/watch?v=ABCDEFGHIJK"));
    assert_eq!(automatic("<p>short"), Details::default());
    assert_eq!(automatic(""), Details::default());
}

#[test]
fn the_first_paragraph_is_one_worth_reading() {
    let found = |page: &str| automatic(page).summary;
    let long = |text: &str| format!("<p>{text} {LONG}");
    // in the article before elsewhere, and never beside it
    let page = format!(
        "<header>{}</header><div class='cookie-notice x'>{}</div>{}<form><main><figure>{}</figure><p>Short.{}</main>",
        long("head"),
        long("cookies"),
        long("stray"),
        long("caption"),
        long("true")
    );
    assert_eq!(found(&page), Some(format!("true {LONG}")));
    let stray = page.replace("main>", "div>");
    assert_eq!(found(&stray), Some(format!("stray {LONG}")));
    // a menu is no text; scripts are not read; lines that are broken are words apart
    let menu = format!("<article><p><a href=/>{LONG}</a> <a href=/>{LONG}</a><p>one<br>two<script>x</script> {LONG}");
    assert_eq!(found(&menu), Some(format!("one two {LONG}")));
    // fifty characters are long enough, in any script
    let short = |count| format!("<article><p>{}", "名".repeat(count));
    assert_eq!(found(&short(49)), None);
    assert_eq!(found(&short(50)).map(|text| text.chars().count()), Some(50));
    let cut = found(&format!("<article><p>{}", "word ".repeat(500))).unwrap();
    assert!(cut.chars().count() <= 500 && cut.ends_with("word…"), "{cut}");
    assert_eq!(found(&short(501)).map(|text| text.chars().count()), Some(500));
}

#[test]
fn youtube_players_become_watch_links() {
    for (player, page) in [
        ("https://www.youtube.com/embed/abcdefghijk", Some("abcdefghijk")),
        ("https://youtube.com/embed/abc-ef_hijk?autoplay=1", Some("abc-ef_hijk")),
        ("http://www.youtube-nocookie.com/v/abcdefghijk", Some("abcdefghijk")),
        ("https://www.youtube.com/embed/videoseries?list=x", None),
        ("https://www.youtube.com/embed/live_stream?channel=x", None),
        ("https://www.youtube.com/embed/short", None),
        ("https://www.youtube.com/watch?v=abcdefghijk", None),
        ("https://evil.example/embed/abcdefghijk", None),
        ("no address", None),
    ] {
        let watch = page.map(|id| format!("https://www.youtube.com/watch?v={id}"));
        assert_eq!(metadata::watch(player), watch, "{player}");
    }
}

#[test]
fn hostile_pages_say_nothing_and_cost_little() {
    let paragraphs = "<object><p>".repeat(1_500);
    for page in ["<p>a".repeat(90_000), paragraphs, format!("<p>{}", "<b></b>".repeat(60_000))] {
        assert_eq!(automatic(&page).summary, None);
    }
    let deep = "<div>".repeat(1_000_000);
    assert!(matches!(found(&deep, &rules(), u32::MAX), Err(Error::TooLarge(_))));
    assert_eq!(found(&format!("<p>{LONG}"), &rules(), 1), Ok(Found::default()));
    let slow = Enrich { image: rule("div img", What::Natural), ..rules() };
    let many = "<div>".repeat(200);
    assert!(matches!(found(&many, &slow, 1), Err(Error::Selector(told)) if told.contains("too long")));
}

fn all(tag: &str) -> Details {
    Details {
        image: Some(format!("http://x/{tag}.jpg")),
        summary: Some(format!("{tag} text")),
        content_html: None,
        authors: vec![format!("{tag} author")],
        published: Timestamp::from_second(tag.len() as i64).ok(),
        video: Some(format!("http://x/{tag}.mp4")),
    }
}

fn item(details: Details) -> Item {
    let mut item = Item { title: Some("title".into()), ..Item::default() };
    merge(&mut item, Found { configured: details, automatic: Details::default() });
    item
}

#[test]
fn what_is_configured_replaces_and_what_is_found_by_itself_only_fills_in() {
    let merged = |mut item: Item, configured, automatic| {
        merge(&mut item, Found { configured, automatic });
        item
    };
    let none = Details::default;
    assert_eq!(merged(item(none()), none(), all("found")), item(all("found")));
    assert_eq!(merged(item(all("list")), none(), all("found")), item(all("list")));
    assert_eq!(merged(item(all("list")), all("chosen"), all("found")), item(all("chosen")));
    assert_eq!(merged(item(all("list")), none(), none()), item(all("list")));
    // HTML is a text too, and what replaces the one replaces the other where it has it
    let html = |html: &str| Some(html.to_owned());
    let list = Item { content_html: html("<p>list"), ..item(none()) };
    assert_eq!(merged(list.clone(), none(), all("found")).summary, None);
    let chosen = Details { content_html: html("<p>chosen"), ..all("chosen") };
    assert_eq!(merged(list, chosen, none()).content_html, html("<p>chosen"));
}

#[test]
fn configured_selectors_read_as_the_fields_of_a_list() {
    let page = r#"<base href="/pics/"><meta property=og:image content=/og.jpg>
        <img class=hero src=blank.gif data-src=hero.jpg><b class=by>Ann</b><b class=by>Bob</b><b class=by>Ann</b>
        <time datetime=2026-01-09T21:14Z>today</time><div class=meat><p>One <i>two</i>.</p></div>
        <iframe src="https://www.youtube.com/embed/abcdefghijk"></iframe>"#;
    let rules = Enrich {
        image: rule("img.hero", What::Natural),
        summary: rule("div.meat p", What::Html),
        author: rule("b.by", What::Natural),
        published: rule("time", What::Natural),
        video: rule("iframe", What::Attribute("src".into())),
        ..rules()
    };
    let expected = Details {
        image: Some("https://news.example/pics/hero.jpg".into()),
        summary: Some("One two.".into()),
        content_html: Some("One <i>two</i>.".into()),
        authors: vec!["Ann".into(), "Bob".into()],
        published: time("2026-01-09T21:14:00Z"),
        video: Some("https://www.youtube.com/watch?v=abcdefghijk".into()),
    };
    assert_eq!(found(page, &rules, u32::MAX).unwrap().configured, expected);
    assert_eq!(found("<p>nothing", &rules, u32::MAX).unwrap().configured, Details::default());
}

#[test]
fn a_page_without_metadata_tells_its_article_all_the_same() {
    let found = automatic(include_str!("../../../tests/fixtures/pages/ann-article.html"));
    assert_eq!(found.image.as_deref(), Some("https://cdn.example/thumbnails/max1200x630/238699/poster.jpg"));
    assert!(found.summary.unwrap().starts_with("The staff of the film Rain & Lanterns showed a first trailer"));
    assert_eq!(found.published, time("2026-01-09T21:14:30Z"));
    assert_eq!(found.video.as_deref(), Some("https://www.youtube.com/watch?v=a1B2_c3-D4e"));
}

/// Metas, scripts and elements without end are read in one pass, and the clock is looked at on the way.
#[test]
fn a_page_that_names_authors_without_end_is_read_in_one_pass() {
    let metas = |count: usize| (0..count).map(|n| format!("<meta name=author content='Ann {n}'>")).collect::<String>();
    let found = automatic(&metas(20_000));
    assert_eq!(found.authors.len(), 50);
    let looks = |count: usize, is_over: bool| {
        let url = Url::parse("https://news.example/a").unwrap();
        let looks = Cell::new(0usize);
        let count_look = || {
            looks.set(looks.get() + 1);
            is_over
        };
        let html = crate::page::dom::parse(&metas(count), &|| false).unwrap();
        metadata::find(&html, &url, &count_look);
        looks.get()
    };
    let (few, many) = (looks(5_000, false), looks(20_000, false));
    assert!(few >= 5_000 / 64 && many >= 20_000 / 64, "{few} {many}");
    assert!(many <= 5 * few, "{few} {many}");
    assert_eq!(looks(20_000, true), 1, "it ends when its time is over");
}

#[test]
fn an_address_beyond_all_use_is_none() {
    let found = automatic(&format!("<meta property=og:image content='/{}'>", "x".repeat(2048)));
    assert_eq!(found.image, None);
    let based = format!("<base href='/{}/'><meta property=og:image content='a.png'>", "x".repeat(2048));
    assert_eq!(automatic(&based).image.as_deref(), Some("https://news.example/2026/a.png"));
}
