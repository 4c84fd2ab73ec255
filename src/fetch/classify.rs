//! What went wrong, and what it means: its kind, and whether to try again.

use std::{io, net::IpAddr, time::Duration};

use rustls::Error as TlsError;

use rustix::io::Errno;

use super::{descriptors, resolve::Trouble};
use crate::{
    memory::NoRoom,
    model::{ErrorKind, Failure},
};

/// What to do where an address of a private network is right.
const IF_MEANT: &str = "if it is meant, set allow_private_addresses = true in the source";

const RESET: i32 = Errno::CONNRESET.raw_os_error();
const TIMED_OUT: i32 = Errno::TIMEDOUT.raw_os_error();
/// What the system says when this process, or this machine, has used something up: descriptors, memory, threads.
const EXHAUSTED: [i32; 5] = [
    Errno::MFILE.raw_os_error(),
    Errno::NFILE.raw_os_error(),
    Errno::NOBUFS.raw_os_error(),
    Errno::NOMEM.raw_os_error(),
    Errno::AGAIN.raw_os_error(),
];

/// Whether the fault is our own limit, and no peer's.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code))
}

/// A fault of one exchange, as the code that meets it knows it.
#[derive(Debug)]
pub(super) enum Fault {
    /// The name did not resolve.
    Dns(Trouble),
    /// … not in time.
    DnsTimeout,
    /// The name has no address.
    NoAddress,
    /// Every address is one that may not be asked.
    Blocked(IpAddr),
    /// The name means a network of our own, and the proxy would resolve it.
    BlockedName(String),
    /// All descriptors for lookups were taken for too long.
    NoLookup,
    /// No connection to any address.
    Connect(io::Error),
    /// … not in time.
    ConnectTimeout,
    /// The proxy could not be used, or refused.
    Proxy(String),
    /// The handshake failed.
    Tls(io::Error),
    /// Reading or writing failed.
    Io(io::Error),
    /// The connection ended before the answer; what was read of it.
    Cut(&'static str),
    /// Not HTTP as we know it.
    NotHttp(String),
    /// The content encoding is unknown or does not decode.
    Coding(String),
    /// More than so many bytes.
    TooLarge(u64),
    /// There is no memory for the body now.
    NoRoom,
    /// There never is: a body may have so many bytes.
    BeyondMemory(usize),
}

impl From<NoRoom> for Fault {
    fn from(refused: NoRoom) -> Self {
        match refused {
            NoRoom::Now => Self::NoRoom,
            NoRoom::Ever(limit) => Self::BeyondMemory(limit),
        }
    }
}

impl Fault {
    /// The failure of an exchange with `peer` (`host:port`).
    pub(super) fn failure(&self, peer: &str) -> Failure {
        let (kind, retry, what) = self.parts();
        // our own limits have nothing to do with the peer
        let message = if self.is_our_own() { what } else { format!("{what} ({peer})") };
        Failure { kind, message: message.into(), retry, retry_after: None }
    }

    /// What happened, in words.
    pub(super) fn message(&self) -> String {
        self.parts().2
    }

    /// Whether our own limits are the cause.
    pub(super) fn is_our_own(&self) -> bool {
        match self {
            Self::NoLookup => true,
            Self::Connect(error) | Self::Io(error) | Self::Tls(error) => is_exhausted(error),
            Self::Dns(Trouble::Io(error)) => is_exhausted(error),
            _ => false,
        }
    }

    fn parts(&self) -> (ErrorKind, bool, String) {
        use ErrorKind as Kind;
        match self {
            Self::NoLookup => {
                let what = format!("no file descriptors left for lookups ({})", descriptors::limit());
                (Kind::Limits, true, what)
            }
            Self::Connect(error) | Self::Io(error) | Self::Tls(error) if is_exhausted(error) => limits(error),
            Self::Dns(Trouble::Io(error)) if is_exhausted(error) => limits(error),
            Self::Dns(trouble) => (Kind::Dns, true, format!("the name does not resolve: {trouble}")),
            Self::DnsTimeout => (Kind::Dns, true, "the name did not resolve in time".into()),
            Self::NoAddress => (Kind::Dns, true, "the name has no address".into()),
            Self::Blocked(address) => {
                (Kind::BlockedAddress, false, format!("{address} is not a global address: {IF_MEANT}"))
            }
            Self::BlockedName(name) => {
                (Kind::BlockedAddress, false, format!("{name} is a name of a private network: {IF_MEANT}"))
            }
            Self::ConnectTimeout => (Kind::ConnectTimeout, true, "no connection in time".into()),
            Self::Connect(error) => {
                let kind = match error.raw_os_error() {
                    Some(RESET) => Kind::ConnectionReset,
                    Some(TIMED_OUT) => Kind::ConnectTimeout,
                    _ => Kind::ConnectRefused,
                };
                (kind, true, format!("cannot connect: {}", reason(error)))
            }
            Self::Proxy(what) => (Kind::Proxy, true, format!("proxy: {what}")),
            Self::Tls(error) => handshake(error),
            Self::Io(error) => transfer(error),
            Self::Cut(read) => (Kind::ClosedEarly, true, format!("the connection ended {read}")),
            Self::NotHttp(what) => (Kind::Protocol, true, what.clone()),
            Self::Coding(what) => (Kind::Protocol, true, what.clone()),
            Self::TooLarge(limit) => (Kind::TooLarge, false, format!("the answer has more than {limit} bytes")),
            Self::NoRoom => (Kind::TooLarge, true, "no memory is free for the answer".into()),
            Self::BeyondMemory(limit) => {
                let what = format!(
                    "the answer needs more than the {limit} bytes that one document may take of `memory` in [fetch]"
                );
                (Kind::TooLarge, false, what)
            }
        }
    }
}

/// Our own limit, as the operator knows it.
fn limits(error: &io::Error) -> (ErrorKind, bool, String) {
    let message = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => format!("no file descriptors left ({})", descriptors::limit()),
        Some(Errno::NFILE) => "the machine has no file descriptors left".into(),
        _ => reason(error),
    };
    (ErrorKind::Limits, true, message)
}

