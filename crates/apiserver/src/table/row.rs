//! Owns how cells read an object: texts, numbers, lists and the forms that many kinds share.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use weir_object::path;

use super::age;

/// An object whose cells are made, at an instant.
pub(super) struct Row<'a> {
    pub(super) object: &'a Value,
    pub(super) now: Timestamp,
}

impl<'a> Row<'a> {
    pub(super) fn get(&self, p: &[&str]) -> Option<&'a Value> {
        path::get(self.object, p).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, p: &[&str]) -> &'a str {
        path::text(self.object, p)
    }

    pub(super) fn number(&self, p: &[&str]) -> i64 {
        self.get(p).and_then(Value::as_i64).unwrap_or_default()
    }

    pub(super) fn truth(&self, p: &[&str]) -> bool {
        self.get(p).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn list(&self, p: &[&str]) -> &'a [Value] {
        self.get(p)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The members of a map.
    pub(super) fn size(&self, p: &[&str]) -> i64 {
        self.get(p)
            .and_then(Value::as_object)
            .map_or(0, |map| map.len() as i64)
    }

    pub(super) fn text_or(&self, p: &[&str], other: &str) -> Value {
        let text = self.text(p);
        if text.is_empty() { other } else { text }.into()
    }

    pub(super) fn since(&self, p: &[&str]) -> Value {
        age(self.text(p), self.now).into()
    }

    pub(super) fn age(&self) -> Value {
        self.since(&["metadata", "creationTimestamp"])
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.get(&["metadata", "deletionTimestamp"]).is_some()
    }

    /// Names and images of the containers of a template.
    pub(super) fn containers(&self, p: &[&str]) -> [Value; 2] {
        ["name", "image"].map(|field| {
            let each = self.list(p).iter().map(|c| path::text(c, &[field]));
            each.collect::<Vec<_>>().join(",").into()
        })
    }

    /// Labels as `a=b,c=d`.
    pub(super) fn labels(&self, p: &[&str]) -> Value {
        let map = self.get(p).and_then(Value::as_object);
        let mut pairs: Vec<String> = map
            .into_iter()
            .flatten()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect();
        pairs.sort();
        or_none(pairs.join(","))
    }

    /// A label selector; everything and nothing are both `<none>`.
    pub(super) fn selector(&self, p: &[&str]) -> Value {
        or_none(selector(self.get(p)))
    }

    /// Whether a condition of that type holds.
    pub(super) fn holds(&self, condition: &str) -> bool {
        self.list(&["status", "conditions"])
            .iter()
            .find(|c| path::text(c, &["type"]) == condition)
            .is_some_and(|c| path::text(c, &["status"]) == "True")
    }
}

pub(super) fn or_none(text: String) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

/// A selector's requirements in the order of their keys.
pub(super) fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else {
        return String::new();
    };
    let mut out: Vec<(String, String)> = Vec::new();
    let pairs = selector.get("matchLabels").and_then(Value::as_object);
    for (key, value) in pairs.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        out.push((key.clone(), format!("{key}={value}")));
    }
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = path::text(expression, &["key"]);
        let values: BTreeSet<&str> = expression
            .get("values")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values = values.into_iter().collect::<Vec<_>>().join(",");
        let text = match path::text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".to_owned(),
        };
        out.push((key.to_owned(), text));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    let texts: Vec<String> = out.into_iter().map(|(_, text)| text).collect();
    texts.join(",")
}

/// The first few of many, and how many more there are.
pub(super) fn few(all: &[String], most: usize, otherwise: &str) -> String {
    let shown = all.get(..most).unwrap_or(all).join(",");
    match all.len().checked_sub(most) {
        Some(more) if more > 0 => format!("{shown} + {more} more..."),
        _ if shown.is_empty() => otherwise.to_owned(),
        _ => shown,
    }
}

/// A number or a text, as text.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `True` or `False`.
pub(super) fn capital(truth: bool) -> &'static str {
    if truth { "True" } else { "False" }
}
