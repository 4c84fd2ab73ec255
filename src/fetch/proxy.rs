//! Tunnels through a proxy: CONNECT (RFC 9110, section 9.3.6) and SOCKS5 (RFC 1928, RFC 1929).
//!
//! The proxy resolves the target's name. Whatever goes wrong up to the open tunnel is the kind `proxy`.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use url::{Host, Url};

use super::{
    classify::Fault,
    connect::{Asker, connect_any, endpoint, resolve},
    headers::percent_decoded,
};

/// A CONNECT answer's head, at most.
const MAX_ANSWER: usize = 16_384;

/// A configured proxy.
#[derive(Clone)]
pub(super) struct Proxy(Url);

impl Proxy {
    /// `http://` or `socks5://`, checked by the configuration.
    pub(super) fn new(url: Url) -> Self {
        Self(url)
    }

    /// Opens a tunnel to the target; reaching the proxy takes at most `limit`, and the negotiation as much.
    pub(super) async fn tunnel(
        &self,
        host: &Host<&str>,
        port: u16,
        limit: Duration,
        asker: Asker,
    ) -> Result<TcpStream, Fault> {
        let mut stream = self.reach(limit, asker).await?;
        let negotiation = async {
            match self.0.scheme() {
                "http" => connect(&mut stream, host, port, self.credentials()).await,
                _ => socks5(&mut stream, host, port, self.credentials()).await,
            }
        };
        match timeout(limit, negotiation).await {
            Ok(done) => done.map_err(Fault::Proxy)?,
            Err(_) => return Err(Fault::Proxy("no answer in time".into())),
        }
        Ok(stream)
    }

    /// Looks the proxy's own name up.
    pub(super) async fn resolve(&self, limit: Duration, asker: Asker) -> Result<(), Fault> {
        self.addresses(limit, asker).await.map(drop).map_err(of_proxy)
    }

    async fn addresses(&self, limit: Duration, asker: Asker) -> Result<Vec<SocketAddr>, Fault> {
        // url knows no default port for socks5
        let port = self.0.port_or_known_default().unwrap_or(1080);
        let host = match self.0.host() {
            Some(host) => host,
            None => endpoint(&self.0)?.0,
        };
        resolve(&parsed(host), port, limit, asker).await
    }

    async fn reach(&self, limit: Duration, asker: Asker) -> Result<TcpStream, Fault> {
        let reached = async { connect_any(&self.addresses(limit, asker).await?, limit).await };
        let stream = reached.await.map_err(of_proxy)?;
        stream.set_nodelay(true).map_err(Fault::Io)?;
        Ok(stream)
    }

    /// User and password, percent-decoded.
    fn credentials(&self) -> Option<(String, String)> {
        let password = self.0.password().unwrap_or_default();
        (!self.0.username().is_empty() || !password.is_empty())
            .then(|| (percent_decoded(self.0.username()), percent_decoded(password)))
    }
}

/// What kept us from reaching the proxy is its fault, but for what is our own.
fn of_proxy(fault: Fault) -> Fault {
    match fault.message() {
        _ if fault.is_our_own() => fault,
        message => Fault::Proxy(message),
    }
}

/// A host of a URL with a scheme that is not special (socks5) is opaque text: reads it as an address.
fn parsed(host: Host<&str>) -> Host<&str> {
    match host {
        Host::Domain(name) => match name.parse() {
            Ok(address) => Host::Ipv4(address),
            Err(_) => Host::Domain(name),
        },
        host => host,
    }
}

