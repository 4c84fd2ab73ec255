//! The configuration of pages and JSON: every fault at its place, and what a right one means.

use std::{sync::Arc, time::Duration};

use kawaraban::{
    config::{Config, SourceKind},
    page::rules::{Css, Enrich, Items, JsonRules, PageRules, Path, Pick, Rule, Steps, Take, What},
};

use super::config::{check, config, in_source};

/// A page's table with these lines, which begin in line 6.
fn in_page(lines: &str, expected: &[&str]) {
    in_source(&format!("kind = \"html\"\n[source.html]\n{lines}"), expected);
}

/// A field of a page, which begins in line 8, column 13.
fn in_title(field: &str, expected: &[&str]) {
    in_page(&format!("items = \"li\"\nlink = \"a\"\ntitle      = {field}\n"), expected);
}

/// A date of a page, in line 8 from column 13 on.
fn in_published(field: &str, expected: &[&str]) {
    in_page(&format!("items = \"li\"\ntitle = \"a\"\npublished  = {field}\n"), expected);
}

/// A field of JSON, in line 8 from column 13 on.
fn in_json_title(field: &str, expected: &[&str]) {
    in_source(
        &format!("kind = \"json\"\n[source.json]\nitems = \"/a\"\nlink = \"/b\"\ntitle      = {field}\n"),
        expected,
    );
}

#[test]
fn what_belongs_to_another_kind_is_told_with_the_kind() {
    in_source(
        "[source.html]\nitems = \"li\"\ntitle = \"a\"\n",
        &["4:9 source[ann].html belongs to kind = \"html\", and the kind of this source is \"feed\""],
    );
    in_source(
        "kind = \"feed\"\nmethod = \"POST\"\nbody = \"hunter2\"\nembedded = \"script\"\n[source.json]\n",
        &[
            "5:1 source[ann].method belongs to kind = \"json\", and the kind of this source is \"feed\"",
            "6:1 source[ann].body belongs to kind = \"json\"",
            "7:1 source[ann].embedded belongs to kind = \"json\"",
            "8:9 source[ann].json belongs to kind = \"json\"",
        ],
    );
    in_source(
        "kind = \"html\"\nmethod = \"GET\"\n[source.html]\nitems = \"li\"\ntitle = \"a\"\n[source.json]\n",
        &["5:1 source[ann].method belongs to kind = \"json\"", "9:9 source[ann].json belongs to kind = \"json\""],
    );
    in_source(
        "kind = \"json\"\n[source.json]\nitems = \"/a\"\ntitle = \"/b\"\n[source.html]\n",
        &["8:9 source[ann].html belongs to kind = \"html\", and the kind of this source is \"json\""],
    );
    in_source(
        "kind = \"htlm\"\nmethod = \"POST\"\n[source.html]\nitems = 3\n",
        &["4:8 source[ann].kind expected one of \"feed\", \"html\", \"json\", found \"htlm\"; did you mean \"html\"?"],
    );
}

#[test]
fn what_is_missing_is_told_at_the_tables_header() {
    in_source(
        "kind = \"html\"\n",
        &["1:1 source[ann].html missing; expected [source.html], a table with items and title"],
    );
    in_source("kind = \"json\"\n", &["1:1 source[ann].json missing; expected [source.json]"]);
    in_source("kind = \"html\"\nhtml = \"li\"\n", &["5:8 source[ann].html expected a table, found \"li\""]);
    in_page(
        "",
        &[
            "5:1 source[ann].html.items missing; expected a CSS selector whose matches are the items",
            "5:1 source[ann].html.title missing; expected a FIELD: a CSS selector, or a table",
        ],
    );
    in_source(
        "kind = \"json\"\n[source.json]\n",
        &[
            "5:1 source[ann].json.items missing; expected where the items are: a JSON Pointer",
            "5:1 source[ann].json.title missing; expected a FIELD: a JSON Pointer",
        ],
    );
    in_page(
        "title = \"a\"\nitems = { matching = \"news\" }\n",
        &[
            "7:9 source[ann].html.items.after missing; expected a CSS selector, of the heading",
            "7:9 source[ann].html.items.select missing; expected a CSS selector, of what follows the heading",
        ],
    );
    in_page(
        "items = \"li\"\ntitle = \"a\"\n[source.enrich]\n",
        &["8:1 source[ann].enrich visits the links of new items, and no link is configured"],
    );
}

