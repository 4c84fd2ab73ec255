//! One attempt against the farm: each fault has its kind and its retry, and what is right is read whole.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use kawaraban::{
    config::{BasicAuth, Listen, RequestSettings},
    fetch::{Answer, Document, Fetcher, Outgoing, Tls, Validators, get_local, send},
    model::{ErrorKind, Failure, Secret},
};
use url::Url;

use crate::support::farm::{
    Farm, Fault, FeedHandle,
    proxy::{Protocol, Proxy},
};

/// Generous: nothing here takes as long unless it is meant to.
const LONG: Duration = Duration::from_secs(30);
/// For what is meant to end by its deadline.
const SHORT: Duration = Duration::from_millis(400);

fn settings() -> RequestSettings {
    RequestSettings {
        timeout: LONG,
        connect_timeout: LONG,
        max_body: 1 << 20,
        max_redirects: 5,
        keep_alive: false,
        user_agent: "kawaraban-test/1".into(),
        proxy: None,
        extra_roots: Arc::default(),
        allow_private_addresses: true,
        headers: Vec::new(),
        basic_auth: None,
        post: None,
    }
}

fn trusting(farm: &Farm) -> RequestSettings {
    RequestSettings { extra_roots: Arc::new(vec![farm.certificate()]), ..settings() }
}

fn fetcher(url: &str, settings: RequestSettings) -> Fetcher {
    let tls = Tls::new().with_roots(&settings.extra_roots);
    Fetcher::new(Url::parse(url).unwrap(), Arc::new(settings), tls)
}

async fn get(url: &str, settings: RequestSettings) -> Result<Answer, Failure> {
    fetcher(url, settings).get(Validators::default()).await
}

fn document(answer: Result<Answer, Failure>) -> Document {
    match answer {
        Ok(Answer::Document(document)) => document,
        other => panic!("no document: {other:?}"),
    }
}

fn kind(answer: Result<Answer, Failure>) -> (String, bool) {
    match answer {
        Err(failure) => (failure.kind.to_string(), failure.retry),
        other => panic!("no failure: {other:?}"),
    }
}

fn feed(farm: &Farm) -> FeedHandle {
    let feed = farm.feed("ann");
    feed.publish(55);
    feed
}

