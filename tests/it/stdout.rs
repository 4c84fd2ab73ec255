//! Standard output whose reader pauses, that is full, non-blocking or closed: each line whole, none lost, none twice.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::fd::OwnedFd,
    process::Stdio,
    time::Duration,
};

use kawaraban::{
    delivery::stdout::{End, Stdout, Written},
    model::Name,
};
use rustix::{
    pipe::{PipeFlags, pipe, pipe_with},
    process::Signal,
};
use serde_json::Value;

use crate::support::{
    daemon::Daemon,
    disk::SmallDisk,
    farm::{Entry, Farm, FeedHandle},
};

/// With one destination, of this name.
fn config(feed: &FeedHandle, destination: &str) -> String {
    format!(
        "[fetch]\ninterval = \"100ms\"\nallow_private_addresses = true\nbackfill = \"all\"\n[[source]]\nname = \"a\"\nurl = \"{}\"\n[[destination]]\nname = \"{destination}\"\nkind = \"stdout\"\n",
        feed.url()
    )
}

/// A feed of items with long texts: a pipe holds some dozen of them.
fn long_items(items: usize) -> (Farm, FeedHandle, Vec<String>) {
    let farm = Farm::start();
    let feed = farm.feed("a");
    feed.set_window(items);
    let text = |number: usize| "x".repeat(if number.is_multiple_of(10) { 9000 } else { 1500 });
    let entries: Vec<Entry> =
        (1..=items).map(|number| Entry { text: text(number), ..Entry::numbered("a", number) }).collect();
    let titles = entries.iter().map(|entry| entry.title.clone()).collect();
    feed.push(entries);
    (farm, feed, titles)
}

fn title(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("a torn line ({error}): {line}"));
    value["item"]["title"].as_str().unwrap().to_owned()
}

fn titles(text: &str) -> Vec<String> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    text.lines().map(title).collect()
}

/// Reads as many lines from a pipe as are due, then says what they are.
fn read_lines(reader: &mut impl BufRead, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "{} of {count} lines came", lines.len());
        lines.push(title(line.trim_end()));
    }
    lines
}

fn paused_and_reloaded(flags: PipeFlags) {
    let (_farm, feed, due) = long_items(400);
    let (read, write) = pipe_with(flags | PipeFlags::CLOEXEC).unwrap();
    let mut daemon = Daemon::new(&config(&feed, "stdout"));
    daemon.restart_to(Stdio::from(write));
    let waits = |daemon: &Daemon| {
        let health = daemon.health();
        let stdout = &health["destinations"]["stdout"];
        stdout["status"] == "degraded" && stdout["queued"].as_u64().unwrap() >= 300
    };
    daemon.wait("what waits is told", waits);
    daemon.configure(&config(&feed, "other"));
    daemon.signal(Signal::HUP);
    daemon.wait("it is reloaded", |daemon| daemon.log().contains("configuration reloaded"));
    // its name comes back while its first life may still write
    daemon.configure(&config(&feed, "stdout"));
    daemon.signal(Signal::HUP);
    // a non-blocking end of ours would be the writer's too
    let reader = std::thread::spawn(move || {
        let mut reader = BufReader::new(Blocking(read));
        let lines = read_lines(&mut reader, 400);
        (lines, reader)
    });
    let (lines, mut reader) = reader.join().unwrap();
    assert_eq!(lines, due);
    daemon.wait("all are acknowledged", |daemon| daemon.health()["destinations"]["stdout"]["queued"] == 0);
    let (status, _) = daemon.terminate();
    assert!(status.success());
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "lines were written twice");
}

/// The reading end of a pipe that may be non-blocking.
struct Blocking(OwnedFd);

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_millis(2)),
                result => return Ok(result?),
            }
        }
    }
}

#[test]
fn a_reader_that_pauses_over_reloads_gets_each_line_once() {
    paused_and_reloaded(PipeFlags::empty());
}

#[test]
fn a_non_blocking_pipe_gets_each_line_once() {
    paused_and_reloaded(PipeFlags::NONBLOCK);
}