#[test]
fn items_are_a_selector_or_what_follows_a_heading() {
    let items = |items: &str, expected: &[&str]| in_page(&format!("title = \"a\"\nitems = {items}\n"), expected);
    items(
        "3",
        &["7:9 source[ann].html.items expected a CSS selector, or a table with after and select, found the number 3"],
    );
    items("\":self\"", &["7:9 source[ann].html.items \":self\" is the item itself, and here is none"]);
    items("\"\"", &["7:9 source[ann].html.items an empty string is no CSS selector: there is nothing where"]);
    items(
        "{ after = \"h2[\", matching = \"(\", select = \">\", first = 0, last = 3 }",
        &[
            "7:19 source[ann].html.items.after \"h2[\" is no CSS selector",
            "7:37 source[ann].html.items.matching no regular expression: unclosed group",
            "7:51 source[ann].html.items.select \">\" is no CSS selector: there is nothing where something is due",
            "7:64 source[ann].html.items.first expected a whole number from 1 to 1000000, found the number 0",
            "7:67 source[ann].html.items.last unknown key; allowed here: after, matching, select, first",
        ],
    );
    in_source(
        "kind = \"json\"\n[source.json]\ntitle = \"/b\"\nitems = { after = \"/a\" }\n",
        &[
            "7:9 source[ann].json.items expected a JSON Pointer such as \"/data/items\" or a JSONPath such as \"$.data[*]\", found a table",
        ],
    );
}

#[test]
fn a_selector_that_does_not_parse_is_told_in_words() {
    let cases = [
        ("div >", "nothing stands on one side of a \">\", \"+\" or \"~\""),
        ("a,,b", "there is nothing where something is due, as on both sides of a comma"),
        ("h3 a::text", "pseudo-element that is not known here"),
        ("a:contains(x)", "for an attribute use attr, for a text regex"),
        ("div.1st", "(no class begins with a digit)"),
        ("a[href=]", "something is missing at its end, or before a closing bracket"),
        ("a['b']", "in [] stands a name alone"),
        ("svg|a", "there are no namespaces"),
        ("//div[@class='x']", "is no CSS selector"),
        ("li)", "is no CSS selector"),
        ("a:", "is no CSS selector: something is missing at its end"),
    ];
    for (selector, why) in cases {
        in_title(&format!("'''{selector}'''"), &[&format!("8:14 source[ann].html.title {why}")]);
    }
    in_title(&format!("\"{}\"", "a ".repeat(501)), &["8:14 source[ann].html.title is longer than 1000 bytes"]);
    in_title(&format!("\"{}\"", ":not(".repeat(51)), &["8:14 source[ann].html.title has more than 50 brackets"]);
}

#[test]
fn a_path_that_does_not_parse_is_told_with_its_place() {
    in_json_title(
        "\"title.romaji\"",
        &["8:14 source[ann].json.title found \"title.romaji\"; did you mean \"/title/romaji\"?"],
    );
    in_json_title("\"h3 > a\"", &["8:14 source[ann].json.title expected a JSON Pointer such as"]);
    in_json_title("\"/a~b\"", &["8:14 source[ann].json.title \"/a~b\" is no JSON Pointer: behind \"~\" stands 0"]);
    in_json_title(
        "\"$.a[\"",
        &["8:14 source[ann].json.title \"$.a[\" is no JSONPath: it cannot be read near its character 3"],
    );
    in_json_title("\"$['a\"", &["8:14 source[ann].json.title near its character 4 (expected an ending quote)"]);
    in_json_title("\"$..a..b\"", &["8:14 source[ann].json.title more than once (\"..\"), which can take very long"]);
    in_json_title("\"$[?count(@..a) > 1]\"", &["8:14 source[ann].json.title a filter that goes through everything"]);
    in_json_title("\"$[?@.a == $.b]\"", &["8:14 source[ann].json.title a filter that goes through everything"]);
    in_json_title("\"$[?@.a[?@.b]].c[?@['..'] == '$']..d\"", &[]);
    in_json_title("\"$[?@.a][?@.b][?@.c][?@.d][?@.e]\"", &["8:14 source[ann].json.title has more than 4 filters"]);
    in_json_title(
        "{ select = \"/a\", attr = \"href\" }",
        &["8:31 source[ann].json.title.attr JSON has no attributes: select leads to the value itself"],
    );
    in_json_title("{ select = \"$..a.b\" }", &[]);
}