#[actix_rt::test]
async fn every_fault_has_its_kind_and_its_retry_with_and_without_tls() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let cases: &[(Fault, &str, bool)] = &[
        (Fault::ResetBefore, "connection_reset", true),
        (Fault::ResetWithin, "connection_reset", true),
        (Fault::ClosedBefore, "closed_early", true),
        (Fault::CutHead, "closed_early", true),
        (Fault::CutLength, "closed_early", true),
        (Fault::CutInChunk, "closed_early", true),
        (Fault::CutBetweenChunks, "closed_early", true),
        (Fault::CutGzip, "closed_early", true),
        (Fault::EndlessChunks, "too_large", false),
        (Fault::EndlessHead, "protocol", true),
        (Fault::GzipBomb, "too_large", false),
        (Fault::CorruptGzip, "protocol", true),
        (Fault::UnknownEncoding, "protocol", true),
        (Fault::Garbage, "protocol", true),
        (Fault::BadChunk, "protocol", true),
        (Fault::Status(404), "http_404", false),
        (Fault::Status(403), "http_403", false),
        (Fault::Status(408), "http_408", true),
        (Fault::Status(429), "rate_limited", true),
        (Fault::Status(500), "http_500", true),
        (Fault::Status(501), "http_501", false),
        (Fault::Status(503), "http_503", true),
        (Fault::Status(524), "http_524", true),
        (Fault::Status(206), "http_206", false),
        (Fault::Status(304), "http_304", false),
        (Fault::Status(302), "http_302", false),
        (Fault::RedirectLoop, "redirect_loop", false),
        (Fault::EndlessRedirects, "redirect_loop", false),
        (Fault::Redirect(302, "gopher://x/".into()), "blocked_address", false),
        (Fault::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc".into()), "protocol", true),
        (Fault::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".into()), "protocol", true),
        (Fault::Raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".into()), "http_101", false),
        (Fault::Raw(b"ICY 200 OK\r\n\r\nabc".into()), "protocol", true),
        (Fault::Raw(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(20)), "protocol", true),
        (Fault::Raw(b"HTTP/1.1 100 Continue\r\n\r\n".into()), "closed_early", true),
    ];
    for (fault, expected, retry) in cases {
        feed.set_fault(fault.clone());
        for url in [feed.url(), feed.tls_url()] {
            let outcome = kind(get(&url, trusting(&farm)).await);
            assert_eq!(outcome, ((*expected).to_owned(), *retry), "{fault:?} at {url}");
        }
    }
}

#[actix_rt::test]
async fn what_does_not_end_ends_at_the_deadline() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let faults = [Fault::Hang, Fault::HangWithin, Fault::Drip(Duration::from_millis(1)), Fault::Slow(LONG)];
    for fault in faults {
        feed.set_fault(fault.clone());
        for url in [feed.url(), feed.tls_url()] {
            let began = Instant::now();
            let outcome = kind(get(&url, RequestSettings { timeout: SHORT, ..trusting(&farm) }).await);
            assert_eq!(outcome, ("timeout".to_owned(), true), "{fault:?} at {url}");
            assert!(began.elapsed() >= SHORT && began.elapsed() < LONG, "{fault:?} at {url}");
        }
    }
    // the deadline is one for all hops together
    feed.set_fault(Fault::EndlessRedirects);
    let patient = RequestSettings { timeout: SHORT, max_redirects: u32::MAX, ..settings() };
    assert_eq!(kind(get(&feed.url(), patient).await).0, "timeout");
}

#[actix_rt::test]
async fn what_is_right_is_read_whole_with_and_without_tls() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let plain = feed.document();
    let interim = [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".as_slice(), &plain];
    let old = [b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n".as_slice(), &plain];
    let identity = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n".as_slice(), &plain];
    let faults = [
        None,
        Some(Fault::Chunked),
        Some(Fault::Gzip),
        Some(Fault::EndsWithConnection),
        Some(Fault::EndsAbruptly),
        Some(Fault::EarlyHints),
        Some(Fault::Slow(Duration::from_millis(10))),
        Some(Fault::Raw(interim.concat())),
        Some(Fault::Raw(old.concat())),
        Some(Fault::Raw(identity.concat())),
    ];
    for fault in faults {
        feed.set_fault(fault.clone());
        for url in [feed.url(), feed.tls_url()] {
            let document = document(get(&url, trusting(&farm)).await);
            assert!(document.body == plain, "{fault:?} at {url}: {} bytes", document.body.len());
            // only a TLS connection that ends without a word leaves a doubt
            assert_eq!(
                document.certain,
                !(fault == Some(Fault::EndsAbruptly) && url.starts_with("https")),
                "{fault:?}"
            );
            assert_eq!(document.wire_bytes == plain.len() as u64, fault != Some(Fault::Gzip), "{fault:?}");
        }
    }
    feed.set_fault(Fault::EmptyBody);
    assert!(document(get(&feed.url(), settings()).await).body.is_empty());
}

#[actix_rt::test]
async fn a_short_body_byte_by_byte_is_whole() {
    let farm = Farm::start();
    let feed = farm.feed("slow");
    feed.set_fault(Fault::Drip(Duration::ZERO));
    assert!(document(get(&feed.url(), settings()).await).body == feed.document());
}

#[actix_rt::test]
async fn bodies_are_bounded_as_they_come_and_as_they_are() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let size = feed.document().len() as u64;
    for fault in [None, Some(Fault::Chunked), Some(Fault::EndsWithConnection), Some(Fault::Gzip)] {
        feed.set_fault(fault.clone());
        let limited = |max_body| get_boxed(feed.url(), RequestSettings { max_body, ..settings() });
        assert_eq!(document(limited(size).await).body.len() as u64, size, "{fault:?}");
        assert_eq!(kind(limited(size - 1).await), ("too_large".to_owned(), false), "{fault:?}");
    }
    // a length that is announced is not waited for
    feed.set_fault(Fault::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n".into()));
    assert_eq!(kind(get(&feed.url(), settings()).await).0, "too_large");
}

async fn get_boxed(url: String, settings: RequestSettings) -> Result<Answer, Failure> {
    get(&url, settings).await
}

#[actix_rt::test]
async fn a_document_comes_with_what_the_next_request_needs_and_304_is_an_answer() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let fetcher = fetcher(&feed.url(), settings());
    let first = document(fetcher.get(Validators::default()).await);
    assert_eq!(first.content_type.as_deref(), Some("application/rss+xml; charset=utf-8"));
    let (etag, modified) = (first.etag.unwrap(), first.last_modified.unwrap());
    for validators in [
        Validators { etag: Some(&etag), last_modified: Some(&modified) },
        Validators { etag: Some(&etag), last_modified: None },
        Validators { etag: None, last_modified: Some(&modified) },
    ] {
        assert!(matches!(fetcher.get(validators).await, Ok(Answer::NotModified(_))), "{validators:?}");
    }
    let request = feed.requests().pop().unwrap();
    assert_eq!(request.header("if-modified-since"), Some(modified.as_str()));
    assert_eq!(request.header("if-none-match"), None);
    feed.publish(1);
    let both = Validators { etag: Some(&etag), last_modified: Some(&modified) };
    assert!(document(fetcher.get(both).await).body == feed.document());

    feed.set_fault(Fault::NotModifiedWithLength);
    assert!(matches!(fetcher.get(both).await, Ok(Answer::NotModified(_))));
    feed.set_fault(Fault::Status(410));
    assert!(matches!(fetcher.get(both).await, Ok(Answer::Gone)));
}

#[actix_rt::test]
async fn validators_go_back_byte_for_byte() {
    let farm = Farm::start();
    let feed = feed(&farm);
    feed.set_fault(Fault::Raw(b"HTTP/1.1 200 OK\r\nETag: W/\"a  b\xc3\xa4,\"\r\nContent-Length: 0\r\n\r\n".into()));
    let fetcher = fetcher(&feed.url(), settings());
    let etag = document(fetcher.get(Validators::default()).await).etag.unwrap();
    let _ = fetcher.get(Validators { etag: Some(&etag), last_modified: Some("not a date") }).await;
    let request = feed.requests().pop().unwrap();
    assert_eq!(request.header("if-none-match"), Some("W/\"a  bä,\""));
    assert_eq!(request.header("if-modified-since"), Some("not a date"));
}

#[actix_rt::test]
async fn a_request_says_who_asks_and_nothing_of_the_urls_secrets() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let url = feed.url().replace("http://", "http://us%40er:p%20w@") + "?key=1#frag";
    get(&url, settings()).await.unwrap();
    let request = feed.requests().pop().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/ann?key=1"));
    assert_eq!(request.header("host"), Some(farm.address().to_string().as_str()));
    assert_eq!(request.header("user-agent"), Some("kawaraban-test/1"));
    assert_eq!(request.header("accept-encoding"), Some("gzip"));
    assert!(request.header("accept").unwrap().starts_with("application/rss+xml"));
    assert_eq!(request.header("connection"), Some("close"));
    assert_eq!(request.header("authorization"), Some("Basic dXNAZXI6cCB3"));
    assert_eq!(request.header("content-length"), None);

    let configured = RequestSettings {
        headers: vec![
            ("X-Key".into(), Secret::new("k1".into())),
            ("Accept".into(), Secret::new("text/xml".into())),
            ("Connection".into(), Secret::new("upgrade".into())),
        ],
        basic_auth: Some(BasicAuth { user: "a".into(), password: Secret::new("b".into()) }),
        ..settings()
    };
    get(&url, configured).await.unwrap();
    let request = feed.requests().pop().unwrap();
    assert_eq!(request.header("x-key"), Some("k1"));
    assert_eq!(request.header("authorization"), Some("Basic YTpi"));
    assert_eq!(request.header("connection"), Some("close"));
    let accept: Vec<_> = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("accept")).collect();
    assert_eq!(accept.len(), 1, "{accept:?}");
    assert_eq!(accept[0].1, "text/xml");
}

