//! Owns the reading of JSON bodies: a value, which members were written twice, and Go's words for
//! what is no JSON. It refuses types.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Go refuses deeper nesting; here the reader stops much earlier.
const DEEP: usize = 10_000;

/// A body, read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parsed {
    /// Of members written twice the last counts. When there are any, each later occurrence also
    /// leaves a mark in its place; see [`mark_of`].
    pub(crate) value: Value,
    /// The paths of members written twice, in order.
    pub(crate) doubled: Vec<String>,
    /// What is said of keys written twice in YAML, line by line.
    pub(crate) repeated: Vec<String>,
    /// The beginning of the body.
    pub(crate) summary: String,
}

/// A body that is no JSON, or no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Go's words.
    pub(crate) why: String,
    /// The beginning of the body.
    pub(crate) summary: String,
}

/// The name of a member that only marks that another was written again.
pub(crate) fn mark_of(key: &str) -> Option<&str> {
    let (name, count) = key.split_once('\0')?;
    (!count.is_empty()).then_some(name)
}

/// Takes the marks out of a value.
pub(crate) fn plain(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| mark_of(key).is_none());
            map.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

/// Reads a body. `null` reads as an empty object, as it does into a Go struct.
pub(crate) fn parse(body: &[u8]) -> Result<Parsed, Unreadable> {
    let unreadable = |why: String| Unreadable {
        why,
        summary: summary(body),
    };
    let doubled = Cell::new(false);
    let value = run(
        body,
        &Reader {
            doubled: &doubled,
            paths: None,
        },
    );
    let mut parsed = match value {
        Ok(value) => Parsed {
            value,
            doubled: Vec::new(),
            repeated: Vec::new(),
            summary: summary(body),
        },
        Err(fault) => {
            let why = syntax_fault(body).unwrap_or_else(|| {
                if fault.to_string().contains("recursion limit") {
                    "exceeded max depth".to_owned()
                } else {
                    fault.to_string()
                }
            });
            return Err(unreadable(format!(
                "couldn't get version/kind; json parse error: {why}"
            )));
        }
    };
    if doubled.get() {
        let paths = RefCell::new(Paths::default());
        let reader = Reader {
            doubled: &doubled,
            paths: Some(&paths),
        };
        // It was read once already.
        if let Ok(value) = run(body, &reader) {
            parsed.value = value;
        }
        parsed.doubled = paths.into_inner().found;
    }
    if parsed.value.is_null() {
        parsed.value = Value::Object(Map::new());
    }
    Ok(parsed)
}

fn run(body: &[u8], reader: &Reader<'_>) -> Result<Value, serde_json::Error> {
    let mut source = serde_json::Deserializer::from_slice(body);
    let value = reader.deserialize(&mut source)?;
    source.end()?;
    Ok(value)
}

/// How a refusal shows a body.
pub(crate) fn summary(body: &[u8]) -> String {
    use std::fmt::Write as _;
    let head = body.get(..30).unwrap_or(body);
    let more = if body.len() > 30 { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => {
            let mut hex = String::new();
            for byte in head {
                let _ = write!(hex, "{byte:02x}");
            }
            hex.push_str(more);
            hex
        }
    }
}

#[derive(Default)]
struct Paths {
    at: String,
    found: Vec<String>,
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    doubled: &'a Cell<bool>,
    paths: Option<&'a RefCell<Paths>>,
}

impl Reader<'_> {
    /// Reads what is below a member or an item.
    fn within<T>(&self, step: impl FnOnce(&mut String), read: impl FnOnce() -> T) -> T {
        let Some(paths) = self.paths else {
            return read();
        };
        let before = {
            let at = &mut paths.borrow_mut().at;
            let before = at.len();
            step(at);
            before
        };
        let out = read();
        paths.borrow_mut().at.truncate(before);
        out
    }
}

impl<'de> DeserializeSeed<'de> for &Reader<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        use fmt::Write as _;
        let mut out = Vec::new();
        loop {
            let at = out.len();
            let next = self.within(
                |path| {
                    let _ = write!(path, "[{at}]");
                },
                || items.next_element_seed(self),
            )?;
            match next {
                Some(value) => out.push(value),
                None => return Ok(Value::Array(out)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = self.within(
                |path| {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&key);
                },
                || members.next_value_seed(self),
            )?;
            let Some(paths) = self.paths else {
                if out.insert(key, value).is_some() {
                    self.doubled.set(true);
                }
                continue;
            };
            if out.contains_key(&key) {
                let mut paths = paths.borrow_mut();
                let path = match paths.at.as_str() {
                    "" => key.clone(),
                    at => format!("{at}.{key}"),
                };
                if !paths.found.contains(&path) {
                    paths.found.push(path);
                }
                out.insert(format!("{key}\0{}", out.len()), Value::Null);
            }
            out.insert(key, value);
        }
        Ok(Value::Object(out))
    }
}

