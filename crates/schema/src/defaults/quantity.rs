//! Owns the canonical text of a quantity, such as `500m` for `0.5` and `1Gi` for `1024Mi`. What is
//! no quantity is left to validation.

use serde_json::Value;

/// Quantities are exact down to a billionth and rounded away from zero below.
const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, u32); 9] = [
    ("n", 0),
    ("u", 3),
    ("m", 6),
    ("", 9),
    ("k", 12),
    ("M", 15),
    ("G", 18),
    ("T", 21),
    ("P", 24),
];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Decimal,
    Binary,
    Exponent,
}

/// An amount, exact down to a billionth, and the way in which it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// Billionths.
    pub nanos: i128,
    form: Form,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        form: Form::Decimal,
    };

    /// Reads a quantity such as `500m` or `1Gi`.
    pub fn parse(text: &str) -> Option<Self> {
        let (nanos, form) = parse(text.trim())?;
        Some(Self { nanos, form })
    }

    /// Reads a member of an object; null when there is none.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    /// A whole number.
    pub fn whole(number: i64) -> Self {
        Self {
            nanos: i128::from(number) * NANO,
            form: Form::Decimal,
        }
    }

    /// Whether it was written with a power of 1024.
    pub fn is_binary(self) -> bool {
        self.form == Form::Binary
    }

    /// Whether it has no fraction.
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// The sum, written as the first is; as the second where the first is nothing.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
            form: if self.nanos == 0 {
                other.form
            } else {
                self.form
            },
        }
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&write(self.nanos, self.form))
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.nanos.cmp(&other.nanos))
    }
}

/// The canonical text, rounded up to thousandths.
pub(super) fn thousandths(value: &Value) -> Option<String> {
    let amount = Quantity::of(value)?;
    let part = amount.nanos.rem_euclid(1_000_000);
    let nanos = if part == 0 {
        amount.nanos
    } else {
        amount.nanos - part + 1_000_000
    };
    Some(write(nanos, amount.form))
}

/// The canonical text; none when the value is no quantity, or too large to be told exactly.
pub(crate) fn canonical(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let (nanos, form) = parse(&text)?;
    Some(write(nanos, form))
}

fn parse(text: &str) -> Option<(i128, Form)> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || fraction.contains('.') {
        return None;
    }
    let mantissa: i128 = digits.parse().ok()?;
    let divisor = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (factor, form) = scale(suffix)?;
    let (top, bottom) = match factor {
        Factor::Times(factor) => (mantissa.checked_mul(factor)?, divisor),
        Factor::Over(power) => (mantissa, divisor.checked_mul(10_i128.checked_pow(power)?)?),
    };
    let nanos = top.checked_mul(NANO)?;
    let rounded = nanos / bottom + i128::from(nanos % bottom != 0);
    Some((sign * rounded, form))
}

enum Factor {
    Times(i128),
    Over(u32),
}

fn scale(suffix: &str) -> Option<(Factor, Form)> {
    if let Some(at) = BINARY.iter().position(|known| *known == suffix) {
        let power = u32::try_from(at).ok()? + 1;
        return Some((Factor::Times(1024_i128.checked_pow(power)?), Form::Binary));
    }
    if suffix == "E" {
        return Some((Factor::Times(10_i128.pow(18)), Form::Decimal));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        let factor = if *power < 9 {
            Factor::Over(9 - power)
        } else {
            Factor::Times(10_i128.checked_pow(power - 9)?)
        };
        return Some((factor, Form::Decimal));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = exponent.unsigned_abs();
    let factor = if exponent < 0 {
        Factor::Over(power)
    } else {
        Factor::Times(10_i128.checked_pow(power)?)
    };
    Some((factor, Form::Exponent))
}

fn write(nanos: i128, form: Form) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    if form == Form::Binary && nanos.abs() >= 1024 * NANO {
        // Rounded away from zero to whole units.
        let mut units = nanos / NANO + (nanos % NANO).signum();
        let mut suffix = "";
        for next in BINARY {
            if units % 1024 != 0 {
                break;
            }
            units /= 1024;
            suffix = next;
        }
        return format!("{units}{suffix}");
    }
    let mut amount = nanos;
    let mut power = 0;
    while amount % 1000 == 0 && power < 27 {
        amount /= 1000;
        power += 3;
    }
    if form == Form::Exponent {
        let exponent = i64::from(power) - 9;
        return if exponent == 0 {
            amount.to_string()
        } else {
            format!("{amount}e{exponent}")
        };
    }
    let suffix = DECIMAL
        .iter()
        .find(|(_, known)| *known == power)
        .map_or("E", |(suffix, _)| *suffix);
    format!("{amount}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_have_one_text() {
        let table = [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("1.5Gi", "1536Mi"),
            ("1000Mi", "1000Mi"),
            ("100", "100"),
            ("1000", "1k"),
            ("1500k", "1500k"),
            ("2000k", "2M"),
            ("0", "0"),
            ("0Gi", "0"),
            ("512Ki", "512Ki"),
            ("1000Ki", "1000Ki"),
            ("0.1Ki", "102400m"),
            ("1e3", "1e3"),
            ("12e2", "1200"),
            ("-5", "-5"),
            ("1E", "1E"),
            ("0.0000000001", "1n"),
        ];
        for (text, want) in table {
            assert_eq!(canonical(&json!(text)).as_deref(), Some(want), "{text}");
        }
        assert_eq!(canonical(&json!(2)).as_deref(), Some("2"));
        assert_eq!(canonical(&json!("lots")), None);
    }
}
