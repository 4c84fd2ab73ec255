//! What a feed says: items and the RSS document made of them.

use std::{fmt::Write, sync::Arc};

use super::Fault;

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub guid: String,
    pub title: String,
    pub link: String,
    /// Seconds since 1970.
    pub published: i64,
    pub text: String,
}

impl Entry {
    /// The `number`-th item of a feed: a minute later than the one before.
    pub fn numbered(feed: &str, number: usize) -> Self {
        Self {
            guid: format!("{feed}-{number}"),
            title: format!("{feed} item {number}"),
            link: format!("http://news.example/{feed}/{number}"),
            published: 1_790_000_000 + 60 * i64::try_from(number).unwrap(),
            text: format!("What happened the {number}th time at {feed}."),
        }
    }
}

/// A feed's items, and how it is served.
pub(super) struct Feed {
    name: String,
    entries: Vec<Entry>,
    window: usize,
    revision: u64,
    pub(super) fault: Option<Fault>,
    rendered: Option<Arc<[u8]>>,
}

impl Feed {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            entries: Vec::new(),
            window: usize::MAX,
            revision: 1,
            fault: None,
            rendered: None,
        }
    }

    pub(super) fn push(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries);
        self.changed();
    }

    pub(super) fn publish(&mut self, count: usize) -> Vec<Entry> {
        let next = self.entries.len() + 1;
        let new: Vec<Entry> = (next..next + count).map(|number| Entry::numbered(&self.name, number)).collect();
        self.push(new.clone());
        new
    }

    pub(super) fn set_window(&mut self, items: usize) {
        self.window = items;
        self.changed();
    }

    fn changed(&mut self) {
        self.revision += 1;
        self.rendered = None;
    }

    pub(super) fn etag(&self) -> String {
        format!("\"{}-{}\"", self.name, self.revision)
    }

    /// Moves on by a second with each revision.
    pub(super) fn last_modified(&self) -> String {
        http_date(1_790_000_000 + i64::try_from(self.revision).unwrap())
    }

    /// RSS 2.0, newest first.
    pub(super) fn document(&mut self) -> Arc<[u8]> {
        let shown = self.entries.len().min(self.window);
        let shown = &self.entries[self.entries.len() - shown..];
        let rendered = self.rendered.get_or_insert_with(|| render(&self.name, shown.iter().rev()).into_bytes().into());
        Arc::clone(rendered)
    }
}

/// An RSS 2.0 document.
pub fn render<'a>(title: &str, entries: impl Iterator<Item = &'a Entry>) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<rss version=\"2.0\"><channel>\
         <title>{0}</title><link>http://news.example/{0}</link><description>{0}</description>\n",
        escape(title)
    );
    for entry in entries {
        let _ = writeln!(
            out,
            "<item><title>{}</title><link>{}</link><guid isPermaLink=\"false\">{}</guid>\
             <pubDate>{}</pubDate><description>{}</description></item>",
            escape(&entry.title),
            escape(&entry.link),
            escape(&entry.guid),
            http_date(entry.published),
            escape(&entry.text),
        );
    }
    out.push_str("</channel></rss>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// IMF-fixdate (RFC 9110), which RSS reads too.
fn http_date(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
