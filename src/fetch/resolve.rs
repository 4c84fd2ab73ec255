//! Names to addresses, as the machine has them.
//!
//! In this order: `/etc/hosts`; `localhost` and what is below it; DNS, by the servers, search domains and options
//! of `/etc/resolv.conf`. DNS is asked asynchronously: a lookup that hangs holds a few sockets and no thread, and
//! ends when nobody waits for it any more. Where `nsswitch.conf` names services that DNS knows nothing of, such as
//! mDNS, names that DNS does not know are left to the system's own lookup ([`system`]), and `.local` is asked there
//! only; so is everything where `resolv.conf` cannot be used. The files are read again when they change.

use std::{
    cell::RefCell,
    fs,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use hickory_resolver::{
    Hosts, TokioResolver,
    config::ResolveHosts,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::{Query, ResponseCode},
        rr::{Name, RData, RecordType},
    },
    system_conf::parse_resolv_conf,
};
use tokio::time::timeout;

mod system;

/// Where the machine says how names are found.
const FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];
/// How often these are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An answer is good for at least so long: who waits for a place finds it there afterwards.
const MIN_TTL: Duration = Duration::from_secs(5);
/// That a name does not exist is believed for at most so long.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(10);
/// Answers kept, of a few hundred bytes each.
const ANSWERS: u64 = 1024;
/// With addresses of one family at hand, the other's are waited for so long: some servers never answer for IPv6.
const OTHER_FAMILY: Duration = Duration::from_millis(250);
/// Sockets that a lookup takes at one server while that is silent: two families, each sent up to four times.
const SOCKETS: usize = 8;
/// Servers that are asked at the same time.
const SERVERS: usize = 2;

/// Why there is no address.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Trouble {
    #[error("no such name")]
    NoSuchName,
    #[error("the name has no address")]
    NoAddress,
    #[error("this is no name")]
    NotAName,
    #[error("the name server does not answer")]
    Silent,
    #[error("the name server answers {0}")]
    Refused(String),
    #[error("{0}")]
    Io(Arc<io::Error>),
}

thread_local! {
    /// The connections to name servers belong to the runtime of the thread.
    static MACHINE: RefCell<Option<Watched>> = const { RefCell::new(None) };
}

