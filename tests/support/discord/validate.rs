//! What Discord refuses in a message, pure: all faults of a body at once, as its form errors tell them.
//!
//! Lengths are code points after trimming. A key that is absent or null is no fault unless it is required;
//! unknown keys are ignored.

use serde_json::{Map, Value, json};

/// One fault and where it is: `embeds.0.title`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub path: String,
    pub code: &'static str,
    pub message: String,
}

const EMBEDS: usize = 10;
const FIELDS: usize = 25;
const TOTAL: usize = 6000;
const URL: usize = 2048;
const WEB: &[&str] = &["http", "https"];
const MEDIA: &[&str] = &["http", "https", "attachment"];

/// Every fault of a message's body; none: it would be stored, unless it [is empty](is_empty).
pub fn validate(body: &Value) -> Vec<Fault> {
    let mut check = Check::default();
    check.text(body, "", "content", 2000);
    check.username(body);
    check.url(body, "", "avatar_url", WEB);
    if check.text(body, "", "thread_name", 100) == Some(0) {
        check.fault("thread_name", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.");
    }
    if let Some(tags) = check.list(body, "", "applied_tags", 5) {
        tags.iter().enumerate().for_each(|(n, tag)| check.snowflake(&format!("applied_tags.{n}"), tag));
    }
    check.embeds(body);
    check.allowed_mentions(body);
    check.integer(body, "", "flags", i64::MAX);
    check.0
}

/// Whether there is nothing to see.
pub fn is_empty(body: &Value) -> bool {
    let full = |key: &str| body[key].as_array().is_some_and(|list| !list.is_empty());
    trimmed(&body["content"]) == 0 && !full("embeds") && !full("components") && body["poll"].is_null()
}

/// `errors` as versions 8 and later tell it.
pub fn nested(faults: &[Fault]) -> Value {
    let mut root = Map::new();
    for fault in faults {
        let mut at = &mut root;
        for key in fault.path.split('.').filter(|key| !key.is_empty()) {
            at = at.entry(key).or_insert_with(|| json!({})).as_object_mut().expect("made here");
        }
        let list = at.entry("_errors").or_insert_with(|| json!([])).as_array_mut().expect("made here");
        list.push(json!({"code": fault.code, "message": fault.message}));
    }
    Value::Object(root)
}

/// The whole body as versions 6 and 7 tell it: of an embed only its number.
pub fn legacy(faults: &[Fault]) -> Value {
    let mut root = Map::new();
    for fault in faults {
        let (key, rest) = fault.path.split_once('.').unwrap_or((&fault.path, ""));
        let text = match rest.split('.').next() {
            Some(number) if key == "embeds" && !number.is_empty() => number.to_owned(),
            _ => fault.message.clone(),
        };
        let list = root.entry(key).or_insert_with(|| json!([])).as_array_mut().expect("made here");
        if !list.contains(&json!(text)) {
            list.push(json!(text));
        }
    }
    Value::Object(root)
}

/// Code points without white space around them; 0 for what is no text.
fn trimmed(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.trim().chars().count())
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[derive(Default)]
struct Check(Vec<Fault>);

impl Check {
    fn fault(&mut self, path: &str, code: &'static str, message: impl Into<String>) {
        self.0.push(Fault { path: path.to_owned(), code, message: message.into() });
    }

    /// A text's length. None: there is none.
    fn text(&mut self, of: &Value, path: &str, key: &str, limit: usize) -> Option<usize> {
        match &of[key] {
            Value::Null => None,
            Value::String(_) => {
                let length = trimmed(&of[key]);
                if length > limit {
                    let message = format!("Must be {limit} or fewer in length.");
                    self.fault(&join(path, key), "BASE_TYPE_MAX_LENGTH", message);
                }
                Some(length)
            }
            // Discord takes numbers and booleans for text: nobody should count on it
            _ => {
                self.fault(&join(path, key), "STRING_TYPE_CONVERT", "Could not interpret as string.");
                None
            }
        }
    }

    fn required(&mut self, of: &Value, path: &str, key: &str, limit: usize) -> usize {
        let length = self.text(of, path, key, limit).unwrap_or(0);
        if length == 0 && (of[key].is_null() || of[key].is_string()) {
            self.fault(&join(path, key), "BASE_TYPE_REQUIRED", "This field is required");
        }
        length
    }

    fn list<'a>(&mut self, of: &'a Value, path: &str, key: &str, limit: usize) -> Option<&'a Vec<Value>> {
        match &of[key] {
            Value::Null => None,
            Value::Array(list) => {
                if list.len() > limit {
                    let message = format!("Must be {limit} or fewer in length.");
                    self.fault(&join(path, key), "BASE_TYPE_MAX_LENGTH", message);
                }
                Some(list)
            }
            _ => {
                self.fault(&join(path, key), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType.");
                None
            }
        }
    }

    /// An object. None: there is none.
    fn object<'a>(&mut self, of: &'a Value, path: &str, key: &str) -> Option<&'a Value> {
        match &of[key] {
            Value::Null => None,
            Value::Object(_) => Some(&of[key]),
            _ => {
                let message = "Only dictionaries may be used in a DictType";
                self.fault(&join(path, key), "DICT_TYPE_CONVERT", message);
                None
            }
        }
    }

    fn integer(&mut self, of: &Value, path: &str, key: &str, most: i64) {
        let path = join(path, key);
        match &of[key] {
            Value::Null => {}
            value => match value.as_i64() {
                None => self.fault(&path, "NUMBER_TYPE_COERCE", format!("Value {value} is not int.")),
                Some(number) if number < 0 => {
                    self.fault(&path, "NUMBER_TYPE_MIN", "int value should be greater than or equal to 0.");
                }
                Some(number) if number > most => {
                    let message = format!("int value should be less than or equal to {most}.");
                    self.fault(&path, "NUMBER_TYPE_MAX", message);
                }
                Some(_) => {}
            },
        }
    }

    fn snowflake(&mut self, path: &str, value: &Value) {
        let good = value.as_str().is_some_and(|id| !id.is_empty() && id.parse::<u64>().is_ok());
        if !good {
            self.fault(path, "NUMBER_TYPE_COERCE", format!("Value {value} is not snowflake."));
        }
    }

    fn url(&mut self, of: &Value, path: &str, key: &str, schemes: &[&str]) {
        let at = join(path, key);
        self.text(of, path, key, URL);
        let Some(text) = of[key].as_str() else { return };
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
        if !schemes.contains(&scheme.as_str()) {
            let known = schemes.iter().map(|known| format!("'{known}'")).collect::<Vec<_>>().join(", ");
            let message = format!("Scheme \"{scheme}\" is not supported. Scheme must be one of ({known}).");
            self.fault(&at, "URL_TYPE_INVALID_SCHEME", message);
        }
        let good = url::Url::parse(text).is_ok_and(|url| url.has_host()) && !text.contains(char::is_whitespace);
        if !good {
            self.fault(&at, "URL_TYPE_INVALID_URL", "Not a well formed URL.");
        }
    }

    fn username(&mut self, body: &Value) {
        let Some(name) = body["username"].as_str() else { return };
        let name = name.trim().to_lowercase();
        if !(1..=80).contains(&trimmed(&body["username"])) {
            self.fault("username", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 80 in length.");
        }
        for word in ["discord", "clyde"].into_iter().filter(|word| name.contains(word)) {
            self.fault("username", "USERNAME_INVALID_CONTAINS", format!("Username cannot contain \"{word}\""));
        }
        // observed as equal and, once, as contained: the stricter reading
        for word in ["everyone", "here"].into_iter().filter(|word| name.contains(word)) {
            self.fault("username", "USERNAME_INVALID", format!("Username cannot be \"{word}\""));
        }
    }

    fn embeds(&mut self, body: &Value) {
        let Some(embeds) = self.list(body, "", "embeds", EMBEDS) else { return };
        let before = self.0.len();
        let total: usize = embeds.iter().enumerate().map(|(n, embed)| self.embed(embed, &format!("embeds.{n}"))).sum();
        if total > TOTAL && self.0.len() == before {
            self.fault("embeds", "MAX_EMBED_SIZE_EXCEEDED", format!("Embed size exceeds maximum size of {TOTAL}"));
        }
    }

    /// Its length.
    fn embed(&mut self, embed: &Value, path: &str) -> usize {
        if !embed.is_object() {
            self.fault(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType");
            return 0;
        }
        let title = self.text(embed, path, "title", 256).unwrap_or(0);
        let description = self.text(embed, path, "description", 4096).unwrap_or(0);
        let (mut total, mut visible) = (title + description, title + description > 0);
        self.url(embed, path, "url", WEB);
        self.integer(embed, path, "color", 0xff_ffff);
        self.timestamp(embed, path);
        for key in ["image", "thumbnail"] {
            if let Some(image) = self.object(embed, path, key) {
                self.url(image, &join(path, key), "url", MEDIA);
                visible |= image["url"].is_string();
            }
        }
        if let Some(footer) = self.object(embed, path, "footer") {
            let length = self.text(footer, &join(path, "footer"), "text", 2048).unwrap_or(0);
            self.url(footer, &join(path, "footer"), "icon_url", MEDIA);
            (total, visible) = (total + length, visible || length > 0);
        }
        if let Some(author) = self.object(embed, path, "author") {
            let at = join(path, "author");
            let length = if author["url"].is_null() && author["icon_url"].is_null() {
                self.text(author, &at, "name", 256).unwrap_or(0)
            } else {
                self.required(author, &at, "name", 256)
            };
            self.url(author, &at, "url", WEB);
            self.url(author, &at, "icon_url", MEDIA);
            (total, visible) = (total + length, visible || length > 0);
        }
        if let Some(fields) = self.list(embed, path, "fields", FIELDS) {
            for (n, field) in fields.iter().enumerate() {
                let at = format!("{path}.fields.{n}");
                total += self.required(field, &at, "name", 256) + self.required(field, &at, "value", 1024);
            }
            visible |= !fields.is_empty();
        }
        if !visible {
            self.fault(&join(path, "description"), "BASE_TYPE_REQUIRED", "This field is required");
        }
        total
    }

    fn timestamp(&mut self, embed: &Value, path: &str) {
        let text = match &embed["timestamp"] {
            Value::Null => return,
            value => value.as_str().unwrap_or_default(),
        };
        // with an offset or without
        if text.parse::<jiff::Timestamp>().is_err() && text.parse::<jiff::civil::DateTime>().is_err() {
            let message = "Could not parse. Should be ISO8601.";
            self.fault(&join(path, "timestamp"), "DATE_TIME_TYPE_PARSE", message);
        }
    }

    fn allowed_mentions(&mut self, body: &Value) {
        let Some(allowed) = self.object(body, "", "allowed_mentions") else { return };
        let at = "allowed_mentions";
        let parse = self.list(allowed, at, "parse", 3).cloned().unwrap_or_default();
        for (n, kind) in parse.iter().enumerate() {
            if !["roles", "users", "everyone"].iter().any(|known| kind == known) {
                let message = format!("Value must be one of ('roles', 'users', 'everyone'), not {kind}.");
                self.fault(&format!("{at}.parse.{n}"), "BASE_TYPE_CHOICES", message);
            }
        }
        for key in ["users", "roles"] {
            let Some(ids) = self.list(allowed, at, key, 100) else { continue };
            ids.iter().enumerate().for_each(|(n, id)| self.snowflake(&format!("{at}.{key}.{n}"), id));
            if !ids.is_empty() && parse.iter().any(|kind| kind == key) {
                let message = format!("parse:[\"{key}\"] and {key}: [ids...] are mutually exclusive.");
                self.fault(at, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message);
            }
        }
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
