//! What destinations ask us to wait for: per destination and per host, over kills and reloads; and what the log and
//! `/health` say meanwhile.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    daemon::Daemon,
    discord::{Discord, Verb, Webhook},
    farm::{Farm, FeedHandle},
};

const FAST: &str = r#"
[fetch]
interval = "100ms"
allow_private_addresses = true
backfill = "all"
"#;

fn source(feed: &FeedHandle) -> String {
    format!("[[source]]\nname = \"{}\"\nurl = \"{}\"\n", feed.name(), feed.url())
}

fn discord(name: &str, hook: &Webhook) -> String {
    format!("[[destination]]\nname = \"{name}\"\nkind = \"discord\"\nurl = \"{}\"\n", hook.url())
}

fn unlimited(fake: &Discord, name: &str) -> Webhook {
    let hook = fake.webhook(name);
    hook.set_limit(1000, Duration::from_secs(2));
    hook.set_channel_limit(10_000, Duration::from_secs(60));
    hook
}

fn one_feed(items: usize) -> (Farm, FeedHandle) {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.set_window(items.max(100));
    feed.publish(items);
    (farm, feed)
}

/// Lines of the log whose message begins so.
fn lines(daemon: &Daemon, level: &str, message: &str) -> Vec<Value> {
    let parsed = daemon.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>();
    let fits = |line: &Value| line["level"] == level && line["msg"].as_str().unwrap().starts_with(message);
    parsed.into_iter().filter(fits).collect()
}

/// Plays these answers byte for byte, each on a connection of its own, then 204; records when requests came. `DATE` is
/// four seconds later.
struct Script {
    address: SocketAddr,
    came: Arc<Mutex<Vec<Instant>>>,
}

impl Script {
    fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, came) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Instant>>>::default());
        let noted = came.clone();
        // ends with the test's process: nobody connects any more
        std::thread::spawn(move || {
            let mut answers = answers.into_iter();
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut request = Vec::new();
                let mut buffer = [0; 65_536];
                while !whole(&request) {
                    match stream.read(&mut buffer) {
                        Ok(more) if more > 0 => request.extend_from_slice(&buffer[..more]),
                        _ => break,
                    }
                }
                noted.lock().unwrap().push(Instant::now());
                let answer = answers.next().unwrap_or_else(|| "HTTP/1.1 204 No Content\r\n\r\n".to_owned());
                let date = jiff::Timestamp::now() + Duration::from_secs(4);
                let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
                let _ = stream.write_all(answer.replace("DATE", &date).as_bytes());
            }
        });
        Self { address, came }
    }

    fn came(&self) -> Vec<Instant> {
        self.came.lock().unwrap().clone()
    }
}

fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn retry_after_is_obeyed_whatever_the_status_and_also_where_the_answer_breaks_off() {
    let cut = "Content-Length: 500\r\n\r\n{\"mess";
    let empty = "Content-Length: 0\r\n\r\n";
    let cases = [
        ("429-cut", "429 No", "2", cut),
        ("429-text", "429 No", "2", "Content-Length: 2\r\n\r\nno"),
        ("500", "500 No", "2", empty),
        ("502-cut", "502 No", "2", cut),
        ("503", "503 No", "2", "Content-Length: 2\r\n\r\nno"),
        ("503-date", "503 No", "DATE", empty),
    ];
    let (_farm, feed) = one_feed(1);
    let mut config = FAST.to_owned() + &source(&feed);
    let mut scripts = Vec::new();
    for (name, status, wait, body) in cases {
        let answer = format!("HTTP/1.1 {status}\r\nRetry-After: {wait}\r\n{body}");
        for (kind, path) in [("discord", "/api/webhooks/1/token"), ("webhook", "/")] {
            let script = Script::start(vec![answer.clone()]);
            let url = format!("http://{}{path}", script.address);
            config += &format!("[[destination]]\nname = \"{kind}-{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n");
            scripts.push((format!("{kind}-{name}"), script));
        }
    }
    let daemon = Daemon::start(&config);
    for (name, script) in scripts {
        daemon.wait(&name, |_| script.came().len() >= 2);
        let came = script.came();
        let waited = came[1] - came[0];
        // a date has whole seconds
        let due = Duration::from_secs(if name.ends_with("date") { 3 } else { 2 });
        assert!(waited >= due, "{name} was asked again after {waited:?}");
    }
}

