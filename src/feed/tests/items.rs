use super::*;

#[test]
fn titles_are_plain_text() {
    for (raw, due) in [
        ("AT&amp;T", "AT&T"),
        ("AT&amp;amp;T", "AT&T"),
        ("&lt;b&gt;bold&lt;/b&gt; move", "bold move"),
        ("1 &lt; 2 &amp; 3 &gt; 2", "1 < 2 & 3 > 2"),
        ("if a&lt;b then c&gt;d", "if a<b then c>d"),
        ("List&lt;String&gt; in Java", "List<String> in Java"),
        ("How to use &lt;div&gt; well", "How to use <div> well"),
        ("<![CDATA[Tom &amp; Jerry]]>", "Tom & Jerry"),
        ("<![CDATA[<i>x</i> &uuml; &#8217;]]>", "x ü ’"),
        ("  a\n\t b  ", "a b"),
        ("a&lt;br/&gt;b", "a b"),
    ] {
        assert_eq!(title(raw), due, "{raw}");
    }
}

#[test]
fn references_that_were_written_twice_are_resolved_twice_but_those_of_markup() {
    for (written, due) in [
        ("It&amp;#39;s &amp;uuml;ber &amp;amp; out&amp;#8230;", "It's über & out…"),
        ("a &amp;ndash; &amp;quot;b&amp;quot; &amp;#x2019;", "a – \"b\" ’"),
        ("use &amp;lt;b&amp;gt; &amp;#60;i&amp;#62;", "use &lt;b&gt; &#60;i&#62;"),
        ("an escaped &amp;amp;lt; stays", "an escaped &amp;lt; stays"),
        ("`&amp;amp;` is an &amp;amp;", "`&amp;` is an &"),
        ("AT&amp;T &amp; more &amp;c", "AT&T & more &c"),
        ("once &amp;amp;amp; for all", "once &amp; for all"),
        ("&amp;#27;[31m", "&#27;[31m"),
    ] {
        assert_eq!(title(written), due, "{written}");
    }
    let atom = "<feed xmlns=\"http://www.w3.org/2005/Atom\"><entry><id>1</id><title>&amp;#39;</title></entry></feed>";
    assert_eq!(titles(&document(atom)), ["&#39;"]);
}

#[test]
fn another_vocabularys_title_stands_in_only_where_there_is_none() {
    assert_eq!(item("<media:title></media:title><title>real</title>").title.as_deref(), Some("real"));
    let nested = "<media:content url=\"x\"><media:title>other</media:title></media:content><title>real</title>";
    assert_eq!(item(nested).title.as_deref(), Some("real"));
    assert_eq!(item("<media:title>media's</media:title><guid>1</guid>").title.as_deref(), Some("media's"));
}

#[test]
fn links_in_the_order_of_their_worth() {
    let link = |inside: &str| item(inside).link;
    let own = "<link>https://e.org/own</link>";
    let atom = "<atom:link rel=\"self\" href=\"https://e.org/self\"/><atom:link rel=\"alternate\" href=\"https://e.org/alt\"/>";
    let guid = "<guid>https://e.org/guid</guid>";
    let enclosure = "<enclosure url=\"https://e.org/f.mp3\"/>";
    assert_eq!(link(&format!("{guid}{atom}{own}")).unwrap(), "https://e.org/own");
    assert_eq!(link(&format!("{guid}{atom}")).unwrap(), "https://e.org/alt");
    assert_eq!(link(&format!("{enclosure}{guid}")).unwrap(), "https://e.org/guid");
    assert_eq!(link(&format!("{enclosure}{}", guid.replace("<guid", "<guid isPermaLink=\"false\""))), None);
    let original = format!("{own}<feedburner:origLink>https://e.org/original</feedburner:origLink>");
    assert_eq!(link(&original).unwrap(), "https://e.org/own");
    assert_eq!(link("<title>none</title>"), None);
}

