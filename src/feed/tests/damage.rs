use super::*;

#[test]
fn a_bare_ampersand_or_sign_is_text() {
    assert_eq!(title("a & b, 1 < 2 && c"), "a & b, 1 < 2 && c");
    assert_eq!(item("<link>https://e.org/?a=1&b=2</link>").link.unwrap(), "https://e.org/?a=1&b=2");
}

#[test]
fn entities_that_nobody_declared_are_those_of_html() {
    assert_eq!(title("a&nbsp;b &rsquo;&eacute;&unheard;"), "a b ’é&unheard;");
}

#[test]
fn a_doctype_declares_texts_but_fetches_and_multiplies_nothing() {
    let declared = "<!DOCTYPE rss [<!ENTITY hi \"Hello\"><!ENTITY pw SYSTEM \"file:///etc/passwd\">\
                    <!ENTITY twice \"&hi;&hi;\">]>";
    let text = format!("{declared}{}", rss("<item><title>&hi; &pw; &twice;</title><guid>1</guid></item>"));
    assert_eq!(titles(&document(text)), ["Hello &pw; &hi;&hi;"]);
}

#[test]
fn a_declared_space_is_one() {
    let declared = "<!DOCTYPE rss [<!ENTITY nbsp \"&#160;\"><!ENTITY % more SYSTEM \"http://e.org/x.dtd\"> %more;\
                    <!ENTITY both ' a &amp; b '>]>";
    let text = format!("{declared}{}", rss("<item><title>x&nbsp;y&both;z</title><guid>1</guid></item>"));
    assert_eq!(titles(&document(text)), ["x y a & b z"]);
}

#[test]
fn a_billion_laughs_stay_a_few() {
    let long = "ha".repeat(500);
    let uses = "&l;".repeat(10_000);
    let text = format!(
        "<!DOCTYPE rss [<!ENTITY l \"{long}\">]>{}",
        rss(&format!("<item><title>x</title><description>{uses}</description></item>"))
    );
    let read = document(&text);
    assert!(read.items[0].content_html.as_ref().unwrap().len() < 100_000);
}

#[test]
fn an_item_whose_elements_are_never_closed_does_not_cost_the_next() {
    let read = document(rss("<item><title>a<link>https://e.org/1</link><description>x</item>\
                             <item><title>b</title><link>https://e.org/2</link></item>"));
    assert_eq!(titles(&read), ["a", "b"]);
    assert_eq!(read.warnings, [Warning::Damaged]);
    let read = document(rss("<item><title>a</title><guid>1</guid><item><title>b</title><guid>2</guid></item>"));
    assert_eq!(titles(&read), ["a", "b"]);
}

#[test]
fn every_item_before_a_cut_is_read() {
    let whole = rss("<item><title>a</title><guid>1</guid></item><item><title>b</title><guid>2</guid></item>");
    let last = whole.rfind("</item>").unwrap();
    for cut in whole.find("</item>").unwrap() + 7..whole.len() - 1 {
        let read = document(&whole[..cut]);
        assert_eq!(read.items[0].title.as_deref(), Some("a"), "{cut}");
        // an item cut in two is left for the next time
        assert_eq!(read.items.len() > 1, cut >= last + "</item>".len(), "{}", &whole[..cut]);
        assert_eq!(read.warnings, [Warning::Truncated], "{}", &whole[..cut]);
    }
}

#[test]
fn a_cut_cdata_section_costs_its_own_item_only() {
    let text = rss("<item><title>a</title><guid>1</guid></item><item><title>b</title><description><![CDATA[so far");
    let read = document(text.trim_end_matches("</channel></rss>"));
    assert_eq!(titles(&read), ["a"]);
    assert_eq!(read.warnings, [Warning::Truncated]);
}

#[test]
fn cdata_within_cdata_is_one_text() {
    assert_eq!(title("<![CDATA[a <![CDATA[b]]> c]]>"), "a b c");
    assert_eq!(title("<![CDATA[a]]> and <![CDATA[b]]>"), "a and b");
}

#[test]
fn attributes_may_be_double_or_unquoted() {
    let found = item("<enclosure url=https://e.org/a.mp3 length=\"5\" length=\"6\" type=audio/mpeg />");
    assert_eq!(found.enclosures[0].url, "https://e.org/a.mp3");
    assert_eq!(found.enclosures[0].length, Some(5));
    assert_eq!(found.enclosures[0].media_type.as_deref(), Some("audio/mpeg"));
}

