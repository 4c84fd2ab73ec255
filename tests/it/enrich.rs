//! The pages of new items, visited by the whole daemon: what they add arrives, and whatever they do costs no item.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    daemon::Daemon,
    farm::{
        Entry, Farm, Fault, FeedHandle,
        proxy::{Protocol, Proxy},
    },
};

const FAST: &str = r#"
[fetch]
interval = "100ms"
allow_private_addresses = true
backfill = "all"
"#;

/// A source whose items' pages are visited, with further keys of it and of `[source.enrich]`.
fn source(feed: &FeedHandle, keys: &str, enrich: &str) -> String {
    format!("[[source]]\nname = \"{}\"\nurl = \"{}\"\n{keys}\n[source.enrich]\n{enrich}\n", feed.name(), feed.url())
}

/// An item of `feed` that links to `link`.
fn entry(feed: &FeedHandle, number: usize, link: impl Into<String>) -> Entry {
    Entry { link: link.into(), ..Entry::numbered(feed.name(), number) }
}

fn page(html: impl Into<String>) -> Fault {
    Fault::Document(html.into().into_bytes(), "text/html; charset=utf-8".into())
}

/// The item with this title, as it was delivered.
fn item(daemon: &Daemon, title: &str) -> Value {
    let lines = daemon.stdout();
    let items = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["item"].clone());
    let mut found: Vec<_> = items.filter(|item| item["title"] == title).collect();
    assert_eq!(found.len(), 1, "{title}: {found:#?}");
    found.remove(0)
}

fn arrived(count: usize) -> impl Fn(&Daemon) -> bool {
    move |daemon| daemon.stdout().len() >= count
}

#[test]
fn what_a_page_says_arrives_with_its_item() {
    let farm = Farm::start();
    let (feed, article) = (farm.feed("feed"), farm.feed("article"));
    article.set_fault(page(
        r#"<meta property="og:image" content="/og.jpg"><meta name="author" content="Ann">
        <meta property="og:description" content="not this, for the list has a summary">
        <article><div class="meat"><p>Too short.</p><p>The famous detective has come back at last, and how.</p></div>
        <iframe src="https://www.youtube.com/embed/abcdefghijk"></iframe></article>"#,
    ));
    feed.push([entry(&feed, 1, article.url())]);
    let chosen = "summary = { select = \"div.meat p\", min_length = 50, max_length = 350 }";
    let plain = farm.feed("plain");
    plain.push([entry(&plain, 1, article.url())]);
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed, "", chosen) + &source(&plain, "", "")));
    daemon.wait("both arrive", arrived(2));
    let (chosen, plain) = (item(&daemon, "feed item 1"), item(&daemon, "plain item 1"));
    assert_eq!(chosen["summary"], "The famous detective has come back at last, and how.");
    assert_eq!(plain["summary"], "What happened the 1th time at plain.");
    for item in [&chosen, &plain] {
        assert_eq!(item["image"], format!("http://{}/og.jpg", farm.address()));
        assert_eq!(item["authors"], serde_json::json!(["Ann"]));
        assert_eq!(item["extra"]["video"], "https://www.youtube.com/watch?v=abcdefghijk");
        assert_eq!(item["link"], article.url());
    }
    // the feeds have it both, and it is fetched once
    assert_eq!(article.requests().len(), 1);
}

