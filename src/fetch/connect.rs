//! From a URL to an open connection: resolve, vet, connect, through a proxy where one is set, TLS.
//!
//! What was resolved is what is vetted and what is dialled, so that a name cannot change its address in
//! between; the peer of the open socket is vetted once more. Through a proxy only literal addresses can be
//! vetted, and names that mean a network of our own whatever they resolve to: names are resolved there.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::{
    classify::{Fault, is_exhausted},
    descriptors, guard,
    proxy::Proxy,
    resolve::{self, Trouble},
    transport::Transport,
};

/// How connections are made.
pub(super) struct Dialer {
    pub(super) tls: Arc<ClientConfig>,
    /// Boxed, for most have none and there may be thousands.
    pub(super) proxy: Option<Box<Proxy>>,
    /// For resolving, and for connecting, each.
    pub(super) connect_timeout: Duration,
    /// Whether only global addresses may be reached.
    pub(super) guarded: bool,
    /// For whom names are looked up.
    pub(super) asker: Asker,
}

/// Who needs an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A source: all of them share the descriptors for lookups.
    Source,
    /// A destination: never waits for sources.
    Destination,
}

impl Dialer {
    /// Opens a connection on which a request for `url` (http or https) can be sent.
    pub(super) async fn dial(&self, url: &Url) -> Result<Transport, Fault> {
        let (host, port) = endpoint(url)?;
        let stream = match &self.proxy {
            None => self.direct(&host, port).await?,
            Some(proxy) => {
                self.vet_unresolved(&host)?;
                proxy.tunnel(&host, port, self.connect_timeout, self.asker).await?
            }
        };
        if url.scheme() != "https" {
            return Ok(Transport::Plain(stream));
        }
        // the handshake's and the request's small writes should not wait for each other's acknowledgement
        stream.set_nodelay(true).map_err(Fault::Io)?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(server_name(&host)?, stream).await;
        Ok(Transport::Tls(Box::new(stream.map_err(Fault::Tls)?)))
    }

    /// Looks the name up that a request for `url` begins with, so that the answer is at hand when the request is made.
    pub(super) async fn resolve(&self, url: &Url) -> Result<(), Fault> {
        let (host, port) = endpoint(url)?;
        match &self.proxy {
            None => resolve(&host, port, self.connect_timeout, self.asker).await.map(drop),
            Some(proxy) => {
                self.vet_unresolved(&host)?;
                proxy.resolve(self.connect_timeout, self.asker).await
            }
        }
    }

    async fn direct(&self, host: &Host<&str>, port: u16) -> Result<TcpStream, Fault> {
        if let Some(address) = literal(host) {
            self.vet(address)?;
            return self.connect(&[SocketAddr::new(address, port)]).await;
        }
        let resolved = resolve(host, port, self.connect_timeout, self.asker).await?;
        let mut refused = None;
        let mut usable = Vec::with_capacity(resolved.len());
        for address in resolved {
            match self.vet(address.ip()) {
                Ok(()) => usable.push(address),
                Err(fault) => refused = Some(fault),
            }
        }
        match (usable.is_empty(), refused) {
            (true, Some(fault)) => Err(fault),
            (true, None) => Err(Fault::NoAddress),
            _ => self.connect(&usable).await,
        }
    }

    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Fault> {
        let stream = connect_any(addresses, self.connect_timeout).await?;
        if self.guarded {
            self.vet(stream.peer_addr().map_err(Fault::Connect)?.ip())?;
        }
        Ok(stream)
    }

    /// What can be said of a host that somebody else resolves.
    fn vet_unresolved(&self, host: &Host<&str>) -> Result<(), Fault> {
        match host {
            Host::Domain(name) if self.guarded && guard::is_local_name(name) => {
                Err(Fault::BlockedName((*name).to_owned()))
            }
            host => literal(host).map_or(Ok(()), |address| self.vet(address)),
        }
    }

    fn vet(&self, address: IpAddr) -> Result<(), Fault> {
        if self.guarded && !guard::is_global(address) { Err(Fault::Blocked(address)) } else { Ok(()) }
    }
}

