//! Owns validation by a structural schema, with the field paths and words that people know from
//! the API. It refuses to change the value.

use serde_json::Value;

use super::{Additional, Structural, Type};
use crate::refusal::{Cause, shown};

/// No more causes than this are gathered for one object.
const CAUSES: usize = 100;

/// All that is wrong with a value. `root` is an object whose `apiVersion`, `kind` and `metadata`
/// are checked elsewhere.
pub(crate) fn validate(value: &Value, schema: &Structural, root: bool) -> Vec<Cause> {
    let mut out = Vec::new();
    check(value, schema, "", root, &mut out);
    out.truncate(CAUSES);
    out
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn has_type(value: &Value, kind: Type) -> bool {
    match kind {
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Boolean => value.is_boolean(),
        Type::Number => value.is_number(),
        Type::Integer => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0)
        }
    }
}

fn bad(path: &str, value: &Value, detail: &str) -> Cause {
    Cause::invalid(path, value, &format!("{path} in body {detail}"))
}

fn wrong_type(path: &str, value: &Value, wanted: &str) -> Cause {
    let found = type_of(value);
    Cause {
        reason: "FieldValueTypeInvalid",
        message: format!(
            "Invalid value: \"{found}\": {path} in body must be of type {wanted}: \"{found}\""
        ),
        field: path.to_owned(),
    }
}

fn check(value: &Value, schema: &Structural, path: &str, root: bool, out: &mut Vec<Cause>) {
    if out.len() >= CAUSES {
        return;
    }
    if value.is_null() && schema.nullable {
        return;
    }
    if schema.int_or_string {
        if !(value.is_string() || has_type(value, Type::Integer)) {
            out.push(wrong_type(path, value, "integer,string"));
            return;
        }
    } else if let Some(kind) = schema.kind
        && !has_type(value, kind)
    {
        out.push(wrong_type(path, value, kind.name()));
        return;
    }
    if let Some(values) = &schema.one_of_values
        && !values.contains(value)
    {
        let supported: Vec<String> = values.iter().map(Value::to_string).collect();
        out.push(Cause {
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: {}: supported values: {}",
                shown(value),
                supported.join(", ")
            ),
            field: path.to_owned(),
        });
    }
    match value {
        Value::String(text) => check_text(value, text, schema, path, out),
        Value::Number(_) => check_number(value, schema, path, out),
        Value::Array(items) => check_list(value, items, schema, path, out),
        Value::Object(map) => check_map(value, map, schema, path, root, out),
        _ => {}
    }
    check_logic(value, schema, path, out);
}

fn check_text(value: &Value, text: &str, schema: &Structural, path: &str, out: &mut Vec<Cause>) {
    let length = || text.chars().count() as u64;
    if let Some(min) = schema.min_length.filter(|min| length() < *min) {
        out.push(bad(
            path,
            value,
            &format!("should be at least {min} chars long"),
        ));
    }
    if let Some(max) = schema.max_length.filter(|max| length() > *max) {
        out.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {max} bytes"),
            field: path.to_owned(),
        });
    }
    if let Some((pattern, Some(regex))) = &schema.pattern
        && !regex.is_match(text)
    {
        out.push(bad(path, value, &format!("should match '{pattern}'")));
    }
    if let Some(format) = &schema.format
        && !has_format(text, format)
    {
        out.push(bad(
            path,
            value,
            &format!("must be of type {format}: {value}"),
        ));
    }
}

/// Formats that the API enforces; the others are documentation.
fn has_format(text: &str, format: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .is_ok()
        }
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "uri" => url::Url::parse(text).is_ok() || text.starts_with('/'),
        "uuid" => {
            text.len() == 36
                && text.char_indices().all(|(i, c)| {
                    if matches!(i, 8 | 13 | 18 | 23) {
                        c == '-'
                    } else {
                        c.is_ascii_hexdigit()
                    }
                })
        }
        "duration" => is_go_duration(text),
        _ => true,
    }
}

fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        if rest[..number].parse::<f64>().is_err() {
            return false;
        }
        rest = &rest[number..];
        let Some(tail) = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"]
            .into_iter()
            .find_map(|unit| rest.strip_prefix(unit))
        else {
            return false;
        };
        rest = tail;
    }
    true
}

