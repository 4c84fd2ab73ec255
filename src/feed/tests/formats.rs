use super::*;

#[test]
fn each_format_is_told_from_its_root() {
    let item = "<item><title>a</title><link>https://e.org/1</link></item>";
    let entry = "<entry><title>a</title><id>1</id></entry>";
    for (text, format) in [
        (format!("<rss version=\"0.91\"><channel>{item}</channel></rss>"), Format::Rss091),
        (format!("<rss version=\"0.92\"><channel>{item}</channel></rss>"), Format::Rss092),
        (format!("<rss><channel>{item}</channel></rss>"), Format::Rss20),
        (format!("<RSS><Channel>{item}</Channel></RSS>"), Format::Rss20),
        (format!("<channel>{item}</channel>"), Format::Rss20),
        (
            format!(
                "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\" \
                 xmlns=\"http://my.netscape.com/rdf/simple/0.9/\"><channel/>{item}</rdf:RDF>"
            ),
            Format::Rss090,
        ),
        (
            format!(
                "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\" xmlns:rss=\"http://purl.org/rss/1.0/\">\
                 <rss:channel/>{}</rdf:RDF>",
                item.replace("</", "</rss:").replace("<t", "<rss:t").replace("<l", "<rss:l").replace("<i", "<rss:i")
            ),
            Format::Rss10,
        ),
        (format!("<feed xmlns=\"http://www.w3.org/2005/Atom\">{entry}</feed>"), Format::Atom10),
        (format!("<feed>{entry}</feed>"), Format::Atom10),
        (format!("<feed version=\"0.3\" xmlns=\"http://purl.org/atom/ns#\">{entry}</feed>"), Format::Atom03),
        (
            "<atom:feed xmlns:atom=\"http://www.w3.org/2005/Atom\"><atom:entry><atom:title>a</atom:title>\
             <atom:id>1</atom:id></atom:entry></atom:feed>"
                .into(),
            Format::Atom10,
        ),
        // a prefix that nobody declared, or bound to what is no feed's
        ("<x:feed><x:entry><x:title>a</x:title><x:id>1</x:id></x:entry></x:feed>".into(), Format::Atom10),
        (
            "<x:rss xmlns:x=\"urn:mine\" version=\"2.0\"><x:channel><x:item><x:title>a</x:title></x:item></x:channel></x:rss>"
                .into(),
            Format::Rss20,
        ),
        (entry.replace("<entry", "<entry xmlns=\"http://www.w3.org/2005/Atom\""), Format::Atom10),
        (r#"{"items":[{"id":"1","title":"a"}]}"#.into(), Format::Json11),
        (r#"{"version":"https://jsonfeed.org/version/1","items":[{"id":"1","title":"a"}]}"#.into(), Format::Json10),
        (r#"{"version":"http://jsonfeed.org/version/1.1","items":[{"id":"1","title":"a"}]}"#.into(), Format::Json11),
    ] {
        let read = document(&text);
        assert_eq!((titles(&read), read.format), (vec!["a"], format), "{text}");
    }
}

#[test]
fn an_atom_entry_in_full() {
    let read = document(
        "<feed xmlns=\"http://www.w3.org/2005/Atom\" xml:base=\"https://e.org/a/\"><title type=\"html\">F &amp;amp; G</title>\
         <link rel=\"self\" href=\"feed\"/><link href=\"/\"/><author><name>Feed</name></author>\
         <entry><title type=\"xhtml\"><div xmlns=\"http://www.w3.org/1999/xhtml\">a <b>b</b> &lt; c</div></title>\
         <link rel=\"self\" href=\"s\"/><link rel=\"alternate\" href=\"p1\"/>\
         <link rel=\"enclosure\" href=\"f.mp3\" type=\"audio/mpeg\" length=\"9\"/><id>urn:1</id>\
         <published>2020-01-01T00:00:00+01:00</published><updated>2020-01-02T00:00:00Z</updated>\
         <category term=\"t\" label=\"L\"/><category term=\"u\"/><summary>plain &lt;3</summary>\
         <content type=\"html\">&lt;p&gt;x &amp;amp; y&lt;/p&gt;</content></entry></feed>",
    );
    assert_eq!((read.title.as_deref(), read.link.as_deref()), (Some("F & G"), Some("https://e.org/")));
    let item = &read.items[0];
    assert_eq!(item.title.as_deref(), Some("a b < c"));
    assert_eq!(item.link.as_deref(), Some("https://e.org/a/p1"));
    assert_eq!(item.id.as_deref(), Some("urn:1"));
    assert_eq!(item.published.unwrap().to_string(), "2019-12-31T23:00:00Z");
    assert_eq!(item.updated.unwrap().to_string(), "2020-01-02T00:00:00Z");
    assert_eq!(item.summary.as_deref(), Some("plain <3"));
    assert_eq!(item.content_html.as_deref(), Some("<p>x &amp; y</p>"));
    assert_eq!(item.categories, ["L", "u"]);
    assert_eq!(item.authors, ["Feed"]);
    assert_eq!(item.enclosures[0].url, "https://e.org/a/f.mp3");
}

#[test]
fn a_json_feed_in_full_and_in_disorder() {
    let read = document(
        r#"{"items":[{"id":7,"url":"https://e.org/7","title":" a  <b> ","content_text":"1 < 2","tags":["x",null,3],
        "author":{"name":"A"},"attachments":[{"url":"https://e.org/f.mp3","mime_type":"audio/mpeg","size_in_bytes":12}],
        "date_published":"2020-01-01T00:00:00+02:00","image":"https://e.org/i.png","_own":{"deep":[[1]]}},
        "no item",{"id":"8","authors":[{"name":"B"}],"title":5,"content_html":"<p>h</p>"}],
        "title":"J","authors":[{"name":"Z"}],"home_page_url":"https://e.org/"}"#,
    );
    assert_eq!((read.title.as_deref(), read.link.as_deref()), (Some("J"), Some("https://e.org/")));
    let [first, second] = &read.items[..] else { panic!("{:?}", read.items) };
    assert_eq!((first.id.as_deref(), first.title.as_deref()), (Some("7"), Some("a <b>")));
    assert_eq!((first.summary.as_deref(), first.content_html.as_deref()), (Some("1 < 2"), Some("1 &lt; 2")));
    assert_eq!((&first.authors[..], &first.categories[..]), (&["A".to_owned()][..], &["x".into(), "3".into()][..]));
    assert_eq!(first.enclosures[0].length, Some(12));
    assert_eq!(first.published.unwrap().to_string(), "2019-12-31T22:00:00Z");
    assert_eq!(first.image.as_deref(), Some("https://e.org/i.png"));
    assert_eq!((second.summary.as_deref(), second.authors[0].as_str()), (Some("h"), "B"));
    assert_eq!(second.title.as_deref(), Some("5"));
}

