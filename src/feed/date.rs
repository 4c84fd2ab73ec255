//! Dates as feeds write them.
//!
//! The text is cut into numbers, words and signs, and the shape is told from those; no format string is
//! tried in turn. A zone that is not known makes the date unknown rather than wrong; no zone means UTC.

use jiff::{Timestamp, civil};

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// A moment.
    At(Timestamp),
    /// A date outside of what a feed can mean: year 1, year 30000.
    Absurd,
    /// No date.
    Unknown,
}

impl Read {
    /// The moment, if it is one.
    pub fn timestamp(self) -> Option<Timestamp> {
        if let Self::At(at) = self { Some(at) } else { None }
    }
}

/// Reads a date.
pub fn read(text: &str) -> Read {
    Fields::of(text).map_or(Read::Unknown, |fields| fields.read())
}

/// Longest text looked at.
const LONGEST: usize = 128;

#[derive(Default)]
struct Fields {
    year: Option<i64>,
    month: Option<i8>,
    day: Option<i8>,
    time: Option<(i8, i8, i8, i32)>,
    /// Seconds east.
    offset: Option<i32>,
    afternoon: Option<bool>,
}

impl Fields {
    fn read(self) -> Read {
        let (Some(year), Some(month)) = (self.year, self.month) else { return Read::Unknown };
        if !(1900..=2200).contains(&year) {
            return Read::Absurd;
        }
        let (mut hour, minute, mut second, nano) = self.time.unwrap_or_default();
        match self.afternoon {
            Some(true) if hour < 12 => hour += 12,
            Some(false) if hour == 12 => hour = 0,
            _ => {}
        }
        let next_day = hour == 24;
        if next_day {
            hour = 0;
        }
        second = second.min(59);
        let Ok(civil) = civil::DateTime::new(year as i16, month, self.day.unwrap_or(1), hour, minute, second, nano)
        else {
            return Read::Unknown;
        };
        let Ok(at) = jiff::tz::Offset::UTC.to_timestamp(civil) else { return Read::Unknown };
        let shift = i64::from(next_day) * 86_400 - i64::from(self.offset.unwrap_or(0));
        at.checked_add(jiff::SignedDuration::from_secs(shift)).map_or(Read::Unknown, Read::At)
    }

    fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.len() > LONGEST {
            return None;
        }
        let mut fields = Self::default();
        let bytes = text.as_bytes();
        let mut at = 0;
        let mut numbers: Vec<(i64, usize)> = Vec::new();
        while at < bytes.len() {
            let b = bytes[at];
            if b.is_ascii_digit() {
                let (value, len) = number(&bytes[at..]);
                let next = bytes.get(at + len).copied();
                if fields.time.is_none() && len <= 2 && next == Some(b':') {
                    at += fields.clock(&bytes[at..])?;
                    continue;
                }
                if len == 4 && numbers.is_empty() && fields.year.is_none() && matches!(next, Some(b'-' | b'/' | b'.')) {
                    if let Some(used) = fields.iso(&bytes[at..]) {
                        at += used;
                        continue;
                    }
                }
                numbers.push((value, len));
                at += len;
            } else if (b == b'+' || b == b'-')
                && fields.time.is_some()
                && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
            {
                at += fields.zone_number(&bytes[at..])?;
            } else if b.is_ascii_alphabetic() || !b.is_ascii() {
                let end = text[at..].find(|c: char| !c.is_alphabetic()).map_or(bytes.len(), |n| at + n);
                if end == at {
                    at += text[at..].chars().next().map_or(1, char::len_utf8);
                    continue;
                }
                fields.word(&text[at..end])?;
                at = end;
            } else {
                at += 1;
            }
        }
        fields.place(&numbers)?;
        Some(fields)
    }

    fn clock(&mut self, bytes: &[u8]) -> Option<usize> {
        let (hour, mut at) = number(bytes);
        let mut parts = [hour, 0, 0];
        let mut nano = 0;
        for part in &mut parts[1..] {
            if bytes.get(at) != Some(&b':') || !bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
                break;
            }
            let (value, len) = number(&bytes[at + 1..]);
            *part = value;
            at += 1 + len;
        }
        if matches!(bytes.get(at), Some(b'.' | b',')) && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
            let (_, len) = number(&bytes[at + 1..]);
            let digits = &bytes[at + 1..at + 1 + len.min(9)];
            nano = digits.iter().fold(0i32, |n, b| n * 10 + i32::from(b - b'0')) * 10i32.pow(9 - digits.len() as u32);
            at += 1 + len;
        }
        let [hour, minute, second] = parts;
        if hour > 24 || minute > 59 || second > 60 {
            return None;
        }
        self.time = Some((hour as i8, minute as i8, second as i8, nano));
        Some(at)
    }

    fn iso(&mut self, bytes: &[u8]) -> Option<usize> {
        let separator = bytes[4];
        let (year, _) = number(bytes);
        if !bytes.get(5)?.is_ascii_digit() {
            return None;
        }
        let (month, len) = number(&bytes[5..]);
        let mut at = 5 + len;
        self.year = Some(year);
        self.month = Some(i8::try_from(month).ok()?);
        if bytes.get(at) == Some(&separator) && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
            let (day, len) = number(&bytes[at + 1..]);
            self.day = Some(i8::try_from(day).ok()?);
            at += 1 + len;
        }
        Some(at)
    }

    fn zone_number(&mut self, bytes: &[u8]) -> Option<usize> {
        let sign = if bytes[0] == b'-' { -1 } else { 1 };
        let (value, len) = number(&bytes[1..]);
        let mut at = 1 + len;
        let (hours, minutes) = if len <= 2 {
            let mut minutes = 0;
            if bytes.get(at) == Some(&b':') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
                let (value, len) = number(&bytes[at + 1..]);
                minutes = value;
                at += 1 + len;
            }
            (value, minutes)
        } else {
            (value / 100, value % 100)
        };
        if hours > 15 || minutes > 59 {
            return None;
        }
        self.offset = Some(sign * (hours * 3600 + minutes * 60) as i32);
        Some(at)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let lower = word.to_lowercase();
        match lower.as_str() {
            "am" | "pm" => self.afternoon = Some(lower == "pm"),
            "t" | "at" | "of" | "de" | "del" | "th" | "st" | "nd" | "rd" => {}
            _ => {
                if self.month.is_none()
                    && let Some(month) = month(&lower)
                {
                    self.month = Some(month);
                } else if let Some(offset) = zone(&lower) {
                    if self.offset.is_none() {
                        self.offset = Some(offset);
                    }
                } else if self.time.is_some() && self.offset.is_none() && word.len() <= 5 && self.month.is_some() {
                    return None;
                }
            }
        }
        Some(())
    }

    fn place(&mut self, numbers: &[(i64, usize)]) -> Option<()> {
        for &(value, len) in numbers {
            if len == 8 && self.year.is_none() {
                self.year = Some(value / 10_000);
                self.month = i8::try_from(value / 100 % 100).ok();
                self.day = i8::try_from(value % 100).ok();
            } else if len >= 4 && self.year.is_none() {
                self.year = Some(value);
            } else if len <= 2 && self.day.is_none() && self.month.is_some() {
                self.day = i8::try_from(value).ok();
            } else if len <= 2 && self.year.is_none() && self.month.is_some() {
                self.year = Some(if value < 70 { 2000 + value } else { 1900 + value });
            } else if len <= 2 && self.month.is_none() {
                self.month = i8::try_from(value).ok();
            }
        }
        Some(())
    }
}

/// A run of digits: its value, saturated, and its length.
fn number(bytes: &[u8]) -> (i64, usize) {
    let len = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let value = bytes[..len].iter().fold(0i64, |n, b| n.saturating_mul(10).saturating_add(i64::from(b - b'0')));
    (value, len)
}

fn month(word: &str) -> Option<i8> {
    const NAMES: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = word.get(..3)?;
    NAMES.iter().position(|name| *name == start).map(|n| n as i8 + 1)
}

/// Seconds east of Greenwich.
fn zone(word: &str) -> Option<i32> {
    let hours = match word {
        "z" | "ut" | "utc" | "gmt" | "wet" => 0.0,
        "est" => -5.0,
        "edt" => -4.0,
        "cst" => -6.0,
        "cdt" => -5.0,
        "mst" => -7.0,
        "mdt" => -6.0,
        "pst" => -8.0,
        "pdt" => -7.0,
        "bst" | "cet" | "west" => 1.0,
        "cest" | "eet" => 2.0,
        "eest" | "msk" => 3.0,
        "ist" => 5.5,
        "jst" | "kst" => 9.0,
        "aest" => 10.0,
        "aedt" => 11.0,
        _ => return None,
    };
    Some((hours * 3600.0) as i32)
}
