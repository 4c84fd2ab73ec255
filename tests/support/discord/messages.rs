//! Messages: stored, edited, read and deleted.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::Answer,
    pipeline::Target,
    record::{Message, Recorded},
    state::{Hook, State},
    validate,
};

/// `POST` and `PATCH`, of a body that is valid.
pub(super) fn write(state: &mut State, index: usize, target: &Target, hook: usize, body: Value) -> Answer {
    match &target.message {
        None => store(state, index, hook, body),
        Some(id) => edit(&mut state.hooks[hook], id, &state.requests[index], &body),
    }
}

fn store(state: &mut State, index: usize, hook: usize, body: Value) -> Answer {
    let request = &state.requests[index];
    let wait = matches!(request.parameter("wait").as_deref(), Some("true" | "True" | "1"));
    let (at, thread) = (request.received, request.parameter("thread_id"));
    let id = state.snowflake();
    // a post that opens a thread has the thread's id
    let thread = thread.or_else(|| body["thread_name"].is_string().then(|| id.clone()));
    let hook = &mut state.hooks[hook];
    if let Some(thread) = &thread {
        let channel = state.channels.get_mut(&hook.channel).expect("made with the webhook");
        if !channel.threads.contains(thread) {
            channel.threads.push(thread.clone());
        }
    }
    let message = Message { id, body, at, request: index, thread, edits: 0, deleted: false };
    let answer = if wait { Answer::json(200, &object(hook, &message)) } else { no_content() };
    hook.messages.push(message);
    Answer { stored: true, ..answer }
}

fn edit(hook: &mut Hook, id: &str, request: &Recorded, body: &Value) -> Answer {
    let Some(at) = position(hook, id, request) else { return unknown() };
    let mut edited = hook.messages[at].body.clone();
    for (key, value) in body.as_object().into_iter().flatten() {
        // a name and its picture belong to the message as it was sent
        if !matches!(key.as_str(), "username" | "avatar_url") {
            edited[key] = value.clone();
        }
    }
    if validate::is_empty(&edited) {
        return Answer::error(400, 50006, "Cannot send an empty message");
    }
    hook.messages[at].body = edited;
    hook.messages[at].edits += 1;
    Answer { stored: true, ..Answer::json(200, &object(hook, &hook.messages[at])) }
}

/// `GET` of the webhook, `GET` and `DELETE` of a message.
pub(super) fn read(state: &mut State, target: &Target, hook: usize, request: &Recorded) -> Answer {
    let hook = &mut state.hooks[hook];
    let Some(id) = &target.message else {
        return Answer::json(
            200,
            &json!({"type": 1, "id": hook.id, "name": hook.name, "avatar": null, "channel_id": hook.channel,
                "guild_id": "200000000000000000", "application_id": null, "token": hook.token}),
        );
    };
    let Some(at) = position(hook, id, request) else { return unknown() };
    if request.method == "DELETE" {
        hook.messages[at].deleted = true;
        return Answer { stored: true, ..no_content() };
    }
    Answer::json(200, &object(hook, &hook.messages[at]))
}

/// Of this webhook, in this thread, and not deleted.
fn position(hook: &Hook, id: &str, request: &Recorded) -> Option<usize> {
    let thread = request.parameter("thread_id");
    let same = |message: &Message| message.id == id && !message.deleted && message.thread == thread;
    hook.messages.iter().position(same)
}

fn unknown() -> Answer {
    Answer::error(404, 10008, "Unknown Message")
}

fn no_content() -> Answer {
    Answer::new(204, "", "").with("Via", "1.1 google")
}

/// As Discord shows it: texts trimmed, embeds of type rich.
pub(super) fn object(hook: &Hook, message: &Message) -> Value {
    let now = || Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string();
    let mut embeds = message.body["embeds"].clone();
    for embed in embeds.as_array_mut().into_iter().flatten() {
        embed["type"] = json!("rich");
        for key in ["title", "description"] {
            if let Some(text) = embed[key].as_str() {
                embed[key] = json!(text.trim());
            }
        }
        if let Some(time) = embed["timestamp"].as_str().and_then(|time| time.parse::<Timestamp>().ok()) {
            embed["timestamp"] = json!(time.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string());
        }
        // reading a key that is missing must not have made it
        if let Some(embed) = embed.as_object_mut() {
            embed.retain(|_, value| !value.is_null());
        }
    }
    let username = message.body["username"].as_str().unwrap_or(&hook.name).trim();
    json!({
        "id": message.id, "type": 0, "channel_id": message.thread.as_ref().unwrap_or(&hook.channel),
        "content": message.body["content"].as_str().unwrap_or_default().trim(),
        "author": {"id": hook.id, "username": username, "avatar": null, "discriminator": "0000", "bot": true},
        "webhook_id": hook.id, "timestamp": now(), "edited_timestamp": (message.edits > 0).then(now),
        "tts": false, "pinned": false, "mention_everyone": false, "mentions": [], "mention_roles": [],
        "attachments": [], "embeds": if embeds.is_null() { json!([]) } else { embeds }, "components": [],
        "flags": message.body["flags"].as_u64().unwrap_or(0),
    })
}