#[actix_rt::test]
async fn no_failure_shows_a_secret() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let secret = |url: String| url.replace("://", "://user:hunter2@") + "?key=hunter2";
    let mut urls = vec![secret(farm.refusing_url()), secret(farm.unresolvable_url())];
    for fault in [Fault::Status(500), Fault::Garbage, Fault::Hang, Fault::RedirectLoop, Fault::CutLength] {
        let feed = farm.feed(&format!("f{}", urls.len()));
        feed.publish(1);
        feed.set_fault(fault);
        urls.push(secret(feed.url()));
    }
    urls.push(secret(feed.tls_url()));
    for url in urls {
        let failure = get(&url, RequestSettings { timeout: SHORT, ..settings() }).await.unwrap_err();
        assert!(!failure.to_string().contains("hunter2") && !failure.to_string().contains("user"), "{failure}");
    }
}

#[actix_rt::test]
async fn retry_after_is_read_on_429_and_503_only() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let asked = async |status, value: &str| {
        feed.set_fault(Fault::RetryAfter(status, value.into()));
        get(&feed.url(), settings()).await.unwrap_err().retry_after
    };
    assert_eq!(asked(429, "7").await, Some(Duration::from_secs(7)));
    assert_eq!(asked(503, "9999999").await, Some(Duration::from_secs(86_400)));
    assert_eq!(asked(503, "Fri, 01 Jan 2100 00:00:00 GMT").await, Some(Duration::from_secs(86_400)));
    assert_eq!(asked(500, "7").await, None);
    assert_eq!(asked(429, "soon").await, None);
}

#[actix_rt::test]
async fn redirects_are_followed_and_permanent_ones_reported() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let old = farm.feed("old");
    let older = farm.feed("older");
    old.set_fault(Fault::Redirect(307, "/ann?x=1".into()));
    older.set_fault(Fault::Redirect(301, "old".into()));
    let document = document(get(&older.url(), settings()).await);
    assert!(document.body == feed.document());
    assert_eq!(document.hops, 2);
    assert_eq!(document.final_url.as_str(), feed.url() + "?x=1");
    assert_eq!(document.permanent_redirect.unwrap().as_str(), old.url());
    for status in [301, 302, 303, 307, 308] {
        old.set_fault(Fault::Redirect(status, feed.tls_url()));
        assert!(get(&old.url(), trusting(&farm)).await.is_ok(), "{status}");
    }
    let proud = RequestSettings { max_redirects: 0, ..settings() };
    assert_eq!(kind(get(&older.url(), proud).await).0, "redirect_loop");
    // from https to http: never
    older.set_fault(Fault::Redirect(302, feed.url()));
    assert_eq!(kind(get(&older.tls_url(), trusting(&farm)).await), ("blocked_address".to_owned(), false));
}

#[actix_rt::test]
async fn credentials_do_not_cross_to_another_origin_and_validators_do() {
    let farm = Farm::start();
    let other = Farm::start();
    let (start, home, away) = (farm.feed("start"), feed(&farm), feed(&other));
    let configured = RequestSettings {
        headers: vec![("X-Key".into(), Secret::new("k".into()))],
        basic_auth: Some(BasicAuth { user: "a".into(), password: Secret::new("b".into()) }),
        ..settings()
    };
    for (target, sent) in [(home, true), (away, false)] {
        start.set_fault(Fault::Redirect(302, target.url()));
        let fetcher = fetcher(&start.url(), configured.clone());
        fetcher.get(Validators { etag: Some("\"e\""), last_modified: None }).await.unwrap();
        let request = target.requests().pop().unwrap();
        assert_eq!(request.header("x-key").is_some(), sent);
        assert_eq!(request.header("authorization").is_some(), sent);
        assert_eq!(request.header("if-none-match"), Some("\"e\""));
        assert_eq!(request.header("user-agent"), Some("kawaraban-test/1"));
    }
}

