//! The configuration as users meet it: whole files in, a configuration or every fault out.

use std::{ffi::OsString, path::Path};

use kawaraban::config::{
    Backfill, Config, DestinationKind, Listen, Source,
    diagnostic::Diagnostic,
    load::{LoadOptions, Loaded, Needed, find, load},
};
use proptest::prelude::*;

/// Stands for every secret in these files; no message may hold it.
const SECRET: &str = "hunter2";

fn write(directory: &Path, text: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = directory.join("kawaraban.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn environment(name: &str) -> Option<OsString> {
    match name {
        "TOKEN" => Some("token\n".into()),
        "EMPTY" => Some("".into()),
        "WEBHOOK" => Some("https://discord.com/api/webhooks/12/hunter2?thread_id=7".into()),
        "BAD_WEBHOOK" => Some("https://discord.com/channels/hunter2".into()),
        _ => None,
    }
}

/// What is said of a file: faults, or else warnings, each without the file's name.
pub(crate) fn said(text: impl AsRef<[u8]>) -> Vec<Diagnostic> {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), text);
    let options = LoadOptions { secrets: Needed::All, env: &environment };
    let said = match load(&path, &options) {
        Ok(loaded) => loaded.warnings,
        Err(errors) => {
            assert!(!errors.0.is_empty());
            errors.0
        }
    };
    for diagnostic in &said {
        assert_eq!(diagnostic.file, path);
        assert!(!diagnostic.to_string().contains(SECRET), "shows a secret: {diagnostic}");
        assert!(!diagnostic.to_string().contains('\n'), "more than a line: {diagnostic}");
    }
    said
}

fn loaded(text: &str) -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    load(&write(directory.path(), text), &LoadOptions { secrets: Needed::All, env: &environment }).unwrap()
}

pub(crate) fn config(text: &str) -> Config {
    loaded(text).config
}

/// `LINE:COLUMN KEY PART`: what is to be said, in order, and no more. A `PART` is a part of the message.
pub(crate) fn check(text: &str, expected: &[&str]) {
    let said = said(text);
    let shown: Vec<String> = said.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), expected.len(), "{text}\nsaid:\n{}", shown.join("\n"));
    for (diagnostic, expected) in said.iter().zip(expected) {
        let mut words = expected.splitn(3, ' ');
        let (place, key, part) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let key = if key == "-" { "" } else { key };
        assert_eq!(format!("{}:{}", diagnostic.line, diagnostic.column), place, "{text}\n{diagnostic}");
        assert_eq!(diagnostic.key, key, "{text}\n{diagnostic}");
        assert!(diagnostic.message.contains(part), "{text}\n{diagnostic}\nlacks {part:?}");
    }
}

pub(crate) const SOURCE: &str = "[[source]]\nname = \"ann\"\nurl = \"https://ann.example/rss\"\n";

/// A source with these lines, which begin in line 4.
pub(crate) fn in_source(lines: &str, expected: &[&str]) {
    check(&format!("{SOURCE}{lines}"), expected);
}

/// A destination with these lines, which begin in line 5.
fn in_destination(lines: &str, expected: &[&str]) {
    check(&format!("{SOURCE}[[destination]]\n{lines}"), expected);
}

#[test]
fn syntax_errors_are_told_with_their_key_where_it_is_known() {
    check("[fetch]\ninterval = 5m\n", &["2:12 fetch.interval must be quoted"]);
    check("[fetch]\nkeep_alive = True\n", &["2:14 fetch.keep_alive "]);
    check(
        "[fetch]\nuser_agent = \"abc\ntimeout = \"x\"",
        &["2:18 fetch.user_agent ", "3:11 fetch.timeout expected a duration"],
    );
    check("[fetch\ninterval = \"5m\"\n", &["1:7 fetch unclosed table"]);
    check("[fetch]\n[fetch]\n", &["2:2 fetch duplicate key"]);
    check("[fetch]\ninterval = \"1m\"\ninterval = \"2m\"\n", &["3:1 fetch.interval duplicate key"]);
    check("[http]\nlisten = [\"127.0.0.1:1\"\n", &["2:24 http.listen unclosed array"]);
    check("[log]\nlevel \"info\"\n", &["2:7 log.level "]);
    check("= 1\n", &["1:1 syntax "]);
    check("[fetch]\ntimeout = # 1s\n", &["2:11 fetch.timeout the value is missing"]);
    check("[fetch]\ntimeout =", &["2:10 fetch.timeout the value is missing"]);
    check("[http]\nlisten = [\n  \"127.0.0.1:1\"\n  \"[::1]:1\",\n]\n", &["4:3 http.listen missing comma"]);
    check("\u{feff}[fetch]\ntimeout = 1x\n", &["2:11 fetch.timeout "]);
}

#[test]
fn what_is_behind_a_syntax_error_is_checked_too() {
    check(
        "[fetch]\ninterval = 5m\ntimeut = \"3s\"\n[log]\nlevel = \"inf\"\n",
        &[
            "2:12 fetch.interval must be quoted",
            "3:1 fetch.timeut did you mean \"timeout\"?",
            "5:9 log.level did you mean \"info\"?",
        ],
    );
}

