//! Times as pages and JSON write them.

use jiff::{Timestamp, fmt::strtime::BrokenDownTime, tz::TimeZone};

use crate::feed::date::{self, Region};

/// Longest text that is read by a format, in bytes.
const LONGEST: usize = 256;

/// Reads a time: by `format` where there is one, else whatever its shape, numbers included. `zone` is that
/// of times that do not say theirs.
pub fn read(text: &str, format: Option<&str>, zone: &TimeZone, region: Region) -> Option<Timestamp> {
    let text = text.trim();
    let at = match format {
        Some(format) => by_format(text, format, zone),
        None => since_epoch(text).or_else(|| date::read_in(text, region, zone)),
    };
    at.filter(|at| date::is_plausible(*at))
}

/// By strftime's letters. A format without a time of day means midnight.
fn by_format(text: &str, format: &str, zone: &TimeZone) -> Option<Timestamp> {
    if text.len() > LONGEST {
        return None;
    }
    let parsed = BrokenDownTime::parse(format, text).ok()?;
    if let Ok(at) = parsed.to_timestamp() {
        return Some(at);
    }
    let local = parsed.to_datetime().or_else(|_| parsed.to_date().map(|date| date.at(0, 0, 0, 0))).ok()?;
    let named = parsed.iana_time_zone().map(TimeZone::get);
    match named {
        Some(zone) => zone.ok()?.to_timestamp(local).ok(),
        None => zone.to_timestamp(local).ok(),
    }
}

/// A number since 1970, the unit told by its size: seconds, and from 1e11 on milliseconds, from 1e14 on
/// microseconds, from 1e17 on nanoseconds. Shorter numbers, and those of 14 digits, may be dates.
fn since_epoch(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !(9..=19).contains(&whole.len()) || whole.len() == 14 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let value: i128 = whole.parse().ok()?;
    let unit = match whole.len() {
        ..=11 => 1_000_000_000,
        12..=14 => 1_000_000,
        15..=17 => 1_000,
        _ => 1,
    };
    // digits of seconds only: those of smaller units are beyond any use
    let fraction: i128 = if unit == 1_000_000_000 { format!("{fraction:0<9.9}").parse().ok()? } else { 0 };
    Timestamp::from_nanosecond(value * unit + fraction).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, format: Option<&str>, zone: &str) -> String {
        let zone = if zone == "UTC" { TimeZone::UTC } else { TimeZone::get(zone).unwrap() };
        read(text, format, &zone, Region::Unknown).map_or_else(|| "none".into(), |at| at.to_string())
    }

    #[test]
    fn times_are_read_whatever_their_shape() {
        for (text, zone, expected) in [
            ("21:14, 9 January 2026", "UTC", "2026-01-09T21:14:00Z"),
            ("9 January 2026 21:14", "UTC", "2026-01-09T21:14:00Z"),
            ("Friday, 9 January 2026 21:14", "UTC", "2026-01-09T21:14:00Z"),
            ("9 January 2026 21:14", "Asia/Tokyo", "2026-01-09T12:14:00Z"),
            ("2026-07-09 21:14", "Europe/Berlin", "2026-07-09T19:14:00Z"),
            ("2026-01-09 21:14", "Europe/Berlin", "2026-01-09T20:14:00Z"),
            ("2026-01-09T21:14:00+02:00", "Asia/Tokyo", "2026-01-09T19:14:00Z"),
            ("2026-01-09T21:14:00Z", "Asia/Tokyo", "2026-01-09T21:14:00Z"),
            ("Fri, 09 Jan 2026 21:14:00 GMT", "Asia/Tokyo", "2026-01-09T21:14:00Z"),
            ("2026-01-09", "Asia/Tokyo", "2026-01-08T15:00:00Z"),
            ("2026-1-9", "UTC", "2026-01-09T00:00:00Z"),
            ("2026年1月9日", "UTC", "2026-01-09T00:00:00Z"),
            ("20260109", "UTC", "2026-01-09T00:00:00Z"),
            ("20260109211400", "UTC", "2026-01-09T21:14:00Z"),
            // an hour that the clocks leave out, and one that they go through twice
            ("2026-03-29 02:30", "Europe/Berlin", "2026-03-29T01:30:00Z"),
            ("2026-10-25 02:30", "Europe/Berlin", "2026-10-25T00:30:00Z"),
            ("21:14", "UTC", "none"),
            ("soon", "UTC", "none"),
            ("", "UTC", "none"),
        ] {
            assert_eq!(shown(text, None, zone), expected, "{text} {zone}");
        }
    }

    #[test]
    fn numbers_are_since_1970() {
        for (text, expected) in [
            ("1767993240", "2026-01-09T21:14:00Z"),
            ("1767993240.5", "2026-01-09T21:14:00.5Z"),
            ("1767993240000", "2026-01-09T21:14:00Z"),
            ("1767993240250", "2026-01-09T21:14:00.25Z"),
            ("1767993240000250", "2026-01-09T21:14:00.00025Z"),
            ("1767993240000000001", "2026-01-09T21:14:00.000000001Z"),
            ("999999999", "2001-09-09T01:46:39Z"),
            ("0", "none"),
            ("9999999999999999999", "none"),
        ] {
            assert_eq!(shown(text, None, "Asia/Tokyo"), expected, "{text}");
        }
    }

    #[test]
    fn a_format_is_taken_at_its_word() {
        for (text, format, zone, expected) in [
            ("09/01/26 21.14", "%d/%m/%y %H.%M", "UTC", "2026-01-09T21:14:00Z"),
            ("09/01/26 21.14", "%d/%m/%y %H.%M", "Asia/Tokyo", "2026-01-09T12:14:00Z"),
            ("2026-01-09 21:14 +0200", "%F %H:%M %z", "Asia/Tokyo", "2026-01-09T19:14:00Z"),
            ("2026-01-09 21:14 Asia/Tokyo", "%F %H:%M %Q", "UTC", "2026-01-09T12:14:00Z"),
            ("9 Jan 2026", "%d %b %Y", "UTC", "2026-01-09T00:00:00Z"),
            ("9:14 PM, January 9 2026", "%I:%M %p, %B %d %Y", "UTC", "2026-01-09T21:14:00Z"),
            ("1767993240", "%s", "UTC", "2026-01-09T21:14:00Z"),
            ("21:14", "%H:%M", "UTC", "none"),
            ("2026-01-09", "%d %b %Y", "UTC", "none"),
            ("0001-01-01", "%F", "UTC", "none"),
        ] {
            assert_eq!(shown(text, Some(format), zone), expected, "{text} {format}");
        }
    }
}
