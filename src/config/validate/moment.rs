//! How dates are written: zones and formats.

use jiff::{
    Timestamp,
    fmt::strtime,
    tz::{self, Offset, TimeZone},
};

use crate::config::reader::{DidYouMean, Value};

/// `zone`
pub(super) fn zone(value: &Value<'_>) -> Option<TimeZone> {
    const FORM: &str = "a time zone such as \"Asia/Tokyo\", \"+09:00\" or \"UTC\"";
    let text = value.string(FORM)?;
    if matches!(text, "UTC" | "Z") {
        return Some(TimeZone::UTC);
    }
    if text.starts_with(['+', '-']) {
        let offset = offset(text);
        if offset.is_none() {
            value.wrong(FORM);
        }
        return offset.map(TimeZone::fixed);
    }
    let zone = TimeZone::get(text).ok();
    if zone.is_none() {
        let known: Vec<String> = tz::db().available().map(|name| name.as_str().to_owned()).collect();
        let near = DidYouMean(text, known.iter().map(String::as_str));
        value.error(format_args!("expected {FORM}, found {}{near}", value.found()));
    }
    zone
}

/// `+HH`, `+HHMM` or `+HH:MM`, of at most 18 hours.
fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => digits.split_at_checked(2)?,
        5 => digits.split_once(':')?,
        _ => return None,
    };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = hours * 3600 + minutes * 60;
    (minutes < 60 && seconds <= 18 * 3600).then(|| Offset::from_seconds(sign * seconds).ok())?
}

/// `format`: one that can be read, and gives at least a day.
pub(super) fn format(value: &Value<'_>) -> Option<String> {
    const FORM: &str = "a strftime format such as \"%H:%M, %d %B %Y\"";
    let text = value.string(FORM)?;
    match fault(text) {
        None => Some(text.to_owned()),
        Some(fault) => {
            value.error(format_args!("{} cannot be used: {fault}; expected {FORM}", value.found()));
            None
        }
    }
}

/// 21:14:05 on 9 January 2026.
const SAMPLE: Timestamp = Timestamp::constant(1_767_993_245, 0);

/// Writes a moment and reads it again.
fn fault(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some("it has nothing that begins with \"%\"".to_owned());
    }
    let read = strtime::format(text, &SAMPLE.to_zoned_datetime(TimeZone::UTC))
        .and_then(|written| strtime::parse(text, written));
    match read {
        Err(error) => {
            let told = error.to_string();
            let why = told.split_once(": ").map_or(told.as_str(), |(_, why)| why);
            Some(why.strip_prefix("found ").unwrap_or(why).to_owned())
        }
        Ok(read) if read.to_date().is_err() && read.timestamp().is_none() => {
            Some("day, month and year are needed (what stands in a heading is put before the time by under)".to_owned())
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_in_each_form() {
        let seconds = |text| offset(text).map(Offset::seconds);
        assert_eq!(seconds("+09:00"), Some(9 * 3600));
        assert_eq!(seconds("-0330"), Some(-(3 * 3600 + 30 * 60)));
        assert_eq!(seconds("+05"), Some(5 * 3600));
        for bad in ["+", "-", "+9", "+9:00", "+09:60", "+19:00", "+ab", "+０９", "09:00", "+09:000", "+-9:00", ""] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_format_can_be_read_and_gives_a_day() {
        for good in ["%H:%M, %d %B %Y", "%Y-%m-%dT%H:%M:%S%z", "%s", "%d.%m.%y", "%e %b %Y at %I:%M %p"] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in ["", "yyyy-MM-dd", "%H:%M", "%d %B", "%Y-%m-%d %", "%Y-%m-%d %K", "%Y-%m-%d %H:%M %Z"] {
            assert!(fault(bad).is_some(), "{bad}");
        }
    }
}
