//! Owns how schemas and rules are printed inside causes: by the names the API keeps them by, each
//! field of them.

use serde_json::{Map, Value, json};

enum Kind {
    Text,
    Flag,
    Value,
    Schema,
    List,
    Map,
    Items,
    Additional,
    Rules,
}

const FIELDS: [(&str, &str, Kind); 44] = [
    ("ID", "id", Kind::Text),
    ("Schema", "$schema", Kind::Text),
    ("Ref", "$ref", Kind::Value),
    ("Description", "description", Kind::Text),
    ("Type", "type", Kind::Text),
    ("Nullable", "nullable", Kind::Flag),
    ("Format", "format", Kind::Text),
    ("Title", "title", Kind::Text),
    ("Default", "default", Kind::Value),
    ("Maximum", "maximum", Kind::Value),
    ("ExclusiveMaximum", "exclusiveMaximum", Kind::Flag),
    ("Minimum", "minimum", Kind::Value),
    ("ExclusiveMinimum", "exclusiveMinimum", Kind::Flag),
    ("MaxLength", "maxLength", Kind::Value),
    ("MinLength", "minLength", Kind::Value),
    ("Pattern", "pattern", Kind::Text),
    ("MaxItems", "maxItems", Kind::Value),
    ("MinItems", "minItems", Kind::Value),
    ("UniqueItems", "uniqueItems", Kind::Flag),
    ("MultipleOf", "multipleOf", Kind::Value),
    ("Enum", "enum", Kind::Value),
    ("MaxProperties", "maxProperties", Kind::Value),
    ("MinProperties", "minProperties", Kind::Value),
    ("Required", "required", Kind::Value),
    ("Items", "items", Kind::Items),
    ("AllOf", "allOf", Kind::List),
    ("OneOf", "oneOf", Kind::List),
    ("AnyOf", "anyOf", Kind::List),
    ("Not", "not", Kind::Schema),
    ("Properties", "properties", Kind::Map),
    (
        "AdditionalProperties",
        "additionalProperties",
        Kind::Additional,
    ),
    ("PatternProperties", "patternProperties", Kind::Value),
    ("Dependencies", "dependencies", Kind::Value),
    ("AdditionalItems", "additionalItems", Kind::Value),
    ("Definitions", "definitions", Kind::Value),
    ("ExternalDocs", "externalDocs", Kind::Value),
    ("Example", "example", Kind::Value),
    (
        "XPreserveUnknownFields",
        "x-kubernetes-preserve-unknown-fields",
        Kind::Value,
    ),
    (
        "XEmbeddedResource",
        "x-kubernetes-embedded-resource",
        Kind::Flag,
    ),
    ("XIntOrString", "x-kubernetes-int-or-string", Kind::Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Kind::Value),
    ("XListType", "x-kubernetes-list-type", Kind::Value),
    ("XMapType", "x-kubernetes-map-type", Kind::Value),
    ("XValidations", "x-kubernetes-validations", Kind::Rules),
];

/// A schema with all its fields.
pub(super) fn schema(of: &Value) -> Value {
    let mut out = Map::new();
    for (name, key, kind) in &FIELDS {
        let given = of.get(*key);
        let all = |list: &Value| -> Value {
            let list = list.as_array();
            list.into_iter()
                .flatten()
                .map(schema)
                .collect::<Vec<_>>()
                .into()
        };
        let value = match (kind, given) {
            (Kind::Text, given) => given.cloned().unwrap_or_else(|| "".into()),
            (Kind::Flag, given) => given.cloned().unwrap_or_else(|| false.into()),
            (_, None) => Value::Null,
            (Kind::Value, Some(given)) => given.clone(),
            (Kind::Schema, Some(given)) => schema(given),
            (Kind::List, Some(given)) => all(given),
            (Kind::Map, Some(given)) => {
                let map = given.as_object().into_iter().flatten();
                Value::Object(map.map(|(name, of)| (name.clone(), schema(of))).collect())
            }
            (Kind::Items, Some(given)) => json!({"Schema": schema(given), "JSONSchemas": null}),
            (Kind::Additional, Some(given)) if given.is_object() => {
                json!({"Allows": true, "Schema": schema(given)})
            }
            (Kind::Additional, Some(given)) => json!({"Allows": given, "Schema": null}),
            (Kind::Rules, Some(given)) => {
                let list = given.as_array().into_iter().flatten();
                list.map(rule_value).collect::<Vec<_>>().into()
            }
        };
        out.insert((*name).to_owned(), value);
    }
    Value::Object(out)
}

/// A rule with all its fields.
fn rule_value(rule: &Value) -> Value {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
    json!({
        "Rule": text("rule"), "Message": text("message"),
        "MessageExpression": text("messageExpression"), "Reason": rule.get("reason"),
        "FieldPath": text("fieldPath"), "OptionalOldSelf": rule.get("optionalOldSelf"),
    })
}

/// A rule as text: Go's JSON escapes what could end a script.
pub(super) fn rule(rule: &Value) -> String {
    rule_value(rule)
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}
