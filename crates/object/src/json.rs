//! Owns the words for JSON's types, as Go's decoders use them in what they complain of.

use serde_json::Value;

/// The type of a value: `null`, `bool`, `number`, `string`, `array` or `object`.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
