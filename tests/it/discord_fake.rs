//! The fake Discord itself: a test that leans on it is worth what it is worth.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    client::{Client, Reply},
    discord::{Discord, Verb, Webhook},
    receiver::Receiver,
};

/// Generous: what is awaited comes at once.
const LONG: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
const AGENT: &str = "DiscordBot (https://kawaraban.example, 1.0)";

/// `/api/v10/webhooks/…`
fn path(webhook: &Webhook) -> String {
    format!("/api/v10/webhooks/{}/{}", webhook.id(), webhook.token())
}

fn message(text: &str) -> Value {
    json!({"content": text, "allowed_mentions": {"parse": []}})
}

fn try_post(discord: &Discord, target: &str, body: &Value) -> std::io::Result<Reply> {
    let headers = [("User-Agent", AGENT), ("Content-Type", "application/json")];
    Client::connect(discord.address()).send("POST", target, &headers, body.to_string().as_bytes())
}

fn post(discord: &Discord, webhook: &Webhook, body: &Value) -> Reply {
    try_post(discord, &format!("{}?wait=true", path(webhook)), body).unwrap()
}

fn ask(discord: &Discord, method: &str, target: &str, body: &Value) -> Reply {
    let headers = [("User-Agent", AGENT), ("Content-Type", "application/json")];
    Client::connect(discord.address()).send(method, target, &headers, body.to_string().as_bytes()).unwrap()
}

#[test]
fn a_message_is_stored_and_shown_to_who_waits() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    assert_eq!((webhook.id().len(), webhook.token().len()), (18, 68));
    let waited = post(&discord, &webhook, &message(" one "));
    assert_eq!(waited.status, 200);
    assert_eq!((&waited.json()["content"], &waited.json()["webhook_id"]), (&json!("one"), &json!(webhook.id())));
    let unwaited = try_post(&discord, &path(&webhook), &message("two")).unwrap();
    assert_eq!((unwaited.status, unwaited.body.len()), (204, 0));
    let stored = webhook.wait_for_messages(2, Instant::now() + LONG);
    assert_eq!(stored.iter().map(|m| m.body["content"].as_str().unwrap()).collect::<Vec<_>>(), [" one ", "two"]);
    assert_eq!(json!(stored[0].id), waited.json()["id"]);
    assert_eq!(discord.violations(), ["request 1 (POST, news): no wait=true"]);
}

#[test]
fn the_bucket_counts_down_and_then_tells_how_long_to_wait() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    webhook.set_limit(2, HOUR);
    let first = post(&discord, &webhook, &message("1"));
    assert_eq!((first.header("X-RateLimit-Limit"), first.header("X-RateLimit-Remaining")), (Some("2"), Some("1")));
    // what is refused counts too
    assert_eq!(post(&discord, &webhook, &message("")).status, 400);
    let refused = post(&discord, &webhook, &message("3"));
    assert_eq!(refused.status, 429);
    let wait = refused.json()["retry_after"].as_f64().unwrap();
    assert!(wait > 3500.0 && wait <= 3600.0, "{wait}");
    assert_eq!(refused.seconds("Retry-After"), wait.ceil());
    assert_eq!(refused.header("X-RateLimit-Scope"), Some("user"));
    assert_eq!(refused.header("X-RateLimit-Remaining"), Some("0"));
    assert_eq!(refused.json()["global"], json!(false));
    assert_eq!(webhook.messages().len(), 1);

    // other methods and other webhooks have buckets of their own
    assert_eq!(ask(&discord, "GET", &path(&webhook), &Value::Null).status, 200);
    assert_eq!(post(&discord, &discord.webhook("other"), &message("1")).status, 200);
    let early = discord.violations();
    assert_eq!(early, ["request 1 (POST, news): the message is empty"]);
    post(&discord, &webhook, &message("4"));
    assert!(discord.violations()[1].contains("before the end of the wait"), "{:?}", discord.violations());
    assert!(discord.requests()[2].retry_until.unwrap() > Instant::now() + HOUR / 2);
}

