use super::*;
use crate::page::dom;

fn leads(page: &str, url: &str) -> Vec<String> {
    let html = dom::parse(page, &|| false).unwrap();
    let leads = of_page(&html, &Url::parse(url).unwrap());
    leads.iter().map(|lead| format!("{:?} {}", lead.found, lead.url)).collect()
}

#[test]
fn feeds_are_named_by_links_of_their_type() {
    let page = "<base href='/blog/'>\
        <link rel=stylesheet type=text/css href=style.css>\
        <link rel='home alternate' type='Application/RSS+XML; charset=utf-8' href=rss title=' Our \n news '>\
        <link rel=alternate hreflang=de href=/de>\
        <link rel=alternate type=application/atom+xml href='https://feeds.example/a'>\
        <link rel=alternate type=application/rss+xml href=rss#again>\
        <link rel=alternate type=application/rss+xml href='javascript:alert(1)'>";
    assert_eq!(
        leads(page, "https://news.example/"),
        ["Named https://news.example/blog/rss", "Named https://feeds.example/a"]
    );
    let html = dom::parse(page, &|| false).unwrap();
    let titles: Vec<_> = of_page(&html, &Url::parse("https://news.example/").unwrap());
    assert_eq!(titles[0].title.as_deref(), Some("Our news"));
}

#[test]
fn links_that_look_like_feeds_are_leads_and_links_to_readers_are_none() {
    let page = "<a href=/news>News</a> <a href=/about/rss>what is RSS</a> <a href=/x?feed=rss2>x</a>\
        <a href=/subscribe>RSS</a> <a href=/files/feed.xml>file</a> <a href=/sitemap.xml>map</a>\
        <a href='https://reader.example/add?feed=rss'>RSS</a> <a href=/long>a history of RSS in nine long chapters</a>";
    assert_eq!(
        leads(page, "https://news.example/"),
        [
            "Linked https://news.example/about/rss",
            "Linked https://news.example/x?feed=rss2",
            "Linked https://news.example/subscribe",
            "Linked https://news.example/files/feed.xml",
        ]
    );
}

#[test]
fn a_wiki_has_a_feed_of_its_changes() {
    let page = "<meta name=generator content='MediaWiki 1.43'><link rel=EditURI href='/w/api.php?action=rsd'>";
    assert_eq!(
        leads(page, "https://wiki.example/wiki/Main_Page"),
        [
            "Site https://wiki.example/api.php?action=feedrecentchanges&feedformat=atom",
            "Site https://wiki.example/w/api.php?action=feedrecentchanges&feedformat=atom",
        ]
    );
}

#[test]
fn some_sites_tell_by_their_address() {
    let first = |url: &str| of_address(&Url::parse(url).unwrap())[0].url.to_string();
    for (url, due) in [
        ("https://www.youtube.com/channel/UCabc/videos", "https://www.youtube.com/feeds/videos.xml?channel_id=UCabc"),
        ("https://youtube.com/playlist?list=PL1", "https://www.youtube.com/feeds/videos.xml?playlist_id=PL1"),
        ("https://old.reddit.com/r/anime/", "https://old.reddit.com/r/anime/.rss"),
        ("https://github.com/a/b/issues", "https://github.com/a/b/releases.atom"),
        ("https://news.example/", "https://news.example/feed"),
        ("https://news.example/category/films/?page=2#top", "https://news.example/category/films/feed"),
        ("https://news.example/index.html", "https://news.example/feed"),
    ] {
        assert_eq!(first(url), due);
    }
    let canonical = "<link rel=canonical href='https://www.youtube.com/channel/UCabc'>";
    assert_eq!(
        leads(canonical, "https://www.youtube.com/@name"),
        ["Site https://www.youtube.com/feeds/videos.xml?channel_id=UCabc"]
    );
}

#[test]
fn a_page_that_names_a_thousand_feeds_gives_a_few() {
    let page: String = (0..1000).map(|n| format!("<link rel=alternate type=application/rss+xml href=/{n}>")).collect();
    assert_eq!(leads(&page, "https://news.example/").len(), MOST);
}

#[test]
fn a_page_is_called_by_its_title_or_its_site() {
    let title = |page: &str| title(&dom::parse(page, &|| false).unwrap());
    assert_eq!(title("<title> Old\n news </title><svg><title>x</title></svg>").as_deref(), Some("Old news"));
    assert_eq!(title("<title></title><meta property=og:site_name content=Sheet>").as_deref(), Some("Sheet"));
    assert_eq!(title("<p>text").as_deref(), None);
}
