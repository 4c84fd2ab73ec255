//! The HTTP server of the real daemon, asked over bare sockets: what monitors rely on, and what strangers
//! may try.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    daemon::Daemon,
    farm::{Farm, Fault},
};

/// Far beyond what any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

const FAST: &str = r#"
[fetch]
interval = "100ms"
allow_private_addresses = true
backfill = "all"
[fetch.retry]
attempts = 1
[fetch.breaker]
cooldown = "10m"
"#;

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

/// Reads a head, and the body that it announces unless there is none by rule.
fn answer(stream: &mut impl Read, method: &str) -> std::io::Result<Answer> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_lowercase(), value.to_owned())
    };
    let mut answer = Answer { status, headers: lines.map(pair).collect(), body: String::new() };
    let length: u64 = answer.header("content-length").expect("a length").parse().unwrap();
    if method != "HEAD" {
        stream.take(length).read_to_string(&mut answer.body)?;
        assert_eq!(answer.body.len() as u64, length);
    }
    Ok(answer)
}

/// A daemon whose `[http]` has these lines too.
fn daemon_with(http: &str, config: &str) -> Daemon {
    let daemon = Daemon::new("");
    let socket = daemon.dir().join("http.sock");
    let text = format!(
        "state_dir = \"state\"\n[http]\nlisten = [\"unix:{}\"]\n{http}\n[log]\nlevel = \"debug\"\nformat = \"json\"\n{config}",
        socket.display()
    );
    fs::write(daemon.config(), text).unwrap();
    daemon
}

