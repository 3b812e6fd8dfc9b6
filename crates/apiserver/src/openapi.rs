//! Owns the published schemas: what `kubectl` asks before it validates, explains or applies.
//! Built-in types come from the type graph, custom ones from their definitions.

use std::collections::BTreeMap;

use http::request::Parts;
use http::{HeaderValue, Response};
use serde_json::{Map, Value, json};
use weir_schema::{ListKind, PatchStrategy, Scalar, TypeRef};

use crate::answer;
use crate::body::ApiBody;
use crate::refusal::Refusal;
use crate::registry::{Registry, Resource};
use crate::server::ApiServer;

/// Answers below `/openapi`.
pub(crate) fn serve(
    server: &ApiServer,
    rest: &[&str],
    head: &Parts,
    accept: Option<&str>,
) -> Result<Response<ApiBody>, Refusal> {
    let _ = head;
    let state = server.0.read();
    let registry = &state.registry;
    match rest {
        ["v2"] => Ok(version_two(accept)),
        ["v3"] => {
            let mut paths = Map::new();
            for (group, versions) in registry.groups() {
                for version in versions {
                    let path = root(&group, &version);
                    let url = format!("/openapi/v3/{path}?hash={:X}", registry.revision);
                    paths.insert(path, json!({"serverRelativeURL": url}));
                }
            }
            Ok(answer::json(200, &json!({"paths": paths})))
        }
        ["v3", "api", version] => Ok(answer::json(200, &document(registry, "", version)?)),
        ["v3", "apis", group, version] => {
            Ok(answer::json(200, &document(registry, group, version)?))
        }
        _ => Err(Refusal::NoResource),
    }
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// A valid document without types: clients that still read this form fall back to their own.
fn version_two(accept: Option<&str>) -> Response<ApiBody> {
    if accept.is_some_and(|a| a.contains("proto-openapi")) {
        // `swagger: "2.0"` and `info: {title, version}` in protocol buffers.
        let mut body = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.34.2".to_vec();
        body.shrink_to_fit();
        let mut response = answer::bytes(200, body);
        response.headers_mut().insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf"),
        );
        return response;
    }
    let value = json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.34.2"},
        "paths": {}, "definitions": {}});
    answer::json(200, &value)
}

fn document(registry: &Registry, group: &str, version: &str) -> Result<Value, Refusal> {
    let mut paths = Map::new();
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    for resource in registry.iter() {
        let kind = &resource.kind;
        if kind.group != group || kind.version != version {
            continue;
        }
        let name = component(resource);
        match &resource.custom {
            None => {
                collect(&resource.typing, &mut schemas);
                let own = schemas
                    .entry(name.clone())
                    .or_insert_with(|| json!({"type": "object"}));
                weir_object::path::set(
                    own,
                    &["x-kubernetes-group-version-kind"],
                    json!([gvk(resource)]),
                );
            }
            Some(custom) => {
                let mut schema = custom.document.clone();
                if !schema.is_object() {
                    schema = json!({"type": "object"});
                }
                for field in ["apiVersion", "kind"] {
                    weir_object::path::set(
                        &mut schema,
                        &["properties", field],
                        json!({"type": "string"}),
                    );
                }
                let meta = weir_schema::Schema::builtin().named(META);
                if let Some(meta) = meta {
                    collect(&meta, &mut schemas);
                    weir_object::path::set(
                        &mut schema,
                        &["properties", "metadata"],
                        reference(META),
                    );
                }
                weir_object::path::set(
                    &mut schema,
                    &["x-kubernetes-group-version-kind"],
                    json!([gvk(resource)]),
                );
                schemas.insert(name.clone(), schema);
            }
        }
        add_paths(resource, &name, &mut paths);
    }
    if paths.is_empty() {
        return Err(Refusal::NoResource);
    }
    Ok(json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.2"},
        "paths": paths, "components": {"schemas": schemas},
    }))
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