#[test]
fn an_endless_string_is_blamed_on_its_beginning_and_not_quoted() {
    in_destination(
        "name = \"n\"\nkind = \"discord\"\nurl = '''https://discord.com/api/webhooks/1/hunter2\n",
        &["7:7 destination.url multi-line"],
    );
}

#[test]
fn a_secret_in_a_broken_line_is_not_quoted() {
    check("url = https://discord.com/api/webhooks/1/hunter2\n", &["1:7 url must be quoted"]);
    check("hunter2 = = 1\n", &["1:11 syntax "]);
    check("x = [\"hunter2\" \"hunter2\"]", &["1:16 syntax "]);
}

#[test]
fn unknown_keys_are_told_with_what_is_allowed() {
    check("sate_dir = \"x\"\n", &["1:1 sate_dir unknown key; did you mean \"state_dir\"?"]);
    check("[ftech]\n", &["1:2 ftech did you mean \"fetch\"?"]);
    check(
        "[fetch]\nintervall = \"1m\"\n[fetch.retry]\natempts = 2\n[fetch.breaker]\nfailure = 2\n",
        &[
            "2:1 fetch.intervall did you mean \"interval\"?",
            "4:1 fetch.retry.atempts did you mean \"attempts\"?",
            "6:1 fetch.breaker.failure did you mean \"failures\"?",
        ],
    );
    check("[log]\ncolour = \"red\"\n", &["2:1 log.colour unknown key; allowed here: level, format"]);
    check(
        "[http]\nport = 80\n[discord]\nper_second = 1\n",
        &[
            "2:1 http.port allowed here: listen, hosts, admin_token, require_token",
            "4:1 discord.per_second unknown key",
        ],
    );
    in_source(
        "lable = \"x\"\ninclude = { titel = [] }\n",
        &["4:1 source[ann].lable did you mean \"label\"?", "5:13 source[ann].include.titel did you mean \"title\"?"],
    );
    in_destination(
        "name = \"n\"\nkind = \"stdout\"\nurl = \"https://x/hunter2\"\n",
        &["7:1 destination[n].url unknown key; allowed here: name, kind, backfill"],
    );
}

#[test]
fn wrong_types_are_told_with_what_was_found() {
    check(
        "state_dir = 3\nlog = \"info\"\nfetch = []\n",
        &[
            "1:13 state_dir expected a path, found the number 3",
            "2:7 log expected a table, found \"info\"",
            "3:9 fetch expected a table, found an array",
        ],
    );
    check(
        "[fetch]\ninterval = 300\njitter = \"0.1\"\nmax_body = 8388608\nkeep_alive = \"no\"\nmax_redirects = 2.5\n",
        &[
            "2:12 fetch.interval expected a duration such as \"90s\", \"5m\" or \"1h 30m\", found the number 300",
            "3:10 fetch.jitter expected a number from 0 to 1, found \"0.1\"",
            "4:12 fetch.max_body expected a size such as \"512KiB\" or \"8MiB\", found the number 8388608",
            "5:14 fetch.keep_alive expected true or false, found \"no\"",
            "6:17 fetch.max_redirects expected a whole number from 0 to 100, found the number 2.5",
        ],
    );
    check(
        "[http]\nlisten = \"127.0.0.1:1\"\nhosts = 1\n",
        &[
            "2:10 http.listen expected an array of addresses, found \"127.0.0.1:1\"",
            "3:9 http.hosts expected an array of host names, found the number 1",
        ],
    );
    check(
        "[source]\nname = \"ann\"\n[destination]\n",
        &[
            "1:1 source begins with [[source]], in two brackets",
            "3:1 destination begins with [[destination]], in two brackets",
        ],
    );
    check("source = 1979-05-27\n", &["1:10 source expected tables that begin with [[source]], found a date"]);
    in_source(
        "include = [\"a\"]\nexclude.title = \"a\"\nheaders = true\nbasic_auth = \"hunter2\"\n",
        &[
            "4:11 source[ann].include expected a table, found an array",
            "5:17 source[ann].exclude.title expected an array of regular expressions, found \"a\"",
            "6:11 source[ann].headers expected a table, found true",
            "7:14 source[ann].basic_auth expected a table, found a string of 7 characters (not shown)",
        ],
    );
}