fn connect(daemon: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.dir().join("http.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and reads one answer.
fn send(daemon: &Daemon, request: &str) -> Answer {
    let mut stream = connect(daemon);
    stream.write_all(request.as_bytes()).unwrap();
    answer(&mut stream, request.split(' ').next().unwrap()).unwrap()
}

fn ask(daemon: &Daemon, method: &str, target: &str, headers: &str) -> Answer {
    send(daemon, &format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"))
}

/// What every answer of ours has.
fn is_ours(answer: &Answer, what: &str) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    let foreign = answer.headers.iter().find(|(name, _)| name.starts_with("access-control"));
    assert_eq!(foreign, None, "{what}: no other page may read it");
}

/// Two sources that are well, one that is down, one that is gone.
fn mixed(farm: &Farm) -> String {
    let table = |name: &str, fault: Option<Fault>| {
        let feed = farm.feed(name);
        feed.publish(1);
        feed.set_fault(fault);
        format!("[[source]]\nname = \"{name}\"\nurl = \"{}\"\n", feed.url())
    };
    let wells: String = ["well1", "well2", "well3"].iter().map(|name| table(name, None)).collect();
    FAST.to_owned() + &wells + &table("down", Some(Fault::Status(500))) + &table("gone", Some(Fault::Status(410)))
}

fn settled(daemon: &Daemon) {
    daemon.wait("every source has its state", |daemon| {
        let sources = &daemon.health()["sources"];
        let is = |name: &str, status: &str| sources[name]["status"] == status;
        is("well1", "ok") && is("well2", "ok") && is("well3", "ok") && is("down", "down") && is("gone", "gone")
    });
}

#[test]
fn every_health_route_answers_get_and_head_alike() {
    let farm = Farm::start();
    let mut daemon = daemon_with("", &mixed(&farm));
    daemon.restart();
    settled(&daemon);
    for (target, status) in [
        ("/health", 200),
        ("/health?strict", 503),
        ("/health?strict=1", 503),
        ("/health?strict=false", 200),
        ("/health?brief", 200),
        ("/health?brief&strict", 503),
        ("/health?nonsense=%zz&x", 200),
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/health/source/well1", 200),
        ("/health/source/down", 503),
        ("/health/source/gone", 503),
        ("/health/source/unknown", 404),
        ("/health/source/WELL1", 404),
        ("/health/source/%2e%2e%2fstate", 404),
        ("/health/source/%00", 404),
    ] {
        let got = ask(&daemon, "GET", target, "");
        assert_eq!(got.status, status, "{target}: {}", got.body);
        is_ours(&got, target);
        assert!(got.json().is_object(), "{target}");
        let headed = ask(&daemon, "HEAD", target, "");
        assert_eq!(headed.status, status, "HEAD {target}");
        is_ours(&headed, target);
        assert_ne!(headed.header("content-length"), Some("0"), "HEAD {target}: the length is that of GET");
    }
    let mut stream = connect(&daemon);
    stream.write_all(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.ends_with("\r\n\r\n"), "HEAD has no body: {all:?}");
}

#[test]
fn a_report_of_many_sources_is_whole_and_its_length_announced() {
    const MANY: usize = 400;
    let farm = Farm::start();
    let feed = farm.feed("news");
    feed.publish(1);
    let table = |n| format!("[[source]]\nname = \"source-{n:03}\"\nurl = \"{}?{n}\"\n", feed.url());
    let mut daemon = daemon_with("", &(FAST.replace("100ms", "1h") + &(0..MANY).map(table).collect::<String>()));
    daemon.restart();
    daemon.wait("it knows all", |daemon| daemon.health()["sources"].as_object().is_some_and(|all| all.len() == MANY));
    let got = ask(&daemon, "GET", "/health", "");
    is_ours(&got, "/health");
    assert!(got.body.len() > 100_000, "more than one piece: {}", got.body.len());
    assert_eq!(got.json()["sources"].as_object().unwrap().len(), MANY);
    let places: Vec<usize> =
        (0..MANY).map(|n| got.body.find(&format!("\"source-{n:03}\":")).expect("each is there")).collect();
    assert!(places.is_sorted(), "in the order of their names");
    let headed = ask(&daemon, "HEAD", "/health", "");
    let length: usize = headed.header("content-length").unwrap().parse().unwrap();
    assert!(length > 100_000, "{length}");
}

#[test]
fn the_report_holds_what_monitors_read_and_brief_leaves_out_what_is_well() {
    let farm = Farm::start();
    let mut daemon = daemon_with("", &mixed(&farm));
    daemon.restart();
    settled(&daemon);
    let whole = ask(&daemon, "GET", "/health", "").json();
    assert_eq!(whole["status"], "degraded");
    assert_eq!(whole["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(whole["network"], "ok");
    assert_eq!(whole["store"]["status"], "ok");
    assert_eq!(whole["sources"].as_object().unwrap().len(), 5);
    assert_eq!(whole["destinations"].as_object().unwrap().len(), 1);
    for field in ["started_at", "time"] {
        let time = whole[field].as_str().unwrap();
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{field}: {time}");
    }
    for reason in ["source down: breaker open", "source gone"] {
        let reasons = whole["reasons"].to_string();
        assert!(reasons.contains(reason), "{reason}: {reasons}");
    }
    assert_eq!(whole["error_patterns"][0]["kind"], "http_500", "{whole:#}");
    let brief = ask(&daemon, "GET", "/health?brief", "").json();
    assert_eq!(brief["sources"].as_object().unwrap().keys().collect::<Vec<_>>(), ["down", "gone"]);
    assert!(brief["destinations"].as_object().unwrap().is_empty());
    assert_eq!(brief["status"], "degraded");
    let source = ask(&daemon, "GET", "/health/source/down", "").json();
    assert_eq!(source["last_error"]["kind"], "http_500");
    assert_eq!(source["breaker"], "open");
}

#[test]
fn what_is_not_there_is_404_and_what_may_not_be_done_is_405() {
    let mut daemon = daemon_with("", "");
    daemon.restart();
    for target in ["/nothing", "/health/", "/health/source/", "/health/source/a/b", "//health", "/Health", "/api/v1/x"]
    {
        let got = ask(&daemon, "GET", target, "");
        assert_eq!(got.status, 404, "{target}");
        is_ours(&got, target);
        assert!(got.json()["error"].is_string(), "{target}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        for target in ["/health", "/health/live", "/health/ready", "/health/source/a"] {
            let headers = "Content-Length: 0\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\n";
            let got = ask(&daemon, method, target, headers);
            assert_eq!(got.status, 405, "{method} {target}");
            assert_eq!(got.header("allow"), Some("GET, HEAD"), "{method} {target}");
            is_ours(&got, target);
            assert!(got.json()["error"].is_string());
        }
    }
}

#[test]
fn only_names_of_ours_are_served() {
    let mut daemon = daemon_with("hosts = [\"news.example\"]", "");
    daemon.restart();
    let with =
        |headers: &str| send(&daemon, &format!("GET /health/live HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"));
    for host in [
        "localhost",
        "LOCALHOST:8787",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:80",
        "10.1.2.3",
        "news.example",
        "News.Example:443",
        "localhost.",
    ] {
        assert_eq!(with(&format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:8787",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "xnews.example",
        "sub.news.example",
        "news.example.evil",
        "",
    ] {
        let got = with(&format!("Host: {host}\r\n"));
        assert_eq!(got.status, 421, "{host}");
        is_ours(&got, host);
    }
    for (headers, what) in [
        ("", "no Host"),
        ("Host: localhost\r\nHost: evil.example\r\n", "two"),
        ("Host: localhost\r\nHost: localhost\r\n", "the same twice"),
    ] {
        assert_eq!(with(headers).status, 400, "{what}");
    }
    assert_eq!(send(&daemon, "GET /health/live HTTP/1.0\r\n\r\n").status, 200, "HTTP/1.0 knows no Host");
    assert_eq!(send(&daemon, "GET /health/live HTTP/1.0\r\nHost: evil.example\r\n\r\n").status, 421);
    let absolute = |host: &str| format!("GET http://{host}/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(send(&daemon, &absolute("localhost")).status, 200);
    assert_eq!(send(&daemon, &absolute("evil.example")).status, 421);
    // a foreign name learns nothing, not even what there is
    for target in ["/nothing", "/health", "/api/v1/reload"] {
        assert_eq!(
            send(&daemon, &format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n")).status,
            421,
            "{target}"
        );
    }
}

#[test]
fn a_head_of_more_than_16_kb_is_431() {
    let mut daemon = daemon_with("", "");
    daemon.restart();
    let large = |bytes: usize| format!("X-Large: {}\r\n", "x".repeat(bytes));
    assert_eq!(ask(&daemon, "GET", "/health/live", &large(15_000)).status, 200);
    assert_eq!(ask(&daemon, "GET", &format!("/health/live?{}", "x".repeat(15_000)), "").status, 200);
    let many: String = (0..60).map(|n| format!("X-{n}: {}\r\n", "y".repeat(100))).collect();
    assert_eq!(ask(&daemon, "GET", "/health/live", &many).status, 200);
    for (what, target, headers) in [
        ("a header", String::new(), large(16_500)),
        ("a target", "x".repeat(17_000), String::new()),
        ("many headers", String::new(), large(4000).repeat(5)),
        ("64 kB", String::new(), large(64_000)),
    ] {
        let got = ask(&daemon, "GET", &format!("/health/live?{target}"), &headers);
        assert_eq!(got.status, 431, "{what}");
        is_ours(&got, what);
    }
}

#[test]
fn a_head_without_end_is_refused_and_not_kept_in_memory() {
    let mut daemon = daemon_with("", "");
    daemon.restart();
    let before = daemon.resident_kb();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(&daemon);
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n").unwrap();
        let block = format!("X-More: {}\r\n", "z".repeat(4000)).repeat(256);
        // it hangs up before all of the megabyte is written, or answers and hangs up
        let written = stream.write_all(block.as_bytes());
        if let Err(error) = written {
            assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        }
        match answer(&mut stream, "GET") {
            Ok(answer) => assert_eq!(answer.status, 431),
            Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "it neither answers nor hangs up"),
        }
        streams.push(stream);
    }
    let grown = daemon.resident_kb().saturating_sub(before);
    assert!(grown < 20_000, "{grown} kB");
    assert_eq!(ask(&daemon, "GET", "/health/live", "").status, 200);
}

/// Sends these bytes, then one at a time until it is hung up on; how long that took, and what was answered.
fn drip(mut stream: UnixStream, beginning: &str) -> (Duration, String) {
    let start = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut told = Vec::new();
    let mut open = stream.write_all(beginning.as_bytes()).is_ok();
    loop {
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && open => {}
            Ok(0) | Err(_) => break,
            Ok(read) => told.extend_from_slice(&bytes[..read]),
        }
        open &= stream.write_all(b"d").is_ok();
        assert!(start.elapsed() < PATIENCE, "it waits for ever, and said {:?}", String::from_utf8_lossy(&told));
    }
    (start.elapsed(), String::from_utf8_lossy(&told).into_owned())
}

#[test]
fn a_head_that_drips_is_cut_off_after_five_seconds() {
    const WHOLE: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const PART: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Drip: ";
    let mut daemon = daemon_with("", "");
    daemon.restart();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| drip(connect(&daemon), PART));
        let behind = scope.spawn(|| drip(connect(&daemon), &format!("{WHOLE}{PART}")));
        let after = scope.spawn(|| {
            let mut stream = connect(&daemon);
            stream.write_all(WHOLE.as_bytes()).unwrap();
            assert_eq!(answer(&mut stream, "GET").unwrap().status, 200);
            drip(stream, PART)
        });
        // meanwhile others are served
        for _ in 0..20 {
            assert_eq!(ask(&daemon, "GET", "/health/live", "").status, 200);
        }
        let (took, told) = first.join().unwrap();
        assert!(took > Duration::from_secs(4) && took < Duration::from_secs(20), "{took:?}");
        assert!(told.starts_with("HTTP/1.1 408"), "{told}");
        for later in [behind, after] {
            let (took, _) = later.join().unwrap();
            assert!(took < Duration::from_secs(20), "{took:?}");
        }
    });
}

#[test]
fn admin_routes_need_the_token() {
    let mut daemon = daemon_with("", "");
    daemon.restart();
    let routes = ["/api/v1/reload", "/api/v1/sources/a/poll", "/api/v1/store/acknowledge", "/api/v1/dead-letters"];
    for route in routes {
        for headers in ["", "Authorization: Bearer anything\r\n"] {
            let got = ask(&daemon, "POST", route, headers);
            assert_eq!(got.status, 403, "{route}: no token is configured");
            is_ours(&got, route);
        }
    }
    assert_eq!(ask(&daemon, "GET", "/api/v1/dead-letters", "").status, 403);
    daemon.terminate();

    let mut daemon = daemon_with("admin_token = \"the-right-one\"", "");
    daemon.restart();
    for route in routes {
        for wrong in [
            "",
            "Authorization: Bearer the-right-on\r\n",
            "Authorization: Bearer the-right-one2\r\n",
            "Authorization: Basic the-right-one\r\n",
            "Authorization: the-right-one\r\n",
            "Authorization: Bearer\r\n",
        ] {
            let got = ask(&daemon, "POST", route, wrong);
            assert_eq!(got.status, 401, "{route} with {wrong:?}");
            assert_eq!(got.header("www-authenticate"), Some("Bearer"), "{route}");
            is_ours(&got, route);
        }
        let got = ask(&daemon, "POST", route, "Authorization: Bearer the-right-one\r\n").status;
        assert!(got != 401 && got != 403, "{route}: {got}");
    }
    assert_eq!(ask(&daemon, "GET", "/health", "").status, 200, "reading needs none");
    assert_eq!(ask(&daemon, "GET", "/api/v1/nothing", "").status, 404);
}

#[test]
fn require_token_closes_all_but_what_monitors_probe() {
    let mut daemon = daemon_with("admin_token = \"the-right-one\"\nrequire_token = true", "");
    daemon.restart();
    for open in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(ask(&daemon, "GET", open, "").status, 200, "{open}");
    }
    assert_eq!(ask(&daemon, "GET", "/health/source/x", "").status, 404);
    for closed in ["/", "/events", "/api/v1/sources", "/healthy", "/nothing", "//health", "/%68ealth/../"] {
        assert_eq!(ask(&daemon, "GET", closed, "").status, 401, "{closed}");
        let got = ask(&daemon, "GET", closed, "Authorization: Bearer the-right-one\r\n").status;
        assert_ne!(got, 401, "{closed}");
    }
}

#[test]
fn a_socket_that_a_killed_daemon_left_behind_is_replaced() {
    let mut daemon = daemon_with("", "");
    daemon.restart();
    daemon.kill();
    assert!(daemon.dir().join("http.sock").exists());
    daemon.restart();
    assert_eq!(ask(&daemon, "GET", "/health/ready", "").status, 200);
}

/// Exit status and what was said.
fn refused(daemon: &Daemon) -> (Option<i32>, String) {
    let output = daemon.command(&["run"]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn an_address_that_is_in_use_is_an_error_at_start() {
    let daemon = daemon_with("", "");
    let socket = daemon.dir().join("http.sock");

    let living = UnixListener::bind(&socket).unwrap();
    let (status, told) = refused(&daemon);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("http.sock") && told.contains("in use"), "{told}");
    drop(living);
    fs::remove_file(&socket).unwrap();

    fs::write(&socket, b"precious").unwrap();
    let (status, told) = refused(&daemon);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("no socket"), "{told}");
    assert_eq!(fs::read(&socket).unwrap(), b"precious");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fs::write(daemon.config(), format!("state_dir = \"state\"\n[http]\nlisten = [\"{address}\"]\n")).unwrap();
    let (status, told) = refused(&daemon);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains(&address) && told.contains("in use"), "{told}");

    fs::write(daemon.config(), "state_dir = \"state\"\n[http]\nlisten = [\"unix:/nowhere/at/all.sock\"]\n").unwrap();
    let (status, told) = refused(&daemon);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("/nowhere/at/all.sock"), "{told}");
}

