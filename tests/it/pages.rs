//! Pages and JSON as sources, as their operator has them: the program, real sockets, pages that change shape.

use std::fmt::Write as _;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    daemon::Daemon,
    farm::{Farm, Fault, FeedHandle},
};

const FAST: &str = r#"
[fetch]
interval = "100ms"
jitter = 0
allow_private_addresses = true
backfill = "all"
[fetch.breaker]
cooldown = "200ms"
max_cooldown = "300ms"
"#;

/// A page with these numbered news, newest first, each in an element of this class.
fn page(class: &str, numbers: &[usize]) -> Fault {
    let mut html = String::from("<!DOCTYPE html><title>News</title><nav><a href=/>Home</a></nav><main>");
    for n in numbers.iter().rev() {
        write!(
            html,
            "<div class='{class}'><h3><a href='/news/{n}'>Item {n} &amp; more</a></h3>\
             <time datetime='2026-11-{:02}T12:00:00+09:00'>some day</time>\
             <img class=lazy src='data:,x' data-src='/thumbs/{n}.jpg'><p>Text {n}</p></div>",
            1 + n % 28
        )
        .unwrap();
    }
    Fault::Document(html.into_bytes(), "text/html; charset=utf-8".into())
}

fn config(feed: &FeedHandle, class: &str) -> String {
    format!(
        r#"{FAST}
[[source]]
name = "page"
kind = "html"
url = "{}"
[source.html]
items = "div.{class}"
title = "h3"
link = "h3 a"
published = "time"
image = "img"
summary = "p"
extra.series = {{ const = "Detective Conan" }}
"#,
        feed.url()
    )
}

#[test]
fn items_of_a_page_arrive_with_every_field_and_once() {
    let farm = Farm::start();
    let feed = farm.feed("news");
    feed.set_fault(page("item", &[1, 2]));
    let mut daemon = Daemon::start(&config(&feed, "item"));
    daemon.wait("two items arrive", |daemon| daemon.stdout().len() >= 2);
    let first: serde_json::Value = serde_json::from_str(&daemon.stdout()[0]).unwrap();
    let base = format!("http://{}", farm.address());
    let item = &first["item"];
    assert_eq!(item["title"], "Item 1 & more");
    assert_eq!(item["link"], format!("{base}/news/1"));
    assert_eq!(item["image"], format!("{base}/thumbs/1.jpg"));
    assert_eq!(item["published"], "2026-11-02T03:00:00Z");
    assert_eq!(item["summary"], "Text 1");
    assert_eq!(item["extra"], json!({"series": "Detective Conan"}));

    feed.set_fault(page("item", &[1, 2, 3]));
    daemon.wait("the new one arrives", |daemon| daemon.stdout().len() >= 3);
    assert!(daemon.terminate().0.success());
    daemon.restart();
    feed.set_fault(page("item", &[2, 3, 4]));
    daemon.wait("the next one arrives", |daemon| daemon.stdout().len() >= 4);
    assert_eq!(daemon.titles(), ["Item 1 & more", "Item 2 & more", "Item 3 & more", "Item 4 & more"]);
}

#[test]
fn a_page_that_changes_shape_is_reported_kept_and_mended_without_repeats() {
    let farm = Farm::start();
    let feed = farm.feed("news");
    feed.set_fault(page("item", &[1, 2]));
    let daemon = Daemon::start(&config(&feed, "item"));
    daemon.wait("two items arrive", |daemon| daemon.stdout().len() >= 2);

    feed.set_fault(page("card", &[1, 2, 3]));
    daemon.wait("the drift is noticed", |daemon| daemon.source("page")["last_error"]["kind"] == "selector");
    let message = daemon.source("page")["last_error"]["message"].as_str().unwrap().to_owned();
    for part in ["source[page].html.items", "div.item", "2", "kawaraban preview page --from-saved"] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    let reasons = daemon.health()["reasons"].to_string();
    assert!(reasons.contains("source[page].html.items"), "{reasons}");
    daemon.wait("its breaker opens", |daemon| daemon.source("page")["status"] == "down");
    assert!(daemon.log().contains("source[page].html.items"));

    let preview = daemon.command(&["preview", "page", "--from-saved"]).output().unwrap();
    assert_eq!(preview.status.code(), Some(3), "the old selectors do not fit the kept page");
    daemon.configure(&config(&feed, "card"));
    let preview = daemon.command(&["preview", "page", "--from-saved", "--json"]).output().unwrap();
    let shown = String::from_utf8(preview.stdout).unwrap();
    assert_eq!((preview.status.code(), shown.lines().count()), (Some(0), 3), "{shown}");

    daemon.signal(Signal::HUP);
    daemon.wait("the new one arrives", |daemon| daemon.stdout().len() >= 3);
    daemon.wait("all is well", |daemon| daemon.source("page")["status"] == "ok");
    feed.set_fault(page("card", &[2, 3, 4]));
    daemon.wait("and the next", |daemon| daemon.stdout().len() >= 4);
    assert_eq!(daemon.titles(), ["Item 1 & more", "Item 2 & more", "Item 3 & more", "Item 4 & more"]);
}

#[test]
fn json_is_asked_for_by_post_and_read_by_paths() {
    let farm = Farm::start();
    let feed = farm.feed("graphql");
    let media = |n: u64| {
        json!({"siteUrl": format!("https://anilist.example/{n}"), "title": {"romaji": format!("Anime {n}")},
        "updatedAt": 1_790_000_000 + n, "genres": ["Mystery", "Comedy"], "description": "A <b>boy</b> &amp; a case"})
    };
    let answer = json!({"data": {"Page": {"media": [media(2), media(1)]}}});
    feed.set_fault(Fault::Document(answer.to_string().into_bytes(), "application/json".into()));
    let config = format!(
        r#"{FAST}
[[source]]
name = "anilist"
kind = "json"
url = "{}"
method = "POST"
body = '{{"query":"{{ Page {{ media {{ id }} }} }}"}}'
[source.json]
items = "/data/Page/media"
title = "$.title.romaji"
link = "/siteUrl"
published = "/updatedAt"
category = "$.genres[*]"
summary = "/description"
"#,
        feed.url()
    );
    let daemon = Daemon::start(&config);
    daemon.wait("two items arrive", |daemon| daemon.stdout().len() >= 2);
    let request = feed.requests().remove(0);
    assert_eq!((request.method.as_str(), request.header("content-type")), ("POST", Some("application/json")));
    let first: serde_json::Value = serde_json::from_str(&daemon.stdout()[0]).unwrap();
    let item = &first["item"];
    assert_eq!(item["title"], "Anime 1");
    assert_eq!(item["link"], "https://anilist.example/1");
    assert_eq!(item["published"], "2026-09-21T14:13:21Z");
    assert_eq!(item["categories"], json!(["Mystery", "Comedy"]));
    assert_eq!(item["summary"], "A boy & a case");

    let error = json!({"errors": [{"message": "Too many requests"}], "data": null});
    feed.set_fault(Fault::Document(error.to_string().into_bytes(), "application/json".into()));
    daemon.wait("the drift is noticed", |daemon| daemon.source("anilist")["last_error"]["kind"] == "selector");
}