#[test]
fn a_page_that_fails_costs_its_details_and_nothing_else() {
    let farm = Farm::start();
    let feed = farm.feed("feed");
    let half =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 999\r\n\r\n<meta name=author content=Ann>";
    let faults = [
        ("half", Fault::Raw(half.into()), "closed_early"),
        ("missing", Fault::Status(404), "http_404"),
        ("broken", Fault::ResetBefore, "connection_reset"),
        ("picture", Fault::Document(b"\x89PNG".into(), "image/png".into()), "malformed"),
        ("large", page("<i>".repeat(200_000)), "too_large"),
    ];
    for (number, (name, fault, _)) in faults.iter().enumerate() {
        let article = farm.feed(name);
        article.set_fault(fault.clone());
        feed.push([entry(&feed, number, article.url())]);
    }
    let well = farm.feed("well");
    well.set_fault(page("<meta name=author content=Ann>"));
    feed.push([entry(&feed, 90, well.url()), entry(&feed, 91, "no address"), entry(&feed, 92, "ftp://x/")]);
    // one that never ends is of a source that does not wait for long
    let (late, hanging) = (farm.feed("late"), farm.feed("hanging"));
    hanging.set_fault(Fault::Hang);
    late.push([entry(&late, 1, hanging.url())]);
    // the deadline of the visits is theirs: a request for the feed itself may take long
    let config = FAST.to_owned()
        + &source(&feed, "", "timeout = \"1m\"")
        + &source(&late, "timeout = \"1h\"", "timeout = \"200ms\"");
    let mut daemon = Daemon::start(&config);
    daemon.wait("all arrive", arrived(faults.len() + 4));
    assert_eq!(item(&daemon, "late item 1")["authors"], serde_json::json!([]));
    assert!(hanging.requests().len() <= 1 && daemon.log().contains("\"kind\":\"timeout\""), "{}", daemon.log());
    assert_eq!(item(&daemon, "feed item 90")["authors"], serde_json::json!(["Ann"]));
    for (number, (name, _, kind)) in faults.iter().enumerate() {
        assert_eq!(item(&daemon, &format!("feed item {number}"))["authors"], serde_json::json!([]));
        assert_eq!(farm.feed(name).requests().len(), 1, "{name} is tried once");
        assert!(daemon.log().contains(&format!("\"kind\":\"{kind}\"")), "{name}: {}", daemon.log());
    }
    // none of this is a fault of the source's
    for name in ["feed", "late"] {
        let source = daemon.source(name);
        assert_eq!((&source["failures"], &source["status"]), (&0.into(), &"ok".into()), "{source:#}");
    }
    daemon.terminate();
}

#[test]
fn pages_that_hang_leave_time_for_those_that_wait_behind_them() {
    let farm = Farm::start();
    let feed = farm.feed("feed");
    let hanging = farm.feed("hanging");
    hanging.set_fault(Fault::Hang);
    let well = farm.feed("well");
    well.set_fault(page("<meta name=author content=Ann>"));
    // in the order of their visits: as many as a host is visited for at a time, then one more
    feed.push([entry(&feed, 0, well.url())]);
    feed.push((1..=3).map(|n| entry(&feed, n, format!("{}?{n}", hanging.url()))));
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed, "", "timeout = \"4s\"")));
    daemon.wait("all arrive", arrived(4));
    assert_eq!(hanging.requests().len(), 3);
    assert_eq!(item(&daemon, "feed item 0")["authors"], serde_json::json!(["Ann"]));
}

#[test]
fn only_what_is_new_and_delivered_is_visited() {
    let farm = Farm::start();
    let (feed, articles) = (farm.feed("feed"), farm.feed("articles"));
    articles.set_fault(page("<meta name=author content=Ann>"));
    let link = |number: usize| format!("{}/{number}", articles.url());
    let visited = || articles.requests().iter().map(|request| request.path.clone()).collect::<Vec<_>>();
    feed.push((1..=5).map(|number| entry(&feed, number, link(number))));
    let keys = "backfill = 1\nexclude = { title = [\"item 5$\", \"item 7$\"] }";
    let mut daemon = Daemon::start(&(FAST.to_owned() + &source(&feed, keys, "")));
    daemon.wait("the newest that passes arrives", arrived(1));
    assert_eq!((daemon.titles(), visited()), (vec!["feed item 4".to_owned()], vec!["/articles/4".to_owned()]));
    feed.push((6..=8).map(|number| entry(&feed, number, link(number))));
    daemon.wait("what passes of the new arrives", arrived(3));
    daemon.terminate();
    feed.push([entry(&feed, 9, link(9))]);
    daemon.restart();
    daemon.wait("what came meanwhile arrives", arrived(4));
    let mut paths = visited();
    paths.sort();
    assert_eq!(paths, [4, 6, 8, 9].map(|number| format!("/articles/{number}")));
    assert_eq!(item(&daemon, "feed item 9")["authors"], serde_json::json!(["Ann"]));
}