#[test]
fn a_field_that_contradicts_itself_is_told() {
    in_title(
        "3",
        &[
            "8:14 source[ann].html.title expected a FIELD: a CSS selector, or a table with select, const, any or join, found the number 3",
        ],
    );
    in_title(
        "{ attr = \"href\" }",
        &[
            "8:14 source[ann].html.title expected one of select, const, any and join, found none; the item itself is select = \":self\"",
        ],
    );
    in_title(
        "{ const = \"x\", select = \"a\" }",
        &["8:24 source[ann].html.title.const there is select too, and a FIELD has only one of"],
    );
    in_title(
        "{ const = \"x\", regex = \"x\", min_length = 2, attr = \"href\" }",
        &[
            "8:37 source[ann].html.title.regex changes nothing: a const is always the same text",
            "8:55 source[ann].html.title.min_length changes nothing",
            "8:65 source[ann].html.title.attr belongs to select, and this FIELD has const",
        ],
    );
    in_title("{ join = [] }", &["8:23 source[ann].html.title.join has no FIELD in it"]);
    in_title("{ any = [] }", &["8:22 source[ann].html.title.any has no FIELD in it"]);
    in_title(
        "{ any = [\"a\", \"b[\", { select = \"c\", with = \"\" }] }",
        &[
            "8:28 source[ann].html.title.any \"b[\" is no CSS selector",
            "8:57 source[ann].html.title.any.with stands between the parts of join, and this FIELD has select",
        ],
    );
    in_title(
        "{ select = \"a\", min_length = 9, max_length = 8 }",
        &["8:43 source[ann].html.title.min_length min_length (9) is greater than max_length (8)"],
    );
    in_title(
        "{ select = \"a\", max_length = 0, min_length = -1, regex = \"(\", slect = 1 }",
        &[
            "8:43 source[ann].html.title.max_length expected a whole number from 1 to",
            "8:59 source[ann].html.title.min_length expected a whole number from 0 to",
            "8:71 source[ann].html.title.regex no regular expression: unclosed group",
            "8:76 source[ann].html.title.slect unknown key; did you mean \"select\"?",
        ],
    );
    in_title(
        "{ select = \"a\", attr = \"@href\" }",
        &["8:37 source[ann].html.title.attr expected the name of an attribute"],
    );
    in_page(
        "items = \"li\"\ntitle = \"a\"\nextra.\"a b\" = \"a\"\nextra.c = \"[\"\n",
        &[
            "8:7 source[ann].html.extra a further field's name has",
            "9:11 source[ann].html.extra.c \"[\" is no CSS selector",
        ],
    );
}

#[test]
fn how_dates_are_read_is_checked() {
    in_title(
        "{ select = \"a\", format = \"%Y\", zone = \"UTC\", under = \"h4\" }",
        &[
            "8:30 source[ann].html.title.format is for dates, which published alone is",
            "8:45 source[ann].html.title.zone is for dates",
            "8:59 source[ann].html.title.under is for dates",
        ],
    );
    let zone = |zone: &str, part: &str| {
        in_published(
            &format!("{{ select = \"a\", zone = {zone} }}"),
            &[&format!("8:37 source[ann].html.published.zone {part}")],
        );
    };
    zone("\"Asia/Tokio\"", "did you mean \"Asia/Tokyo\"?");
    zone("\"JST9\"", "expected a time zone such as \"Asia/Tokyo\", \"+09:00\" or \"UTC\"");
    zone("\"+9\"", "expected a time zone");
    zone("9", "found the number 9");
    let format = |format: &str, part: &str| {
        in_published(
            &format!("{{ select = \"a\", format = \"{format}\" }}"),
            &[&format!("8:39 source[ann].html.published.format {part}")],
        );
    };
    format("yyyy-MM-dd", "\"yyyy-MM-dd\" cannot be used: it has nothing that begins with \"%\"");
    format("%Y-%m-%d %K", "unrecognized specifier directive `K`");
    format("%H:%M", "day, month and year are needed");
    in_published(
        "{ join = [\"b\", { select = \"a\", zone = \"UTC\" }], with = \" \" }",
        &["8:45 source[ann].html.published.join.zone is said of the date as a whole, beside join"],
    );
    in_published(
        "{ select = \"a\", under = \"h4[\" }",
        &["8:38 source[ann].html.published.under \"h4[\" is no CSS selector"],
    );
    in_source(
        "kind = \"json\"\n[source.json]\nitems = \"/a\"\ntitle = \"/b\"\npublished = { select = \"/c\", under = \"h4\" }\n",
        &["8:38 source[ann].json.published.under expected a JSON Pointer"],
    );
}