/// The addresses of a name, IPv6 first.
pub(super) async fn lookup(name: &str) -> Result<Vec<IpAddr>, Trouble> {
    let machine = current();
    let name = name.trim_end_matches('.').to_ascii_lowercase() + if name.ends_with('.') { "." } else { "" };
    let bare = name.trim_end_matches('.');
    if let Some(listed) = machine.listed(bare) {
        return Ok(listed);
    }
    if is_under(bare, "localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let elsewhere = machine.others && is_under(bare, "local");
    match machine.dns.as_ref().filter(|_| !elsewhere) {
        None => system::lookup(bare).await,
        Some(dns) => match dns.lookup(&name).await {
            Err(Trouble::NoSuchName | Trouble::NoAddress) if machine.others => system::lookup(bare).await,
            answer => answer,
        },
    }
}

/// Sockets that one lookup may take.
pub(super) fn sockets() -> usize {
    current().dns.as_ref().map_or(0, |dns| dns.sockets)
}

fn is_under(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// What the machine's files say, and when they were last looked at.
struct Watched {
    machine: Rc<Machine>,
    stamps: [Option<Stamp>; FILES.len()],
    looked: Instant,
}

/// A file that changed has another one.
#[derive(PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

fn stamp(path: &str) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some(Stamp { inode: meta.ino(), size: meta.size(), changed: (meta.mtime(), meta.mtime_nsec()) })
}

fn current() -> Rc<Machine> {
    MACHINE.with_borrow_mut(|slot| {
        if let Some(watched) = slot {
            if watched.looked.elapsed() < LOOK_EVERY {
                return watched.machine.clone();
            }
            watched.looked = Instant::now();
            if watched.stamps == FILES.map(stamp) {
                return watched.machine.clone();
            }
        }
        // stamps first: what changes while it is read is read again
        let stamps = FILES.map(stamp);
        let [resolv_conf, hosts, nsswitch] = FILES.map(|path| fs::read(path).unwrap_or_default());
        let machine = Rc::new(Machine::new(&resolv_conf, &hosts, &String::from_utf8_lossy(&nsswitch)));
        slot.insert(Watched { machine, stamps, looked: Instant::now() }).machine.clone()
    })
}

/// How this machine finds names.
struct Machine {
    hosts: Hosts,
    /// None where only the system's own lookup can read `resolv.conf`.
    dns: Option<Dns>,
    /// Whether the system asks services that DNS knows nothing of.
    others: bool,
}

impl Machine {
    fn new(resolv_conf: &[u8], hosts: &[u8], nsswitch: &str) -> Self {
        let mut listed = Hosts::default();
        // it fails only where reading does, and these are bytes in memory; lines that are no text end it
        let _ = listed.read_hosts_conf(String::from_utf8_lossy(hosts).as_bytes());
        Self { hosts: listed, dns: Dns::new(resolv_conf), others: asks_others(nsswitch) }
    }

    /// What `/etc/hosts` has of a name.
    fn listed(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = Name::from_ascii(name).ok()?;
        let family = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [family(RecordType::AAAA), family(RecordType::A)];
        let all: Vec<_> = found.iter().flatten().flat_map(|lookup| addresses(lookup.answers())).collect();
        (!all.is_empty()).then_some(all)
    }
}

/// Whether `hosts:` of `nsswitch.conf` names a service beside files and DNS. `resolve` is systemd's DNS, which
/// `resolv.conf` names too, and `myhostname` knows this machine only.
fn asks_others(nsswitch: &str) -> bool {
    let line = nsswitch.lines().find_map(|line| line.trim_start().strip_prefix("hosts:"));
    let services = line.unwrap_or("files dns").split('#').next().unwrap_or_default();
    // `[NOTFOUND=return]` and the like say what follows from an answer
    let plain = services.split(['[', ']']).step_by(2).flat_map(str::split_whitespace);
    plain.into_iter().any(|service| !matches!(service, "files" | "dns" | "resolve" | "myhostname"))
}

/// DNS as `resolv.conf` has it.
struct Dns {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
    sockets: usize,
}

impl Dns {
    fn new(resolv_conf: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(resolv_conf);
        // an address with a zone (fe80::1%eth0) would lose it
        if text.lines().any(|line| line.trim_start().starts_with("nameserver") && line.contains('%')) {
            return None;
        }
        let (config, options) = parse_resolv_conf(resolv_conf).ok()?;
        let sockets = SOCKETS * config.name_servers().len().clamp(1, SERVERS);
        let search = match config.search() {
            [] => config.domain().cloned().into_iter().collect(),
            search => search.to_vec(),
        };
        let ndots = options.ndots;
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        options.num_concurrent_reqs = SERVERS;
        options.cache_size = ANSWERS;
        options.positive_min_ttl = Some(MIN_TTL);
        options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
        Some(Self { resolver: builder.build().ok()?, search, ndots, sockets })
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Trouble> {
        let name = Name::from_ascii(name).map_err(|_| Trouble::NotAName)?;
        let mut trouble = Trouble::NoSuchName;
        for candidate in candidates(&name, &self.search, self.ndots) {
            match self.both_families(candidate).await {
                Err(missing @ (Trouble::NoSuchName | Trouble::NoAddress)) => trouble = missing,
                answer => return answer,
            }
        }
        Err(trouble)
    }

    async fn both_families(&self, name: Name) -> Result<Vec<IpAddr>, Trouble> {
        let v6 = pin!(self.family(name.clone(), RecordType::AAAA));
        let v4 = pin!(self.family(name, RecordType::A));
        let (v6, v4) = match select(v6, v4).await {
            Either::Left((v6, v4)) => {
                let v4 = rest(&v6, v4).await;
                (Some(v6), v4)
            }
            Either::Right((v4, v6)) => (rest(&v4, v6).await, Some(v4)),
        };
        let (found, troubles): (Vec<_>, Vec<_>) = [v6, v4].into_iter().flatten().partition(Result::is_ok);
        let found: Vec<_> = found.into_iter().flatten().flatten().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        // a server that failed for one family may know the other
        let mut troubles: Vec<_> = troubles.into_iter().filter_map(Result::err).collect();
        troubles.sort_by_key(|trouble| matches!(trouble, Trouble::NoSuchName | Trouble::NoAddress));
        Err(troubles.into_iter().next().unwrap_or(Trouble::NoAddress))
    }

    async fn family(&self, name: Name, kind: RecordType) -> Result<Vec<IpAddr>, Trouble> {
        let lookup = self.resolver.lookup(name, kind).await.map_err(trouble)?;
        Ok(addresses(lookup.answers()).collect())
    }
}

/// The other family's answer: waited for to its end only where the first one brought nothing.
async fn rest(
    first: &Result<Vec<IpAddr>, Trouble>,
    other: impl Future<Output = Result<Vec<IpAddr>, Trouble>>,
) -> Option<Result<Vec<IpAddr>, Trouble>> {
    match first {
        Ok(found) if !found.is_empty() => timeout(OTHER_FAMILY, other).await.ok(),
        _ => Some(other.await),
    }
}

/// The names to be asked for, in order: below the search domains too, unless it ends in a dot.
fn candidates(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut whole = name.clone();
    whole.set_fqdn(true);
    if name.is_fqdn() {
        return vec![whole];
    }
    let below = search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).map(|mut name| {
        name.set_fqdn(true);
        name
    });
    let mut all: Vec<_> = below.collect();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    all.insert(if dots >= ndots { 0 } else { all.len() }, whole);
    all
}

fn addresses(records: &[hickory_resolver::proto::rr::Record]) -> impl Iterator<Item = IpAddr> {
    records.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    })
}

