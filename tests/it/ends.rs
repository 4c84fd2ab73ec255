//! The end of the process, and its first moments: signals are heard from the start, and SIGTERM ends it in
//! time with status 0, whatever hangs.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{
    daemon::Daemon,
    farm::{Farm, FeedHandle},
    receiver::Receiver,
    shim,
};

/// As the guarantee has it.
const IN_TIME: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

const FAST: &str = r#"
[fetch]
interval = "50ms"
allow_private_addresses = true
backfill = "all"
"#;

fn source(feed: &FeedHandle) -> String {
    format!("[[source]]\nname = \"{}\"\nurl = \"{}\"\n", feed.name(), feed.url())
}

fn webhook(receiver: &Receiver) -> String {
    format!("[[destination]]\nname = \"out\"\nkind = \"webhook\"\nurl = \"{}\"\n", receiver.url())
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// SIGTERM; the status, if it ended in time.
fn terminate(child: &mut Child) -> (ExitStatus, Duration) {
    signal(child, Signal::TERM);
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, start.elapsed());
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ends_in_time(child: &mut Child) {
    let (status, took) = terminate(child);
    assert!(status.success() && took < IN_TIME, "{status} after {took:?}");
}

/// A pipe that holds so many bytes is full: it takes 64 kB, and less of writes that do not share its pages.
const FILLED: u64 = 40_000;

/// Bytes that wait in a pipe.
fn waiting(pipe: impl std::os::fd::AsFd) -> u64 {
    rustix::io::ioctl_fionread(pipe).unwrap()
}

#[test]
fn a_log_that_nobody_reads_stops_neither_the_work_nor_the_end_and_says_what_it_dropped() {
    let (farm, receiver) = (Farm::start(), Receiver::start());
    let feed = farm.feed("feed0");
    // each attempt of these is a line
    let refused = (0..40).map(|n| format!("[[source]]\nname = \"bad{n}\"\nurl = \"{}\"\n", farm.refusing_url()));
    let retry = "[fetch.retry]\nattempts = 10\nmin_backoff = \"1ms\"\nmax_backoff = \"1ms\"\n\
                 [fetch.breaker]\nfailures = 1000000\n";
    let daemon =
        Daemon::new(&(FAST.to_owned() + retry + &webhook(&receiver) + &source(&feed) + &refused.collect::<String>()));
    let mut child = daemon.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = child.stderr.take().unwrap();
    let attempts = || {
        let health = daemon.health();
        let sources = health["sources"].as_object();
        sources.map_or(0, |sources| sources.values().filter_map(|source| source["attempts"].as_u64()).sum::<u64>())
    };
    // more lines than pipe and channel hold
    until("the log is full", || waiting(&log) >= FILLED && attempts() > 7000);
    feed.publish(5);
    until("the work goes on", || receiver.requests().len() == 5);
    // somebody reads
    let mut text = Vec::new();
    let mut buffer = vec![0; 65_536];
    let start = Instant::now();
    while !String::from_utf8_lossy(&text).contains("dropped") {
        assert!(start.elapsed() < PATIENCE, "nothing says that lines were dropped");
        let read = log.read(&mut buffer).unwrap();
        text.extend_from_slice(&buffer[..read]);
    }
    // and then nobody again
    let before = attempts();
    until("the log is full again", || waiting(&log) >= FILLED && attempts() > before + 7000);
    ends_in_time(&mut child);
}

#[test]
fn a_log_whose_reader_has_gone_stops_neither_the_work_nor_the_end() {
    let (farm, receiver) = (Farm::start(), Receiver::start());
    let feed = farm.feed("feed0");
    for format in ["json", "terminal"] {
        let before = receiver.requests().len();
        let daemon = Daemon::new(&(FAST.to_owned() + &webhook(&receiver) + &source(&feed)));
        let mut command = daemon.command(&["--log-format", format, "run"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stderr.take());
        feed.publish(5);
        until("items arrive", || receiver.requests().len() >= before + 5);
        ends_in_time(&mut child);
    }
}

#[test]
fn an_output_that_nobody_reads_does_not_hold_up_the_end() {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.set_window(2000);
    feed.publish(2000);
    let daemon = Daemon::new(&(FAST.to_owned() + &source(&feed)));
    let mut child = daemon.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    until("the pipe is full", || waiting(&output) >= FILLED);
    ends_in_time(&mut child);
}

#[test]
fn a_name_that_nobody_resolves_does_not_hold_up_the_end() {
    // a resolver that takes every question and answers none needs port 53, in a network of its own
    let daemon =
        Daemon::new("[fetch]\ninterval = \"1s\"\n[[source]]\nname = \"a\"\nurl = \"http://silent.example/\"\n");
    let resolv = daemon.dir().join("resolv.conf");
    fs::write(&resolv, "nameserver 127.0.0.1\noptions timeout:20 attempts:2\n").unwrap();
    let program = env!("CARGO_BIN_EXE_kawaraban");
    let asked = daemon.dir().join("asked");
    let script = format!(
        "ip link set lo up && mount --bind {resolv} /etc/resolv.conf && \
         python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"127.0.0.1\", 53)); \
         s.recv(512); open(\"{asked}\", \"w\"); s.recv(512); [s.recv(512) for _ in iter(int, 1)]' & \
         resolver=$!; sleep 0.2; {program} --config {config} run & child=$!; trap 'kill $child' TERM; \
         wait $child; wait $child; status=$?; kill -9 $resolver; exit $status",
        resolv = resolv.display(),
        asked = asked.display(),
        config = daemon.config().display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "sh", "-c", &script]).stdin(Stdio::null()).process_group(0);
    let allowed = Command::new("unshare").args(["--mount", "--net", "ip", "link"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: a network of its own needs root");
        return;
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the name is asked for", || asked.exists());
    ends_in_time(&mut child);
}

#[test]
fn a_store_that_syncs_slowly_does_not_hold_up_the_end() {
    let Some(shim) = shim::build("disk") else { return };
    let (farm, receiver) = (Farm::start(), Receiver::start());
    let feed = farm.feed("feed0");
    let daemon = Daemon::new(&(FAST.to_owned() + &webhook(&receiver) + &source(&feed)));
    let slow = daemon.dir().join("slow");
    let mut command = daemon.command(&["run"]);
    command
        .env("LD_PRELOAD", shim)
        .env("SHIM_DIR", daemon.state())
        .env("SHIM_SWITCH", &slow)
        .env("SHIM_SYNC_MS", "9000");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    feed.publish(1);
    until("the first item arrives", || receiver.requests().len() == 1);
    fs::write(&slow, "").unwrap();
    // the poll that has it is followed by none while the store syncs
    feed.publish(1);
    until("it is read", || feed.requests().last().is_some_and(|request| request.header("if-none-match").is_some()));
    until("the store syncs", || {
        let polls = feed.requests().len();
        std::thread::sleep(Duration::from_millis(500));
        feed.requests().len() == polls
    });
    ends_in_time(&mut child);
}

/// A daemon whose configuration is being read for as long as the test wants: a secret comes from a pipe.
struct Starting {
    daemon: Daemon,
    secret: std::path::PathBuf,
}

impl Starting {
    fn spawn(farm: &Farm) -> Self {
        let feed = farm.feed("feed0");
        feed.publish(1);
        let hook = "[[destination]]\nname = \"out\"\nkind = \"webhook\"\nurl = { file = \"secret\" }\n";
        let mut daemon = Daemon::new(&(FAST.to_owned() + hook + &source(&feed)));
        let secret = daemon.dir().join("secret");
        assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&secret).status().unwrap().success());
        daemon.spawn();
        Self { daemon, secret }
    }

    /// Waits until somebody reads the secret.
    fn is_read(&self) -> fs::File {
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        let open = || fs::OpenOptions::new().write(true).custom_flags(flags).open(&self.secret);
        let start = Instant::now();
        loop {
            match open() {
                Ok(pipe) => return pipe,
                Err(error) => assert!(start.elapsed() < PATIENCE, "nobody reads the configuration: {error}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the daemon reads the secret, then does something, then lets it read.
    fn give(&self, receiver: &Receiver, meanwhile: impl FnOnce(&Daemon)) {
        let mut pipe = self.is_read();
        meanwhile(&self.daemon);
        pipe.write_all(receiver.url().as_bytes()).unwrap();
    }
}

#[test]
fn a_hangup_while_it_starts_is_a_reload_once_it_runs() {
    let (farm, receiver) = (Farm::start(), Receiver::start());
    let starting = Starting::spawn(&farm);
    starting.give(&receiver, |daemon| daemon.signal(Signal::HUP));
    starting.daemon.wait("it starts", |daemon| daemon.log().contains("\"started\""));
    starting.give(&receiver, |_| {});
    let mut daemon = starting.daemon;
    daemon.wait("it reloads", |daemon| daemon.log().contains("configuration reloaded"));
    daemon.wait("the item arrives", |_| receiver.requests().len() == 1);
    assert!(daemon.terminate().0.success());
}

#[test]
fn a_termination_while_it_starts_is_a_clean_end() {
    let (farm, receiver) = (Farm::start(), Receiver::start());
    let mut starting = Starting::spawn(&farm);
    starting.give(&receiver, |daemon| daemon.signal(Signal::TERM));
    let status = starting.daemon.ended();
    assert!(status.success(), "{status}: {}", starting.daemon.log());
    assert!(farm.requests().is_empty(), "it polls, and is about to end");
}

#[test]
fn a_start_that_hangs_does_not_hold_up_the_end() {
    let farm = Farm::start();
    let mut starting = Starting::spawn(&farm);
    let pipe = starting.is_read();
    let (status, took) = starting.daemon.terminate();
    assert!(status.success() && took < IN_TIME, "{status} after {took:?}");
    drop(pipe);
}

#[test]
fn other_commands_end_by_a_signal_as_programs_do() {
    use std::os::unix::process::ExitStatusExt;
    let farm = Farm::start();
    let mut starting = Starting::spawn(&farm);
    starting.daemon.kill();
    let mut check = starting.daemon.command(&["check"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pipe = starting.is_read();
    let (status, _) = terminate(&mut check);
    assert_eq!(status.signal(), Some(15), "{status}");
    drop(pipe);
}
