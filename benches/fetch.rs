//! What an attempt costs beside a bare awc fetch and a bare TCP exchange, in one run.
//!
//! `cargo bench --bench fetch`. Counted is the CPU time of the client's thread (`schedstat` of the
//! kernel), 64 attempts at once, over loopback, against a server on a thread of its own that writes ready
//! made answers. The contestants take turns, and a figure is the median of the rounds: ratios hold on a
//! machine that does other things too, the microseconds do not.

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::join_all;
use kawaraban::{
    config::RequestSettings,
    fetch::{Answer, Fetcher, Tls, Validators},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

const BODY: usize = 50_000;
const AT_ONCE: usize = 64;

fn main() {
    // `cargo test --benches` only wants to see it run
    let (rounds, attempts) = if std::env::args().any(|arg| arg == "--bench") { (15, 2048) } else { (1, AT_ONCE) };
    let whole = Server::start(answer("200 OK", "Content-Type: text/xml\r\nETag: \"x\"\r\n", &vec![b'x'; BODY]));
    let unchanged = Server::start(b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_vec());
    let chunked = Server::start(chunked());

    let contestants: Vec<(&str, Contestant)> = vec![
        ("bare awc, 50 kB, fresh connection", Box::new(move |n| measure(n, || awc_fetch(whole.address)))),
        ("bare TCP, the same", Box::new(move |n| measure(n, || raw(whole.address)))),
        ("attempt, 50 kB, fresh connection", Box::new(move |n| fetch(n, whole.address, false, false))),
        ("attempt, 50 kB, kept connection", Box::new(move |n| fetch(n, whole.address, true, false))),
        ("attempt, 50 kB chunked, fresh", Box::new(move |n| fetch(n, chunked.address, false, false))),
        ("attempt, 304, fresh connection", Box::new(move |n| fetch(n, unchanged.address, false, true))),
        ("attempt, 304, kept connection", Box::new(move |n| fetch(n, unchanged.address, true, true))),
    ];
    let mut figures = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for ((_, run), figures) in contestants.iter().zip(&mut figures) {
            figures.push(run(attempts));
        }
    }
    let medians: Vec<f64> = figures.iter_mut().map(|figures| median(figures)).collect();
    println!("{:<36} {:>10} {:>8}", "CPU time of the client's thread", "us/attempt", "ratio");
    for ((name, _), median) in contestants.iter().zip(&medians) {
        println!("{name:<36} {median:>10.1} {:>8.2}", median / medians[0]);
    }
}

type Contestant = Box<dyn Fn(usize) -> f64>;

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Microseconds of CPU time an attempt.
fn measure<F: Future<Output = ()>>(attempts: usize, attempt: impl Fn() -> F) -> f64 {
    let workers = (0..AT_ONCE).map(|_| attempt_in_turn(attempts / AT_ONCE, &attempt));
    run(attempts, join_all(workers))
}

async fn attempt_in_turn<F: Future<Output = ()>>(times: usize, attempt: &impl Fn() -> F) {
    for _ in 0..times {
        attempt().await;
    }
}

/// One fetcher for each place, as the daemon has one for each source.
fn fetch(attempts: usize, address: SocketAddr, keep_alive: bool, conditional: bool) -> f64 {
    let tls = Tls::new().with_roots(&Arc::default());
    let url = Url::parse(&format!("http://{address}/feed.xml")).unwrap();
    let workers: Vec<Fetcher> =
        (0..AT_ONCE).map(|_| Fetcher::new(url.clone(), Arc::new(settings(keep_alive)), Arc::clone(&tls))).collect();
    let validators =
        if conditional { Validators { etag: Some("\"x\""), last_modified: None } } else { Validators::default() };
    let work = workers.iter().map(|fetcher| async move {
        for _ in 0..attempts / AT_ONCE {
            match fetcher.get(validators).await {
                Ok(Answer::Document(document)) if !conditional => assert_eq!(document.body.len(), BODY),
                Ok(Answer::NotModified(_)) if conditional => {}
                other => panic!("{other:?}"),
            }
        }
    });
    run(attempts, join_all(work))
}

fn run(attempts: usize, work: impl Future) -> f64 {
    actix_rt::System::new().block_on(async {
        let before = thread_cpu();
        work.await;
        (thread_cpu() - before).as_secs_f64() * 1e6 / attempts as f64
    })
}

/// What the kernel has counted for this thread.
fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts CPU time here");
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).unwrap())
}

async fn awc_fetch(address: SocketAddr) {
    let client = awc::Client::builder().disable_redirects().finish();
    let request = client.get(format!("http://{address}/feed.xml")).insert_header(("User-Agent", "bench")).force_close();
    let body = request.send().await.unwrap().body().await.unwrap();
    assert_eq!(body.len(), BODY);
}

async fn raw(address: SocketAddr) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /feed.xml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut received = Vec::with_capacity(BODY + 1024);
    while stream.read_buf(&mut received).await.unwrap() > 0 {}
    assert!(received.len() > BODY);
}

fn settings(keep_alive: bool) -> RequestSettings {
    RequestSettings {
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(10),
        max_body: 8 << 20,
        max_redirects: 5,
        keep_alive,
        user_agent: "bench".into(),
        proxy: None,
        extra_roots: Arc::default(),
        allow_private_addresses: true,
        headers: Vec::new(),
        basic_auth: None,
        post: None,
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chunked() -> Vec<u8> {
    let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in vec![b'x'; BODY].chunks(8192) {
        wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

/// Answers every request with the same bytes; closes where the request says so.
#[derive(Clone, Copy)]
struct Server {
    address: SocketAddr,
}

impl Server {
    fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _detached: JoinHandle<()> = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            listener.set_nonblocking(true).unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let answer: Arc<[u8]> = answer.into();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&answer)));
                }
            });
        });
        Self { address }
    }
}

async fn serve(mut stream: tokio::net::TcpStream, answer: Arc<[u8]>) {
    let mut request = Vec::with_capacity(1024);
    loop {
        while !request.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
                return;
            }
        }
        let close = request.to_ascii_lowercase().windows(17).any(|line| line == b"connection: close");
        if stream.write_all(&answer).await.is_err() || close {
            return;
        }
        request.clear();
    }
}