#[actix_rt::test]
async fn addresses_that_are_not_global_are_blocked_before_a_byte_is_sent() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let guarded = || RequestSettings { allow_private_addresses: false, ..settings() };
    let port = farm.address().port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "2130706433",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "100.64.0.1",
        "[fe80::1]",
        "[fd00::1]",
    ];
    for host in hosts {
        let outcome = kind(get(&format!("http://{host}:{port}/ann"), guarded()).await);
        assert_eq!(outcome, ("blocked_address".to_owned(), false), "{host}");
    }
    assert_eq!(kind(get(&feed.tls_url(), guarded()).await).0, "blocked_address");
    assert_eq!(farm.connections(), 0);
    // what is allowed when it is allowed
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        assert!(get(&format!("http://{host}:{port}/ann"), settings()).await.is_ok(), "{host}");
    }
}

#[actix_rt::test]
async fn a_redirect_cannot_lead_to_an_address_that_is_not_global() {
    // through a proxy, names are the proxy's part and literals are still ours: so the first hop may be
    // reached here without being global, and the second is judged
    let farm = Farm::start();
    let feed = feed(&farm);
    let start = farm.feed("start");
    let proxy = Proxy::start(Protocol::Connect, None);
    let guarded = RequestSettings {
        allow_private_addresses: false,
        proxy: Some(Secret::new(Url::parse(&proxy.url("")).unwrap())),
        ..settings()
    };
    let port = farm.address().port();
    for target in [feed.url(), format!("http://[::1]:{port}/ann"), "//169.254.169.254/latest/meta-data".into()] {
        start.set_fault(Fault::Redirect(302, target.clone()));
        let outcome = kind(get(&format!("http://start.example:{port}/start"), guarded.clone()).await);
        assert_eq!(outcome, ("blocked_address".to_owned(), false), "{target}");
    }
    assert!(feed.requests().is_empty());
}

#[actix_rt::test]
async fn proxies_are_spoken_to_in_their_language_and_resolve_the_names() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let via = |url: String| RequestSettings { proxy: Some(Secret::new(Url::parse(&url).unwrap())), ..trusting(&farm) };
    let (port, tls_port) = (farm.address().port(), farm.tls_address().port());
    for protocol in [Protocol::Connect, Protocol::Socks5] {
        let proxy = Proxy::start(protocol, None);
        let targets = [
            format!("http://feed.example:{port}/ann"),
            format!("https://localhost:{tls_port}/ann"),
            format!("http://127.0.0.1:{port}/ann"),
        ];
        for url in &targets {
            assert!(document(get(url, via(proxy.url(""))).await).body == feed.document(), "{protocol:?} {url}");
        }
        let expected = [format!("feed.example:{port}"), format!("localhost:{tls_port}"), format!("127.0.0.1:{port}")];
        assert_eq!(proxy.targets(), expected, "{protocol:?}");
        // the target refuses: the proxy says so
        let refused = kind(get(&farm.refusing_url(), via(proxy.url(""))).await);
        assert_eq!(refused, ("proxy".to_owned(), true), "{protocol:?}");

        let strict = Proxy::start(protocol, Some(("us@er", "p:w")));
        assert!(get(&targets[0], via(strict.url("us%40er:p%3Aw@"))).await.is_ok(), "{protocol:?}");
        for login in ["", "us%40er:wrong@"] {
            let outcome = get(&targets[0], via(strict.url(login))).await;
            let failure = outcome.unwrap_err();
            assert_eq!((failure.kind, failure.retry), (ErrorKind::Proxy, true), "{protocol:?} {login}");
            assert!(!failure.message.contains("wrong"), "{failure}");
        }
    }
    let requests = feed.requests();
    assert_eq!(requests[0].header("host"), Some(format!("feed.example:{port}").as_str()));
    assert!(requests.iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[actix_rt::test]
async fn no_proxy_is_asked_for_names_of_our_own_network() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let port = farm.address().port();
    for protocol in [Protocol::Connect, Protocol::Socks5] {
        let proxy = Proxy::start(protocol, None);
        let proxied = || Some(Secret::new(Url::parse(&proxy.url("")).unwrap()));
        let guarded = RequestSettings { proxy: proxied(), allow_private_addresses: false, ..settings() };
        let blocked = ("blocked_address".to_owned(), false);
        let local = [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "nas.local",
            "x.internal.",
            "nas.home.arpa",
            "router",
        ];
        for host in local {
            let url = format!("http://{host}:{port}/ann");
            assert_eq!(kind(get(&url, guarded.clone()).await), blocked, "{host}");
            let page = Url::parse(&url).unwrap();
            let visit = fetcher("http://feed.example/", guarded.clone()).visit(&page).await;
            assert_eq!(visit.unwrap_err().kind, ErrorKind::BlockedAddress, "{host}");
        }
        assert_eq!(proxy.targets(), Vec::<String>::new());
        // nor where a redirect leads to one
        feed.set_fault(Fault::Redirect(302, format!("http://localhost:{port}/ann")));
        let url = format!("http://feed.example:{port}/ann");
        assert_eq!(kind(get(&url, guarded.clone()).await), blocked);
        assert_eq!(proxy.targets(), [format!("feed.example:{port}")]);
        // unless such names are allowed
        feed.set_fault(None);
        let open = RequestSettings { proxy: proxied(), ..settings() };
        document(get(&format!("http://localhost:{port}/ann"), open).await);
    }
}

