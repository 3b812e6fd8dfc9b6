//! Numbers as Go reads and writes them, durations, and the staleness marker.

/// The bits of the NaN that says "this series ended here".
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The value that marks a series as ended.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value is the staleness marker (an ordinary NaN is not).
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// A sample's value as the HTTP API writes it: shortest digits that read back the same, an exponent
/// only below 1e-6 and from 1e21 on.
pub fn format_value(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && size.is_finite() && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        return match text.split_once('e') {
            Some((digits, power)) => {
                let (sign, power) = match power.strip_prefix('-') {
                    Some(rest) => ('-', rest),
                    None => ('+', power),
                };
                format!("{digits}e{sign}{power:0>2}")
            }
            None => text,
        };
    }
    format_plain(value)
}

/// As [`format_value`], never with an exponent.
pub(crate) fn format_plain(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value}")
    }
}

/// Reads a number as Go's `ParseFloat` does, with `Inf`, `NaN` in any case and hexadecimal integers.
pub fn parse_value(text: &str) -> Option<f64> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let lower = body.to_ascii_lowercase();
    let size = match lower.as_str() {
        "inf" | "infinity" => f64::INFINITY,
        "nan" => return Some(f64::NAN),
        _ => {
            if let Some(hex) = lower.strip_prefix("0x") {
                if hex.starts_with(['+', '-']) {
                    return None;
                }
                u64::from_str_radix(hex, 16).ok()? as f64
            } else if lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                lower
                    .parse()
                    .ok()
                    .filter(|parsed: &f64| parsed.is_finite())?
            } else {
                return None;
            }
        }
    };
    Some(if negative { -size } else { size })
}

/// Reads a duration such as `5m`, `1h30m` or `250ms` (units from large to small, each once), in
/// milliseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut from = 0;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let amount: i64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = rest.get(..letters)?;
        rest = rest.get(letters..)?;
        let index = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .filter(|i| *i >= from)?;
        from = index + 1;
        let (_, size) = UNITS.get(index)?;
        total = total.checked_add(amount.checked_mul(*size)?)?;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_float_text() {
        let table = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (0.000_001, "0.000001"),
            (1.5e-7, "1.5e-07"),
            (-2.5e300, "-2.5e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, text) in table {
            assert_eq!(format_value(value), text);
        }
    }

    #[test]
    fn numbers_and_durations() {
        assert_eq!(parse_value("0x1F"), Some(31.0));
        assert_eq!(parse_value("-Inf"), Some(f64::NEG_INFINITY));
        assert!(parse_value("nan").is_some_and(f64::is_nan));
        assert_eq!(parse_value(".5e1"), Some(5.0));
        for bad in ["", "-", "1x", "0x", "infinit", "--1", "0x-1"] {
            assert_eq!(parse_value(bad), None, "{bad}");
        }
        assert_eq!(parse_duration("1h30m"), Some(5_400_000));
        assert_eq!(parse_duration("1d12h500ms"), Some(129_600_500));
        for bad in ["", "5", "m", "30m1h", "1m1m", "1.5h", "5x", "99999999999y"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