#[test]
fn a_block_of_one_host_stops_all_of_it_and_no_other_host_and_is_shown() {
    let (_farm, feed) = one_feed(1);
    let (bad, good) = (Discord::start(), Discord::start());
    let (one, two, news) = (unlimited(&bad, "one"), unlimited(&bad, "two"), unlimited(&good, "news"));
    let block = Verb::Raw(403, vec![("Retry-After".into(), "604800".into())], b"error code: 1010".to_vec());
    one.push_fault(block, 1);
    let config = FAST.to_owned() + &source(&feed) + &discord("one", &one) + &discord("two", &two);
    let daemon = Daemon::start(&(config + &discord("news", &news)));
    daemon.wait("the block is shown for both", |daemon| {
        let health = daemon.health();
        ["one", "two"].iter().all(|name| health["destinations"][name]["status"] == "degraded")
    });
    let reasons = daemon.health()["reasons"].to_string();
    let said = format!("nothing is sent to {} until", bad.address());
    assert!(reasons.contains(&said) && reasons.contains("error code: 1010"), "{reasons}");
    let until = reasons.split("until ").nth(1).unwrap().split(": ").next().unwrap();
    let left = until.parse::<jiff::Timestamp>().unwrap().duration_since(jiff::Timestamp::now());
    assert!(left.as_secs() > 3000 && left.as_secs() <= 3601, "a week was named, an hour is kept: {left}");
    let asked = bad.requests().len();
    feed.publish(3);
    daemon.wait("the other host goes on", |_| news.messages().len() == 4);
    assert_eq!(bad.requests().len(), asked, "requests went on into the block");
    assert_eq!(daemon.health()["destinations"]["news"]["status"], "ok");
}

#[test]
fn a_429_holds_over_a_kill_and_a_reload() {
    let wait = Duration::from_secs(8);
    let verbs = [Verb::RateLimited(wait), Verb::RateLimitedGlobal(wait), Verb::CloudflareText(wait)];
    std::thread::scope(|scope| {
        for verb in verbs {
            scope.spawn(move || holds_over_a_kill_and_a_reload(&verb, wait));
        }
    });
}

fn holds_over_a_kill_and_a_reload(verb: &Verb, wait: Duration) {
    let (_farm, feed) = one_feed(1);
    let fake = Discord::start();
    let (one, two) = (unlimited(&fake, "one"), unlimited(&fake, "two"));
    let config = FAST.to_owned() + &source(&feed) + &discord("one", &one) + &discord("two", &two);
    let mut daemon = Daemon::start(&config);
    daemon.wait("both deliver", |_| one.messages().len() == 1 && two.messages().len() == 1);
    let of_all = !matches!(verb, Verb::RateLimited(_));
    one.push_fault(verb.clone(), 1);
    if of_all {
        // only one is asked, so that the other knows of it by the record alone
        daemon.configure(
            &(FAST.to_owned() + &source(&feed) + "to = [\"one\"]\n" + &discord("one", &one) + &discord("two", &two)),
        );
        daemon.signal(Signal::HUP);
        daemon.wait("it is reloaded", |daemon| daemon.log().contains("configuration reloaded"));
    }
    feed.publish(1);
    daemon
        .wait("it is limited", |daemon| daemon.health()["destinations"]["one"]["last_error"]["kind"] == "rate_limited");
    let limited = Instant::now();
    let items = daemon.source("feed0")["items"].as_u64().unwrap();
    feed.publish(1);
    // destinations are served first: a document that was stored after it says that it is recorded
    daemon.wait("it is recorded", |daemon| daemon.source("feed0")["items"].as_u64().unwrap() > items);
    daemon.kill();
    daemon.configure(&config);
    daemon.restart();
    feed.publish(1);
    daemon.configure(&config.replace(&one.url(), &format!("{}?reloaded=1", one.url())));
    daemon.signal(Signal::HUP);
    let told = limited.elapsed();
    daemon.wait("all arrives", |_| one.messages().len() == 4);
    assert_eq!(fake.violations(), [""; 0], "{verb:?}, killed and reloaded within {told:?}");
    if told > wait {
        eprintln!("SKIPPED {verb:?}: the machine was too slow to kill and reload within the window");
    }
}

