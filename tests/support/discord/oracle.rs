//! What a client does wrong and the fake alone can see: told as sentences, one for each request and rule.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use regex::Regex;
use serde_json::Value;

use super::{
    pipeline::Target,
    state::{State, Wait},
    validate,
};

/// Clocks are read on both sides of a socket: so much too early is not early.
const SLACK: Duration = Duration::from_millis(50);
/// A wait for all is told to one webhook: so long may others not have heard of it.
const GOSSIP: Duration = Duration::from_millis(250);

static USER_AGENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^DiscordBot \(https?://[^\s,()]+, [0-9A-Za-z.+-]+\)( .*)?$").unwrap());
/// What Discord shows as a mention or as markup of its own.
static MENTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"@everyone|@here|<(@[!&]?|#)(\d+)>|<a?:\w+:\d+>|</[^<>\n]+:\d+>|<id:\w+>|<sound:\d+:\d+>").unwrap()
});

/// An address up to where Discord ends it: white space, U+FEFF among it, or `<`.
static OPEN_URL: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"https?://[^\s\u{feff}<]+$").unwrap());

/// Judges a request by its head, before anything is answered.
pub(super) fn judge_head(state: &mut State, index: usize, target: &Target) {
    let request = &state.requests[index];
    let mut wrong = Vec::new();
    let agent = request.header("user-agent").unwrap_or_default();
    if !USER_AGENT.is_match(agent) {
        wrong.push(format!("User-Agent is {agent:?}, not DiscordBot (url, version)"));
    }
    if target.version != Some(10) {
        wrong.push("the path does not begin with /api/v10/".to_owned());
    }
    if request.method == "POST" && !matches!(request.parameter("wait").as_deref(), Some("true" | "True" | "1")) {
        wrong.push("no wait=true".to_owned());
    }
    if let Some(hook) = target.hook {
        let hook_state = &state.hooks[hook];
        if let Some(told) = hook_state.death_told
            && request.method != "GET"
        {
            wrong.push(format!("the webhook is gone, as the answer to request {told} said"));
        }
        if let Some(early) = target.route.and_then(|route| hook_state.waits.get(route)).and_then(|wait| {
            // what was on its way when the answer was written could not know
            (request.received > wait.from).then(|| early(request.received, wait)).flatten()
        }) {
            wrong.push(format!("{early:?} before the end of the wait that its webhook was told"));
        }
    }
    for wait in &state.waits {
        let heard = if wait.told == target.hook { wait.from } else { wait.from + GOSSIP };
        if request.received > heard
            && let Some(early) = early(request.received, wait)
        {
            wrong.push(format!("{early:?} before the end of a wait for all"));
            break;
        }
    }
    tell(state, index, target, wrong);
}

fn early(received: Instant, wait: &Wait) -> Option<Duration> {
    let early = wait.until.saturating_duration_since(received);
    (early > SLACK).then_some(early)
}

/// Judges what it wants to have stored.
pub(super) fn judge_body(state: &mut State, index: usize, target: &Target) {
    let request = &state.requests[index];
    if !matches!(request.method.as_str(), "POST" | "PATCH") {
        return;
    }
    let mut wrong = Vec::new();
    match serde_json::from_slice::<Value>(&request.body) {
        Err(error) => wrong.push(format!("the body is no JSON: {error}")),
        Ok(body) => {
            let allowed = &body["allowed_mentions"];
            if !allowed["parse"].as_array().is_some_and(Vec::is_empty) {
                wrong.push(format!("allowed_mentions.parse is {}, not []", allowed["parse"]));
            }
            for fault in validate::validate(&body) {
                wrong.push(format!("{}: {} {}", fault.path, fault.code, fault.message));
            }
            if request.method == "POST" && validate::is_empty(&body) {
                wrong.push("the message is empty".to_owned());
            }
            for (path, text) in texts(&body) {
                for mention in mentions(text, allowed) {
                    wrong.push(format!("{path} holds {mention}, which Discord takes for more than text"));
                }
            }
        }
    }
    tell(state, index, target, wrong);
}

fn tell(state: &mut State, index: usize, target: &Target, wrong: Vec<String>) {
    let name = target.hook.map_or("no webhook", |hook| &state.hooks[hook].name).to_owned();
    let method = state.requests[index].method.clone();
    state.violations.extend(wrong.into_iter().map(|text| format!("request {index} ({method}, {name}): {text}")));
}

/// The texts in which Discord looks for markup.
fn texts(body: &Value) -> Vec<(String, &str)> {
    let mut texts = Vec::new();
    if let Some(content) = body["content"].as_str() {
        texts.push(("content".to_owned(), content));
    }
    for (n, embed) in body["embeds"].as_array().into_iter().flatten().enumerate() {
        for key in ["title", "description"] {
            if let Some(text) = embed[key].as_str() {
                texts.push((format!("embeds.{n}.{key}"), text));
            }
        }
        for (m, field) in embed["fields"].as_array().into_iter().flatten().enumerate() {
            for key in ["name", "value"] {
                if let Some(text) = field[key].as_str() {
                    texts.push((format!("embeds.{n}.fields.{m}.{key}"), text));
                }
            }
        }
    }
    texts
}

/// Mentions and the like that are neither escaped nor allowed by name.
fn mentions<'a>(text: &'a str, allowed: &Value) -> Vec<&'a str> {
    let by_name = |id: &str| {
        ["users", "roles"].iter().any(|key| allowed[key].as_array().is_some_and(|ids| ids.contains(&id.into())))
    };
    let found = MENTION.captures_iter(text).filter(|found| {
        let whole = found.get(0).expect("the whole match");
        // an escape that is escaped itself does not escape
        let before = &text[..whole.start()];
        let escapes = before.bytes().rev().take_while(|&byte| byte == b'\\').count();
        // a backslash within an address belongs to it
        let escaped = whole.as_str().starts_with('<') && escapes % 2 == 1 && !OPEN_URL.is_match(before);
        !escaped && !found.get(2).is_some_and(|id| by_name(id.as_str()))
    });
    found.map(|found| found.get(0).expect("the whole match").as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_discord_would_render_is_found_unless_it_is_escaped_or_allowed() {
        let none = json!({"parse": []});
        assert_eq!(mentions("@everyone and <@123> at <#5>", &none), ["@everyone", "<@123>", "<#5>"]);
        assert_eq!(mentions(r"\<@123> but \\<@&124>", &none), ["<@&124>"]);
        assert_eq!(mentions("@\u{200b}everyone, a <b> and <@home>", &none), [""; 0]);
        assert_eq!(mentions("<@&77> <@&78>", &json!({"parse": [], "roles": ["77"]})), ["<@&78>"]);
        assert_eq!(mentions(r"https://x.example/y\<@1>", &none), ["<@1>"]);
        assert_eq!(mentions("https://x.example/y \\<@1> https://x.example/\u{feff}\\<@2>", &none), [""; 0]);
        assert_eq!(mentions(r"<sound:1:2> \<sound:3:4>", &none), ["<sound:1:2>"]);
        assert_eq!(mentions("<:smile:12> </kick:34> <id:guide>", &none), ["<:smile:12>", "</kick:34>", "<id:guide>"]);
    }

    #[test]
    fn every_text_of_a_message_is_looked_at() {
        let body = json!({"content": "c", "embeds": [{"title": "t", "description": "d", "url": "u",
            "fields": [{"name": "n", "value": "v"}]}]});
        let found: Vec<_> = texts(&body).into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, ["c", "t", "d", "n", "v"]);
    }
}
