//! Owns what is wrong with roles and bindings, in the API's words. It refuses to ask whether the
//! writer may write them; see `grants`.

use serde_json::{Value, json};
use weir_object::path;

use super::bindings::{rules, subjects};
use crate::builtin::{At, Checks, names};
use crate::refusal::Cause;
use crate::registry::Resource;
use crate::selector::Selector;

const GROUP: &str = "rbac.authorization.k8s.io";

/// What each write of these kinds does: a role without rules says so, whatever was written.
pub(crate) fn complete(resource: &Resource, object: &mut Value) {
    let role = resource.is(GROUP, "Role") || resource.is(GROUP, "ClusterRole");
    if let Value::Object(map) = object
        && role
    {
        let rules = map.entry("rules").or_insert(Value::Null);
        if rules.as_array().is_some_and(Vec::is_empty) {
            *rules = Value::Null;
        }
    }
}

/// All that is wrong with an object of these kinds; none for others.
pub(crate) fn check(resource: &Resource, old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    if resource.kind.group != GROUP {
        return out;
    }
    let namespaced = resource.kind.namespaced;
    rules_of_kind(resource, namespaced, new, &mut out);
    let Some(old) = old else { return out };
    // A change is judged as an object first and as a change again, which tells all of it twice.
    rules_of_kind(resource, namespaced, new, &mut out);
    let reference = new.get("roleRef").unwrap_or(&Value::Null);
    if old.get("roleRef").is_some_and(|before| before != reference) {
        let text = |field| path::text(reference, &[field]);
        // The value is shown as the server's own type.
        let shown = json!({"APIGroup": text("apiGroup"), "Kind": text("kind"),
            "Name": text("name")});
        out.push(Cause::invalid("roleRef", &shown, "cannot change roleRef"));
    }
    out
}

fn rules_of_kind(resource: &Resource, namespaced: bool, new: &Value, out: &mut Vec<Cause>) {
    match resource.kind.kind.as_ref() {
        "Role" | "ClusterRole" => {
            for (i, rule) in rules(new).iter().enumerate() {
                check_rule(rule, namespaced, &format!("rules[{i}]"), out);
            }
            if let Some(gathering) = new.get("aggregationRule").filter(|v| v.is_object()) {
                check_gathering(gathering, out);
            }
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let reference = new.get("roleRef").unwrap_or(&Value::Null);
            check_reference(reference, namespaced, out);
            for (i, subject) in subjects(new).iter().enumerate() {
                check_subject(subject, namespaced, &format!("subjects[{i}]"), out);
            }
        }
        _ => {}
    }
}

fn check_rule(rule: &Value, namespaced: bool, at: &str, out: &mut Vec<Cause>) {
    let empty = |field: &str| {
        let list = rule.get(field).and_then(Value::as_array);
        list.is_none_or(Vec::is_empty)
    };
    if empty("verbs") {
        let detail = "verbs must contain at least one value";
        out.push(Cause::required(format!("{at}.verbs"), detail));
    }
    if !empty("nonResourceURLs") {
        let urls = rule.get("nonResourceURLs").cloned().unwrap_or_default();
        let mut wrong = |detail| {
            let at = format!("{at}.nonResourceURLs");
            out.push(Cause::invalid(at, &urls, detail));
        };
        if namespaced {
            wrong("namespaced rules cannot apply to non-resource URLs");
        }
        if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
            wrong("rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    for (field, what) in [("apiGroups", "api group"), ("resources", "resource")] {
        if empty(field) {
            let detail = format!("resource rules must supply at least one {what}");
            out.push(Cause::required(format!("{at}.{field}"), &detail));
        }
    }
}

fn check_gathering(gathering: &Value, out: &mut Vec<Cause>) {
    let at = "aggregationRule.clusterRoleSelectors";
    let selectors = gathering.get("clusterRoleSelectors");
    let selectors = selectors.and_then(Value::as_array);
    if selectors.is_none_or(Vec::is_empty) {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        out.push(Cause::required(at, detail));
    }
    for (i, selector) in selectors.into_iter().flatten().enumerate() {
        let at = format!("{at}[{i}]");
        let before = out.len();
        let mut checks = Checks::default();
        checks.selector(At::root(&at), selector);
        out.extend(checks.causes);
        if out.len() > before || Selector::from_object(Some(selector)).is_none() {
            out.push(Cause::invalid(at, &Value::Null, "invalid label selector."));
        }
    }
}

fn check_reference(reference: &Value, namespaced: bool, out: &mut Vec<Cause>) {
    let text = |field| path::text(reference, &[field]);
    if text("apiGroup") != GROUP {
        let at = "roleRef.apiGroup";
        out.push(Cause::unsupported(at, &text("apiGroup").into(), &[GROUP]));
    }
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    if !kinds.contains(&text("kind")) {
        out.push(Cause::unsupported(
            "roleRef.kind",
            &text("kind").into(),
            kinds,
        ));
    }
    let name = text("name");
    if name.is_empty() {
        out.push(Cause::required("roleRef.name", ""));
    }
    for fault in names::path_segment(name) {
        out.push(Cause::invalid("roleRef.name", &name.into(), &fault));
    }
}

fn check_subject(subject: &Value, namespaced: bool, at: &str, out: &mut Vec<Cause>) {
    let text = |field| path::text(subject, &[field]);
    let name = text("name");
    if name.is_empty() {
        out.push(Cause::required(format!("{at}.name"), ""));
    }
    match text("kind") {
        "ServiceAccount" => {
            if let Some(fault) = names::subdomain(name).first().filter(|_| !name.is_empty()) {
                out.push(Cause::invalid(format!("{at}.name"), &name.into(), fault));
            }
            if !text("apiGroup").is_empty() {
                let group = text("apiGroup");
                out.push(Cause::unsupported(
                    format!("{at}.apiGroup"),
                    &group.into(),
                    &[""],
                ));
            }
            if !namespaced && text("namespace").is_empty() {
                out.push(Cause::required(format!("{at}.namespace"), ""));
            }
        }
        "User" | "Group" => {
            if text("apiGroup") != GROUP {
                let group = text("apiGroup");
                out.push(Cause::unsupported(
                    format!("{at}.apiGroup"),
                    &group.into(),
                    &[GROUP],
                ));
            }
        }
        kind => {
            let kinds = ["ServiceAccount", "User", "Group"];
            out.push(Cause::unsupported(
                format!("{at}.kind"),
                &kind.into(),
                &kinds,
            ));
        }
    }
}
