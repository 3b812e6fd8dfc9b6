//! Owns server-side apply and the tracking of who owns which field (`metadata.managedFields`).
//!
//! [`apply`] merges an apply configuration into the live object; [`update`] records what any other
//! write changed. Both answer the object to store, with its managed fields. [`settle`] undoes a
//! write that changed nothing but times, and [`extract`] reads back what one manager owns.
//!
//! It refuses defaulting (do it on `new` before [`update`] and on the result after [`apply`], as
//! the API server does), validation beyond the shape of a configuration, and reading a clock.

mod applying;
mod entries;
mod updating;
mod versions;

use std::fmt;

use serde_json::Value;
use weir_schema::TypeRef;

use crate::element::UnreadableFields;
use crate::element::same;
use crate::fieldset::FieldSet;
use crate::typed;

pub use applying::apply;
pub use updating::update;

/// How a manager wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    /// The word in `managedFields`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One entry of `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub struct Manager {
    /// The manager's name.
    pub name: String,
    /// How it wrote.
    pub operation: Operation,
    /// The version its fields are named in.
    pub api_version: String,
    /// The subresource it wrote through; empty for the object itself.
    pub subresource: String,
    /// When its fields last changed, RFC 3339.
    pub time: Option<String>,
    /// What it owns.
    pub fields: FieldSet,
}

/// Who writes now, and how.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The field manager's name.
    pub manager: &'a str,
    /// The API version of the request, such as `apps/v1`.
    pub api_version: &'a str,
    /// The subresource of the request; empty for the object itself.
    pub subresource: &'a str,
    /// The time to record, RFC 3339 in whole seconds.
    pub now: &'a str,
    /// Fields that a write through this door never owns, with all below them: `status` for the
    /// object itself where there is a status subresource, `spec` for that subresource. The caller
    /// also resets their values to the live ones.
    pub ignored: &'a FieldSet,
    /// The other versions of the kind with their types. What was owned in a version that is not
    /// here is owned no more.
    pub versions: &'a [(String, TypeRef)],
}

impl Writer<'_> {
    /// What is recorded as the time of a share. Kubernetes makes the shares of a scale anew from
    /// what its face owns, which has no times.
    fn time(&self) -> Option<String> {
        (self.subresource != "scale").then(|| self.now.to_owned())
    }
}

/// One field that another manager owns with a different value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The owner as the API server words it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// The field, such as `.spec.replicas`.
    pub field: String,
}

/// The conflicts of an apply, sorted by manager and field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = self.0.as_slice() {
            return write!(
                f,
                "Apply failed with 1 conflict: conflict with {}: {}",
                one.manager, one.field
            );
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut last = None;
        for conflict in &self.0 {
            if last != Some(&conflict.manager) {
                let lead = if last.is_some() { "\n" } else { "" };
                write!(f, "{lead}conflicts with {}:", conflict.manager)?;
                last = Some(&conflict.manager);
            }
            write!(f, "\n- {}", conflict.field)?;
        }
        Ok(())
    }
}

/// An apply that can't be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyFailure {
    /// Other managers own fields with different values. Terminal until forced, or until those
    /// managers let go. The text is the API server's.
    #[error("{0}")]
    Conflicts(Conflicts),
    /// The configuration does not fit its type. Terminal: it must change.
    #[error("{}", typed::told(.reasons))]
    Invalid {
        /// One text for each place.
        reasons: Vec<String>,
    },
    /// The object has no form in a version that a manager wrote in. Terminal until that manager's
    /// entry goes, or the definition changes. The text is the API server's.
    #[error("{0}")]
    Failed(String),
    /// The configuration carries `metadata.managedFields`. Terminal: leave it out.
    #[error("metadata.managedFields must be nil")]
    CarriesManagedFields,
    /// The configuration is of another version than the request. Terminal.
    #[error(
        "Incorrect version specified in apply patch. Specified patch version: {found}, expected: {expected}"
    )]
    WrongVersion {
        /// The version in the configuration.
        found: String,
        /// The version of the request.
        expected: String,
    },
    /// The live object's managed fields can't be read. Terminal: reset them with an update that
    /// carries an empty list.
    #[error("the managed fields of the live object are unreadable: {0}")]
    Unreadable(#[from] UnreadableEntries),
}

/// `metadata.managedFields` that no API server wrote. Terminal: reset them by writing an empty
/// list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableEntries {
    /// An entry lacks its operation, version or type of fields.
    #[error("entry {index} has no proper {what}; write an empty list to start anew")]
    Entry {
        /// Its place, from 0.
        index: usize,
        /// What is missing.
        what: &'static str,
    },
    /// The fields of an entry are no field paths.
    #[error("entry {index}: {fault}")]
    Fields {
        /// Its place, from 0.
        index: usize,
        /// What the reader met.
        fault: UnreadableFields,
    },
}

/// The entries of an object's `metadata.managedFields`, in their order there.
pub fn managers(object: &Value) -> Result<Vec<Manager>, UnreadableEntries> {
    entries::read(object)
}

/// What a manager owns through server-side apply (by `subresource`; empty for the object itself),
/// as an apply configuration with the object's identity. Applying it again changes nothing.
pub fn extract(live: &Value, manager: &str, subresource: &str, ty: &TypeRef) -> Value {
    let fields = managers(live)
        .unwrap_or_default()
        .into_iter()
        .find(|entry| {
            entry.operation == Operation::Apply
                && entry.name == manager
                && entry.subresource == subresource
        })
        .map(|entry| typed::reconcile(&entry.fields, ty))
        .unwrap_or_default();
    let mut out =
        typed::extract(live, &fields, ty).unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    for path in [
        &["apiVersion"][..],
        &["kind"],
        &["metadata", "name"],
        &["metadata", "namespace"],
    ] {
        if let Some(value) = weir_object::path::get(live, path) {
            weir_object::path::set(&mut out, path, value.clone());
        }
    }
    out
}

/// The object to store: the live one when `new` differs from it in nothing but the times of its
/// managed fields, else `new`. Call it last, after defaulting and admission, so that a write that
/// changes nothing stays without effect.
pub fn settle(live: &Value, new: Value) -> Value {
    if same(&timeless(live), &timeless(&new)) {
        live.clone()
    } else {
        new
    }
}

fn timeless(object: &Value) -> Value {
    let mut out = object.clone();
    let entries = weir_object::path::get_mut(&mut out, &["metadata", "managedFields"]);
    for entry in entries.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.shift_remove("time");
        }
    }
    out
}