fn check_number(value: &Value, schema: &Structural, path: &str, out: &mut Vec<Cause>) {
    let Some(number) = value.as_f64() else { return };
    match schema.minimum {
        Some((min, true)) if number <= min => {
            out.push(bad(path, value, &format!("should be greater than {min}")));
        }
        Some((min, false)) if number < min => {
            out.push(bad(
                path,
                value,
                &format!("should be greater than or equal to {min}"),
            ));
        }
        _ => {}
    }
    match schema.maximum {
        Some((max, true)) if number >= max => {
            out.push(bad(path, value, &format!("should be less than {max}")));
        }
        Some((max, false)) if number > max => {
            out.push(bad(
                path,
                value,
                &format!("should be less than or equal to {max}"),
            ));
        }
        _ => {}
    }
    if let Some(of) = schema.multiple_of
        && of != 0.0
        && (number / of).fract() != 0.0
    {
        out.push(bad(path, value, &format!("should be a multiple of {of}")));
    }
    if schema.format.as_deref() == Some("int32")
        && value.as_i64().is_none_or(|n| i32::try_from(n).is_err())
    {
        out.push(bad(
            path,
            value,
            &format!("must be of type int32: \"{}\"", type_of(value)),
        ));
    }
}

fn too_many(path: &str, count: usize, max: u64) -> Cause {
    Cause {
        reason: "FieldValueTooMany",
        message: format!("Too many: {count}: must have at most {max} items"),
        field: path.to_owned(),
    }
}

fn check_list(
    value: &Value,
    items: &[Value],
    schema: &Structural,
    path: &str,
    out: &mut Vec<Cause>,
) {
    let count = items.len() as u64;
    if let Some(min) = schema.min_items.filter(|min| count < *min) {
        out.push(Cause::invalid(
            path,
            &count.into(),
            &format!("{path} in body should have at least {min} items"),
        ));
    }
    if let Some(max) = schema.max_items.filter(|max| count > *max) {
        out.push(too_many(path, items.len(), max));
    }
    if schema.unique && (1..items.len()).any(|i| items[..i].contains(&items[i])) {
        out.push(bad(path, value, "shouldn't contain duplicates"));
    }
    let mut duplicate = |i: usize, shown_as: &Value| {
        out.push(Cause {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {shown_as}"),
            field: format!("{path}[{i}]"),
        });
    };
    if schema.list_set {
        for (i, item) in items.iter().enumerate() {
            if items[..i].contains(item) {
                duplicate(i, item);
            }
        }
    }
    if let Some(keys) = &schema.list_keys {
        let mut seen: Vec<Value> = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let key: Value = keys
                .iter()
                .filter_map(|key| Some((key.clone(), item.get(key)?.clone())))
                .collect::<serde_json::Map<_, _>>()
                .into();
            if seen.contains(&key) {
                duplicate(i, &key);
            } else {
                seen.push(key);
            }
        }
    }
    if let Some(of) = &schema.items {
        for (i, item) in items.iter().enumerate() {
            check(item, of, &format!("{path}[{i}]"), false, out);
        }
    }
}