/// A handshake that was broken off may succeed the next time; a certificate that does not verify will not.
fn handshake(error: &io::Error) -> (ErrorKind, bool, String) {
    if error.raw_os_error() == Some(RESET) {
        return (ErrorKind::ConnectionReset, true, format!("in the TLS handshake: {}", reason(error)));
    }
    match tls(error) {
        Some(TlsError::InvalidCertificate(_)) => {
            (ErrorKind::Tls, false, format!("the certificate does not verify: {}", reason(error)))
        }
        _ => (ErrorKind::Tls, true, format!("TLS handshake: {}", reason(error))),
    }
}

fn transfer(error: &io::Error) -> (ErrorKind, bool, String) {
    let kind = match error.raw_os_error() {
        Some(RESET) => ErrorKind::ConnectionReset,
        Some(TIMED_OUT) => ErrorKind::Timeout,
        None if tls(error).is_some() => ErrorKind::Tls,
        _ => ErrorKind::ClosedEarly,
    };
    (kind, true, format!("the connection broke: {}", reason(error)))
}

fn tls(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// The error's text, on one line.
fn reason(error: &io::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a status that is no success means; `retry_after` as the caller has read it for 429 and 503.
pub(super) fn status(status: u16, retry_after: Option<Duration>, peer: &str) -> Failure {
    let kind = if status == 429 { ErrorKind::RateLimited } else { ErrorKind::Http(status) };
    let retry = matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=524);
    Failure { kind, message: format!("the server answered {status} ({peer})").into(), retry, retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fault: Fault) -> (String, bool) {
        let failure = fault.failure("h:80");
        (failure.kind.to_string(), failure.retry)
    }

    #[test]
    fn a_reset_is_a_reset_in_every_phase() {
        let reset = || io::Error::from_raw_os_error(RESET);
        for fault in [Fault::Connect(reset()), Fault::Tls(reset()), Fault::Io(reset())] {
            assert_eq!(told(fault), ("connection_reset".into(), true));
        }
    }

    #[test]
    fn our_own_limits_are_no_fault_of_a_peers() {
        for code in EXHAUSTED {
            let error = || io::Error::from_raw_os_error(code);
            let lookup = Fault::Dns(Trouble::Io(error().into()));
            for fault in [Fault::Connect(error()), Fault::Tls(error()), Fault::Io(error()), lookup] {
                assert!(fault.is_our_own());
                assert_eq!(told(fault), ("limits".into(), true), "{code}");
            }
        }
        let refused = Fault::Connect(io::Error::from_raw_os_error(111));
        assert!(!refused.is_our_own());
        assert_eq!(told(refused), ("connect_refused".into(), true));
    }

    #[test]
    fn only_a_certificate_that_does_not_verify_ends_the_attempts() {
        let tls = |error| Fault::Tls(io::Error::new(io::ErrorKind::InvalidData, error));
        let unknown = TlsError::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert_eq!(told(tls(unknown)), ("tls".into(), false));
        let alert = TlsError::AlertReceived(rustls::AlertDescription::HandshakeFailure);
        assert_eq!(told(tls(alert)), ("tls".into(), true));
        assert_eq!(told(Fault::Tls(io::ErrorKind::UnexpectedEof.into())), ("tls".into(), true));
    }

    #[test]
    fn statuses_are_retried_as_the_contract_says() {
        for (code, kind, retry) in [
            (404, "http_404", false),
            (403, "http_403", false),
            (401, "http_401", false),
            (408, "http_408", true),
            (425, "http_425", true),
            (429, "rate_limited", true),
            (500, "http_500", true),
            (501, "http_501", false),
            (502, "http_502", true),
            (503, "http_503", true),
            (504, "http_504", true),
            (505, "http_505", false),
            (519, "http_519", false),
            (520, "http_520", true),
            (524, "http_524", true),
            (525, "http_525", false),
            (204, "http_204", false),
            (302, "http_302", false),
        ] {
            let failure = status(code, None, "h:80");
            assert_eq!((failure.kind.to_string().as_str(), failure.retry), (kind, retry), "{code}");
        }
    }
}