#[actix_rt::test]
async fn a_proxy_that_cannot_be_used_is_the_proxys_fault() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let quick = RequestSettings { connect_timeout: SHORT, ..settings() };
    let via = |url: String| RequestSettings { proxy: Some(Secret::new(Url::parse(&url).unwrap())), ..quick.clone() };
    let refusing = farm.refusing_url();
    for scheme in ["http", "socks5"] {
        let urls = [
            refusing.replace("http", scheme),
            format!("{scheme}://proxy.invalid:1080"),
            // something listens, and speaks neither
            format!("{scheme}://{}", one_shot(|mut stream| stream.write_all(b"220 mail\r\n\r\n").unwrap())),
            format!("{scheme}://{}", one_shot(drop)),
            format!("{scheme}://{}", one_shot(|mut stream| drop(stream.read_to_end(&mut Vec::new())))),
        ];
        for url in urls {
            assert_eq!(kind(get(&feed.url(), via(url.clone())).await), ("proxy".to_owned(), true), "{url}");
        }
    }
    assert!(feed.requests().is_empty());
}

#[actix_rt::test]
async fn connections_that_cannot_be_made_are_told_apart() {
    let farm = Farm::start();
    assert_eq!(kind(get(&farm.refusing_url(), settings()).await), ("connect_refused".to_owned(), true));
    assert_eq!(kind(get(&farm.unresolvable_url(), settings()).await), ("dns".to_owned(), true));
    // a listener whose backlog is full takes no further connection, and refuses none
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let waiting: Vec<_> = (0..8).map(|_| connect_in_background(address)).collect();
    let outcome = loop {
        let quick = RequestSettings { connect_timeout: SHORT, timeout: LONG, ..settings() };
        let deadline = RequestSettings { timeout: SHORT * 4, ..quick };
        match kind(get(&format!("http://{address}/"), deadline).await) {
            // the backlog was not full yet: this attempt is in it
            (kind, _) if kind == "timeout" => {}
            outcome => break outcome,
        }
    };
    assert_eq!(outcome, ("connect_timeout".to_owned(), true));
    drop((full, waiting));
}

fn connect_in_background(address: SocketAddr) -> tokio::task::JoinHandle<()> {
    actix_rt::spawn(async move {
        let _held = tokio::net::TcpStream::connect(address).await;
        std::future::pending().await
    })
}

/// A listener whose first connection is handed to `play`, on a thread of its own.
fn one_shot(play: impl FnOnce(std::net::TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || play(listener.accept().unwrap().0));
    address
}

