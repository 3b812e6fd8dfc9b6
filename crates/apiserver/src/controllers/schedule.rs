//! Owns the text of schedules: five fields, the words that stand for some, and fixed intervals; and
//! the next time that fits one, in its time zone. Pure.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned};

/// A schedule.
#[derive(Clone, Debug)]
pub(crate) enum Schedule {
    /// Times that fit all fields.
    Fields(Box<Fields>),
    /// Every so often.
    Every(Duration),
}

/// The values that fit, as bits.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
    zone: TimeZone,
}

/// Marks a field that was `*`.
const STAR: u64 = 1 << 63;
/// Years after which a schedule that has not fitted never will.
const YEARS: i16 = 5;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Reads a schedule; what is wrong with it is told in words.
    pub(crate) fn parse(text: &str, zone: TimeZone) -> Result<Self, String> {
        let (text, zone) = match text
            .strip_prefix("TZ=")
            .or_else(|| text.strip_prefix("CRON_TZ="))
        {
            None => (text, zone),
            Some(rest) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let zone = TimeZone::get(name).map_err(|_| {
                    format!("provided bad location {name}: unknown time zone {name}")
                })?;
                (rest.trim(), zone)
            }
        };
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        if let Some(every) = text.strip_prefix("@every ") {
            let every = duration(every)
                .ok_or_else(|| format!("failed to parse duration @every {every}"))?;
            return Ok(Self::Every(every.max(Duration::from_secs(1))));
        }
        if text.starts_with('@') {
            return Err(format!("unrecognized descriptor: {text}"));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            let count = fields.len();
            return Err(format!(
                "expected exactly 5 fields, found {count}: [{}]",
                fields.join(" ")
            ));
        };
        Ok(Self::Fields(Box::new(Fields {
            minute: field(minute, 0, 59, &[])?,
            hour: field(hour, 0, 23, &[])?,
            day: field(day, 1, 31, &[])?,
            month: field(month, 1, 12, &MONTHS)?,
            weekday: field(weekday, 0, 6, &WEEKDAYS)?,
            zone,
        })))
    }

    /// The first time after another that fits; `None` when none does for years.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(every) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                let step = SignedDuration::try_from(*every).ok()?;
                whole.checked_add(step).ok()
            }
            Self::Fields(fields) => fields.next(after),
        }
    }
}

/// A duration such as `1h30m`.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text.trim(), 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * unit;
        rest = tail;
    }
    Duration::try_from_secs_f64(sum.floor()).ok()
}

fn value(text: &str, names: &[&str], first: u32) -> Result<u32, String> {
    let lower = text.to_lowercase();
    if let Some(at) = names.iter().position(|name| *name == lower) {
        return Ok(at as u32 + first);
    }
    text.parse()
        .map_err(|_| format!("failed to parse int from {text}: invalid syntax"))
}

/// Reads one field: a list of `*`, values and ranges, each perhaps with a step.
fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let mut extra = 0;
        let (low, mut high, single) = if matches!(range, "*" | "?") {
            if step.is_none() {
                extra = STAR;
            }
            (least, most, false)
        } else {
            let offset = u32::from(least == 1);
            match range.split_once('-') {
                Some((low, high)) => (
                    value(low, names, offset)?,
                    value(high, names, offset)?,
                    false,
                ),
                None => {
                    let low = value(range, names, offset)?;
                    (low, low, true)
                }
            }
        };
        let step = match step {
            None => 1,
            Some(step) => {
                if single {
                    high = most;
                }
                value(step, &[], 0)?
            }
        };
        if low < least {
            return Err(format!(
                "beginning of range ({low}) below minimum ({least}): {part}"
            ));
        }
        if high > most {
            return Err(format!(
                "end of range ({high}) above maximum ({most}): {part}"
            ));
        }
        if low > high {
            return Err(format!(
                "beginning of range ({low}) beyond end of range ({high}): {part}"
            ));
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        let mut at = low;
        while at <= high {
            bits |= 1 << at;
            at += step;
        }
        bits |= extra;
    }
    Ok(bits)
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|v| bits & (1 << v) != 0)
}

