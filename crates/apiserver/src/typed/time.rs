//! Owns times as the API reads and writes them, with Go's words for what is none.

use jiff::Timestamp;

/// Reads an RFC 3339 time; `micro` wants exactly six digits after the second, and both answer the
/// text that is kept.
pub(super) fn canonical(text: &str, micro: bool) -> Result<String, String> {
    let layout = if micro {
        "2006-01-02T15:04:05.000000Z07:00"
    } else {
        "2006-01-02T15:04:05Z07:00"
    };
    let wrong = |rest: &str, want: &str| {
        Err(format!(
            "parsing time \"{text}\" as \"{layout}\": cannot parse \"{rest}\" as \"{want}\""
        ))
    };
    let range = |what: &str| Err(format!("parsing time \"{text}\": {what} out of range"));
    let mut rest = text;
    let mut parts = [0_i64; 6];
    let steps: [(&str, usize, &str); 6] = [
        ("2006", 4, "-"),
        ("01", 2, "-"),
        ("02", 2, "T"),
        ("15", 2, ":"),
        ("04", 2, ":"),
        ("05", 2, ""),
    ];
    for ((want, width, separator), part) in steps.iter().zip(parts.iter_mut()) {
        let digits = rest
            .get(..*width)
            .filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let Some(digits) = digits else {
            return wrong(rest, want);
        };
        *part = digits.parse().unwrap_or_default();
        let limit = match *want {
            "01" => 1..=12,
            "15" => 0..=23,
            "04" | "05" => 0..=59,
            _ => 0..=9999,
        };
        if !limit.contains(part) {
            return range(match *want {
                "01" => "month",
                "15" => "hour",
                "04" => "minute",
                _ => "second",
            });
        }
        rest = rest.get(*width..).unwrap_or_default();
        match rest.strip_prefix(separator) {
            Some(after) => rest = after,
            None => return wrong(rest, separator),
        }
    }
    let digits = rest.strip_prefix(['.', ',']).map_or(0, |after| {
        after.bytes().take_while(u8::is_ascii_digit).count()
    });
    if micro && digits != 6 {
        return wrong(rest, ".000000");
    }
    let fraction = if digits > 0 { digits + 1 } else { 0 };
    rest = rest.get(fraction..).unwrap_or_default();
    let zone = rest.as_bytes();
    let good = match zone {
        [b'Z', ..] => 1,
        [b'+' | b'-', a, b, b':', c, d, ..] if [a, b, c, d].iter().all(|x| x.is_ascii_digit()) => 6,
        _ => return wrong(rest, "Z07:00"),
    };
    let extra = rest.get(good..).unwrap_or_default();
    if !extra.is_empty() {
        return Err(format!("parsing time \"{text}\": extra text: \"{extra}\""));
    }
    let Ok(time) = text.replacen(',', ".", 1).parse::<Timestamp>() else {
        return range("day");
    };
    let second = Timestamp::from_second(time.as_second()).unwrap_or_default();
    if !micro {
        return Ok(second.to_string());
    }
    let micros = time.subsec_microsecond();
    Ok(format!(
        "{}.{micros:06}Z",
        second.to_string().trim_end_matches('Z')
    ))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn times_are_read_as_go_reads_them() {
        let layout = "2006-01-02T15:04:05Z07:00";
        let table = [
            ("2026-01-02T03:04:05Z", Ok("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05.9Z", Ok("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05+02:00", Ok("2026-01-02T01:04:05Z")),
            (
                "2020-13-01T00:00:00Z",
                Err("parsing time \"2020-13-01T00:00:00Z\": month out of range".to_owned()),
            ),
            (
                "2020-02-31T00:00:00Z",
                Err("parsing time \"2020-02-31T00:00:00Z\": day out of range".to_owned()),
            ),
            (
                "x",
                Err(format!(
                    "parsing time \"x\" as \"{layout}\": cannot parse \"x\" as \"2006\""
                )),
            ),
            (
                "2020-01-01",
                Err(format!(
                    "parsing time \"2020-01-01\" as \"{layout}\": cannot parse \"\" as \"T\""
                )),
            ),
            (
                "2020-01-01T00:00:00",
                Err(format!(
                    "parsing time \"2020-01-01T00:00:00\" as \"{layout}\": cannot parse \"\" as \"Z07:00\""
                )),
            ),
        ];
        for (text, want) in table {
            assert_eq!(canonical(text, false), want.map(str::to_owned), "{text}");
        }
        assert_eq!(
            canonical("2026-01-02T03:04:05.123456Z", true).as_deref(),
            Ok("2026-01-02T03:04:05.123456Z")
        );
        assert!(canonical("2026-01-02T03:04:05Z", true).is_err());
    }
}
