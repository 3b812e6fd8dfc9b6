//! Owns the admission plug-ins that every cluster has on: what they fill in before an object is
//! judged, and what they refuse after. They read the state and write only the object.
//!
//! It refuses admission that users bring (policies and webhooks).

mod accounts;
mod classes;
mod limits;
mod pods;
mod quota;
mod security;
mod security_checks;

use serde_json::Value;

use crate::call::{Call, Part};
use crate::refusal::{Cause, Refusal};
use crate::registry::Resource;
use crate::state::State;

/// A write that is to be admitted.
pub(crate) struct Asked<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) resource: &'a Resource,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) part: Part,
    /// What was there before; none for a new object.
    pub(crate) old: Option<&'a Value>,
}

impl Asked<'_> {
    fn creates(&self, group: &str, kind: &str) -> bool {
        self.old.is_none() && self.part == Part::Whole && self.resource.is(group, kind)
    }

    /// All objects of a built-in kind, in a namespace or in none.
    fn all(
        &self,
        group: &str,
        version: &str,
        plural: &str,
        namespace: Option<&str>,
    ) -> Vec<std::sync::Arc<Value>> {
        let Some(resource) = self.state.registry.get(group, version, plural) else {
            return Vec::new();
        };
        self.state
            .range(resource.storage, namespace)
            .map(|(_, object)| object)
            .collect()
    }

    /// One object of a built-in kind.
    fn find(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Option<std::sync::Arc<Value>> {
        let resource = self.state.registry.get(group, "v1", plural)?;
        self.state
            .get(resource.storage, &weir_object::Key::new(namespace, name))
    }

    fn forbid(&self, object: &Value, why: impl Into<String>) -> Refusal {
        self.forbid_with(object, why, Vec::new())
    }

    fn forbid_with(&self, object: &Value, why: impl Into<String>, causes: Vec<Cause>) -> Refusal {
        let text = |field| weir_object::path::text(object, &["metadata", field]);
        // An object that is still to be named is told by its prefix.
        let name = if text("name").is_empty() {
            text("generateName")
        } else {
            text("name")
        };
        Refusal::Forbidden {
            resource: self.resource.name(),
            name: name.to_owned(),
            why: why.into(),
            causes,
        }
    }
}

/// Fills in what plug-ins fill in, in their order.
pub(crate) fn fill(
    asked: &mut Asked<'_>,
    object: &mut Value,
    call: &mut Call,
) -> Result<(), Refusal> {
    limits::fill(asked, object);
    accounts::fill(asked, object)?;
    pods::priority(asked, object)?;
    pods::tolerations(asked, object);
    classes::storage(asked, object);
    classes::protect(asked, object);
    pods::runtime_class(asked, object)?;
    classes::ingress(asked, object);
    let _ = call;
    Ok(())
}

/// Refuses what plug-ins refuse, in their order. It runs after the object was found valid.
pub(crate) fn judge(asked: &mut Asked<'_>, object: &Value, call: &mut Call) -> Result<(), Refusal> {
    limits::judge(asked, object)?;
    security::judge(asked, object, call)?;
    classes::resize(asked, object)
}

/// Refuses what would be more than quotas allow. It is asked last, after users' own admission.
pub(crate) fn count(asked: &Asked<'_>, object: &Value) -> Result<(), Refusal> {
    quota::judge(asked, object)
}
