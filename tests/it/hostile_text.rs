//! Texts from outside that carry escape sequences, line breaks and turned directions: none reaches a terminal or
//! the log as it came.

use std::{fs, time::Duration};

use kawaraban::model::line::is_control;
use regex::Regex;

use crate::support::{
    daemon::Daemon,
    discord::{Discord, Verb},
    farm::{Entry, Farm, Fault},
};

/// An operating system command, a control sequence of one byte, a turned direction, a forged line.
const HOSTILE: &str = "bad\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\r\nforged\u{2028}\u{85}x";

fn raw(head: &str, body: &str) -> Fault {
    let hostile = HOSTILE.replace("\r\n", "");
    Fault::Raw(format!("HTTP/1.1 {}\r\nConnection: close\r\n\r\n{body}", head.replace("HOSTILE", &hostile)).into())
}

/// Sources that fail, each by a text of its own.
fn sources(farm: &Farm) -> String {
    let page = |body: String| Fault::Document(body.into(), "text/html".into());
    let link = format!("<link rel=alternate type=application/rss+xml href='http://[{HOSTILE}'>");
    let faults = [
        ("page", page(format!("<!doctype html><title>{HOSTILE}</title>{link}<p>none"))),
        ("status", raw("500 HOSTILE", "")),
        ("redirect", raw("302 Found\r\nLocation: http://[HOSTILE", "")),
        ("coding", raw("200 OK\r\nContent-Encoding: HOSTILE", "x")),
        ("text", Fault::Document(HOSTILE.as_bytes().to_vec(), "text/plain".into())),
        ("root", Fault::Document(format!("<{HOSTILE}/>").into(), "text/xml".into())),
    ];
    let mut text = String::from(
        "[fetch]\ninterval = \"1h\"\nallow_private_addresses = true\nbackfill = \"all\"\n[fetch.retry]\nattempts = 1\n",
    );
    for (name, fault) in faults {
        let feed = farm.feed(name);
        feed.set_fault(fault);
        text += &format!("[[source]]\nname = \"{name}\"\nurl = \"{}\"\n", feed.url());
    }
    let json = farm.feed("json");
    let answer = serde_json::json!({"errors": [{"message": HOSTILE}]}).to_string();
    json.set_fault(Fault::Document(answer.into(), "application/json".into()));
    text += &format!(
        "[[source]]\nname = \"json\"\nkind = \"json\"\nurl = \"{}\"\n[source.json]\nitems = \"/items\"\ntitle = \"/t\"\n",
        json.url()
    );
    let good = farm.feed("good");
    good.push([Entry { title: HOSTILE.into(), text: HOSTILE.into(), ..Entry::numbered("good", 1) }]);
    text + &format!("[[source]]\nname = \"good\"\nurl = \"{}\"\n", good.url())
}

/// Fails where a text holds a control; our own colours and line feeds are none.
fn assert_clean(what: &str, text: &[u8]) {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let colours = Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    let rest = colours.replace_all(&text, "").replace('\n', "");
    assert!(!rest.contains(is_control), "{what}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{what}: {text}");
}

#[test]
fn no_command_prints_a_control_from_outside() {
    let farm = Farm::start();
    let daemon = Daemon::new(&sources(&farm));
    let feed = daemon.dir().join("feed.xml");
    let page = daemon.dir().join("page.html");
    fs::write(&feed, farm.feed("good").document()).unwrap();
    fs::write(&page, format!("<html><link rel=alternate type=application/rss+xml href='http://[{HOSTILE}'>")).unwrap();
    let (feed, page) = (feed.to_str().unwrap(), page.to_str().unwrap());
    let urls = ["page", "text", "good", "coding"].map(|name| farm.feed(name).url());
    let mut commands = vec![
        vec!["check", "--fetch"],
        vec!["check", "--fetch", "--json"],
        vec!["preview", "good"],
        vec!["preview", "good", "--json"],
        vec!["preview", "page"],
        vec!["preview", "json"],
        vec!["parse", feed, page],
        vec!["parse", "--json", feed, page],
    ];
    for url in &urls {
        commands.push(vec!["new", url, "--allow-private-addresses"]);
        commands.push(vec!["new", url, "--allow-private-addresses", "--json"]);
    }
    for arguments in commands {
        let output = daemon.command(&arguments).args(["--color", "always"]).output().unwrap();
        let what = arguments.join(" ");
        assert_ne!(output.status.code(), Some(2), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        assert_clean(&what, &output.stdout);
        assert_clean(&what, &output.stderr);
    }
}

#[test]
fn no_control_from_outside_reaches_the_log_or_the_status() {
    for format in ["terminal", "json"] {
        let farm = Farm::start();
        let fake = Discord::start();
        let hook = fake.webhook("news");
        let refusal = serde_json::json!({"message": HOSTILE, "code": 50_035}).to_string();
        hook.push_fault(Verb::Raw(400, vec![("Content-Type".into(), "application/json".into())], refusal.into()), 9);
        let mut daemon = Daemon::new(&format!(
            "{}[[destination]]\nname = \"news\"\nkind = \"discord\"\nurl = \"{}\"\n",
            sources(&farm),
            hook.url()
        ));
        let config = fs::read_to_string(daemon.config()).unwrap();
        fs::write(daemon.config(), config.replace("format = \"json\"", &format!("format = \"{format}\""))).unwrap();
        daemon.restart();
        daemon.wait("every source was polled, and the item refused", |daemon| {
            let health = daemon.health();
            let sources = health["sources"].as_object();
            let polled = sources.is_some_and(|all| all.len() == 8 && all.values().all(|one| one["polls"] != 0));
            polled && health["destinations"]["news"]["dead_letters"] == 1
        });
        for arguments in [vec!["status", "--color", "always"], vec!["status", "--json", "--color", "always"]] {
            let output = daemon.command(&arguments).output().unwrap();
            assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_clean(&arguments.join(" "), &output.stdout);
        }
        let (status, took) = daemon.terminate();
        assert!(status.success() && took < Duration::from_secs(60), "{status} {took:?}");
        assert_clean(format, daemon.log().as_bytes());
        assert!(daemon.log().contains("forged"), "the texts were met");
        assert_clean(format, daemon.stdout().join("\n").as_bytes());
    }
}
