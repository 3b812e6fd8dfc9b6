//! Owns the reading of a CustomResourceDefinition's `openAPIV3Schema` into a type graph, by the
//! same rules the API server uses when it decides who owns which field.
//! It refuses validation of the schema itself beyond what a graph needs.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::graph::{
    Absent, Field, Graph, Link, ListKind, ListType, MapType, Relation, Scalar, Schema, Type,
    TypeRef,
};

/// How deep a schema may nest; the API server's own limit on objects is far lower.
const MAX_DEPTH: usize = 200;

/// A custom resource's schema that can't be turned into types. Terminal: the definition must
/// change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableSchema {
    /// A schema is not a JSON object.
    #[error("the schema at `{at}` is not an object; write a map with a `type`")]
    NotAnObject {
        /// Where in the schema.
        at: String,
    },
    /// The list's keys are missing or not texts.
    #[error(
        "the list at `{at}` is of type `map` without `x-kubernetes-list-map-keys`; name the fields that tell its items apart"
    )]
    NoMapKeys {
        /// Where in the schema.
        at: String,
    },
    /// A list, map or type word is not one that Kubernetes knows.
    #[error("`{word}` at `{at}` is not a known {what}; use one of {known}")]
    UnknownWord {
        /// The word found.
        word: String,
        /// What it should be.
        what: &'static str,
        /// The words known.
        known: &'static str,
        /// Where in the schema.
        at: String,
    },
    /// The schema nests without end in sight.
    #[error("the schema nests deeper than {MAX_DEPTH} levels at `{at}`; flatten it")]
    TooDeep {
        /// Where in the schema.
        at: String,
    },
}

pub(crate) fn read(schema: &Value) -> Result<TypeRef, UnreadableSchema> {
    let mut graph = Graph::default();
    let (deduced, atomic) = graph.push_untyped();
    let metadata = copy_builtin(
        &mut graph,
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
    );
    let text = graph.push(Type {
        scalar: Some(Scalar::String),
        ..Type::default()
    });
    let mut reader = Reader {
        graph,
        deduced,
        atomic,
        metadata,
        text,
    };
    let mut root = reader.schema(schema, false, &mut Vec::new())?;
    let map = root.map.get_or_insert_with(MapType::default);
    reader.add_identity(map);
    root.scalar = None;
    root.list = None;
    let at = reader.graph.push(root);
    Ok(TypeRef {
        graph: Arc::new(reader.graph),
        link: Link::to(at),
    })
}

/// Copies a named built-in type, and all it leads to, into this graph.
fn copy_builtin(graph: &mut Graph, name: &str) -> usize {
    let builtin = &Schema::builtin().graph;
    let Some(&root) = builtin.names.get(name) else {
        return 0;
    };
    let mut moved = std::collections::HashMap::new();
    let mut order = vec![root];
    moved.insert(root, graph.types.len());
    let mut next = 0;
    while let Some(&at) = order.get(next) {
        next += 1;
        let Some(ty) = builtin.types.get(at) else {
            continue;
        };
        for link in links(ty) {
            if let std::collections::hash_map::Entry::Vacant(slot) = moved.entry(link.to) {
                slot.insert(graph.types.len() + order.len());
                order.push(link.to);
            }
        }
    }
    let relink = |link: &mut Link| link.to = moved.get(&link.to).copied().unwrap_or(0);
    for at in order {
        let mut ty = builtin.types.get(at).cloned().unwrap_or_default();
        if let Some(map) = &mut ty.map {
            for field in map.fields.values_mut() {
                relink(&mut field.link);
                // Custom objects are kept as they are written.
                field.absent = Absent::Nothing;
            }
            map.additional.iter_mut().for_each(relink);
        }
        if let Some(list) = &mut ty.list {
            relink(&mut list.item);
        }
        if let Some(name) = &ty.name {
            graph.names.insert(name.clone(), graph.types.len());
        }
        graph.push(ty);
    }
    moved.get(&root).copied().unwrap_or(0)
}