#[test]
fn values_out_of_range_are_told_with_the_range() {
    check(
        "[fetch]\ninterval = \"49ms\"\njitter = 1.01\ntimeout = \"0s\"\nconnect_timeout = \"0ms\"\nmax_body = \"0B\"\n",
        &[
            "2:12 fetch.interval expected a duration from 50ms to",
            "3:10 fetch.jitter expected a number from 0 to 1, found the number 1.01",
            "4:11 fetch.timeout expected a duration longer than 0, found \"0s\"",
            "5:19 fetch.connect_timeout expected a duration longer than 0",
            "6:12 fetch.max_body expected a size from 1B to 1GiB, found \"0B\"",
        ],
    );
    check(
        "[fetch]\njitter = nan\nmax_redirects = -1\nmax_concurrent = 0\nretention = \"99999y\"\n",
        &[
            "2:10 fetch.jitter expected a number from 0 to 1, found the number nan",
            "3:17 fetch.max_redirects found the number -1",
            "4:18 fetch.max_concurrent expected a whole number from 1 up, found the number 0",
            "5:13 fetch.retention expected a duration of at most",
        ],
    );
    check(
        "[fetch]\njitter = -0.1\n[fetch.retry]\nattempts = 0\n[fetch.breaker]\nfailures = 0\ncooldown = \"0s\"\n",
        &[
            "2:10 fetch.jitter ",
            "4:12 fetch.retry.attempts expected a whole number from 1 to 100, found the number 0",
            "6:12 fetch.breaker.failures expected a whole number from 1 up, found the number 0",
            "7:12 fetch.breaker.cooldown expected a duration longer than 0",
        ],
    );
    check(
        "[fetch]\nmax_redirects = 99999999999999999999999999\ninterval = \"-5s\"\nmax_body = \"8 Mb\"\n",
        &[
            "2:17 fetch.max_redirects expected a whole number",
            "3:12 fetch.interval expected a duration",
            "4:12 fetch.max_body expected a size",
        ],
    );
    check(
        "[discord]\nrequests_per_second = -1\nchannel_per_minute = 1e3\n",
        &[
            "2:23 discord.requests_per_second expected a whole number from 0 to 100000",
            "3:22 discord.channel_per_minute expected a whole number",
        ],
    );
}

#[test]
fn what_must_not_be_longer_than_another_is_told() {
    check(
        "[fetch.retry]\nmin_backoff = \"20s\"\nmax_backoff = \"1s\"\n",
        &["2:15 fetch.retry.min_backoff min_backoff (20s) is longer than max_backoff (1s)"],
    );
    check(
        &format!("[fetch.breaker]\ncooldown = \"10m\"\n{SOURCE}breaker = {{ max_cooldown = \"5m\" }}\n"),
        &["6:28 source[ann].breaker.max_cooldown cooldown (10m) is longer than max_cooldown (5m)"],
    );
}

#[test]
fn a_default_gives_way_to_the_one_bound_that_is_set() {
    let config = config(&format!(
        "[fetch.retry]\nmax_backoff = \"1s\"\n[fetch.breaker]\ncooldown = \"2h\"\n{SOURCE}retry.min_backoff = \"500ms\"\n"
    ));
    let source = &config.sources[0];
    assert_eq!((source.retry.min_backoff.as_millis(), source.retry.max_backoff.as_millis()), (500, 1000));
    assert_eq!((source.breaker.cooldown.as_secs(), source.breaker.max_cooldown.as_secs()), (7200, 7200));
}

#[test]
fn missing_keys_are_told_at_their_tables_header() {
    check(
        "\n  [[source]]\nlabel = \"x\"\n[[destination]]\n[[destination]]\nname = \"b\"\nkind = \"discord\"\n",
        &[
            "2:3 source[1].name missing; expected a name",
            "2:3 source[1].url missing; expected the URL of a feed, a page or JSON",
            "4:1 destination[1].name missing",
            "4:1 destination[1].kind missing; expected \"discord\", \"webhook\" or \"stdout\"",
            "5:1 destination[b].url missing; expected the URL of a Discord webhook, a SECRET",
        ],
    );
    in_source("basic_auth = { user = \"u\" }\n", &["4:14 source[ann].basic_auth.password missing; expected a SECRET"]);
}

#[test]
fn choices_are_told_with_the_nearest() {
    check(
        "[log]\nlevel = \"wran\"\nformat = \"jsn\"\n",
        &[
            "2:9 log.level expected one of \"trace\", \"debug\", \"info\", \"warn\"",
            "3:10 log.format found \"jsn\"; did you mean \"json\"?",
        ],
    );
    in_source(
        "kind = \"fed\"\non_empty = \"maybe\"\nbackfill = \"some\"\nencoding = \"utf-9\"\n",
        &[
            "4:8 source[ann].kind did you mean \"feed\"?",
            "5:12 source[ann].on_empty expected one of \"auto\", \"ok\", \"fail\", found \"maybe\"",
            "6:12 source[ann].backfill expected a number of items or \"all\", found \"some\"",
            "7:12 source[ann].encoding expected \"auto\" or a WHATWG label",
        ],
    );
    in_destination("name = \"n\"\nkind = \"discrod\"\n", &["6:8 destination[n].kind did you mean \"discord\"?"]);
}

#[test]
fn names_are_valid_and_unique() {
    check(
        "[[source]]\nname = \"Ann\"\nurl = \"http://a/\"\n[[source]]\nname = \"\"\nurl = \"http://a/\"\n",
        &["2:8 source[1].name expected a name of 1 to 64 characters", "5:8 source[2].name found an empty string"],
    );
    in_source(
        "[[source]]\nname = \"ann\"\nurl = \"http://b/\"\n",
        &["5:8 source[2].name \"ann\" is already the name of the source in line 2"],
    );
    in_destination(
        "name = \"n\"\nkind = \"stdout\"\n[[destination]]\nkind = \"stdout\"\nname = \"n\"\n",
        &["9:8 destination[2].name \"n\" is already the name of the destination in line 5"],
    );
}

