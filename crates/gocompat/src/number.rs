//! Numbers as Go's `strconv` and `encoding/json` read and write them.
//!
//! Owns the text of floats (`%e %f %g` with or without precision, shortest form, JSON's form) and Go's literals
//! (`0x1F`, `0b1`, `0o7`, `1_000`, `0x1p-2`). It refuses complex numbers and 32-bit floats.

/// Why a text is not a number. Every case is terminal: the text must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text has not the shape of a number.
    #[error("invalid number `{0}`: invalid syntax; write digits such as `42` or `1.5`")]
    Syntax(String),
    /// The number does not fit 64 bits.
    #[error("invalid number `{0}`: value out of range for 64 bits")]
    Range(String),
}

/// How a float is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatFormat {
    /// `1.5e+06`, Go's `%e`.
    Exponent,
    /// `1500000`, Go's `%f`.
    Fixed,
    /// Whichever of the two fits the size of the number, Go's `%g` and, without precision, `%v`.
    General,
}

/// The decimal digits of a number, without point, and where the point goes (before digit `point`).
struct Decimal {
    digits: Vec<u8>,
    point: i32,
}

/// Takes apart `d.ddde±x`, which is what Rust's exponent form prints.
fn decimal(text: &str) -> Decimal {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if digits.iter().all(|d| *d == b'0') {
        return Decimal {
            digits: Vec::new(),
            point: 0,
        };
    }
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    Decimal {
        digits,
        point: exponent + 1,
    }
}

/// The text of a float, as `strconv.FormatFloat(value, format, precision, 64)`. Without a precision it is the
/// shortest text that reads back as the same number.
pub fn format_float(value: f64, format: FloatFormat, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let value = value.abs();
    let body = match (format, precision) {
        (FloatFormat::Fixed, Some(precision)) => format!("{value:.precision$}"),
        (FloatFormat::Fixed, None) => fixed(&decimal(&format!("{value:e}")), None),
        (FloatFormat::Exponent, Some(precision)) => {
            exponent(&decimal(&format!("{value:.precision$e}")), Some(precision))
        }
        (FloatFormat::Exponent, None) => exponent(&decimal(&format!("{value:e}")), None),
        (FloatFormat::General, None) => {
            let decimal = decimal(&format!("{value:e}"));
            general(&decimal, 6)
        }
        (FloatFormat::General, Some(precision)) => {
            let precision = precision.max(1);
            let decimal = decimal(&format!("{:.*e}", precision - 1, value));
            let mut limit = i32::try_from(precision).unwrap_or(i32::MAX);
            let count = i32::try_from(decimal.digits.len()).unwrap_or(i32::MAX);
            if limit > count && count >= decimal.point {
                limit = count;
            }
            general(&decimal, limit)
        }
    };
    format!("{sign}{body}")
}

/// `%g`: exponential below 1e-4 and from `10^limit` on.
fn general(decimal: &Decimal, limit: i32) -> String {
    let exp = decimal.point - 1;
    if exp < -4 || exp >= limit {
        exponent(decimal, None)
    } else {
        fixed(decimal, None)
    }
}

fn fixed(decimal: &Decimal, precision: Option<usize>) -> String {
    let point = usize::try_from(decimal.point).unwrap_or(0);
    let mut text = String::new();
    for i in 0..point {
        text.push(decimal.digits.get(i).map_or('0', |d| char::from(*d)));
    }
    if text.is_empty() {
        text.push('0');
    }
    let zeros = usize::try_from(-decimal.point).unwrap_or(0);
    let rest = decimal.digits.get(point..).unwrap_or_default();
    let mut fraction = "0".repeat(if rest.is_empty() { 0 } else { zeros });
    fraction.extend(rest.iter().map(|d| char::from(*d)));
    if let Some(precision) = precision {
        while fraction.len() < precision {
            fraction.push('0');
        }
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(&fraction);
    }
    text
}

fn exponent(decimal: &Decimal, precision: Option<usize>) -> String {
    let mut digits = decimal.digits.iter().map(|d| char::from(*d));
    let mut text = String::from(digits.next().unwrap_or('0'));
    let mut fraction: String = digits.collect();
    while fraction.len() < precision.unwrap_or(0) {
        fraction.push('0');
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(&fraction);
    }
    let exp = if decimal.digits.is_empty() {
        0
    } else {
        decimal.point - 1
    };
    let sign = if exp < 0 { '-' } else { '+' };
    format!("{text}e{sign}{:02}", exp.abs())
}

/// The text `encoding/json` writes for a float: plain from 1e-6 up to 1e21, exponential with a short exponent beyond.
/// JSON has no text for infinities and NaN; they yield nothing.
pub fn json_float(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format_float(value, FloatFormat::Exponent, None);
        // `e-09` becomes `e-9`.
        return Some(match text.rsplit_once("e-0") {
            Some((mantissa, digit)) => format!("{mantissa}e-{digit}"),
            None => text,
        });
    }
    Some(format_float(value, FloatFormat::Fixed, None))
}