#[test]
fn an_end_while_nobody_reads_is_quick_and_the_next_run_goes_on_where_it_stopped() {
    let (_farm, feed, due) = long_items(200);
    let (read, write) = pipe().unwrap();
    let mut daemon = Daemon::new(&config(&feed, "stdout"));
    daemon.restart_to(Stdio::from(write.try_clone().unwrap()));
    daemon.wait("the pipe is full", |daemon| daemon.health()["destinations"]["stdout"]["status"] == "degraded");
    // a long line may be begun, and is given a moment: it is read by then
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        read_lines(&mut BufReader::new(File::from(read)), 200)
    });
    let (status, took) = daemon.terminate();
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
    daemon.restart_to(Stdio::from(write));
    assert_eq!(reader.join().unwrap(), due);
    daemon.wait("all are acknowledged", |daemon| daemon.health()["destinations"]["stdout"]["queued"] == 0);
}

#[test]
fn a_full_disk_tears_no_line_and_repeats_none() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 1) else { return };
    let (_farm, feed, due) = long_items(100);
    let path = dir.path().join("disk/lines");
    let open = || File::options().create(true).append(true).open(&path).unwrap();
    fs::write(dir.path().join("disk/filler"), vec![b'x'; 950_000]).unwrap();
    let mut daemon = Daemon::new(&config(&feed, "stdout"));
    daemon.restart_to(Stdio::from(open()));
    daemon.wait("it is told", |daemon| {
        let health = daemon.health();
        let stdout = &health["destinations"]["stdout"];
        stdout["status"] == "degraded" && stdout["queued"].as_u64().unwrap() > 0
    });
    let some = titles(&fs::read_to_string(&path).unwrap());
    assert!(due.starts_with(&some) && some.len() < due.len());
    daemon.terminate();
    daemon.restart_to(Stdio::from(open()));
    daemon.wait("it is told again", |daemon| daemon.health()["destinations"]["stdout"]["status"] == "degraded");
    disk.free();
    daemon.wait("all is written", |daemon| daemon.health()["destinations"]["stdout"]["queued"] == 0);
    assert_eq!(titles(&fs::read_to_string(&path).unwrap()), due);
}

#[test]
fn a_closed_pipe_is_told_with_what_waits() {
    let (_farm, feed, _) = long_items(10);
    let (read, write) = pipe().unwrap();
    drop(read);
    let mut daemon = Daemon::new(&config(&feed, "stdout"));
    daemon.restart_to(Stdio::from(write));
    daemon.wait("it is told", |daemon| {
        let stdout = &daemon.health()["destinations"]["stdout"];
        stdout["status"] == "degraded" && stdout["queued"] == 10 && stdout["last_error"]["kind"] == "closed_early"
    });
    feed.publish(5);
    daemon.wait("what comes later is counted", |daemon| daemon.health()["destinations"]["stdout"]["queued"] == 15);
    let (status, took) = daemon.terminate();
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
}

fn wait(writing: kawaraban::delivery::stdout::Writing) -> Written {
    actix::System::new().block_on(writing.done())
}

#[test]
fn a_new_life_writes_no_line_again_and_finishes_what_was_begun() {
    let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
    let (stdout, name) = (Stdout::to(write), Name::new("lines").unwrap());
    let lines: Vec<String> = (0..100).map(|n| format!("{n} {}\n", "x".repeat(9000))).collect();
    let first = stdout.write(&name, lines.clone());
    let withdraw = first.withdraw();
    // five lines and a page of the sixth fill the pipe
    while rustix::io::ioctl_fionread(&read).unwrap() < 49_000 {
        std::thread::sleep(Duration::from_millis(2));
    }
    withdraw();
    let first = wait(first);
    assert!(matches!(first.end, End::Withdrawn) && first.lines == 5, "{first:?}");
    // it died before it could say so: the next life leases the same lines
    let second = stdout.write(&name, lines.clone());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        BufReader::new(Blocking(read)).read_to_string(&mut text).unwrap();
        text
    });
    let second = wait(second);
    assert!(matches!(second.end, End::Done) && second.lines == 100, "{second:?}");
    let third = wait(stdout.write(&name, lines[90..].to_vec()));
    assert_eq!(third.lines, 10, "they are out");
    stdout.settled(&name, lines.iter().map(|line| line.trim_end()));
    let again = wait(stdout.write(&name, vec![lines[0].clone()]));
    assert_eq!(again.lines, 1);
    drop(stdout);
    assert!(reader.join().unwrap() == lines.concat() + &lines[0]);
}
