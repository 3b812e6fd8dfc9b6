//! Owns how a primary is made from a target and a stored pod template, and what a Deployment's status
//! says. Pure: values in, values out.
//!
//! The primary's template is the stored one with a single rewrite: the selector label's value gets
//! `-primary`, in the labels and wherever the pods spread by or keep apart from themselves. What
//! tracks objects for other tools is not copied, or those tools would take the primary for theirs.

use serde_json::{Map, Value, json};
use weir_api::names::{FLAGGER_ID, TOOLKIT};
use weir_object::{Object, path};
use weir_rollout::{Readiness, Revision, normalised};

use crate::configs::{Config, led_back, led_to_copies};
use crate::names::Names;
use crate::template::Stored;
use crate::workload::Workload;

/// The label that tells the target's pods from the primary's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl Label {
    /// The first of `keys` that the target selects its pods by.
    pub(crate) fn of(target: &Object, keys: &[String]) -> Option<Self> {
        keys.iter().find_map(|key| {
            let value = target.text(&["spec", "selector", "matchLabels", key]);
            (!value.is_empty()).then(|| Self {
                key: key.clone(),
                value: value.to_owned(),
            })
        })
    }

    pub(crate) fn primary_value(&self) -> String {
        format!("{}-primary", self.value)
    }
}

