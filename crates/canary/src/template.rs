//! Owns where an analysed pod template is kept until it is promoted: a ControllerRevision per
//! revision, named by its hash and owned by the Canary. Its data can't be changed on the server, and
//! it is used only when its content has the digest that the run recorded.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::Object;
use weir_rollout::{Revision, State};

use crate::configs::Digests;
use crate::deployment::{is_owned, owner};

/// Label of stored templates: the Canary they belong to.
const CANARY: &str = "flagger.app/canary";

/// The name of a revision's stored template.
pub(crate) fn name(canary: &str, revision: &str) -> String {
    format!("{canary}-{}", Revision::name_part(revision))
}

/// A template to store.
pub(crate) fn record(
    canary: &Object,
    revision: &str,
    template: &Value,
    configs: &Digests,
) -> Object {
    let mut data = json!({"revision": revision, "template": template});
    if !configs.is_empty() {
        data["configs"] = json!(configs);
    }
    Object(json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name(canary.name(), revision),
            "namespace": canary.namespace(),
            "labels": {CANARY: canary.name()},
            "ownerReferences": [owner(canary)],
        },
        "data": data,
        "revision": 1,
    }))
}

/// The stored templates of a Canary, among all of its namespace.
pub(crate) fn of_canary(all: Vec<Arc<Object>>, canary: &Object) -> Vec<Arc<Object>> {
    all.into_iter()
        .filter(|o| o.label(CANARY) == Some(canary.name()) && is_owned(o, canary))
        .collect()
}

/// A revision as it is stored.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) revision: &'a str,
    pub(crate) template: &'a Value,
    record: &'a Object,
}

impl Stored<'_> {
    /// The digests of the configuration it refers to.
    pub(crate) fn configs(&self) -> Digests {
        configs(self.record)
    }
}

/// The digests of the configuration a stored template refers to.
pub(crate) fn configs(record: &Object) -> Digests {
    let all = record.get(&["data", "configs"]).and_then(Value::as_object);
    all.into_iter()
        .flatten()
        .filter_map(|(id, digest)| Some((id.clone(), digest.as_str()?.to_owned())))
        .collect()
}

/// The stored template of a revision, if its content is that revision.
pub(crate) fn find<'a>(records: &'a [Arc<Object>], revision: &str) -> Option<Stored<'a>> {
    let record = records
        .iter()
        .find(|o| o.text(&["data", "revision"]) == revision)?;
    let template = record.get(&["data", "template"])?;
    (Revision::with(template, &configs(record)).id == revision).then(|| Stored {
        revision: record.text(&["data", "revision"]),
        template,
        record,
    })
}

/// Whether a revision's stored template may still be needed.
pub(crate) fn is_needed(state: Option<&State>, revision: &str) -> bool {
    state.is_some_and(|state| {
        let run = state.run.as_ref();
        run.is_some_and(|r| r.revision == revision || r.before.as_deref() == Some(revision))
            || state.last_promoted_spec.as_deref() == Some(revision)
            || state.previous.iter().any(|r| r == revision)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_template_is_found_by_what_it_is() {
        let canary = Object(
            json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "web", "namespace": "demo", "uid": "u1"}}),
        );
        let template = json!({"spec": {"containers": [{"name": "web", "image": "web:1"}]}});
        let revision = Revision::of(&template);
        let stored = record(&canary, &revision.id, &template, &Digests::new());
        assert_eq!(
            stored.name(),
            format!("web-{}", revision.id.trim_start_matches("v1:"))
        );
        let mut forged = stored.clone();
        forged.set(&["data", "template", "spec", "hostNetwork"], true.into());
        let found = |o: &Object| {
            let records = of_canary(vec![Arc::new(o.clone())], &canary);
            find(&records, &revision.id).map(|s| s.template.clone())
        };
        assert_eq!(found(&stored), Some(template));
        assert_eq!(found(&forged), None);
    }
}
