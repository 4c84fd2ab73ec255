//! What systemd holds the unit and the daemon to.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{daemon::Daemon, disk::SmallDisk, farm::Farm};

const PATIENCE: Duration = Duration::from_secs(60);

/// The unit with the program that was built; None, and said, where systemd-analyze is missing.
fn analyze(dir: &Path, arguments: &[&str]) -> Option<Output> {
    let unit = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/kawaraban.service")).unwrap();
    let line = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    let (_, arguments_of_ours) = line.split_once(' ').unwrap();
    let built = format!("ExecStart={} {arguments_of_ours}", env!("CARGO_BIN_EXE_kawaraban"));
    let path = dir.join("kawaraban.service");
    fs::write(&path, unit.replace(line, &built)).unwrap();
    match Command::new("systemd-analyze").args(arguments).arg(&path).stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: systemd-analyze: {error}");
            None
        }
    }
}

#[test]
fn systemd_finds_nothing_to_complain_of_in_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let Some(output) = analyze(dir.path(), &["verify", "--man=no"]) else { return };
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    // what it says of the machine's own units is none of ours
    let ours: Vec<_> = told.lines().filter(|line| line.contains("kawaraban")).collect();
    assert!(output.status.success() && ours.is_empty(), "{}: {told}", output.status);
}

#[test]
fn the_unit_exposes_little() {
    let dir = tempfile::tempdir().unwrap();
    let Some(output) = analyze(dir.path(), &["security", "--offline=yes", "--threshold=20"]) else { return };
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let level = told.lines().find(|line| line.contains("Overall exposure level")).unwrap_or(&told);
    assert!(output.status.success(), "{level} {}", String::from_utf8_lossy(&output.stderr));
    println!("{level}");
}

/// Where the daemon's words to systemd arrive.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn new(daemon: &Daemon) -> Self {
        let socket = UnixDatagram::bind(daemon.dir().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, heard: Vec::new() }
    }

    /// Hears of one assignment after the other until one is this; gives it back.
    fn hear(&mut self, beginning: &str) -> String {
        let start = Instant::now();
        let mut bytes = [0; 4096];
        loop {
            if let Some(at) = self.heard.iter().position(|line| line.starts_with(beginning)) {
                return self.heard.drain(..=at).next_back().unwrap();
            }
            assert!(start.elapsed() < PATIENCE, "no {beginning}: {:?}", self.heard);
            if let Ok(length) = self.socket.recv(&mut bytes) {
                let text = std::str::from_utf8(&bytes[..length]).unwrap();
                self.heard.extend(text.lines().map(str::to_owned));
            }
        }
    }

    /// Forgets what was said until now.
    fn forget(&mut self) {
        while self.socket.recv(&mut [0; 4096]).is_ok() {}
        self.heard.clear();
    }
}

/// The daemon as a manager starts it; it ends with the test.
struct Service(Child);

impl Service {
    fn start(daemon: &Daemon) -> Self {
        let mut command = daemon.command(&["run"]);
        command.env("NOTIFY_SOCKET", daemon.dir().join("notify")).env("WATCHDOG_USEC", "2000000");
        command.env_remove("WATCHDOG_PID").stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_manager_hears_ready_a_status_that_it_lives_and_that_it_stops() {
    let farm = Farm::start();
    let feed = farm.feed("feed0");
    feed.publish(1);
    let source =
        format!("[fetch]\nallow_private_addresses = true\n[[source]]\nname = \"a\"\nurl = \"{}\"\n", feed.url());
    let daemon = Daemon::new(&source);
    let mut manager = Manager::new(&daemon);
    let mut service = Service::start(&daemon);
    manager.hear("READY=1");
    assert_eq!(daemon.get("/health/ready").unwrap().0, 200, "it is ready when it says so");
    let status = manager.hear("STATUS=");
    assert!(status.contains("ok: 1 of 1 sources ok"), "{status}");
    let start = Instant::now();
    for _ in 0..3 {
        manager.hear("WATCHDOG=1");
    }
    println!("three times within {:?}", start.elapsed());
    service.signal(Signal::TERM);
    manager.hear("STOPPING=1");
    assert!(service.0.wait().unwrap().success());
}

#[test]
fn a_daemon_that_hangs_no_longer_says_that_it_lives() {
    let daemon = Daemon::new("");
    let mut manager = Manager::new(&daemon);
    let service = Service::start(&daemon);
    manager.hear("WATCHDOG=1");
    service.signal(Signal::STOP);
    manager.forget();
    // longer than WATCHDOG_USEC: by now systemd has ended it
    std::thread::sleep(Duration::from_millis(2500));
    assert!(manager.socket.recv(&mut [0; 4096]).is_err(), "something was said by a process that stands still");
    service.signal(Signal::CONT);
    manager.hear("WATCHDOG=1");
}

#[test]
fn a_daemon_that_waits_for_room_on_the_disk_is_not_taken_for_one_that_does_not_start() {
    let daemon = Daemon::new("");
    let Some(disk) = SmallDisk::mount(&daemon.state(), 16) else { return };
    disk.fill();
    let mut manager = Manager::new(&daemon);
    let _service = Service::start(&daemon);
    // systemd would end it after TimeoutStartSec, again and again, if it were not asked for more time
    let more = manager.hear("EXTEND_TIMEOUT_USEC=");
    let usec: u64 = more.split('=').next_back().unwrap().parse().unwrap();
    assert!(usec >= 20_000_000, "{more}");
    let status = manager.hear("STATUS=");
    assert!(status.contains("store"), "{status}");
    disk.free();
    manager.hear("READY=1");
}