/// The owner reference that makes `object` go with its Canary.
pub(crate) fn owner(canary: &Object) -> Value {
    json!({
        "apiVersion": canary.api_version(),
        "kind": canary.kind(),
        "name": canary.name(),
        "uid": canary.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Whether `object` was generated for the Canary of this name.
pub(crate) fn is_owned(object: &Object, canary: &Object) -> bool {
    let owners = object
        .get(&["metadata", "ownerReferences"])
        .and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| {
        path::text(owner, &["kind"]) == canary.kind()
            && path::text(owner, &["apiVersion"]).starts_with("flagger.app/")
            && path::text(owner, &["name"]) == canary.name()
    })
}

/// The owner references of `object` less those of the Canary.
pub(crate) fn other_owners(object: &Object, canary: &Object) -> Vec<Value> {
    let owners = object
        .get(&["metadata", "ownerReferences"])
        .and_then(Value::as_array);
    let ours = |owner: &&Value| {
        path::text(owner, &["kind"]) == canary.kind()
            && path::text(owner, &["name"]) == canary.name()
    };
    owners
        .into_iter()
        .flatten()
        .filter(|o| !ours(o))
        .cloned()
        .collect()
}

/// Whether a label or annotation is some tool's mark on the object it applied.
fn tracks(key: &str) -> bool {
    key.contains(TOOLKIT)
        || key.starts_with("meta.helm.sh/")
        || key.starts_with("argocd.argoproj.io/")
        || key == "kubectl.kubernetes.io/last-applied-configuration"
        || key == "deployment.kubernetes.io/revision"
}

/// The primary's pod template, from a stored one and the configuration it was stored with.
pub(crate) fn primary_template(stored: Stored<'_>, label: &Label) -> Value {
    let mut out = stored.template.clone();
    for map in ["labels", "annotations"] {
        if let Some(map) =
            path::get_mut(&mut out, &["metadata", map]).and_then(Value::as_object_mut)
        {
            map.retain(|key, _| !tracks(key));
        }
    }
    path::remove(&mut out, &["metadata", "creationTimestamp"]);
    path::set(
        &mut out,
        &["metadata", "labels", &label.key],
        label.primary_value().into(),
    );
    rename(&mut out, &label.key, &label.value, &label.primary_value());
    let configs = stored.configs();
    if !configs.is_empty() {
        led_to_copies(&mut out, &configs);
        // Pods read most of their configuration once: another revision needs other pods, also where
        // nothing but the content of the copies differs.
        path::set(
            &mut out,
            &["metadata", "annotations", FLAGGER_ID],
            Revision::name_part(stored.revision).into(),
        );
    }
    out
}

/// A primary's pod template with the rewrites undone: what it was made from.
pub(crate) fn baseline_template(
    primary: &Value,
    label: &Label,
    is_copy: impl Fn(&Config) -> bool,
) -> Value {
    let mut out = primary.clone();
    forget_id(&mut out);
    led_back(&mut out, is_copy);
    path::set(
        &mut out,
        &["metadata", "labels", &label.key],
        label.value.clone().into(),
    );
    rename(&mut out, &label.key, &label.primary_value(), &label.value);
    out
}

/// Whether a live primary runs exactly what is stored.
pub(crate) fn runs(primary: &Object, stored: Stored<'_>, label: &Label) -> bool {
    let mut live = primary
        .get(&["spec", "template"])
        .cloned()
        .unwrap_or_default();
    let mut wanted = primary_template(stored, label);
    let id = path::text(&live, &["metadata", "annotations", FLAGGER_ID]).to_owned();
    // Another controller's way of forcing a rollout says nothing about what runs; ours does.
    if !is_ours(&id) {
        forget_id(&mut live);
        forget_id(&mut wanted);
    }
    normalised(&live) == normalised(&wanted)
}

/// Whether the mark of a rollout is a revision of ours: sixteen digits, where others put a UUID.
fn is_ours(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

fn forget_id(template: &mut Value) {
    path::remove(template, &["metadata", "annotations", FLAGGER_ID]);
}

/// Rewrites the label's value where pods spread by it or keep apart from it.
fn rename(template: &mut Value, key: &str, from: &str, to: &str) {
    let spread = path::get_mut(template, &["spec", "topologySpreadConstraints"]);
    for constraint in spread.and_then(Value::as_array_mut).into_iter().flatten() {
        rename_selector(path::get_mut(constraint, &["labelSelector"]), key, from, to);
    }
    for (list, term) in [
        ("requiredDuringSchedulingIgnoredDuringExecution", &[][..]),
        (
            "preferredDuringSchedulingIgnoredDuringExecution",
            &["podAffinityTerm"][..],
        ),
    ] {
        let terms = path::get_mut(template, &["spec", "affinity", "podAntiAffinity", list]);
        for holder in terms.and_then(Value::as_array_mut).into_iter().flatten() {
            let at: Vec<&str> = term.iter().copied().chain(["labelSelector"]).collect();
            rename_selector(path::get_mut(holder, &at), key, from, to);
        }
    }
}

fn rename_selector(selector: Option<&mut Value>, key: &str, from: &str, to: &str) {
    let Some(selector) = selector else { return };
    if path::text(selector, &["matchLabels", key]) == from {
        path::set(selector, &["matchLabels", key], to.into());
    }
    let expressions = path::get_mut(selector, &["matchExpressions"]);
    for expression in expressions
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if path::text(expression, &["key"]) != key {
            continue;
        }
        let values = path::get_mut(expression, &["values"]).and_then(Value::as_array_mut);
        for value in values
            .into_iter()
            .flatten()
            .filter(|v| v.as_str() == Some(from))
        {
            *value = to.into();
        }
    }
}

/// The primary workload.
pub(crate) fn primary(
    canary: &Object,
    target: &Object,
    stored: Stored<'_>,
    label: &Label,
    names: &Names,
    replicas: u32,
    include_label_prefix: &[String],
) -> Object {
    let mut labels = Map::new();
    for (key, value) in target.labels().into_iter().flatten() {
        let wanted = include_label_prefix
            .iter()
            .any(|p| p == "*" || (!p.is_empty() && key.starts_with(p.as_str())));
        if wanted && !tracks(key) {
            labels.insert(key.clone(), value.clone());
        }
    }
    labels.insert(label.key.clone(), label.primary_value().into());
    let annotations: Map<String, Value> = target
        .get(&["metadata", "annotations"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(key, _)| !tracks(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let workload = Workload::of_kind(target.kind());
    let mut spec = match workload {
        Workload::Deployment => json!({"replicas": replicas}),
        Workload::DaemonSet | Workload::Service => json!({}),
    };
    for field in workload.followed() {
        if let Some(value) = target.get(&["spec", field]) {
            path::set(&mut spec, &[field], value.clone());
        }
    }
    path::set(
        &mut spec,
        &["selector", "matchLabels", &label.key],
        label.primary_value().into(),
    );
    path::set(&mut spec, &["template"], primary_template(stored, label));
    let mut out = json!({
        "apiVersion": workload.kind().api_version(),
        "kind": workload.kind().kind,
        "metadata": {
            "name": names.primary,
            "namespace": names.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner(canary)],
        },
        "spec": spec,
    });
    if annotations_empty(&out) {
        path::remove(&mut out, &["metadata", "annotations"]);
    }
    Object(out)
}

fn annotations_empty(object: &Value) -> bool {
    path::get(object, &["metadata", "annotations"])
        .and_then(Value::as_object)
        .is_some_and(Map::is_empty)
}

/// A number of a Deployment, 0 where it is not there.
pub(crate) fn count(deployment: &Object, at: &[&str]) -> u32 {
    let value = deployment
        .get(at)
        .and_then(Value::as_u64)
        .unwrap_or_default();
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// `spec.replicas`, which is 1 where it is not set.
pub(crate) fn replicas(deployment: &Object) -> u32 {
    match deployment.get(&["spec", "replicas"]) {
        Some(value) if !value.is_null() => count(deployment, &["spec", "replicas"]),
        _ => 1,
    }
}

/// What is waited for while a status does not speak of the current generation yet.
pub(crate) fn unobserved(workload: &Object) -> Option<Readiness> {
    let observed = workload
        .get(&["status", "observedGeneration"])
        .and_then(Value::as_i64);
    (observed.unwrap_or_default() < workload.generation())
        .then(|| Readiness::Waiting("its current generation is not observed yet".to_owned()))
}

/// Whether a Deployment's rollout is through: all pods updated, and `threshold` percent available.
pub(crate) fn readiness(deployment: &Object, threshold: u32) -> Readiness {
    if let Some(waiting) = unobserved(deployment) {
        return waiting;
    }
    let wanted = replicas(deployment);
    let conditions = deployment
        .get(&["status", "conditions"])
        .and_then(Value::as_array);
    let exceeded = conditions.into_iter().flatten().any(|c| {
        path::text(c, &["type"]) == "Progressing"
            && path::text(c, &["reason"]) == "ProgressDeadlineExceeded"
    });
    let updated = count(deployment, &["status", "updatedReplicas"]);
    let all = count(deployment, &["status", "replicas"]);
    let available = count(deployment, &["status", "availableReplicas"]);
    let needed = u64::from(wanted) * u64::from(threshold.min(100)) / 100;
    let missing = if updated < wanted {
        format!("{updated} of {wanted} replicas are updated")
    } else if all > updated {
        format!("{} old replicas are pending termination", all - updated)
    } else if u64::from(available) < needed {
        format!("{available} of {updated} updated replicas are available")
    } else {
        return Readiness::Ready;
    };
    if exceeded {
        Readiness::Exceeded(format!("{missing}, and its progress deadline has passed"))
    } else {
        Readiness::Waiting(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        Label {
            key: "app".into(),
            value: "web".into(),
        }
    }

    fn names() -> Names {
        Names::sample("web", "web", "web")
    }

    fn canary() -> Object {
        Object(
            json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "web", "namespace": "demo", "uid": "u1"}}),
        )
    }

    /// A stored revision.
    struct Kept(std::sync::Arc<Object>);

    impl Kept {
        fn of(template: &Value) -> Self {
            Self::with(template, &std::collections::BTreeMap::new())
        }

        fn with(template: &Value, configs: &crate::configs::Digests) -> Self {
            let revision = Revision::with(template, configs).id;
            Self(std::sync::Arc::new(crate::template::record(
                &canary(),
                &revision,
                template,
                configs,
            )))
        }

        fn stored(&self) -> Stored<'_> {
            let all = std::slice::from_ref(&self.0);
            let revision = self.0.text(&["data", "revision"]);
            crate::template::find(all, revision).expect("stored")
        }
    }

    #[test]
    fn another_content_is_another_rollout_and_a_foreign_mark_is_none() {
        let mut template = template();
        path::set(
            &mut template,
            &["spec", "containers", "0", "envFrom"],
            json!([{"configMapRef": {"name": "settings"}}]),
        );
        let kept = |digest: &str| {
            let configs = [("configmap/settings".to_owned(), digest.to_owned())];
            Kept::with(&template, &configs.into())
        };
        let (first, second) = (kept("a"), kept("b"));
        let made = primary_template(first.stored(), &label());
        assert_eq!(
            made["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"],
            "settings-primary"
        );
        let mut live = Object(json!({"spec": {"template": made}}));
        assert!(runs(&live, first.stored(), &label()));
        assert!(!runs(&live, second.stored(), &label()));
        let mark = ["spec", "template", "metadata", "annotations", FLAGGER_ID];
        live.set(&mark, "0b8a1c9e-7f43-4a39-9d3d-0f5b5c1a6c11".into());
        assert!(
            runs(&live, first.stored(), &label()),
            "another controller's"
        );
        let baseline = baseline_template(&live.0["spec"]["template"], &label(), |_| true);
        assert_eq!(
            baseline["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"],
            "settings"
        );
    }

    fn template() -> Value {
        let own = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"});
        json!({
            "metadata": {
                "creationTimestamp": null,
                "labels": {"app": "web", "kustomize.toolkit.fluxcd.io/name": "apps"},
                "annotations": {"prometheus.io/scrape": "true"},
            },
            "spec": {
                "containers": [{"name": "web", "image": "web:1"}],
                "topologySpreadConstraints": [own],
                "affinity": {"podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1,
                        "podAffinityTerm": {"topologyKey": "host", "labelSelector": {
                            "matchExpressions": [
                                {"key": "app", "operator": "In", "values": ["web", "other"]},
                                {"key": "tier", "operator": "In", "values": ["web"]}]}}}],
                }},
            },
        })
    }

    #[test]
    fn a_primary_by_its_whole_value() {
        let target = Object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "demo",
                "labels": {"app": "web", "team": "a", "kustomize.toolkit.fluxcd.io/name": "apps"},
                "annotations": {
                    "note": "kept", "deployment.kubernetes.io/revision": "3",
                    "kustomize.toolkit.fluxcd.io/prune": "disabled",
                },
            },
            "spec": {
                "replicas": 0, "minReadySeconds": 3, "strategy": {"type": "RollingUpdate"},
                "selector": {"matchLabels": {"app": "web"}}, "template": template(),
            },
        }));
        assert_eq!(
            Label::of(&target, &["name".into(), "app".into()]),
            Some(label())
        );
        let made = primary(
            &canary(),
            &target,
            Kept::of(&template()).stored(),
            &label(),
            &names(),
            2,
            &["te".into()],
        );
        let expected = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web-primary", "namespace": "demo",
                "labels": {"team": "a", "app": "web-primary"},
                "annotations": {"note": "kept"},
                "ownerReferences": [{
                    "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "web",
                    "uid": "u1", "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {
                "replicas": 2, "minReadySeconds": 3, "strategy": {"type": "RollingUpdate"},
                "selector": {"matchLabels": {"app": "web-primary"}},
                "template": {
                    "metadata": {
                        "labels": {"app": "web-primary"},
                        "annotations": {"prometheus.io/scrape": "true"},
                    },
                    "spec": {
                        "containers": [{"name": "web", "image": "web:1"}],
                        "topologySpreadConstraints": [{
                            "labelSelector": {"matchLabels": {"app": "web-primary"}},
                            "topologyKey": "zone"}],
                        "affinity": {"podAntiAffinity": {
                            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1,
                                "podAffinityTerm": {"topologyKey": "host", "labelSelector": {
                                    "matchExpressions": [
                                        {"key": "app", "operator": "In",
                                         "values": ["web-primary", "other"]},
                                        {"key": "tier", "operator": "In", "values": ["web"]}]}}}],
                        }},
                    },
                },
            },
        });
        assert_eq!(made.0, expected);
        assert!(is_owned(&made, &canary()) && other_owners(&made, &canary()).is_empty());
    }

    #[test]
    fn what_a_primary_was_made_from_can_be_told() {
        let rewritten = primary_template(Kept::of(&template()).stored(), &label());
        let mut live = rewritten.clone();
        path::set(
            &mut live,
            &["metadata", "annotations", "flagger-id"],
            "x".into(),
        );
        path::set(&mut live, &["spec", "restartPolicy"], "Always".into());
        let primary = Object(json!({"spec": {"template": live}}));
        assert!(runs(&primary, Kept::of(&template()).stored(), &label()));
        let baseline = baseline_template(&live, &label(), |_| false);
        assert_eq!(
            primary_template(Kept::of(&baseline).stored(), &label())["metadata"],
            rewritten["metadata"]
        );
        // A variable set by hand on the primary is seen.
        let mut edited = primary.clone();
        edited.set(
            &["spec", "template", "spec", "containers", "0", "env"],
            json!([{"name": "X"}]),
        );
        assert!(!runs(&edited, Kept::of(&template()).stored(), &label()));
    }

    #[test]
    fn readiness_by_what_status_says() {
        let mk = |generation: i64, status: Value| {
            Object(
                json!({"metadata": {"generation": generation}, "spec": {"replicas": 4},
                "status": status}),
            )
        };
        let status = |updated: u32, all: u32, available: u32| {
            json!({"observedGeneration": 2, "updatedReplicas": updated, "replicas": all,
                "availableReplicas": available})
        };
        let waiting = |text: &str| Readiness::Waiting(text.to_owned());
        for (object, threshold, expected) in [
            (
                mk(3, status(4, 4, 4)),
                100,
                waiting("its current generation is not observed yet"),
            ),
            (
                mk(2, status(1, 4, 4)),
                100,
                waiting("1 of 4 replicas are updated"),
            ),
            (
                mk(2, status(4, 5, 4)),
                100,
                waiting("1 old replicas are pending termination"),
            ),
            (
                mk(2, status(4, 4, 3)),
                100,
                waiting("3 of 4 updated replicas are available"),
            ),
            (mk(2, status(4, 4, 3)), 75, Readiness::Ready),
            (mk(2, status(4, 4, 4)), 100, Readiness::Ready),
        ] {
            assert_eq!(readiness(&object, threshold), expected);
        }
        let mut late = mk(2, status(4, 4, 0));
        let reason = json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]);
        late.set(&["status", "conditions"], reason);
        assert!(matches!(readiness(&late, 100), Readiness::Exceeded(_)));
    }
}
