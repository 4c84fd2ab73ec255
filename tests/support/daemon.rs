//! The real program as a process: started, asked over its Unix socket, killed, started again.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::names::{self, NameServer};

/// Generous: a condition that holds ends the wait at once, and a slow machine is no failure.
const PATIENCE: Duration = Duration::from_secs(90);

/// A daemon with a directory of its own.
pub struct Daemon {
    dir: tempfile::TempDir,
    child: Option<Child>,
    env: Vec<(String, String)>,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    /// Files that it sees in place of those of `/etc`.
    etc: Option<PathBuf>,
    /// How many files it may have open.
    open_files: Option<u64>,
}

impl Daemon {
    /// Writes the configuration; `[http]` is put before it, listening on a socket in the directory.
    pub fn new(config: &str) -> Self {
        let daemon = Self {
            dir: tempfile::tempdir().unwrap(),
            child: None,
            env: Vec::new(),
            stdout: Arc::default(),
            stderr: Arc::default(),
            readers: Vec::new(),
            etc: None,
            open_files: None,
        };
        daemon.configure(config);
        daemon
    }

    /// A new one that asks this name server.
    pub fn asking(names: &NameServer, config: &str) -> Self {
        let mut daemon = Self::new(config);
        daemon.etc = Some(names.etc().to_owned());
        daemon
    }

    /// A new one that may have so many files open.
    pub fn with_open_files(limit: u64, config: &str) -> Self {
        let mut daemon = Self::new(config);
        daemon.open_files = Some(limit);
        daemon
    }

    /// A new, started one.
    pub fn start(config: &str) -> Self {
        let mut daemon = Self::new(config);
        daemon.restart();
        daemon
    }

    /// Replaces the configuration file.
    pub fn configure(&self, config: &str) {
        let text = format!(
            "state_dir = \"state\"\n[http]\nlisten = [\"unix:{}\"]\n[log]\nlevel = \"debug\"\nformat = \"json\"\n{config}",
            self.socket().display()
        );
        fs::write(self.config(), text).unwrap();
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("kawaraban.toml")
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The directory of everything.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("http.sock")
    }

    /// The program with this configuration and further arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let Some(program) = option_env!("CARGO_BIN_EXE_kawaraban") else { panic!("only tests are told where it is") };
        let mut command = match (&self.etc, self.open_files) {
            (Some(etc), _) => names::within(etc, program),
            (None, Some(limit)) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={limit}:{limit}")).arg(program);
                command
            }
            (None, None) => Command::new(program),
        };
        command.arg("--config").arg(self.config()).args(arguments).stdin(Stdio::null());
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "STATE_DIRECTORY", "JOURNAL_STREAM", "KAWARABAN_CONFIG"] {
            command.env_remove(name);
        }
        command
    }

    /// Sets an environment variable of every later start.
    pub fn set_env(&mut self, name: &str, value: impl ToString) {
        self.env.retain(|(other, _)| other != name);
        self.env.push((name.to_owned(), value.to_string()));
    }

    /// Starts it, and waits until it answers.
    pub fn restart(&mut self) {
        self.spawn();
        self.wait("it answers", |daemon| daemon.get("/health/live").is_some());
    }

    /// Starts it without waiting.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = self.command(&["run"]);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.readers.push(collect(child.stdout.take().unwrap(), self.stdout.clone()));
        self.readers.push(collect(child.stderr.take().unwrap(), self.stderr.clone()));
        self.child = Some(child);
    }

    /// Starts it with another standard output, and waits until it answers.
    pub fn restart_to(&mut self, stdout: Stdio) {
        assert!(self.child.is_none(), "it runs already");
        let mut child = self.command(&["run"]).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        self.readers.push(collect(child.stderr.take().unwrap(), self.stderr.clone()));
        self.child = Some(child);
        self.wait("it answers", |daemon| daemon.get("/health/live").is_some());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it ended before it was killed: {status}\n{}", self.log());
        self.drain();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().expect("it runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
    }

    /// SIGTERM; how it ended, and how long that took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.signal(rustix::process::Signal::TERM);
        let start = Instant::now();
        let status = self.child.take().expect("it runs").wait().unwrap();
        self.drain();
        (status, start.elapsed())
    }

    /// Waits until it ends by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let status = self.child.take().expect("it runs").wait().unwrap();
        self.drain();
        status
    }

    fn drain(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Threads of the process.
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().count()
    }

    /// Resident memory in kB.
    pub fn resident_kb(&self) -> u64 {
        self.status_kb("VmRSS:")
    }

    /// The most resident memory so far, in kB.
    pub fn peak_kb(&self) -> u64 {
        self.status_kb("VmHWM:")
    }

    fn status_kb(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Lines of its standard output, over all its lives.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Titles of the items on its standard output.
    pub fn titles(&self) -> Vec<String> {
        let title = |line: &String| {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            value["item"]["title"].as_str().unwrap_or_default().to_owned()
        };
        self.stdout().iter().map(title).collect()
    }

    /// Its log, over all its lives.
    pub fn log(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Status and body of a GET; none if it does not answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// Status and body of an answer to this request.
    pub fn request(&self, request: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// `/health` as JSON.
    pub fn health(&self) -> Value {
        self.get("/health").and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or(Value::Null)
    }

    /// One source's object in `/health`.
    pub fn source(&self, name: &str) -> Value {
        self.health()["sources"][name].clone()
    }

    /// Waits for a condition.
    pub fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain: {what}\nhealth: {:#}\nlog:\n{}",
                self.health(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn collect(stream: impl Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            into.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}
