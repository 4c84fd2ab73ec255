//! The HTTP server of the real daemon, spoken to byte by byte.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use crate::support::{
    daemon::Daemon,
    farm::{Farm, Fault},
};

const FAST: &str = r#"
[fetch]
interval = "100ms"
allow_private_addresses = true
[fetch.retry]
attempts = 1
[fetch.breaker]
failures = 1
"#;

/// Listens on TCP with these lines in `[http]`; the address.
fn tcp(more: &str, sources: &str) -> (Daemon, std::net::SocketAddr) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut daemon = Daemon::new("");
    let text = format!(
        "state_dir = \"state\"\n[http]\nlisten = [\"{address}\", \"unix:{}\"]\n{more}\n{FAST}\n{sources}",
        daemon.dir().join("http.sock").display()
    );
    std::fs::write(daemon.config(), text).unwrap();
    daemon.restart();
    (daemon, address)
}

/// The whole answer to these bytes.
fn exchange(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: std::net::SocketAddr, method: &str, path: &str, headers: &str) -> String {
    exchange(address, &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"))
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn monitors_get_what_they_rely_on() {
    let farm = Farm::start();
    let (good, bad) = (farm.feed("good"), farm.feed("bad"));
    good.publish(1);
    bad.set_fault(Fault::Status(404));
    let sources =
        [&good, &bad].map(|feed| format!("[[source]]\nname = \"{}\"\nurl = \"{}\"\n", feed.name(), feed.url()));
    let (daemon, address) = tcp("", &sources.concat());
    daemon.wait("one is down", |daemon| {
        daemon.source("bad")["status"] == "down" && daemon.source("good")["status"] == "ok"
    });
    for (method, path, due) in [
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("GET", "/health?strict", 503),
        ("HEAD", "/health?strict=1", 503),
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 200),
        ("GET", "/health/source/good", 200),
        ("GET", "/health/source/bad", 503),
        ("GET", "/health/source/none", 404),
        ("GET", "/nothing", 404),
        ("POST", "/health", 405),
        ("DELETE", "/health/live", 405),
    ] {
        let answer = get(address, method, path, "");
        assert_eq!(status(&answer), due, "{method} {path}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("cache-control: no-store") && head.contains("application/json"), "{head}");
        assert_eq!(body.is_empty(), method == "HEAD", "{method} {path}");
        assert_eq!(head.contains("allow: GET, HEAD"), due == 405);
        assert!(!head.to_lowercase().contains("access-control"), "{head}");
    }
    let brief = get(address, "GET", "/health?brief", "");
    assert!(brief.contains("\"bad\"") && !brief.contains("\"good\":"), "{brief}");
}

#[test]
fn only_known_names_are_served_and_only_reasonable_heads() {
    let (_daemon, address) = tcp("hosts = [\"news.example\"]", "");
    let host = |host: &str| {
        status(&exchange(address, &format!("GET /health/live HTTP/1.1\r\n{host}Connection: close\r\n\r\n")))
    };
    assert_eq!(host("Host: 127.0.0.1:9\r\n"), 200);
    assert_eq!(host("Host: [::1]\r\n"), 200);
    assert_eq!(host("Host: NEWS.example:443\r\n"), 200);
    assert_eq!(host("Host: evil.example\r\n"), 421);
    assert_eq!(host("Host: localhost.evil.example\r\n"), 421);
    assert_eq!(host(""), 400);
    assert_eq!(host("Host: localhost\r\nHost: evil.example\r\n"), 400);
    assert_eq!(status(&exchange(address, "GET /health/live HTTP/1.0\r\n\r\n")), 200);
    assert_eq!(
        status(&exchange(
            address,
            "GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )),
        421
    );
    assert_eq!(status(&get(address, "GET", "/health/live", &format!("X-Big: {}\r\n", "a".repeat(20_000)))), 431);

    // a head that never ends is cut off; the server's own limit is 5 s
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHo").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(begun.elapsed() < Duration::from_secs(30), "it was left open");
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn admin_routes_need_the_token() {
    let (_daemon, address) = tcp("admin_token = \"s3cret-token\"\nrequire_token = true", "");
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(status(&get(address, "POST", "/api/v1/reload", "")), 401);
    assert_eq!(status(&get(address, "POST", "/api/v1/reload", &bearer("wrong"))), 401);
    assert_eq!(status(&get(address, "POST", "/api/v1/reload", &bearer("s3cret-token"))), 404, "not there yet");
    assert_eq!(status(&get(address, "GET", "/", "")), 401);
    assert_eq!(status(&get(address, "GET", "/health/live", "")), 200);
    let (_other, address) = tcp("", "");
    assert_eq!(status(&get(address, "POST", "/api/v1/reload", &bearer("s3cret-token"))), 403);
}

#[test]
fn an_address_in_use_and_a_file_in_the_way_are_errors_at_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let daemon = Daemon::new("");
    let file = daemon.dir().join("precious");
    std::fs::write(&file, "precious").unwrap();
    for listen in [address, format!("unix:{}", file.display())] {
        std::fs::write(daemon.config(), format!("state_dir = \"state\"\n[http]\nlisten = [\"{listen}\"]\n")).unwrap();
        let output = daemon.command(&["run"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{listen}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"), "{output:?}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_replaced() {
    let mut daemon = Daemon::start("");
    daemon.kill();
    daemon.restart();
    assert_eq!(daemon.get("/health/live").unwrap().0, 200);
}
