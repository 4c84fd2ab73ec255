//! What a whole poll costs, store and all, beside a bare awc fetch of the same bytes in the same run.
//!
//! `cargo bench --bench poll`. The real program polls 2,000 sources of a loopback server once a second; the
//! figure is the CPU time of the whole process (kernel and all threads, from `schedstat`) by the polls that
//! the server answered meanwhile. The feed has 50 kB and 55 items; "changed" has one new item in each answer,
//! which goes to standard output. Everything is measured in turn, several times over: what else the machine does
//! can only add, so the least is what counts, and the most shows how quiet it was. Memory is that of the process
//! at the end, the most of all times.

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOURCES: usize = 2000;
const ITEMS: usize = 55;
const ROUNDS: usize = 5;
/// Longer than the daemon waits between two times that it saves the records of what did not change.
const SLICE: Duration = Duration::from_secs(6);

fn main() {
    // `cargo test --benches` only wants to see it run
    let measured = std::env::args().any(|arg| arg == "--bench");
    let (rounds, sources, fetches) = if measured { (ROUNDS, SOURCES, 20_000) } else { (1, 20, 64) };
    let modes = [
        ("the same bytes", Mode::Same, false),
        ("304", Mode::NotModified, false),
        ("changed", Mode::Changed, false),
        ("changed, kept connections", Mode::Changed, true),
    ];
    let mut bare_costs = Vec::new();
    let mut figures = modes.map(|_| (Vec::new(), 0));
    for _ in 0..rounds {
        bare_costs.push(bare(Server::start(Mode::Same).address, fetches));
        for ((_, mode, keep_alive), (costs, memory)) in modes.iter().zip(&mut figures) {
            let server = Server::start(*mode);
            let mut daemon = Daemon::start(&server, sources, *keep_alive);
            server.wait_for(2 * sources as u64);
            let (cpu, polls) = (daemon.cpu(), server.polls());
            std::thread::sleep(if measured { SLICE } else { Duration::from_secs(1) });
            let (cpu, polls) = (daemon.cpu() - cpu, server.polls() - polls);
            costs.push(cpu.as_secs_f64() * 1e6 / polls as f64);
            *memory = daemon.resident_kb().max(*memory);
        }
    }
    let least = |costs: &[f64]| costs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |costs: &[f64]| costs.iter().copied().fold(0.0, f64::max);
    println!("{:<34} {:>8} {:>7} {:>8} {:>10}", "CPU time of the whole process", "us/poll", "ratio", "most", "memory");
    let one = least(&bare_costs);
    println!("{:<34} {one:>8.1} {:>7.2} {:>8.1}", "bare awc fetch, fresh connection", 1.0, most(&bare_costs));
    for ((name, ..), (costs, memory)) in modes.iter().zip(&figures) {
        let each = least(costs);
        println!("{name:<34} {each:>8.1} {:>7.2} {:>8.1} {:>7.1} MB", each / one, most(costs), *memory as f64 / 1000.0);
    }
}

/// What the server answers.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Same,
    NotModified,
    Changed,
}

struct Server {
    address: SocketAddr,
    answered: Arc<AtomicU64>,
}

impl Server {
    fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let answered = Arc::new(AtomicU64::new(0));
        let counter = answered.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let tail: Arc<str> = (1..ITEMS).map(item).collect::<String>().into();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, mode, tail.clone(), counter.clone()));
                }
            });
        });
        Self { address, answered }
    }

    fn polls(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    fn wait_for(&self, polls: u64) {
        while self.polls() < polls {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn item(number: impl std::fmt::Display) -> String {
    let text = "One of the sentences of which such a description is made, neither short nor long. ".repeat(7);
    format!(
        "<item><title>Item {number} &amp; what it is about</title><link>https://news.example/{number}</link>\
         <guid isPermaLink=\"false\">tag:news.example,{number}</guid><pubDate>Mon, 23 Nov 2026 10:00:00 +0000</pubDate>\
         <category>anime</category><description><![CDATA[<p>{text}</p>]]></description></item>\n"
    )
}

async fn serve(mut stream: tokio::net::TcpStream, mode: Mode, tail: Arc<str>, answered: Arc<AtomicU64>) {
    let mut request = Vec::with_capacity(1024);
    loop {
        while !request.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
                return;
            }
        }
        let number = answered.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let answer = if mode == Mode::NotModified && text.contains("if-none-match") {
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_owned()
        } else {
            let first = item(if mode == Mode::Changed { number } else { 0 } + 1000);
            let body = format!(
                "<?xml version=\"1.0\"?>\n<rss version=\"2.0\"><channel><title>News</title>\n{first}{tail}</channel></rss>"
            );
            let etag = if mode == Mode::NotModified { "ETag: \"x\"\r\n" } else { "" };
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n{etag}Content-Length: {}\r\n\r\n{body}", body.len())
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || text.contains("connection: close") {
            return;
        }
        request.clear();
    }
}

/// Microseconds of the thread's CPU time for a fetch that awc makes alone, 64 at once.
fn bare(address: SocketAddr, fetches: usize) -> f64 {
    actix_rt::System::new().block_on(async {
        let before = thread_cpu("/proc/thread-self/schedstat");
        let worker = || async {
            for _ in 0..fetches / 64 {
                let client = awc::Client::builder().disable_redirects().finish();
                let request =
                    client.get(format!("http://{address}/")).insert_header(("User-Agent", "bench")).force_close();
                assert!(request.send().await.unwrap().body().await.unwrap().len() > 40_000);
            }
        };
        join_all((0..64).map(|_| worker())).await;
        (thread_cpu("/proc/thread-self/schedstat") - before).as_secs_f64() * 1e6 / (fetches / 64 * 64) as f64
    })
}

/// What the kernel has counted.
fn thread_cpu(path: &str) -> Duration {
    let text = fs::read_to_string(path).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0))
}

struct Daemon {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Daemon {
    fn start(server: &Server, sources: usize, keep_alive: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = format!(
            "state_dir = \"state\"\n[log]\nlevel = \"error\"\n[http]\nlisten = []\n\
             [fetch]\ninterval = \"1s\"\nallow_private_addresses = true\nkeep_alive = {keep_alive}\n"
        );
        for number in 0..sources {
            write!(config, "[[source]]\nname = \"s{number}\"\nurl = \"http://{}/{number}\"\n", server.address).unwrap();
        }
        let path = dir.path().join("kawaraban.toml");
        fs::write(&path, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kawaraban"));
        command.arg("--config").arg(path).stdout(Stdio::null()).stderr(Stdio::inherit());
        Self { child: command.spawn().unwrap(), _dir: dir }
    }

    fn cpu(&mut self) -> Duration {
        assert!(self.child.try_wait().unwrap().is_none(), "the daemon ended");
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.filter_map(Result::ok).map(|task| thread_cpu(&task.path().join("schedstat").to_string_lossy())).sum()
    }

    fn resident_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