impl Fields {
    fn day_fits(&self, time: &Zoned) -> bool {
        let day = has(self.day, time.day());
        let weekday = has(self.weekday, time.weekday().to_sunday_zero_offset());
        // A day of the month and one of the week: either is enough when both are given.
        if self.day & STAR != 0 || self.weekday & STAR != 0 {
            day && weekday
        } else {
            day || weekday
        }
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let minutes = after.as_second().div_euclid(60) + 1;
        let first = Timestamp::from_second(minutes * 60).ok()?;
        let mut time = first.to_zoned(self.zone.clone());
        let last = time.year().saturating_add(YEARS);
        // Each turn moves on by a month, a day, an hour or a minute.
        while time.year() <= last {
            if !has(self.month, time.month()) {
                let next = time.date().first_of_month().checked_add(1.month()).ok()?;
                time = next.to_zoned(self.zone.clone()).ok()?;
            } else if !self.day_fits(&time) {
                time = time.tomorrow().ok()?.start_of_day().ok()?;
            } else if !has(self.hour, time.hour()) {
                let left = 60 - i64::from(time.minute());
                time = time.checked_add(left.minutes()).ok()?;
            } else if !has(self.minute, time.minute()) {
                time = time.checked_add(1.minute()).ok()?;
            } else {
                return Some(time.timestamp());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, zone: &str, after: &str) -> String {
        let zone = TimeZone::get(zone).expect("a zone");
        let schedule = Schedule::parse(schedule, zone).expect("a schedule");
        let next = schedule.next(after.parse().expect("a time"));
        next.map(|t| t.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_next_time_fits_all_fields() {
        for (schedule, zone, after, expected) in [
            (
                "*/5 * * * *",
                "UTC",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:05:00Z",
            ),
            (
                "*/5 * * * *",
                "UTC",
                "2026-01-01T00:04:59.5Z",
                "2026-01-01T00:05:00Z",
            ),
            (
                "0 0 29 2 *",
                "UTC",
                "2026-01-01T00:00:00Z",
                "2028-02-29T00:00:00Z",
            ),
            ("59 23 31 2 *", "UTC", "2026-01-01T00:00:00Z", ""),
            (
                "0 12 13 * fri",
                "UTC",
                "2026-01-01T00:00:00Z",
                "2026-01-02T12:00:00Z",
            ),
            (
                "0 12 * * 1-3",
                "UTC",
                "2026-01-01T00:00:00Z",
                "2026-01-05T12:00:00Z",
            ),
            (
                "30 6-16/4 * * *",
                "UTC",
                "2026-01-01T10:30:00Z",
                "2026-01-01T14:30:00Z",
            ),
            (
                "@daily",
                "UTC",
                "2026-01-01T10:30:00Z",
                "2026-01-02T00:00:00Z",
            ),
            (
                "@every 1h30m",
                "UTC",
                "2026-01-01T00:00:00Z",
                "2026-01-01T01:30:00Z",
            ),
            (
                "0 9 * * *",
                "Europe/Berlin",
                "2026-07-01T00:00:00Z",
                "2026-07-01T07:00:00Z",
            ),
            // The hour that the clocks skip is not there.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-28T12:00:00Z",
                "2026-03-30T00:30:00Z",
            ),
            (
                "TZ=Asia/Tokyo 0 9 * * *",
                "UTC",
                "2026-01-01T12:00:00Z",
                "2026-01-02T00:00:00Z",
            ),
        ] {
            assert_eq!(
                next(schedule, zone, after),
                expected,
                "{schedule} {zone} {after}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (schedule, expected) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "5-3 * * * *",
                "beginning of range (5) beyond end of range (3): 5-3",
            ),
            (
                "*/0 * * * *",
                "step of range should be a positive number: */0",
            ),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
            ("x * * * *", "failed to parse int from x: invalid syntax"),
        ] {
            let told = Schedule::parse(schedule, TimeZone::UTC).map(|_| ());
            assert_eq!(told, Err(expected.to_owned()), "{schedule}");
        }
    }
}
