//! URLs as they may be shown: scheme, host, and a shortened path.
//!
//! Query, userinfo, fragment and a webhook's token never appear: they are where keys and passwords stand.

use std::fmt;

use url::Url;

/// Shows a URL without its secrets.
#[derive(Clone, Copy)]
pub struct RedactedUrl<'a>(pub &'a Url);

/// Path characters shown before the rest becomes an ellipsis.
const PATH: usize = 48;

impl fmt::Display for RedactedUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0;
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or("?"))?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        let path = url.path();
        if let Some(end) = webhook_token(path) {
            return write!(f, "{}…", &path[..end]);
        }
        match path.char_indices().nth(PATH) {
            Some((end, _)) => write!(f, "{}…", &path[..end]),
            None => f.write_str(path),
        }
    }
}

impl fmt::Debug for RedactedUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where the token begins in `…/webhooks/ID/TOKEN`.
fn webhook_token(path: &str) -> Option<usize> {
    let id = path.find("/webhooks/")? + "/webhooks/".len();
    let token = id + path[id..].find('/')? + 1;
    Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_left_out() {
        let shown = |url: &str| RedactedUrl(&Url::parse(url).unwrap()).to_string();
        assert_eq!(shown("https://u:p@h.example:8443/feed?key=k#f"), "https://h.example:8443/feed");
        assert_eq!(
            shown("https://discord.com/api/v10/webhooks/12/tok-EN/slack?x=1"),
            "https://discord.com/api/v10/webhooks/12/…"
        );
        assert_eq!(shown(&format!("http://h/{}", "é".repeat(99))).chars().last(), Some('…'));
    }
}
