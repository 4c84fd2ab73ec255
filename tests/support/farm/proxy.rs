//! Proxies that resolve every name to loopback: that a name arrives proves that the proxy was asked.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP CONNECT.
    Connect,
    /// SOCKS5.
    Socks5,
}

/// A running proxy.
pub struct Proxy {
    address: SocketAddr,
    protocol: Protocol,
    targets: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts on a free port; with `login` (`user`, `password`) it takes nobody else.
    pub fn start(protocol: Protocol, login: Option<(&str, &str)>) -> Self {
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let targets = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let shared = Arc::clone(&targets);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let (login, targets) = (login.clone(), Arc::clone(&shared));
                        tokio::spawn(async move {
                            let _ = match protocol {
                                Protocol::Connect => connect(stream, login, &targets).await,
                                Protocol::Socks5 => socks5(stream, login, &targets).await,
                            };
                        });
                    }
                });
                let _ = stopped.await;
            });
        });
        let address = told.recv().expect("the proxy's thread starts");
        Self { address, protocol, targets, stop: Some(stop), thread: Some(thread) }
    }

    /// Its URL, with `userinfo` (`"user:password@"`) or without (`""`).
    pub fn url(&self, userinfo: &str) -> String {
        let scheme = if self.protocol == Protocol::Connect { "http" } else { "socks5" };
        format!("{scheme}://{userinfo}{}", self.address)
    }

    /// Every target asked for (`host:port`), in order.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Login = Option<(String, String)>;

async fn connect(mut client: TcpStream, login: Login, targets: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let target = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let expected = login.map(|(user, password)| {
        format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
    });
    if expected.is_some_and(|line| !text.contains(&line)) {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    }
    targets.lock().unwrap().push(target.clone());
    let (host, port) = target.rsplit_once(':').unwrap_or((&target, "80"));
    match dial(host, port.parse().unwrap_or(0)).await {
        Ok(mut server) => {
            client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await?;
            copy_bidirectional(&mut client, &mut server).await.map(drop)
        }
        Err(_) => client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await,
    }
}

async fn socks5(mut client: TcpStream, login: Login, targets: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut two = [0; 2];
    client.read_exact(&mut two).await?;
    let mut methods = vec![0; usize::from(two[1])];
    client.read_exact(&mut methods).await?;
    if let Some((user, password)) = login {
        if !methods.contains(&2) {
            return client.write_all(&[5, 0xff]).await;
        }
        client.write_all(&[5, 2]).await?;
        let _version = client.read_u8().await?;
        let mut given = Vec::new();
        for _ in 0..2 {
            let mut text = vec![0; usize::from(client.read_u8().await?)];
            client.read_exact(&mut text).await?;
            given.push(String::from_utf8_lossy(&text).into_owned());
        }
        if given != [user, password] {
            return client.write_all(&[1, 1]).await;
        }
        client.write_all(&[1, 0]).await?;
    } else {
        client.write_all(&[5, 0]).await?;
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => {
            let mut octets = [0; 4];
            client.read_exact(&mut octets).await?;
            Ipv4Addr::from(octets).to_string()
        }
        4 => {
            let mut octets = [0; 16];
            client.read_exact(&mut octets).await?;
            format!("[{}]", Ipv6Addr::from(octets))
        }
        _ => {
            let mut name = vec![0; usize::from(client.read_u8().await?)];
            client.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
    };
    let port = client.read_u16().await?;
    targets.lock().unwrap().push(format!("{host}:{port}"));
    match dial(&host, port).await {
        Ok(mut server) => {
            client.write_all(&[5, 0, 0, 3, 4, b't', b'e', b's', b't', 0, 80]).await?;
            copy_bidirectional(&mut client, &mut server).await.map(drop)
        }
        Err(_) => client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await,
    }
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let address: IpAddr = host.trim_matches(['[', ']']).parse().unwrap_or(Ipv4Addr::LOCALHOST.into());
    TcpStream::connect((address, port)).await
}
