//! Owns the rules that a schema must follow to be served: it is structural, its defaults are
//! valid, its lists can be told apart, its rules compile and do not cost too much.

use serde_json::Value;

use super::rules::{SCHEMA_LIMIT, too_costly};
use super::structure::{Level, completeness, first_unreadable, invariants, is_empty};
use crate::refusal::Cause;
use crate::structural::{self, Structural};

/// Schemas nest no deeper.
const DEPTH: usize = 100;

/// Where the schema is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: String,
    /// It was accepted before, with what it costs.
    kept: bool,
}

impl Place {
    pub(super) fn new(path: String, kept: bool) -> Self {
        Self { path, kept }
    }
}

pub(super) fn on(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool) == Some(true)
}

pub(super) fn kind(schema: &Value) -> &str {
    schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(super) fn members<'a>(
    schema: &'a Value,
    key: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema
        .get(key)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

pub(super) fn branches<'a>(
    schema: &'a Value,
    key: &str,
) -> impl Iterator<Item = (usize, &'a Value)> {
    let list = schema.get(key).and_then(Value::as_array);
    list.into_iter().flatten().enumerate()
}

/// All that is wrong with the schema of a version.
pub(super) fn check(schema: &Value, status: bool, place: &Place, out: &mut Vec<Cause>) {
    let root = format!("{}.openAPIV3Schema", place.path);
    let before = out.len();
    if depth_of(schema, 0) > DEPTH {
        let detail = format!("may not nest deeper than {DEPTH} levels; flatten it");
        out.push(Cause::forbidden(root, &detail));
        return;
    }
    if status {
        check_root(schema, &place.path, out);
    }
    if on(schema, "nullable") {
        let detail = "nullable cannot be true at the root";
        out.push(Cause::forbidden(format!("{root}.nullable"), detail));
    }
    let readable = first_unreadable(schema);
    let mut sound = false;
    if readable.is_none() {
        let mut wrong = Vec::new();
        invariants(schema, Level::Root, &root, &mut wrong);
        completeness(schema, schema, &root, &root, &mut wrong);
        wrong.sort_by_key(|c| format!("{}: {}", c.field, c.message));
        if wrong.is_empty() {
            let typed = Structural::read(schema);
            check_defaults(&typed, true, false, &root, &mut wrong);
            sound = wrong.is_empty();
        }
        out.append(&mut wrong);
    }
    let mut walk = Walk {
        celled: sound,
        kept: place.kept,
        wrong: Vec::new(),
        rules: Vec::new(),
        total: 0,
        expensive: Vec::new(),
    };
    let node = Node {
        root: true,
        defaults: None,
        meta: false,
        uncorrelated: None,
        cardinality: Some(1),
        celled: true,
    };
    walk.schema(schema, &root, &node);
    out.append(&mut walk.wrong);
    out.append(&mut walk.rules);
    if let Some(why) = readable
        && out.len() == before
    {
        out.push(Cause::invalid(root.clone(), &"".into(), &why));
    }
    if walk.total > SCHEMA_LIMIT {
        for path in walk.expensive.iter().map(|(_, path)| path) {
            let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            out.push(Cause::forbidden(path.clone(), detail));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        out.push(Cause::forbidden(
            root,
            &too_costly(what, walk.total, SCHEMA_LIMIT),
        ));
    }
}

fn depth_of(schema: &Value, depth: usize) -> usize {
    if depth > DEPTH {
        return depth;
    }
    match schema {
        Value::Object(map) => map.values().map(|v| depth_of(v, depth + 1)).max(),
        Value::Array(items) => items.iter().map(|v| depth_of(v, depth + 1)).max(),
        _ => None,
    }
    .unwrap_or(depth)
}

/// With a status of its own, little may stand at the root.
fn check_root(schema: &Value, place: &str, out: &mut Vec<Cause>) {
    const ALLOWED: [&str; 22] = [
        "description",
        "type",
        "format",
        "title",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "uniqueItems",
        "multipleOf",
        "required",
        "items",
        "properties",
        "externalDocs",
        "example",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    ];
    let Some(map) = schema.as_object() else {
        return;
    };
    if map.contains_key("type") && kind(schema) != "object" {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        let field = format!("{place}.openAPIV3Schema.type");
        out.push(Cause::invalid(field, &kind(schema).into(), detail));
        return;
    }
    if map.keys().any(|key| !ALLOWED.contains(&key.as_str())) {
        let detail = "only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the status subresource is enabled";
        let field = format!("{place}.openAPIV3Schema");
        out.push(Cause::invalid(field, &super::shown::schema(schema), detail));
    }
}

/// Defaults hold what their schemas say, and nothing else.
fn check_defaults(
    schema: &Structural,
    root: bool,
    inside_meta: bool,
    at: &str,
    out: &mut Vec<Cause>,
) {
    let resource = root || schema.embedded;
    let inside_meta = inside_meta && !schema.embedded;
    if let Some(default) = &schema.default {
        let field = format!("{at}.default");
        if !inside_meta {
            let mut pruned = default.clone();
            let mut unknown = Vec::new();
            structural::prune(&mut pruned, schema, schema.embedded, &mut unknown);
            if pruned != *default {
                let detail = "must not have unknown fields";
                out.push(Cause::invalid(field.clone(), default, detail));
            }
        }
        // With and without an old value: rules of change must not refuse it.
        let mut causes = structural::judge(default, None, schema, Vec::new()).causes;
        if causes.is_empty() {
            causes = structural::judge(default, Some(default), schema, Vec::new()).causes;
        }
        for cause in causes {
            let inner = match cause.field.as_str() {
                "<nil>" => field.clone(),
                inner => format!("{field}.{inner}"),
            };
            out.push(Cause {
                field: inner,
                ..cause
            });
        }
    }
    if let Some(items) = &schema.items {
        check_defaults(items, false, inside_meta, &format!("{at}.items"), out);
    }
    for (name, of) in &schema.properties {
        let meta = resource && matches!(name.as_str(), "metadata" | "apiVersion" | "kind");
        let at = format!("{at}.properties[{name}]");
        check_defaults(of, false, inside_meta || meta, &at, out);
    }
}

/// What is known of a schema from those around it.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) root: bool,
    /// Why defaults are forbidden here.
    pub(super) defaults: Option<String>,
    pub(super) meta: bool,
    /// Where old values stop being told apart.
    pub(super) uncorrelated: Option<String>,
    /// How many values there can be; `None` when nothing limits them.
    pub(super) cardinality: Option<u64>,
    /// Rules are compiled on the spine only.
    pub(super) celled: bool,
}

