//! `new` as somebody meets it who has an address and wants a source.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::farm::{Entry, Farm, Fault, document};

/// A site on loopback, and a directory without a configuration.
struct Site {
    farm: Farm,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { farm: Farm::start(), directory: tempfile::tempdir().unwrap() }
    }

    /// What is served at `/NAME` and below.
    fn serve(&self, name: &str, body: impl Into<Vec<u8>>, kind: &str) {
        self.farm.feed(name).set_fault(Fault::Document(body.into(), kind.to_owned()));
    }

    fn page(&self, name: &str, body: &str) {
        self.serve(name, format!("<!doctype html><html>{body}</html>"), "text/html; charset=utf-8");
    }

    fn feed(&self, name: &str, title: &str, items: usize) {
        let entries: Vec<Entry> = (0..items).map(|number| Entry::numbered(name, number)).collect();
        self.serve(name, document::render(title, entries.iter().rev()), "application/rss+xml");
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.farm.address())
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn kawaraban(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kawaraban"));
        command.current_dir(self.path()).env_remove("KAWARABAN_CONFIG").env_remove("STATE_DIRECTORY");
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// `new` for a path of the site.
    fn look(&self, path: &str, more: &[&str]) -> Look {
        let url = self.url(path);
        let mut arguments = vec!["new", url.as_str(), "--allow-private-addresses"];
        arguments.extend(more);
        Look::of(&self.kawaraban(&arguments))
    }

    /// Appends the table to a configuration as `>>` does, and previews its source.
    fn preview(&self, look: &Look) -> Vec<Value> {
        let config = self.path().join("pasted.toml");
        std::fs::write(&config, format!("[fetch.retry]\nattempts = 1\n{}", look.out)).unwrap();
        let checked = self.kawaraban(&["-c", "pasted.toml", "check", "--fetch"]);
        assert_eq!(checked.status.code(), Some(0), "{}\n{}", look.out, text(&checked.stdout));
        let shown =
            self.kawaraban(&["-c", "pasted.toml", "preview", look.source()["name"].as_str().unwrap(), "--json"]);
        assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
        text(&shown.stdout).lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["item"].clone()).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What `new` said.
struct Look {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Look {
    fn of(output: &Output) -> Self {
        Self { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The table on standard output, which is TOML and nothing else.
    fn source(&self) -> toml::Table {
        assert_eq!(self.status, Some(0), "{}", self.err);
        let document: toml::Table = self.out.parse().unwrap();
        assert_eq!(document.len(), 1);
        let sources = document["source"].as_array().unwrap();
        assert_eq!(sources.len(), 1);
        sources[0].as_table().unwrap().clone()
    }

    fn url(&self) -> String {
        self.source()["url"].as_str().unwrap().to_owned()
    }
}

#[test]
fn the_feeds_that_a_page_names_are_weighed() {
    let site = Site::new();
    site.page(
        "",
        "<head><title>The Daily Sheet</title>\
         <link rel=alternate type=application/rss+xml href=/gone>\
         <link rel=alternate type=application/rss+xml title='Comments' href=/comments>\
         <link rel=alternate type=application/rss+xml href=/short>\
         <link rel=alternate type=application/rss+xml href=/none>\
         <link rel=alternate type=application/rss+xml href=/long></head>",
    );
    site.feed("comments", "Comments for the Daily Sheet", 50);
    site.feed("short", "Short", 3);
    site.feed("none", "None", 0);
    site.feed("long", "The Daily Sheet's \"news\"", 12);
    let look = site.look("", &[]);
    let source = look.source();
    assert_eq!(source["url"].as_str(), Some(site.url("long").as_str()), "{}", look.err);
    assert_eq!(source["label"].as_str(), Some("The Daily Sheet's \"news\""));
    assert_eq!(source["allow_private_addresses"].as_bool(), Some(true));
    assert!(!source.contains_key("kind"));
    for said in [
        "The Daily Sheet",
        "http_404",
        "3 items",
        "no items",
        "comments",
        "the most items",
        "long item 11",
        "and 2 more",
    ] {
        assert!(look.err.contains(said), "{said}: {}", look.err);
    }
    assert_eq!(site.preview(&look).len(), 12);
    // what is named was enough: nothing was tried at random
    assert!(site.farm.requests().iter().all(|request| request.path != "/feed"));
}

#[test]
fn a_feed_that_nobody_names_is_found_where_feeds_are() {
    let site = Site::new();
    site.page("", "<title>Sheet</title><p>Nothing here says so.");
    site.feed("feed", "Sheet", 4);
    let look = site.look("", &[]);
    assert_eq!(look.url(), site.url("feed"));
    assert!(look.err.contains("where feeds commonly are"), "{}", look.err);
    assert_eq!(site.preview(&look).len(), 4);
    // a page that is refused to programs
    site.farm.feed("").set_fault(Fault::Status(403));
    assert_eq!(site.look("", &[]).url(), site.url("feed"));
}

#[test]
fn a_feed_is_taken_as_it_is() {
    let site = Site::new();
    site.feed("rss", "Sheet", 2);
    let look = site.look("rss#top", &[]);
    assert_eq!(look.url(), site.url("rss"));
    assert_eq!(site.farm.requests().len(), 1, "one look is enough");
    // moved for good: the new address is the one to keep
    site.farm.feed("old").set_fault(Fault::Redirect(301, "/rss".to_owned()));
    assert_eq!(site.look("old", &[]).url(), site.url("rss"));
    site.farm.feed("old").set_fault(Fault::Redirect(302, "/rss".to_owned()));
    assert_eq!(site.look("old", &[]).url(), site.url("old"));
}

#[test]
fn private_addresses_are_asked_on_request_only() {
    let site = Site::new();
    site.feed("rss", "Sheet", 2);
    let url = site.url("rss");
    let look = Look::of(&site.kawaraban(&["new", &url]));
    assert_eq!((look.status, look.out.as_str()), (Some(3), ""));
    assert!(look.err.contains("blocked_address"), "{}", look.err);
    assert_eq!(site.farm.connections(), 0);
    // a configuration that allows them is one that allows them
    std::fs::create_dir(site.path().join("config")).unwrap();
    let config = "[fetch]\nallow_private_addresses = true\n[[source]]\nname = \"sheet\"\nurl = \"http://127.0.0.1:9/\"\n\
        headers = { X-Key = { env = \"KAWARABAN_TEST_UNSET\" } }\n[[source]]\nname = \"sheet-3\"\nurl = \"http://127.0.0.1:9/\"\n";
    std::fs::write(site.path().join("config/kawaraban.toml"), config).unwrap();
    let look = Look::of(&site.kawaraban(&["new", &url]));
    let source = look.source();
    assert_eq!(source["name"].as_str(), Some("sheet-2"), "the name of another source");
    assert!(!source.contains_key("allow_private_addresses"));
}

#[test]
fn what_is_wrong_is_told() {
    let site = Site::new();
    for url in ["ftp://news.example/", "nonsense", "", "http://", "mailto:a@b.example"] {
        let look = Look::of(&site.kawaraban(&["new", url]));
        assert_eq!((look.status, look.out.as_str()), (Some(2), ""), "{url}");
        assert!(look.err.starts_with("error: expected an http:// or https:// URL"), "{}", look.err);
    }
    std::fs::write(site.path().join("k.toml"), "[fetch]\ntimeout = 3\n").unwrap();
    let look = Look::of(&site.kawaraban(&["-c", "k.toml", "new", &site.url("")]));
    assert_eq!((look.status, look.out.as_str()), (Some(2), ""));
    assert!(look.err.contains("k.toml:2:11: fetch.timeout: "), "{}", look.err);
    std::fs::write(site.path().join("k.toml"), "[fetch]\ntimeout = \"3s\nsource = [").unwrap();
    let look = Look::of(&site.kawaraban(&["-c", "k.toml", "new", &site.url("")]));
    assert!(look.status == Some(2) && look.err.contains("k.toml:2:"), "{}", look.err);
    // what could not be pasted there
    std::fs::write(site.path().join("k.toml"), "source = [{ name = \"a\", url = \"http://127.0.0.1:9/\" }]").unwrap();
    let look = Look::of(&site.kawaraban(&["-c", "k.toml", "new", &site.url("")]));
    assert!(look.status == Some(2) && look.err.contains("a [[source]] cannot follow"), "{}", look.err);
    assert_eq!(site.farm.connections(), 0);
}

#[test]
fn where_there_is_nothing_it_says_what_it_looked_at() {
    let site = Site::new();
    site.page("", "<title>A letter</title><p>One page, and <a href=/x>a link</a>.");
    let look = site.look("", &[]);
    assert_eq!((look.status, look.out.as_str()), (Some(3), ""));
    for said in ["A letter", "/feed", "/atom.xml", "http_404", "nothing there can be a source"] {
        assert!(look.err.contains(said), "{said}: {}", look.err);
    }
    site.serve("text", "plain words", "text/plain");
    assert_eq!(site.look("text", &[]).status, Some(3));
    assert_eq!(site.look("nowhere", &[]).status, Some(3));
    let refused = Look::of(&site.kawaraban(&["new", &site.farm.refusing_url(), "--allow-private-addresses"]));
    assert_eq!(refused.status, Some(3));
    assert!(refused.err.contains("connect_refused"), "{}", refused.err);
}

fn news(count: usize) -> String {
    let item = |n: usize| {
        format!(
            "<div class='herald box t-news css-{n}x'><a href=/n/{n}><img data-src='/i/{n}.jpg' src=data:x></a>\
             <h3><a href='/n/{n}?from=front'>The {n}. story of the harbour &amp; its lanterns</a></h3>\
             <time datetime='2026-01-{:02}T10:00:00+09:00'>then</time>\
             <p>What was said of it in the streets, and by whom, at some length.</p></div>",
            n + 1
        )
    };
    (0..count).map(item).collect()
}

#[test]
fn a_page_without_a_feed_is_read_by_selectors() {
    let site = Site::new();
    let menu: String = (0..30).map(|n| format!("<li><a href=/s/{n}>Section {n}</a></li>")).collect();
    site.page("sheet", &format!("<title>The Sheet</title><nav><ul>{menu}</ul></nav><main>{}</main>", news(9)));
    let look = site.look("sheet", &[]);
    let source = look.source();
    assert_eq!(source["kind"].as_str(), Some("html"), "{}", look.err);
    assert!(look.err.contains("it yields 9 items now") && look.err.contains("The 3. story"), "{}", look.err);
    let items = site.preview(&look);
    assert_eq!(items.len(), 9);
    // newest last
    assert_eq!(items[8]["title"], "The 8. story of the harbour & its lanterns");
    assert_eq!(items[8]["link"], site.url("n/8?from=front"));
    assert_eq!(items[8]["published"], "2026-01-09T01:00:00Z");
    assert_eq!(items[8]["image"], site.url("i/8.jpg"));
    assert_eq!(items[8]["summary"], "What was said of it in the streets, and by whom, at some length.");
}

#[test]
fn selectors_may_be_wanted_where_there_is_a_feed() {
    let site = Site::new();
    let link = "<link rel=alternate type=application/rss+xml href=/feed>";
    site.page("", &format!("<head><title>T</title>{link}</head><main>{}</main>", news(5)));
    site.feed("feed", "T", 4);
    assert_eq!(site.look("", &[]).url(), site.url("feed"));
    let look = site.look("", &["--kind", "html"]);
    assert_eq!(look.source()["kind"].as_str(), Some("html"));
    assert_eq!(site.preview(&look).len(), 5);
    // a feed of comments is no news where the page has some
    site.feed("feed", "Comments on T", 4);
    assert_eq!(site.look("", &[]).source()["kind"].as_str(), Some("html"));
    assert_eq!(site.look("", &["--kind", "feed"]).url(), site.url("feed"));
}

#[test]
fn json_is_read_by_paths() {
    let site = Site::new();
    let posts: Vec<Value> = (0..5)
        .map(|n| {
            serde_json::json!({"id": n, "headline": format!("Story {n}"), "url": format!("/n/{n}"),
                "published_at": 1_790_000_000 + n * 60, "thumbnail": {"url": format!("/i/{n}.jpg")}})
        })
        .collect();
    let body = serde_json::json!({"meta": {"pages": [1, 2]}, "data": {"posts": posts}});
    site.serve("api", body.to_string(), "application/json");
    let look = site.look("api", &[]);
    assert_eq!(look.source()["kind"].as_str(), Some("json"), "{}", look.err);
    let items = site.preview(&look);
    assert_eq!(items.len(), 5);
    assert_eq!((&items[4]["title"], &items[4]["id"]), (&"Story 4".into(), &"4".into()));
    assert_eq!(items[4]["link"], site.url("n/4"));
    assert_eq!(items[4]["image"], site.url("i/4.jpg"));
    assert_eq!(items[4]["published"], "2026-09-21T14:17:20Z");
    // the same within a page that is built from it
    site.page(
        "app",
        &format!("<title>App</title><div id=root></div><script id=__DATA__ type=application/json>{body}</script>"),
    );
    let look = site.look("app", &[]);
    assert_eq!(look.source()["embedded"].as_str(), Some("script#__DATA__"), "{}", look.err);
    assert_eq!(site.preview(&look).len(), 5);
}

#[test]
fn scripts_get_one_object() {
    let site = Site::new();
    site.page("", "<title>T</title><link rel=alternate type=application/rss+xml href=/feed><a href=/x.rss>x</a>");
    site.feed("feed", "T", 3);
    let look = site.look("", &["--json"]);
    let told: Value = serde_json::from_str(&look.out).unwrap();
    assert_eq!(told["chosen"]["kind"], "feed");
    assert_eq!(told["chosen"]["url"], site.url("feed"));
    assert_eq!(
        (&told["candidates"][0]["feed"]["items"], &told["candidates"][0]["found"]),
        (&3.into(), &"named".into())
    );
    assert_eq!(told["candidates"][1]["error_kind"], "http_404");
    assert_eq!(told["items"].as_array().unwrap().len(), 3);
    assert!(told["toml"].as_str().unwrap().parse::<toml::Table>().is_ok());
    site.page("nothing", "");
    let look = site.look("nothing", &["--json", "--kind", "html"]);
    let told: Value = serde_json::from_str(&look.out).unwrap();
    assert_eq!((look.status, &told["chosen"], &told["toml"]), (Some(3), &Value::Null, &Value::Null));
}

#[test]
fn a_login_goes_to_its_own_host_only() {
    let site = Site::new();
    let other = Site::new();
    other.feed("feed", "Elsewhere", 3);
    site.feed("own", "Own", 2);
    let links = format!(
        "<link rel=alternate type=application/rss+xml href='{}'><link rel=alternate type=application/rss+xml href=/own>",
        other.url("feed")
    );
    site.page("", &format!("<title>T</title>{links}"));
    let url = site.url("").replace("http://", "http://reader:hunter2@");
    let look = Look::of(&site.kawaraban(&["new", &url, "--allow-private-addresses"]));
    assert!(!look.err.contains("hunter2"), "{}", look.err);
    assert_eq!(look.url(), other.url("feed"));
    assert!(site.farm.requests().iter().all(|request| request.header("authorization").is_some()));
    assert!(other.farm.requests().iter().all(|request| request.header("authorization").is_none()));
    // the one behind the login is asked for with it
    site.feed("own", "Own", 20);
    assert_eq!(Look::of(&site.kawaraban(&["new", &url, "--allow-private-addresses"])).url(), url + "own");
}

#[test]
fn hostile_pages_end_in_words() {
    let site = Site::new();
    let deep = "<div class=item><a href=/x>a title with words enough".repeat(100_000);
    let wide: String = (0..60_000)
        .map(|n| format!("<li class='a{n} item'><a href=/{n}>A title of some length, {n}</a></li>"))
        .collect();
    let links: String =
        (0..5000).map(|n| format!("<link rel=alternate type=application/rss+xml href=/feed/{n}>")).collect();
    let script = "<title>\u{1b}[2Jx</title><script>alert(1)</script>".to_owned();
    for (name, body) in [("deep", deep), ("wide", wide), ("links", links), ("script", script)] {
        site.page(name, &body);
        let look = site.look(name, &[]);
        assert_eq!((look.status, look.out.as_str()), (Some(3), ""), "{name}: {}", look.err);
        assert!(!look.err.contains('\u{1b}'), "{name}");
        let asked = site.farm.requests().iter().filter(|request| request.path.starts_with("/feed/")).count();
        assert!(asked <= 12 + 10, "{asked}");
    }
    site.farm.feed("bomb").set_fault(Fault::GzipBomb);
    let look = site.look("bomb", &[]);
    assert_eq!(look.status, Some(3));
    assert!(look.err.contains("too_large"), "{}", look.err);
}

#[test]
fn pages_of_many_shapes_yield_the_items_that_they_show() {
    let list = |item: &dyn Fn(usize, &str) -> String| -> String {
        (1..8).map(|n| item(n, &format!("Story {n} of the river and its {n} bridges"))).collect()
    };
    let rows = list(&|n, title| format!("<tr><td>2026-01-0{n}</td><td><a href=item?id={n}>{title}</a></td></tr>"));
    let tiles = list(&|n, title| {
        format!(
            "<a class=tile href=/item?id={n}><img src=/{n}.png><div class=headline>{title}</div><small>January {n}, 2026</small></a>"
        )
    });
    let made = list(&|n, title| {
        format!(
            "<div class='sc-bdVaJa css-1x2y3z'><a class=_3x{n} href='?id={n}'><b>{title}</b></a>\
             <span class=css-9k2>0{n}.01.2026</span></div>"
        )
    });
    let terms = list(&|n, title| {
        format!(
            "<li class=Post_item__x1Y2z><time datetime=2026-01-0{n}>then</time><a href='//127.0.0.1/item?id={n}'>{title}</a></li>"
        )
    });
    for (shape, page) in [
        ("rows", format!("<table><tr><th>Day<th>Title</tr>{rows}</table>")),
        ("tiles", format!("<div class=tiles>{tiles}</div><a class=tile href=/more>More</a>")),
        ("made", format!("<div id=app><section>{made}</section></div>")),
        ("modules", format!("<ul>{terms}</ul><ul><li><a href=/about>About the paper and its makers</a></li></ul>")),
    ] {
        let site = Site::new();
        site.page(
            "",
            &format!("<title>{shape}</title><ul class=menu><li><a href=/a>A</a><li><a href=/b>B</a></ul>{page}"),
        );
        let items = site.preview(&site.look("", &[]));
        assert_eq!(items.len(), 7, "{shape}");
        for (n, item) in (1..8).zip(&items) {
            assert_eq!(item["title"], format!("Story {n} of the river and its {n} bridges"), "{shape}");
            assert_eq!(item["published"], format!("2026-01-0{n}T00:00:00Z"), "{shape}");
            assert!(item["link"].as_str().unwrap().ends_with(&format!("?id={n}")), "{shape}: {item}");
        }
    }
}
