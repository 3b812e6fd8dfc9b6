//! Owns the parts of times and spans.

use jiff::civil::DateTime;

use super::{Entry, overload};
use crate::cel::eval::Fault;
use crate::cel::value::Value;

const OF_TIME: &[&str] = &[".(timestamp) int", ".(timestamp, string) int"];
const OF_BOTH: &[&str] = &[
    ".(timestamp) int",
    ".(timestamp, string) int",
    ".(duration) int",
];

pub(super) fn all() -> Vec<Entry> {
    vec![
        ("getFullYear", OF_TIME, |_, args| {
            part(args, |t| i64::from(t.year()))
        }),
        ("getMonth", OF_TIME, |_, args| {
            part(args, |t| i64::from(t.month()) - 1)
        }),
        ("getDayOfYear", OF_TIME, |_, args| {
            part(args, |t| i64::from(t.day_of_year()) - 1)
        }),
        ("getDayOfMonth", OF_TIME, |_, args| {
            part(args, |t| i64::from(t.day()) - 1)
        }),
        ("getDate", OF_TIME, |_, args| {
            part(args, |t| i64::from(t.day()))
        }),
        ("getDayOfWeek", OF_TIME, |_, args| {
            part(args, |t| i64::from(t.weekday().to_sunday_zero_offset()))
        }),
        ("getHours", OF_BOTH, |_, args| {
            either(args, |t| i64::from(t.hour()), 3_600_000_000_000)
        }),
        ("getMinutes", OF_BOTH, |_, args| {
            either(args, |t| i64::from(t.minute()), 60_000_000_000)
        }),
        ("getSeconds", OF_BOTH, |_, args| {
            either(args, |t| i64::from(t.second()), 1_000_000_000)
        }),
        ("getMilliseconds", OF_BOTH, |_, args| {
            either(args, |t| i64::from(t.millisecond()), 1_000_000)
        }),
    ]
}

fn either<'a>(
    args: &[Value<'a>],
    of_time: fn(DateTime) -> i64,
    unit: i64,
) -> Result<Value<'a>, Fault> {
    match args {
        [Value::Duration(nanos)] => Ok(Value::Int(nanos / unit)),
        _ => part(args, of_time),
    }
}

fn part<'a>(args: &[Value<'a>], of: fn(DateTime) -> i64) -> Result<Value<'a>, Fault> {
    let (time, zone) = match args {
        [Value::Timestamp(time)] => (*time, None),
        [Value::Timestamp(time), Value::Text(zone)] => (*time, Some(zone.as_ref())),
        _ => return overload(),
    };
    let zone = match zone {
        None | Some("" | "UTC") => jiff::tz::TimeZone::UTC,
        Some(text) => match offset(text) {
            Some(offset) => jiff::tz::TimeZone::fixed(offset),
            None => jiff::tz::TimeZone::get(text)
                .map_err(|_| Fault::said(format!("unknown time zone {text}")))?,
        },
    };
    Ok(Value::Int(of(time.to_zoned(zone).datetime())))
}

/// `+01:00` or `-2:30`.
fn offset(text: &str) -> Option<jiff::tz::Offset> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}
