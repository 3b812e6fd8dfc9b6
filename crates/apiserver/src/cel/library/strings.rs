//! Owns the functions of texts, and regular expressions over them.

use std::fmt::Write as _;

use super::{Entry, overload, show, show_double, truth};
use crate::cel::eval::{Fault, Machine};
use crate::cel::value::{Value, list, text};
use weir_gocompat::{FloatFormat, GoRegex, format_float};

type Outcome<'a> = Result<Value<'a>, Fault>;

pub(super) fn all() -> Vec<Entry> {
    vec![
        (
            "contains",
            &[".(string, string) bool"],
            |_, args| match args {
                [Value::Text(t), Value::Text(part)] => truth(t.contains(part.as_ref())),
                _ => overload(),
            },
        ),
        (
            "startsWith",
            &[".(string, string) bool"],
            |_, args| match args {
                [Value::Text(t), Value::Text(part)] => truth(t.starts_with(part.as_ref())),
                _ => overload(),
            },
        ),
        (
            "endsWith",
            &[".(string, string) bool"],
            |_, args| match args {
                [Value::Text(t), Value::Text(part)] => truth(t.ends_with(part.as_ref())),
                _ => overload(),
            },
        ),
        (
            "matches",
            &["(string, string) bool", ".(string, string) bool"],
            |m, args| {
                let [Value::Text(t), Value::Text(pattern)] = args else {
                    return overload();
                };
                with_regex(m, pattern, "", |regex| truth(regex.is_match(t)))
            },
        ),
        ("find", &[".(string, string) string"], |m, args| {
            let [Value::Text(t), Value::Text(pattern)] = args else {
                return overload();
            };
            with_regex(m, pattern, "Illegal regex: ", |regex| {
                Ok(text(regex.find(t).unwrap_or_default()))
            })
        }),
        (
            "findAll",
            &[
                ".(string, string) list(string)",
                ".(string, string, int) list(string)",
            ],
            |m, args| {
                let (t, pattern, limit) = match args {
                    [Value::Text(t), Value::Text(pattern)] => (t, pattern, -1),
                    [Value::Text(t), Value::Text(pattern), Value::Int(limit)] => {
                        (t, pattern, *limit)
                    }
                    _ => return overload(),
                };
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                with_regex(m, pattern, "Illegal regex: ", |regex| {
                    Ok(list(regex.find_all(t).take(limit).map(text).collect()))
                })
            },
        ),
        ("charAt", &[".(string, int) string"], |_, args| match args {
            [Value::Text(t), Value::Int(at)] => {
                let mut chars = t.chars();
                let found = usize::try_from(*at).ok().map(|at| chars.nth(at));
                match found {
                    Some(Some(c)) => Ok(text(c)),
                    Some(None) if *at == t.chars().count() as i64 => Ok(text("")),
                    _ => out_of_range(*at),
                }
            }
            _ => overload(),
        }),
        (
            "indexOf",
            &[
                ".(string, string) int",
                ".(string, string, int) int",
                ".(list(A), A) int",
            ],
            index_of,
        ),
        (
            "lastIndexOf",
            &[
                ".(string, string) int",
                ".(string, string, int) int",
                ".(list(A), A) int",
            ],
            last_index_of,
        ),
        ("lowerAscii", &[".(string) string"], |_, args| match args {
            [Value::Text(t)] => Ok(text(t.to_ascii_lowercase())),
            _ => overload(),
        }),
        ("upperAscii", &[".(string) string"], |_, args| match args {
            [Value::Text(t)] => Ok(text(t.to_ascii_uppercase())),
            _ => overload(),
        }),
        (
            "replace",
            &[
                ".(string, string, string) string",
                ".(string, string, string, int) string",
            ],
            |m, args| {
                let (t, from, to, limit) = match args {
                    [Value::Text(t), Value::Text(from), Value::Text(to)] => (t, from, to, -1),
                    [
                        Value::Text(t),
                        Value::Text(from),
                        Value::Text(to),
                        Value::Int(limit),
                    ] => (t, from, to, *limit),
                    _ => return overload(),
                };
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                // The result may be much longer than what it is made of.
                let times = t.matches(from.as_ref()).take(limit).count();
                m.spend((times as u64).saturating_mul(to.len() as u64) / 10)?;
                Ok(text(t.replacen(from.as_ref(), to, limit)))
            },
        ),
        (
            "split",
            &[
                ".(string, string) list(string)",
                ".(string, string, int) list(string)",
            ],
            |_, args| match args {
                [Value::Text(t), Value::Text(by)] => Ok(split(t, by, -1)),
                [Value::Text(t), Value::Text(by), Value::Int(limit)] => Ok(split(t, by, *limit)),
                _ => overload(),
            },
        ),
        (
            "substring",
            &[".(string, int) string", ".(string, int, int) string"],
            |_, args| {
                let (t, start, end) = match args {
                    [Value::Text(t), Value::Int(start)] => (t, *start, t.chars().count() as i64),
                    [Value::Text(t), Value::Int(start), Value::Int(end)] => {
                        if start > end {
                            return Err(Fault::said(format!(
                                "invalid substring range. start: {start}, end: {end}"
                            )));
                        }
                        (t, *start, *end)
                    }
                    _ => return overload(),
                };
                let length = t.chars().count() as i64;
                for at in [start, end] {
                    if at < 0 || at > length {
                        return out_of_range(at);
                    }
                }
                let count = usize::try_from(end - start).unwrap_or(0);
                let skip = usize::try_from(start).unwrap_or(0);
                Ok(text(t.chars().skip(skip).take(count).collect::<String>()))
            },
        ),
        ("trim", &[".(string) string"], |_, args| match args {
            [Value::Text(t)] => Ok(text(t.trim())),
            _ => overload(),
        }),
        (
            "join",
            &[".(list(string)) string", ".(list(string), string) string"],
            |_, args| {
                let (items, by) = match args {
                    [Value::List(items)] => (items, ""),
                    [Value::List(items), Value::Text(by)] => (items, by.as_ref()),
                    _ => return overload(),
                };
                let mut out = String::new();
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push_str(by);
                    }
                    match item? {
                        Value::Text(t) => out.push_str(&t),
                        other => {
                            let shown = show(&other);
                            return Err(Fault::said(format!("join: invalid input: {shown}")));
                        }
                    }
                }
                Ok(text(out))
            },
        ),
        (
            "strings.quote",
            &["(string) string"],
            |_, args| match args {
                [Value::Text(t)] => Ok(text(quote(t))),
                _ => overload(),
            },
        ),
        (
            "format",
            &[".(string, list(dyn)) string"],
            |m, args| match args {
                [Value::Text(t), Value::List(values)] => {
                    let values = values.to_vec()?;
                    let out = format_text(t, &values)?;
                    m.spend((out.len() as u64) / 10)?;
                    Ok(text(out))
                }
                _ => overload(),
            },
        ),
    ]
}