/// Whether underscores stand only between digits, or after a base prefix.
fn underscores_ok(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    let mut last = b'^'; // before anything
    let mut rest = text;
    let mut hex = false;
    if let [b'0', prefix, tail @ ..] = text {
        let prefix = prefix.to_ascii_lowercase();
        if matches!(prefix, b'b' | b'o' | b'x') {
            hex = prefix == b'x';
            last = b'0';
            rest = tail;
        }
    }
    for b in rest {
        if b.is_ascii_digit() || hex && b.is_ascii_hexdigit() {
            last = b'0';
        } else if *b == b'_' {
            if last != b'0' {
                return false;
            }
            last = b'_';
        } else {
            if last == b'_' {
                return false;
            }
            last = b'!';
        }
    }
    last != b'_'
}

/// Reads an unsigned Go integer literal, the base told by its prefix.
pub fn parse_uint(text: &str) -> Result<u64, NumberError> {
    let syntax = || NumberError::Syntax(text.to_owned());
    let lower = text.to_ascii_lowercase();
    let (base, digits) = if let Some(rest) = lower.strip_prefix("0x").filter(|r| !r.is_empty()) {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b").filter(|r| !r.is_empty()) {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o").filter(|r| !r.is_empty()) {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix('0').filter(|r| !r.is_empty()) {
        (8, rest)
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || digits.contains('_') && !underscores_ok(text) {
        return Err(syntax());
    }
    let mut value: u64 = 0;
    let mut overflow = false;
    for c in digits.chars().filter(|c| *c != '_') {
        let digit = c.to_digit(base).ok_or_else(syntax)?;
        match value
            .checked_mul(u64::from(base))
            .and_then(|v| v.checked_add(u64::from(digit)))
        {
            Some(next) => value = next,
            None => overflow = true,
        }
    }
    if overflow {
        Err(NumberError::Range(text.to_owned()))
    } else {
        Ok(value)
    }
}

/// Reads a signed Go integer literal, the base told by its prefix.
pub fn parse_int(text: &str) -> Result<i64, NumberError> {
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let rename = |wrong| match wrong {
        NumberError::Syntax(_) => NumberError::Syntax(text.to_owned()),
        NumberError::Range(_) => NumberError::Range(text.to_owned()),
    };
    let value = parse_uint(digits).map_err(rename)?;
    let range = || NumberError::Range(text.to_owned());
    if negative {
        0_i64.checked_sub_unsigned(value).ok_or_else(range)
    } else {
        i64::try_from(value).map_err(|_| range())
    }
}

/// Reads a float as `strconv.ParseFloat` does: decimal, hexadecimal with exponent, `inf`, `infinity`, `nan`.
pub fn parse_float(text: &str) -> Result<f64, NumberError> {
    let syntax = || NumberError::Syntax(text.to_owned());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let signed = |value: f64| if text.starts_with('-') { -value } else { value };
    let lower = unsigned.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "infinity" => return Ok(signed(f64::INFINITY)),
        "nan" if unsigned.len() == text.len() => return Ok(f64::NAN),
        _ => {}
    }
    if lower.contains('_') && !underscores_ok(text) {
        return Err(syntax());
    }
    let plain: String = lower.chars().filter(|c| *c != '_').collect();
    if let Some(hex) = plain.strip_prefix("0x").filter(|rest| !rest.is_empty()) {
        let value = hex_float(hex).ok_or_else(syntax)?;
        return if value.is_finite() {
            Ok(signed(value))
        } else {
            Err(NumberError::Range(text.to_owned()))
        };
    }
    // Rust's grammar, once words are out, is Go's.
    if !plain
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'))
    {
        return Err(syntax());
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() && !plain.starts_with(['+', '-']) => Ok(signed(value)),
        Ok(value) if value.is_infinite() => Err(NumberError::Range(text.to_owned())),
        _ => Err(syntax()),
    }
}

fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size: i64 = digits.parse().unwrap_or(i64::from(i32::MAX)).min(100_000);
    let mut power = if exponent.starts_with('-') {
        -size
    } else {
        size
    };
    let (mut value, mut seen, mut point) = (0_u64, false, false);
    for c in mantissa.chars() {
        if c == '.' && !point {
            point = true;
            continue;
        }
        let digit = u64::from(c.to_digit(16)?);
        seen = true;
        if value >> 58 == 0 {
            value = value << 4 | digit;
            power -= if point { 4 } else { 0 };
        } else {
            value |= u64::from(digit != 0); // beyond the precision: kept as "a little more"
            power += if point { 0 } else { 4 };
        }
    }
    if !seen {
        return None;
    }
    let mut result = value as f64;
    while power != 0 && result != 0.0 && result.is_finite() {
        let step = power.clamp(-1000, 1000);
        result *= 2.0_f64.powi(i32::try_from(step).unwrap_or(0));
        power -= step;
    }
    Some(result)
}
