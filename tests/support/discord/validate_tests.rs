//! Each rule of the validator at its edge: what just fits, and what is one too many.

use serde_json::{Value, json};

use super::{is_empty, legacy, nested, validate};

fn paths(body: &Value) -> Vec<String> {
    validate(body).into_iter().map(|fault| format!("{} {}", fault.path, fault.code)).collect()
}

fn embed(embed: Value) -> Vec<String> {
    paths(&json!({"embeds": [embed]}))
}

#[test]
fn lengths_are_code_points_after_trimming() {
    let fits = format!("  {}\n", "𝄞".repeat(2000));
    assert_eq!(paths(&json!({"content": fits})), [""; 0]);
    assert_eq!(paths(&json!({"content": "x".repeat(2001)})), ["content BASE_TYPE_MAX_LENGTH"]);
}

#[test]
fn each_text_of_an_embed_has_its_limit() {
    let of = |by: usize| {
        json!({
            "title": "t".repeat(256 + by),
            "author": {"name": "a".repeat(256 + by)},
            "fields": [{"name": "n".repeat(256 + by), "value": "v".repeat(1024 + by)}],
            "footer": {"text": "f".repeat(2048 + by)},
        })
    };
    assert_eq!(embed(of(0)), [""; 0]);
    assert_eq!(
        embed(of(1)),
        [
            "embeds.0.title BASE_TYPE_MAX_LENGTH",
            "embeds.0.footer.text BASE_TYPE_MAX_LENGTH",
            "embeds.0.author.name BASE_TYPE_MAX_LENGTH",
            "embeds.0.fields.0.name BASE_TYPE_MAX_LENGTH",
            "embeds.0.fields.0.value BASE_TYPE_MAX_LENGTH"
        ]
    );
    assert_eq!(embed(json!({"description": "d".repeat(4096)})), [""; 0]);
    assert_eq!(embed(json!({"description": "d".repeat(4097)})), ["embeds.0.description BASE_TYPE_MAX_LENGTH"]);
}

#[test]
fn the_sum_of_all_embeds_has_a_limit_too() {
    let of = |last: usize| json!({"embeds": [{"description": "d".repeat(4000)}, {"description": "d".repeat(last)}]});
    assert_eq!(paths(&of(2000)), [""; 0]);
    assert_eq!(paths(&of(2001)), ["embeds MAX_EMBED_SIZE_EXCEEDED"]);
}

#[test]
fn lists_have_limits() {
    let embeds = |count: usize| json!({"embeds": vec![json!({"title": "t"}); count]});
    assert_eq!(paths(&embeds(10)), [""; 0]);
    assert_eq!(paths(&embeds(11)), ["embeds BASE_TYPE_MAX_LENGTH"]);
    let fields = |count: usize| json!({"fields": vec![json!({"name": "n", "value": "v"}); count]});
    assert_eq!(embed(fields(25)), [""; 0]);
    assert_eq!(embed(fields(26)), ["embeds.0.fields BASE_TYPE_MAX_LENGTH"]);
}

#[test]
fn a_field_has_a_name_and_a_value() {
    assert_eq!(
        embed(json!({"fields": [{"name": " ", "value": ""}]})),
        ["embeds.0.fields.0.name BASE_TYPE_REQUIRED", "embeds.0.fields.0.value BASE_TYPE_REQUIRED"]
    );
}

#[test]
fn an_embed_shows_something() {
    assert_eq!(embed(json!({"url": "https://a.example/", "color": 1})), ["embeds.0.description BASE_TYPE_REQUIRED"]);
    assert_eq!(embed(json!({"image": {"url": "https://a.example/i.png"}})), [""; 0]);
}