#[test]
fn requests_with_a_body_are_checked_and_not_shown() {
    let json = |lines: &str, expected: &[&str]| {
        in_source(&format!("kind = \"json\"\n{lines}[source.json]\nitems = \"/a\"\ntitle = \"/b\"\n"), expected);
    };
    json("method = \"GET\"\nbody = \"hunter2\"\n", &["6:8 source[ann].body a GET has no body"]);
    json("method = \"PUT\"\n", &["5:10 source[ann].method expected one of \"GET\", \"POST\", found \"PUT\""]);
    json(
        "body = { query = \"hunter2\" }\n",
        &["5:8 source[ann].body expected a string, such as a GraphQL query in JSON, found a table"],
    );
    json("body = 77\n", &["5:8 source[ann].body found a number (not shown)"]);
    json("embedded = \"script[\"\n", &["5:12 source[ann].embedded \"script[\" is no CSS selector"]);
    in_source("color = \"red\"\n", &["4:9 source[ann].color expected a colour such as \"#2e51a2\", found \"red\""]);
    in_source("color = \"#12345\"\n", &["4:9 source[ann].color expected a colour"]);
    in_source("color = \"#+12345\"\n", &["4:9 source[ann].color expected a colour"]);
}

#[test]
fn enrichment_is_checked() {
    in_source(
        "[source.enrich]\ntimeout = \"0s\"\nverify_image = \"yes\"\nimage = \"meta[\"\nvideo = { const = 3 }\n\
         summary = { select = \"p\", zone = \"UTC\" }\ntitle = \"h1\"\n",
        &[
            "5:11 source[ann].enrich.timeout expected a duration longer than 0",
            "6:16 source[ann].enrich.verify_image expected true or false, found \"yes\"",
            "7:9 source[ann].enrich.image \"meta[\" is no CSS selector",
            "8:19 source[ann].enrich.video.const expected a text, found the number 3",
            "9:27 source[ann].enrich.summary.zone is for dates",
            "10:1 source[ann].enrich.title unknown key",
        ],
    );
}

const PAGE: &str = r##"[[source]]
name = "page"
url = "https://a.example/"
kind = "html"
color = "#2E51a2"
[source.html]
items = { after = "h2, h3", matching = '(?i)latest', select = "a", first = 5 }
title = ":self"
link = { select = ":self", attr = "HREF" }
summary = { select = "div", attr = "html", min_length = 3, max_length = 9 }
published = { any = ["time", { select = "b", format = "%d.%m.%Y" }, { select = "s", zone = "UTC" }], zone = "Asia/Tokyo", under = "h4" }
extra.series = { const = "Detective Conan" }
extra.both = { join = ["i", "u"], with = "" }
[source.enrich]
timeout = "3s"
verify_image = true
image = { select = "meta", attr = "content" }
"##;

fn page(config: &Config) -> (Arc<PageRules>, Arc<Enrich>) {
    let source = &config.sources[0];
    let SourceKind::Html(rules) = &source.kind else { panic!("no page") };
    (rules.clone(), source.enrich.clone().unwrap())
}

