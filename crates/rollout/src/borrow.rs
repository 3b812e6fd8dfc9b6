//! Owns the rule of which fields a canary borrows from whoever applies the object: the applier
//! leaves them out, whatever the manifest says, for as long as the Canary exists.
//!
//! A field is borrowed only once the canary co-owns it on the server: a sole owner that stops
//! applying `replicas` makes it 1. The canary's phase says when. It refuses to guess for a Canary
//! that was never taken up, such as one that asks for something unsupported.

use serde_json::Value;
use weir_object::{Object, split_api_version};

/// The label that parks a DaemonSet: no node has it, so with it in the node selector no pod runs.
pub const PARKED: &str = "flagger.app/scale-to-zero";

/// The paths of the fields of `object` that one of `canaries` borrows. `object` may be the manifest
/// or the live object; only its identity is looked at, and objects without a namespace in the
/// manifest must have got theirs before.
pub fn borrowed_fields(canaries: &[Object], object: &Object) -> Vec<Vec<String>> {
    let mut out: Vec<Vec<String>> = Vec::new();
    for canary in canaries
        .iter()
        .filter(|c| is_canary(c) && c.namespace() == object.namespace())
    {
        if let Some(path) = borrowed_by(canary, object) {
            let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
            if !out.contains(&path) {
                out.push(path);
            }
        }
    }
    out
}

/// The fields of a live object that one of `canaries` has set inside of a field which has one owner as
/// a whole: whoever applies that field has to send them along. A DaemonSet is parked by a label in its
/// node selector, and node selectors are such fields.
pub fn kept_fields(canaries: &[Object], live: &Object) -> Vec<(Vec<String>, Value)> {
    let paths = borrowed_fields(canaries, live).into_iter();
    paths
        .filter(|path| path.last().is_some_and(|step| step == PARKED))
        .filter_map(|path| {
            let steps: Vec<&str> = path.iter().map(String::as_str).collect();
            let value = live.get(&steps)?.clone();
            Some((path, value))
        })
        .collect()
}

fn is_canary(object: &Object) -> bool {
    object.kind() == "Canary" && split_api_version(object.api_version()).0 == "flagger.app"
}

fn borrowed_by(canary: &Object, object: &Object) -> Option<&'static [&'static str]> {
    let target_field = |field| canary.text(&["spec", "targetRef", field]);
    let taken_up = !canary.text(&["status", "phase"]).is_empty();
    let serving = canary
        .get(&["status", "lastPromotedSpec"])
        .and_then(Value::as_str)
        .is_some_and(|s| !s.is_empty());
    let apex = match canary.text(&["spec", "service", "name"]) {
        "" => target_field("name"),
        name => name,
    };
    let (group, _) = split_api_version(object.api_version());
    match (group, object.kind()) {
        ("apps", "Deployment")
            if taken_up
                && target_field("kind") == "Deployment"
                && target_field("name") == object.name() =>
        {
            Some(&["spec", "replicas"])
        }
        ("apps", "DaemonSet")
            if taken_up
                && target_field("kind") == "DaemonSet"
                && target_field("name") == object.name() =>
        {
            Some(&["spec", "template", "spec", "nodeSelector", PARKED])
        }
        // Where a Service is what is released, its selector is what changes.
        ("", "Service")
            if serving && object.name() == apex && target_field("kind") != "Service" =>
        {
            Some(&["spec", "selector"])
        }
        ("gateway.networking.k8s.io", "HTTPRoute") if serving && object.name() == apex => {
            Some(&["spec", "rules"])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn canary(status: &Value) -> Object {
        Object(json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "c", "namespace": "demo"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
                "service": {"port": 80, "name": "web"},
            },
            "status": status,
        }))
    }

    fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> Object {
        Object(json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
        }))
    }

    #[test]
    fn what_is_borrowed_follows_the_phase() {
        let deployment = object("apps/v1", "Deployment", "demo", "app");
        let service = object("v1", "Service", "demo", "web");
        let route = object("gateway.networking.k8s.io/v1", "HTTPRoute", "demo", "web");
        let replicas = vec![vec!["spec".to_owned(), "replicas".to_owned()]];
        let selector = vec![vec!["spec".to_owned(), "selector".to_owned()]];
        let rules = vec![vec!["spec".to_owned(), "rules".to_owned()]];
        let none: Vec<Vec<String>> = vec![];
        for (status, expected) in [
            (json!({}), [&none, &none, &none]),
            (json!({"phase": "Initializing"}), [&replicas, &none, &none]),
            (
                json!({"phase": "Succeeded", "lastPromotedSpec": "v1:a"}),
                [&replicas, &selector, &rules],
            ),
        ] {
            let canaries = [canary(&status)];
            let found = [&deployment, &service, &route].map(|o| borrowed_fields(&canaries, o));
            assert_eq!([&found[0], &found[1], &found[2]], expected);
        }
    }

    #[test]
    fn of_a_service_that_is_released_nothing_is_borrowed() {
        let status = json!({"phase": "Succeeded", "lastPromotedSpec": "v1:a"});
        let service = object("v1", "Service", "demo", "web");
        let mut canary = canary(&status);
        assert_eq!(
            borrowed_fields(std::slice::from_ref(&canary), &service).len(),
            1
        );
        let target = json!({"apiVersion": "v1", "kind": "Service", "name": "web"});
        canary.set(&["spec", "targetRef"], target);
        assert!(borrowed_fields(&[canary], &service).is_empty());
    }

    #[test]
    fn a_parked_daemon_set_stays_so_when_its_node_selector_is_applied() {
        let mut canary = canary(&json!({"phase": "Initialized", "lastPromotedSpec": "v1:a"}));
        canary.set(&["spec", "targetRef", "kind"], "DaemonSet".into());
        let mut live = object("apps/v1", "DaemonSet", "demo", "app");
        let at = ["spec", "template", "spec", "nodeSelector", PARKED];
        let path: Vec<String> = at.map(str::to_owned).to_vec();
        let canaries = [canary];
        assert_eq!(
            borrowed_fields(&canaries, &live),
            std::slice::from_ref(&path)
        );
        assert_eq!(kept_fields(&canaries, &live), []);
        live.set(&at, "true".into());
        assert_eq!(kept_fields(&canaries, &live), [(path, json!("true"))]);
        assert_eq!(kept_fields(&[], &live), []);
    }

    #[test]
    fn what_belongs_to_others_is_left_alone() {
        let canaries = [canary(
            &json!({"phase": "Succeeded", "lastPromotedSpec": "v1:a"}),
        )];
        for other in [
            object("apps/v1", "Deployment", "other", "app"),
            object("apps/v1", "Deployment", "demo", "app-primary"),
            object("apps/v1", "StatefulSet", "demo", "app"),
            object("v1", "Service", "demo", "app"),
            object("serving.knative.dev/v1", "Service", "demo", "web"),
        ] {
            assert!(
                borrowed_fields(&canaries, &other).is_empty(),
                "{}",
                other.reference()
            );
        }
    }
}