#[test]
fn a_host_is_visited_three_at_a_time_whatever_number_of_sources_link_to_it() {
    let farm = Farm::start();
    let articles = farm.feed("articles");
    articles.set_fault(Fault::After(Duration::from_millis(30), Box::new(page("<meta name=author content=Ann>"))));
    let mut config = FAST.to_owned();
    for name in ["feed0", "feed1"] {
        let feed = farm.feed(name);
        feed.push((1..=10).map(|number| entry(&feed, number, format!("{}/{name}/{number}", articles.url()))));
        config += &source(&feed, "timeout = \"1m\"", "");
    }
    let daemon = Daemon::start(&config);
    daemon.wait("all arrive", arrived(20));
    assert_eq!(articles.requests().len(), 20);
    assert!(articles.most_at_once() <= 3, "{}", articles.most_at_once());
    drop(daemon);

    // nor more where none of them ends
    let (feed, hanging) = (farm.feed("feed"), farm.feed("hanging"));
    hanging.set_fault(Fault::Hang);
    // and they do not hold up what links elsewhere
    let elsewhere = farm.feed("elsewhere");
    elsewhere.set_fault(page("<meta name=author content=Ann>"));
    let oldest = Entry { published: 1, ..entry(&feed, 0, elsewhere.url().replace("127.0.0.1", "localhost")) };
    feed.push([oldest]);
    feed.push((1..=10).map(|number| entry(&feed, number, format!("{}/{number}", hanging.url()))));
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed, "", "timeout = \"5s\"")));
    daemon.wait("all arrive", arrived(11));
    assert_eq!(item(&daemon, "feed item 0")["authors"], serde_json::json!(["Ann"]));
    assert_eq!(hanging.most_at_once(), 3);
}

#[test]
fn a_host_that_says_too_many_requests_gets_no_more_of_them_in_that_poll() {
    let farm = Farm::start();
    let (feed, busy, elsewhere) = (farm.feed("feed"), farm.feed("busy"), farm.feed("elsewhere"));
    busy.set_fault(Fault::Status(429));
    elsewhere.set_fault(page("<meta name=author content=Ann>"));
    feed.push([entry(&feed, 0, elsewhere.url().replace("127.0.0.1", "localhost"))]);
    feed.push((1..=10).map(|number| entry(&feed, number, format!("{}/{number}", busy.url()))));
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed, "", "timeout = \"1m\"")));
    daemon.wait("all arrive", arrived(11));
    assert_eq!(item(&daemon, "feed item 0")["authors"], serde_json::json!(["Ann"]));
    assert!((1..=3).contains(&busy.requests().len()), "those under way at the first answer: {}", busy.requests().len());
    assert_eq!(daemon.log().matches("\"kind\":\"rate_limited\"").count(), 10, "{}", daemon.log());
}

#[test]
fn an_image_is_used_only_if_it_is_one_where_that_is_asked_for() {
    let farm = Farm::start();
    let (feed, unasked) = (farm.feed("feed"), farm.feed("unasked"));
    let images = [
        ("good", Some(Fault::Document(b"\x89PNG".into(), "image/png".into()))),
        ("html", Some(Fault::Html)),
        ("gone", Some(Fault::Status(404))),
    ];
    for (number, (name, fault)) in images.iter().enumerate() {
        let (article, image) = (farm.feed(&format!("{name}-page")), farm.feed(name));
        image.set_fault(fault.clone());
        article.set_fault(page(format!("<meta name=author content=Ann><meta property=og:image content=/{name}>")));
        feed.push([entry(&feed, number, article.url())]);
        unasked.push([entry(&unasked, number, article.url())]);
    }
    // one that never comes is no image either
    let (late, hanging) = (farm.feed("late"), farm.feed("hanging"));
    hanging.set_fault(Fault::Hang);
    farm.feed("late-page").set_fault(page("<meta property=og:image content=/hanging>"));
    late.push([entry(&late, 1, farm.feed("late-page").url())]);
    let verify = |timeout| format!("verify_image = true\ntimeout = \"{timeout}\"");
    let config = FAST.to_owned()
        + &source(&feed, "", &verify("1m"))
        + &source(&unasked, "", "timeout = \"1m\"")
        + &source(&late, "", &verify("200ms"));
    let daemon = Daemon::start(&config);
    daemon.wait("all arrive", arrived(7));
    assert_eq!(item(&daemon, "late item 1")["image"], Value::Null);
    for (number, (name, _)) in images.iter().enumerate() {
        let image = Value::from(format!("http://{}/{name}", farm.address()));
        assert_eq!(item(&daemon, &format!("unasked item {number}"))["image"], image);
        let verified = if *name == "good" { image } else { Value::Null };
        assert_eq!(item(&daemon, &format!("feed item {number}"))["image"], verified, "{name}");
    }
    assert_eq!(farm.feed("good").requests()[0].header("range"), Some("bytes=0-0"));
    assert!(daemon.log().contains("goes without its image"), "{}", daemon.log());
}