#[test]
fn a_channel_is_limited_over_its_webhooks_and_no_header_tells() {
    let discord = Discord::start();
    let one = discord.webhook("one");
    let two = discord.webhook_in(&one);
    one.set_channel_limit(2, HOUR);
    assert_eq!(post(&discord, &one, &message("1")).status, 200);
    assert_eq!(post(&discord, &two, &message("2")).status, 200);
    let refused = post(&discord, &one, &message("3"));
    assert_eq!((refused.status, refused.header("X-RateLimit-Scope")), (429, Some("shared")));
    assert!(refused.seconds("X-RateLimit-Remaining") > 0.0);
    assert!(refused.seconds("X-RateLimit-Reset-After") < 3.0);
    assert!(refused.seconds("Retry-After") > 3500.0);
}

#[test]
fn the_global_limit_is_for_all_webhooks() {
    let discord = Discord::start();
    let (one, two) = (discord.webhook("one"), discord.webhook("two"));
    discord.set_global_limit(1, HOUR);
    assert_eq!(post(&discord, &one, &message("1")).status, 200);
    let refused = post(&discord, &two, &message("2"));
    assert_eq!((refused.status, refused.header("X-RateLimit-Global")), (429, Some("true")));
    assert_eq!((refused.json()["global"].clone(), refused.header("X-RateLimit-Bucket")), (json!(true), None));
    post(&discord, &two, &message("3"));
    assert!(discord.violations()[0].contains("wait for all"), "{:?}", discord.violations());
}

#[test]
fn too_many_refusals_are_a_ban_by_cloudflare() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    discord.set_invalid_limit(2);
    let wrong = format!("/api/v10/webhooks/{}/wrong?wait=true", webhook.id());
    for _ in 0..2 {
        let refused = try_post(&discord, &wrong, &message("x")).unwrap();
        assert_eq!((refused.status, refused.json()["code"].clone()), (401, json!(50027)));
    }
    let banned = post(&discord, &discord.webhook("other"), &message("x"));
    assert_eq!((banned.status, banned.body.as_slice()), (429, b"error code: 1015".as_slice()));
    assert_eq!((banned.header("Via"), banned.header("X-RateLimit-Scope")), (None, None));
    assert!(banned.seconds("Retry-After") > 500.0);
}

#[test]
fn a_webhook_that_was_deleted_is_unknown_and_must_be_left_alone() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    webhook.kill();
    let gone = post(&discord, &webhook, &message("x"));
    assert_eq!((gone.status, gone.json()), (404, json!({"message": "Unknown Webhook", "code": 10015})));
    ask(&discord, "GET", &path(&webhook), &Value::Null);
    assert_eq!(discord.violations(), [""; 0]);
    post(&discord, &webhook, &message("x"));
    assert_eq!(discord.violations(), ["request 2 (POST, news): the webhook is gone, as the answer to request 0 said"]);
    webhook.revive();
    assert_eq!(post(&discord, &webhook, &message("x")).status, 200);
    assert_eq!(discord.violations().len(), 1);
}

#[test]
fn all_faults_of_a_message_are_told_at_once() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    let bad = json!({"embeds": [{"title": "t".repeat(257)}, {"url": "ttps://x.example"}],
        "allowed_mentions": {"parse": []}});
    let refused = post(&discord, &webhook, &bad);
    let body = refused.json();
    assert_eq!((refused.status, &body["code"], &body["message"]), (400, &json!(50035), &json!("Invalid Form Body")));
    let embeds = &body["errors"]["embeds"];
    assert_eq!(embeds["0"]["title"]["_errors"][0]["message"], json!("Must be 256 or fewer in length."));
    assert_eq!(embeds["1"]["url"]["_errors"][0]["code"], json!("URL_TYPE_INVALID_SCHEME"));
    assert_eq!(embeds["1"]["description"]["_errors"][0]["code"], json!("BASE_TYPE_REQUIRED"));
    assert!(refused.header("X-RateLimit-Remaining").is_some());
    assert_eq!(discord.violations().len(), 3, "{:?}", discord.violations());

    // the path without a version is version 6, which tells less
    let legacy = try_post(&discord, &path(&webhook).replace("/v10", ""), &bad).unwrap();
    assert_eq!((legacy.status, legacy.json()), (400, json!({"embeds": ["0", "1"]})));
}