/// Where a byte is found, as far as Go's scanner tells it.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Top,
    Key,
    Member,
    Item,
}

/// What Go's scanner says of a text that is no JSON; none when it has nothing to say.
fn syntax_fault(body: &[u8]) -> Option<String> {
    let mut stack: Vec<Place> = Vec::new();
    let mut at = 0;
    let end = || Some("unexpected end of JSON input".to_owned());
    let bad = |byte: u8, context: &str| {
        let shown = match char::from(byte) {
            '\'' => "\\'".to_owned(),
            '"' => "\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            c if u32::from(c) < 0x20 || c == '\x7f' => format!("\\x{byte:02x}"),
            c if u32::from(c) >= 0x80 && c.is_control() => format!("\\u{byte:04x}"),
            c => c.to_string(),
        };
        Some(format!("invalid character '{shown}' {context}"))
    };
    let space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let mut value_next = true;
    loop {
        while body.get(at).is_some_and(|b| space(*b)) {
            at += 1;
        }
        if value_next {
            let Some(&byte) = body.get(at) else {
                return end();
            };
            match byte {
                b'{' | b'[' => {
                    at += 1;
                    if stack.len() >= DEEP {
                        return bad(byte, "exceeded max depth");
                    }
                    while body.get(at).is_some_and(|b| space(*b)) {
                        at += 1;
                    }
                    let Some(&next) = body.get(at) else {
                        return end();
                    };
                    if byte == b'[' {
                        if next == b']' {
                            at += 1;
                            value_next = false;
                        } else {
                            stack.push(Place::Item);
                        }
                        continue;
                    }
                    match next {
                        b'}' => {
                            at += 1;
                            value_next = false;
                        }
                        b'"' => {
                            stack.push(Place::Key);
                            at += 1;
                            match string(body, &mut at) {
                                Ok(()) => value_next = false,
                                Err(fault) => return fault.map_or_else(end, |(b, c)| bad(b, c)),
                            }
                        }
                        other => return bad(other, "looking for beginning of object key string"),
                    }
                    continue;
                }
                b'"' => {
                    at += 1;
                    if let Err(fault) = string(body, &mut at) {
                        return fault.map_or_else(end, |(b, c)| bad(b, c));
                    }
                }
                b'-' | b'0'..=b'9' => {
                    if let Err(fault) = number(body, &mut at) {
                        return fault.map_or_else(end, |(b, c)| bad(b, c));
                    }
                }
                b't' | b'f' | b'n' => {
                    let word: &[u8] = match byte {
                        b't' => b"true",
                        b'f' => b"false",
                        _ => b"null",
                    };
                    for wanted in word {
                        match body.get(at) {
                            None => return end(),
                            Some(found) if found != wanted => {
                                let word = String::from_utf8_lossy(word);
                                let context = format!(
                                    "in literal {word} (expecting '{}')",
                                    char::from(*wanted)
                                );
                                return bad(*found, &context);
                            }
                            Some(_) => at += 1,
                        }
                    }
                }
                other => return bad(other, "looking for beginning of value"),
            }
            value_next = false;
            continue;
        }
        // After a value or a key.
        let place = stack.last().copied().unwrap_or(Place::Top);
        let Some(&byte) = body.get(at) else {
            return if place == Place::Top { None } else { end() };
        };
        at += 1;
        match (place, byte) {
            (Place::Top, _) => return bad(byte, "after top-level value"),
            (Place::Key, b':') => {
                stack.pop();
                stack.push(Place::Member);
                value_next = true;
            }
            (Place::Key, _) => return bad(byte, "after object key"),
            (Place::Member, b',') => {
                while body.get(at).is_some_and(|b| space(*b)) {
                    at += 1;
                }
                match body.get(at) {
                    None => return end(),
                    Some(b'"') => {
                        at += 1;
                        if let Err(fault) = string(body, &mut at) {
                            return fault.map_or_else(end, |(b, c)| bad(b, c));
                        }
                        stack.pop();
                        stack.push(Place::Key);
                    }
                    Some(other) => {
                        return bad(*other, "looking for beginning of object key string");
                    }
                }
            }
            (Place::Member, b'}') | (Place::Item, b']') => {
                stack.pop();
            }
            (Place::Member, _) => return bad(byte, "after object key:value pair"),
            (Place::Item, b',') => value_next = true,
            (Place::Item, _) => return bad(byte, "after array element"),
        }
    }
}