#[test]
fn relative_links_are_resolved_where_a_base_is_known() {
    let base = Url::parse("https://e.org/dir/feed.xml").unwrap();
    let hints = Hints { base: Some(&base), ..Hints::default() };
    let link = |text: &str| parse(text.as_bytes(), &hints).unwrap().items[0].link.clone().unwrap();
    let relative = "<item><link>../a?b=1</link></item>";
    assert_eq!(link(&rss(relative)), "https://e.org/a?b=1");
    let rebased = rss(relative).replace("<channel>", "<channel xml:base=\"https://f.org/x/y/\">");
    assert_eq!(link(&rebased), "https://f.org/x/a?b=1");
    assert_eq!(document(rss(relative)).items[0].link.as_deref(), Some("../a?b=1"));
}

#[test]
fn an_rdf_item_is_known_by_its_about() {
    let read = document(
        "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\" xmlns=\"http://purl.org/rss/1.0/\" \
         xmlns:dc=\"http://purl.org/dc/elements/1.1/\"><channel rdf:about=\"https://e.org\"><title>R</title></channel>\
         <item rdf:about=\"https://e.org/1\"><title>a</title><dc:date>2020-01-01</dc:date><dc:creator>M</dc:creator>\
         <dc:subject>s</dc:subject></item></rdf:RDF>",
    );
    let item = &read.items[0];
    assert_eq!(item.id.as_deref(), Some("https://e.org/1"));
    assert_eq!((&item.authors[..], &item.categories[..]), (&["M".to_owned()][..], &["s".to_owned()][..]));
    assert_eq!(item.published.unwrap().to_string(), "2020-01-01T00:00:00Z");
}

#[test]
fn the_image_is_the_largest_picture_else_the_first_sensible_one_in_the_content() {
    let image = |inside: &str| item(inside).image;
    let group = "<media:group><media:content url=\"https://e.org/s.jpg\" width=\"100\" medium=\"image\"/>\
                 <media:content url=\"https://e.org/l.jpg\" width=\"1000\" medium=\"image\"/>\
                 <media:content url=\"https://e.org/v.mp4\" width=\"2000\" type=\"video/mp4\"/>\
                 <media:thumbnail url=\"https://e.org/t.jpg\" width=\"50\"/></media:group>";
    assert_eq!(image(group).unwrap(), "https://e.org/l.jpg");
    assert_eq!(image("<itunes:image href=\"https://e.org/i.jpg\"/>").unwrap(), "https://e.org/i.jpg");
    assert_eq!(image("<enclosure url=\"https://e.org/e.png\" type=\"image/png\"/>").unwrap(), "https://e.org/e.png");
    let content = "<description><![CDATA[<img src=\"https://pixel.wp.com/b.gif\"><img src='https://e.org/dot' width=1>\
                   <img src=\"https://secure.gravatar.com/avatar/0a1b?s=96\"><img src='https://e.org/0.gif' height='1px'>\
                   <img style=\"width: 1px; height: 1px\" src=\"https://e.org/1.gif\">\
                   <img style=\"display:none\" src=\"https://e.org/2.gif\">\
                   <img class='avatar' src='https://e.org/me.jpg'><img src='data:image/png;base64,AA'>\
                   <img alt=\"a > b\" src=\"https://e.org/pic.jpg?a=1&amp;b=2\">]]></description>";
    assert_eq!(image(content).unwrap(), "https://e.org/pic.jpg?a=1&b=2");
    assert_eq!(image("<description>none</description>"), None);
}

