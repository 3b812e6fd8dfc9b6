//! Owns what differs between two answers: places, each with both values. It refuses opinions.

use serde_json::{Map, Value};

/// One place where two answers differ.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// A JSON pointer into code, headers and body.
    pub(crate) place: String,
    pub(crate) ours: Option<Value>,
    pub(crate) real: Option<Value>,
}

/// All places where two values differ, in order.
pub(crate) fn differences(ours: &Value, real: &Value) -> Vec<Difference> {
    let mut out = Vec::new();
    walk(Some(ours), Some(real), String::new(), &mut out);
    if out.iter().any(|d| d.place == "/code") && out.len() > 2 {
        // One refused what the other did: the rest follows from it.
        const SAYS: [&str; 4] = ["/code", "/body/message", "/body/reason", "/headers/warning"];
        out.retain(|d| SAYS.iter().any(|says| d.place.starts_with(says)));
    }
    out
}

fn walk(ours: Option<&Value>, real: Option<&Value>, place: String, out: &mut Vec<Difference>) {
    match (ours, real) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for key in keys(a, b) {
                let at = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
                walk(a.get(key), b.get(key), at, out);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for index in 0..a.len().max(b.len()) {
                walk(a.get(index), b.get(index), format!("{place}/{index}"), out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push(Difference {
            place,
            ours: a.cloned(),
            real: b.cloned(),
        }),
    }
}

fn keys<'a>(a: &'a Map<String, Value>, b: &'a Map<String, Value>) -> Vec<&'a String> {
    let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// A value on one line, cut when it is long.
pub(crate) fn short(value: Option<&Value>) -> String {
    const MOST: usize = 400;
    let text = value.map_or_else(|| "(nothing)".to_owned(), Value::to_string);
    if text.chars().count() <= MOST {
        return text;
    }
    let cut: String = text.chars().take(MOST).collect();
    format!("{cut}… ({} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_place_is_told_once() {
        let ours = json!({"a": [1, {"b": 2}], "c": 3});
        let real = json!({"a": [1, {"b": 4}, 5], "d": 6});
        let places: Vec<String> = differences(&ours, &real)
            .into_iter()
            .map(|d| d.place)
            .collect();
        assert_eq!(places, ["/a/1/b", "/a/2", "/c", "/d"]);
    }
}