#[test]
fn the_period_between_changes_is_read() {
    let period = |head: &str| {
        let text = rss(head).replace("xmlns:dc", "xmlns:sy=\"http://purl.org/rss/1.0/modules/syndication/\" xmlns:dc");
        document(text).update_period.map(|period| period.as_secs())
    };
    assert_eq!(period("<ttl>60</ttl>"), Some(3600));
    assert_eq!(
        period("<sy:updatePeriod> hourly </sy:updatePeriod><sy:updateFrequency>2</sy:updateFrequency>"),
        Some(1800)
    );
    assert_eq!(period("<sy:updatePeriod>daily</sy:updatePeriod>"), Some(86_400));
    assert_eq!(period("<ttl>0</ttl>"), None);
}

#[test]
fn an_item_in_an_atom_feed_is_none_of_its_entries() {
    let read = document(
        "<feed xmlns=\"http://www.w3.org/2005/Atom\"><item><title>x</title></item>\
         <entry><title>a</title><id>1</id></entry></feed>",
    );
    assert_eq!(titles(&read), ["a"]);
}

#[test]
fn a_root_that_closes_itself_is_whole() {
    assert_eq!(document("<rss version=\"2.0\"/>").warnings, []);
}

#[test]
fn a_video_channel() {
    let read = document(
        "<feed xmlns:yt=\"http://www.youtube.com/xml/schemas/2015\" xmlns:media=\"http://search.yahoo.com/mrss/\" \
         xmlns=\"http://www.w3.org/2005/Atom\"><title>Channel</title><author><name>Channel</name></author>\
         <entry><id>yt:video:v1</id><yt:videoId>v1</yt:videoId><title>Video &amp; more</title>\
         <link rel=\"alternate\" href=\"https://v.example/watch?v=v1\"/>\
         <published>2024-01-01T00:00:00+00:00</published><media:group><media:title>Another</media:title>\
         <media:content url=\"https://v.example/v1\" type=\"application/x-shockwave-flash\" width=\"640\"/>\
         <media:thumbnail url=\"https://i.example/v1.jpg\" width=\"480\"/>\
         <media:description>One\nTwo</media:description></media:group></entry></feed>",
    );
    let item = &read.items[0];
    assert_eq!(item.title.as_deref(), Some("Video & more"));
    assert_eq!(item.link.as_deref(), Some("https://v.example/watch?v=v1"));
    assert_eq!(item.image.as_deref(), Some("https://i.example/v1.jpg"));
    assert_eq!(item.summary.as_deref(), Some("One Two"));
    assert_eq!(item.authors, ["Channel"]);
    assert_eq!(item.extra["videoId"], "v1");
}

#[test]
fn a_forum_whose_entries_are_tables() {
    let read = document(
        "<feed xmlns=\"http://www.w3.org/2005/Atom\" xmlns:media=\"http://search.yahoo.com/mrss/\"><title>r</title>\
         <entry><author><name>/u/x</name></author><category term=\"anime\" label=\"r/anime\"/>\
         <content type=\"html\">&lt;table&gt;&lt;tr&gt;&lt;td&gt;&lt;a href=&quot;https://f.example/1&quot;&gt;\
         &lt;img src=&quot;https://p.example/x.jpg?w=640&amp;amp;c=1&quot;/&gt;&lt;/a&gt;&lt;/td&gt;&lt;td&gt;by /u/x\
         &lt;/td&gt;&lt;/tr&gt;&lt;/table&gt;</content><id>t3_1</id>\
         <media:thumbnail url=\"https://p.example/x.jpg?w=140&amp;c=1\"/><link href=\"https://f.example/1\"/>\
         <title>Episode 1</title></entry></feed>",
    );
    let item = &read.items[0];
    assert_eq!(item.link.as_deref(), Some("https://f.example/1"));
    assert_eq!(item.image.as_deref(), Some("https://p.example/x.jpg?w=140&c=1"));
    assert_eq!(item.summary.as_deref(), Some("by /u/x"));
    assert_eq!((&item.authors[..], &item.categories[..]), (&["/u/x".to_owned()][..], &["r/anime".to_owned()][..]));
}

#[test]
fn a_feed_without_items_is_a_feed() {
    assert!(document(rss("")).items.is_empty());
    assert!(document("<feed xmlns=\"http://www.w3.org/2005/Atom\"/>").items.is_empty());
    assert!(document(r#"{"version":"https://jsonfeed.org/version/1.1","items":[]}"#).items.is_empty());
}