fn check_map(
    value: &Value,
    map: &serde_json::Map<String, Value>,
    schema: &Structural,
    path: &str,
    root: bool,
    out: &mut Vec<Cause>,
) {
    for name in &schema.required {
        if !map.contains_key(name) {
            out.push(Cause::required(join(path, name), ""));
        }
    }
    let count = map.len() as u64;
    if let Some(min) = schema.min_properties.filter(|min| count < *min) {
        out.push(bad(
            path,
            value,
            &format!("should have at least {min} properties"),
        ));
    }
    if let Some(max) = schema.max_properties.filter(|max| count > *max) {
        out.push(too_many(path, map.len(), max));
    }
    for (name, value) in map {
        if root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        if let Some(of) = schema.properties.get(name) {
            check(value, of, &join(path, name), false, out);
        } else if let Additional::Each(of) = &schema.additional {
            check(value, of, &join(path, name), false, out);
        }
    }
    if schema.embedded {
        for name in ["apiVersion", "kind"] {
            if map
                .get(name)
                .and_then(Value::as_str)
                .is_none_or(str::is_empty)
            {
                out.push(Cause::required(join(path, name), "must not be empty"));
            }
        }
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`. Inner causes of `anyOf` and `oneOf` are told only when
/// there is one way to go.
fn check_logic(value: &Value, schema: &Structural, path: &str, out: &mut Vec<Cause>) {
    let passes = |of: &Structural| {
        let mut inner = Vec::new();
        check(value, of, path, false, &mut inner);
        inner.is_empty()
    };
    let say = |detail: &str| Cause {
        reason: "FieldValueInvalid",
        message: format!("Invalid value: \"\": \"{path}\" {detail}"),
        field: "<nil>".to_owned(),
    };
    for of in &schema.all_of {
        let mut inner = Vec::new();
        check(value, of, path, false, &mut inner);
        if !inner.is_empty() {
            out.push(say("must validate all the schemas (allOf)"));
            out.append(&mut inner);
        }
    }
    if !schema.any_of.is_empty() && !schema.any_of.iter().any(passes) {
        out.push(say("must validate at least one schema (anyOf)"));
        closest(value, &schema.any_of, path, out);
    }
    if !schema.one_of.is_empty() {
        match schema.one_of.iter().filter(|of| passes(of)).count() {
            1 => {}
            0 => {
                out.push(say(
                    "must validate one and only one schema (oneOf). Found none valid",
                ));
                closest(value, &schema.one_of, path, out);
            }
            count => out.push(say(&format!(
                "must validate one and only one schema (oneOf). Found {count} valid alternatives"
            ))),
        }
    }
    if let Some(not) = &schema.not
        && passes(not)
    {
        out.push(say("must not validate the schema (not)"));
    }
}

/// The causes of the alternative that fails least.
fn closest(value: &Value, alternatives: &[Structural], path: &str, out: &mut Vec<Cause>) {
    let least = alternatives
        .iter()
        .map(|of| {
            let mut inner = Vec::new();
            check(value, of, path, false, &mut inner);
            inner
        })
        .min_by_key(Vec::len);
    out.extend(least.into_iter().flatten());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(schema: &Value, value: &Value) -> Vec<String> {
        let causes = validate(value, &Structural::read(schema), true);
        causes
            .into_iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect()
    }

    fn spec(schema: &Value, value: &Value) -> Vec<String> {
        said(
            &json!({"type": "object", "properties": {"spec": schema}}),
            &json!({"apiVersion": "x", "kind": "y", "metadata": {}, "spec": value}),
        )
    }

    #[test]
    fn causes_carry_paths_and_known_words() {
        let int = json!({"type": "integer", "minimum": 1, "maximum": 3, "format": "int32"});
        assert_eq!(
            spec(&int, &json!("x")),
            ["spec: Invalid value: \"string\": spec in body must be of type integer: \"string\""]
        );
        assert_eq!(
            spec(&int, &json!(0)),
            ["spec: Invalid value: 0: spec in body should be greater than or equal to 1"]
        );
        assert_eq!(
            spec(&int, &json!(9)),
            ["spec: Invalid value: 9: spec in body should be less than or equal to 3"]
        );
        let text = json!({"type": "string", "enum": ["a", "b"]});
        assert_eq!(
            spec(&text, &json!("c")),
            ["spec: Unsupported value: \"c\": supported values: \"a\", \"b\""]
        );
        let pattern = json!({"type": "string", "pattern": "^a+$", "minLength": 2});
        assert_eq!(
            spec(&pattern, &json!("b")),
            [
                "spec: Invalid value: \"b\": spec in body should be at least 2 chars long",
                "spec: Invalid value: \"b\": spec in body should match '^a+$'"
            ]
        );
        let object = json!({"type": "object", "required": ["a"], "properties": {
            "l": {"type": "array", "items": {"type": "string", "format": "date-time"}, "maxItems": 1}}});
        assert_eq!(
            spec(&object, &json!({"l": ["2020-01-01T00:00:00Z", "x"]})),
            [
                "spec.a: Required value",
                "spec.l: Too many: 2: must have at most 1 items",
                "spec.l[1]: Invalid value: \"x\": spec.l[1] in body must be of type date-time: \"x\""
            ]
        );
    }

    #[test]
    fn logic_and_lists_are_checked() {
        let one = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        assert_eq!(spec(&one, &json!({"a": "x"})), Vec::<String>::new());
        assert_eq!(
            spec(&one, &json!({"a": "x", "b": "y"})),
            [
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). \
              Found 2 valid alternatives"
            ]
        );
        assert_eq!(
            spec(&one, &json!({})),
            [
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). \
                 Found none valid",
                "spec.a: Required value"
            ]
        );
        let not = json!({"not": {"required": ["x"]}});
        assert_eq!(
            spec(&not, &json!({"x": 1})),
            ["<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)"]
        );
        let map = json!({"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}}});
        assert_eq!(
            spec(&map, &json!([{"name": "a"}, {"name": "a"}])),
            ["spec[1]: Duplicate value: {\"name\":\"a\"}"]
        );
        let either = json!({"x-kubernetes-int-or-string": true});
        assert_eq!(spec(&either, &json!("50%")), Vec::<String>::new());
        assert_eq!(spec(&either, &json!([])).len(), 1);
    }
}
