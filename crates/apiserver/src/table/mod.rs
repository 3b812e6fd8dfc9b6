//! Owns tables, the form in which `kubectl get` shows objects. It refuses to print them.

mod age;
mod autoscaling;
mod cells;
mod columns;
mod network;
mod pods;
mod row;
mod storage;
mod workloads;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::jsonpath::JsonPath;
use weir_object::path;

use crate::answer;
use crate::openapi::words;
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::request::Shared;

pub(crate) use age::age;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

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
        description: match path::text(column, &["description"]) {
            "" => format!(
                "Custom resource definition column (in JSONPath format): {}",
                path::text(column, &["jsonPath"])
            ),
            own => own.to_owned(),
        },
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
            description: words::of_field(OBJECT_META, "creationTimestamp")
                .unwrap_or_default()
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

/// Refuses what a table cannot hold of its objects.
pub(crate) fn check(include: Option<&str>) -> Result<(), Refusal> {
    match include {
        None | Some("" | "None" | "Metadata" | "Object") => Ok(()),
        Some(other) => Err(Refusal::BadRequest(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": \
             must be 'Metadata', 'Object', 'None', or empty"
        ))),
    }
}

/// The columns of a kind.
fn definitions(resource: &Resource) -> Vec<Value> {
    let kind = &resource.kind;
    let Some(custom) = &resource.custom else {
        let columns = columns::of(&kind.group, &kind.version, &kind.kind).iter();
        return columns
            .map(|c| definition(&c.name, &c.kind, &c.format, &c.description, c.priority))
            .collect();
    };
    let name = words::of_field(OBJECT_META, "name").unwrap_or_default();
    let mut out = vec![definition("Name", "string", "name", name, 0)];
    let columns = custom.columns.iter();
    out.extend(
        columns.map(|c| definition(&c.name, &c.kind, &c.format, &c.description, c.priority)),
    );
    out
}

/// Objects as a table. `include` is the query's `includeObject`; later events of a watch leave
/// out the columns.
pub(crate) fn render(
    resource: &Resource,
    objects: &[Arc<Value>],
    meta: &Value,
    include: Option<&str>,
    now: Timestamp,
    shared: Shared,
    first: bool,
) -> Value {
    let row = |object: &Arc<Value>| {
        let cells = match &resource.custom {
            Some(custom) => {
                let name = path::text(object, &["metadata", "name"]);
                let own = custom.columns.iter().map(|c| c.cell(object, now));
                std::iter::once(name.into()).chain(own).collect()
            }
            None => cells::of(resource, object, now),
        };
        let mut row = json!({"cells": cells});
        if let Some((reason, message)) = resource
            .is("", "Pod")
            .then(|| pods::completion(object))
            .flatten()
        {
            let condition = json!([{"type": "Completed", "status": "True", "reason": reason,
                "message": message}]);
            path::set(&mut row, &["conditions"], condition);
        }
        let shown = match include {
            Some("None") => Value::Null,
            Some("Object") => (**object).clone(),
            _ => answer::partial(object, shared),
        };
        path::set(&mut row, &["object"], shown);
        row
    };
    let mut rows: Vec<&Arc<Value>> = objects.iter().collect();
    if resource.is("flowcontrol.apiserver.k8s.io", "FlowSchema") {
        rows.sort_by_key(|object| {
            let order = path::get(object, &["spec", "matchingPrecedence"]).and_then(Value::as_i64);
            (order, path::text(object, &["metadata", "name"]).to_owned())
        });
    }
    let rows: Vec<Value> = rows.into_iter().map(row).collect();
    let mut table = json!({
        "kind": "Table", "apiVersion": shared.api_version(), "metadata": meta,
    });
    let shown = if first {
        definitions(resource).into()
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
        match (self.kind.as_str(), value) {
            (_, Value::Null) => Value::Null,
            ("date", Value::String(text)) => match text.parse::<Timestamp>() {
                Ok(_) => age(text, now).into(),
                Err(_) => "<invalid>".into(),
            },
            // Whole numbers are cut to be so, as Go converts them.
            ("integer", Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole.into(),
                (None, float) => (float.unwrap_or_default() as i64).into(),
            },
            ("number", Value::Number(_))
            | ("boolean", Value::Bool(_))
            | ("string", Value::String(_)) => value.clone(),
            ("string", other) => other.to_string().into(),
            _ => Value::Null,
        }
    }
}
