//! Owns what nobody may give away: rights that they do not hold. A role or a binding is written
//! only by those who hold all it grants, or may `escalate` or `bind`.

use std::sync::Arc;

use serde_json::Value;
use weir_gocompat::quote;
use weir_object::path;

use super::bindings;
use super::gate::forbidden;
use super::rule::{Rule, missing, quoted_list};
use super::{Attributes, authorize};
use crate::call::Call;
use crate::identity::User;
use crate::refusal::Refusal;
use crate::registry::Resource;
use crate::state::State;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses a write of a role or a binding that would grant more than the writer has.
/// `name` is the one in the request's path.
pub(crate) fn may_grant(
    state: &State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    old: Option<&Value>,
    new: &Value,
    call: &Call,
) -> Result<(), Refusal> {
    if resource.kind.group != GROUP || call.user.is_privileged() {
        return Ok(());
    }
    if old.is_some_and(|old| only_collectable_changed(old, new)) {
        return Ok(());
    }
    let user = &call.user;
    let namespace = namespace.unwrap_or_default();
    let may = |verb: &str, resource: &str, name: &str| {
        let attributes = Attributes {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            is_resource: true,
            ..Attributes::default()
        };
        authorize(state, user, &attributes).allowed
    };
    let refuse = |why: String| {
        Err(Refusal::Forbidden {
            resource: resource.name(),
            name: path::text(new, &["metadata", "name"]).to_owned(),
            why,
            causes: Vec::new(),
        })
    };
    let asked: Vec<Rule> = match resource.kind.kind.as_ref() {
        "Role" | "ClusterRole" => {
            if may("escalate", &resource.kind.plural, name) {
                return Ok(());
            }
            bindings::rules(new).iter().map(Rule::from).collect()
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let reference = new.get("roleRef").unwrap_or(&Value::Null);
            let role_name = path::text(reference, &["name"]);
            let plural = match path::text(reference, &["kind"]) {
                "Role" => "roles",
                "ClusterRole" => "clusterroles",
                other => {
                    let kind = quote(other);
                    return Err(Refusal::Failed(format!(
                        "unsupported role reference kind: {kind}"
                    )));
                }
            };
            if may("bind", plural, role_name) {
                return Ok(());
            }
            let role: Arc<Value> =
                bindings::role(state, reference, namespace).map_err(|_| Refusal::NotFound {
                    resource: resource.name(),
                    name: role_name.to_owned(),
                })?;
            bindings::rules(&role).iter().map(Rule::from).collect()
        }
        _ => return Ok(()),
    };
    let (own, faults) = bindings::rules_of(state, user, namespace);
    let Some(lines) = missing(&own, &asked) else {
        return refuse("the rules are too many to compare; split them".to_owned());
    };
    if !lines.is_empty() {
        return refuse(attempt(user, &lines, faults.as_deref()));
    }
    let gathers = |role: &Value| {
        path::get(role, &["aggregationRule", "clusterRoleSelectors"])
            .and_then(Value::as_array)
            .is_some_and(|selectors| !selectors.is_empty())
    };
    if resource.kind.kind == "ClusterRole" && (gathers(new) || old.is_some_and(gathers)) {
        let short = missing(&own, &Rule::all()).is_none_or(|lines| !lines.is_empty());
        if short {
            return refuse(
                "must have cluster-admin privileges to use the aggregationRule".to_owned(),
            );
        }
    }
    Ok(())
}

fn attempt(user: &User, lines: &[String], faults: Option<&str>) -> String {
    let mut out = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        quote(&user.name),
        quoted_list(&user.groups),
        lines.join("\n")
    );
    if let Some(faults) = faults {
        out = format!("{out}; resolution errors: [{faults}]");
    }
    out
}

/// Whether a change is one that collecting garbage needs, which grants nothing.
fn only_collectable_changed(old: &Value, new: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        for field in ["ownerReferences", "finalizers", "managedFields"] {
            path::remove(&mut object, &["metadata", field]);
        }
        object
    };
    bare(old) == bare(new)
}

/// Refuses to create what a patch names and is missing, unless the user may create it too.
pub(crate) fn may_create(
    state: &State,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    call: &Call,
) -> Result<(), Refusal> {
    if call.user.is_privileged() {
        return Ok(());
    }
    let attributes = Attributes {
        verb: "create".to_owned(),
        group: resource.kind.group.to_string(),
        version: resource.kind.version.to_string(),
        resource: resource.kind.plural.to_string(),
        namespace: namespace.unwrap_or_default().to_owned(),
        name: name.to_owned(),
        is_resource: true,
        ..Attributes::default()
    };
    let decision = authorize(state, &call.user, &attributes);
    if decision.allowed {
        return Ok(());
    }
    Err(forbidden(&call.user, &attributes, &decision.reason))
}
