//! Owns the tests of validation by schema.

use super::*;
use serde_json::json;

fn said(schema: &Value, value: &Value) -> Vec<String> {
    let causes = judge(value, None, &Structural::read(schema), Vec::new()).causes;
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
        ["spec: Invalid value: \"b\": spec in body should be at least 2 chars long"]
    );
    let object = json!({"type": "object", "required": ["a"], "properties": {
        "l": {"type": "array", "items": {"type": "string", "format": "date-time"}, "maxItems": 1}}});
    assert_eq!(
        spec(&object, &json!({"l": ["2020-01-01T00:00:00Z", "x"]})),
        [
            "spec.l[1]: Invalid value: \"x\": spec.l[1] in body must be of type date-time: \"x\"",
            "spec.l: Too many: 2: must have at most 1 item",
            "spec.a: Required value"
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