fn trouble(error: NetError) -> Trouble {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Trouble::NoSuchName,
            ResponseCode::NoError => Trouble::NoAddress,
            code => Trouble::Refused(word(code)),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => Trouble::Refused(word(code)),
        NetError::Timeout => Trouble::Silent,
        NetError::Io(error) => Trouble::Io(error),
        error => Trouble::Refused(error.to_string()),
    }
}

/// As operators know it.
fn word(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::Refused => "REFUSED".into(),
        code => code.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_that_dns_does_not_know_are_left_to_the_system() {
        for own in [
            "",
            "hosts: files dns",
            "passwd: ldap\nhosts:\tfiles dns # wins",
            "hosts: files resolve [!UNAVAIL=return] dns myhostname",
        ] {
            assert!(!asks_others(own), "{own}");
        }
        for others in
            ["hosts: files mdns4_minimal [NOTFOUND=return] dns", "  hosts: files mymachines dns", "hosts: files wins"]
        {
            assert!(asks_others(others), "{others}");
        }
    }

    #[test]
    fn search_domains_come_before_or_after_the_name_itself() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let search = [name("one.test"), name("two.test")];
        let asked =
            |text: &str, ndots| candidates(&name(text), &search, ndots).iter().map(Name::to_string).collect::<Vec<_>>();
        assert_eq!(asked("short", 1), ["short.one.test.", "short.two.test.", "short."]);
        assert_eq!(asked("a.b", 1), ["a.b.", "a.b.one.test.", "a.b.two.test."]);
        assert_eq!(asked("a.b", 2), ["a.b.one.test.", "a.b.two.test.", "a.b."]);
        assert_eq!(asked("short.", 1), ["short."]);
    }

    #[test]
    fn hosts_are_read_with_their_aliases_whatever_their_case() {
        let text = b"127.0.0.1 one.test  Alias # two.test\n::1 one.test\nnonsense\n#127.0.0.9 three.test\n";
        let machine = Machine::new(b"", text, "");
        assert_eq!(machine.listed("one.test"), Some(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]));
        assert_eq!(machine.listed("alias"), Some(vec![Ipv4Addr::LOCALHOST.into()]));
        for other in ["two.test", "three.test", "", "test"] {
            assert_eq!(machine.listed(other), None, "{other}");
        }
    }

    #[test]
    fn what_only_the_system_understands_is_left_to_it() {
        assert!(Dns::new(b"nameserver 127.0.0.1\n").is_some());
        for resolv_conf in ["", "search one.test\n", "nameserver fe80::1%eth0\n"] {
            assert!(Dns::new(resolv_conf.as_bytes()).is_none(), "{resolv_conf}");
        }
    }
}