#[test]
fn what_waits_behind_a_request_that_hangs_is_counted_and_told() {
    let (_farm, feed) = one_feed(1);
    let fake = Discord::start();
    let hook = unlimited(&fake, "news");
    hook.push_fault(Verb::Hang, 1);
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed) + &discord("news", &hook)));
    daemon.wait("it hangs", |_| hook.requests().len() == 1);
    feed.publish(50);
    daemon.wait("it is told", |daemon| {
        let health = daemon.health();
        let news = &health["destinations"]["news"];
        news["queued"] == 51 && news["status"] == "degraded" && health["reasons"].to_string().contains("no answer for")
    });
    assert_eq!(hook.messages().len(), 0, "it was told while it hung");
}

#[test]
fn the_log_has_a_line_a_message_and_one_a_dead_letter_with_the_whole_answer() {
    let (_farm, feed) = one_feed(3);
    let fake = Discord::start();
    let hook = unlimited(&fake, "news");
    hook.set_filter("item 2".to_owned());
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed) + &discord("news", &hook)));
    daemon.wait("all ended", |daemon| {
        let news = &daemon.health()["destinations"]["news"];
        news["delivered"] == 2 && news["dead_letters"] == 1
    });
    let ids: Vec<String> = hook.messages().iter().map(|message| message.id.clone()).collect();
    daemon.wait("both lines are there", |daemon| lines(daemon, "info", "delivered").len() == 2);
    let told = lines(&daemon, "info", "delivered");
    for (line, (number, id)) in told.iter().zip([(1, &ids[0]), (3, &ids[1])]) {
        assert_eq!(line["source"], "feed0");
        assert_eq!(line["destination"], "news");
        assert_eq!(line["title"], format!("feed0 item {number}"));
        assert_eq!(line["link"], format!("http://news.example/feed0/{number}"));
        assert_eq!(line["message_id"], **id);
    }
    let refused = &lines(&daemon, "error", "the destination refused an item")[..];
    let [line] = refused else { panic!("{refused:?}") };
    assert_eq!((&line["source"], &line["title"]), (&"feed0".into(), &"feed0 item 2".into()));
    assert_eq!(line["link"], "http://news.example/feed0/2");
    assert!(line["msg"].as_str().unwrap().contains("(200000)"), "Discord's own words: {line}");
}

#[test]
fn a_failure_that_repeats_is_said_once_and_a_backlog_has_few_lines() {
    let (_farm, feed) = one_feed(60);
    let fake = Discord::start();
    let hook = unlimited(&fake, "news");
    hook.push_fault(Verb::Status(500), 3);
    let daemon = Daemon::start(&(FAST.to_owned() + &source(&feed) + &discord("news", &hook)));
    daemon.wait("all arrive", |daemon| daemon.health()["destinations"]["news"]["delivered"] == 60);
    let all = lines(&daemon, "info", "delivered").len() + lines(&daemon, "debug", "delivered").len();
    daemon.wait("every message has a line", |_| all >= 60 || lines(&daemon, "debug", "delivered").len() >= 39);
    assert_eq!(lines(&daemon, "warning", "delivery failed").len(), 1);
    assert_eq!(lines(&daemon, "debug", "delivery failed again").len(), 2);
    assert_eq!(lines(&daemon, "info", "delivering again").len(), 1);
    assert!(lines(&daemon, "info", "delivered").len() <= 21);
    let backlog = lines(&daemon, "info", "delivering a backlog");
    assert!(!backlog.is_empty() && backlog[0]["left"].as_u64().unwrap() > 20, "{backlog:?}");
}