#[test]
fn a_page_means_what_it_says() {
    let config = config(PAGE);
    assert_eq!(config.sources[0].color, Some(0x2e_51a2));
    let (rules, enrich) = page(&config);
    let Items::After { after, matching, select, first } = &rules.items else { panic!("no heading") };
    assert_eq!((after.text.as_str(), select.text.as_str(), *first), ("h2, h3", "a", Some(5)));
    assert!(matching.as_ref().unwrap().is_match("LATEST"));
    assert_eq!(after.place.to_string(), "source[page].html.items.after (line 7, column 19)");
    let fields = &rules.fields;
    let pick = |rule: &Rule<Css>| match &rule.take {
        Take::Pick(Pick { select, what }) => (select.as_ref().map(|css| css.text.clone()), what.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(pick(&fields.title), (None, What::Natural));
    assert_eq!(fields.title.place.to_string(), "source[page].html.title (line 8, column 9)");
    assert_eq!(pick(fields.link.as_ref().unwrap()), (None, What::Attribute("href".into())));
    let summary = fields.summary.as_ref().unwrap();
    assert_eq!((pick(summary), summary.min_length, summary.max_length), ((Some("div".into()), What::Html), 3, Some(9)));
    // what is said of how all are read holds for each of them
    let Take::Any(dates) = &fields.published.as_ref().unwrap().take else { panic!("no alternatives") };
    let said = |rule: &Rule<Css>| {
        let zone = rule.date.zone.iana_name().map(str::to_owned);
        (rule.date.format.clone(), zone, rule.date.under.as_ref().map(|css| css.text.clone()))
    };
    let (tokyo, heading) = (Some("Asia/Tokyo".to_owned()), Some("h4".to_owned()));
    assert_eq!(said(&dates[0]), (None, tokyo.clone(), heading.clone()));
    assert_eq!(said(&dates[1]), (Some("%d.%m.%Y".into()), tokyo, heading.clone()));
    assert_eq!(said(&dates[2]), (None, Some("UTC".into()), heading));
    assert!(matches!(&fields.extra["series"].take, Take::Const(text) if text == "Detective Conan"));
    assert!(matches!(&fields.extra["both"].take, Take::Join { parts, with } if parts.len() == 2 && with.is_empty()));
    assert_eq!((enrich.timeout, enrich.verify_image), (Some(Duration::from_secs(3)), true));
    assert_eq!(pick(enrich.image.as_ref().unwrap()), (Some("meta".into()), What::Attribute("content".into())));
}

const JSON: &str = r#"[[source]]
name = "json"
url = "https://a.example/"
kind = "json"
body = "hunter2"
embedded = "script#data"
[source.json]
items = "$.data[*]"
title = "/title"
id = { select = "" }
published = { select = "/at", zone = "-0330" }
"#;

#[test]
fn json_means_what_it_says() {
    let config = config(JSON);
    let source = &config.sources[0];
    let SourceKind::Json(rules) = &source.kind else { panic!("no JSON") };
    let JsonRules { items, fields, embedded } = &**rules;
    assert!(matches!(items.steps, Steps::Query(_)));
    assert_eq!(embedded.as_ref().unwrap().text, "script#data");
    let pointer = |rule: &Rule<Path>| match &rule.take {
        Take::Pick(Pick { select: Some(Path { steps: Steps::Pointer(text), .. }), what: What::Natural }) => {
            text.clone()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(pointer(&fields.title), "/title");
    assert!(matches!(&fields.id.as_ref().unwrap().take, Take::Pick(Pick { select: None, .. })));
    let zone = &fields.published.as_ref().unwrap().date.zone;
    assert_eq!(zone.to_fixed_offset().unwrap().seconds(), -(3 * 3600 + 30 * 60));
    assert_eq!(source.request.post.as_ref().unwrap().expose(), "hunter2");
    assert!(!format!("{source:?}").contains("hunter2"));
    let method =
        |line: &str| super::config::config(&JSON.replace("body = \"hunter2\"", line)).sources[0].request.post.clone();
    assert_eq!(method("method = \"POST\"").unwrap().expose(), "");
    assert_eq!([method("method = \"GET\""), method("")], [None, None]);
}

#[test]
fn enrichment_needs_no_field_and_serves_feeds_too() {
    let config = config(&format!("{}[source.enrich]\n", super::config::SOURCE));
    let enrich = config.sources[0].enrich.as_ref().unwrap();
    assert_eq!((enrich.timeout, enrich.verify_image), (None, false));
}

#[test]
fn only_what_is_said_makes_a_source_another_one() {
    let source = |text: &str| config(text).sources[0].clone();
    for text in [PAGE, JSON] {
        let old = source(text);
        assert!(old.same_as(&source(&format!("# moved\n\n{}", text.replace(" = ", "  =  ")))));
    }
    let changes = [
        (PAGE, "\"a\", first", "\"b\", first"),
        (PAGE, "first = 5", "first = 6"),
        (PAGE, "#2E51a2", "#2E51a3"),
        (PAGE, "Asia/Tokyo", "Asia/Seoul"),
        (PAGE, "Detective Conan", "Case Closed"),
        (PAGE, "verify_image = true", "verify_image = false"),
        (PAGE, "attr = \"content\"", "attr = \"src\""),
        (PAGE, "(?i)latest", "(?i)newest"),
        (JSON, "hunter2", "hunter3"),
        (JSON, "\"/title\"", "\"/name\""),
        (JSON, "script#data", "script#json"),
    ];
    for (text, from, to) in changes {
        assert!(!source(text).same_as(&source(&text.replacen(from, to, 1))), "{from}");
    }
}

#[test]
fn hostile_fields_end_in_a_message() {
    let deep = format!("{}\"a\"{}", "{ any = [".repeat(60), "] }".repeat(60));
    let long = format!("{{ any = [{}] }}", "\"a\",".repeat(100_000));
    for field in [deep, long] {
        let said = super::config::said(format!(
            "{}kind = \"html\"\n[source.html]\nitems = \"a\"\ntitle = {field}\nx = 1\n",
            super::config::SOURCE
        ));
        assert!(!said.is_empty());
    }
    check(
        "[[source]]\nname = \"a\"\nurl = \"http://a/\"\nkind = \"html\"\nhtml = { items = \"a\", title = 1979-05-27 }\n",
        &["5:31 source[a].html.title expected a FIELD"],
    );
}
