//! `status`: the health report of a running daemon.

use std::{
    io::{self, IsTerminal as _, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use url::Url;

use super::{FOUND_FAILING, Global, INVALID, report, settings};
use crate::{
    app::table,
    config::{Config, Listen, diagnostic::Diagnostics, load::Needed},
    health::report::{HealthReport, Status},
    model::line::escaped_json,
};

/// What `status` was asked for.
pub(super) struct Options {
    pub(super) url: Option<String>,
    pub(super) json: bool,
    pub(super) watch: bool,
}

/// Between two pictures of `--watch`.
const PERIOD: Duration = Duration::from_secs(2);
/// The whole exchange takes no longer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A report of 10,000 sources has 6 MB.
const LARGEST: u64 = 64 << 20;

/// Exit status 0 ok, 1 unreachable, 3 degraded or down.
pub(super) fn run(global: &Global, options: &Options) -> Result<ExitCode, Diagnostics> {
    let address = match &options.url {
        Some(url) => match Address::parse(url) {
            Ok(address) => address,
            Err(message) => {
                anstream::eprintln!("error: --url {message}");
                return Ok(ExitCode::from(INVALID));
            }
        },
        None => match settings::load(global, Needed::None)?.config.http.listen.first() {
            Some(listen) => Address::of(listen),
            None => {
                anstream::eprintln!("error: the daemon's server is switched off: `listen` under [http] is []");
                return Ok(ExitCode::FAILURE);
            }
        },
    };
    loop {
        let asked = address.ask().and_then(|body| {
            let report = serde_json::from_slice::<HealthReport>(&body);
            report
                .map(|report| (report, body))
                .map_err(|_| Unreachable::Stranger("not with a health report".to_owned()))
        });
        let code = match &asked {
            Ok((report, _)) if report.status == Status::Ok => ExitCode::SUCCESS,
            Ok(_) => ExitCode::from(FOUND_FAILING),
            Err(_) => ExitCode::FAILURE,
        };
        let mut picture = String::new();
        if options.watch && !options.json && io::stdout().is_terminal() {
            // home, then clear what is below: less flicker than clearing first
            picture += "\x1b[H\x1b[J";
        }
        match asked {
            Ok((_, body)) if options.json => {
                picture += &format!("{}\n", escaped_json(String::from_utf8_lossy(&body).trim_end()))
            }
            Ok((report, _)) => picture += &report::rendered(&report, table::terminal_width()),
            Err(error) => anstream::eprintln!("{}", address.advice(&error, options.url.is_some())),
        }
        if let Err(error) = show(&picture) {
            return Ok(unshown(&error, code));
        }
        if !options.watch {
            return Ok(code);
        }
        std::thread::sleep(PERIOD);
    }
}

/// The report of the daemon that runs with this configuration.
pub(super) fn report_of(config: &Config) -> Result<HealthReport, String> {
    let listen =
        config.http.listen.first().ok_or("the daemon's server is switched off: `listen` under [http] is []")?;
    let address = Address::of(listen);
    let body = address.ask().map_err(|error| address.advice(&error, false))?;
    serde_json::from_slice(&body).map_err(|error| format!("the daemon's report cannot be read: {error}"))
}

/// Writes at once, so that `--watch` notices when nobody reads any longer.
fn show(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A reader that has enough, as `head` has, is no failure.
fn unshown(error: &io::Error, code: ExitCode) -> ExitCode {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return code;
    }
    anstream::eprintln!("error: cannot write to standard output: {error}");
    ExitCode::FAILURE
}

/// Where the daemon listens.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Tcp { host: String, port: u16, path: String },
    Unix(PathBuf),
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum Unreachable {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something answers that is not kawaraban, or will not tell.
    #[error("it answers, but {0}")]
    Stranger(String),
}

impl Address {
    fn of(listen: &Listen) -> Self {
        match listen {
            Listen::Unix(path) => Self::Unix(path.clone()),
            Listen::Tcp(address) => {
                // one that listens everywhere is asked at home
                let ip = match address {
                    SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                    _ => address.ip(),
                };
                let address = SocketAddr::new(ip, address.port());
                let host = address.to_string();
                let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host).to_owned();
                Self::Tcp { host, port: address.port(), path: "/health".to_owned() }
            }
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::of(&Listen::Tcp(address)));
        }
        let form = "http://HOST:PORT, IP:PORT or unix:PATH";
        let url = Url::parse(text).map_err(|error| format!("is no URL ({error}); expected {form}"))?;
        let (Some(host), Some(port), "http") = (url.host_str(), url.port_or_known_default(), url.scheme()) else {
            return Err(format!("expected {form}"));
        };
        let path = if url.path() == "/" { "/health" } else { url.path() };
        Ok(Self::Tcp { host: host.to_owned(), port, path: path.to_owned() })
    }

    /// One exchange. HTTP/1.0, so that the answer is not chunked and ends with the connection.
    fn ask(&self) -> Result<Vec<u8>, Unreachable> {
        let deadline = Instant::now() + TIMEOUT;
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                exchange(stream, "localhost", "/health", |stream| stream.set_read_timeout(Some(left(deadline)?)))
            }
            Self::Tcp { host, port, path } => {
                let stream = connect(host, *port, deadline)?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                let name = format!("{host}:{port}");
                exchange(stream, &name, path, |stream| stream.set_read_timeout(Some(left(deadline)?)))
            }
        }
    }

    fn advice(&self, error: &Unreachable, given: bool) -> String {
        let place = match self {
            Self::Tcp { host, port, .. } => format!("http://{host}:{port}"),
            Self::Unix(path) => format!("unix:{}", path.display()),
        };
        let advice = match error {
            Unreachable::Stranger(_) => "is this the address of kawaraban? --url names another one",
            Unreachable::Io(_) if given => "is the daemon running, and is this the address that it listens on?",
            Unreachable::Io(_) => {
                "is the daemon running? `kawaraban run` starts it; if it listens elsewhere, say where with --url"
            }
        };
        format!("error: no health report from {place}: {error}\n       {advice}")
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (bare, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends the request and reads the answer's body; `wait` is called before each read.
fn exchange<S: Read + Write>(
    mut stream: S,
    host: &str,
    path: &str,
    wait: impl Fn(&S) -> io::Result<()>,
) -> Result<Vec<u8>, Unreachable> {
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n")?;
    stream.flush()?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        wait(&stream)?;
        let read = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            Err(error) => return Err(error.into()),
        };
        bytes.extend_from_slice(&buffer[..read]);
        if bytes.len() as u64 > LARGEST {
            return Err(Unreachable::Stranger("without end".to_owned()));
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(&bytes) else {
        return Err(Unreachable::Stranger("not in HTTP".to_owned()));
    };
    match head.code {
        // down is said with 503, and is a report all the same
        Some(200 | 503) => Ok(bytes.split_off(length)),
        code => Err(Unreachable::Stranger(format!("with HTTP {}", code.unwrap_or_default()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_what_listen_takes() {
        let tcp = |host: &str, port, path: &str| Ok(Address::Tcp { host: host.into(), port, path: path.into() });
        assert_eq!(Address::parse("http://127.0.0.1:8787"), tcp("127.0.0.1", 8787, "/health"));
        assert_eq!(Address::parse("http://news.example/k/health"), tcp("news.example", 80, "/k/health"));
        assert_eq!(Address::parse("0.0.0.0:1"), tcp("127.0.0.1", 1, "/health"));
        assert_eq!(Address::parse("[::]:1"), tcp("[::1]", 1, "/health"));
        assert_eq!(Address::parse("unix:/run/k.sock"), Ok(Address::Unix("/run/k.sock".into())));
        for bad in ["localhost", "localhost:1", "https://news.example", ""] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
