//! Owns the structural difference of two JSON values: which paths were added, removed or changed.
//! It compares lists by index; keyed lists need a schema and belong to `weir-merge`.

use serde_json::Value;

/// One differing path.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where, as `spec.template.spec.containers[0].image`.
    pub path: String,
    /// The value before; `None` where it was absent.
    pub before: Option<Value>,
    /// The value after; `None` where it is absent.
    pub after: Option<Value>,
}

/// All differing paths, in the order in which a reader meets them.
pub fn diff(before: &Value, after: &Value) -> Vec<Change> {
    let mut out = Vec::new();
    walk("", Some(before), Some(after), &mut out);
    out
}

fn walk(path: &str, before: Option<&Value>, after: Option<&Value>, out: &mut Vec<Change>) {
    match (before, after) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for (key, value) in a {
                walk(&join(path, key), Some(value), b.get(key), out);
            }
            for (key, value) in b {
                if !a.contains_key(key) {
                    walk(&join(path, key), None, Some(value), out);
                }
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for i in 0..a.len().max(b.len()) {
                walk(&format!("{path}[{i}]"), a.get(i), b.get(i), out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push(Change {
            path: path.to_owned(),
            before: a.cloned(),
            after: b.cloned(),
        }),
    }
}

fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", Value::String(key.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_each_differing_path() {
        let a = json!({"a": {"b": 1, "app/x": 2}, "l": [1, 2]});
        let b = json!({"a": {"b": 1, "app/x": 3}, "l": [1], "n": true});
        let paths: Vec<String> = diff(&a, &b).into_iter().map(|c| c.path).collect();
        assert_eq!(paths, ["a[\"app/x\"]", "l[1]", "n"]);
        assert_eq!(diff(&a, &a), []);
    }
}
