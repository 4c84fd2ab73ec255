use super::*;

fn refusal(text: &str) -> String {
    let base = Url::parse("https://e.org/blog/").unwrap();
    let error = parse(text.as_bytes(), &Hints { base: Some(&base), ..Hints::default() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAFeed, "{text}");
    error.to_string()
}

#[test]
fn what_is_no_feed_is_called_by_its_name() {
    for (text, due) in [
        ("", "the document is empty"),
        (" \n ", "the document is empty"),
        ("\u{feff}\n", "the document is empty"),
        ("\0\0\0", "the document is empty"),
        ("<!DOCTYPE html><html><title>404 Not Found</title></html>", "an HTML page, not a feed: \"404 Not Found\""),
        ("<html><body>hi</body></html>", "an HTML page, not a feed"),
        (
            "<!DOCTYPE html><html><head><title>Just a moment...</title></head><script>window._cf_chl_opt={}</script>",
            "a challenge page for browsers (Cloudflare), not a feed: \"Just a moment...\"",
        ),
        ("<p>Come back later</p>", "an HTML page, not a feed"),
        ("<script>location = '/'</script>", "an HTML page, not a feed"),
        ("\"no feed here\"", "JSON, but not a JSON Feed: a lone value"),
        ("{\"items\":[{\"etag\":\"x\"}]}", "JSON, but not a JSON Feed: its \"items\" are no news"),
        ("{\"error\":\"no\"}", "JSON, but not a JSON Feed: it has no \"items\""),
        ("[1,2]", "JSON, but not a JSON Feed: it has no \"items\""),
        ("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML, but no feed: its root is <Error>"),
        ("<opml version=\"2.0\"><body/></opml>", "an OPML list of feeds, not a feed"),
        ("<urlset><url/></urlset>", "a sitemap, not a feed"),
        ("404 page not found\n", "text, neither XML nor JSON: \"404 page not found\""),
        ("%PDF-1.7 ...", "a PDF file, not a feed"),
    ] {
        assert_eq!(refusal(text), due, "{text}");
    }
}

#[test]
fn a_page_names_its_feeds_without_their_secrets() {
    let page = "<!DOCTYPE html><html><head><title>Blog</title><link rel=stylesheet href=a.css>\
                <link rel=\"alternate\" type=\"application/rss+xml\" title=\"RSS\" href=\"feed.xml?token=secret\">\
                <LINK REL=alternate TYPE='application/atom+xml' HREF=https://f.org/atom />\
                <link rel=\"alternate\" hreflang=\"de\" href=\"/de\"></head></html>";
    assert_eq!(
        refusal(page),
        "an HTML page, not a feed: \"Blog\"; it names as its feeds: https://e.org/blog/feed.xml, https://f.org/atom"
    );
}

#[test]
fn what_may_be_secret_is_not_quoted() {
    assert_eq!(refusal("could not fetch https://u:p@e.org/?key=1"), "neither XML nor JSON");
}

#[test]
fn a_feed_within_a_page_is_one() {
    let feed = rss("<item><title>a &amp;amp; b</title><guid>1</guid></item>");
    let escaped = feed.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    for text in [
        format!("<!DOCTYPE html><html><body><pre>{feed}</pre></body></html>"),
        format!("<html><head></head><body><pre style=\"wrap\">{escaped}</pre></body></html>"),
        format!("<HTML><BODY><PRE>\n{escaped}</PRE></BODY></HTML>"),
        format!("<html><body>{feed}</body></html>"),
        format!("<wrapper>{feed}</wrapper>"),
    ] {
        assert_eq!(titles(&document(&text)), ["a & b"], "{text}");
    }
}

#[test]
fn a_page_that_only_speaks_of_items_is_no_feed() {
    assert!(refusal("<html><body><item><title>a</title></item><rss></rss></body></html>").starts_with("an HTML page"));
}

#[test]
fn more_bytes_than_are_read_are_refused() {
    let error = decode(&vec![b' '; LARGEST + 1], &Hints::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}
