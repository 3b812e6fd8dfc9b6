//! Owns the canonical text of a JSON value and its digest: keys sorted, no white space.
//! Numbers are written as `serde_json` writes them, so a value that went through the API once is
//! stable.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The value as JSON with sorted keys and no white space.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// `sha256:` and the hexadecimal digest of the canonical text.
pub fn digest(value: &Value) -> String {
    use std::fmt::Write as _;
    let sum = Sha256::digest(canonical(value).as_bytes());
    let mut out = String::with_capacity(71);
    out.push_str("sha256:");
    for byte in sum {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn key_order_does_not_matter() {
        let a = json!({"b": [1, {"d": 1, "c": 2}], "a": "x"});
        let b = json!({"a": "x", "b": [1, {"c": 2, "d": 1}]});
        assert_eq!(canonical(&a), r#"{"a":"x","b":[1,{"c":2,"d":1}]}"#);
        assert_eq!(digest(&a), digest(&b));
    }
}