#[test]
fn what_a_client_should_not_send_is_a_violation_though_discord_takes_it() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    let headers = [("User-Agent", "curl/8"), ("Content-Type", "application/json")];
    let body = json!({"content": "hello @everyone"}).to_string();
    let target = format!("/api/webhooks/{}/{}", webhook.id(), webhook.token());
    let reply = Client::connect(discord.address()).send("POST", &target, &headers, body.as_bytes()).unwrap();
    assert_eq!(reply.status, 204);
    let told = discord.violations();
    for rule in ["User-Agent", "/api/v10/", "wait=true", "allowed_mentions.parse is null", "content holds @everyone"] {
        assert!(told.iter().any(|violation| violation.contains(rule)), "{rule}: {told:?}");
    }
    assert_eq!(told.len(), 5, "{told:?}");
}

#[test]
fn messages_are_edited_read_and_deleted() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    let id = post(&discord, &webhook, &message("one")).json()["id"].as_str().unwrap().to_owned();
    let target = format!("{}/messages/{id}", path(&webhook));
    let edited = ask(&discord, "PATCH", &target, &message("two"));
    assert_eq!((edited.status, edited.json()["content"].clone()), (200, json!("two")));
    assert!(edited.json()["edited_timestamp"].is_string());
    assert_eq!(ask(&discord, "GET", &target, &Value::Null).json()["content"], json!("two"));
    assert_eq!(ask(&discord, "PATCH", &target, &json!({"content": null})).json()["code"], json!(50006));
    assert_eq!(ask(&discord, "DELETE", &target, &Value::Null).status, 204);
    assert_eq!(ask(&discord, "DELETE", &target, &Value::Null).json()["code"], json!(10008));
    let stored = &webhook.messages()[0];
    assert_eq!((stored.edits, stored.deleted, &stored.body["content"]), (1, true, &json!("two")));
}

#[test]
fn a_forum_wants_a_thread() {
    let discord = Discord::start();
    let webhook = discord.forum_webhook("forum");
    assert_eq!(post(&discord, &webhook, &message("x")).json()["code"], json!(220_001));
    let target = format!("{}?wait=true&thread_id=1", path(&webhook));
    assert_eq!(try_post(&discord, &target, &message("x")).unwrap().json()["code"], json!(10003));
    let thread = webhook.thread();
    let target = format!("{}?wait=true&thread_id={thread}", path(&webhook));
    assert_eq!(try_post(&discord, &target, &message("x")).unwrap().json()["channel_id"], json!(thread));
}

#[test]
fn an_ambiguous_fault_stores_without_saying_so() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    let post = || try_post(&discord, &format!("{}?wait=true", path(&webhook)), &message("x"));
    webhook.push_fault(Verb::AcceptThenReset, 1);
    assert!(post().is_err());
    webhook.push_fault(Verb::AcceptThen(502), 1);
    let odd = post().unwrap();
    assert_eq!((odd.status, odd.header("Content-Type")), (502, Some("text/html; charset=UTF-8")));
    webhook.push_fault(Verb::CutBody, 1);
    assert!(post().is_err());
    webhook.push_fault(Verb::TruncatedJson, 1);
    assert!(serde_json::from_slice::<Value>(&post().unwrap().body).is_err());
    assert_eq!(webhook.messages().len(), 4);
    assert!(discord.requests().iter().all(|request| request.stored));
    assert_eq!(discord.requests()[0].status, None);
}

