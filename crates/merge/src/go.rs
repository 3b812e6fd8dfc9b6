//! Owns how Go prints decoded JSON, for messages that the API server words by printing values.

use serde_json::Value;

/// The Go type of a decoded value, as `%T` prints it.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A decoded value as `%v` prints it; `typed`, as `%#v` does, with the types of what is in it.
pub fn printed(value: &Value, typed: bool) -> String {
    match value {
        Value::Null if typed => "interface {}(nil)".to_owned(),
        Value::Null => "<nil>".to_owned(),
        Value::String(text) if !typed => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|v| printed(v, typed)).collect();
            if typed {
                format!("[]interface {{}}{{{}}}", items.join(", "))
            } else {
                format!("[{}]", items.join(" "))
            }
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let pairs = keys.into_iter().filter_map(|key| {
                let value = printed(map.get(key)?, typed);
                Some(if typed {
                    format!("{key:?}:{value}")
                } else {
                    format!("{key}:{value}")
                })
            });
            let pairs: Vec<String> = pairs.collect();
            if typed {
                format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
            } else {
                format!("map[{}]", pairs.join(" "))
            }
        }
        other => other.to_string(),
    }
}
