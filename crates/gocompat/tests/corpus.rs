//! Every answer in `corpus/` came from Go (see `tests/go/README.md`); this crate must give the same.

use proptest::prelude::*;
use serde_json::Value;
use weir_gocompat::{
    FloatFormat, GoDuration, GoRegex, Version, VersionRange, format_float, json_float, parse_float,
    parse_int, parse_uint, quote, quote_ascii, unquote,
};

/// Lines that differ from Go and stay so, each with its reason.
const KNOWN: [(&str, &str); 1] = [(
    r#""pattern":"\\x{d800}""#,
    "a lone surrogate never matches text; Go compiles it, we refuse it",
)];

fn check(corpus: &str, answer: impl Fn(&Value) -> Vec<(&'static str, Value)>) {
    let mut wrong = Vec::new();
    for line in corpus.lines() {
        let case: Value = serde_json::from_str(line).expect("a corpus line is JSON");
        if KNOWN.iter().any(|(known, _)| line.contains(known)) {
            continue;
        }
        for (field, ours) in answer(&case) {
            if case.get(field).unwrap_or(&Value::Null) != &ours {
                wrong.push(format!("{field}: ours {ours}, Go's {line}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} answers differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn maybe(text: Option<String>) -> Value {
    text.map_or(Value::Null, Value::from)
}

#[test]
fn versions() {
    check(include_str!("corpus/versions.jsonl"), |case| {
        let version = Version::parse(text(case, "version"));
        let other = Version::parse(text(case, "other")).ok();
        let compare = version
            .as_ref()
            .ok()
            .zip(other)
            .map(|(a, b)| a.cmp(&b) as i8);
        vec![
            (
                "strict",
                Version::parse_strict(text(case, "version")).is_ok().into(),
            ),
            ("ok", version.is_ok().into()),
            ("normalized", maybe(version.ok().map(|v| v.normalized()))),
            ("compare", compare.map_or(Value::Null, Value::from)),
        ]
    });
}

#[test]
fn ranges() {
    check(include_str!("corpus/ranges.jsonl"), |case| {
        let range = VersionRange::parse(text(case, "range"));
        let version = Version::parse(text(case, "version")).ok();
        let checked = range
            .as_ref()
            .ok()
            .zip(version)
            .map(|(range, version)| range.check(&version));
        vec![
            ("ok", range.is_ok().into()),
            ("check", checked.map_or(Value::Null, Value::from)),
        ]
    });
}

#[test]
fn durations() {
    check(include_str!("corpus/durations.jsonl"), |case| {
        let duration = GoDuration::parse(text(case, "value"));
        vec![
            ("ok", duration.is_ok().into()),
            (
                "nanos",
                maybe(duration.as_ref().ok().map(|d| d.nanos().to_string())),
            ),
            ("result", maybe(duration.ok().map(|d| d.to_string()))),
        ]
    });
}

#[test]
fn numbers() {
    check(include_str!("corpus/numbers.jsonl"), |case| {
        let value = text(case, "value");
        if text(case, "kind") == "int" {
            let (int, uint) = (parse_int(value), parse_uint(value));
            return vec![
                ("ok", int.is_ok().into()),
                ("result", maybe(int.ok().map(|i| i.to_string()))),
                ("uok", uint.is_ok().into()),
                ("uresult", maybe(uint.ok().map(|u| u.to_string()))),
            ];
        }
        let format = match text(case, "format") {
            "f" => FloatFormat::Fixed,
            "e" => FloatFormat::Exponent,
            _ => FloatFormat::General,
        };
        let precision = usize::try_from(case["prec"].as_i64().unwrap_or(0)).ok();
        let float = parse_float(value);
        vec![
            ("ok", float.is_ok().into()),
            (
                "json",
                maybe(float.as_ref().ok().and_then(|f| json_float(*f))),
            ),
            (
                "result",
                maybe(float.ok().map(|f| format_float(f, format, precision))),
            ),
        ]
    });
}

#[test]
fn quotes() {
    check(include_str!("corpus/quotes.jsonl"), |case| {
        let value = text(case, "value");
        let read = unquote(value);
        let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        vec![
            ("quoted", quote(value).into()),
            ("ascii", quote_ascii(value).into()),
            ("ok", read.is_ok().into()),
            ("result", maybe(read.ok().map(lossy))),
        ]
    });
}

#[test]
fn regexes() {
    check(include_str!("corpus/regex.jsonl"), |case| {
        let (input, expand) = (text(case, "input"), text(case, "expand"));
        let Ok(regex) = GoRegex::parse(text(case, "pattern")) else {
            return vec![("ok", false.into())];
        };
        vec![
            ("ok", true.into()),
            ("match", regex.is_match(input).into()),
            (
                "groups",
                regex.captures(input).map_or(Value::Null, Value::from),
            ),
            ("expanded", maybe(regex.extract(input, expand))),
            ("replaced", regex.replace_all(input, expand).into()),
        ]
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_answered(s in "\\PC{0,40}") {
        let _ = VersionRange::parse(&s);
        let _ = Version::parse(&s);
        let _ = GoDuration::parse(&s);
        let _ = parse_float(&s);
        let _ = parse_int(&s);
        let _ = unquote(&s);
        let _ = GoRegex::parse(&s);
    }

    #[test]
    fn range_like_text_is_answered(s in "[ ,|v0-9xX*.<>=!~^a+-]{0,24}", v in "[0-9]{1,3}\\.[0-9]{1,3}") {
        let version = Version::parse(&v).expect("two numbers are a version");
        if let Ok(range) = VersionRange::parse(&s) {
            let _ = range.check(&version);
        }
    }

    #[test]
    fn regex_like_text_is_answered(s in r"[\[\]a(){}|*+?^$.\\:0-9,QEpPdwPi<>=-]{0,24}") {
        if let Ok(regex) = GoRegex::parse(&s) {
            let _ = regex.extract("aa-1,dwi", "$1${a}$");
        }
    }

    #[test]
    fn a_duration_reads_back(nanos: i64) {
        let duration = GoDuration::from_nanos(nanos);
        prop_assert_eq!(GoDuration::parse(&duration.to_string()), Ok(duration));
    }

    #[test]
    fn a_float_reads_back(value: f64) {
        let text = format_float(value, FloatFormat::General, None);
        prop_assert!(value.is_nan() || parse_float(&text) == Ok(value));
    }

    #[test]
    fn a_quote_reads_back(value: String) {
        prop_assert_eq!(unquote(&quote(&value)), Ok(value.into_bytes()));
    }
}
