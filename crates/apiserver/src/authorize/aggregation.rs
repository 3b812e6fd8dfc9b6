//! Owns roles that gather the rules of others: what they come to, and the controller that writes
//! it. It refuses to authorise: the server that runs it is trusted.

use std::borrow::Borrow;

use serde_json::{Value, json};
use weir_object::{Kind, path};

use crate::selector::Selector;
use crate::server::ApiServer;

/// The field manager of gathered rules.
pub(crate) const MANAGER: &str = "clusterrole-aggregation-controller";
const ROLES: Kind = Kind::cluster(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRole",
    "clusterroles",
);

/// The rules that a role ought to have, if it gathers and has others. `roles` is in order of names.
pub(crate) fn gathered<R: Borrow<Value>>(role: &Value, roles: &[R]) -> Option<Value> {
    let selectors = path::get(role, &["aggregationRule"])?.get("clusterRoleSelectors");
    let name = path::text(role, &["metadata", "name"]);
    let mut out: Vec<&Value> = Vec::new();
    for selector in selectors.and_then(Value::as_array).into_iter().flatten() {
        let selector = Selector::from_object(Some(selector))?;
        for other in roles.iter().map(Borrow::borrow) {
            if path::text(other, &["metadata", "name"]) == name || !selector.matches(other) {
                continue;
            }
            for rule in super::bindings::rules(other) {
                if !out.contains(&rule) {
                    out.push(rule);
                }
            }
        }
    }
    let same = super::bindings::rules(role).iter().eq(out.iter().copied());
    (!same).then(|| json!(out))
}

/// Keeps gathered rules up to date, until dropped.
pub(crate) async fn run(server: ApiServer) {
    let store = server.store().as_manager(MANAGER);
    loop {
        let (version, fresh) = {
            let state = server.0.read();
            (state.version, state.bindings.are_as_made(&state))
        };
        // What every server starts with is complete.
        if !fresh {
            reconcile(&store);
        }
        let Ok(mut watch) = store.watch(&ROLES, None, &Selector::default(), Some(version)) else {
            return;
        };
        while let Some(Ok(_)) = watch.next().await {
            reconcile(&store);
        }
    }
}

fn reconcile(store: &crate::store::Store) {
    let (roles, _) = store.list(&ROLES, None, &Selector::default());
    for role in &roles {
        let Some(rules) = gathered(role, &roles) else {
            continue;
        };
        let name = path::text(role, &["metadata", "name"]);
        // The uid keeps an apply from making a role anew that went meanwhile.
        let uid = path::text(role, &["metadata", "uid"]);
        let config = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "uid": uid}, "rules": rules});
        let _ = store.apply(&ROLES, config);
    }
}