#[test]
fn addresses_have_a_known_scheme_and_are_well_formed() {
    let with = |url: &str| embed(json!({"title": "t", "url": url}));
    assert_eq!(with("https://a.example/?q=1"), [""; 0]);
    let scheme = "embeds.0.url URL_TYPE_INVALID_SCHEME";
    let form = "embeds.0.url URL_TYPE_INVALID_URL";
    assert_eq!(with(""), [scheme, form]);
    assert_eq!(with("//a.example/x"), [scheme, form]);
    assert_eq!(with("magnet:?xt=1"), [scheme, form]);
    assert_eq!(with("attachment://a.png"), [scheme]);
    assert_eq!(with("https://a.example/a b"), [form]);
    assert_eq!(with(&format!("https://a.example/{}", "x".repeat(2048))), ["embeds.0.url BASE_TYPE_MAX_LENGTH"]);
    assert_eq!(embed(json!({"image": {"url": "attachment://a.png"}})), [""; 0]);
    let faults = validate(&json!({"avatar_url": "data:image/png,x"}));
    assert_eq!(faults[0].message, "Scheme \"data\" is not supported. Scheme must be one of ('http', 'https').");
}

#[test]
fn colours_and_times_are_what_they_should_be() {
    let with = |color: Value| embed(json!({"title": "t", "color": color}));
    assert_eq!(with(json!(0xff_ffff)), [""; 0]);
    assert_eq!(with(json!(0x100_0000)), ["embeds.0.color NUMBER_TYPE_MAX"]);
    assert_eq!(with(json!(-1)), ["embeds.0.color NUMBER_TYPE_MIN"]);
    assert_eq!(with(json!("#ffffff")), ["embeds.0.color NUMBER_TYPE_COERCE"]);
    let at = |time: &str| embed(json!({"title": "t", "timestamp": time}));
    assert_eq!(at("2026-01-02T03:04:05Z"), [""; 0]);
    assert_eq!(at("2026-01-02T03:04:05"), [""; 0]);
    assert_eq!(at("Fri, 02 Jan 2026 03:04:05 GMT"), ["embeds.0.timestamp DATE_TIME_TYPE_PARSE"]);
}

#[test]
fn some_names_are_forbidden() {
    let named = |name: &str| paths(&json!({"username": name}));
    assert_eq!(named(&"n".repeat(80)), [""; 0]);
    assert_eq!(named(&"n".repeat(81)), ["username BASE_TYPE_BAD_LENGTH"]);
    assert_eq!(named("  "), ["username BASE_TYPE_BAD_LENGTH"]);
    assert_eq!(named("The DisCord News"), ["username USERNAME_INVALID_CONTAINS"]);
    assert_eq!(named("here"), ["username USERNAME_INVALID"]);
}

#[test]
fn allowed_mentions_do_not_contradict_themselves() {
    let with = |allowed: Value| paths(&json!({"content": "c", "allowed_mentions": allowed}));
    assert_eq!(with(json!({"parse": []})), [""; 0]);
    assert_eq!(with(json!({"parse": [], "roles": ["123456789012345678"]})), [""; 0]);
    assert_eq!(with(json!({"parse": ["all"]})), ["allowed_mentions.parse.0 BASE_TYPE_CHOICES"]);
    assert_eq!(with(json!({"users": ["me"]})), ["allowed_mentions.users.0 NUMBER_TYPE_COERCE"]);
    assert_eq!(
        with(json!({"parse": ["users"], "users": ["1"]})),
        ["allowed_mentions MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE"]
    );
}

#[test]
fn every_fault_is_told_at_its_place() {
    let body = json!({"content": "x".repeat(2001), "embeds": [{"title": "t"}, {"url": "ttps://x.example"}]});
    let faults = validate(&body);
    let long = json!({"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 2000 or fewer in length."}]});
    let told = nested(&faults);
    assert_eq!(told["content"], long);
    assert_eq!(told["embeds"]["1"]["url"]["_errors"][0]["code"], "URL_TYPE_INVALID_SCHEME");
    assert_eq!(told["embeds"]["1"]["description"]["_errors"][0]["message"], "This field is required");
    assert_eq!(legacy(&faults), json!({"content": ["Must be 2000 or fewer in length."], "embeds": ["1"]}));
}

#[test]
fn white_space_alone_is_an_empty_message() {
    assert!(is_empty(&json!({"content": " \u{2003}\n", "embeds": []})));
    assert!(!is_empty(&json!({"embeds": [{"title": "t"}]})));
}
