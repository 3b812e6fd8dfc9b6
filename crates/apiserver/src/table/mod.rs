//! Owns tables, the form in which `kubectl get` shows objects. It refuses to print them.

mod age;
mod columns;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::jsonpath::JsonPath;
use weir_object::path;

use crate::answer;
use crate::registry::Resource;

pub(crate) use age::age;

/// A column that a definition adds.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
    path: Option<JsonPath>,
}

/// Reads `additionalPrinterColumns`. A path that cannot be read leaves its cells empty.
pub(crate) fn custom_columns(columns: &[Value]) -> Vec<Column> {
    let read = |column: &Value| Column {
        name: path::text(column, &["name"]).to_owned(),
        kind: path::text(column, &["type"]).to_owned(),
        format: path::text(column, &["format"]).to_owned(),
        description: path::text(column, &["description"]).to_owned(),
        priority: column
            .get("priority")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        path: JsonPath::parse(path::text(column, &["jsonPath"])).ok(),
    };
    if columns.is_empty() {
        return vec![Column {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description: "CreationTimestamp is a timestamp representing the server time when this \
                          object was created."
                .to_owned(),
            priority: 0,
            path: JsonPath::parse(".metadata.creationTimestamp").ok(),
        }];
    }
    columns.iter().map(read).collect()
}

fn definition(name: &str, kind: &str, format: &str, description: &str, priority: i64) -> Value {
    json!({"name": name, "type": kind, "format": format, "description": description,
        "priority": priority})
}

/// Objects as a table. `include` is the query's `includeObject`; later events of a watch leave
/// out the columns.
pub(crate) fn render(
    resource: &Resource,
    objects: &[Arc<Value>],
    meta: &Value,
    include: Option<&str>,
    now: Timestamp,
    first: bool,
) -> Value {
    let mut definitions = vec![definition(
        "Name",
        "string",
        "name",
        "Name must be unique within a namespace.",
        0,
    )];
    match &resource.custom {
        Some(custom) => definitions.extend(
            custom
                .columns
                .iter()
                .map(|c| definition(&c.name, &c.kind, &c.format, &c.description, c.priority)),
        ),
        None => definitions.extend(
            columns::columns(resource)
                .iter()
                .map(|(name, kind, priority)| definition(name, kind, "", "", *priority)),
        ),
    }
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut cells = vec![
                path::get(object, &["metadata", "name"])
                    .cloned()
                    .unwrap_or_default(),
            ];
            match &resource.custom {
                Some(custom) => cells.extend(custom.columns.iter().map(|c| c.cell(object, now))),
                None => cells.extend(columns::cells(resource, object, now)),
            }
            match include {
                Some("None") => json!({"cells": cells}),
                Some("Object") => json!({"cells": cells, "object": **object}),
                _ => json!({"cells": cells, "object": answer::partial(object)}),
            }
        })
        .collect();
    let mut table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta});
    let shown = if first {
        definitions.into()
    } else {
        Value::Null
    };
    path::set(&mut table, &["columnDefinitions"], shown);
    path::set(&mut table, &["rows"], rows.into());
    table
}

impl Column {
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self
            .path
            .as_ref()
            .map(|p| p.find(object))
            .unwrap_or_default();
        let Some(value) = found.first().copied() else {
            return Value::Null;
        };
        match self.kind.as_str() {
            "date" => value
                .as_str()
                .map_or(Value::Null, |text| age(text, now).into()),
            "integer" | "number" | "boolean" => match value {
                Value::Number(_) | Value::Bool(_) => value.clone(),
                _ => Value::Null,
            },
            _ => match value {
                Value::String(_) => value.clone(),
                Value::Null => Value::Null,
                other => other.to_string().into(),
            },
        }
    }
}