async fn connect(
    stream: &mut TcpStream,
    host: &Host<&str>,
    port: u16,
    credentials: Option<(String, String)>,
) -> Result<(), String> {
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some((user, password)) = credentials {
        let token = BASE64_STANDARD.encode(format!("{user}:{password}"));
        request.push_str(&format!("Proxy-Authorization: Basic {token}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broke)?;
    let answer = answer_head(stream).await?;
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(&answer) {
        Ok(_) => match parsed.code {
            Some(200..=299) => Ok(()),
            Some(407) => Err("it wants other credentials (407)".into()),
            Some(code) => Err(format!("it answered {code} to CONNECT")),
            None => Err("no HTTP answer".into()),
        },
        Err(error) => Err(format!("no HTTP answer: {error}")),
    }
}

/// Reads up to the empty line and not one byte more: what follows belongs to the target. The end is
/// looked for in peeked bytes.
async fn answer_head(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let mut head = Vec::with_capacity(256);
    let mut peeked = [0; 1024];
    loop {
        let seen = stream.peek(&mut peeked).await.map_err(broke)?;
        if seen == 0 {
            return Err("it closed the connection".into());
        }
        let before = head.len();
        head.extend_from_slice(&peeked[..seen]);
        let end = memchr::memmem::find(&head, b"\r\n\r\n").map(|at| at + 4);
        let end = end.or_else(|| memchr::memmem::find(&head, b"\n\n").map(|at| at + 2));
        head.truncate(end.unwrap_or(head.len()));
        let taken = head.len() - before;
        stream.read_exact(&mut peeked[..taken]).await.map_err(broke)?;
        if end.is_some() {
            return Ok(head);
        }
        if head.len() > MAX_ANSWER {
            return Err("its answer is too long".into());
        }
    }
}

async fn socks5(
    stream: &mut TcpStream,
    host: &Host<&str>,
    port: u16,
    credentials: Option<(String, String)>,
) -> Result<(), String> {
    const NO_AUTHENTICATION: u8 = 0;
    const PASSWORD: u8 = 2;
    let greeting: &[u8] =
        if credentials.is_some() { &[5, 2, NO_AUTHENTICATION, PASSWORD] } else { &[5, 1, NO_AUTHENTICATION] };
    stream.write_all(greeting).await.map_err(broke)?;
    let mut choice = [0; 2];
    stream.read_exact(&mut choice).await.map_err(broke)?;
    match (choice, credentials) {
        ([5, NO_AUTHENTICATION], _) => {}
        ([5, PASSWORD], Some((user, password))) => {
            let mut login = vec![1];
            for text in [&user, &password] {
                login.push(u8::try_from(text.len()).map_err(|_| "user name or password is too long")?);
                login.extend_from_slice(text.as_bytes());
            }
            stream.write_all(&login).await.map_err(broke)?;
            stream.read_exact(&mut choice).await.map_err(broke)?;
            if choice[1] != 0 {
                return Err("it refuses user name and password".into());
            }
        }
        ([5, _], _) => return Err("it wants an authentication that we do not have".into()),
        _ => return Err("it is no SOCKS5 proxy".into()),
    }
    let mut request = vec![5, 1, 0];
    match host {
        Host::Ipv4(address) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        Host::Ipv6(address) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
        Host::Domain(name) => {
            request.push(3);
            request.push(u8::try_from(name.len()).map_err(|_| "the host name is too long")?);
            request.extend_from_slice(name.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await.map_err(broke)?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await.map_err(broke)?;
    if reply[0] != 5 {
        return Err("it is no SOCKS5 proxy".into());
    }
    if reply[1] != 0 {
        return Err(refusal(reply[1]));
    }
    // the address that it bound is of no use to us
    let length = match reply[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(broke)?),
        _ => return Err("bad SOCKS5 reply".into()),
    };
    let mut bound = [0; 257];
    stream.read_exact(&mut bound[..length + 2]).await.map_err(broke)?;
    Ok(())
}

/// RFC 1928, section 6.
fn refusal(code: u8) -> String {
    let what = match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => return format!("it refused (SOCKS5 reply {code})"),
    };
    format!("it cannot connect: {what}")
}

fn broke(error: std::io::Error) -> String {
    format!("the connection to it broke: {error}")
}
