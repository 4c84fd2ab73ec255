//! A document that ends the process is a failed poll of its source at the next start, and of nobody else.

use std::fs;

use crate::support::{
    daemon::Daemon,
    farm::{Farm, Fault, FeedHandle},
};

/// One source whose document kills, and one that is well.
fn config(bad: &FeedHandle, bad_kind: &str, good: &FeedHandle) -> String {
    format!(
        "[fetch]\ninterval = \"50ms\"\ntimeout = \"5m\"\nallow_private_addresses = true\n\
         [fetch.breaker]\nfailures = 3\ncooldown = \"1h\"\n\
         [[source]]\nname = \"bad\"\nurl = \"{}\"\n{bad_kind}\n[[source]]\nname = \"good\"\nurl = \"{}\"\n",
        bad.url(),
        good.url()
    )
}

/// Kills the daemon three times over the document of `bad`; then it lives, and no longer asks for it.
fn kill_three_times(daemon: &mut Daemon, bad: &FeedHandle) {
    let file = daemon.state().join("reading");
    let is_marked = || fs::read_to_string(&file).is_ok_and(|names| names.contains("bad"));
    for _ in 0..3 {
        let asked = bad.requests().len();
        daemon.restart();
        daemon.wait("the document is dangerous", |_| bad.requests().len() > asked && is_marked());
        daemon.kill();
    }
    let asked = bad.requests().len();
    daemon.restart();
    daemon.wait("the breaker is open", |daemon| daemon.source("bad")["breaker"] == "open");
    let source = daemon.source("bad");
    assert_eq!(source["last_error"]["kind"], "crashed", "{source:#}");
    let polls = daemon.source("good")["polls"].as_u64().unwrap();
    daemon.wait("the other goes on", |daemon| daemon.source("good")["polls"].as_u64().unwrap() > polls + 5);
    let good = daemon.source("good");
    assert_eq!((&good["failures"], &good["status"]), (&0.into(), &"ok".into()), "{good:#}");
    assert_eq!(bad.requests().len(), asked, "an open breaker sends nothing");
    daemon.wait("what was counted is no longer marked", |_| !is_marked());
    assert!(daemon.terminate().0.success());
    assert!(!file.exists(), "an end in order blames nobody");
}

#[test]
fn a_large_body_that_the_process_dies_of_opens_its_breaker() {
    let farm = Farm::start();
    let (bad, good) = (farm.feed("bad"), farm.feed("good"));
    bad.publish(8000);
    bad.set_fault(Fault::HangWithin);
    good.publish(3);
    kill_three_times(&mut Daemon::new(&config(&bad, "", &good)), &bad);
}

#[test]
fn a_document_whose_reading_the_process_dies_of_opens_its_breaker() {
    let farm = Farm::start();
    let (bad, good) = (farm.feed("bad"), farm.feed("good"));
    // it takes a while, and fails, so that each poll reads it again
    let values: Vec<_> = (0..60_000).map(|n| format!("{{\"t\":{n}}}")).collect();
    bad.set_fault(Fault::Document(format!("[{}]", values.join(",")).into_bytes(), "application/json".into()));
    good.publish(3);
    let kind = "kind = \"json\"\n[source.json]\nitems = \"$[*]\"\ntitle = \"/none\"\n";
    kill_three_times(&mut Daemon::new(&config(&bad, kind, &good)), &bad);
}

#[test]
fn after_a_crash_each_first_document_is_marked_and_a_kill_blames_nobody_who_is_done() {
    let farm = Farm::start();
    let good = farm.feed("good");
    good.publish(3);
    let mut daemon = Daemon::start(&format!(
        "[fetch]\ninterval = \"50ms\"\nallow_private_addresses = true\n[[source]]\nname = \"good\"\nurl = \"{}\"\n",
        good.url()
    ));
    for life in 0..4 {
        daemon.wait("it polls", |daemon| daemon.source("good")["successes"].as_u64() > Some(3 * life));
        daemon.kill();
        daemon.restart();
    }
    daemon.wait("it goes on polling", |daemon| daemon.source("good")["successes"].as_u64() > Some(15));
    assert_eq!(daemon.source("good")["failures"], 0);
}