#[test]
fn neither_a_link_nor_a_redirect_nor_an_image_leads_to_a_private_address() {
    // a proxy resolves the names, so that what is public here may be on loopback; addresses are still ours to judge
    let farm = Farm::start();
    let feed = farm.feed("feed");
    let proxy = Proxy::start(Protocol::Connect, None);
    let port = farm.address().port();
    let public = |path: &str| format!("http://news.example:{port}/{path}");
    let private = farm.feed("private");
    private.set_fault(page("<meta name=author content=Mallory>"));
    farm.feed("moved").set_fault(Fault::Redirect(302, private.url()));
    let pictured = format!("<meta name=author content=Ann><meta property=og:image content={}>", private.url());
    farm.feed("pictured").set_fault(page(pictured));
    feed.push([
        entry(&feed, 1, public("moved")),
        entry(&feed, 2, private.url()),
        entry(&feed, 3, public("pictured")),
        entry(&feed, 4, format!("http://[::1]:{port}/private")),
    ]);
    let config = FAST.replace("true", "false")
        + &format!(
            "[[source]]\nname = \"feed\"\nurl = \"{}\"\nproxy = \"{}\"\n[source.enrich]\nverify_image = true\n",
            public("feed"),
            proxy.url("")
        );
    let daemon = Daemon::start(&config);
    daemon.wait("all arrive", arrived(4));
    for number in 1..=4 {
        let item = item(&daemon, &format!("feed item {number}"));
        let authors = if number == 3 { vec!["Ann"] } else { Vec::new() };
        assert_eq!((&item["authors"], &item["image"]), (&serde_json::json!(authors), &Value::Null), "{number}");
    }
    assert!(private.requests().is_empty());
    assert_eq!(daemon.log().matches("\"kind\":\"blocked_address\"").count(), 4, "{}", daemon.log());
}

#[test]
fn killed_or_stopped_during_a_visit_it_delivers_the_item_once() {
    let farm = Farm::start();
    let (feed, article) = (farm.feed("feed"), farm.feed("article"));
    article.set_fault(Fault::Hang);
    feed.push([entry(&feed, 1, article.url())]);
    // without items, and as often due
    let neighbour = farm.feed("neighbour");
    let beside = format!("[[source]]\nname = \"neighbour\"\nurl = \"{}\"\n", neighbour.url());
    let mut daemon = Daemon::start(&(FAST.to_owned() + &beside + &source(&feed, "", "timeout = \"30m\"")));
    daemon.wait("the page is visited", |_| article.requests().len() == 1);
    // however long it lasts, it is one poll
    let before = neighbour.requests().len();
    daemon.wait("the other one is polled many times", |_| neighbour.requests().len() >= before + 5);
    assert_eq!(feed.requests().len(), 1);
    daemon.kill();

    daemon.restart();
    daemon.wait("the page is visited again", |_| article.requests().len() == 2);
    let (status, took) = daemon.terminate();
    assert!(status.success() && took < Duration::from_secs(20), "{status} after {took:?}");
    assert!(daemon.stdout().is_empty());

    article.set_fault(page("<meta name=author content=Ann>"));
    daemon.restart();
    daemon.wait("the item arrives", arrived(1));
    feed.push([entry(&feed, 2, article.url())]);
    daemon.wait("the next one arrives", arrived(2));
    assert_eq!(item(&daemon, "feed item 1")["authors"], serde_json::json!(["Ann"]));
    assert_eq!(daemon.titles(), ["feed item 1", "feed item 2"]);
}

#[test]
fn a_preview_shows_what_the_pages_of_the_newest_say() {
    let farm = Farm::start();
    let (feed, articles) = (farm.feed("feed"), farm.feed("articles"));
    articles.set_fault(page("<meta name=author content=Ann>"));
    feed.push((1..=14).map(|number| entry(&feed, number, format!("{}/{number}", articles.url()))));
    let config = source(&feed, "exclude = { title = [\"item 14$\"] }", "");
    let daemon = Daemon::new(&(FAST.to_owned() + &config));
    let preview = daemon.command(&["preview", "feed", "--json"]).output().unwrap();
    let told = String::from_utf8_lossy(&preview.stderr).into_owned();
    assert!(preview.status.success(), "{told}");
    let lines = String::from_utf8(preview.stdout).unwrap();
    let authors = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["item"]["authors"].clone());
    let enriched: Vec<_> = authors.map(|authors| authors == serde_json::json!(["Ann"])).collect();
    assert_eq!(enriched, [[false; 3].as_slice(), &[true; 10]].concat());
    assert_eq!(articles.requests().len(), 10);
    assert!(told.contains("the pages of the 3 oldest were not visited"), "{told}");

    articles.set_fault(Fault::Status(404));
    let preview = daemon.command(&["preview", "feed"]).output().unwrap();
    assert!(preview.status.success());
    let told = String::from_utf8_lossy(&preview.stderr).into_owned();
    assert!(told.contains("goes without its details: http_404"), "{told}");
}