fn with_regex<'a>(
    m: &mut Machine<'a, '_>,
    pattern: &str,
    prefix: &str,
    then: impl FnOnce(&GoRegex) -> Outcome<'a>,
) -> Outcome<'a> {
    if let Some(regex) = m.regexes.get(pattern) {
        return then(regex);
    }
    match GoRegex::parse(pattern) {
        Ok(regex) => then(&regex),
        Err(why) => {
            let why = crate::cel::pattern_fault(&why);
            Err(Fault::said(format!("{prefix}{why}")))
        }
    }
}

fn out_of_range<'a>(at: i64) -> Outcome<'a> {
    Err(Fault::said(format!("index out of range: {at}")))
}

fn index_of<'a>(_: &mut Machine<'a, '_>, args: &[Value<'a>]) -> Outcome<'a> {
    let (t, part, from) = match args {
        [Value::Text(t), Value::Text(part)] => (t, part, 0),
        [Value::Text(t), Value::Text(part), Value::Int(from)] => (t, part, *from),
        [Value::List(items), wanted] => return super::lists::position(items, wanted, false),
        _ => return overload(),
    };
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    let Ok(from) = usize::try_from(from) else {
        return out_of_range(from);
    };
    let start: usize = t.chars().take(from).map(char::len_utf8).sum();
    let found = t.get(start..).and_then(|rest| {
        let at = rest.find(part.as_ref())?;
        Some(from + rest.get(..at)?.chars().count())
    });
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

