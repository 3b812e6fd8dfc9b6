//! Owns the seam to the merge rules: how a patch becomes an object, and who owns its fields then.
//! It refuses storage and validation.

use std::sync::LazyLock;

use serde_json::Value;
use weir_merge::FieldSet;
use weir_merge::managed::{self, ApplyFailure, Writer};
use weir_object::path;

use crate::call::{Call, Part, stamp};
use crate::refusal::{Cause, Refusal};
use crate::registry::Resource;

/// The kinds of patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

static NOTHING: LazyLock<FieldSet> = LazyLock::new(FieldSet::default);
static STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["status"]]));
static BUT_STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["spec"]]));

fn ignored(resource: &Resource, part: Part) -> &'static FieldSet {
    match part {
        Part::Whole if resource.status => &STATUS,
        Part::Status => &BUT_STATUS,
        _ => &NOTHING,
    }
}

/// Applies a JSON, merge or strategic patch.
pub(crate) fn patched(
    resource: &Resource,
    live: &Value,
    kind: PatchKind,
    patch: &Value,
) -> Result<Value, Refusal> {
    match kind {
        PatchKind::Json => {
            if patch.as_array().is_some_and(|ops| ops.len() > 10_000) {
                return Err(Refusal::TooLarge { limit: 10_000 });
            }
            weir_merge::json_patch(live, patch).map_err(|failure| match failure {
                weir_merge::PatchFailure::Unreadable { .. } => {
                    Refusal::BadRequest(failure.to_string())
                }
                weir_merge::PatchFailure::Operation { .. } => Refusal::Unprocessable(format!(
                    "the server rejected our request due to an error in our request: {failure}"
                )),
            })
        }
        PatchKind::Strategic if resource.custom.is_none() => {
            weir_merge::strategic::merge_patch(live, patch, &resource.typing)
                .map_err(|failure| Refusal::BadRequest(failure.to_string()))
        }
        PatchKind::Strategic => Err(Refusal::UnsupportedMediaType {
            accepted: "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        }),
        PatchKind::Merge | PatchKind::Apply => {
            if !patch.is_object() {
                return Err(Refusal::BadRequest(
                    "a merge patch must be a JSON object".to_owned(),
                ));
            }
            let mut out = live.clone();
            weir_merge::json_merge(&mut out, patch);
            Ok(out)
        }
    }
}

/// Applies a configuration and answers the object with its managed fields.
pub(crate) fn applied(
    resource: &Resource,
    live: Option<&Value>,
    config: &Value,
    part: Part,
    call: &Call,
) -> Result<Value, Refusal> {
    let now = stamp(call.now);
    let writer = Writer {
        manager: &call.manager,
        api_version: &resource.api_version,
        subresource: part.name(),
        now: &now,
        ignored: ignored(resource, part),
    };
    // A role without rules says null, which nobody owns.
    let empty = |live: &&Value| live.get("rules").is_some_and(Value::is_null);
    let bare = live.filter(empty).map(|live| {
        let mut live = live.clone();
        path::remove(&mut live, &["rules"]);
        live
    });
    let live = if resource.custom.is_none() {
        bare.as_ref().or(live)
    } else {
        live
    };
    managed::apply(live, config, &resource.typing, &writer, call.force).map_err(|failure| {
        let message = failure.to_string();
        match failure {
            ApplyFailure::Conflicts(conflicts) => Refusal::ApplyConflict {
                message,
                causes: conflicts
                    .0
                    .into_iter()
                    .map(|conflict| Cause {
                        reason: "FieldManagerConflict",
                        message: format!("conflict with {}", conflict.manager),
                        field: conflict.field,
                    })
                    .collect(),
            },
            ApplyFailure::Invalid { reasons } => Refusal::Internal(format!(
                "failed to create typed patch object ({}/{}; {}, Kind={}): {}",
                path::text(config, &["metadata", "namespace"]),
                path::text(config, &["metadata", "name"]),
                resource.api_version,
                resource.kind.kind,
                reasons.join("; ")
            )),
            _ => Refusal::BadRequest(message),
        }
    })
}

/// Records who owns what a write changed, and answers the object with its managed fields.
pub(crate) fn tracked(
    resource: &Resource,
    live: Option<&Value>,
    new: Value,
    part: Part,
    call: &Call,
) -> Value {
    let now = stamp(call.now);
    let writer = Writer {
        manager: &call.manager,
        api_version: &resource.api_version,
        subresource: part.name(),
        now: &now,
        ignored: ignored(resource, part),
    };
    managed::update(live, new, &resource.typing, &writer)
}

/// Fills the defaults of built-in kinds.
pub(crate) fn builtin_defaults(object: &mut Value) {
    weir_schema::defaults::apply(object);
}

/// Reads a YAML or JSON body.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Value, Refusal> {
    // JSON is YAML, and far quicker to read as itself.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Refusal::BadRequest("the body is neither JSON nor YAML text".to_owned()))?;
    weir_yaml::from_str(text)
        .map_err(|fault| Refusal::BadRequest(format!("the body is not YAML: {fault}")))
}
