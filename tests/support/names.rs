//! A name server on loopback that plays every fault, and the private `/etc` that makes a process use it.
//!
//! `/etc/resolv.conf` names no port, so the server listens on port 53 of a loopback address of its own, and the
//! process gets a mount namespace in which its `/etc` says so. Both take root: see [`possible`].

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What the server does with a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// These addresses, each to the question of its family.
    Addresses(Vec<IpAddr>),
    /// IPv4 as [`Reply::Addresses`], and silence to questions of IPv6.
    OnlyV4(Ipv4Addr),
    /// There is no such name.
    NoSuchName,
    /// SERVFAIL.
    Failure,
    /// Nothing.
    Silence,
    /// What the other one says, after this time.
    After(Duration, Box<Reply>),
}

type Rules = Arc<Mutex<Vec<(String, Reply)>>>;

/// A running name server.
pub struct NameServer {
    address: Ipv4Addr,
    rules: Rules,
    questions: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    etc: tempfile::TempDir,
}

/// Whether a process can be given an `/etc` of its own here. Says so where it cannot.
pub fn possible() -> bool {
    let entered = Command::new("unshare")
        .args(["-m", "mount", "--bind", "/etc/hosts", "/etc/hosts"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let bound = UdpSocket::bind("127.83.0.1:53").is_ok();
    if !(entered && bound) {
        eprintln!("skipped: a name server of our own takes root (mount namespace, port 53)");
    }
    entered && bound
}

impl NameServer {
    /// Starts on an address of its own, with an `/etc` that names it.
    pub fn start() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let socket = loop {
            // other processes of the tests take addresses too
            let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            match UdpSocket::bind((Ipv4Addr::new(127, 84, high, low.max(1)), 53)) {
                Ok(socket) => break socket,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => panic!("{error}"),
            }
        };
        let IpAddr::V4(address) = socket.local_addr().unwrap().ip() else { unreachable!("bound to IPv4") };
        let mut server = Self {
            address,
            rules: Rules::default(),
            questions: Arc::default(),
            stop: Arc::default(),
            thread: None,
            etc: tempfile::tempdir().unwrap(),
        };
        server.write("resolv.conf", &format!("nameserver {address}\n"));
        server.write("hosts", "127.0.0.1 localhost\n");
        server.write("nsswitch.conf", "hosts: files dns\n");
        let (rules, questions, stop) = (server.rules.clone(), server.questions.clone(), server.stop.clone());
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        server.thread = Some(std::thread::spawn(move || serve(&socket, &rules, &questions, &stop)));
        server
    }

    /// From now on, names that end in `suffix` are answered so. The longest suffix counts; what has none is silent.
    pub fn answer(&self, suffix: &str, reply: Reply) {
        let mut rules = self.rules.lock().unwrap();
        rules.retain(|(other, _)| other != suffix);
        rules.push((suffix.to_owned(), reply));
        rules.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
    }

    /// Every question so far: `A name`, `AAAA name`.
    pub fn questions(&self) -> Vec<String> {
        self.questions.lock().unwrap().clone()
    }

    /// Where it listens.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The directory of `resolv.conf`, `hosts` and `nsswitch.conf`.
    pub fn etc(&self) -> &Path {
        self.etc.path()
    }

    /// Replaces the text of a file of the private `/etc`, in place.
    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.etc.path().join(file), text).unwrap();
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The program, seeing the files of `etc` as its own. It keeps the process id.
pub fn within(etc: &Path, program: &str) -> Command {
    let bound = |file: &str| -> PathBuf { etc.join(file) };
    let mut script = String::from("set -e\n");
    for file in ["resolv.conf", "hosts", "nsswitch.conf"] {
        script += &format!("mount --bind '{}' /etc/{file}\n", bound(file).display());
    }
    script += "exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, program]);
    command
}

fn serve(socket: &UdpSocket, rules: &Rules, questions: &Mutex<Vec<String>>, stop: &AtomicBool) {
    let mut later: Vec<(Instant, Vec<u8>, std::net::SocketAddr)> = Vec::new();
    let mut buffer = [0; 1500];
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        later.retain(|(due, packet, peer)| {
            let wait = *due > now;
            if !wait {
                let _ = socket.send_to(packet, peer);
            }
            wait
        });
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        let Some((name, kind, end)) = question(&buffer[..length]) else { continue };
        questions.lock().unwrap().push(format!("{} {name}", if kind == 28 { "AAAA" } else { "A" }));
        let mut reply = {
            let rules = rules.lock().unwrap();
            let rule = rules.iter().find(|(suffix, _)| name.ends_with(suffix.as_str()));
            rule.map_or(Reply::Silence, |(_, reply)| reply.clone())
        };
        let mut delay = Duration::ZERO;
        while let Reply::After(time, other) = reply {
            delay += time;
            reply = *other;
        }
        if let Some(packet) = packet(&buffer[..end], kind, &reply) {
            later.push((now + delay, packet, peer));
        }
    }
}

/// Name, type, and where the question ends.
fn question(packet: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
    (packet.len() >= at + 4).then(|| (labels.join("."), kind, at + 4))
}

fn packet(asked: &[u8], kind: u16, reply: &Reply) -> Option<Vec<u8>> {
    let (code, addresses): (u8, Vec<IpAddr>) = match reply {
        Reply::Addresses(addresses) => (0, addresses.clone()),
        Reply::OnlyV4(_) if kind == 28 => return None,
        Reply::OnlyV4(address) => (0, vec![IpAddr::V4(*address)]),
        Reply::NoSuchName => (3, Vec::new()),
        Reply::Failure => (2, Vec::new()),
        Reply::Silence | Reply::After(..) => return None,
    };
    let data: Vec<Vec<u8>> = addresses
        .into_iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), 1) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), 28) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut packet = asked.to_vec();
    packet[2] = 0x81;
    packet[3] = 0x80 | code;
    packet[4..12].copy_from_slice(&[0, 1, 0, u8::try_from(data.len()).unwrap(), 0, 0, 0, 0]);
    for data in data {
        packet.extend_from_slice(&[0xc0, 12]);
        packet.extend_from_slice(&kind.to_be_bytes());
        // its class, and a second to live
        packet.extend_from_slice(&[0, 1, 0, 0, 0, 1, 0, u8::try_from(data.len()).unwrap()]);
        packet.extend_from_slice(&data);
    }
    Some(packet)
}