#[test]
fn a_former_name_is_of_no_other_source() {
    let table =
        |name: &str, was: &str| format!("[[source]]\nname = \"{name}\"\nurl = \"http://{name}/\"\nwas = {was}\n");
    let (old, gone) = ("\"old\"", "\"gone\"");
    check(
        &[SOURCE, &table("a", "\"ann\""), &table("b", old), &table("c", old), &table("d", gone)].concat(),
        &[
            "7:7 source[a].was \"ann\" is the name of the source in line 2",
            "15:7 source[c].was \"old\" is taken over by another source already, in line 11",
        ],
    );
    in_source("was = \"ann\"\n", &["4:7 source[ann].was \"ann\" is the name of the source in line 2"]);
    in_source("was = \"Old\"\n", &["4:7 source[ann].was expected a name"]);
    in_source("wass = \"old\"\n", &["4:1 source[ann].wass did you mean \"was\"?"]);
    let config = config(&[table("a", old), table("b", gone)].concat());
    let renames: Vec<_> = config.renames().iter().map(|(old, new)| format!("{old} {new}")).collect();
    assert_eq!(renames, ["old a", "gone b"]);
}

#[test]
fn what_is_posted_of_many_and_of_known_items_is_set() {
    let config = config(&format!(
        "[fetch]\nhold_above = 7\n{SOURCE}[[source]]\nname = \"b\"\nurl = \"http://b/\"\nhold_above = 0\nto = [\"y\", \"z\"]\n\
         [[destination]]\nname = \"x\"\nkind = \"stdout\"\nbackfill = 2\n\
         [[destination]]\nname = \"y\"\nkind = \"stdout\"\nbackfill = \"all\"\n\
         [[destination]]\nname = \"z\"\nkind = \"stdout\"\n"
    ));
    let [a, b] = config.sources.as_slice() else { panic!("two sources") };
    assert_eq!((a.hold_above, b.hold_above), (7, 0));
    let backfill = |source: &Source| {
        let all = source.backfill_to.iter().map(|(name, backfill)| (name.to_string(), *backfill));
        all.collect::<Vec<_>>()
    };
    assert_eq!(backfill(a), [("x".to_owned(), Backfill::Newest(2)), ("y".to_owned(), Backfill::All)]);
    assert_eq!(backfill(b), [("y".to_owned(), Backfill::All)]);
    in_source("hold_abov = 3\n", &["4:1 source[ann].hold_abov did you mean \"hold_above\"?"]);
    in_source(
        "hold_above = -1\n",
        &["4:14 source[ann].hold_above expected a whole number from 0 up, found the number -1"],
    );
    in_destination(
        "name = \"n\"\nkind = \"stdout\"\nbackfill = \"some\"\n",
        &["7:12 destination[n].backfill expected a number of items or \"all\", found \"some\""],
    );
    in_destination(
        "name = \"n\"\nkind = \"stdout\"\nbackfil = 1\n",
        &["7:1 destination[n].backfil did you mean \"backfill\"?"],
    );
}

#[test]
fn sources_go_to_destinations_that_exist() {
    in_source(
        "to = [\"nwes\", \"news\", \"news\", 1]\n[[destination]]\nname = \"news\"\nkind = \"stdout\"\n",
        &[
            "4:7 source[ann].to no destination has the name \"nwes\"; did you mean \"news\"?",
            "4:23 source[ann].to \"news\" is listed twice",
            "4:31 source[ann].to expected a destination's name, found the number 1",
        ],
    );
    in_source("to = []\n", &["4:6 source[ann].to names no destination"]);
    in_source(
        "to = [\"https://discord.com/api/webhooks/1/hunter2\"]\n",
        &["4:7 source[ann].to the destinations are \"stdout\""],
    );
}

#[test]
fn a_sources_url_is_http_with_a_host() {
    for (url, part) in [
        ("ftp://ann.example/rss", "found one with the scheme \"ftp\""),
        ("ann.example/rss?hunter2", "found no scheme: write https:// before it"),
        ("https://", "found none: empty host"),
        ("https://ann.example:99999/?hunter2", "found none: invalid port number"),
        ("file:///etc/hunter2", "found one with the scheme \"file\""),
        ("", "is empty"),
        ("hunter2:x", "found something else"),
    ] {
        let text = format!("[[source]]\nname = \"ann\"\nurl = \"{url}\"\n");
        check(&text, &[&format!("3:7 source[ann].url {part}")]);
    }
}

#[test]
fn a_discord_url_has_discords_shape() {
    for (url, part) in [
        ("https://discord.com/api/webhooks/1/hunter2/slack", "ends in \"/slack\""),
        ("https://discord.com/api/v10/webhooks/1/hunter2/github", "ends in \"/github\""),
        ("https://discord.com/api/webhooks/abc/hunter2", "is not the URL of a Discord webhook"),
        ("https://discord.com/api/webhooks/1/", "is not the URL of a Discord webhook"),
        ("https://discord.com/api/vx/webhooks/1/hunter2", "is not the URL of a Discord webhook"),
        ("https://discord.com/channels/1/hunter2", "is not the URL of a Discord webhook"),
        ("http://discord.com/api/webhooks/1/hunter2", "must be https"),
        ("ftp://discord.com/api/webhooks/1/hunter2", "the scheme \"ftp\""),
        ("hunter2", "found no scheme"),
    ] {
        in_destination(
            &format!("name = \"n\"\nkind = \"discord\"\nurl = \"{url}\"\n"),
            &[&format!("7:7 destination[n].url {part}")],
        );
    }
    in_destination(
        "name = \"n\"\nkind = \"discord\"\nurl = { env = \"BAD_WEBHOOK\" }\n",
        &["7:7 destination[n].url is not the URL of a Discord webhook"],
    );
}

