//! Owns the Go structs behind the built-in kinds (`data/go-1.34.json`): field names in the order in
//! which they are written, which are left out when empty, and what errors call their types.
//! It refuses merging and documentation, which go by the published OpenAPI (`builtin`).

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde::Deserialize;

static DATA: &str = include_str!("../data/go-1.34.json");

/// The number of a type.
pub type GoId = usize;

/// What a Go type is to encoding/json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoForm {
    /// A struct with its fields in order.
    Struct(GoStruct),
    /// A list of one type.
    List(GoEdge),
    /// A map from text to one type.
    Map(GoEdge),
    /// Text, also under a name of its own.
    Text,
    /// True or false.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating point number.
    Float,
    /// Bytes, written as base64.
    Bytes,
    /// A time in whole seconds.
    Time,
    /// A time in microseconds.
    MicroTime,
    /// An amount such as `500m`.
    Quantity,
    /// An integer or text.
    IntOrString,
    /// A JSON schema or a boolean.
    SchemaOrBool,
    /// A JSON schema or a list of them.
    SchemaOrList,
    /// A JSON schema or a list of texts.
    SchemaOrTexts,
    /// Anything, kept as it is.
    Raw,
}

/// The fields of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoStruct {
    /// The name errors use.
    pub name: String,
    /// In the order in which they are written.
    pub fields: Vec<GoField>,
    index: HashMap<String, usize>,
}

impl GoStruct {
    /// Where the field of exactly this name is.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoField {
    /// Its name in JSON.
    pub name: String,
    /// Its type.
    pub edge: GoEdge,
    /// Left out when it is false, 0, empty or nil.
    pub omit_empty: bool,
    /// Left out when it is its type's zero.
    pub omit_zero: bool,
}

/// The way to a type, perhaps through a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoEdge {
    /// The type at its end.
    pub to: GoId,
    /// Whether it may be nil.
    pub pointer: bool,
}

/// Where a type that has no elements leads.
const NOWHERE: GoEdge = GoEdge {
    to: GoId::MAX,
    pointer: false,
};

/// A Go type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoType {
    /// What errors call it, such as `v1.ObjectMeta` or `int32`.
    pub shown: String,
    /// What it is.
    pub form: GoForm,
}

/// All the types.
#[derive(Debug, Default)]
pub struct GoTypes {
    kinds: BTreeMap<String, GoId>,
    types: Vec<GoType>,
    schema: Option<GoId>,
}

impl GoTypes {
    /// The types of Kubernetes 1.34.
    pub fn builtin() -> &'static Self {
        static CELL: OnceLock<GoTypes> = OnceLock::new();
        // The data is part of the program; a test reads all of it.
        CELL.get_or_init(|| {
            serde_json::from_str::<Data>(DATA).map_or_else(|_| Self::default(), Self::read)
        })
    }

    /// The type of a built-in kind, by its `apiVersion`.
    pub fn of(&self, api_version: &str, kind: &str) -> Option<GoId> {
        self.kinds.get(&format!("{api_version}/{kind}")).copied()
    }

    /// The metadata of every object.
    pub fn object_meta(&self) -> Option<GoId> {
        self.kinds.get("meta/ObjectMeta").copied()
    }

    /// A JSON schema within a CustomResourceDefinition.
    pub fn json_schema(&self) -> Option<GoId> {
        self.schema
    }

    /// The type of a number.
    pub fn get(&self, id: GoId) -> Option<&GoType> {
        self.types.get(id)
    }

    fn read(data: Data) -> Self {
        let types: Vec<GoType> = data.types.into_iter().map(Row::into_type).collect();
        let schema = types.iter().position(|ty| ty.shown == "v1.JSONSchemaProps");
        Self {
            kinds: data.kinds,
            types,
            schema,
        }
    }
}

#[derive(Deserialize)]
struct Data {
    kinds: BTreeMap<String, GoId>,
    types: Vec<Row>,
}

/// A type as written in the data; the keys are told beside their writer, tests/go/types.
#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    n: String,
    g: String,
    k: String,
    #[serde(default)]
    f: Vec<(String, GoId, String)>,
    e: Option<(String, GoId, String)>,
}

impl Row {
    fn into_type(self) -> GoType {
        let edge = |(_, to, flags): (String, GoId, String)| GoEdge {
            to,
            pointer: flags.contains('p'),
        };
        let element = self.e.map_or(NOWHERE, edge);
        let form = match self.k.as_str() {
            "struct" => {
                let fields: Vec<GoField> = self
                    .f
                    .into_iter()
                    .map(|(name, to, flags)| GoField {
                        name,
                        edge: GoEdge {
                            to,
                            pointer: flags.contains('p'),
                        },
                        omit_empty: flags.contains('o'),
                        omit_zero: flags.contains('z'),
                    })
                    .collect();
                let index = fields
                    .iter()
                    .enumerate()
                    .map(|(i, f)| (f.name.clone(), i))
                    .collect();
                GoForm::Struct(GoStruct {
                    name: self.n,
                    fields,
                    index,
                })
            }
            "list" => GoForm::List(element),
            "map" => GoForm::Map(element),
            "string" => GoForm::Text,
            "bool" => GoForm::Bool,
            "int32" => GoForm::Int32,
            "int64" => GoForm::Int64,
            "float64" => GoForm::Float,
            "bytes" => GoForm::Bytes,
            "Time" => GoForm::Time,
            "MicroTime" => GoForm::MicroTime,
            "Quantity" => GoForm::Quantity,
            "IntOrString" => GoForm::IntOrString,
            "JSONSchemaPropsOrBool" => GoForm::SchemaOrBool,
            "JSONSchemaPropsOrArray" => GoForm::SchemaOrList,
            "JSONSchemaPropsOrStringArray" => GoForm::SchemaOrTexts,
            _ => GoForm::Raw,
        };
        GoType {
            shown: self.g,
            form,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_kind_has_a_struct_and_every_edge_an_end() {
        let types = GoTypes::builtin();
        for info in crate::builtin_kinds() {
            let id = types.of(&info.api_version(), &info.kind);
            let id = id.unwrap_or_else(|| panic!("{} {}", info.api_version(), info.kind));
            assert!(
                matches!(types.get(id).expect("there").form, GoForm::Struct(_)),
                "{}",
                info.kind
            );
        }
        for ty in &types.types {
            let ends: Vec<GoId> = match &ty.form {
                GoForm::Struct(of) => of.fields.iter().map(|f| f.edge.to).collect(),
                GoForm::List(edge) | GoForm::Map(edge) => vec![edge.to],
                _ => vec![],
            };
            assert!(
                ends.iter().all(|id| types.get(*id).is_some()),
                "{}",
                ty.shown
            );
        }
        assert!(types.object_meta().is_some() && types.json_schema().is_some());
    }

    #[test]
    fn a_field_knows_how_it_is_written() {
        let types = GoTypes::builtin();
        let id = types.of("apps/v1", "Deployment").expect("known");
        let GoForm::Struct(of) = &types.get(id).expect("there").form else {
            panic!("a struct");
        };
        let status = &of.fields[of.find("status").expect("a field")];
        assert!(of.find("Status").is_none());
        assert_eq!((status.omit_empty, status.edge.pointer), (true, false));
        assert_eq!(
            types.get(status.edge.to).expect("there").shown,
            "v1.DeploymentStatus"
        );
    }
}
