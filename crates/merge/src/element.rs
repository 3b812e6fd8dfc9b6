//! Owns one step of a field path: its order, its `fieldsV1` text and its text in messages. The
//! order is the API server's, since it is the order of `managedFields` as stored.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// A path of fields, from the object down.
pub type Path = Vec<PathElement>;

/// One step of a path. They sort fields first, then keys, values and positions.
#[derive(Debug, Clone)]
pub enum PathElement {
    /// A member of a map.
    Field(String),
    /// The item of a keyed list with these key fields, sorted by name.
    Key(Vec<(String, Value)>),
    /// The item of a set with this value.
    Value(Value),
    /// The item at this position.
    Index(i64),
}

/// Text that is not `fieldsV1`. Terminal: the entry it comes from must be rewritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no step of a field path; managedFields must hold what an API server wrote")]
pub struct UnreadableFields {
    /// The text met.
    pub text: String,
}

impl PathElement {
    /// Reads a key of `fieldsV1`; none when its kind is unknown.
    pub fn parse(text: &str) -> Result<Option<Self>, UnreadableFields> {
        let unreadable = || UnreadableFields {
            text: text.to_owned(),
        };
        let (kind, rest) = text.split_once(':').ok_or_else(unreadable)?;
        Ok(match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "v" => Some(Self::Value(
                serde_json::from_str(rest).map_err(|_| unreadable())?,
            )),
            "i" => Some(Self::Index(rest.parse().map_err(|_| unreadable())?)),
            "k" => {
                let map: serde_json::Map<String, Value> =
                    serde_json::from_str(rest).map_err(|_| unreadable())?;
                Some(Self::key(map.into_iter().collect()))
            }
            kind if kind.len() == 1 => None,
            _ => return Err(unreadable()),
        })
    }

    /// The step to the item with these key fields.
    pub fn key(mut fields: Vec<(String, Value)>) -> Self {
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Key(fields)
    }

    /// The key of `fieldsV1`.
    pub fn text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Value(value) => format!("v:{}", json_text(value)),
            Self::Index(at) => format!("i:{at}"),
            Self::Key(fields) => {
                let mut out = String::from("k:{");
                for (i, (name, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(&Value::String(name.clone()).to_string());
                    out.push(':');
                    out.push_str(&json_text(value));
                }
                out.push('}');
                out
            }
        }
    }
}

/// JSON as Go writes it: what would matter within HTML is escaped.
pub(crate) fn json_text(value: &Value) -> String {
    let text = weir_object::canonical(value);
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// The text of a path in messages, such as `.spec.containers[name="app"].image`.
pub(crate) fn shown(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(at) => write!(f, "[{at}]"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={value}", if i > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
        }
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => compare_keys(a, b),
            (Self::Value(a), Self::Value(b)) => compare(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PathElement {
    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PathElement {}

fn compare_keys(a: &[(String, Value)], b: &[(String, Value)]) -> Ordering {
    for ((an, av), (bn, bv)) in a.iter().zip(b) {
        let order = an.cmp(bn).then_with(|| compare(av, bv));
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// A total order of values; numbers compare by amount whatever they were written as.
pub(crate) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            if let (Some(x), Some(y)) = (x.as_i64(), y.as_i64()) {
                x.cmp(&y)
            } else {
                let (x, y) = (x.as_f64().unwrap_or(0.0), y.as_f64().unwrap_or(0.0));
                x.partial_cmp(&y).unwrap_or(Ordering::Equal)
            }
        }
        (Value::String(x), Value::String(y)) => x.cmp(y),
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        (Value::Array(x), Value::Array(y)) => {
            for (i, j) in x.iter().zip(y) {
                let order = compare(i, j);
                if order != Ordering::Equal {
                    return order;
                }
            }
            x.len().cmp(&y.len())
        }
        (Value::Object(x), Value::Object(y)) => {
            let sorted = |map: &serde_json::Map<String, Value>| {
                let mut rows: Vec<(String, Value)> = map
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                rows.sort_by(|p, q| p.0.cmp(&q.0));
                rows
            };
            compare_keys(&sorted(x), &sorted(y))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

/// Whether two values are the same; `1` and `1.0` are, and the order of members does not matter.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => compare(a, b) == Ordering::Equal,
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(i, j)| same(i, j))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter()
                    .all(|(name, i)| y.get(name).is_some_and(|j| same(i, j)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn steps_sort_as_the_api_server_sorts_them() {
        let mut steps = [
            PathElement::Index(1),
            PathElement::Value(json!("b")),
            PathElement::Value(json!(true)),
            PathElement::Value(json!(10)),
            PathElement::Value(json!(9.5)),
            PathElement::key(vec![("name".into(), json!("b"))]),
            PathElement::key(vec![("name".into(), json!("a"))]),
            PathElement::Field("z".into()),
        ];
        steps.sort();
        let texts: Vec<String> = steps.iter().map(PathElement::text).collect();
        assert_eq!(
            texts,
            [
                "f:z",
                "k:{\"name\":\"a\"}",
                "k:{\"name\":\"b\"}",
                "v:9.5",
                "v:10",
                "v:\"b\"",
                "v:true",
                "i:1"
            ]
        );
    }

    #[test]
    fn messages_name_fields_as_the_api_server_does() {
        let path = [
            PathElement::Field("ports".into()),
            PathElement::key(vec![
                ("protocol".into(), json!("TCP")),
                ("port".into(), json!(80)),
            ]),
            PathElement::Value(json!("x")),
        ];
        assert_eq!(shown(&path), r#".ports[port=80,protocol="TCP"][="x"]"#);
    }

    #[test]
    fn what_matters_in_html_is_escaped() {
        assert_eq!(
            PathElement::Value(json!("a<b&c")).text(),
            "v:\"a\\u003cb\\u0026c\""
        );
        assert_eq!(
            PathElement::parse("v:\"a\\u003cb\"").expect("good"),
            Some(PathElement::Value(json!("a<b")))
        );
    }
}
