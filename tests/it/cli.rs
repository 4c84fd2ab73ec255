//! The program as a shell meets it: arguments in, text and an exit status out.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::{Value, json};

fn kawaraban(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kawaraban"));
    command.current_dir(directory).env_remove("KAWARABAN_CONFIG").env_remove("NO_COLOR").env_remove("STATE_DIRECTORY");
    command
}

/// Runs it in an empty directory with these files.
fn run(files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    kawaraban(directory.path()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const GOOD: &str = "[[source]]\nname = \"ann\"\nurl = \"http://127.0.0.1:9/\"\n";
const SECRET: &str = "hunter2";

#[test]
fn a_configuration_in_order_is_summed_up() {
    let output = run(&[("k.toml", GOOD)], &["check", "-c", "k.toml"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), "ok: k.toml: 1 source, to stdout\n");
}

#[test]
fn broken_configurations_end_check_and_run_with_2_and_the_place() {
    let texts = [
        ("[fetch]\ninterval = 5m\n", "k.toml:2:12: fetch.interval: "),
        ("[fetch]\nintervall = \"5m\"\n", "k.toml:2:1: fetch.intervall: unknown key; did you mean \"interval\"?"),
        ("[[source]]\nname = \"ann\"\n", "k.toml:1:1: source[ann].url: missing"),
        (
            "[[destination]]\nname = \"n\"\nkind = \"discord\"\nurl = \"https://discord.com/hunter2\"\n",
            "k.toml:4:7: destination[n].url: ",
        ),
        ("[http]\nadmin_token = { file = \"none\" }\n", "k.toml:2:24: http.admin_token.file: cannot read none"),
        ("[fetch]\nproxy = \"https://u:hunter2@p:1\"\n", "k.toml:2:9: fetch.proxy: "),
        ("[[source]]\nname = \"a\"\nurl = \"ftp://u:hunter2@h/\"\n", "k.toml:3:7: source[a].url: "),
    ];
    for (text, expected) in texts {
        for command in ["check", "run"] {
            let output = run(&[("k.toml", text)], &[command, "-c", "k.toml"]);
            assert_eq!(output.status.code(), Some(2), "{text}");
            let (out, err) = (stdout(&output), stderr(&output));
            let shown = if command == "check" { &out } else { &err };
            assert!(shown.lines().any(|line| line.starts_with(expected)), "{command}: {shown}");
            assert!(!format!("{out}{err}").contains(SECRET));
        }
    }
}

#[test]
fn secrets_elsewhere_are_passed_over_on_request() {
    let text = format!("[http]\nadmin_token = {{ env = \"KAWARABAN_TEST_UNSET\" }}\n{GOOD}");
    assert_eq!(run(&[("k.toml", &text)], &["check", "-c", "k.toml"]).status.code(), Some(2));
    assert_eq!(run(&[("k.toml", &text)], &["check", "-c", "k.toml", "--no-secrets"]).status.code(), Some(0));
}

#[test]
fn faults_are_one_json_object_on_request() {
    let output = run(&[("k.toml", "[fetch]\njitter = 2\ntimeout = 3\n")], &["--config", "k.toml", "check", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(told["valid"], json!(false));
    assert_eq!(told["errors"][1]["line"], json!(3));
    assert_eq!(told["errors"][1]["key"], json!("fetch.timeout"));
    let output = run(&[("k.toml", GOOD)], &["check", "--json", "-c", "k.toml"]);
    let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&told["valid"], &told["sources"], &told["errors"]), (&json!(true), &json!(1), &json!([])));
}

#[test]
fn without_a_configuration_it_says_where_it_looked() {
    let output = run(&[], &["check"]);
    assert_eq!(output.status.code(), Some(2));
    let told = stdout(&output);
    assert!(told.contains("./config/kawaraban.toml") && told.contains("/etc/kawaraban/kawaraban.toml"), "{told}");
    let output = run(&[], &[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(2), told));
}

#[test]
fn the_environment_names_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("k.toml"), GOOD).unwrap();
    let output = kawaraban(directory.path()).arg("check").env("KAWARABAN_CONFIG", "k.toml").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn colours_are_a_choice() {
    let colored = |arguments: &[&str]| stdout(&run(&[("k.toml", "x = 1\n")], arguments)).contains('\u{1b}');
    assert!(!colored(&["check", "-c", "k.toml"]));
    assert!(colored(&["check", "-c", "k.toml", "--color", "always"]));
    assert!(!colored(&["check", "-c", "k.toml", "--color=never"]));
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    for wrong in
        [&["bogus"][..], &["parse"], &["status", "--url", "ftp://x"], &["--log-level", "loud", "check"], &["preview"]]
    {
        let output = run(&[("k.toml", GOOD)], wrong);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{wrong:?}");
        assert!(stderr(&output).contains("error: "), "{wrong:?}");
    }
    for help in [&["--help"][..], &["-h"], &["check", "--help"], &["help", "status"], &["store", "--help"]] {
        let output = run(&[], help);
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
        assert!(stdout(&output).contains("Usage: kawaraban"), "{help:?}");
    }
    assert_eq!(stdout(&run(&[], &["--version"])), format!("kawaraban {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&run(&[], &["completions", shell]));
        assert!(script.contains("send-test"), "{shell}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_fault() {
    let directory = tempfile::tempdir().unwrap();
    let items: String = (0..20_000).map(|n| format!("<item><title>{n}</title></item>")).collect();
    std::fs::write(directory.path().join("feed.xml"), format!("<rss><channel>{items}</channel></rss>")).unwrap();
    let mut child = kawaraban(directory.path())
        .args(["parse", "feed.xml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

const FEED: &str = "<rss version=\"2.0\"><channel><title>T</title><link>/</link>\
    <item><title>One &amp; two</title><link>/1</link><guid>g1</guid></item></channel></rss>";

#[test]
fn documents_are_read_offline_in_order() {
    let files = [("a.xml", FEED), ("b.xml", "<html><body>no</body></html>"), ("c.xml", "")];
    let output = run(
        &files,
        &["parse", "--json", "--base", "https://h.example/f", "a.xml", "b.xml", "none.xml", "c.xml", "a.xml"],
    );
    assert_eq!(output.status.code(), Some(3));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let files: Vec<_> = lines.iter().map(|line| line["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["a.xml", "b.xml", "none.xml", "c.xml", "a.xml"]);
    assert_eq!(
        (&lines[0]["format"], &lines[0]["encoding"], &lines[0]["title"]),
        (&json!("rss2.0"), &json!("utf-8"), &json!("T"))
    );
    let item = &lines[0]["items"][0];
    assert_eq!(
        (&item["title"], &item["link"], &item["id"]),
        (&json!("One & two"), &json!("https://h.example/1"), &json!("g1"))
    );
    for field in ["published", "updated", "summary", "content_html", "image"] {
        assert!(item.as_object().unwrap().contains_key(field), "{field}");
    }
    for field in ["authors", "categories", "enclosures"] {
        assert!(item[field].is_array(), "{field}");
    }
    let kinds: Vec<_> = lines[1..4].iter().map(|line| line["error"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["not_a_feed", "io", "not_a_feed"]);
}

#[test]
fn a_document_may_come_from_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let mut child =
        kawaraban(directory.path()).args(["parse", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(FEED.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).starts_with("-: rss2.0, utf-8, 1 item: T\n"), "{}", stdout(&output));
}

fn report(status: &str) -> String {
    json!({
        "status": status, "version": "0.1.0", "started_at": "2026-01-09T11:00:00Z", "uptime_s": 60,
        "time": "2026-01-09T11:01:00Z", "reasons": [], "network": "ok",
        "store": {"status": "ok", "items_seen": 1, "outbox": 0, "dead_letters": 0},
        "sources": {"ann": {"status": "ok", "breaker": "closed", "attempts": 1, "polls": 1, "successes": 1,
            "failures": 0, "success_rate": 100.0, "success_rate_24h": 100.0, "consecutive_failures": 0, "items": 1,
            "last_attempt": "2026-01-09T11:00:00Z", "last_success": "2026-01-09T11:00:00Z", "next_poll": null,
            "last_error": null}},
        "destinations": {}, "error_patterns": [],
    })
    .to_string()
}

/// Reads one request from a connection and gives the answer.
fn answer(mut stream: impl std::io::Read + std::io::Write, status: &str, body: &str) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
    String::from_utf8(request).unwrap()
}

/// `status` against something that gives one answer: what it printed, and the request that it made.
fn status(code: &'static str, body: String, arguments: &[&str]) -> (Output, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let daemon = thread::spawn(move || answer(listener.accept().unwrap().0, code, &body));
    let output = run(&[], &[&["status", "--url", &url], arguments].concat());
    (output, daemon.join().unwrap())
}

#[test]
fn the_health_of_a_daemon_is_a_table_and_an_exit_status() {
    for (code, word, expected) in
        [("200 OK", "ok", 0), ("200 OK", "degraded", 3), ("503 Service Unavailable", "down", 3)]
    {
        let (output, request) = status(code, report(word), &[]);
        assert_eq!(output.status.code(), Some(expected), "{word}");
        let shown = stdout(&output);
        assert!(shown.starts_with(&format!("kawaraban 0.1.0 is {word}, up 1m; network ok")), "{shown}");
        assert!(
            shown.lines().any(|line| line.starts_with(" ●  ann     ok     closed   100.0 %      1       0  1m ago")),
            "{shown}"
        );
        assert!(request.starts_with("GET /health HTTP/1"), "{request}");
    }
}

#[test]
fn the_report_itself_is_passed_through_on_request() {
    let body = report("degraded");
    let (output, _) = status("200 OK", body.clone(), &["--json"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(3), body + "\n"));
}

#[test]
fn what_is_no_daemon_of_ours_is_told() {
    for (code, body, part) in [
        ("200 OK", "<html>", "not with a health report"),
        ("404 Not Found", "", "with HTTP 404"),
        ("421 Misdirected Request", "", "with HTTP 421"),
    ] {
        let (output, _) = status(code, body.to_owned(), &[]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{code}");
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

#[test]
fn a_daemon_that_does_not_run_is_told_with_what_to_do() {
    // bound and dropped: nobody listens there
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!("[http]\nlisten = [\"{address}\"]\n{GOOD}");
    let output = run(&[("k.toml", &text)], &["status", "-c", "k.toml"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    let told = stderr(&output);
    assert!(told.contains(&address.to_string()) && told.contains("kawaraban run"), "{told}");
}

#[test]
fn status_finds_the_daemon_by_the_configuration_also_on_a_socket_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("k.sock")).unwrap();
    let text =
        format!("[http]\nlisten = [\"unix:k.sock\"]\nadmin_token = {{ env = \"KAWARABAN_TEST_UNSET\" }}\n{GOOD}");
    std::fs::write(directory.path().join("k.toml"), text).unwrap();
    let daemon = thread::spawn(move || answer(listener.accept().unwrap().0, "200 OK", &report("ok")));
    let output = kawaraban(directory.path()).args(["status", "-c", "k.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(daemon.join().unwrap().contains("\r\nHost: localhost\r\n"));
}

#[test]
fn watching_shows_it_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut child = kawaraban(directory.path())
        .args(["status", "--watch", "--json", "--url", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for word in ["down", "ok"] {
        answer(listener.accept().unwrap().0, "200 OK", &report(word));
    }
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for word in ["down", "ok"] {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["status"], json!(word));
    }
    // a reader that has enough, as `head` has
    drop(lines);
    answer(listener.accept().unwrap().0, "200 OK", &report("ok"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn commands_need_only_the_secrets_that_they_use() {
    let feed = "http://127.0.0.1:9/";
    let text = format!(
        "[http]\nadmin_token = {{ credential = \"token\" }}\n\
         [fetch]\nallow_private_addresses = true\nconnect_timeout = \"2s\"\nretry = {{ attempts = 1 }}\n\
         [[source]]\nname = \"a\"\nurl = \"{feed}\"\n\
         [[source]]\nname = \"b\"\nurl = \"{feed}\"\nheaders = {{ \"X-Key\" = {{ env = \"KAWARABAN_TEST_UNSET\" }} }}\n\
         [[destination]]\nname = \"news\"\nkind = \"discord\"\nurl = {{ credential = \"hook\" }}\n"
    );
    let code = |arguments: &[&str]| {
        let output = run(&[("kawaraban.toml", &text)], arguments);
        (output.status.code(), stdout(&output) + &stderr(&output))
    };
    // it is the source that fails, not the configuration
    let (status, said) = code(&["preview", "a"]);
    assert!(status == Some(3) && said.contains("connect_refused"), "{said}");
    let (status, said) = code(&["preview", "b"]);
    assert!(status == Some(2) && said.contains("KAWARABAN_TEST_UNSET") && !said.contains("hook"), "{said}");
    let (status, said) = code(&["check", "--fetch"]);
    assert!(status == Some(2) && said.contains("KAWARABAN_TEST_UNSET") && !said.contains("hook"), "{said}");
    let (status, said) = code(&["send-test", "news"]);
    assert!(status == Some(2) && said.contains("LoadCredential=hook:PATH") && !said.contains("UNSET"), "{said}");
    let (status, said) = code(&["store", "stats"]);
    assert!(status == Some(1) && said.contains("no state directory"), "{said}");
    let (status, said) = code(&["check"]);
    assert!(status == Some(2) && said.contains("hook") && said.contains("UNSET") && said.contains("token"), "{said}");
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_of_without_advice_that_locks_the_daemon_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let config = |token: &str| format!("[http]\nadmin_token = {token}\n{GOOD}");
    let check = || {
        let output = kawaraban(directory.path()).arg("check").output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        stdout(&output)
    };
    write("kawaraban.toml", &config("\"hunter2\""), 0o644);
    let said = check();
    assert!(said.contains("every user of this machine can read it") && said.contains("LoadCredential"), "{said}");
    assert!(!said.contains("chmod") && !said.contains(SECRET), "{said}");
    write("kawaraban.toml", &config("{ file = \"token\" }"), 0o644);
    write("token", SECRET, 0o644);
    let said = check();
    assert!(said.contains("every user of this machine can read ./token"), "{said}");
    assert!(said.contains("chmod 600") && said.contains("LoadCredential"), "{said}");
    write("token", SECRET, 0o600);
    assert_eq!(check(), "ok: ./kawaraban.toml: 1 source, to stdout\n");
}

#[test]
fn mistakes_that_people_make_are_answered_with_what_to_write() {
    let source = |url: &str| format!("[[source]]\nname = \"a\"\nurl = \"{url}\"\n");
    let cases = [
        (source("example.com/feed"), "found no scheme: write https:// before it"),
        (source("$FEED_URL"), "write { env = \"NAME\" }"),
        (source("${FEED_URL}"), "write { env = \"NAME\" }"),
        ("state_dir = \"~/state\"\n".to_owned() + GOOD, "\"~\" is not expanded here"),
        (format!("[http]\nadmin_token = {{ file = \"~/token\" }}\n{GOOD}"), "\"~\" is not expanded here"),
        ("[[source]]\nname = \u{201c}a\u{201d}\n".to_owned(), "typographic quotes"),
        ("sources:\n  - name: a\n    url: http://x.example/\n".to_owned(), "looks like YAML"),
        ("state_dir = \"k.toml/state\"\n".to_owned() + GOOD, "cannot be a directory"),
    ];
    for (text, expected) in cases {
        let output = run(&[("k.toml", &text)], &["check", "-c", "k.toml"]);
        let said = stdout(&output);
        assert_eq!(output.status.code(), Some(2), "{text}\n{said}");
        assert_eq!(said.matches(expected).count(), 1, "{text}\n{said}");
    }
    let said = stdout(&run(
        &[("k.toml", "[[source]]\nname = \"a\"\nurll = \"http://x.example/\"\n")],
        &["check", "-c", "k.toml"],
    ));
    assert!(said.contains("did you mean \"url\"?") && !said.contains("allowed here"), "{said}");
}
