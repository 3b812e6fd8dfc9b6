//! Owns the reading of the committed type data (`data/kubernetes-1.34.json`), once per process.
//! It refuses to fail: the data is part of the program, and a test reads all of it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::Value;

use crate::graph::{
    Absent, Field, Graph, Link, ListKind, ListType, MapType, PatchStrategy, Relation, Scalar,
    Schema, Type,
};
use crate::kinds::KindInfo;

static DATA: &str = include_str!("../data/kubernetes-1.34.json");

struct Builtin {
    schema: Schema,
    kinds: Vec<KindInfo>,
    values: BTreeMap<String, Vec<String>>,
}

pub(crate) fn schema() -> &'static Schema {
    &builtin().schema
}

pub(crate) fn kinds() -> &'static [KindInfo] {
    &builtin().kinds
}

pub(crate) fn values(at: &str) -> &'static [String] {
    builtin().values.get(at).map_or(&[], Vec::as_slice)
}

fn builtin() -> &'static Builtin {
    static CELL: OnceLock<Builtin> = OnceLock::new();
    CELL.get_or_init(|| {
        let data: Data = serde_json::from_str(DATA).unwrap_or_default();
        let mut graph = Graph::default();
        for row in data.types {
            let ty = row.into_type();
            if let Some(name) = &ty.name {
                graph.names.insert(name.clone(), graph.types.len());
            }
            graph.push(ty);
        }
        Builtin {
            schema: Schema {
                graph: Arc::new(graph),
            },
            kinds: data.kinds,
            values: data.values,
        }
    })
}

#[derive(Default, Deserialize)]
struct Data {
    kinds: Vec<KindInfo>,
    types: Vec<Row>,
    values: BTreeMap<String, Vec<String>>,
}

/// A type as written in the data: `n` name, `s` scalar, `f` fields, `a` additional members,
/// `m` map relation, `r` required members, `l` item type, `k` list kind.
#[derive(Deserialize)]
struct Row {
    n: Option<String>,
    s: Option<String>,
    f: Option<BTreeMap<String, Edge>>,
    a: Option<Edge>,
    m: Option<String>,
    #[serde(default)]
    r: Vec<String>,
    l: Option<Edge>,
    k: Option<Kind>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Kind {
    Named(String),
    Keys(Vec<String>),
}

/// An edge: an index alone, or with `m` map relation, `d` default, `p` patch strategy, `k` patch
/// merge key and `i` for a part that is always there.
#[derive(Deserialize)]
#[serde(untagged)]
enum Edge {
    Plain(usize),
    Full {
        t: usize,
        m: Option<String>,
        d: Option<Value>,
        p: Option<String>,
        k: Option<String>,
        #[serde(default)]
        i: bool,
    },
}

impl Edge {
    fn link(&self) -> Link {
        match self {
            Self::Plain(to) => Link::to(*to),
            Self::Full { t, m, .. } => Link {
                to: *t,
                relation: relation(m.as_deref()),
            },
        }
    }

    fn into_field(self) -> Field {
        let link = self.link();
        match self {
            Self::Plain(_) => Field {
                link,
                ..Field::default()
            },
            Self::Full { d, p, k, i, .. } => {
                let words = p.unwrap_or_default();
                let has = |word: &str| words.split(',').any(|w| w == word);
                let patch = PatchStrategy {
                    merge: has("merge"),
                    retain_keys: has("retainKeys"),
                    replace: has("replace"),
                    merge_key: k,
                };
                let absent = if i { Absent::EmptyMap } else { Absent::Nothing };
                Field {
                    link,
                    default: d,
                    absent,
                    patch,
                }
            }
        }
    }
}

impl Row {
    fn into_type(self) -> Type {
        let map = (self.f.is_some() || self.a.is_some()).then(|| MapType {
            fields: self
                .f
                .unwrap_or_default()
                .into_iter()
                .map(|(name, edge)| {
                    let mut field = edge.into_field();
                    if field.absent == Absent::Nothing && self.r.contains(&name) {
                        field.absent = Absent::Null;
                    }
                    (name, field)
                })
                .collect(),
            additional: self.a.map(|edge| edge.link()),
            relation: relation(self.m.as_deref()),
            required: self.r,
        });
        let kind = match self.k {
            Some(Kind::Keys(keys)) => ListKind::Map(keys),
            Some(Kind::Named(name)) if name == "set" => ListKind::Set,
            _ => ListKind::Atomic,
        };
        Type {
            name: self.n,
            scalar: self.s.as_deref().map(scalar),
            list: self.l.map(|edge| ListType {
                kind,
                item: edge.link(),
            }),
            map,
        }
    }
}

fn relation(text: Option<&str>) -> Option<Relation> {
    match text {
        Some("atomic") => Some(Relation::Atomic),
        Some("granular") => Some(Relation::Granular),
        _ => None,
    }
}

fn scalar(text: &str) -> Scalar {
    match text {
        "string" => Scalar::String,
        "date-time" => Scalar::DateTime,
        "byte" => Scalar::Bytes,
        "int-or-string" => Scalar::IntOrString,
        "integer" => Scalar::Integer,
        "number" => Scalar::Number,
        "boolean" => Scalar::Boolean,
        _ => Scalar::Untyped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_reads_in_full() {
        let data: Data = serde_json::from_str(DATA).expect("the committed data parses");
        assert!(data.kinds.len() > 50);
        for info in &data.kinds {
            assert!(
                schema().named(&info.type_name).is_some(),
                "{} has no type",
                info.kind
            );
        }
    }

    #[test]
    fn every_edge_leads_to_a_type() {
        let graph = &schema().graph;
        let good = |link: &Link| link.to < graph.types.len();
        for ty in &graph.types {
            if let Some(map) = &ty.map {
                assert!(map.fields.values().all(|field| good(&field.link)));
                assert!(map.additional.iter().all(good));
            }
            assert!(ty.list.iter().all(|list| good(&list.item)));
        }
    }

    #[test]
    fn containers_are_keyed_by_name_and_ports_by_number_and_protocol() {
        let deployment = schema()
            .type_of("apps", "v1", "Deployment")
            .expect("built in");
        let containers = ["spec", "template", "spec", "containers"]
            .iter()
            .fold(deployment, |ty, name| ty.field(name).expect("declared"));
        assert_eq!(
            containers.list_kind(),
            Some(&ListKind::Map(vec!["name".into()]))
        );
        let ports = containers
            .item()
            .and_then(|item| item.field("ports"))
            .expect("declared");
        let keys = vec!["containerPort".to_string(), "protocol".to_string()];
        assert_eq!(ports.list_kind(), Some(&ListKind::Map(keys)));
        assert_eq!(ports.key_default("protocol"), Some(Value::from("TCP")));
        let patch = containers
            .item()
            .and_then(|item| item.declared("ports").map(|field| field.patch.clone()));
        assert_eq!(
            patch.and_then(|patch| patch.merge_key).as_deref(),
            Some("containerPort")
        );
    }

    #[test]
    fn selectors_are_one_value() {
        let service = schema().type_of("", "v1", "Service").expect("built in");
        let selector = service
            .field("spec")
            .and_then(|spec| spec.field("selector"));
        assert!(selector.expect("declared").is_atomic_map());
        let info = crate::lookup("", "v1", "Service").expect("built in");
        assert_eq!(
            (info.plural.as_str(), info.namespaced, info.has_status()),
            ("services", true, true)
        );
    }
}
