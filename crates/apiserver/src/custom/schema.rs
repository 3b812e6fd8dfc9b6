//! Owns the rules that a schema must follow to be served: it is structural, its defaults are
//! valid, its lists can be told apart, its rules compile and do not cost too much.

use serde_json::{Value, json};
use weir_gocompat::{GoRegex, quote};

use crate::cel::{Decl, Program};
use crate::refusal::Cause;
use crate::structural::{self, Rule, Structural, field_path};

/// One rule may cost this much by estimate.
const RULE_LIMIT: u64 = 10_000_000;
/// All rules of a schema together.
const SCHEMA_LIMIT: u64 = 100_000_000;
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

fn on(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool) == Some(true)
}

fn kind(schema: &Value) -> &str {
    schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn members<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema
        .get(key)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn branches<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = (usize, &'a Value)> {
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

fn too_costly(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding \
         maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
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

/// What cannot be read as a structural schema at all.
fn first_unreadable(schema: &Value) -> Option<String> {
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let why =
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined";
        return Some(why.to_owned());
    }
    if schema.get("items").is_some_and(Value::is_array) {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    for key in [
        "id",
        "$schema",
        "$ref",
        "patternProperties",
        "dependencies",
        "additionalItems",
        "definitions",
    ] {
        if schema.get(key).is_some_and(|v| !is_empty(v)) {
            let name = key
                .strip_prefix("$s")
                .map_or(key.to_owned(), |rest| format!("s{rest}"));
            return Some(format!("OpenAPIV3Schema '{name}' is not supported"));
        }
    }
    below(schema)
        .into_iter()
        .find_map(|(_, of)| first_unreadable(of))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The schemas right below one, with where they are.
fn below(schema: &Value) -> Vec<(String, &Value)> {
    let mut out = Vec::new();
    for (name, of) in members(schema, "properties") {
        out.push((format!("properties[{name}]"), of));
    }
    for key in ["items", "additionalProperties", "not"] {
        if let Some(of) = schema.get(key).filter(|of| of.is_object()) {
            out.push((key.to_owned(), of));
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (i, of) in branches(schema, key) {
            out.push((format!("{key}[{i}]"), of));
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

fn int_or_string(schema: &Value) -> bool {
    schema.get("anyOf") == Some(&json!([{"type": "integer"}, {"type": "string"}]))
}

/// The rules of a structural schema.
fn invariants(schema: &Value, level: Level, at: &str, out: &mut Vec<Cause>) {
    let has = |key: &str| schema.get(key).is_some();
    if kind(schema) == "array" && !has("items") {
        out.push(Cause::required(format!("{at}.items"), "must be specified"));
    }
    if let Some(items) = schema.get("items") {
        invariants(items, Level::Item, &format!("{at}.items"), out);
    }
    for (name, of) in members(schema, "properties") {
        invariants(of, Level::Field, &format!("{at}.properties[{name}]"), out);
    }
    let embedded = on(schema, "x-kubernetes-embedded-resource");
    let preserves = on(schema, "x-kubernetes-preserve-unknown-fields");
    let either = on(schema, "x-kubernetes-int-or-string");
    let additional = schema
        .get("additionalProperties")
        .filter(|a| **a != Value::Bool(false));
    if let Some(of) = additional {
        if level == Level::Root {
            let detail = "must not be used at the root";
            out.push(Cause::forbidden(
                format!("{at}.additionalProperties"),
                detail,
            ));
        }
        if of.is_object() {
            invariants(of, Level::Field, &format!("{at}.additionalProperties"), out);
        }
    }
    if either && preserves {
        let detail = "must be false if x-kubernetes-int-or-string is true";
        let field = format!("{at}.x-kubernetes-preserve-unknown-fields");
        out.push(Cause::invalid(field, &true.into(), detail));
    }
    if either && embedded {
        let detail = "must be false if x-kubernetes-int-or-string is true";
        let field = format!("{at}.x-kubernetes-embedded-resource");
        out.push(Cause::invalid(field, &true.into(), detail));
    }
    let first_either = branches(schema, "allOf")
        .next()
        .is_some_and(|(_, of)| int_or_string(of));
    values(schema, int_or_string(schema), first_either, at, out);
    let typed = kind(schema);
    if embedded && typed != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        let field = format!("{at}.type");
        out.push(if typed.is_empty() {
            Cause::required(field, detail)
        } else {
            Cause::invalid(field, &typed.into(), detail)
        });
    } else if typed.is_empty() && !either && !preserves {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        out.push(Cause::required(format!("{at}.type"), detail));
    }
    if embedded && additional.is_some() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        out.push(Cause::forbidden(
            format!("{at}.additionalProperties"),
            detail,
        ));
    }
    if level == Level::Root && !typed.is_empty() && typed != "object" {
        let detail = "must be object at the root";
        out.push(Cause::invalid(format!("{at}.type"), &typed.into(), detail));
    }
    let resource = level == Level::Root || embedded;
    let property = |name: &str| schema.get("properties").and_then(|p| p.get(name));
    for (name, wanted) in [
        ("kind", "string"),
        ("apiVersion", "string"),
        ("metadata", "object"),
    ] {
        if let Some(of) = property(name).filter(|of| resource && kind(of) != wanted) {
            let field = format!("{at}.properties[{name}].type");
            out.push(Cause::invalid(
                field,
                &kind(of).into(),
                &format!("must be {wanted}"),
            ));
        }
    }
    if level == Level::Root && property("metadata").is_some_and(says_too_much) {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        out.push(Cause::forbidden(
            format!("{at}.properties[metadata]"),
            detail,
        ));
    }
    if embedded && !preserves && members(schema, "properties").next().is_none() {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        out.push(Cause::required(format!("{at}.properties"), detail));
    }
}

/// Root metadata may limit the name, and nothing else.
fn says_too_much(metadata: &Value) -> bool {
    let named =
        members(metadata, "properties").all(|(name, _)| name == "name" || name == "generateName");
    let rest = metadata.as_object().is_some_and(|map| {
        map.iter().any(|(key, value)| {
            !matches!(key.as_str(), "type" | "properties" | "default") && !is_empty(value)
        })
    });
    !named || rest
}

/// What may stand in `allOf`, `anyOf`, `oneOf` and `not`: values, no structure.
fn values(schema: &Value, skip_any: bool, skip_first: bool, at: &str, out: &mut Vec<Cause>) {
    if !skip_any {
        for (i, of) in branches(schema, "anyOf") {
            nested(of, false, &format!("{at}.anyOf[{i}]"), out);
        }
    }
    for (i, of) in branches(schema, "allOf") {
        nested(of, skip_first && i == 0, &format!("{at}.allOf[{i}]"), out);
    }
    for (i, of) in branches(schema, "oneOf") {
        nested(of, false, &format!("{at}.oneOf[{i}]"), out);
    }
    if let Some(of) = schema.get("not") {
        nested(of, false, &format!("{at}.not"), out);
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && let Err(why) = GoRegex::parse(pattern)
    {
        let detail = format!(
            "must be a valid regular expression, but isn't: {}",
            crate::cel::pattern_fault(&why)
        );
        out.push(Cause::invalid(
            format!("{at}.pattern"),
            &pattern.into(),
            &detail,
        ));
    }
}

fn nested(of: &Value, skip_any: bool, at: &str, out: &mut Vec<Cause>) {
    values(of, skip_any, false, at, out);
    if let Some(items) = of.get("items") {
        nested(items, false, &format!("{at}.items"), out);
    }
    for (name, of) in members(of, "properties") {
        nested(of, false, &format!("{at}.properties[{name}]"), out);
    }
    let mut forbid = |key: &str, detail: &str| {
        if of.get(key).is_some_and(|v| !is_empty(v)) {
            out.push(Cause::forbidden(format!("{at}.{key}"), detail));
        }
    };
    forbid("type", "must be empty to be structural");
    forbid("additionalProperties", "must be undefined to be structural");
    forbid("default", "must be undefined to be structural");
    forbid("title", "must be empty to be structural");
    forbid("description", "must be empty to be structural");
    forbid("nullable", "must be false to be structural");
    forbid(
        "x-kubernetes-preserve-unknown-fields",
        "must be false to be structural",
    );
    forbid(
        "x-kubernetes-embedded-resource",
        "must be false to be structural",
    );
    forbid(
        "x-kubernetes-int-or-string",
        "must be false to be structural",
    );
    forbid(
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    );
    forbid(
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    );
    forbid(
        "x-kubernetes-map-type",
        "must be undefined to be structural",
    );
    forbid("x-kubernetes-validations", "must be empty to be structural");
    if of
        .get("properties")
        .and_then(|p| p.get("metadata"))
        .is_some()
    {
        let detail = "must not be specified in a nested context";
        out.push(Cause::forbidden(
            format!("{at}.properties[metadata]"),
            detail,
        ));
    }
}

/// What is judged in a branch must be declared outside of it.
fn completeness(branch: &Value, spine: &Value, spine_at: &str, at: &str, out: &mut Vec<Cause>) {
    for key in ["not", "allOf", "anyOf", "oneOf"] {
        if key == "not" {
            if let Some(of) = branch.get("not") {
                counterpart(of, Some(spine), spine_at, &format!("{at}.not"), out);
            }
            continue;
        }
        for (i, of) in branches(branch, key) {
            counterpart(of, Some(spine), spine_at, &format!("{at}.{key}[{i}]"), out);
        }
    }
}

fn counterpart(of: &Value, spine: Option<&Value>, spine_at: &str, at: &str, out: &mut Vec<Cause>) {
    let Some(spine) = spine else {
        let detail = format!("because it is defined in {at}");
        out.push(Cause::required(spine_at, &detail));
        return;
    };
    completeness(of, spine, spine_at, at, out);
    if let Some(items) = of.get("items") {
        let (spine_at, at) = (format!("{spine_at}.items"), format!("{at}.items"));
        counterpart(items, spine.get("items"), &spine_at, &at, out);
    }
    for (name, of) in members(of, "properties") {
        let step = format!("properties[{name}]");
        let (spine_at, at) = (format!("{spine_at}.{step}"), format!("{at}.{step}"));
        let spine = spine.get("properties").and_then(|p| p.get(name));
        counterpart(of, spine, &spine_at, &at, out);
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
        let mut causes = structural::judge(default, None, schema).causes;
        if causes.is_empty() {
            causes = structural::judge(default, Some(default), schema).causes;
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
struct Node {
    root: bool,
    /// Why defaults are forbidden here.
    defaults: Option<String>,
    meta: bool,
    /// Where old values stop being told apart.
    uncorrelated: Option<String>,
    /// How many values there can be; `None` when nothing limits them.
    cardinality: Option<u64>,
    /// Rules are compiled on the spine only.
    celled: bool,
}

struct Walk {
    celled: bool,
    kept: bool,
    wrong: Vec<Cause>,
    rules: Vec<Cause>,
    total: u64,
    expensive: Vec<(u64, String)>,
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
            let all: Vec<String> = TYPES.iter().map(|t| quote(t)).collect();
            self.wrong.push(Cause {
                reason: "FieldValueNotSupported",
                message: format!(
                    "Unsupported value: {}: supported values: {}",
                    quote(typed),
                    all.join(", ")
                ),
                field: format!("{at}.type"),
            });
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

    fn extensions(&mut self, schema: &Value, list_type: Option<&str>, at: &str) {
        let wrong = &mut self.wrong;
        if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            let detail = "must be true or undefined";
            let field = format!("{at}.x-kubernetes-preserve-unknown-fields");
            wrong.push(Cause::invalid(field, &false.into(), detail));
        }
        let typed = kind(schema);
        let map_type = schema.get("x-kubernetes-map-type").and_then(Value::as_str);
        for (given, wanted, name) in [
            (map_type, "object", "x-kubernetes-map-type"),
            (list_type, "array", "x-kubernetes-list-type"),
        ] {
            if given.is_some() && typed != wanted {
                let detail = format!("must be {wanted} if {name} is specified");
                let field = format!("{at}.type");
                wrong.push(if typed.is_empty() {
                    Cause::required(field, &detail)
                } else {
                    Cause::invalid(field, &typed.into(), &detail)
                });
            }
        }
        let known = |given: Option<&str>, words: &[&str], name: &str| {
            let given = given.filter(|given| !words.contains(given))?;
            let all: Vec<String> = words.iter().map(|w| quote(w)).collect();
            Some(Cause {
                reason: "FieldValueNotSupported",
                message: format!(
                    "Unsupported value: {}: supported values: {}",
                    quote(given),
                    all.join(", ")
                ),
                field: format!("{at}.{name}"),
            })
        };
        wrong.extend(known(
            map_type,
            &["atomic", "granular"],
            "x-kubernetes-map-type",
        ));
        let items = schema.get("items").filter(|i| i.is_object());
        if typed == "array"
            && list_type == Some("set")
            && let Some(items) = items
        {
            let of = |key: &str| items.get(key).and_then(Value::as_str);
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let found = items
                .get("x-kubernetes-list-type")
                .cloned()
                .unwrap_or_default();
            if kind(items) == "array" && of("x-kubernetes-list-type").is_some_and(|t| t != "atomic")
            {
                let field = format!("{at}.items.x-kubernetes-list-type");
                wrong.push(Cause::invalid(field, &found, detail));
            } else if kind(items) == "object" && of("x-kubernetes-map-type") != Some("atomic") {
                let field = format!("{at}.items.x-kubernetes-map-type");
                wrong.push(Cause::invalid(field, &found, detail));
            }
        }
        wrong.extend(known(
            list_type,
            &["atomic", "set", "map"],
            "x-kubernetes-list-type",
        ));
        lists(schema, list_type, items, at, wrong);
    }

    /// The words of rules, before they are compiled.
    fn rule_words(&mut self, schema: &Value, at: &str) {
        for (i, rule) in branches(schema, "x-kubernetes-validations") {
            let at = format!("{at}.x-kubernetes-validations[{i}]");
            let raw = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
            let (text, message) = (raw("rule").trim(), raw("message").trim());
            let breaks = |text: &str| text.contains(['\n', '\r']);
            let wrong = &mut self.wrong;
            if text.is_empty() {
                wrong.push(Cause::required(
                    format!("{at}.rule"),
                    "rule is not specified",
                ));
            } else if !raw("message").is_empty() && message.is_empty() {
                let detail = "must be non-empty if specified";
                wrong.push(Cause::invalid(
                    format!("{at}.message"),
                    &raw("message").into(),
                    detail,
                ));
            } else if breaks(message) {
                let detail = "must not contain line breaks";
                wrong.push(Cause::invalid(
                    format!("{at}.message"),
                    &raw("message").into(),
                    detail,
                ));
            } else if breaks(text) && message.is_empty() {
                let detail = "message must be specified if rule contains line breaks";
                wrong.push(Cause::required(format!("{at}.message"), detail));
            }
            if !raw("messageExpression").is_empty() && raw("messageExpression").trim().is_empty() {
                let detail = "messageExpression must be non-empty if specified";
                wrong.push(Cause::required(format!("{at}.messageExpression"), detail));
            }
            let reason = raw("reason");
            const REASONS: [&str; 4] = [
                "FieldValueDuplicate",
                "FieldValueForbidden",
                "FieldValueInvalid",
                "FieldValueRequired",
            ];
            if rule.get("reason").is_some() && !REASONS.contains(&reason) {
                let all: Vec<String> = REASONS.iter().map(|r| quote(r)).collect();
                wrong.push(Cause {
                    reason: "FieldValueNotSupported",
                    message: format!(
                        "Unsupported value: {}: supported values: {}",
                        quote(reason),
                        all.join(", ")
                    ),
                    field: format!("{at}.reason"),
                });
            }
            let path = raw("fieldPath");
            if path.is_empty() {
                continue;
            }
            let field = format!("{at}.fieldPath");
            if path.trim().is_empty() {
                wrong.push(Cause::invalid(
                    field.clone(),
                    &path.into(),
                    "must be non-empty if specified",
                ));
            }
            if path.contains('\n') {
                wrong.push(Cause::invalid(
                    field.clone(),
                    &path.into(),
                    "must not contain line breaks",
                ));
            }
            if field_path(path, &Structural::read_unruled(schema)).is_err() {
                wrong.push(Cause::invalid(field, &path.into(), "must be a valid path"));
            }
        }
    }

    fn compiled(&mut self, schema: &Value, at: &str, node: &Node) {
        if branches(schema, "x-kubernetes-validations")
            .next()
            .is_none()
        {
            return;
        }
        let typed = Structural::read_unruled(schema);
        let decl = Decl::of(&typed, "selfType", node.root || typed.embedded);
        if decl.is_none() {
            self.rules.push(Cause {
                reason: "InternalError",
                message:
                    "Internal error: internal error: failed to construct type information for \
                          x-kubernetes-validations rules: unable to convert structural schema to \
                          CEL declarations"
                        .to_owned(),
                field: format!("{at}.x-kubernetes-validations"),
            });
            return;
        }
        let mut rules = typed.rules;
        for (i, rule) in rules.iter_mut().enumerate() {
            rule.compile(decl.as_ref());
            let at = format!("{at}.x-kubernetes-validations[{i}]");
            self.one_rule(rule, decl.as_ref(), schema, i, &at, node);
        }
    }

    fn one_rule(
        &mut self,
        rule: &Rule,
        decl: Option<&Decl>,
        schema: &Value,
        i: usize,
        at: &str,
        node: &Node,
    ) {
        let shown = branches(schema, "x-kubernetes-validations")
            .nth(i)
            .map(|(_, rule)| super::shown::rule(rule))
            .unwrap_or_default();
        let refused = |field: String, why: &str| Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {shown}: {why}"),
            field,
        };
        let (field, telling) = (format!("{at}.rule"), format!("{at}.messageExpression"));
        let cost = |program: &Option<Result<Program, String>>| match (program, decl) {
            (Some(Ok(program)), Some(decl)) => program.at_most(decl),
            _ => 0,
        };
        let times = node
            .cardinality
            .unwrap_or_else(|| decl.map_or(1, |decl| 3 * 1024 * 1024 / (decl.least + 1)));
        let total = cost(&rule.program).saturating_mul(times);
        if !self.kept && total > RULE_LIMIT {
            let detail = too_costly("estimated rule cost", total, RULE_LIMIT);
            self.rules.push(Cause::forbidden(field.clone(), &detail));
        }
        self.observe(total, &field);
        if let Some(Err(why)) = &rule.program {
            self.rules.push(refused(field.clone(), why));
        }
        match &rule.telling {
            Some(Err(why)) => self.rules.push(refused(telling, why)),
            Some(Ok(_)) => {
                let cost = cost(&rule.telling);
                if !self.kept && cost > RULE_LIMIT {
                    let detail = too_costly("estimated messageExpression cost", cost, RULE_LIMIT);
                    self.rules.push(Cause::forbidden(telling.clone(), &detail));
                }
                self.observe(cost, &telling);
            }
            None => {}
        }
        let uses_old = matches!(&rule.program, Some(Ok(program)) if program.uses("oldSelf"));
        if uses_old {
            if let Some(path) = &node.uncorrelated {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {path}"
                );
                self.rules
                    .push(Cause::invalid(field, &rule.rule.as_str().into(), &detail));
            }
        } else if let Some(given) = branches(schema, "x-kubernetes-validations")
            .nth(i)
            .and_then(|(_, rule)| rule.get("optionalOldSelf"))
        {
            let detail = "may not be set if oldSelf is not used in rule";
            self.rules.push(Cause::invalid(
                format!("{at}.optionalOldSelf"),
                given,
                detail,
            ));
        }
    }

    fn observe(&mut self, cost: u64, path: &str) {
        self.total = self.total.saturating_add(cost);
        if cost < SCHEMA_LIMIT / 100 {
            return;
        }
        self.expensive.push((cost, path.to_owned()));
        self.expensive
            .sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        self.expensive.truncate(4);
    }
}

/// Lists of items that are told apart.
fn lists(
    schema: &Value,
    list_type: Option<&str>,
    items: Option<&Value>,
    at: &str,
    wrong: &mut Vec<Cause>,
) {
    let keys = super::texts(schema.get("x-kubernetes-list-map-keys"));
    let keys_at = format!("{at}.x-kubernetes-list-map-keys");
    if !keys.is_empty() && list_type != Some("map") {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        let field = format!("{at}.x-kubernetes-list-type");
        wrong.push(match list_type {
            None => Cause::required(field, detail),
            Some(given) => Cause::invalid(field, &given.into(), detail),
        });
    }
    if list_type == Some("map") {
        if keys.is_empty() {
            let detail = "must not be empty if x-kubernetes-list-type is map";
            wrong.push(Cause::required(keys_at.clone(), detail));
        }
        match items {
            None => {
                let detail = "must have a schema if x-kubernetes-list-type is map";
                wrong.push(Cause::required(format!("{at}.items"), detail));
            }
            Some(items) if kind(items) != "object" => {
                let detail = "must be object if parent array's x-kubernetes-list-type is map";
                wrong.push(Cause::invalid(
                    format!("{at}.items.type"),
                    &kind(items).into(),
                    detail,
                ));
            }
            Some(items) => {
                let mut seen = std::collections::BTreeSet::new();
                for key in &keys {
                    match items.get("properties").and_then(|p| p.get(key)) {
                        Some(of) if matches!(kind(of), "array" | "object") => {
                            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                            let field = format!("{at}.items.properties[{key}].type");
                            wrong.push(Cause::invalid(field, &kind(items).into(), detail));
                        }
                        Some(_) => {}
                        None => {
                            let detail = "entries must all be names of item properties";
                            wrong.push(Cause::invalid(keys_at.clone(), &json!(keys), detail));
                        }
                    }
                    if !seen.insert(key) {
                        let detail = "must not contain duplicate entries";
                        wrong.push(Cause::invalid(keys_at.clone(), &json!(keys), detail));
                    }
                }
            }
        }
    }
    let (Some(items), Some(list_type @ ("set" | "map"))) = (items, list_type) else {
        return;
    };
    if on(items, "nullable") {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        wrong.push(Cause::forbidden(format!("{at}.items.nullable"), &detail));
    }
    if list_type == "map" {
        let required = super::texts(items.get("required"));
        for key in &keys {
            let Some(of) = items.get("properties").and_then(|p| p.get(key)) else {
                continue;
            };
            let at = format!("{at}.items.properties[{key}]");
            if !required.contains(key) && of.get("default").is_none() {
                let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                wrong.push(Cause::required(format!("{at}.default"), detail));
            }
            if on(of, "nullable") {
                let detail =
                    "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                wrong.push(Cause::forbidden(format!("{at}.nullable"), detail));
            }
        }
    }
}