#[test]
fn tcp_and_unix_are_served_side_by_side_and_a_port_is_free_again_at_once() {
    let mut daemon = daemon_with("", "");
    // an address that nobody else takes in between
    let free = TcpListener::bind("127.81.67.3:0").unwrap().local_addr().unwrap();
    let socket = daemon.dir().join("http.sock");
    let listen = format!("[http]\nlisten = [\"{free}\", \"unix:{}\"]\n", socket.display());
    fs::write(daemon.config(), format!("state_dir = \"state\"\n{listen}")).unwrap();
    for _ in 0..2 {
        daemon.restart();
        let mut stream = TcpStream::connect(free).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: 127.81.67.3\r\n\r\n").unwrap();
        assert_eq!(answer(&mut stream, "GET").unwrap().status, 200);
        assert_eq!(ask(&daemon, "GET", "/health/ready", "").status, 200);
        // the connection is open while it ends
        assert!(daemon.terminate().0.success());
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let farm = Farm::start();
    let mut daemon = daemon_with("", &mixed(&farm));
    daemon.restart();
    settled(&daemon);
    let mut stream = connect(&daemon);
    let targets = ["/health/live", "/nothing", "/health/source/well1", "/health/source/gone", "/health/source/x"];
    let statuses = [200, 404, 200, 503, 404];
    let request = |target: &&str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let once: String = targets.iter().map(request).collect();
    stream.write_all(once.repeat(8).as_bytes()).unwrap();
    for status in statuses.repeat(8) {
        assert_eq!(answer(&mut stream, "GET").unwrap().status, status);
    }
}

#[test]
fn two_hundred_connections_are_served_at_once() {
    let mut daemon = daemon_with("", "");
    daemon.restart();
    let mut streams: Vec<_> = (0..200).map(|_| connect(&daemon)).collect();
    // who is idle keeps nobody waiting
    assert_eq!(ask(&daemon, "GET", "/health/live", "").status, 200);
    for stream in &mut streams {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    for stream in &mut streams {
        assert_eq!(answer(stream, "GET").unwrap().status, 200);
    }
}

#[test]
fn bytes_that_are_no_http_are_refused_and_harm_nobody() {
    let mut daemon = daemon_with("", "");
    daemon.restart();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
    ] {
        let mut stream = connect(&daemon);
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{bytes:?}: {rest}");
    }
    assert_eq!(ask(&daemon, "GET", "/health/live", "").status, 200);
}

#[test]
fn no_answer_and_no_log_line_holds_a_secret() {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.set_fault(Fault::Status(500));
    let url = feed.url().replace("http://", "http://user:zz-userinfo@") + "?key=zz-query";
    let refusing = farm.refusing_url().replace("http://", "");
    let config = format!(
        "{FAST}[[source]]\nname = \"a\"\nurl = \"{url}\"\nheaders = {{ \"X-Key\" = \"zz-header\" }}\n\
         [[source]]\nname = \"b\"\nurl = \"http://{refusing}path?token=zz-query2\"\nbasic_auth = {{ user = \"u\", password = \"zz-password\" }}\n\
         [[source]]\nname = \"well\"\nurl = \"{}\"\n\
         [[destination]]\nname = \"d\"\nkind = \"discord\"\nurl = \"http://{refusing}api/webhooks/123/zz-webhook\"\n\
         [[destination]]\nname = \"w\"\nkind = \"webhook\"\nurl = \"http://{refusing}hook/zz-hook?x=zz-hookquery\"\nsecret = \"zz-signing\"\n",
        {
            let well = farm.feed("well");
            well.publish(2);
            well.url()
        }
    );
    let mut daemon = daemon_with("admin_token = \"zz-admin\"", &config);
    daemon.restart();
    daemon.wait("all has failed that can fail", |daemon| {
        let health = daemon.health();
        health["sources"]["a"]["status"] == "down"
            && health["sources"]["b"]["status"] == "down"
            && !health["destinations"]["d"]["last_error"].is_null()
            && !health["destinations"]["w"]["last_error"].is_null()
    });
    let mut told = String::new();
    for target in [
        "/",
        "/health",
        "/health?strict",
        "/health?brief",
        "/health/live",
        "/health/ready",
        "/health/source/a",
        "/health/source/b",
        "/metrics",
        "/api/v1/sources",
        "/api/v1/destinations",
        "/api/v1/errors",
        "/api/v1/items",
        "/events/nothing",
        "/nothing",
    ] {
        let got = ask(&daemon, "GET", target, "");
        told += &format!("{target}: {:?} {}\n", got.headers, got.body);
    }
    told += &ask(&daemon, "POST", "/api/v1/reload", "Authorization: Bearer zz-wrong\r\n").body;
    daemon.terminate();
    told += &daemon.log();
    for line in told.lines() {
        assert!(!line.contains("zz-"), "{line}");
    }
}
