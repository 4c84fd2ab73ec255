//! `Retry-After` (RFC 9110, section 10.2.3): seconds or an HTTP date, pure.

use std::time::Duration;

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};

/// No server holds us off for longer than this.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to wait from `now`, at most [`LONGEST`]. None if the value is neither, or is no wait at all.
/// Fractions of a second, which some servers send against the letter of the RFC, are rounded up.
pub fn parse(value: &[u8], now: Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let wait = match seconds(text) {
        Some(wait) => wait,
        None => Duration::try_from(http_date(text)?.duration_since(now)).ok()?,
    };
    (!wait.is_zero()).then(|| wait.min(LONGEST))
}

fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    // more digits than a u64 has are a very long wait too
    let seconds = whole.parse::<u64>().unwrap_or(u64::MAX);
    let up = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(Duration::from_secs(seconds.saturating_add(up)))
}

/// A date in one of the three forms of RFC 9110, section 5.6.7.
pub fn http_date(text: &str) -> Option<Timestamp> {
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|format| strtime::parse(format, text).ok()?.to_datetime().ok())
        .and_then(|time| TimeZone::UTC.to_timestamp(time).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        let read = |text: &str| parse(text.as_bytes(), now).map(|wait| wait.as_secs());
        for (text, wait) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0.25", Some(1)),
            ("2.000", Some(2)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
            ("Sun Nov  6 08:49:37 1994", Some(30)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Fri, 06 Nov 2043 08:49:37 GMT", Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", None),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("0", None),
            ("", None),
            ("-1", None),
            ("soon", None),
            (".5", None),
        ] {
            assert_eq!(read(text), wait, "{text}");
        }
        assert_eq!(parse(b"\xff", now), None);
    }
}