pub(super) struct Walk {
    pub(super) celled: bool,
    pub(super) kept: bool,
    pub(super) wrong: Vec<Cause>,
    pub(super) rules: Vec<Cause>,
    pub(super) total: u64,
    pub(super) expensive: Vec<(u64, String)>,
}

impl Walk {
    fn schema(&mut self, schema: &Value, at: &str, node: &Node) {
        let before = self.wrong.len();
        self.keywords(schema, at, node);
        if on(schema, "uniqueItems") {
            let detail =
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.wrong
                .push(Cause::forbidden(format!("{at}.uniqueItems"), detail));
        }
        let count = |key: &str| schema.get(key).and_then(Value::as_u64);
        let each = match (kind(schema), schema.get("additionalProperties").is_some()) {
            ("object", true) => count("maxProperties"),
            ("array", _) => count("maxItems"),
            _ => Some(1),
        };
        let cardinality = match (node.cardinality, each) {
            (Some(a), Some(b)) => Some(a.saturating_mul(b)),
            _ => None,
        };
        let inner = Node {
            root: false,
            cardinality,
            ..node.clone()
        };
        let has_properties = members(schema, "properties").next().is_some();
        if let Some(of) = schema.get("additionalProperties") {
            if has_properties && *of != Value::Bool(true) {
                let detail = "additionalProperties and properties are mutual exclusive";
                self.wrong.push(Cause::forbidden(
                    format!("{at}.additionalProperties"),
                    detail,
                ));
            }
            let mut inner = inner.clone();
            if node.meta {
                inner.defaults =
                    Some("inside additionalProperties applying to object metadata".into());
            }
            if of.is_object() {
                self.schema(of, &format!("{at}.additionalProperties"), &inner);
            }
        }
        let atomic = schema.get("x-kubernetes-map-type").and_then(Value::as_str);
        let embedded = on(schema, "x-kubernetes-embedded-resource");
        for (name, of) in members(schema, "properties") {
            let mut inner = inner.clone();
            if atomic.is_some_and(|t| !matches!(t, "granular" | "atomic")) {
                inner.uncorrelated.get_or_insert(at.to_owned());
            }
            if (node.root || embedded)
                && matches!(name.as_str(), "metadata" | "kind" | "apiVersion")
            {
                inner.meta = true;
                if node.root {
                    inner.defaults = Some(format!("in top-level {name}"));
                }
            }
            self.schema(of, &format!("{at}.properties[{name}]"), &inner);
        }
        let bare = Node {
            celled: false,
            ..inner.clone()
        };
        if let Some(of) = schema.get("not") {
            self.schema(of, &format!("{at}.not"), &bare);
        }
        for key in ["allOf", "oneOf", "anyOf"] {
            for (i, of) in branches(schema, key) {
                self.schema(of, &format!("{at}.{key}[{i}]"), &bare);
            }
        }
        let list_type = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
        if let Some(items) = schema.get("items").filter(|i| i.is_object()) {
            let mut inner = inner.clone();
            if list_type != Some("map") {
                inner.uncorrelated.get_or_insert(at.to_owned());
            }
            self.schema(items, &format!("{at}.items"), &inner);
        }
        self.extensions(schema, list_type, at);
        self.rule_words(schema, at);
        if self.wrong.len() == before && node.celled && self.celled {
            self.compiled(schema, at, node);
        }
    }

    fn keywords(&mut self, schema: &Value, at: &str, node: &Node) {
        const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
        let typed = kind(schema);
        if !typed.is_empty() && !TYPES.contains(&typed) {
            let cause = Cause::unsupported(format!("{at}.type"), &typed.into(), &TYPES);
            self.wrong.push(cause);
        }
        if let Some(why) = &node.defaults
            && schema.get("default").is_some()
        {
            let detail = format!("must not be set {why}");
            self.wrong
                .push(Cause::forbidden(format!("{at}.default"), &detail));
        }
        for key in [
            "id",
            "additionalItems",
            "patternProperties",
            "definitions",
            "dependencies",
            "$ref",
        ] {
            if schema.get(key).is_some_and(|v| !is_empty(v)) {
                let detail = format!("{key} is not supported");
                self.wrong
                    .push(Cause::forbidden(format!("{at}.{key}"), &detail));
            }
        }
        if typed == "null" {
            let detail = "type cannot be set to null, use nullable as an alternative";
            self.wrong
                .push(Cause::forbidden(format!("{at}.type"), detail));
        }
        if schema.get("items").is_some_and(Value::is_array) {
            let detail = "items must be a schema object and not an array";
            self.wrong
                .push(Cause::forbidden(format!("{at}.items"), detail));
        }
        if node.meta && on(schema, "x-kubernetes-embedded-resource") {
            let detail = "must not be used inside of resource meta";
            let field = format!("{at}.x-kubernetes-embedded-resource");
            self.wrong.push(Cause::forbidden(field, detail));
        }
    }
}