#[test]
fn nulls_and_controls_become_replacement_characters() {
    assert_eq!(title("a\0b\u{8}c&#x1;&#xd800;&#99999999999;"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}\u{fffd}");
}

#[test]
fn what_stands_around_the_root_does_no_harm() {
    let feed = rss("<item><title>a</title><guid>1</guid></item>");
    for text in [
        format!("\n\n  {feed}"),
        format!("\u{feff}{feed}"),
        format!("<!-- {} -->{feed}", "a".repeat(90)),
        format!("Warning: mysql_connect() in /x.php\n{feed}"),
        format!("{feed}<script>x()</script>"),
        format!("<?xml-stylesheet href=\"a.xsl\"?>{feed}"),
    ] {
        assert_eq!(titles(&document(&text)), ["a"], "{text}");
    }
}

#[test]
fn a_cut_json_feed_keeps_the_items_before_the_cut() {
    let read = document(r#"{"version":"https://jsonfeed.org/version/1","items":[{"id":1,"title":"a"},{"id":"2","ti"#);
    assert_eq!(titles(&read), ["a"]);
    assert_eq!((read.items[0].id.as_deref(), read.format), (Some("1"), Format::Json10));
    assert_eq!(read.warnings, [Warning::Truncated]);
}

#[test]
fn an_unset_or_absurd_date_is_no_date_and_is_warned_of() {
    for date in ["Mon, 01 Jan 0001 00:00:00 +0000", "0001-01-01T00:00:00Z", "Mon, 01 Jan 30000 00:00:00 GMT"] {
        let inside = format!("<title>a</title><pubDate>{date}</pubDate>");
        assert_eq!(item(&inside).time(), None, "{date}");
        assert_eq!(document(rss(&format!("<item>{inside}</item>"))).warnings, [Warning::AbsurdDate], "{date}");
    }
}

#[test]
fn texts_are_bounded() {
    let long = "x ".repeat(500_000);
    let found = item(&format!(
        "<title>{long}</title><guid>{long}</guid><link>https://e.org/1</link><category>{long}</category>\
         <author>{long}</author><comments>{long}</comments><nyaa:size>{long}</nyaa:size>"
    ));
    assert_eq!(found.id, None);
    for text in [found.title.as_ref(), found.categories.first(), found.authors.first(), found.extra.get("size")] {
        assert!((100..70_000).contains(&text.unwrap().len()), "{}", text.unwrap().len());
    }
    let json = document(format!(r#"{{"items":[{{"id":"1","title":"{long}"}}]}}"#));
    assert!(json.items[0].title.as_ref().is_some_and(|title| title.len() < 70_000));
}

#[test]
fn what_one_place_says_for_many_items_is_bounded() {
    let path = "x".repeat(1900);
    let entry = "<entry><id>a</id><link href=\"b\"/></entry>";
    let atom = |attributes: &str, head: &str, entries: String| {
        format!("<feed xmlns=\"http://www.w3.org/2005/Atom\" {attributes}>{head}{entries}</feed>")
    };
    let author = format!("<author><name>{}</name></author>", "a".repeat(1000));
    let files = "<enclosure url=\"a\"/>".repeat(50);
    let json = |head: &str, item: &str| {
        let items = vec![item; 4000].join(",");
        format!(r#"{{"version":"https://jsonfeed.org/version/1.1",{head}"items":[{items}]}}"#)
    };
    let long = "a".repeat(1000);
    let documents = [
        atom(&format!("xml:base=\"http://e.org/{path}/\""), "", entry.repeat(4000)),
        atom("", "", format!("<entry xml:base=\"http://e.org/{path}/\"><id>a</id></entry>").repeat(1000)),
        atom("xml:base=\"http://e.org/\"", &author.repeat(10), "<entry><id>a</id></entry>".repeat(4000)),
        rss(&format!("<item><title>t</title>{files}</item>").repeat(4000)),
        json(&format!(r#""authors":[{{"name":"{long}"}}],"#), r#"{"id":"1","title":"t"}"#),
        json(
            "",
            &format!(
                r#"{{"id":"1","title":"t","tags":[{}]}}"#,
                (10..60).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",")
            ),
        ),
    ];
    for (n, document) in documents.iter().enumerate() {
        let read = parse(document.as_bytes(), &Hints::default());
        // the second says its bases itself
        assert_eq!(matches!(read, Err(Error::TooLarge(_))), n != 1, "{n}: {:?}", read.map(|read| read.items.len()));
    }
    let base = Url::parse(&format!("http://e.org/{path}/feed")).unwrap();
    let hints = Hints { base: Some(&base), ..Hints::default() };
    let relative = json("", r#"{"id":"1","title":"t","url":"u"}"#);
    assert!(matches!(parse(relative.as_bytes(), &hints), Err(Error::TooLarge(_))));
}

#[test]
fn a_base_or_a_link_beyond_all_use_is_left_out_with_a_warning() {
    let feed = |base: &str, link: &str| {
        document(format!(
            "<feed xmlns=\"http://www.w3.org/2005/Atom\" xml:base=\"{base}\">\
             <entry><id>a</id><link href=\"{link}\"/></entry></feed>"
        ))
    };
    let long = feed(&format!("http://e.org/{}/", "x".repeat(2100)), "b");
    assert_eq!((long.items[0].link.as_deref(), &long.warnings[..]), (Some("b"), &[Warning::LongBase][..]));
    let joined = feed(&format!("http://e.org/{}/", "x".repeat(1900)), &"y".repeat(300));
    assert_eq!((joined.items[0].link.as_deref(), &joined.warnings[..]), (None, &[Warning::LongLink][..]));
}
