//! Addresses to listen on.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::FileTypeExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use super::ListenError;
use crate::config::Listen;

/// Bound sockets by their addresses. They outlive a server, so that a reload closes nothing that stays.
#[derive(Debug, Default)]
pub struct Listeners(Vec<(Listen, Socket)>);

/// One of either kind.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }
}

impl Listeners {
    /// Binds every address, or takes it from `bound`.
    ///
    /// # Errors
    /// The first address that is in use or cannot be bound.
    pub fn bind(addresses: &[Listen], bound: &Self) -> Result<Self, ListenError> {
        let bind = |address: &Listen| {
            let socket = match bound.0.iter().find(|(known, _)| known == address) {
                Some((_, socket)) => socket.try_clone(),
                None => match address {
                    Listen::Tcp(address) => tcp(*address).map(Socket::Tcp),
                    Listen::Unix(path) => unix(path).map(Socket::Unix),
                },
            };
            let socket = socket.map_err(|error| ListenError { address: show(address), error })?;
            Ok((address.clone(), socket))
        };
        addresses.iter().map(bind).collect::<Result<_, _>>().map(Self)
    }

    /// Closes those that are not in `addresses`.
    pub fn retain(&mut self, addresses: &[Listen]) {
        self.0.retain(|(known, _)| addresses.contains(known));
    }

    /// Whether one that is not in `addresses` has the port of a new one there.
    pub fn share_a_port_with(&self, addresses: &[Listen]) -> bool {
        let port = |address: &Listen| match address {
            Listen::Tcp(address) => Some(address.port()),
            Listen::Unix(_) => None,
        };
        let known = |address: &Listen| self.0.iter().any(|(known, _)| known == address);
        let new: Vec<_> = addresses.iter().filter(|address| !known(address)).filter_map(port).collect();
        let leaving = self.0.iter().filter(|(known, _)| !addresses.contains(known));
        leaving.filter_map(|(known, _)| port(known)).any(|port| new.contains(&port))
    }

    /// Each address with a socket for a server.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (&Listen, io::Result<Socket>)> {
        self.0.iter().map(|(address, socket)| (address, socket.try_clone()))
    }
}

/// As it stands in the configuration.
pub(super) fn show(address: &Listen) -> String {
    match address {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Whether others than this machine reach it.
pub(super) fn is_public(address: &Listen) -> bool {
    matches!(address, Listen::Tcp(address) if !address.ip().is_loopback())
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// A socket that a daemon left behind is replaced; one that is served is not, and a file that is no
/// socket is not touched.
fn unix(path: &Path) -> io::Result<UnixListener> {
    if let Ok(found) = path.symlink_metadata() {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of this name, which is no socket",
            ));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}