fn gvk(resource: &Resource) -> Value {
    let kind = &resource.kind;
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn component(resource: &Resource) -> String {
    if let Some(name) = resource.typing.name() {
        return name.to_owned();
    }
    let kind = &resource.kind;
    let mut parts: Vec<&str> = kind
        .group
        .split('.')
        .rev()
        .filter(|p| !p.is_empty())
        .collect();
    parts.push(&kind.version);
    parts.push(&kind.kind);
    parts.join(".")
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The operations that clients look at: which kind a path holds, and which parameters it takes.
fn add_paths(resource: &Resource, name: &str, paths: &mut Map<String, Value>) {
    let kind = &resource.kind;
    let collection = kind.collection_path(kind.namespaced.then_some("{namespace}"));
    let body = json!({"content": {"application/json": {"schema": reference(name)}}});
    let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"]
        .iter()
        .map(|p| json!({"name": p, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
        .collect();
    let operation = |action: &str, writes: bool, sends: bool| {
        let mut out = json!({
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference(name)}}}},
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(resource),
        });
        if writes {
            weir_object::path::set(&mut out, &["parameters"], parameters.clone().into());
        }
        if sends {
            weir_object::path::set(&mut out, &["requestBody"], body.clone());
        }
        out
    };
    let patch_body = json!({"content": {
        "application/apply-patch+yaml": {"schema": {"type": "object"}},
        "application/json-patch+json": {"schema": {"type": "object"}},
        "application/merge-patch+json": {"schema": {"type": "object"}},
    }});
    let mut patch = operation("patch", true, false);
    weir_object::path::set(&mut patch, &["requestBody"], patch_body);
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({"get": operation("get", false, false), "put": operation("put", true, true),
            "patch": patch, "delete": operation("delete", false, false)}),
    );
    paths.insert(
        collection,
        json!({"get": operation("list", false, false), "post": operation("post", true, true)}),
    );
}

/// Adds a named type and all that it names.
fn collect(ty: &TypeRef, schemas: &mut BTreeMap<String, Value>) {
    let Some(name) = ty.name().map(str::to_owned) else {
        return;
    };
    if schemas.contains_key(&name) {
        return;
    }
    schemas.insert(name.clone(), Value::Null);
    let value = describe(ty, schemas, 0);
    schemas.insert(name, value);
}

fn refer(ty: &TypeRef, schemas: &mut BTreeMap<String, Value>, depth: usize) -> Value {
    match ty.name() {
        Some(name) => {
            collect(ty, schemas);
            reference(name)
        }
        None => describe(ty, schemas, depth + 1),
    }
}

fn describe(ty: &TypeRef, schemas: &mut BTreeMap<String, Value>, depth: usize) -> Value {
    if ty.is_untyped() || depth > 20 {
        return json!({"x-kubernetes-preserve-unknown-fields": true});
    }
    if let Some(map) = ty.map() {
        let mut out = json!({"type": "object"});
        let mut properties = Map::new();
        for (name, field) in &map.fields {
            let mut value = refer(&ty.follow(field.link), schemas, depth);
            if field.default.is_some() || field.patch != PatchStrategy::default() {
                if value.get("$ref").is_some() {
                    value = json!({"allOf": [value]});
                }
                patch_marks(&field.patch, &mut value);
                if let Some(default) = &field.default {
                    weir_object::path::set(&mut value, &["default"], default.clone());
                }
            }
            properties.insert(name.clone(), value);
        }
        if !properties.is_empty() {
            weir_object::path::set(&mut out, &["properties"], properties.into());
        }
        if let Some(link) = map.additional {
            let value = refer(&ty.follow(link), schemas, depth);
            weir_object::path::set(&mut out, &["additionalProperties"], value);
        }
        if !map.required.is_empty() {
            weir_object::path::set(&mut out, &["required"], json!(map.required));
        }
        if ty.is_atomic_map() {
            weir_object::path::set(&mut out, &["x-kubernetes-map-type"], "atomic".into());
        }
        return out;
    }
    if let (Some(kind), Some(item)) = (ty.list_kind(), ty.item()) {
        let mut out = json!({"type": "array", "items": refer(&item, schemas, depth)});
        let word = match kind {
            ListKind::Atomic => "atomic",
            ListKind::Set => "set",
            ListKind::Map(keys) => {
                weir_object::path::set(&mut out, &["x-kubernetes-list-map-keys"], json!(keys));
                "map"
            }
        };
        weir_object::path::set(&mut out, &["x-kubernetes-list-type"], word.into());
        return out;
    }
    match ty.scalar() {
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
        weir_object::path::set(
            value,
            &["x-kubernetes-patch-strategy"],
            words.join(",").into(),
        );
    }
    if let Some(key) = &patch.merge_key {
        weir_object::path::set(value, &["x-kubernetes-patch-merge-key"], key.clone().into());
    }
}
