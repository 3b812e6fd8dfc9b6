//! What a scalar's text means. Owns the word tables, number and time forms of both Go dialects;
//! refuses to know where the scalar stands.

use crate::number::{GoInt, parse_float, parse_int, parse_int_signed_inside, parse_point_float};

/// The typing rules to follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// go-yaml v2, as `sigs.k8s.io/yaml` uses it: YAML 1.1 booleans, the last duplicate key wins, a
    /// merge overwrites what stands before it.
    #[default]
    GoYaml2,
    /// go-yaml v3, as kustomize reads its input: `yes` and `on` are text, duplicate keys are refused,
    /// a key's own value wins over merged ones, dates become full times.
    GoYaml3,
}

/// A scalar's meaning.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(GoInt),
    Float(f64),
    /// A time, in the form of RFC 3339.
    Time(String),
    Text,
    /// Base64 to decode.
    Binary,
}

impl Scalar {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Time(_) => "a time",
            Self::Text => "text",
            Self::Binary => "binary data",
        }
    }
}

pub(crate) const TAG_PREFIX: &str = "tag:yaml.org,2002:";

/// The meaning of a scalar under an explicit tag; the inner failure is what it is instead.
pub(crate) fn resolve_tagged(dialect: Dialect, tag: &str, text: &str) -> Result<Scalar, Scalar> {
    let Some(short) = tag.strip_prefix(TAG_PREFIX) else {
        return Ok(Scalar::Text);
    };
    match (short, plain(dialect, text, matches!(short, "timestamp"))) {
        ("binary", _) => Ok(Scalar::Binary),
        ("null", found @ Scalar::Null)
        | ("bool", found @ Scalar::Bool(_))
        | ("int", found @ Scalar::Int(_))
        | ("float", found @ Scalar::Float(_))
        | ("timestamp", found @ Scalar::Time(_)) => Ok(found),
        ("float", Scalar::Int(GoInt::Signed(n))) => Ok(Scalar::Float(n as f64)),
        ("null" | "bool" | "int" | "float" | "timestamp", found) => Err(found),
        _ => Ok(Scalar::Text),
    }
}

/// The meaning of a scalar written without quotes and without a tag.
pub(crate) fn resolve_plain(dialect: Dialect, text: &str) -> Scalar {
    plain(dialect, text, true)
}

fn plain(dialect: Dialect, text: &str, times: bool) -> Scalar {
    let Some(first) = text.bytes().next() else {
        return Scalar::Null;
    };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => {
            word(dialect, text)
        }
        b'.' => match special_float(text).or_else(|| parse_point_float(text)) {
            Some(f) => Scalar::Float(f),
            None => Scalar::Text,
        },
        b'+' | b'-' | b'0'..=b'9' => {
            if let Some(f) = special_float(text) {
                return Scalar::Float(f);
            }
            if times && let Some(time) = time(text) {
                return Scalar::Time(time);
            }
            let digits = text.replace('_', "");
            if let Some(n) = parse_int(&digits) {
                return Scalar::Int(n);
            }
            if let Some(f) = parse_float(&digits) {
                return Scalar::Float(f);
            }
            parse_int_signed_inside(&digits, dialect == Dialect::GoYaml3)
                .map_or(Scalar::Text, Scalar::Int)
        }
        _ => Scalar::Text,
    }
}

fn word(dialect: Dialect, text: &str) -> Scalar {
    match text {
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        _ if dialect == Dialect::GoYaml3 => Scalar::Text,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        _ => Scalar::Text,
    }
}

fn special_float(text: &str) -> Option<f64> {
    match text {
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Whether a text must not be written without quotes because some reader would not take it for text.
pub(crate) fn ambiguous(text: &str) -> bool {
    resolve_plain(Dialect::GoYaml2, text) != Scalar::Text || base60(text)
}

/// `12:30` and its like: numbers to base 60 in YAML 1.1. Go reads them as text but quotes them.
fn base60(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (body, fraction) = match body.split_once('.') {
        Some((body, fraction)) => (body, fraction),
        None => (body, ""),
    };
    let mut parts = body.split(':');
    let first = parts.next().unwrap_or("");
    let rest: Vec<&str> = parts.collect();
    first.bytes().next().is_some_and(|b| b.is_ascii_digit())
        && first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && !rest.is_empty()
        && rest.iter().all(|part| match part.as_bytes() {
            [a] => a.is_ascii_digit(),
            [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
            _ => false,
        })
        && fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

/// Reads a time in the four forms Go accepts and gives it back as RFC 3339.
fn time(text: &str) -> Option<String> {
    let mut cursor = Cursor(text);
    let year = cursor.digits(4, 4)?;
    cursor.one(&['-'])?;
    let month = cursor.digits(1, 2)?;
    cursor.one(&['-'])?;
    let day = cursor.digits(1, 2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days(year, month) {
        return None;
    }
    if cursor.0.is_empty() {
        return Some(format!("{year:04}-{month:02}-{day:02}T00:00:00Z"));
    }
    let separator = cursor.one(&['T', 't', ' '])?;
    let hour = cursor.digits(1, 2)?;
    cursor.one(&[':'])?;
    let minute = cursor.digits(1, 2)?;
    cursor.one(&[':'])?;
    let second = cursor.digits(1, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut fraction = "";
    if cursor.one(&['.', ',']).is_some() {
        let end = cursor
            .0
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(cursor.0.len());
        if end == 0 {
            return None;
        }
        fraction = cursor.0[..end.min(9)].trim_end_matches('0');
        cursor.0 = &cursor.0[end..];
    }
    let zone = cursor.0;
    let zone_good = match (separator, zone.as_bytes()) {
        (' ', []) | ('T' | 't', b"Z") => true,
        ('T' | 't', [b'+' | b'-', a, b, b':', c, d]) => {
            [a, b, c, d].iter().all(|x| x.is_ascii_digit())
                && (a - b'0') * 10 + (b - b'0') <= 24
                && (c - b'0') * 10 + (d - b'0') <= 60
        }
        _ => false,
    };
    if !zone_good {
        return None;
    }
    let zone = if zone.is_empty() || zone == "+00:00" {
        "Z"
    } else {
        zone
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}{zone}"
    ))
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let end = self
            .0
            .bytes()
            .take(most)
            .take_while(u8::is_ascii_digit)
            .count();
        if end < least {
            return None;
        }
        let number = self.0[..end].parse().ok()?;
        self.0 = &self.0[end..];
        Some(number)
    }

    fn one(&mut self, any: &[char]) -> Option<char> {
        let c = self.0.chars().next().filter(|c| any.contains(c))?;
        self.0 = &self.0[c.len_utf8()..];
        Some(c)
    }
}
