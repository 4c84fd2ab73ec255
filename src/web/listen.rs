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

use crate::config::Listen;

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

pub(super) fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// A socket that a daemon left behind is replaced; one that is served is not, and a file that is no
/// socket is not touched.
pub(super) fn unix(path: &Path) -> io::Result<UnixListener> {
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
