//! Untrusted text for Discord: nothing in it is markup, nobody is mentioned, and it fits.
//!
//! Discord counts Unicode code points, after trimming white space. A limit is kept by cutting between
//! code points, never within an escape, and the cut is shown by an ellipsis.

const ELLIPSIS: char = '…';
/// Between `@` and a name that would otherwise be a mention.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// Text that Discord renders as markdown (title, description), escaped, of at most `limit` code points.
pub fn escaped(text: &str, limit: usize) -> String {
    let text = clean(text);
    let mut out = Cut::new(limit);
    let mut rest = text.trim();
    let mut line_start = true;
    let mut in_url = false;
    while let Some(c) = rest.chars().next() {
        // a backslash within an address would break it, and nothing in an address is markup
        if let Some(end) = url_end(rest) {
            push_url(&mut out, &rest[..end]);
            rest = &rest[end..];
            (line_start, in_url) = (false, true);
            continue;
        }
        let after = &rest[c.len_utf8()..];
        let escaped = escape(c, after, line_start) || (matches!(c, '.' | ')') && line_start_number(&text, rest));
        in_url &= !ends_url(c) && (c != '<' || escaped);
        if escaped && in_url {
            // Discord would take the backslash for a part of the address
            out.push(&[' ']);
            in_url = false;
        }
        match c {
            '@' if is_broadcast(after) => out.push(&['@', ZERO_WIDTH_SPACE]),
            c if escaped => out.push(&['\\', c]),
            c => out.push(&[c]),
        }
        line_start = c == '\n' || (line_start && c == ' ');
        rest = after;
    }
    out.finish()
}

/// Whether a character needs a backslash before it, numbers of lists apart.
fn escape(c: char, after: &str, line_start: bool) -> bool {
    match c {
        // mentions, emoji, times, commands, sounds and guild links
        '<' => after.starts_with(['@', '#', ':', 'a', 't', '/', 'i', 's']),
        '\\' | '*' | '_' | '~' | '|' | '`' | '[' | ']' => true,
        '>' | '#' | '-' | '+' => line_start,
        _ => false,
    }
}

/// Whether an address ends before the character, as Discord has it.
fn ends_url(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// Text that Discord renders as it is (author, footer), of at most `limit` code points.
pub fn plain(text: &str, limit: usize) -> String {
    let text = clean(text);
    let mut out = Cut::new(limit);
    let mut rest = text.trim();
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '@' if is_broadcast(after) => out.push(&['@', ZERO_WIDTH_SPACE]),
            '\n' => out.push(&[' ']),
            c => out.push(&[c]),
        }
        rest = after;
    }
    out.finish()
}

/// Without control characters (but line feeds) and without those that turn the direction of text.
fn clean(text: &str) -> String {
    let kept = |c: &char| match c {
        '\n' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        c => !c.is_control(),
    };
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(kept).collect()
}

/// After an `@`: does it address everybody?
fn is_broadcast(after: &str) -> bool {
    ["everyone", "here"]
        .iter()
        .any(|name| after.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

/// Where an address that begins here ends.
fn url_end(text: &str) -> Option<usize> {
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return None;
    }
    let ends = |c: char| ends_url(c) || matches!(c, '<' | '>' | '"' | '|' | '`' | '\\' | '[' | ']');
    Some(text.find(ends).unwrap_or(text.len()))
}

fn push_url(out: &mut Cut, url: &str) {
    let mut rest = url;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '@' if is_broadcast(after) => out.push(&['%', '4', '0']),
            c => out.push(&[c]),
        }
        rest = after;
    }
}

/// Whether what stands before `rest` in its line is a number, so that this would begin a list.
fn line_start_number(text: &str, rest: &str) -> bool {
    // `rest` is a tail of the trimmed text, which ends where `text` ends but for white space
    let end = text.trim_end().len() - rest.len();
    let line = text[..end].rsplit('\n').next().unwrap_or_default().trim_start();
    !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()) && rest[1..].starts_with([' ', '\n'])
}

/// Collects code points up to a limit, in pieces that are not cut.
struct Cut {
    text: String,
    count: usize,
    limit: usize,
    /// Byte length at which an ellipsis still fits.
    fits: usize,
    over: bool,
}

impl Cut {
    fn new(limit: usize) -> Self {
        Self { text: String::new(), count: 0, limit, fits: 0, over: false }
    }

