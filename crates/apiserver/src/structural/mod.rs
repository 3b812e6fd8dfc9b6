//! Owns structural schemas: the part of OpenAPI v3 that definitions use, read once so that each
//! write only walks it. Patterns and rules are compiled here.

mod embedded;
pub(crate) mod formats;
mod lists;
mod ratchet;
mod rules;
mod shape;
mod validate;

use std::collections::BTreeMap;

use serde_json::Value;
use weir_gocompat::GoRegex;

pub(crate) use rules::{Rule, field_path, selectable_path};
pub(crate) use shape::{Nulls, fill, prune};
pub(crate) use validate::judge;

/// The JSON types that a schema can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// What may stand beside the named properties.
#[derive(Debug, Default)]
pub(crate) enum Additional {
    #[default]
    Nothing,
    Anything,
    Each(Box<Structural>),
}

/// A schema, ready to be walked.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a keyword of its own"
)]
#[derive(Debug, Default)]
pub(crate) struct Structural {
    pub(crate) kind: Option<Type>,
    pub(crate) nullable: bool,
    pub(crate) int_or_string: bool,
    pub(crate) preserve: bool,
    pub(crate) embedded: bool,
    pub(crate) properties: BTreeMap<String, Structural>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<Box<Structural>>,
    pub(crate) default: Option<Value>,
    pub(crate) required: Vec<String>,
    pub(crate) one_of_values: Option<Vec<Value>>,
    pub(crate) pattern: Option<(String, Result<GoRegex, String>)>,
    /// Only formats that are enforced.
    pub(crate) format: Option<String>,
    minimum: Option<(f64, bool)>,
    maximum: Option<(f64, bool)>,
    multiple_of: Option<f64>,
    min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    unique: bool,
    pub(crate) list_keys: Option<Vec<String>>,
    pub(crate) list_set: bool,
    pub(crate) all_of: Vec<Structural>,
    any_of: Vec<Structural>,
    one_of: Vec<Structural>,
    not: Option<Box<Structural>>,
    pub(crate) rules: Vec<Rule>,
    /// Whether there are rules here or anywhere below.
    pub(crate) ruled: bool,
}

/// Schemas nest no deeper than this; what lies below is accepted as it is.
const DEPTH: usize = 100;

impl Structural {
    /// Reads an `openAPIV3Schema`. What is unknown or odd in it is passed over.
    pub(crate) fn read(schema: &Value) -> Self {
        let mut schema = read(schema, 0);
        rules::compile(&mut schema);
        schema
    }

    /// The same, with the rules left as text.
    pub(crate) fn read_unruled(schema: &Value) -> Self {
        read(schema, 0)
    }
}

fn read(schema: &Value, depth: usize) -> Structural {
    if depth > DEPTH {
        return Structural {
            preserve: true,
            ..Structural::default()
        };
    }
    let below = |value: &Value| read(value, depth + 1);
    let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    let text = |key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
    let many = |key: &str| -> Vec<Structural> {
        schema
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(below)
            .collect()
    };
    let limit = |key: &str, exclusive: &str| {
        schema
            .get(key)
            .and_then(Value::as_f64)
            .map(|limit| (limit, flag(exclusive)))
    };
    let words = |key: &str| -> Vec<String> {
        let list = schema
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut properties = BTreeMap::new();
    for (name, value) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        properties.insert(name.clone(), below(value));
    }
    let list_type = text("x-kubernetes-list-type");
    let mut out = Structural {
        kind: match schema.get("type").and_then(Value::as_str) {
            Some("object") => Some(Type::Object),
            Some("array") => Some(Type::Array),
            Some("string") => Some(Type::String),
            Some("integer") => Some(Type::Integer),
            Some("number") => Some(Type::Number),
            Some("boolean") => Some(Type::Boolean),
            _ => None,
        },
        nullable: flag("nullable"),
        int_or_string: flag("x-kubernetes-int-or-string"),
        preserve: flag("x-kubernetes-preserve-unknown-fields"),
        embedded: flag("x-kubernetes-embedded-resource"),
        properties,
        additional: match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Anything,
            Some(value @ Value::Object(_)) => Additional::Each(Box::new(below(value))),
            _ => Additional::Nothing,
        },
        items: schema.get("items").map(|items| Box::new(below(items))),
        default: schema.get("default").cloned(),
        required: words("required"),
        one_of_values: schema.get("enum").and_then(Value::as_array).cloned(),
        pattern: text("pattern").map(|pattern| {
            let compiled = GoRegex::parse(&pattern).map_err(|why| crate::cel::pattern_fault(&why));
            (pattern, compiled)
        }),
        format: text("format").filter(|format| formats::is_known(format)),
        minimum: limit("minimum", "exclusiveMinimum"),
        maximum: limit("maximum", "exclusiveMaximum"),
        multiple_of: schema.get("multipleOf").and_then(Value::as_f64),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        unique: flag("uniqueItems"),
        list_keys: (list_type.as_deref() == Some("map"))
            .then(|| words("x-kubernetes-list-map-keys")),
        list_set: list_type.as_deref() == Some("set"),
        all_of: many("allOf"),
        any_of: many("anyOf"),
        one_of: many("oneOf"),
        not: schema.get("not").map(|not| Box::new(below(not))),
        rules: rules::read(schema),
        ruled: false,
    };
    let nested = match &out.additional {
        Additional::Each(of) => of.ruled,
        _ => false,
    };
    out.ruled = nested
        || !out.rules.is_empty()
        || out.items.as_ref().is_some_and(|of| of.ruled)
        || out.properties.values().any(|of| of.ruled)
        || out.all_of.iter().any(|of| of.ruled);
    out
}
