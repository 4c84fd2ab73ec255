//! The HTTP server of the real daemon among many clients who mean no good, or too much of it.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::support::{daemon::Daemon, farm::Farm};

const PATIENCE: Duration = Duration::from_secs(90);
/// Far below what each of these took when nothing was bounded, which was 240 MB and more.
const MAX_GROWTH_KB: u64 = 60_000;

const FETCH: &str = "[fetch]\nallow_private_addresses = true\ninterval = \"1h\"\n[fetch.retry]\nattempts = 1\n";

/// So many sources that are not polled while the test runs.
fn idle_sources(count: usize) -> String {
    (0..count).fold(String::new(), |mut config, n| {
        let _ =
            write!(config, "[[source]]\nname = \"idle{n}\"\nurl = \"http://127.0.0.1:1/{n}\"\ninterval = \"10h\"\n");
        config
    })
}

fn connect(daemon: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.dir().join("http.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut UnixStream, target: &str) {
    // whoever was hung up on learns it when it reads
    let _ =
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes());
}

/// A probe gets through, at once.
fn is_live(daemon: &Daemon) {
    let start = Instant::now();
    let (status, body) = daemon.get("/health/live").expect("an answer");
    assert_eq!(status, 200, "{body}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

/// The most memory that it ever had.
fn peak_kb(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn heads_without_end_take_bounded_memory_and_keep_nobody_out() {
    let daemon = Daemon::start("");
    let before = daemon.resident_kb();
    let part = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX-Part: {}", "x".repeat(10_000));
    let mut open = Vec::new();
    for n in 0..3000 {
        let mut stream = connect(&daemon);
        // one that had to make room is hung up on
        let _ = stream.write_all(part.as_bytes());
        open.push(stream);
        // the test itself has 1,024 descriptors where it may have no more
        if open.len() > 700 {
            open.remove(0);
        }
        if n % 500 == 499 {
            is_live(&daemon);
        }
    }
    let grown = daemon.resident_kb().saturating_sub(before);
    assert!(grown < MAX_GROWTH_KB, "{grown} kB");
    assert!(descriptors(&daemon) < 600, "{} descriptors", descriptors(&daemon));
    // the oldest were pushed out, the newest wait for the rest of their heads
    let mut newest = open.pop().unwrap();
    newest.write_all(b"\r\n\r\n").unwrap();
    let mut answer = String::new();
    newest.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn who_does_not_read_an_answer_is_hung_up_on() {
    let daemon = Daemon::start(&format!("{FETCH}{}", idle_sources(2000)));
    let mut whole = connect(&daemon);
    ask(&mut whole, "/health");
    let mut report = Vec::new();
    whole.read_to_end(&mut report).unwrap();
    assert!(report.len() > 500_000, "{} bytes are no long report", report.len());
    let (before, open_before) = (daemon.resident_kb(), descriptors(&daemon));
    let mut slow: Vec<_> = (0..300).map(|_| connect(&daemon)).collect();
    slow.iter_mut().for_each(|stream| ask(stream, "/health"));
    daemon.wait("all answers have begun", |daemon| descriptors(daemon) >= open_before + 250);
    is_live(&daemon);
    daemon.wait("they are hung up on", |daemon| descriptors(daemon) <= open_before + 5);
    let grown = peak_kb(&daemon).saturating_sub(before);
    assert!(grown < MAX_GROWTH_KB, "{grown} kB");
    for mut stream in slow {
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read);
        assert!(read.len() < report.len(), "it was not hung up on");
    }
}

#[test]
fn readers_of_long_reports_slow_no_poll() {
    let farm = Farm::start();
    farm.feed("fast").publish(3);
    let fast = format!("[[source]]\nname = \"fast\"\nurl = \"{}\"\ninterval = \"100ms\"\n", farm.feed("fast").url());
    let daemon = Daemon::start(&format!("{FETCH}{fast}{}", idle_sources(2000)));
    daemon.wait("it is polled", |_| farm.feed("fast").requests().len() > 3);
    let (done, reports) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let mut stream = connect(&daemon);
                    ask(&mut stream, "/health");
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer).unwrap();
                    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..100]));
                    reports.fetch_add(1, Relaxed);
                    let _ = stream.shutdown(Shutdown::Both);
                }
            });
        }
        daemon.wait("reports are read", |_| reports.load(Relaxed) > 40);
        let polls = farm.feed("fast").requests().len();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            daemon.wait("polls go on meanwhile", |_| farm.feed("fast").requests().len() > polls + 20);
            is_live(&daemon);
        }));
        done.store(true, Relaxed);
        ended.unwrap();
    });
    assert_eq!(daemon.source("fast")["failures"], 0);
}
