//! Owns times and spans as expressions and schemas spell them.

use weir_gocompat::GoDuration;

/// A span as Go writes it, in nanoseconds.
pub(crate) fn duration(text: &str) -> Option<i64> {
    GoDuration::parse(text).ok().map(GoDuration::nanos)
}

/// A moment in RFC 3339, strictly.
pub(crate) fn timestamp(text: &str) -> Option<jiff::Timestamp> {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| {
        bytes
            .get(from..to)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let sign = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|b| wanted.contains(b));
    let dated = digits(0, 4)
        && sign(4, b"-")
        && digits(5, 7)
        && sign(7, b"-")
        && digits(8, 10)
        && sign(10, b"T")
        && digits(11, 13)
        && sign(13, b":")
        && digits(14, 16)
        && sign(16, b":")
        && digits(17, 19);
    if !dated || sign(17, b"6") {
        return None;
    }
    let mut at = 19;
    if sign(at, b".") {
        let start = at + 1;
        at = start;
        while digits(at, at + 1) {
            at += 1;
        }
        if at == start {
            return None;
        }
    }
    let zoned = (sign(at, b"Z") && bytes.len() == at + 1)
        || (sign(at, b"+-")
            && digits(at + 1, at + 3)
            && sign(at + 3, b":")
            && digits(at + 4, at + 6)
            && bytes.len() == at + 6);
    if !zoned {
        return None;
    }
    text.parse().ok()
}

/// A span as a schema's `duration` format accepts it: Go's, or a number with a word.
pub(crate) fn format_duration(text: &str) -> Option<i64> {
    if let Some(nanos) = duration(text) {
        return Some(nanos);
    }
    let (mut total, mut rest, mut any) = (0i64, text.trim(), false);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest.get(..end)?.parse().ok()?;
        let after = rest.get(end..)?.trim_start();
        let end = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let unit = match after.get(..end)? {
            "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
            "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
            "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000_000_000,
            "d" | "day" | "days" => 86_400_000_000_000,
            "w" | "wk" | "wks" | "week" | "weeks" => 604_800_000_000_000i64,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit)?)?;
        any = true;
        rest = after.get(end..)?.trim_start();
    }
    any.then_some(total)
}

/// A span as text: seconds.
pub(crate) fn show_duration(nanos: i64) -> String {
    format!("{}s", super::library::show_double(nanos as f64 / 1e9))
}
