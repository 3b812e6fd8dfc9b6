//! Durations as Go's `time` package reads and writes them: `1h30m`, `1.5s`, `-100ms`, `0`.
//!
//! Owns the text of a duration. Like Go it counts signed nanoseconds in 64 bits (about 292 years) and
//! refuses more, a missing unit and any unit above the hour.

use std::fmt;
use std::time::Duration;

/// Why a text is not a duration. Every case is terminal: the text must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text has not the shape of a duration, or does not fit.
    #[error("invalid duration `{0}`; write a number and a unit, such as `30s`, `5m` or `1h30m`")]
    Invalid(String),
    /// A number has no unit.
    #[error("missing unit in duration `{0}`; add one of `ns`, `us`, `ms`, `s`, `m`, `h`")]
    MissingUnit(String),
    /// A unit is not known.
    #[error(
        "unknown unit `{unit}` in duration `{text}`; use one of `ns`, `us`, `ms`, `s`, `m`, `h`"
    )]
    UnknownUnit {
        /// What stands where a unit should.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// The duration is below zero where only zero and more make sense.
    #[error("the duration `{0}` is negative; write zero or more")]
    Negative(String),
}

/// A duration with Go's range: signed nanoseconds in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration(i64);

impl GoDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A duration of so many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The duration in nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The same as an unsigned duration, or nothing when it is negative.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }

    /// Reads a duration.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        parse(text).map(Self)
    }
}

impl From<Duration> for GoDuration {
    /// What is beyond Go's range becomes its end.
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl std::str::FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        Self::parse(text)
    }
}

/// Reads a duration that may not be negative, as API fields want it.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    GoDuration::parse(text)?
        .to_std()
        .ok_or_else(|| DurationError::Negative(text.to_owned()))
}

/// The text Go writes for a duration: `1m30s`, `1.5s`, `100ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    GoDuration::from(duration).to_string()
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5, the micro sign
    ("μs", 1_000), // U+03BC, the Greek letter
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The most negative duration is one nanosecond longer than the most positive.
const LIMIT: u64 = 1 << 63;

fn parse(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let mut value: u64 = 0;
        for digit in whole.bytes() {
            value = value
                .checked_mul(10)
                .and_then(|v| v.checked_add(u64::from(digit - b'0')))
                .filter(|v| *v <= LIMIT)
                .ok_or_else(invalid)?;
        }
        let unit_end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            });
        };
        value = value
            .checked_mul(*scale)
            .filter(|v| *v <= LIMIT)
            .ok_or_else(invalid)?;
        value = value
            .checked_add(part(fraction, *scale))
            .filter(|v| *v <= LIMIT)
            .ok_or_else(invalid)?;
        total = total
            .checked_add(value)
            .filter(|t| *t <= LIMIT)
            .ok_or_else(invalid)?;
        rest = after;
    }
    match (negative, i64::try_from(total)) {
        (false, Ok(total)) => Ok(total),
        (true, Ok(total)) => Ok(-total),
        (true, Err(_)) => Ok(i64::MIN), // exactly the limit
        (false, Err(_)) => Err(invalid()),
    }
}

/// The fraction of a unit, cut to whole nanoseconds. It goes through a float because Go's does, and rounding shows.
fn part(fraction: &str, scale: u64) -> u64 {
    let (mut value, mut divisor) = (0_u64, 1.0_f64);
    for digit in fraction.bytes() {
        let next = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(u64::from(digit - b'0')));
        match next.filter(|v| *v <= LIMIT) {
            Some(next) => value = next,
            None => break, // digits beyond this cannot count
        }
        divisor *= 10.0;
    }
    (value as f64 * (scale as f64 / divisor)) as u64
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u64 = 1_000_000_000;
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(nanos, 1_000, 3)),
            1_000_000..SECOND => write!(f, "{}ms", decimal(nanos, 1_000_000, 6)),
            _ => {
                let minutes = nanos / SECOND / 60;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", decimal(nanos % (60 * SECOND), SECOND, 9))
            }
        }
    }
}

/// `value / unit` with up to `width` decimals and no trailing zeros.
fn decimal(value: u64, unit: u64, width: usize) -> String {
    let fraction = format!("{:0width$}", value % unit);
    let fraction = fraction.trim_end_matches('0');
    let whole = value / unit;
    if fraction.is_empty() {
        whole.to_string()
    } else {
        format!("{whole}.{fraction}")
    }
}