/// The host's addresses, in the resolver's order. An address needs no lookup.
pub(super) async fn resolve(
    host: &Host<&str>,
    port: u16,
    limit: Duration,
    asker: Asker,
) -> Result<Vec<SocketAddr>, Fault> {
    let name = match host {
        Host::Domain(name) => *name,
        Host::Ipv4(address) => return Ok(vec![SocketAddr::new((*address).into(), port)]),
        Host::Ipv6(address) => return Ok(vec![SocketAddr::new((*address).into(), port)]),
    };
    let _sockets = match asker {
        // to wait for our own descriptors is no fault of the name server's
        Asker::Source => match timeout(limit, descriptors::for_lookup(resolve::sockets())).await {
            Ok(permit) => permit,
            Err(_) => return Err(Fault::NoLookup),
        },
        Asker::Destination => None,
    };
    // boxed: it is large, and most attempts need none
    match timeout(limit, Box::pin(resolve::lookup(name))).await {
        Err(_) => Err(Fault::DnsTimeout),
        Ok(Err(Trouble::NoAddress)) => Err(Fault::NoAddress),
        Ok(Err(trouble)) => Err(Fault::Dns(trouble)),
        Ok(Ok(addresses)) => Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()),
    }
}

/// Connects to the first address that answers, in `limit` altogether; none may use up more than its share
/// of the time that is left, so that an IPv6 that leads nowhere leaves some to IPv4.
pub(super) async fn connect_any(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, Fault> {
    let deadline = Instant::now() + limit;
    let mut fault = Fault::NoAddress;
    for (index, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now) / left;
        match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if is_exhausted(&error) => return Err(Fault::Connect(error)),
            Ok(Err(error)) => fault = Fault::Connect(error),
            Err(_) => fault = Fault::ConnectTimeout,
        }
    }
    Err(fault)
}

/// Host and port of a URL.
pub(super) fn endpoint(url: &Url) -> Result<(Host<&str>, u16), Fault> {
    match (url.host(), url.port_or_known_default()) {
        (Some(host), Some(port)) => Ok((host, port)),
        _ => Err(Fault::NotHttp("the URL has no host".into())),
    }
}

fn literal(host: &Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some((*address).into()),
        Host::Ipv6(address) => Some((*address).into()),
    }
}

fn server_name(host: &Host<&str>) -> Result<ServerName<'static>, Fault> {
    match host {
        // the root's dot is no part of the name in a certificate
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|error| Fault::Tls(io::Error::new(io::ErrorKind::InvalidInput, error))),
        Host::Ipv4(address) => Ok(ServerName::from(IpAddr::from(*address))),
        Host::Ipv6(address) => Ok(ServerName::from(IpAddr::from(*address))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_address_that_leads_nowhere_leaves_time_for_the_next() {
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = (good.local_addr().unwrap(), good);
        let refusing = TcpSocket::new_v4().unwrap();
        refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        // nobody listens at this port of the other family
        let other_family = SocketAddr::new("::1".parse().unwrap(), good.0.port());
        for first in [refusing.local_addr().unwrap(), other_family] {
            let stream = connect_any(&[first, good.0], LONG).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good.0);
        }
        let failed = connect_any(&[good.0, refusing.local_addr().unwrap()][1..], LONG).await;
        assert!(matches!(failed, Err(Fault::Connect(_))));
        assert!(matches!(connect_any(&[], LONG).await, Err(Fault::NoAddress)));
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_uses_up_its_share_only() {
        let full = TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = full.listen(0).unwrap();
        let address = full.local_addr().unwrap();
        let mut held = Vec::new();
        // until the backlog takes no more
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            held.push(stream);
        }
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect_any(&[address, good.local_addr().unwrap()], Duration::from_millis(600)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good.local_addr().unwrap());
        let alone = connect_any(&[address], Duration::from_millis(200)).await;
        assert!(matches!(alone, Err(Fault::ConnectTimeout)));
    }
}