    fn push(&mut self, piece: &[char]) {
        if self.over {
            return;
        }
        if self.count < self.limit {
            self.fits = if self.count + piece.len() < self.limit { self.text.len() + bytes(piece) } else { self.fits };
        }
        self.count += piece.len();
        self.over = self.count > self.limit;
        self.text.extend(piece);
    }

    fn finish(mut self) -> String {
        if self.over {
            self.text.truncate(self.fits);
            let kept = self.text.trim_end().len();
            self.text.truncate(kept);
            if self.limit > 0 {
                self.text.push(ELLIPSIS);
            }
        }
        self.text
    }
}

fn bytes(piece: &[char]) -> usize {
    piece.iter().map(|c| c.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_in_it_is_markup() {
        for (text, shown) in [
            ("plain text, 1 < 2 & 3", "plain text, 1 < 2 & 3"),
            ("**bold** _it_ ~~s~~ ||sp|| `code`", r"\*\*bold\*\* \_it\_ \~\~s\~\~ \|\|sp\|\| \`code\`"),
            ("[https://bank.example](https://evil.example)", r"\[https://bank.example \](https://evil.example)"),
            ("> quote\n# head\n-# small\n- list\n+ list", "\\> quote\n\\# head\n\\-# small\n\\- list\n\\+ list"),
            ("1. first\n12) twelfth\n3.5 is no list", "1\\. first\n12\\) twelfth\n3.5 is no list"),
            ("a - b > c # d", "a - b > c # d"),
            ("see https://a.example/x_y_z*?q=1_2 now_", r"see https://a.example/x_y_z*?q=1_2 now\_"),
            ("back\\slash", r"back\\slash"),
            ("https://x.example/y*a\u{feff}*b*", "https://x.example/y*a\u{feff}\\*b\\*"),
            (r#"https://x.example/"*b* *c*"#, r#"https://x.example/" \*b\* \*c\*"#),
            ("https://x.example/y<*b*", r"https://x.example/y<\*b\*"),
            ("tab\tnul\u{0} bidi\u{202e}x\u{2069}", "tab nul bidix"),
            ("  trimmed \n", "trimmed"),
        ] {
            assert_eq!(escaped(text, 4096), shown, "{text}");
        }
    }

    #[test]
    fn nobody_is_mentioned() {
        for (text, shown) in [
            ("@everyone and @here", "@\u{200b}everyone and @\u{200b}here"),
            ("@EveryOne", "@\u{200b}EveryOne"),
            (
                "<@123> <@!1> <@&5> <#9> <:n:1> <a:n:1> <t:1:R> </cmd:1> <id:guide>",
                r"\<@123> \<@!1> \<@&5> \<#9> \<:n:1> \<a:n:1> \<t:1:R> \</cmd:1> \<id:guide>",
            ),
            ("https://x.example/y<@1>", r"https://x.example/y \<@1>"),
            ("https://x.example/y\u{feff}<@1>", "https://x.example/y\u{feff}\\<@1>"),
            ("https://x.example/\"<@1><@2>", "https://x.example/\" \\<@1>\\<@2>"),
            ("<sound:1:2>", r"\<sound:1:2>"),
            ("https://x.example/@everyone", "https://x.example/%40everyone"),
            ("mail me@example.com", "mail me@example.com"),
        ] {
            assert_eq!(escaped(text, 4096), shown, "{text}");
        }
        assert_eq!(plain("News @everyone\nnow *", 80), "News @\u{200b}everyone now *");
    }

    #[test]
    fn a_cut_falls_between_code_points_and_never_within_an_escape() {
        assert_eq!(escaped("abcdef", 6), "abcdef");
        assert_eq!(escaped("abcdefg", 6), "abcde…");
        assert_eq!(escaped("ab*defg", 4), "ab…", "the escape has no room beside the ellipsis");
        assert_eq!(escaped("ab*defg", 5), r"ab\*…");
        assert_eq!(escaped("日本語の題名", 4), "日本語…");
        assert_eq!(escaped("word word", 6), "word…", "no space before the ellipsis");
        assert_eq!(plain("é".repeat(300).as_str(), 256).chars().count(), 256);
    }

    proptest! {
        #[test]
        fn any_text_fits_its_limit(text in ".{0,200}", limit in 1usize..100) {
            prop_assert!(escaped(&text, limit).chars().count() <= limit);
            prop_assert!(plain(&text, limit).chars().count() <= limit);
            let whole = escaped(&text, usize::MAX - 1);
            prop_assert!(!whole.to_lowercase().contains("@everyone"), "{}", whole);
        }
    }
}
