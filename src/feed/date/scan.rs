//! From the text of a date to its fields.

use super::{
    Region,
    civil::{self, Civil},
    names,
};

/// `[Day, ]D[D] Mon YYYY HH:MM[:SS] GMT|+hhmm`, the shape of most RSS, without a detour.
pub(super) fn rfc_822(bytes: &[u8], region: Region) -> Option<Civil> {
    let rest = match bytes.get(3) {
        Some(b',') => bytes.get(4..)?.strip_prefix(b" ")?,
        _ => bytes,
    };
    let (day, rest) = digits(rest, 2)?;
    let rest = rest.strip_prefix(b" ")?;
    let month = english(rest.get(..3)?)?;
    let rest = rest[3..].strip_prefix(b" ")?;
    let (year, rest) = (rest.len() > 4).then(|| digits(rest, 4))??;
    if year < 1000 {
        return None;
    }
    let (hour, rest) = digits(rest.strip_prefix(b" ")?, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = match rest.strip_prefix(b":") {
        Some(rest) => digits(rest, 2)?,
        None => (0, rest),
    };
    let offset = match rest.strip_prefix(b" ")? {
        b"GMT" | b"Z" | b"UTC" | b"UT" => 0,
        zone => offset(zone).or_else(|| letters(zone, region))?,
    };
    Some(Civil { year, month, day, hour, minute, second, offset: Some(offset), ..Civil::default() })
}

/// `YYYY-MM-DDTHH:MM:SS[.fff](Z|±hh:mm)`, the shape of most Atom.
pub(super) fn rfc_3339(bytes: &[u8]) -> Option<Civil> {
    let (year, rest) = (bytes.len() > 4).then(|| digits(bytes, 4))??;
    if year < 1000 {
        return None;
    }
    let (month, rest) = pair(rest.strip_prefix(b"-")?)?;
    let (day, rest) = pair(rest.strip_prefix(b"-")?)?;
    let (hour, rest) = pair(rest.strip_prefix(b"T")?)?;
    let (minute, rest) = pair(rest.strip_prefix(b":")?)?;
    let (second, rest) = pair(rest.strip_prefix(b":")?)?;
    let (nano, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest),
        None => (0, rest),
    };
    let offset = match rest {
        b"Z" => 0,
        zone => offset(zone)?,
    };
    Some(Civil { year, month, day, hour, minute, second, nano, offset: Some(offset), ..Civil::default() })
}

fn pair(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (value, rest) = digits(bytes, 2)?;
    (bytes.len() - rest.len() == 2).then_some((value, rest))
}

/// One to `most` digits.
fn digits(bytes: &[u8], most: usize) -> Option<(i64, &[u8])> {
    let len = bytes.iter().take(most).take_while(|b| b.is_ascii_digit()).count();
    let value = bytes[..len].iter().fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    (len > 0).then_some((value, &bytes[len..]))
}

/// A whole run of digits, never the start of a longer one.
fn run(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (value, rest) = digits(bytes, LONGEST_RUN)?;
    (!rest.first().is_some_and(u8::is_ascii_digit)).then_some((value, rest))
}

/// Digits in a row that may mean something: a date and a time without signs between their fields.
const LONGEST_RUN: usize = 14;

/// The digits of a field that are left without zeros before them: `018` has two. Years of four digits keep theirs.
fn significant(value: i64, len: usize) -> usize {
    match len {
        3 if value < 100 => 2,
        5 if value < 10_000 => 4,
        len => len,
    }
}

/// A zone's name that is known.
fn letters(zone: &[u8], region: Region) -> Option<i64> {
    let mut buffer = [0; 5];
    let lower = buffer.get_mut(..zone.len())?;
    lower.copy_from_slice(zone);
    lower.make_ascii_lowercase();
    names::zone(std::str::from_utf8(lower).ok()?, region)
}