fn last_index_of<'a>(_: &mut Machine<'a, '_>, args: &[Value<'a>]) -> Outcome<'a> {
    let (t, part, from) = match args {
        [Value::Text(t), Value::Text(part)] => (t, part, None),
        [Value::Text(t), Value::Text(part), Value::Int(from)] => (t, part, Some(*from)),
        [Value::List(items), wanted] => return super::lists::position(items, wanted, true),
        _ => return overload(),
    };
    let length = t.chars().count() as i64;
    if part.is_empty() {
        return Ok(Value::Int(from.unwrap_or(length)));
    }
    let from = from.unwrap_or(length - 1);
    if from < 0 && length > 0 {
        return out_of_range(from);
    }
    if from >= length {
        return Ok(Value::Int(-1));
    }
    let last = from.min(length - part.chars().count() as i64);
    let Ok(last) = usize::try_from(last) else {
        return Ok(Value::Int(-1));
    };
    let end: usize = t.chars().take(last).map(char::len_utf8).sum();
    let reach = (end + part.len()).min(t.len());
    let found = t
        .get(..reach)
        .and_then(|head| head.rfind(part.as_ref()))
        .and_then(|at| Some(t.get(..at)?.chars().count()));
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

/// Go's SplitN.
fn split<'a>(t: &str, by: &str, limit: i64) -> Value<'a> {
    if limit == 0 {
        return list(Vec::new());
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if by.is_empty() {
        let mut out: Vec<Value<'a>> = Vec::new();
        let mut rest = t;
        while let Some(c) = rest.chars().next() {
            if out.len() + 1 == limit {
                out.push(text(rest));
                break;
            }
            out.push(text(c));
            rest = &rest[c.len_utf8()..];
        }
        return list(out);
    }
    list(t.splitn(limit, by).map(text).collect())
}

fn quote(t: &str) -> String {
    let mut out = String::from("\"");
    for c in t.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The clauses of a format: where each is, its letter and its precision.
pub(crate) fn clauses(t: &str) -> Result<Vec<char>, String> {
    let mut out = Vec::new();
    let mut chars = t.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            continue;
        }
        match chars.next() {
            Some('%') => {}
            Some('.') => {
                while chars.peek().is_some_and(char::is_ascii_digit) {
                    chars.next();
                }
                out.push(chars.next().ok_or("unexpected end of string")?);
            }
            Some(clause) => out.push(clause),
            None => return Err("unexpected end of string".to_owned()),
        }
    }
    Ok(out)
}

/// What a clause takes, in the words that refuse others.
pub(crate) fn wanted(clause: char) -> Option<&'static str> {
    Some(match clause {
        's' => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
        }
        'd' => "decimal clause can only be used on integers",
        'f' => "fixed-point clause can only be used on doubles",
        'e' => "scientific clause can only be used on doubles",
        'b' => "only integers and bools can be formatted as binary",
        'o' => "octal clause can only be used on integers",
        'x' | 'X' => "only integers, byte buffers, and strings can be formatted as hex",
        _ => return None,
    })
}

/// `'%s is %d'.format([…])`.
fn format_text(t: &str, values: &[Value<'_>]) -> Result<String, Fault> {
    let mut out = String::with_capacity(t.len());
    let mut values_left = values.iter().enumerate();
    let mut chars = t.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek() == Some(&'%') {
            chars.next();
            out.push('%');
            continue;
        }
        let Some((at, value)) = values_left.next() else {
            return Err(Fault::said(format!("index {} out of range", values.len())));
        };
        let _ = at;
        let mut precision = 6usize;
        if chars.peek() == Some(&'.') {
            chars.next();
            let mut digits = String::new();
            while let Some(c) = chars.peek().filter(|c| c.is_ascii_digit()) {
                digits.push(*c);
                chars.next();
            }
            precision = match digits.parse() {
                Ok(precision) if precision <= 1000 => precision,
                _ => {
                    return Err(Fault::said(
                        "could not parse formatting clause: error while converting precision to integer",
                    ));
                }
            };
        }
        let Some(clause) = chars.next() else {
            return Err(Fault::said("unexpected end of string"));
        };
        clause_text(&mut out, clause, precision, value)?;
    }
    if values_left.next().is_some() {
        // More arguments than clauses are passed over.
    }
    Ok(out)
}

