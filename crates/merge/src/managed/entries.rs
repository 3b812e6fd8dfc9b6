//! Owns the table of managers behind `metadata.managedFields`: its reading, its writing in the
//! API server's order, and the limit on the number of updaters.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Manager, Operation, UnreadableEntries, Writer};
use crate::fieldset::FieldSet;

/// How many managers of plain writes are told apart.
const MAX_UPDATERS: usize = 10;
/// Who owns the fields of the eldest ones beyond that.
const ANCIENT: &str = "ancient-changes";

/// Who an entry belongs to. An applier is the same whatever version it writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) operation: Operation,
    /// Empty for appliers.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Owner {
    pub(super) fn of(writer: &Writer<'_>, operation: Operation) -> Self {
        let manager = if writer.manager.is_empty() {
            "unknown"
        } else {
            writer.manager
        };
        let api_version = match operation {
            Operation::Apply => "",
            Operation::Update => writer.api_version,
        };
        Self {
            manager: manager.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
        }
    }

    /// The text by which the API server tells and orders owners.
    pub(super) fn identity(&self) -> String {
        let mut out = Map::new();
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                out.insert(key.to_owned(), value.into());
            }
        };
        put("manager", &self.manager);
        put("operation", self.operation.as_str());
        put("apiVersion", &self.api_version);
        put("subresource", &self.subresource);
        Value::Object(out).to_string()
    }

    /// The owner in the words of the API server.
    pub(super) fn shown(&self) -> String {
        let mut out = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            out.push_str(" with subresource ");
            out.push_str(&Value::String(self.subresource.clone()).to_string());
        }
        if self.operation == Operation::Update {
            out.push_str(" using ");
            out.push_str(&self.api_version);
        }
        out
    }
}

/// What an owner owns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Share {
    pub(super) fields: FieldSet,
    pub(super) api_version: String,
    pub(super) time: Option<String>,
}

pub(super) type Table = BTreeMap<Owner, Share>;

/// The list of entries of an object, when it has one.
pub(super) fn list(object: &Value) -> Option<&Vec<Value>> {
    weir_object::path::get(object, &["metadata", "managedFields"])?.as_array()
}

pub(super) fn read(object: &Value) -> Result<Vec<Manager>, UnreadableEntries> {
    list(object)
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, entry)| one(index, entry))
        .collect()
}

fn one(index: usize, entry: &Value) -> Result<Manager, UnreadableEntries> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let lacks = |what| UnreadableEntries::Entry { index, what };
    let operation = match text("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err(lacks("operation")),
    };
    if text("apiVersion").is_empty() {
        return Err(lacks("apiVersion"));
    }
    if text("fieldsType") != "FieldsV1" {
        return Err(lacks("fieldsType"));
    }
    let fields = match entry.get("fieldsV1") {
        None | Some(Value::Null) => FieldSet::default(),
        Some(fields) => FieldSet::from_fields_v1(fields)
            .map_err(|fault| UnreadableEntries::Fields { index, fault })?,
    };
    Ok(Manager {
        name: text("manager").to_owned(),
        operation,
        api_version: text("apiVersion").to_owned(),
        subresource: text("subresource").to_owned(),
        time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
        fields,
    })
}

pub(super) fn table(object: &Value) -> Result<Table, UnreadableEntries> {
    let rows = read(object)?.into_iter().map(|entry| {
        let api_version = match entry.operation {
            Operation::Apply => String::new(),
            Operation::Update => entry.api_version.clone(),
        };
        let owner = Owner {
            manager: entry.name,
            operation: entry.operation,
            api_version,
            subresource: entry.subresource,
        };
        let share = Share {
            fields: entry.fields,
            api_version: entry.api_version,
            time: entry.time,
        };
        (owner, share)
    });
    Ok(rows.collect())
}

/// Takes the managed fields off an object.
pub(super) fn strip(object: &mut Value) {
    weir_object::path::remove(object, &["metadata", "managedFields"]);
}

/// Writes the table into the object.
pub(super) fn store(object: &mut Value, table: &Table) {
    strip(object);
    if table.is_empty() {
        return;
    }
    let mut rows: Vec<(&Owner, &Share)> = table.iter().collect();
    rows.sort_by(|(p, ps), (q, qs)| {
        (
            p.operation,
            &ps.time,
            &p.manager,
            &ps.api_version,
            &p.subresource,
        )
            .cmp(&(
                q.operation,
                &qs.time,
                &q.manager,
                &qs.api_version,
                &q.subresource,
            ))
    });
    let entries = rows.into_iter().map(|(owner, share)| {
        let mut entry = Map::new();
        entry.insert("manager".to_owned(), json!(owner.manager));
        entry.insert("operation".to_owned(), json!(owner.operation.as_str()));
        entry.insert("apiVersion".to_owned(), json!(share.api_version));
        if let Some(time) = &share.time {
            entry.insert("time".to_owned(), json!(time));
        }
        entry.insert("fieldsType".to_owned(), json!("FieldsV1"));
        entry.insert("fieldsV1".to_owned(), share.fields.to_fields_v1());
        if !owner.subresource.is_empty() {
            entry.insert("subresource".to_owned(), json!(owner.subresource));
        }
        Value::Object(entry)
    });
    let entries = Value::Array(entries.collect());
    weir_object::path::set(object, &["metadata", "managedFields"], entries);
}

/// Fields that have no owner: identity and what the server writes.
pub(super) fn unowned() -> FieldSet {
    FieldSet::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
}

/// Joins the eldest updaters into one when there are too many, by version.
pub(super) fn cap(table: &mut Table) {
    let mut updaters: Vec<Owner> = table
        .keys()
        .filter(|owner| owner.operation == Operation::Update)
        .cloned()
        .collect();
    let mut count = updaters.len();
    if count <= MAX_UPDATERS {
        return;
    }
    updaters.sort_by(|p, q| {
        let time = |owner: &Owner| table.get(owner).and_then(|share| share.time.clone());
        time(p).cmp(&time(q)).then_with(|| p.cmp(q))
    });
    let mut first: BTreeMap<String, Owner> = BTreeMap::new();
    for owner in updaters {
        if count <= MAX_UPDATERS {
            break;
        }
        let Some(share) = table.get(&owner).cloned() else {
            continue;
        };
        let Some(eldest) = first.get(&share.api_version) else {
            first.insert(share.api_version, owner);
            continue;
        };
        let bucket = Owner {
            manager: ANCIENT.to_owned(),
            operation: Operation::Update,
            api_version: share.api_version.clone(),
            subresource: String::new(),
        };
        if !table.contains_key(&bucket)
            && let Some(old) = table.remove(eldest)
        {
            table.insert(bucket.clone(), old);
        }
        if let Some(joined) = table.get_mut(&bucket) {
            joined.fields = joined.fields.union(&share.fields);
            // The later time, which is that of the one joined now.
            joined.time = share.time;
        }
        table.remove(&owner);
        count -= 1;
    }
}