#[test]
fn a_discord_url_is_rewritten_to_the_version_we_speak() {
    for (url, rewritten) in [
        ("https://discord.com/api/webhooks/12/tok?wait=true", "https://discord.com/api/v10/webhooks/12/tok?wait=true"),
        ("https://ptb.discord.com/api/v9/webhooks/12/tok/", "https://ptb.discord.com/api/v10/webhooks/12/tok"),
        ("http://127.0.0.1:81/api/webhooks/1/t", "http://127.0.0.1:81/api/v10/webhooks/1/t"),
        ("http://[::1]:81/api/webhooks/1/t", "http://[::1]:81/api/v10/webhooks/1/t"),
        ("http://localhost/api/webhooks/1/t#x", "http://localhost/api/v10/webhooks/1/t"),
    ] {
        let config = config(&format!("[[destination]]\nname = \"n\"\nkind = \"discord\"\nurl = \"{url}\"\n"));
        let DestinationKind::Discord { url } = &config.destinations[0].kind else { panic!("not Discord") };
        assert_eq!(url.expose().as_str(), rewritten);
    }
}

#[test]
fn secrets_that_cannot_be_read_are_told_without_them() {
    let url = |value: &str| format!("name = \"n\"\nkind = \"webhook\"\nurl = {value}\n");
    in_destination(&url("{ env = \"UNSET\" }"), &["7:15 destination[n].url.env the environment has no variable UNSET"]);
    in_destination(&url("{ env = \"EMPTY\" }"), &["7:7 destination[n].url is empty"]);
    in_destination(&url("{ file = \"missing\" }"), &["7:16 destination[n].url.file cannot read"]);
    in_destination(&url("{ file = \"/\" }"), &["7:16 destination[n].url.file cannot read"]);
    in_destination(
        &url("{ credential = \"hook\" }"),
        &["7:22 destination[n].url.credential $CREDENTIALS_DIRECTORY is not set"],
    );
    in_destination(&url("{ credential = \"../hook\" }"), &["7:22 destination[n].url.credential without a path"]);
    in_destination(
        &url("{ enf = \"X\" }"),
        &[
            "7:7 destination[n].url expected exactly one of env, file and credential",
            "7:9 destination[n].url.enf did you mean \"env\"?",
        ],
    );
    in_destination(&url("{ env = \"TOKEN\", file = \"x\" }"), &["7:7 destination[n].url expected exactly one of"]);
    in_destination(
        &url("{ env = \"http://h/hunter2\" }"),
        &["7:15 destination[n].url.env is no name of an environment variable"],
    );
    in_destination(&url("{ file = \"http://h/hunter2\" }"), &["7:16 destination[n].url.file is a URL"]);
    in_destination(
        &url("{ \"http://h/hunter2\" = 1 }"),
        &["7:7 destination[n].url expected exactly one of", "7:9 destination[n].url.(hidden) unknown key"],
    );
    in_destination(&url("{ env = 3 }"), &["7:15 destination[n].url.env expected a string"]);
    in_destination(&url("[\"hunter2\"]"), &["7:7 destination[n].url expected a string, { env = \"NAME\" }"]);
    in_destination(&url("77"), &["7:7 destination[n].url found a number (not shown)"]);
    in_destination(&url("\"\""), &["7:7 destination[n].url is empty"]);
    check(
        "[http]\nadmin_token = \"hunter2 hunter2\"\n[fetch]\nproxy = \"hunter2\"\n",
        &["2:15 http.admin_token visible ASCII characters only", "4:9 fetch.proxy is no URL"],
    );
}

#[test]
fn headers_are_valid_and_not_ours() {
    in_source(
        "[source.headers]\n\"a(b\" = \"hunter2\"\nHost = \"hunter2\"\nX-A = \"hunter2\\n2\"\nx-a = \"1\"\nUser-Agent = \"x\"\n",
        &[
            "5:1 source[ann].headers.a(b is no name of a header",
            "6:1 source[ann].headers.Host cannot be set: it follows from the url",
            "7:7 source[ann].headers.X-A a header's value has",
            "8:1 source[ann].headers.x-a is set twice",
            "9:1 source[ann].headers.User-Agent cannot be set: use user_agent",
        ],
    );
    in_source(
        "headers = { Authorization = \"hunter2\" }\nbasic_auth = { user = \"u\", password = \"hunter2\" }\n",
        &["4:13 source[ann].headers.Authorization there is basic_auth too"],
    );
    in_source(
        "basic_auth = { user = \"a:b\", password = \"hunter2\" }\nuser_agent = \"\\u0007\"\n",
        &[
            "4:23 source[ann].basic_auth.user a user name has no colon",
            "5:14 source[ann].user_agent a line of visible ASCII characters",
        ],
    );
}

#[test]
fn patterns_that_do_not_compile_are_told_with_the_reason() {
    in_source(
        "include = { title = [\"ok\", \"(a\"] }\nexclude.link = [\"[\", 1]\n",
        &[
            "4:28 source[ann].include.title no regular expression: unclosed group",
            "5:17 source[ann].exclude.link unclosed character class",
            "5:22 source[ann].exclude.link expected a regular expression, found the number 1",
        ],
    );
    in_source("include.title = [\"(a{999}){999}\"]\n", &["4:18 source[ann].include.title "]);
}

