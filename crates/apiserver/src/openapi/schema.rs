//! Owns schemas of built-in types: the type graph with its documentation, formats, defaults and
//! values. It refuses custom types; see `custom`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use weir_object::path;
use weir_schema::{
    Absent, Field, ListKind, PatchStrategy, Scalar, Schema, TypeRef, Wire, WireKind,
};

use super::words;

pub(super) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// A type by its name.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Named schemas, each with all that it names.
#[derive(Default)]
pub(super) struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// Adds a named type.
    pub(super) fn add(&mut self, ty: &TypeRef) {
        let Some(name) = ty.name().map(str::to_owned) else {
            return;
        };
        if self.0.contains_key(&name) {
            return;
        }
        // Types may name themselves.
        self.0.insert(name.clone(), Value::Null);
        let mut value = self.describe(ty, 0);
        if let Some(text) = words::of_type(&name) {
            path::set(&mut value, &["description"], text.into());
        }
        self.0.insert(name, value);
    }

    /// Adds a built-in type by its name.
    pub(super) fn add_named(&mut self, name: &str) {
        if let Some(ty) = Schema::builtin().named(name) {
            self.add(&ty);
        }
    }

    /// Adds a schema as it is.
    pub(super) fn insert(&mut self, name: &str, schema: Value) {
        self.0.insert(name.to_owned(), schema);
    }

    /// Says which kinds a type stands for.
    pub(super) fn mark(&mut self, name: &str, kinds: Value) {
        let schema = self
            .0
            .entry(name.to_owned())
            .or_insert_with(|| json!({"type": "object"}));
        path::set(schema, &["x-kubernetes-group-version-kind"], kinds);
    }

    /// All of them.
    pub(super) fn done(self) -> Value {
        Value::Object(self.0.into_iter().collect())
    }

    fn refer(&mut self, ty: &TypeRef, depth: usize) -> Value {
        match ty.name() {
            Some(name) => {
                let reference = reference(name);
                self.add(ty);
                reference
            }
            None => self.describe(ty, depth + 1),
        }
    }

    fn describe(&mut self, ty: &TypeRef, depth: usize) -> Value {
        if ty.is_untyped() || depth > 20 {
            return untyped(ty);
        }
        if let Some(map) = ty.map() {
            let mut out = json!({"type": "object"});
            let mut properties = Map::new();
            for (name, field) in &map.fields {
                let value = self.property(ty, name, field, depth);
                properties.insert(name.clone(), value);
            }
            if !properties.is_empty() {
                path::set(&mut out, &["properties"], properties.into());
            }
            if let Some(link) = map.additional.filter(|_| map.fields.is_empty()) {
                let of = ty.follow(link);
                let value = self.member(&of, depth);
                if !of.is_untyped() {
                    path::set(&mut out, &["additionalProperties"], value);
                }
            }
            if !map.required.is_empty() {
                path::set(&mut out, &["required"], json!(map.required));
            }
            if ty.is_atomic_map() {
                path::set(&mut out, &["x-kubernetes-map-type"], "atomic".into());
            }
            return out;
        }
        if let (Some(kind), Some(item)) = (ty.list_kind(), ty.item()) {
            let mut out = json!({"type": "array", "items": self.member(&item, depth)});
            let word = match kind {
                ListKind::Atomic => "atomic",
                ListKind::Set => "set",
                ListKind::Map(keys) => {
                    path::set(&mut out, &["x-kubernetes-list-map-keys"], json!(keys));
                    "map"
                }
            };
            path::set(&mut out, &["x-kubernetes-list-type"], word.into());
            return out;
        }
        scalar(ty)
    }

    /// A member of a list or map: what is never absent has a default.
    fn member(&mut self, ty: &TypeRef, depth: usize) -> Value {
        let mut value = self.refer(ty, depth);
        if ty.name().is_some() {
            let whole = ty.map().is_some() && !ty.is_untyped();
            return if whole {
                json!({"default": {}, "allOf": [value]})
            } else {
                value
            };
        }
        let default = match ty.scalar() {
            Some(Scalar::String) => json!(""),
            Some(Scalar::Integer | Scalar::Number) => json!(0),
            Some(Scalar::Boolean) => json!(false),
            _ => return value,
        };
        path::set(&mut value, &["default"], default);
        value
    }

    fn property(&mut self, of: &TypeRef, name: &str, field: &Field, depth: usize) -> Value {
        let ty = of.follow(field.link);
        let mut value = self.refer(&ty, depth);
        let type_name = of.name().unwrap_or_default();
        let mut text = words::of_field(type_name, name)
            .unwrap_or_default()
            .to_owned();
        let allowed = weir_schema::allowed_values(type_name, name);
        if !allowed.is_empty() {
            let each: Vec<String> = allowed.iter().map(|v| format!(" - `\"{v}\"`")).collect();
            let list = format!("Possible enum values:\n{}", each.join("\n"));
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&list);
        }
        let extra = !text.is_empty()
            || field.default.is_some()
            || field.absent == Absent::EmptyMap
            || field.patch != PatchStrategy::default();
        if extra && value.get("$ref").is_some() {
            value = json!({"allOf": [value]});
        }
        if !text.is_empty() {
            path::set(&mut value, &["description"], text.into());
        }
        if !allowed.is_empty() {
            path::set(&mut value, &["enum"], json!(allowed));
        }
        let items = weir_schema::allowed_values(type_name, &format!("{name}[]"));
        if !items.is_empty() {
            path::set(&mut value, &["items", "enum"], json!(items));
        }
        if let Some(format) = format(type_name, name) {
            path::set(&mut value, &["format"], format.into());
        }
        patch_marks(&field.patch, &mut value);
        if let Some(default) = &field.default {
            path::set(&mut value, &["default"], default.clone());
        } else if field.absent == Absent::EmptyMap {
            path::set(&mut value, &["default"], json!({}));
        }
        value
    }
}