#[test]
fn other_faults_store_nothing() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    let post = || try_post(&discord, &format!("{}?wait=true", path(&webhook)), &message("x"));
    webhook.push_fault(Verb::ResetBeforeBody, 1);
    assert!(post().is_err());
    discord.push_fault(Verb::Refuse, 1);
    assert!(post().is_err());
    for status in [500, 502, 503, 504, 520, 524] {
        webhook.push_fault(Verb::Status(status), 1);
        assert_eq!(post().unwrap().status, status);
    }
    webhook.push_fault(Verb::CaptivePortal, 1);
    assert_eq!(post().unwrap().status, 200);
    webhook.push_fault(Verb::BadForm, 1);
    assert_eq!(post().unwrap().json()["code"], json!(50035));
    assert_eq!(webhook.messages().len(), 0);
    assert_eq!(post().unwrap().status, 200);
    assert_eq!(webhook.messages().len(), 1);
    // refused at accept: never seen as a request
    assert_eq!((discord.requests().len(), discord.connections()), (10, 11));
}

#[test]
fn a_stored_fault_waits_for_a_message_that_is_stored() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    webhook.push_fault(Verb::AcceptThen(500), 1);
    assert_eq!(post(&discord, &webhook, &message("")).status, 400);
    assert_eq!(post(&discord, &webhook, &message("x")).status, 500);
    assert_eq!(post(&discord, &webhook, &message("x")).status, 200);
    assert_eq!(webhook.messages().len(), 2);
}

#[test]
fn each_429_has_its_form() {
    let discord = Discord::start();
    let second = Duration::from_millis(1500);
    let play = |verb: Verb| {
        let webhook = discord.webhook("news");
        webhook.push_fault(verb, 1);
        let reply = post(&discord, &webhook, &message("x"));
        assert_eq!((reply.status, webhook.messages().len()), (429, 0));
        (reply, webhook.requests()[0].retry_until)
    };
    let (user, until) = play(Verb::RateLimited(second));
    assert_eq!((user.json()["retry_after"].clone(), user.header("Retry-After")), (json!(1.5), Some("2")));
    assert!(until.is_some());
    assert_eq!(play(Verb::RateLimitedHuge).0.header("Retry-After"), Some("86400"));
    let (shared, _) = play(Verb::RateLimitedShared(second));
    assert_eq!(
        (shared.header("X-RateLimit-Scope"), shared.header("X-RateLimit-Remaining")),
        (Some("shared"), Some("5"))
    );
    let (nan, until) = play(Verb::RateLimitedNan);
    assert!(String::from_utf8_lossy(&nan.body).contains("NaN") && until.is_none());
    assert_eq!(play(Verb::RateLimitedNegative).0.json()["retry_after"], json!(-1.0));
    let (bare, until) = play(Verb::RateLimitedBare);
    assert_eq!((bare.header("Retry-After"), until), (None, None));
    let (body, until) = play(Verb::RateLimitedBodyOnly(second));
    assert_eq!((body.header("Retry-After"), until.is_some()), (None, true));
    let (header, _) = play(Verb::RateLimitedHeaderOnly(second));
    assert_eq!((header.header("Retry-After"), header.body.len()), (Some("2"), 0));
    let (json, until) = play(Verb::CloudflareJson);
    assert_eq!((json.json()["code"].clone(), json.header("Via"), until), (json!(0), None, None));
    for verb in [Verb::CloudflareText(second), Verb::CloudflareHtml(second)] {
        let (page, until) = play(verb);
        assert!(page.header("Via").is_none() && page.header("Retry-After") == Some("2") && until.is_some());
    }
    let (global, _) = play(Verb::RateLimitedGlobal(second));
    assert_eq!(global.json()["global"], json!(true));
}

