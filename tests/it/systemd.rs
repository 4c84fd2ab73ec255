//! What systemd sees: the unit file, and what the daemon tells it.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::daemon::Daemon;

#[test]
fn the_unit_is_accepted_and_rated_2_0_or_lower() {
    let unit = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/kawaraban.service")).unwrap();
    let installed = unit.replace("/usr/local/bin/kawaraban", env!("CARGO_BIN_EXE_kawaraban"));
    assert_ne!(unit, installed, "the unit starts something else");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kawaraban.service");
    fs::write(&path, installed).unwrap();
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).arg(&path).output();
    let Ok(verified) = analyze(&["verify"]) else {
        eprintln!("SKIPPED: systemd-analyze is not installed");
        return;
    };
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", String::from_utf8_lossy(&verified.stderr));
    let rated = analyze(&["security", "--offline=true", "--no-pager", "--threshold=20"]).unwrap();
    assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout));
}

#[test]
fn readiness_the_watchdog_and_the_end_are_told() {
    let daemon = Daemon::new("");
    let socket = daemon.dir().join("notify");
    let notified = UnixDatagram::bind(&socket).unwrap();
    notified.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut child = daemon
        .command(&["run"])
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "1000000")
        .env_remove("WATCHDOG_PID")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut until = |done: &dyn Fn(&str) -> bool| {
        let mut buffer = [0; 4096];
        while !done(&told) {
            let length = notified.recv(&mut buffer).unwrap_or_else(|error| panic!("{error} after: {told}"));
            told += &String::from_utf8_lossy(&buffer[..length]);
            told.push('\n');
        }
    };
    until(&|told| told.contains("READY=1") && told.contains("STATUS=") && told.matches("WATCHDOG=1").count() >= 2);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    until(&|told| told.contains("STOPPING=1"));
    assert!(child.wait().unwrap().success());
}