#[test]
fn proxies_are_http_or_socks5() {
    for (proxy, part) in [
        ("https://hunter2@proxy:1", "a proxy is \"http://HOST:PORT\" (CONNECT), \"socks5://HOST:PORT\" or \"none\""),
        ("socks4://proxy:1", "a proxy is"),
        ("http://proxy:1/hunter2", "nothing behind them"),
        ("socks5://proxy:1?hunter2", "nothing behind them"),
        ("socks5:proxy", "a proxy is"),
        ("hunter2:x@proxy:1", "a proxy is"),
    ] {
        check(&format!("[fetch]\nproxy = \"{proxy}\"\n{SOURCE}"), &[&format!("2:9 fetch.proxy {part}")]);
    }
    let config = config(&format!("[fetch]\nproxy = \"socks5://u:p@proxy.example\"\n{SOURCE}"));
    let proxy = config.sources[0].request.proxy.as_ref().unwrap().expose();
    assert_eq!((proxy.host_str(), proxy.port(), proxy.password()), (Some("proxy.example"), Some(1080), Some("p")));
}

#[test]
fn a_ca_file_holds_certificates() {
    check("[fetch]\nca_file = \"missing.pem\"\n", &["2:11 fetch.ca_file missing.pem: cannot be read"]);
    check("[fetch]\nca_file = \"kawaraban.toml\"\n", &["2:11 fetch.ca_file holds no certificate (PEM)"]);
    check("[fetch]\nca_file = \"kawaraban.toml\"\n# -----BEGIN CERTIFICATE-----\n", &["2:11 fetch.ca_file "]);
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["ca.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
    let path = write(directory.path(), format!("[fetch]\nca_file = \"ca.pem\"\n{SOURCE}ca_file = \"ca.pem\"\n"));
    let loaded = load(&path, &LoadOptions { secrets: Needed::All, env: &environment }).unwrap();
    assert_eq!(loaded.config.sources[0].request.extra_roots.len(), 1);
}

#[test]
fn addresses_to_listen_on_are_checked() {
    check(
        &format!(
            "[http]\nlisten = [\"localhost:1\", \"127.0.0.1:1\", \"127.0.0.1:1\", \"unix:\", \"127.0.0.1\"]\n{SOURCE}"
        ),
        &[
            "2:11 http.listen expected an address such as \"127.0.0.1:8787\"",
            "2:41 http.listen is listed twice",
            "2:56 http.listen found \"unix:\"",
            "2:65 http.listen found \"127.0.0.1\"",
        ],
    );
    check(
        &format!("[http]\nhosts = [\"a.example:80\", \"https://a.example\"]\nrequire_token = true\n{SOURCE}"),
        &[
            "2:10 http.hosts expected a host name without scheme and port",
            "2:26 http.hosts expected a host name without scheme and port",
            "3:17 http.require_token needs an admin_token",
        ],
    );
    let config =
        config(&format!("[http]\nlisten = [\"[::1]:1\", \"unix:/run/k.sock\"]\nhosts = [\"News.Example\"]\n{SOURCE}"));
    assert_eq!(config.http.listen, [Listen::Tcp("[::1]:1".parse().unwrap()), Listen::Unix("/run/k.sock".into()),]);
    assert_eq!(config.http.hosts, ["news.example"]);
}

#[test]
fn keys_of_all_sources_together_stand_in_fetch_only() {
    in_source("max_concurrent = 3\n", &["4:1 source[ann].max_concurrent stands in [fetch] only"]);
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    check("", &["1:1 source no source is enabled"]);
    in_source(
        "[[source]]\nname = \"twin\"\nurl = \"https://ann.example/rss\"\n",
        &["6:7 source[twin].url is that of source \"ann\" too"],
    );
    let off = "[[source]]\nname = \"twin\"\nurl = \"https://ann.example/rss\"\nenabled = false\n";
    in_source(off, &[]);
    in_source("interval = \"1s\"\n", &["4:12 source[ann].interval 1s is less than 30s"]);
    check(
        &format!("[http]\nlisten = [\"0.0.0.0:8787\"]\n{SOURCE}"),
        &["2:10 http.listen beyond loopback without an admin_token"],
    );
    in_destination(
        "name = \"n\"\nkind = \"discord\"\nurl = \"https://discord.com/api/webhooks/1/hunter2\"\n",
        &["1:1 - every user of this machine can read it"],
    );
}

#[test]
fn hostile_files_are_refused_with_a_message() {
    let one = |text: &[u8], part: &str| {
        let said = said(text);
        assert!(said[0].message.contains(part), "{}", said[0]);
    };
    one(b"a = \"\xff\"", "not UTF-8");
    one(b"[fetch]\ninterval = \"1m\0\"", "");
    one(b"\0\0\0\0", "");
    one(&vec![b'['; 100_000], "");
    one(&[b"x = ".as_slice(), &vec![b'['; 100_000]].concat(), "");
    one(&[b"x = ".as_slice(), &b"{a=".repeat(50_000)].concat(), "");
    one(&b"a.".repeat(50_000), "");
    one(&vec![b'#'; 10 << 20], "more than 8 MiB");
    one(&b"= ".repeat(1 << 20), "");

    let directory = tempfile::tempdir().unwrap();
    let options = LoadOptions { secrets: Needed::All, env: &environment };
    let errors = load(directory.path(), &options).unwrap_err().to_string();
    assert!(errors.contains("cannot be read: Is a directory"), "{errors}");
    let errors = load(&directory.path().join("none.toml"), &options).unwrap_err().to_string();
    assert!(errors.contains("none.toml: cannot be read: No such file"), "{errors}");
}

#[test]
fn invalid_utf_8_is_told_with_its_place() {
    let said = said(b"[log]\nlevel = \"\xff\"");
    assert_eq!((said[0].line, said[0].column), (2, 10));
}

#[test]
fn secrets_come_from_where_they_are_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), "from a file\r\n").unwrap();
    let path = write(
        directory.path(),
        format!(
            "[http]\nadmin_token = {{ env = \"TOKEN\" }}\n{SOURCE}\
             headers = {{ A = {{ file = \"key\" }}, B = {{ credential = \"key\" }}, C = \"plain\" }}\n\
             [[destination]]\nname = \"n\"\nkind = \"discord\"\nurl = {{ env = \"WEBHOOK\" }}\n"
        ),
    );
    let credentials = directory.path().as_os_str().to_owned();
    let env = |name: &str| if name == "CREDENTIALS_DIRECTORY" { Some(credentials.clone()) } else { environment(name) };
    let loaded = load(&path, &LoadOptions { secrets: Needed::All, env: &env }).unwrap();
    let config = &loaded.config;
    assert_eq!(config.http.admin_token.as_ref().unwrap().expose(), "token");
    let headers: Vec<_> = config.sources[0]
        .request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose().as_str()))
        .collect();
    assert_eq!(headers, [("A", "from a file"), ("B", "from a file"), ("C", "plain")]);
    let DestinationKind::Discord { url } = &config.destinations[0].kind else { panic!("not Discord") };
    assert_eq!(url.expose().query(), Some("thread_id=7"));
    assert!(!format!("{config:?}").contains(SECRET));
    // and one that is not read is passed over
    let env = |_: &str| None;
    assert!(load(&path, &LoadOptions { secrets: Needed::None, env: &env }).is_ok());
    assert!(load(&path, &LoadOptions { secrets: Needed::All, env: &env }).is_err());
}