#[actix_rt::test]
async fn a_certificate_that_does_not_verify_ends_the_attempts_and_a_broken_handshake_does_not() {
    let farm = Farm::start();
    assert_eq!(kind(get(&farm.feed("ann").tls_url(), settings()).await), ("tls".to_owned(), false));
    // the right issuer, another name
    let wrong = format!("https://[::ffff:127.0.0.1]:{}/ann", farm.tls_address().port());
    assert_eq!(kind(get(&wrong, trusting(&farm)).await), ("tls".to_owned(), false));

    let closing = one_shot(|mut stream| {
        stream.read_exact(&mut [0; 100]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_eq!(kind(get(&format!("https://{closing}/"), settings()).await), ("tls".to_owned(), true));
    // closing with bytes unread is a reset
    let resetting = one_shot(|mut stream| {
        stream.read_exact(&mut [0; 10]).unwrap();
        drop(stream);
    });
    let outcome = kind(get(&format!("https://{resetting}/"), settings()).await);
    assert_eq!(outcome, ("connection_reset".to_owned(), true));
    let silent = one_shot(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let quick = RequestSettings { timeout: SHORT, ..settings() };
    assert_eq!(kind(get(&format!("https://{silent}/"), quick).await), ("timeout".to_owned(), true));
    // plain HTTP where TLS should be
    let plain = one_shot(|mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_eq!(kind(get(&format!("https://{plain}/"), settings()).await), ("tls".to_owned(), true));
}

#[actix_rt::test]
async fn connections_are_fresh_unless_they_are_to_be_kept() {
    let farm = Farm::start();
    for (keep_alive, tls) in [(false, false), (false, true), (true, false), (true, true)] {
        let feed = farm.feed(&format!("f-{keep_alive}-{tls}"));
        feed.publish(5);
        let url = if tls { feed.tls_url() } else { feed.url() };
        let fetcher = fetcher(&url, RequestSettings { keep_alive, ..trusting(&farm) });
        for fault in [None, Some(Fault::Chunked), Some(Fault::Gzip), Some(Fault::NotModifiedWithLength), None] {
            feed.set_fault(fault);
            fetcher.get(Validators { etag: Some("\"x\""), last_modified: None }).await.unwrap();
        }
        let mut connections: Vec<u64> = feed.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections.len(), 5);
        connections.dedup();
        assert_eq!(connections.len(), if keep_alive { 1 } else { 5 }, "keep_alive {keep_alive}, tls {tls}");
        let closes = |value: Option<&str>| value == Some("close");
        assert!(feed.requests().iter().all(|request| closes(request.header("connection")) != keep_alive));
    }
}

#[actix_rt::test]
async fn a_kept_connection_carries_a_redirect_and_what_it_leads_to() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let start = farm.feed("start");
    start.set_fault(Fault::Redirect(302, "/ann".into()));
    let fetcher = fetcher(&start.url(), RequestSettings { keep_alive: true, ..settings() });
    for _ in 0..2 {
        assert!(document(fetcher.get(Validators::default()).await).body == feed.document());
    }
    assert_eq!((farm.requests().len(), farm.connections()), (4, 1));
    // a redirect's body that never comes is not waited for
    start.set_fault(Fault::Raw(b"HTTP/1.1 302 x\r\nLocation: /ann\r\nContent-Length: 9\r\n\r\n".into()));
    assert!(document(fetcher.get(Validators::default()).await).body == feed.document());
}

#[actix_rt::test]
async fn a_kept_connection_is_not_used_after_an_answer_that_was_not_read_to_its_end() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let fetcher = fetcher(&feed.url(), RequestSettings { keep_alive: true, timeout: SHORT, ..settings() });
    let faults = [Fault::Status(404), Fault::HangWithin, Fault::EndsWithConnection, Fault::CorruptGzip];
    for fault in faults {
        feed.set_fault(fault);
        let _ = fetcher.get(Validators::default()).await;
    }
    let connections: Vec<u64> = feed.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1, 2, 3]);
    feed.set_fault(Fault::Headers(vec!["Connection: close".into()]));
    for _ in 0..2 {
        fetcher.get(Validators::default()).await.unwrap();
    }
    let connections: Vec<u64> = feed.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections[4..], [4, 5]);
}

#[actix_rt::test]
async fn a_kept_connection_that_was_closed_in_between_costs_no_attempt() {
    // the server answers one request a connection without saying so, and closes only when the next
    // request is there: the check before the request finds the connection alive
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            let _ = stream.read(&mut request).unwrap();
        }
    });
    let fetcher = fetcher(&format!("http://{address}/"), RequestSettings { keep_alive: true, ..settings() });
    for _ in 0..4 {
        assert_eq!(document(fetcher.get(Validators::default()).await).body, "ok");
    }
}

#[actix_rt::test]
async fn tls_configurations_are_shared_by_sources_with_the_same_roots() {
    let farm = Farm::start();
    let tls = Tls::new();
    let (none, also_none) = (Arc::default(), Arc::default());
    assert!(Arc::ptr_eq(&tls.with_roots(&none), &tls.with_roots(&also_none)));
    let extra = Arc::new(vec![farm.certificate()]);
    assert!(Arc::ptr_eq(&tls.with_roots(&extra), &tls.with_roots(&extra)));
    assert!(!Arc::ptr_eq(&tls.with_roots(&extra), &tls.with_roots(&none)));
}

#[actix_rt::test]
async fn what_is_sent_is_answered_whatever_the_status() {
    let farm = Farm::start();
    let hook = farm.feed("hook");
    let outgoing = |url: &str| Outgoing {
        method: awc::http::Method::POST,
        url: Url::parse(url).unwrap(),
        headers: vec![(awc::http::header::CONTENT_TYPE, awc::http::header::HeaderValue::from_static("text/plain"))],
        body: Some("hello".into()),
        timeout: Duration::from_secs(2),
        connect_timeout: LONG,
        max_answer: 1000,
    };
    let tls = Tls::new().with_roots(&Arc::new(vec![farm.certificate()]));
    for url in [hook.url(), hook.tls_url()] {
        hook.set_fault(Fault::RetryAfter(429, "3".into()));
        let reply = send(outgoing(&url), &tls).await.unwrap();
        assert_eq!((reply.status, &reply.body[..]), (429, &b"later\n"[..]));
        assert_eq!(reply.headers.get("retry-after").unwrap(), "3");
        let request = hook.requests().pop().unwrap();
        assert_eq!((request.method.as_str(), request.header("content-length")), ("POST", Some("5")));
        hook.set_fault(Fault::Redirect(302, "/elsewhere".into()));
        assert_eq!(send(outgoing(&url), &tls).await.unwrap().status, 302);
        // once the request was written, nobody knows whether it was taken
        for (fault, kind) in [
            (Fault::ResetBefore, ErrorKind::ConnectionReset),
            (Fault::ClosedBefore, ErrorKind::ClosedEarly),
            (Fault::Hang, ErrorKind::Timeout),
            (Fault::EndlessChunks, ErrorKind::TooLarge),
        ] {
            let told = (fault == Fault::EndlessChunks).then_some(200);
            hook.set_fault(fault.clone());
            let mut request = outgoing(&url);
            if fault == Fault::Hang {
                request.timeout = SHORT;
            }
            let failed = send(request, &tls).await.unwrap_err();
            assert_eq!((failed.failure.kind, failed.begun.map(|reply| reply.status)), (kind, told), "{fault:?}");
        }
    }
    let failed = send(outgoing(&farm.refusing_url()), &tls).await.unwrap_err();
    assert_eq!((failed.failure.kind, failed.begun.is_none()), (ErrorKind::ConnectRefused, true));
    let failed = send(outgoing(&hook.tls_url()), &Tls::new().with_roots(&Arc::default())).await.unwrap_err();
    assert_eq!((failed.failure.kind, failed.begun.is_none()), (ErrorKind::Tls, true));
}