#[test]
fn content_is_html_and_the_summary_plain_text() {
    let found = item(
        "<description>&lt;p&gt;Short &amp;amp; sweet&lt;/p&gt;</description>\
                      <content:encoded><![CDATA[<p>Long</p><script>x()</script>]]></content:encoded>",
    );
    assert_eq!(found.summary.as_deref(), Some("Short & sweet"));
    assert_eq!(found.content_html.as_deref(), Some("<p>Long</p><script>x()</script>"));
    let long = "word ".repeat(10_000);
    let found = item(&format!("<description>{long}</description>"));
    assert!(found.summary.as_deref().is_some_and(|summary| summary.len() < 5000 && summary.ends_with("word…")));
    let found = item("<content:encoded><![CDATA[<p>One</p><p>Two</p><style>p{}</style>]]></content:encoded>");
    assert_eq!(found.summary.as_deref(), Some("One Two"));
}

#[test]
fn authors_by_name() {
    for (inside, due) in [
        ("<author>a@e.org (Ann Other)</author>", "Ann Other"),
        ("<author>Ann &lt;a@e.org&gt;</author>", "Ann"),
        ("<dc:creator><![CDATA[Ann & Bob]]></dc:creator>", "Ann & Bob"),
        ("<author><name>Ann</name><email>a@e.org</email></author>", "Ann"),
        ("<author>a@e.org</author>", "a@e.org"),
    ] {
        assert_eq!(item(inside).authors, [due], "{inside}");
    }
}