/// How wide a number is; the wire knows it.
fn format(type_name: &str, field: &str) -> Option<&'static str> {
    match Wire::builtin().field(type_name, field)?.kind {
        WireKind::Int => Some("int32"),
        WireKind::Long => Some("int64"),
        WireKind::Float => Some("double"),
        _ => None,
    }
}

fn untyped(ty: &TypeRef) -> Value {
    // Values that may be anything say nothing; raw objects say that they are objects.
    match ty.name() {
        Some(name) if name.ends_with(".RawExtension") || name.ends_with(".FieldsV1") => {
            json!({"type": "object"})
        }
        _ => json!({}),
    }
}

fn scalar(ty: &TypeRef) -> Value {
    let quantity = ty.name().is_some_and(|name| name.ends_with(".Quantity"));
    match ty.scalar() {
        _ if quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Some(Scalar::String) => json!({"type": "string"}),
        Some(Scalar::DateTime) => json!({"type": "string", "format": "date-time"}),
        Some(Scalar::Bytes) => json!({"type": "string", "format": "byte"}),
        Some(Scalar::IntOrString) => json!({"format": "int-or-string",
            "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        Some(Scalar::Integer) => json!({"type": "integer"}),
        Some(Scalar::Number) => json!({"type": "number"}),
        Some(Scalar::Boolean) => json!({"type": "boolean"}),
        Some(Scalar::Untyped) | None => json!({}),
    }
}

fn patch_marks(patch: &PatchStrategy, value: &mut Value) {
    let mut words = Vec::new();
    if patch.merge {
        words.push("merge");
    }
    if patch.retain_keys {
        words.push("retainKeys");
    }
    if patch.replace {
        words.push("replace");
    }
    if !words.is_empty() {
        let strategy = words.join(",").into();
        path::set(value, &["x-kubernetes-patch-strategy"], strategy);
    }
    if let Some(key) = &patch.merge_key {
        path::set(value, &["x-kubernetes-patch-merge-key"], key.clone().into());
    }
}