fn links(ty: &Type) -> Vec<Link> {
    let mut out = Vec::new();
    if let Some(map) = &ty.map {
        out.extend(map.fields.values().map(|field| field.link));
        out.extend(map.additional);
    }
    out.extend(ty.list.as_ref().map(|list| list.item));
    out
}

struct Reader {
    graph: Graph,
    deduced: usize,
    atomic: usize,
    metadata: usize,
    text: usize,
}

type Trail<'a> = Vec<&'a str>;

fn shown(trail: &Trail<'_>) -> String {
    format!(".{}", trail.join("."))
}

impl Reader {
    fn add_identity(&self, map: &mut MapType) {
        for (name, to) in [
            ("apiVersion", self.text),
            ("kind", self.text),
            ("metadata", self.metadata),
        ] {
            let field = Field {
                link: Link::to(to),
                ..Field::default()
            };
            map.fields.insert(name.to_owned(), field);
        }
    }

    fn schema<'a>(
        &mut self,
        schema: &'a Value,
        open: bool,
        trail: &mut Trail<'a>,
    ) -> Result<Type, UnreadableSchema> {
        if trail.len() > MAX_DEPTH {
            return Err(UnreadableSchema::TooDeep { at: shown(trail) });
        }
        let Some(schema) = schema.as_object() else {
            return Err(UnreadableSchema::NotAnObject { at: shown(trail) });
        };
        let on = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
        // What is below an open map is open too: that is how the API server tracks ownership.
        let open = open || on("x-kubernetes-preserve-unknown-fields");
        let kind = schema
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mut ty = Type::default();
        match kind {
            "" => {
                ty.scalar = Some(if on("x-kubernetes-int-or-string") {
                    Scalar::IntOrString
                } else {
                    Scalar::Untyped
                });
                ty.list = Some(self.list(schema, open, trail)?);
                ty.map = Some(self.map(schema, open, trail)?);
            }
            "object" => ty.map = Some(self.map(schema, open, trail)?),
            "array" => ty.list = Some(self.list(schema, open, trail)?),
            "integer" => ty.scalar = Some(Scalar::Integer),
            "number" => ty.scalar = Some(Scalar::Number),
            "boolean" => ty.scalar = Some(Scalar::Boolean),
            "string" => {
                ty.scalar = Some(match schema.get("format").and_then(Value::as_str) {
                    None | Some("") => Scalar::String,
                    Some("byte") => Scalar::Bytes,
                    Some("date-time") => Scalar::DateTime,
                    Some("int-or-string") => Scalar::IntOrString,
                    Some(_) => Scalar::Untyped,
                });
            }
            word => {
                return Err(UnreadableSchema::UnknownWord {
                    word: word.to_owned(),
                    what: "type",
                    known: "object, array, string, integer, number, boolean",
                    at: shown(trail),
                });
            }
        }
        if on("x-kubernetes-embedded-resource")
            && let Some(map) = &mut ty.map
        {
            self.add_identity(map);
        }
        Ok(ty)
    }

    fn link<'a>(
        &mut self,
        schema: &'a Value,
        open: bool,
        trail: &mut Trail<'a>,
    ) -> Result<Link, UnreadableSchema> {
        let ty = self.schema(schema, open, trail)?;
        Ok(Link::to(self.graph.push(ty)))
    }

    fn map<'a>(
        &mut self,
        schema: &'a Map<String, Value>,
        open: bool,
        trail: &mut Trail<'a>,
    ) -> Result<MapType, UnreadableSchema> {
        let mut map = MapType::default();
        for (name, member) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            trail.push(name);
            let link = self.link(member, open, trail)?;
            trail.pop();
            let default = member.get("default").cloned();
            map.fields.insert(
                name.clone(),
                Field {
                    link,
                    default,
                    ..Field::default()
                },
            );
        }
        map.additional = match schema.get("additionalProperties") {
            None if open || map.fields.is_empty() => Some(Link::to(self.deduced)),
            Some(Value::Bool(true)) => Some(Link::to(self.deduced)),
            None | Some(Value::Bool(false)) => None,
            Some(member) => {
                trail.push("*");
                let link = self.link(member, open, trail)?;
                trail.pop();
                Some(link)
            }
        };
        map.relation = match schema.get("x-kubernetes-map-type").and_then(Value::as_str) {
            None => None,
            Some("granular") => Some(Relation::Granular),
            Some("atomic") => Some(Relation::Atomic),
            Some(word) => {
                return Err(UnreadableSchema::UnknownWord {
                    word: word.to_owned(),
                    what: "map type",
                    known: "granular, atomic",
                    at: shown(trail),
                });
            }
        };
        map.required = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        Ok(map)
    }

    fn list<'a>(
        &mut self,
        schema: &'a Map<String, Value>,
        open: bool,
        trail: &mut Trail<'a>,
    ) -> Result<ListType, UnreadableSchema> {
        let item = match schema.get("items") {
            Some(item) => {
                trail.push("[]");
                let link = self.link(item, open, trail)?;
                trail.pop();
                link
            }
            None => Link::to(self.atomic),
        };
        let kind = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            None | Some("atomic") => ListKind::Atomic,
            Some("set") => ListKind::Set,
            Some("map") => {
                let keys: Vec<String> = schema
                    .get("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(|key| key.as_str().map(str::to_owned))
                    .collect();
                if keys.is_empty() {
                    return Err(UnreadableSchema::NoMapKeys { at: shown(trail) });
                }
                ListKind::Map(keys)
            }
            Some(word) => {
                return Err(UnreadableSchema::UnknownWord {
                    word: word.to_owned(),
                    what: "list type",
                    known: "atomic, set, map",
                    at: shown(trail),
                });
            }
        };
        Ok(ListType { kind, item })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn routes() -> Value {
        json!({"type": "object", "properties": {
            "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {
                "ports": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {"type": "object", "properties": {
                        "port": {"type": "integer"},
                        "protocol": {"type": "string", "default": "TCP"}}}},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "rules": {"type": "array", "items": {"type": "object"}},
                "values": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "selector": {"type": "object", "x-kubernetes-map-type": "atomic",
                    "additionalProperties": {"type": "string"}},
                "port": {"x-kubernetes-int-or-string": true},
                "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                    "x-kubernetes-preserve-unknown-fields": true}}}}})
    }

    #[test]
    fn lists_maps_and_open_parts_are_told_apart() {
        let ty = Schema::from_crd_schema(&routes()).expect("a good schema");
        let spec = ty.field("spec").expect("declared");
        let kind = |name: &str| spec.field(name).and_then(|ty| ty.list_kind().cloned());
        assert_eq!(
            kind("ports"),
            Some(ListKind::Map(vec!["port".into(), "protocol".into()]))
        );
        assert_eq!(kind("tags"), Some(ListKind::Set));
        assert_eq!(kind("rules"), Some(ListKind::Atomic));
        assert_eq!(
            spec.field("ports").and_then(|p| p.key_default("protocol")),
            Some(json!("TCP"))
        );
        assert!(spec.field("selector").expect("declared").is_atomic_map());
        let values = spec.field("values").expect("declared");
        assert!(values.field("anything").expect("open").is_untyped());
        assert!(spec.field("nothing").is_none());
        assert_eq!(
            spec.field("port").and_then(|ty| ty.scalar()),
            Some(Scalar::IntOrString)
        );
    }

    #[test]
    fn metadata_is_always_typed() {
        let ty = Schema::from_crd_schema(&routes()).expect("a good schema");
        let finalizers = |ty: &TypeRef| {
            ty.field("metadata")
                .and_then(|m| m.field("finalizers"))
                .and_then(|f| f.list_kind().cloned())
        };
        assert_eq!(finalizers(&ty), Some(ListKind::Set));
        let template = ty
            .field("spec")
            .and_then(|spec| spec.field("template"))
            .expect("declared");
        assert_eq!(finalizers(&template), Some(ListKind::Set));
    }

    #[test]
    fn a_keyed_list_without_keys_is_refused() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "array",
            "x-kubernetes-list-type": "map", "items": {"type": "object"}}}});
        let refused = Schema::from_crd_schema(&schema).expect_err("no keys");
        assert_eq!(refused, UnreadableSchema::NoMapKeys { at: ".spec".into() });
    }
}