#[test]
fn the_usual_answer_comes_in_many_forms() {
    let discord = Discord::start();
    let play = |verb: Verb| {
        let webhook = discord.webhook("news");
        webhook.push_fault(verb, 1);
        let reply = post(&discord, &webhook, &message("x"));
        assert_eq!(webhook.messages().len(), 1);
        reply
    };
    let usual = play(Verb::Slow(Duration::ZERO));
    assert!(play(Verb::Gzip).body.starts_with(&[0x1f, 0x8b]));
    assert_eq!(play(Verb::Chunked).header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(play(Verb::MissingRateLimitHeaders).header("X-RateLimit-Limit"), None);
    assert_eq!(play(Verb::NoContentDespiteWait).status, 204);
    assert_eq!(play(Verb::NonJson200).header("Content-Type"), Some("text/html; charset=UTF-8"));
    assert!(play(Verb::LowercaseHeaders).headers.iter().all(|(name, _)| !name.contains(char::is_uppercase)));
    let skewed = play(Verb::ClockSkew(-300));
    let behind = usual.seconds("X-RateLimit-Reset") - skewed.seconds("X-RateLimit-Reset");
    assert!(behind > 100.0 && skewed.seconds("X-RateLimit-Reset-After") > 0.0, "{behind}");
    let hash = "X-RateLimit-Bucket";
    assert_ne!(play(Verb::BucketHashChange).header(hash), usual.header(hash));

    let webhook = discord.webhook("news");
    webhook.push_fault(Verb::OkInsteadOfNoContent, 1);
    assert_eq!(try_post(&discord, &path(&webhook), &message("x")).unwrap().json()["content"], json!("x"));
}

#[test]
fn a_kept_connection_may_be_gone_when_it_is_used_again() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    let target = format!("{}?wait=true", path(&webhook));
    let headers = [("User-Agent", AGENT), ("Content-Type", "application/json")];
    let body = message("x").to_string();
    let twice = || {
        let mut client = Client::connect(discord.address());
        client.send("POST", &target, &headers, body.as_bytes()).unwrap();
        client.send("POST", &target, &headers, body.as_bytes())
    };
    assert_eq!(twice().unwrap().status, 200);
    for verb in [Verb::ResetOnReuse, Verb::CloseIdleKeepAlive] {
        webhook.push_fault(verb, 1);
        assert!(twice().is_err());
    }
    assert_eq!((webhook.messages().len(), discord.connections()), (4, 3));
}

#[test]
fn while_it_is_down_connections_are_refused() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    let mut kept = Client::connect(discord.address());
    let headers = [("User-Agent", AGENT)];
    assert_eq!(kept.send("GET", &path(&webhook), &headers, b"").unwrap().status, 200);
    discord.go_down();
    assert!(kept.send("GET", &path(&webhook), &headers, b"").is_err());
    let refused = TcpStream::connect(discord.address()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    discord.come_up();
    assert_eq!(post(&discord, &webhook, &message("x")).status, 200);
}

#[test]
fn a_request_that_hangs_is_seen_and_never_answered() {
    let discord = Discord::start();
    let webhook = discord.webhook("news");
    webhook.push_fault(Verb::Hang, 1);
    let mut client = Client::connect(discord.address());
    client.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(client.send("GET", &path(&webhook), &[("User-Agent", AGENT)], b"").is_err());
    let seen = webhook.wait_for_requests(1, Instant::now() + LONG);
    assert_eq!((seen[0].status, seen[0].stored), (None, false));
}

#[test]
#[should_panic(expected = "webhook news has 0 of 1 messages")]
fn a_wait_ends_at_its_deadline_and_says_what_is_missing() {
    Discord::start().webhook("news").wait_for_messages(1, Instant::now());
}

#[test]
fn the_receiver_answers_as_told_and_keeps_what_it_got() {
    let receiver = Receiver::start();
    receiver.push_answer(503, &[("Retry-After", "7")], 1);
    let address = receiver.url().strip_prefix("http://").unwrap().split('/').next().unwrap().parse().unwrap();
    let mut client = Client::connect(address);
    let first = client.send("POST", "/hook", &[("X-Id", "1")], b"{\"n\":1}").unwrap();
    assert_eq!((first.status, first.header("Retry-After")), (503, Some("7")));
    client
        .0
        .write_all(b"POST /hook HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"n\"\r\n3\r\n:2}\r\n0\r\n\r\n")
        .unwrap();
    assert_eq!(client.reply().unwrap().status, 204);
    let got = receiver.wait_for(2, Instant::now() + LONG);
    assert_eq!((got[0].json(), got[0].header("x-id"), got[0].status), (json!({"n": 1}), Some("1"), 503));
    assert_eq!(got[1].json(), json!({"n": 2}));
}
