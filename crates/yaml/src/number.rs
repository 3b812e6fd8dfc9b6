//! Numbers as Go reads and prints them. Owns Go's integer prefixes, its float text (`%g`, shortest)
//! and the step through JSON; refuses to know of YAML.

use serde_json::{Number, Value};

/// An integer in Go's two widths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoInt {
    /// Fits 64 bits with a sign.
    Signed(i64),
    /// Only fits 64 bits without a sign.
    Unsigned(u64),
}

/// Reads an integer by Go's literal prefixes (`0x`, `0o`, `0b`, and a leading zero for octal).
pub(crate) fn parse_int(text: &str) -> Option<GoInt> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (Some('-'), &text[1..]),
        b'+' => (Some('+'), &text[1..]),
        _ => (None, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match sign {
        Some('-') if magnitude <= 1 << 63 => Some(GoInt::Signed(magnitude.wrapping_neg() as i64)),
        Some('-') => None,
        _ => match (i64::try_from(magnitude), sign) {
            (Ok(n), _) => Some(GoInt::Signed(n)),
            (Err(_), None) => Some(GoInt::Unsigned(magnitude)),
            (Err(_), Some(_)) => None,
        },
    }
}

/// Go's second try at binary (and, in its third dialect, octal) numbers, which lets a sign stand
/// behind the prefix.
pub(crate) fn parse_int_signed_inside(text: &str, octal: bool) -> Option<GoInt> {
    let (digits, radix) = match text.strip_prefix("0b") {
        Some(digits) => (digits, 2),
        None => (text.strip_prefix("0o").filter(|_| octal)?, 8),
    };
    i64::from_str_radix(digits, radix).ok().map(GoInt::Signed)
}

/// Reads a float of the form `[-+]?(\.d+|d+(\.d*)?)([eE][-+]?d+)?` that is in range.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let good = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    let exponent_good = exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)));
    if !good || !exponent_good {
        return None;
    }
    text.parse::<f64>().ok().filter(|f| f.is_finite())
}

/// Reads a float that begins with a point the way Go's own parser does: single underscores may stand
/// between digits.
pub(crate) fn parse_point_float(text: &str) -> Option<f64> {
    let mut previous = b'.';
    let bytes = text.as_bytes();
    for (i, &b) in bytes.iter().enumerate() {
        if b == b'_' {
            let next = bytes.get(i + 1).copied().unwrap_or(b'.');
            if !previous.is_ascii_digit() || !next.is_ascii_digit() {
                return None;
            }
        }
        previous = b;
    }
    parse_float(&text.replace('_', ""))
}

/// The number a float becomes after Go has written it as JSON: whole numbers lose their point.
pub(crate) fn json_float(f: f64) -> Option<Value> {
    let number = Number::from_f64(f)?;
    if f == 0.0 {
        return Some(Value::from(0));
    }
    if f.fract() == 0.0 {
        let text = shortest(&number.to_string()).positional();
        if let Ok(n) = text.parse::<i64>() {
            return Some(Value::from(n));
        }
        if let Ok(n) = text.parse::<u64>() {
            return Some(Value::from(n));
        }
    }
    Some(Value::Number(number))
}

/// The text of a finite float as Go's `strconv.FormatFloat(f, 'g', -1, 64)` prints it; `.inf`, `-.inf`
/// and `.nan` for the others.
pub fn float_text(f: f64) -> String {
    match Number::from_f64(f) {
        Some(number) => shortest(&number.to_string()).general(),
        None => not_finite(f).to_owned(),
    }
}

/// The text of a float used as a mapping key: Go rounds these to 32 bits first.
pub(crate) fn key_float_text(f: f64) -> String {
    let narrow = f as f32;
    match serde_json::to_string(&narrow) {
        Ok(text) if narrow.is_finite() => shortest(&text).general(),
        _ => not_finite(f64::from(narrow)).to_owned(),
    }
}

fn not_finite(f: f64) -> &'static str {
    match (f.is_nan(), f > 0.0) {
        (true, _) => ".nan",
        (false, true) => ".inf",
        (false, false) => "-.inf",
    }
}

/// The shortest digits that give a float back, without zeros at either end.
struct Shortest {
    minus: bool,
    digits: String,
    /// Where the point stands, counted in digits from the front.
    point: i32,
}

/// Takes the digits out of JSON's text of a float. These are taken instead of the standard library's
/// because of two shortest forms equally near, Go and JSON's writer take the even one.
fn shortest(json: &str) -> Shortest {
    let (minus, body) = match json.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, json),
    };
    let (mantissa, exponent) = body.split_once('e').unwrap_or((body, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let point = whole.len() as i32 - (all.len() - digits.len()) as i32
        + exponent.parse::<i32>().unwrap_or(0);
    match digits.trim_end_matches('0') {
        "" => Shortest {
            minus,
            digits: "0".to_owned(),
            point: 1,
        },
        digits => Shortest {
            minus,
            digits: digits.to_owned(),
            point,
        },
    }
}

impl Shortest {
    /// Go's `%g`: the exponent form is chosen as if six digits had been asked for.
    fn general(&self) -> String {
        let exponent = self.point - 1;
        if (-4..6).contains(&exponent) {
            return self.positional();
        }
        let sign = if self.minus { "-" } else { "" };
        let (first, rest) = self.digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let side = if exponent < 0 { '-' } else { '+' };
        format!("{sign}{first}{dot}{rest}e{side}{:02}", exponent.abs())
    }

    fn positional(&self) -> String {
        let sign = if self.minus { "-" } else { "" };
        let digits = &self.digits;
        if self.point <= 0 {
            let zeros = "0".repeat(self.point.unsigned_abs() as usize);
            return format!("{sign}0.{zeros}{digits}");
        }
        let whole = self.point as usize;
        if digits.len() <= whole {
            return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
        }
        let (before, after) = digits.split_at(whole);
        format!("{sign}{before}.{after}")
    }
}