#[actix_rt::test]
async fn our_own_daemon_is_reached_over_tcp_and_over_a_socket_file() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let reply = get_local(&Listen::Tcp(farm.address()), "/ann?brief", LONG).await.unwrap();
    assert!(reply.status == 200 && reply.body == feed.document());
    assert_eq!(feed.requests()[0].path, "/ann?brief");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        stream.write_all(b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown").unwrap();
        String::from_utf8(request).unwrap()
    });
    let reply = get_local(&Listen::Unix(path.clone()), "/health", LONG).await.unwrap();
    assert_eq!((reply.status, &reply.body[..]), (503, &b"down"[..]));
    let request = server.join().unwrap();
    assert!(request.starts_with("GET /health HTTP/1.1\r\n") && request.contains("host: localhost\r\n"), "{request}");
    drop(std::fs::remove_file(&path));
    assert_eq!(get_local(&Listen::Unix(path), "/", LONG).await.unwrap_err().kind, ErrorKind::ConnectRefused);
}

#[actix_rt::test]
async fn a_body_is_posted_as_json_unless_headers_say_otherwise() {
    let farm = Farm::start();
    let feed = feed(&farm);
    let posting = RequestSettings { post: Some(Secret::new("{\"query\":\"名\"}".into())), ..settings() };
    // the answer is never asked for conditionally: the validators are of another question's answer, perhaps
    let asked = fetcher(&feed.url(), posting.clone());
    let first = document(asked.get(Validators::default()).await);
    let validators = Validators { etag: first.etag.as_deref(), last_modified: first.last_modified.as_deref() };
    assert!(document(asked.get(validators).await).body == feed.document());
    let request = feed.requests().pop().unwrap();
    assert_eq!(request.method, "POST");
    assert_eq!(String::from_utf8(request.body.clone()).unwrap(), "{\"query\":\"名\"}");
    assert_eq!(request.header("content-length"), Some("15"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!((request.header("if-none-match"), request.header("if-modified-since")), (None, None));

    let form = vec![("content-type".into(), Secret::new("application/x-www-form-urlencoded".into()))];
    let form = RequestSettings { post: Some(Secret::new("a=b".into())), headers: form, ..settings() };
    get(&feed.url(), form).await.unwrap();
    let request = feed.requests().pop().unwrap();
    let types: Vec<_> = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type")).collect();
    assert_eq!(types.len(), 1, "{types:?}");
    assert_eq!(types[0].1, "application/x-www-form-urlencoded");

    feed.set_fault(Fault::NotModifiedWithLength);
    assert_eq!(kind(asked.get(validators).await).0, "http_304");
}

#[actix_rt::test]
async fn a_posted_body_follows_redirects_as_browsers_do_and_never_to_another_origin() {
    let farm = Farm::start();
    let other = Farm::start();
    let (start, home, away) = (farm.feed("start"), feed(&farm), feed(&other));
    let posting = RequestSettings { post: Some(Secret::new("{}".into())), ..settings() };
    for (status, target, method) in [
        (307, &home, "POST"),
        (308, &home, "POST"),
        (301, &home, "GET"),
        (302, &home, "GET"),
        (303, &home, "GET"),
        (307, &away, "GET"),
        (308, &away, "GET"),
    ] {
        start.set_fault(Fault::Redirect(status, target.url()));
        get(&start.url(), posting.clone()).await.unwrap();
        let request = target.requests().pop().unwrap();
        assert_eq!(request.method, method, "{status} to {}", request.path);
        assert_eq!(request.body.is_empty(), method == "GET", "{status}");
        assert_eq!(request.header("content-type").is_some(), method == "POST", "{status}");
    }
}

/// What a fetcher of `feed` is given that nobody else may see.
fn secretive() -> RequestSettings {
    RequestSettings {
        headers: vec![("X-Key".into(), Secret::new("k".into()))],
        basic_auth: Some(BasicAuth { user: "a".into(), password: Secret::new("b".into()) }),
        post: Some(Secret::new("{\"key\":1}".into())),
        ..settings()
    }
}

#[actix_rt::test]
async fn a_visit_carries_the_sources_secrets_to_its_own_origin_only() {
    let farm = Farm::start();
    let other = Farm::start();
    let source = fetcher(&feed(&farm).url(), secretive());
    for (farm, at_home) in [(&farm, true), (&other, false)] {
        let article = farm.feed("article");
        article.set_fault(Fault::Document(b"<title>x</title>".into(), "text/html".into()));
        let found = source.visit(&Url::parse(&(article.url() + "?page=1#part")).unwrap()).await.unwrap();
        assert_eq!(found.body, "<title>x</title>");
        assert_eq!(found.final_url.as_str(), article.url() + "?page=1");
        let request = article.requests().pop().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/article?page=1"));
        assert!(request.header("accept").unwrap().starts_with("text/html"));
        assert!(request.body.is_empty());
        assert_eq!(request.header("x-key").is_some(), at_home);
        assert_eq!(request.header("authorization").is_some(), at_home);

        // and not to where it leads from elsewhere
        let (from, to) = if at_home { (&article, other.feed("lure")) } else { (&article, farm.feed("lure")) };
        from.set_fault(Fault::Redirect(302, to.url()));
        to.set_fault(Fault::Document(b"x".into(), "text/html".into()));
        source.visit(&Url::parse(&from.url()).unwrap()).await.unwrap();
        assert_eq!(to.requests().pop().unwrap().header("x-key"), None);
    }
}

#[actix_rt::test]
async fn a_visit_that_brings_no_page_says_why() {
    let farm = Farm::start();
    let source = fetcher(&feed(&farm).url(), settings());
    let article = farm.feed("article");
    for (fault, expected) in [
        (Fault::Status(404), "http_404"),
        (Fault::Status(410), "http_410"),
        (Fault::Status(304), "http_304"),
        (Fault::Status(206), "http_206"),
        (Fault::ClosedBefore, "closed_early"),
        (Fault::Document(b"\x89PNG".into(), "image/png".into()), "malformed"),
        (Fault::RedirectLoop, "redirect_loop"),
        (Fault::GzipBomb, "too_large"),
        (Fault::ResetBefore, "connection_reset"),
    ] {
        article.set_fault(fault.clone());
        let failure = source.visit(&Url::parse(&article.url()).unwrap()).await.unwrap_err();
        assert_eq!(failure.kind.to_string(), expected, "{fault:?}");
    }
    let guarded = fetcher(&feed(&farm).url(), RequestSettings { allow_private_addresses: false, ..settings() });
    let before = farm.connections();
    let url = Url::parse(&article.url()).unwrap();
    assert_eq!(guarded.visit(&url).await.unwrap_err().kind.to_string(), "blocked_address");
    assert_eq!(guarded.media_type(&url).await.unwrap_err().kind.to_string(), "blocked_address");
    assert_eq!(farm.connections(), before);
}

#[actix_rt::test]
async fn an_image_is_asked_for_one_byte_and_told_by_its_type() {
    let farm = Farm::start();
    let source = fetcher(&feed(&farm).url(), secretive());
    let image = farm.feed("image");
    let url = Url::parse(&image.url()).unwrap();
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Type: Image/PNG\r\nContent-Range: bytes 0-0/70000\r\nContent-Length: 1\r\n\r\n\x01";
    image.set_fault(Fault::Raw(part.into()));
    assert_eq!(source.media_type(&url).await.unwrap(), "image/png");
    let request = image.requests().pop().unwrap();
    assert_eq!((request.method.as_str(), request.header("range")), ("GET", Some("bytes=0-0")));
    assert!(request.header("accept").unwrap().starts_with("image/"));

    // a server that knows no ranges begins to send everything, and nobody waits for it
    image.set_fault(Fault::Raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: 99999999\r\n\r\nGIF".into(),
    ));
    assert_eq!(source.media_type(&url).await.unwrap(), "image/gif");
    image.set_fault(Fault::Html);
    assert_eq!(source.media_type(&url).await.unwrap(), "text/html");
    image.set_fault(Fault::Raw(b"HTTP/1.1 200 OK\r\n\r\n".into()));
    assert_eq!(source.media_type(&url).await.unwrap(), "");
    let moved = farm.feed("moved");
    moved.set_fault(Fault::Redirect(302, image.url()));
    assert_eq!(source.media_type(&Url::parse(&moved.url()).unwrap()).await.unwrap(), "");
    assert_eq!(image.requests().pop().unwrap().header("range"), Some("bytes=0-0"));
    image.set_fault(Fault::Status(416));
    assert_eq!(source.media_type(&url).await.unwrap_err().kind.to_string(), "http_416");
}

#[test]
fn visits_are_the_same_where_they_would_be_sent_the_same_way() {
    let url = |text: &str| Url::parse(text).unwrap();
    let mark = |source: &str, settings: RequestSettings, link: &str| fetcher(source, settings).mark(&url(link));
    let usual = mark("http://a/feed", settings(), "http://news/1");
    assert_eq!(usual, mark("http://b/other", settings(), "http://news/1#comments"));
    // what goes only to the source's own origin makes no difference elsewhere, nor does patience
    assert_eq!(usual, mark("http://b/", RequestSettings { timeout: SHORT, ..secretive() }, "http://news/1"));
    let private = RequestSettings { allow_private_addresses: false, ..settings() };
    let proxied = RequestSettings { proxy: Some(Secret::new(url("http://proxy:1"))), ..settings() };
    for other in [
        mark("http://news/feed", secretive(), "http://news/1"),
        mark("http://a/feed", private, "http://news/1"),
        mark("http://a/feed", proxied, "http://news/1"),
        mark("http://a/feed", settings(), "http://news/1?page=2"),
        mark("http://a/feed", settings(), "https://news/1"),
    ] {
        assert_ne!(usual, other);
    }
}