/// `+hhmm` or `+hh:mm`, and nothing behind it.
fn offset(bytes: &[u8]) -> Option<i64> {
    let (sign, rest) = match bytes.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = pair(rest)?;
    let (minutes, rest) = pair(rest.strip_prefix(b":").unwrap_or(rest))?;
    (rest.is_empty() && hours <= 15 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

/// The digits of a second's fraction, as nanoseconds.
fn fraction(bytes: &[u8]) -> (i32, &[u8]) {
    let len = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let padded = bytes[..len].iter().copied().chain(std::iter::repeat(b'0')).take(9);
    (padded.fold(0, |n, b| n * 10 + i32::from(b - b'0')), &bytes[len..])
}

fn english(name: &[u8]) -> Option<i64> {
    const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    NAMES.chunks_exact(3).position(|known| known == name).map(|n| n as i64 + 1)
}

/// Any other shape.
pub(super) fn any(text: &str, region: Region) -> Option<Civil> {
    let mut scan = Scan { region, ..Scan::default() };
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        at += match c {
            '0'..='9' => scan.number(rest, at)?,
            '+' | '-' | '\u{2212}' if scan.clock.is_some() => {
                scan.signed(&rest[c.len_utf8()..], c == '+') + c.len_utf8()
            }
            _ if c.is_alphabetic() => match meridiem(rest) {
                Some((afternoon, used)) => {
                    scan.afternoon = Some(afternoon);
                    used
                }
                None => {
                    let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
                    scan.word(&rest[..end]);
                    // `Europe/Berlin`: what it means depends on the day, and on a list that changes
                    let place = end > 2 && rest[end..].starts_with('/');
                    scan.unknown_zone |= place && scan.clock.is_some() && scan.offset.is_none();
                    end
                }
            },
            _ => {
                scan.sign = c;
                c.len_utf8()
            }
        };
    }
    scan.finish()
}

/// `am`, `p.m.` and the like: whether it is the afternoon, and the bytes used.
fn meridiem(text: &str) -> Option<(bool, usize)> {
    ["a.m.", "p.m.", "a.m", "p.m", "am", "pm"].into_iter().find_map(|word| {
        let after = text.get(word.len()..)?;
        let found = text[..word.len()].eq_ignore_ascii_case(word) && !after.starts_with(char::is_alphabetic);
        found.then_some((word.starts_with('p'), word.len()))
    })
}

/// A number whose place is not known yet.
#[derive(Clone, Copy)]
struct Loose {
    value: i64,
    len: usize,
}

#[derive(Default)]
struct Scan {
    region: Region,
    /// 0 is Monday.
    weekday: Option<i64>,
    /// Three digits where a day should stand.
    garbled_day: Option<i64>,
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    /// Hour, minute, second, nanosecond.
    clock: Option<(i64, i64, i64, i32)>,
    offset: Option<i64>,
    named: bool,
    unknown_zone: bool,
    afternoon: Option<bool>,
    loose: Vec<Loose>,
    /// The sign before what is being read.
    sign: char,
    /// The signs before the loose numbers.
    signs: Vec<char>,
    epoch: Option<i64>,
}

impl Scan {
    fn number(&mut self, rest: &str, at: usize) -> Option<usize> {
        let bytes = rest.as_bytes();
        let len = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        let (value, after) = run(bytes)?;
        let next = rest[len..].chars().next();
        let kept = significant(value, len);
        let dated = self.year.is_some() || self.month.is_some();
        if let Some(used) = next.and_then(|next| self.counted(value, next)) {
            return Some(len + used);
        }
        if kept <= 3 && self.clock.is_none() && matches!(after, [b':', b'0'..=b'9', ..]) {
            return self.clock(bytes);
        }
        if kept <= 2 && self.clock.is_none() && matches!(after, [b'h' | b'H', b'0'..=b'9', ..]) {
            let (minute, end) = run(&after[1..])?;
            self.clock = Some((value, minute, 0, 0));
            return Some(bytes.len() - end.len());
        }
        // `3 p.m.`
        if kept <= 2 && self.clock.is_none() && meridiem(rest[len..].trim_start()).is_some() {
            self.clock = Some((value, 0, 0, 0));
            return Some(len);
        }
        if self.sign == 'T' && self.clock.is_none() && (len == 4 || len == 6) {
            let value = if len == 4 { value * 100 } else { value };
            self.clock = Some((value / 10_000, value / 100 % 100, value % 100, 0));
            self.sign = ' ';
            return Some(len);
        }
        if !dated && self.loose.is_empty() {
            if len == 4
                && let Some(used) = self.iso(value, after)
            {
                return Some(len + used);
            }
            let whole = at == 0 && after.is_empty();
            match len {
                8 => {
                    (self.year, self.month, self.day) =
                        (Some(value / 10_000), Some(value / 100 % 100), Some(value % 100));
                    return Some(len);
                }
                14 => {
                    let time = value % 1_000_000;
                    let date = value / 1_000_000;
                    (self.year, self.month, self.day) = (Some(date / 10_000), Some(date / 100 % 100), Some(date % 100));
                    self.clock = Some((time / 10_000, time / 100 % 100, time % 100, 0));
                    return Some(len);
                }
                7 if at == 0 => {
                    self.ordinal(value / 1000, value % 1000);
                    return Some(len);
                }
                10 if whole => self.epoch = Some(value),
                13 if whole => self.epoch = Some(value / 1000),
                _ => {}
            }
        }
        self.loose.push(Loose { value, len: kept });
        self.signs.push(self.sign);
        self.sign = ' ';
        Some(len)
    }

    /// A number with its unit behind it: `2020年1月5日`.
    fn counted(&mut self, value: i64, unit: char) -> Option<usize> {
        let clock = self.clock.get_or_insert_default();
        match unit {
            '年' | '년' => self.year = Some(value),
            '月' | '월' => self.month = Some(value),
            '日' | '일' | '号' => self.day = Some(value),
            '時' | '时' | '시' | '点' | '點' => clock.0 = value,
            '分' | '분' => clock.1 = value,
            '秒' | '초' => clock.2 = value,
            _ => {
                if *clock == (0, 0, 0, 0) {
                    self.clock = None;
                }
                return None;
            }
        }
        if matches!(unit, '年' | '년' | '月' | '월' | '日' | '일' | '号') && *clock == (0, 0, 0, 0) {
            self.clock = None;
        }
        Some(unit.len_utf8())
    }

    /// `-MM[-DD]`, `-Www[-D]`, `-DDD` behind a year.
    fn iso(&mut self, year: i64, rest: &[u8]) -> Option<usize> {
        let (&sign, after) = rest.split_first()?;
        if sign == b'W' || (sign == b'-' && after.first() == Some(&b'W')) {
            let after = after.strip_prefix(b"W").unwrap_or(after);
            let (week, after) = pair(after)?;
            let (day, after) = match after {
                [b'-', d @ b'1'..=b'7', tail @ ..] | [d @ b'1'..=b'7', tail @ ..] => (i64::from(d - b'0'), tail),
                _ => (1, after),
            };
            if after.first().is_some_and(u8::is_ascii_digit) {
                return None;
            }
            // the week with the 4th of January is the first
            let fourth = civil::days(year, 1) + 3;
            self.since_new_year(
                year,
                fourth - civil::weekday(fourth) + (week - 1) * 7 + day - 1 - civil::days(year, 1),
            );
            return Some(rest.len() - after.len());
        }
        if !matches!(sign, b'-' | b'/' | b'.') {
            return None;
        }
        let (second, after) = run(after)?;
        let len = rest.len() - after.len() - 1;
        let day = after.strip_prefix(&[sign]).and_then(run);
        match (len, day) {
            (1 | 2, None) => (self.year, self.month) = (Some(year), Some(second)),
            (3, None) => self.ordinal(year, second),
            (_, Some((day, after))) if significant(second, len) <= 2 => {
                (self.year, self.month) = (Some(year), Some(second));
                self.take_day(day);
                return Some(rest.len() - after.len());
            }
            _ => return None,
        }
        Some(rest.len() - after.len())
    }

    fn ordinal(&mut self, year: i64, day: i64) {
        self.since_new_year(year, day - 1);
    }

    /// The date so many days after the first of January.
    fn since_new_year(&mut self, year: i64, days: i64) {
        let at = civil::days(year, 1) + days;
        let year = if days < 0 {
            year - 1
        } else if at >= civil::days(year + 1, 1) {
            year + 1
        } else {
            year
        };
        let month = (1..=12).rev().find(|&month| civil::days(year, month) <= at).unwrap_or(1);
        (self.year, self.month, self.day) = (Some(year), Some(month), Some(at - civil::days(year, month) + 1));
    }

    /// Hours, minutes and seconds, of up to three digits each: those beyond their range are carried over.
    fn clock(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut parts = [0i64; 3];
        let mut rest = bytes;
        for (n, part) in parts.iter_mut().enumerate() {
            let from = if n == 0 { Some(rest) } else { rest.strip_prefix(b":") };
            let Some(from) = from.filter(|from| from.first().is_some_and(u8::is_ascii_digit)) else { break };
            let (value, after) = run(from).filter(|(value, _)| *value < 1000)?;
            (*part, rest) = (value, after);
        }
        let mut nano = 0;
        if let [b'.' | b',', after @ ..] = rest
            && after.first().is_some_and(u8::is_ascii_digit)
        {
            (nano, rest) = fraction(after);
        }
        self.clock = Some((parts[0], parts[1], parts[2], nano));
        Some(bytes.len() - rest.len())
    }

    /// A day as written; one of three digits may be a day with a digit too many.
    fn take_day(&mut self, day: i64) {
        if (100..1000).contains(&day) {
            self.garbled_day = Some(day);
        } else {
            self.day = Some(day);
        }
    }

    /// What follows a sign behind the clock: an offset, or the day of a date that comes second.
    fn signed(&mut self, rest: &str, east: bool) -> usize {
        let bytes = rest.as_bytes();
        let len = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        // longer ones are no offset
        let (hours, minutes, used) = match (len, digits(bytes, len.min(4))) {
            (1 | 2, Some((hours, [b':', tail @ ..]))) => match run(tail).filter(|(minutes, _)| *minutes < 100) {
                Some((minutes, after)) => (hours, minutes, bytes.len() - after.len()),
                None => (hours, 0, len + 1),
            },
            (1 | 2, Some((hours, _))) => (hours, 0, len),
            (3 | 4, Some((value, _))) => (value / 100, value % 100, len),
            _ => return 0,
        };
        if self.offset.is_none() || self.named {
            let seconds = hours * 3600 + minutes * 60;
            self.offset = Some(if east { seconds } else { -seconds });
            self.named = false;
            self.unknown_zone = false;
        }
        used
    }

    fn word(&mut self, word: &str) {
        let lower = word.to_lowercase();
        match lower.as_str() {
            "t" => {
                self.sign = 'T';
                return;
            }
            "上午" | "下午" | "午前" | "午後" | "오전" | "오후" => {
                self.afternoon = Some(matches!(lower.as_str(), "下午" | "午後" | "오후"));
                return;
            }
            _ => {}
        }
        self.weekday = self.weekday.or_else(|| names::weekday(&lower));
        if let Some(offset) = self.zone(&lower) {
            if self.offset.is_none() {
                self.offset = Some(offset);
                self.named = true;
            }
        } else if let Some(month) = names::month(&lower) {
            self.month = Some(month);
        } else if self.clock.is_some()
            && self.offset.is_none()
            && (2..=5).contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_uppercase())
        {
            self.unknown_zone = true;
        }
    }

    /// Zones stand behind the clock; before it the same letters may be a weekday or the start of a month.
    fn zone(&self, lower: &str) -> Option<i64> {
        self.clock.and_then(|_| names::zone(lower, self.region))
    }

    fn finish(mut self) -> Option<Civil> {
        if let Some(seconds) = self.epoch {
            return Some(Civil { year: 1970, month: 1, day: 1, second: seconds, offset: Some(0), ..Civil::default() });
        }
        self.place();
        if let Some(garbled) = self.garbled_day {
            self.day = Some(self.mended_day(garbled)?);
        }
        let (mut hour, minute, second, nano) = self.clock.unwrap_or_default();
        match self.afternoon {
            Some(true) if hour < 12 => hour += 12,
            Some(false) if hour == 12 => hour = 0,
            _ => {}
        }
        Some(Civil {
            year: self.year?,
            month: self.month?,
            day: self.day.unwrap_or(1),
            hour,
            minute,
            second,
            nano,
            offset: self.offset,
            unknown_zone: self.unknown_zone,
            mended: self.garbled_day.is_some(),
        })
    }

    /// The day without the digit too many, where the weekday leaves one choice.
    fn mended_day(&self, garbled: i64) -> Option<i64> {
        let (year, month, weekday) = (self.year?, self.month.filter(|month| (1..=12).contains(month))?, self.weekday?);
        let length = civil::days(year, month + 1) - civil::days(year, month);
        let mut days = vec![garbled / 10, garbled / 100 * 10 + garbled % 10, garbled % 100];
        days.dedup();
        days.retain(|&day| {
            (1..=length).contains(&day) && civil::weekday(civil::days(year, month) + day - 1) == weekday
        });
        match days[..] {
            [day] => Some(day),
            _ => None,
        }
    }

    /// Gives the loose numbers their places.
    fn place(&mut self) {
        let loose = std::mem::take(&mut self.loose);
        if self.year.is_none()
            && self.month.is_none()
            && let [a, b, c, ..] = loose[..]
            && a.len <= 2
            && b.len <= 2
        {
            let slashed = self.signs.get(1) == Some(&'/');
            let month_first = slashed && a.value <= 12 && (b.value > 12 || self.region == Region::Unknown);
            if a.value > 31 || (a.len == 2 && c.len == 2 && self.signs.get(1) == Some(&'-') && c.value <= 31) {
                (self.year, self.month, self.day) = (Some(century(a)), Some(b.value), Some(c.value));
            } else if month_first {
                (self.month, self.day, self.year) = (Some(a.value), Some(b.value), Some(century(c)));
            } else {
                (self.day, self.month, self.year) = (Some(a.value), Some(b.value), Some(century(c)));
            }
            return;
        }
        // beside a whole year, three digits are none
        // a year that is far too long is one all the same
        let alone = loose.len() <= 1 || loose.iter().any(|number| number.len > 4);
        let has_year = self.year.is_some() || loose.iter().any(|number| number.len == 4);
        for number in loose {
            if number.len == 3 && has_year {
                if self.month.is_some() && self.day.is_none() {
                    self.garbled_day = self.garbled_day.or(Some(number.value));
                }
            } else if number.len >= 3 && self.year.is_none() {
                self.year = Some(century(number));
            } else if number.len <= 2 && self.month.is_some() && self.day.is_none() {
                self.day = Some(number.value);
            } else if number.len <= 2 && self.month.is_some() && self.year.is_none() {
                self.year = Some(century(number));
            }
        }
        if alone && self.month.is_none() && self.day.is_none() && self.clock.is_none() && self.year.is_some() {
            // a year alone
            self.month = Some(1);
        }
    }
}

/// Two digits are of this century up to 68; three are what a counter from 1900 made of 2000.
fn century(number: Loose) -> i64 {
    match number.len {
        1 | 2 if number.value < 69 => number.value + 2000,
        1..=3 => number.value + 1900,
        _ => number.value,
    }
}