#[test]
fn fields_of_torrents_and_videos_are_kept() {
    let read = document(
        rss("<item><title>x</title><nyaa:seeders>5</nyaa:seeders><nyaa:infoHash>abc</nyaa:infoHash>\
             <nyaa:size>1.3 GiB</nyaa:size><nyaa:category>Anime</nyaa:category><yt:videoId>v1</yt:videoId></item>")
        .replace("xmlns:dc", "xmlns:nyaa=\"https://nyaa.si/xmlns/nyaa\" xmlns:dc"),
    );
    let extra = &read.items[0].extra;
    for (name, value) in
        [("seeders", "5"), ("infoHash", "abc"), ("size", "1.3 GiB"), ("category", "Anime"), ("videoId", "v1")]
    {
        assert_eq!(extra.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn fields_of_torrents_are_kept_in_every_shape() {
    let extra = |inside: &str| item(&format!("<title>x</title>{inside}")).extra;
    let prefixed = extra(
        "<torrent:infoHash>abc</torrent:infoHash><torrent:magnetURI><![CDATA[magnet:?xt=urn:btih:abc&dn=x]]>\
         </torrent:magnetURI><torznab:attr name=\"seeders\" value=\"4\"/>",
    );
    assert_eq!((&*prefixed["infoHash"], &*prefixed["seeders"]), ("abc", "4"));
    assert_eq!(prefixed["magnetURI"], "magnet:?xt=urn:btih:abc&dn=x");
    // an element of its own namespace, which may hold the only date
    let whole = item(
        "<title>x</title><torrent xmlns=\"http://xmlns.ezrss.it/0.1/\"><infoHash>abc</infoHash>\
         <contentLength>5</contentLength><pubDate>2024-01-02T03:04:05.123</pubDate></torrent>",
    );
    assert_eq!((&*whole.extra["infoHash"], &*whole.extra["contentLength"]), ("abc", "5"));
    assert_eq!(whole.published.unwrap().to_string(), "2024-01-02T03:04:05.123Z");
}

#[test]
fn what_stands_beside_an_item_is_kept_or_passed_over() {
    let found = item(
        "<title>x</title><link>https://e.org/1</link><comments>https://e.org/1#c</comments><slash:comments>3</slash:comments>\
         <georss:point>1 2</georss:point><thr:total>4</thr:total>\
         <thr:in-reply-to ref=\"urn:2\" href=\"https://e.org/2\"/>\
         <feedburner:origLink>https://e.org/original</feedburner:origLink>",
    );
    let extra: Vec<_> = found.extra.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(extra, [("comments", "https://e.org/1#c"), ("origLink", "https://e.org/original"), ("total", "4")]);
}

#[test]
fn the_item_that_is_shown_is_the_one_that_is_delivered() {
    let enclosed = rss("<item><title>a</title><enclosure url=\"https://e.org/f.mp3\"/></item>");
    assert_eq!(document(enclosed).items[0].link, None);
    let inside = "<title>a &amp;#39;b&amp;#39;</title><guid isPermaLink=\"false\">1</guid>\
                  <pubDate>Mon, 01 Jan 0001 00:00:00 +0000</pubDate><enclosure url=\"https://e.org/f.mp3\"/>\
                  <feedburner:origLink>https://e.org/o</feedburner:origLink>";
    let shown = document(rss(&format!("<item>{inside}</item>")));
    assert_eq!(shown.items, [item(inside)]);
    assert_eq!(shown.items[0].time(), None);
    let about = "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\" xmlns=\"http://purl.org/rss/1.0/\">\
                 <item rdf:about=\"https://e.org/1\"><title>a</title></item></rdf:RDF>";
    assert_eq!(document(about).items[0].link.as_deref(), Some("https://e.org/1"));
    let titled = rss("<item><media:title>m</media:title><guid>1</guid></item>");
    assert_eq!(titles(&document(titled)), ["m"]);
}

#[test]
fn no_picture_is_an_avatar_a_button_or_an_ad_wherever_it_stands() {
    let image = |inside: &str| item(&format!("<title>x</title>{inside}")).image;
    let (avatar, button) = ("https://0.gravatar.com/avatar/1?s=96", "https://e.org/twitter_icon_large.png");
    let (ad, picture) = ("https://ad.doubleclick.net/1.jpg", "https://e.org/p.jpg");
    for unfit in [avatar, button, ad, "https://e.org/f.svg"] {
        for element in [
            format!("<media:content url=\"{unfit}\" medium=\"image\"/>"),
            format!("<media:thumbnail url=\"{unfit}\"/>"),
            format!("<enclosure url=\"{unfit}\" type=\"image/png\"/>"),
            format!("<itunes:image href=\"{unfit}\"/>"),
            format!("<image><url>{unfit}</url></image>"),
            format!("<description>&lt;img src='{unfit}'&gt;</description>"),
        ] {
            assert_eq!(image(&element), None, "{element}");
            let beside = format!("{element}<content:encoded>&lt;img src='{picture}'&gt;</content:encoded>");
            assert_eq!(image(&beside).as_deref(), Some(picture), "{element}");
        }
    }
    let feed = |keys: &str| {
        format!(r#"{{"version":"https://jsonfeed.org/version/1.1","items":[{{"id":"1","title":"t",{keys}}}]}}"#)
    };
    let html = format!(r#""content_html":"<img src='{avatar}'><img src='{picture}'>""#);
    assert_eq!(document(feed(&html)).items[0].image.as_deref(), Some(picture));
    let named = format!(r#"{html},"image":"{avatar}","banner_image":"https://e.org/banner.png""#);
    assert_eq!(document(feed(&named)).items[0].image.as_deref(), Some("https://e.org/banner.png"));
}

#[test]
fn a_prefix_means_what_it_was_declared_to_be() {
    let text = rss("<item><title>a</title><x:creator>Ann</x:creator></item>")
        .replace("xmlns:dc=", "xmlns:x=\"http://purl.org/dc/elements/1.1/\" xmlns:unused=");
    assert_eq!(document(text).items[0].authors, ["Ann"]);
}

#[test]
fn zones_follow_the_feeds_country() {
    let at = |language: &str| {
        let dated = "<item><title>a</title><pubDate>Thu, 02 Jul 2020 12:00:00 IST</pubDate></item>";
        let read = document(rss(&format!("<language>{language}</language>{dated}")));
        read.items[0].published.unwrap().to_string()
    };
    assert_eq!(at("en-IE"), "2020-07-02T11:00:00Z");
    assert_eq!(at("en"), "2020-07-02T06:30:00Z");
}
