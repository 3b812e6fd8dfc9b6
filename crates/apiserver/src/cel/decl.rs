//! Owns the types that a schema declares, and the greatest sizes of what it describes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::escape::escape;
use super::types::{Object, Type};
use crate::structural::{Additional, Structural, Type as Shape};

/// The largest request.
const REQUEST: u64 = 3 * 1024 * 1024;

/// What a schema declares.
#[derive(Clone, Debug)]
pub(crate) struct Decl {
    pub(crate) ty: Type,
    /// The fewest bytes that a value takes.
    pub(crate) least: u64,
    /// The most elements, characters or bytes that a value has.
    pub(crate) most: u64,
    /// Of items or values.
    pub(crate) of: Option<Box<Decl>>,
    pub(crate) fields: BTreeMap<String, Decl>,
}

fn plain(ty: Type, least: u64, most: u64) -> Decl {
    Decl {
        ty,
        least,
        most,
        of: None,
        fields: BTreeMap::new(),
    }
}

impl Decl {
    /// What a schema declares, or `None` when expressions may not see it. `root` objects have
    /// `apiVersion`, `kind`, and a little `metadata`.
    pub(crate) fn of(schema: &Structural, name: &str, root: bool) -> Option<Self> {
        if schema.int_or_string {
            let most = schema
                .max_length
                .map_or(REQUEST - 2, |max| max.saturating_mul(4));
            return Some(plain(Type::Dyn, 1, most));
        }
        match schema.kind? {
            Shape::Array => {
                let items = schema.items.as_deref()?;
                let of = Self::of(items, &format!("{name}.@idx"), items.embedded)?;
                let most = schema.max_items.unwrap_or((REQUEST - 2) / (of.least + 1));
                Some(Self {
                    ty: Type::list(of.ty.clone()),
                    least: 2,
                    most,
                    of: Some(Box::new(of)),
                    fields: BTreeMap::new(),
                })
            }
            Shape::Object => match &schema.additional {
                Additional::Each(values) => {
                    let of = Self::of(values, &format!("{name}.@elem"), values.embedded)?;
                    let most = schema
                        .max_properties
                        .unwrap_or((REQUEST - 2) / (of.least + 6));
                    Some(Self {
                        ty: Type::map(Type::Text, of.ty.clone()),
                        least: 2,
                        most,
                        of: Some(Box::new(of)),
                        fields: BTreeMap::new(),
                    })
                }
                _ => Some(Self::object(schema, name, root)),
            },
            Shape::String => Some(Self::text(schema)),
            Shape::Boolean => Some(plain(Type::Bool, 4, 0)),
            Shape::Number => Some(plain(Type::Double, 1, 0)),
            Shape::Integer => Some(plain(Type::Int, 1, 0)),
        }
    }

    fn object(schema: &Structural, name: &str, root: bool) -> Self {
        let mut fields = BTreeMap::new();
        let mut least = 2;
        for (property, of) in &schema.properties {
            if root && matches!(property.as_str(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            let Some(spelled) = escape(property) else {
                continue;
            };
            let Some(decl) = Self::of(of, &format!("{name}.{spelled}"), of.embedded) else {
                continue;
            };
            if schema.required.contains(property) && of.default.is_none() {
                least += property.len() as u64 + decl.least + 4;
            }
            fields.insert(spelled, decl);
        }
        if root {
            let text = || plain(Type::Text, 2, REQUEST - 2);
            fields.insert("apiVersion".to_owned(), text());
            fields.insert("kind".to_owned(), text());
            let inner = ["name", "generateName"].map(|field| (field.to_owned(), text()));
            let metadata = Self::fields(format!("{name}.metadata"), inner.into(), 2);
            fields.insert("metadata".to_owned(), metadata);
        }
        Self::fields(name.to_owned(), fields, least)
    }

    fn fields(name: String, fields: BTreeMap<String, Self>, least: u64) -> Self {
        let types = fields
            .iter()
            .map(|(field, decl)| (field.clone(), decl.ty.clone()))
            .collect();
        Self {
            ty: Type::Object(Arc::new(Object {
                name,
                fields: types,
            })),
            least,
            most: 0,
            of: None,
            fields,
        }
    }

    fn text(schema: &Structural) -> Self {
        match schema.format.as_deref() {
            Some("byte") => plain(Type::Bytes, 2, schema.max_length.unwrap_or(REQUEST - 2)),
            Some("duration") => plain(Type::Duration, 3, 32),
            Some("date") => plain(Type::Timestamp, 12, 12),
            Some("date-time") => plain(Type::Timestamp, 21, 32),
            _ => {
                let most = match (schema.max_length, &schema.one_of_values) {
                    (Some(max), _) => max.saturating_mul(4),
                    (None, Some(values)) => values
                        .iter()
                        .filter_map(serde_json::Value::as_str)
                        .map(|v| v.len() as u64)
                        .max()
                        .unwrap_or_default(),
                    (None, None) => REQUEST - 2,
                };
                plain(Type::Text, 2, most)
            }
        }
    }

    /// An object with the fields given, for variables that no schema declares.
    pub(crate) fn record(name: &str, fields: Vec<(&str, Type)>) -> Type {
        let fields = fields
            .into_iter()
            .map(|(field, ty)| (field.to_owned(), ty))
            .collect();
        Type::Object(Arc::new(Object {
            name: name.to_owned(),
            fields,
        }))
    }
}