/// What is wrong inside a text or number: a byte and its context, or none at the end of the body.
type Inside = Option<(u8, &'static str)>;

/// Passes over a text whose first quote was read.
fn string(body: &[u8], at: &mut usize) -> Result<(), Inside> {
    let mut next = || {
        let byte = body.get(*at).copied().ok_or(None);
        *at += 1;
        byte
    };
    loop {
        match next()? {
            b'"' => return Ok(()),
            b'\\' => match next()? {
                b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                b'u' => {
                    for _ in 0..4 {
                        let digit = next()?;
                        if !digit.is_ascii_hexdigit() {
                            return Err(Some((digit, "in \\u hexadecimal character escape")));
                        }
                    }
                }
                other => return Err(Some((other, "in string escape code"))),
            },
            byte if byte < 0x20 => return Err(Some((byte, "in string literal"))),
            _ => {}
        }
    }
}

/// Passes over a number.
fn number(body: &[u8], at: &mut usize) -> Result<(), Inside> {
    let peek = |at: usize| body.get(at).copied();
    let digits = |at: &mut usize| {
        while peek(*at).is_some_and(|b| b.is_ascii_digit()) {
            *at += 1;
        }
    };
    let digit = |at: &mut usize, context: &'static str| match peek(*at) {
        Some(b) if b.is_ascii_digit() => Ok(b),
        Some(b) => Err(Some((b, context))),
        None => Err(None),
    };
    if peek(*at) == Some(b'-') {
        *at += 1;
    }
    if digit(at, "in numeric literal")? == b'0' {
        *at += 1;
    } else {
        digits(at);
    }
    if peek(*at) == Some(b'.') {
        *at += 1;
        digit(at, "after decimal point in numeric literal")?;
        digits(at);
    }
    if matches!(peek(*at), Some(b'e' | b'E')) {
        *at += 1;
        if matches!(peek(*at), Some(b'+' | b'-')) {
            *at += 1;
        }
        digit(at, "in exponent of numeric literal")?;
        digits(at);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_no_json_is_told_as_go_tells_it() {
        let table = [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            (
                "{\"a\":tru}",
                "invalid character '}' in literal true (expecting 'e')",
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            (
                "{a:1}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 \"b\"}",
                "invalid character '\"' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            (
                "{\"a\":\"\n\"}",
                "invalid character '\\n' in string literal",
            ),
            (
                "{\"a\":\"\\x\"}",
                "invalid character 'x' in string escape code",
            ),
            (
                "{\"a\":01}",
                "invalid character '1' after object key:value pair",
            ),
            (
                "{\"a\":1.}",
                "invalid character '}' after decimal point in numeric literal",
            ),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
        ];
        for (body, why) in table {
            let fault = parse(body.as_bytes()).expect_err(body);
            assert_eq!(
                fault.why,
                format!("couldn't get version/kind; json parse error: {why}"),
                "{body}"
            );
        }
        assert_eq!(parse(b"x").expect_err("no JSON").summary, "78");
        assert_eq!(parse(b"").expect_err("no JSON").summary, "<empty>");
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        assert!(
            parse(deep.as_bytes())
                .expect_err("deep")
                .why
                .ends_with("exceeded max depth")
        );
    }

    #[test]
    fn members_written_twice_are_named_and_the_last_counts() {
        let mut parsed = parse(br#"{"a":1,"b":{"c":[{"d":1,"d":2,"d":3}]},"a":2}"#).expect("JSON");
        assert_eq!(parsed.doubled, ["b.c[0].d", "a"]);
        plain(&mut parsed.value);
        assert_eq!(parsed.value, json!({"a": 2, "b": {"c": [{"d": 3}]}}));
        assert_eq!(parse(b"null").expect("JSON").value, json!({}));
        assert_eq!(parse(br#"{"a\u0000":1}"#).expect("JSON").doubled, [""; 0]);
    }
}
