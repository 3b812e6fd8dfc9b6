//! Owns what may change of a pod that exists.

use serde_json::Value;
use weir_object::path;

use super::MIRROR;
use crate::builtin::checks::{At, Checks, int, list, of, text};

const MAY: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
previously negative)";

/// Of a pod only images, the deadline, additional tolerations, gates and, in one case, the grace
/// period may change.
pub(crate) fn check_change(old: &Value, new: &Value, checks: &mut Checks) {
    mirror(old, new, checks);
    let at = At::root("spec");
    let (old_spec, new_spec) = (of(old, "spec"), of(new, "spec"));
    let before = checks.count();
    for name in ["containers", "initContainers"] {
        let (a, b) = (list(old_spec, name), list(new_spec, name));
        if a.len() != b.len() {
            let detail = "pod updates may not add or remove containers";
            checks.forbidden(at.field(name), detail);
        }
    }
    if checks.count() > before {
        return;
    }
    deadline(old_spec, new_spec, at, checks);
    let (a, b) = (list(old_spec, "tolerations"), list(new_spec, "tolerations"));
    if !a
        .iter()
        .all(|toleration| b.iter().any(|t| same_toleration(toleration, t)))
    {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        checks.forbidden(at.field("tolerations"), detail);
    }
    if fixed(old_spec, new_spec) != fixed(new_spec, new_spec) {
        checks.forbidden(at, MAY);
    }
}

/// Whether a pod mirrors one of a node stays as it is.
fn mirror(old: &Value, new: &Value, checks: &mut Checks) {
    let told = |pod| of(of(of(pod, "metadata"), "annotations"), MIRROR);
    let (was, is) = (told(old), told(new));
    if was != is {
        let how = if was.is_null() {
            "add"
        } else {
            "remove or update"
        };
        let at = At::root("metadata");
        let at = at.field("annotations");
        let detail = format!("may not {how} mirror pod annotation");
        checks.forbidden(at.key(MIRROR), &detail);
    }
}

fn deadline(old: &Value, new: &Value, at: At<'_>, checks: &mut Checks) {
    let at = at.field("activeDeadlineSeconds");
    match (
        int(old, "activeDeadlineSeconds"),
        int(new, "activeDeadlineSeconds"),
    ) {
        (Some(before), Some(after)) if after > before => {
            let detail = "must be less than or equal to previous value";
            checks.invalid(at, &after.into(), detail);
        }
        (Some(_), None) => {
            let detail = "must not update from a positive integer to nil value";
            checks.invalid(at, &Value::Null, detail);
        }
        _ => {}
    }
}

fn same_toleration(a: &Value, b: &Value) -> bool {
    ["key", "operator", "value", "effect"]
        .iter()
        .all(|field| text(a, field) == text(b, field))
}

/// A spec without what may change.
fn fixed(spec: &Value, new: &Value) -> Value {
    let mut spec = spec.clone();
    for field in [
        "activeDeadlineSeconds",
        "tolerations",
        "schedulingGates",
        "ephemeralContainers",
    ] {
        path::remove(&mut spec, &[field]);
    }
    if int(&spec, "terminationGracePeriodSeconds").is_some_and(|s| s < 0)
        && int(new, "terminationGracePeriodSeconds") == Some(1)
    {
        path::set(&mut spec, &["terminationGracePeriodSeconds"], 1.into());
    }
    for name in ["containers", "initContainers"] {
        let containers = spec.get_mut(name).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            path::remove(container, &["image"]);
        }
    }
    spec
}
