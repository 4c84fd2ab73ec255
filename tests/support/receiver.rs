//! A receiver for plain webhooks: takes any request, answers 204 or what it was told, and records.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::wire;

/// A request as it came, with its body.
#[derive(Debug, Clone)]
pub struct Received {
    /// When it was there as a whole.
    pub at: Instant,
    /// `POST`
    pub method: String,
    /// With the query.
    pub path: String,
    /// In order, as sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Of the answer.
    pub status: u16,
}

impl Received {
    /// A header's value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Its body; null if that is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A running receiver, with a thread of its own; ends when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Told>,
    requests: Vec<Received>,
    held: bool,
}

/// An answer, and for how many requests.
struct Told {
    status: u16,
    headers: Vec<(String, String)>,
    times: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Starts on a free port.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("receiver".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::spawn(accept(listener, served));
                let _ = stopped.await;
            });
        });
        let address = told.recv().expect("the receiver's thread starts");
        Self { address, shared, stop: Some(stop), thread: Some(thread.unwrap()) }
    }

    /// `http://127.0.0.1:PORT/hook`
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers the next so many requests with this status and these headers; `usize::MAX`: all.
    pub fn push_answer(&self, status: u16, headers: &[(&str, &str)], times: usize) {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        if times > 0 {
            self.shared.lock().answers.push_back(Told { status, headers, times });
        }
    }

    /// Requests are taken and wait for their answer until [`Receiver::release`].
    pub fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// Answers what waits, and from now on at once.
    pub fn release(&self) {
        self.shared.lock().held = false;
    }

    /// Every request, in order.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.lock().requests.clone()
    }

    /// Waits until there were so many requests; panics at the deadline.
    pub fn wait_for(&self, count: usize, deadline: Instant) -> Vec<Received> {
        let mut state = self.shared.lock();
        while state.requests.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen: Vec<u16> = state.requests.iter().map(|request| request.status).collect();
                drop(state);
                panic!("the receiver got {} of {count} requests, answered with {seen:?}", seen.len());
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.requests.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let shared = Arc::clone(&shared);
        // a client that goes away ends its connection, nothing else
        tokio::spawn(async move { drop(connection(stream, &shared).await) });
    }
}

async fn connection(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let mut received = Vec::new();
    while let Some(head) = wire::head(&mut stream, &mut received).await? {
        let body = wire::body(&mut stream, &mut received, &head).await?;
        let closes = head.closes();
        let (status, headers) = {
            let mut state = shared.lock();
            let (status, headers) = next_answer(&mut state);
            let wire::Head { method, target: path, headers: sent } = head;
            state.requests.push(Received { at: Instant::now(), method, path, headers: sent, body, status });
            (status, headers)
        };
        shared.changed.notify_all();
        while shared.lock().held {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut answer = format!("HTTP/1.1 {status} As-Told\r\n");
        for (name, value) in headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        // neither has a body, and 204 may not speak of one (RFC 9110, section 8.6)
        answer.push_str(if status == 204 || status == 304 { "\r\n" } else { "Content-Length: 0\r\n\r\n" });
        stream.write_all(answer.as_bytes()).await?;
        if closes {
            break;
        }
    }
    wire::hang_up(&mut stream).await
}

fn next_answer(state: &mut State) -> (u16, Vec<(String, String)>) {
    let Some(told) = state.answers.front_mut() else { return (204, Vec::new()) };
    let answer = (told.status, told.headers.clone());
    told.times -= 1;
    if told.times == 0 {
        state.answers.pop_front();
    }
    answer
}