#[test]
fn user_and_password_of_a_url_become_basic_auth() {
    let config = config("[[source]]\nname = \"a\"\nurl = \"https://u%40x:p%3Aw@a.example/\"\n");
    let source = &config.sources[0];
    assert_eq!(source.url.as_str(), "https://a.example/");
    let login = source.request.basic_auth.as_ref().unwrap();
    assert_eq!((login.user.as_str(), login.password.expose().as_str()), ("u@x", "p:w"));
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = config(SOURCE);
    let source = &config.sources[0];
    let request = &source.request;
    assert_eq!(source.label, "ann");
    assert_eq!(source.to.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["stdout"]);
    assert_eq!((source.schedule.interval.as_secs(), source.schedule.jitter), (300, 0.1));
    assert_eq!((request.timeout.as_secs(), request.connect_timeout.as_secs(), request.max_body), (20, 10, 8 << 20));
    assert_eq!((request.max_redirects, request.keep_alive, request.allow_private_addresses), (5, false, false));
    assert_eq!(
        request.user_agent,
        format!("kawaraban/{} (+https://github.com/kawaraban/kawaraban)", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(
        (source.retry.attempts, source.retry.min_backoff.as_secs(), source.retry.max_backoff.as_secs()),
        (3, 2, 10)
    );
    assert_eq!(
        (source.breaker.failures, source.breaker.cooldown.as_secs(), source.breaker.max_cooldown.as_secs()),
        (3, 300, 3600)
    );
    assert_eq!((source.backfill, source.hold_above), (Backfill::Newest(1), 50));
    assert_eq!((source.retention.as_secs(), source.was.as_ref()), (90 * 86_400, None));
    assert_eq!(config.destinations[0].backfill, Backfill::Newest(0));
    assert_eq!((config.concurrency.total, config.concurrency.per_host), (512, 0));
    assert_eq!((config.discord.requests_per_second, config.discord.channel_per_minute), (40, 28));
    assert_eq!(config.http.listen, [Listen::Tcp("127.0.0.1:8787".parse().unwrap())]);
    assert!(matches!(config.destinations[0].kind, DestinationKind::Stdout));
}

#[test]
fn what_one_source_is_requested_with_no_other_source_has() {
    let table =
        |name: &str, own: &str| format!("[[source]]\nname = \"{name}\"\nurl = \"https://{name}.example/\"\n{own}");
    let config = config(
        &[
            table("before", ""),
            table("headers", "headers = { X-Key = \"k\" }\n"),
            table("between", ""),
            table("login", "basic_auth = { user = \"u\", password = \"p\" }\n"),
            table("slow", "timeout = \"50s\"\n"),
            table("after", ""),
        ]
        .concat(),
    );
    for source in &config.sources {
        let (name, request) = (source.name.as_str(), &source.request);
        assert_eq!(request.headers.len(), usize::from(name == "headers"), "{name}");
        assert_eq!(request.basic_auth.is_some(), name == "login", "{name}");
        assert_eq!(request.timeout.as_secs(), if name == "slow" { 50 } else { 20 }, "{name}");
        assert!(request.post.is_none(), "{name}");
    }
}

#[test]
fn a_source_sets_again_what_fetch_sets() {
    let config = config(&format!(
        "[fetch]\ninterval = \"1m\"\nproxy = \"http://p:1\"\nretry = {{ attempts = 2 }}\n{SOURCE}\
         interval = \"2m\"\nproxy = \"none\"\nretry = {{ max_backoff = \"3s\" }}\n\
         [[source]]\nname = \"b\"\nurl = \"http://b/\"\n[source.breaker]\nfailures = 9\n"
    ));
    let [a, b] = config.sources.as_slice() else { panic!("two sources") };
    assert_eq!((a.schedule.interval.as_secs(), b.schedule.interval.as_secs()), (120, 60));
    assert_eq!((a.request.proxy.is_some(), b.request.proxy.is_some()), (false, true));
    assert_eq!((a.retry.attempts, a.retry.max_backoff.as_secs(), b.retry.max_backoff.as_secs()), (2, 3, 10));
    assert_eq!((a.breaker.failures, b.breaker.failures), (3, 9));
}

#[test]
fn paths_are_relative_to_the_file_and_the_state_to_what_systemd_gives() {
    let directory = tempfile::tempdir().unwrap();
    let state = |text: &str, systemd: Option<&str>| {
        let env = |name: &str| systemd.filter(|_| name == "STATE_DIRECTORY").map(OsString::from);
        load(&write(directory.path(), text), &LoadOptions { secrets: Needed::All, env: &env }).unwrap().config.state_dir
    };
    assert_eq!(state("state_dir = \"s\"\n", Some("/var/lib/k")), directory.path().join("s"));
    assert_eq!(state("state_dir = \"/s\"\n", None), Path::new("/s"));
    assert_eq!(state("", Some("/var/lib/k:/other")), Path::new("/var/lib/k"));
    assert_eq!(state("", None), Path::new("state"));
}

#[test]
fn the_file_is_looked_for_in_order() {
    let env = |name: &str| (name == "KAWARABAN_CONFIG").then(|| OsString::from("/from/env.toml"));
    assert_eq!(find(Some(Path::new("/cli.toml")), &env).unwrap(), Path::new("/cli.toml"));
    assert_eq!(find(None, &env).unwrap(), Path::new("/from/env.toml"));
    // tests run in the repository's root
    assert_eq!(find(None, &|_| None).unwrap(), Path::new("./config/kawaraban.toml"));
}

const EXAMPLE: &str = include_str!("../../config/kawaraban.toml");

#[test]
fn the_example_is_valid_and_needs_no_secret() {
    let loaded = loaded(EXAMPLE);
    assert_eq!(loaded.warnings, []);
    assert!(loaded.config.sources.len() >= 12);
    assert!(matches!(loaded.config.destinations[0].kind, DestinationKind::Stdout));
}

#[test]
fn the_example_is_valid_with_every_key_switched_on() {
    let switch = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => key.to_owned(),
        _ => line.to_owned(),
    };
    let text: String = EXAMPLE.lines().map(|line| switch(line) + "\n").collect();
    assert!(!text.lines().any(|line| line.starts_with('#') && !line.starts_with("# ") && line != "#"));
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["ca.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(directory.path().join("extra-ca.pem"), certificate.pem()).unwrap();
    let env = |_: &str| None;
    let loaded = load(&write(directory.path(), text), &LoadOptions { secrets: Needed::None, env: &env });
    let config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
    assert_eq!(config.destinations.len(), 3);
}

/// A secret wherever one may be.
const SECRETS: &str = r#"
[http]
admin_token = "hunter2"
[fetch]
proxy = "http://user:hunter2@proxy.example:3128"
[[source]]
name = "ann"
url = "https://user:hunter2@ann.example/hunter2?key=hunter2"
headers = { "X-Key" = "hunter2" }
[[source]]
name = "mal"
url = "https://mal.example/"
basic_auth = { user = "hunter2", password = "hunter2" }
[[destination]]
name = "news"
kind = "discord"
url = "https://discord.com/api/webhooks/12/hunter2"
[[destination]]
name = "archive"
kind = "webhook"
url = 'https://archive.example/hunter2'
secret = """
hunter2"""
"#;

proptest! {
    #[test]
    fn no_prefix_of_the_example_panics(end in 0..EXAMPLE.len()) {
        said(&EXAMPLE.as_bytes()[..end]);
    }

    #[test]
    fn no_changed_byte_brings_a_secret_to_light(at in 0..SECRETS.len(), byte in 0x20_u8..0x7f, more in 0_usize..3) {
        let mut text = SECRETS.as_bytes().to_vec();
        // `said` looks for the secret in every message
        text.splice(at..(at + more).min(text.len()), [byte]);
        said(text);
    }

    #[test]
    fn no_changed_byte_of_the_example_panics(at in 0..EXAMPLE.len(), byte: u8) {
        let mut text = EXAMPLE.as_bytes().to_vec();
        text[at] = byte;
        said(text);
    }
}