fn clause_text(
    out: &mut String,
    clause: char,
    precision: usize,
    value: &Value<'_>,
) -> Result<(), Fault> {
    let given = || crate::cel::value::type_name(&value.ty());
    let refuse = |wanted: &str| {
        Err(Fault::said(format!(
            "error during formatting: {wanted}, was given {}",
            given()
        )))
    };
    let special = |v: f64| (!v.is_finite()).then(|| show_double(v));
    match clause {
        's' => out.push_str(&plain(value)),
        'd' => match value {
            Value::Int(_) | Value::Uint(_) => out.push_str(&show(value)),
            _ => return refuse("decimal clause can only be used on integers"),
        },
        'f' | 'e' => {
            let Value::Double(v) = value else {
                return refuse(if clause == 'f' {
                    "fixed-point clause can only be used on doubles"
                } else {
                    "scientific clause can only be used on doubles"
                });
            };
            out.push_str(&special(*v).unwrap_or_else(|| {
                if clause == 'f' {
                    grouped(&format_float(*v, FloatFormat::Fixed, Some(precision)))
                } else {
                    powered(&format_float(*v, FloatFormat::Exponent, Some(precision)))
                }
            }));
        }
        'b' => match value {
            Value::Bool(v) => out.push(if *v { '1' } else { '0' }),
            Value::Int(v) => signed(out, *v, |out, v| write!(out, "{v:b}")),
            Value::Uint(v) => signed_write(out, format_args!("{v:b}")),
            _ => return refuse("only integers and bools can be formatted as binary"),
        },
        'o' => match value {
            Value::Int(v) => signed(out, *v, |out, v| write!(out, "{v:o}")),
            Value::Uint(v) => signed_write(out, format_args!("{v:o}")),
            _ => return refuse("octal clause can only be used on integers"),
        },
        'x' | 'X' => {
            let mut hex = String::new();
            match value {
                Value::Int(v) => signed(&mut hex, *v, |out, v| write!(out, "{v:x}")),
                Value::Uint(v) => signed_write(&mut hex, format_args!("{v:x}")),
                Value::Text(t) => t
                    .bytes()
                    .for_each(|b| signed_write(&mut hex, format_args!("{b:02x}"))),
                Value::Bytes(t) => t
                    .iter()
                    .for_each(|b| signed_write(&mut hex, format_args!("{b:02x}"))),
                _ => {
                    return refuse(
                        "only integers, byte buffers, and strings can be formatted as hex",
                    );
                }
            }
            out.push_str(&if clause == 'X' {
                hex.to_uppercase()
            } else {
                hex
            });
        }
        other => {
            return Err(Fault::said(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{other}\""
            )));
        }
    }
    Ok(())
}

/// A text as it is; what is inside of lists and maps is quoted.
fn plain(value: &Value<'_>) -> String {
    match value {
        Value::List(_) | Value::Map(_) => quoted(value),
        Value::Double(v) => super::convert::go_g(*v),
        other => show(other),
    }
}

fn quoted(value: &Value<'_>) -> String {
    match value {
        Value::Text(t) => weir_gocompat::quote(t),
        Value::Bytes(bytes) => format!("b{}", weir_gocompat::quote_bytes(bytes)),
        Value::Timestamp(_) => format!("timestamp(\"{}\")", show(value)),
        Value::Duration(_) => format!("duration(\"{}\")", show(value)),
        Value::Double(v) => format!("{v:.6}"),
        Value::List(list) => {
            let items: Vec<String> = list
                .iter()
                .map(|item| item.as_ref().map_or_else(ToString::to_string, quoted))
                .collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut entries: Vec<String> = map
                .entries()
                .iter()
                .map(|(key, value)| {
                    let value = value.as_ref().map_or_else(ToString::to_string, quoted);
                    format!("{}:{value}", quoted(key))
                })
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        other => show(other),
    }
}

/// Thousands are set apart.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole),
    };
    let mut out = String::from(sign);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// `1.5e+00` as `1.5×10⁰⁰`.
fn powered(number: &str) -> String {
    let (mantissa, exponent) = number.split_once('e').unwrap_or((number, "+00"));
    let raised: String = exponent
        .chars()
        .filter_map(|c| match c {
            '-' => Some('⁻'),
            c => "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(c.to_digit(10)? as usize),
        })
        .collect();
    format!("{mantissa}×10{raised}")
}

fn signed_write(out: &mut String, args: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(args);
}

fn signed(out: &mut String, v: i64, write: fn(&mut String, u64) -> std::fmt::Result) {
    if v < 0 {
        out.push('-');
    }
    let _ = write(out, v.unsigned_abs());
}
