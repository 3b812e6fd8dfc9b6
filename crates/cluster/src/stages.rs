//! Owns the order of applying: definitions and namespaces first, then classes, then the rest, each
//! stage sorted by what usually stands on what.

use weir_object::Object;

/// The kinds in the order of applying within a stage; other kinds go before the last two.
const ORDER: [&str; 25] = [
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];
/// From here on the kinds go after all others.
const LATE: usize = 23;

/// One stage: its objects, and whether later stages stand on them.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The objects, in order.
    pub objects: Vec<Object>,
    /// Whether they must be there before the next stage begins.
    pub awaited: bool,
}

/// Divides objects into stages; empty ones are left out.
pub fn divide(objects: Vec<Object>) -> Vec<Stage> {
    let mut parts: [Vec<Object>; 3] = Default::default();
    for object in objects {
        let part = match object.kind() {
            "CustomResourceDefinition" | "Namespace" | "ClusterRole" => 0,
            kind if kind.ends_with("Class") => 1,
            _ => 2,
        };
        parts[part].push(object);
    }
    parts
        .into_iter()
        .enumerate()
        .filter(|(_, objects)| !objects.is_empty())
        .map(|(i, mut objects)| {
            objects.sort_by_cached_key(rank);
            Stage {
                objects,
                awaited: i < 2,
            }
        })
        .collect()
}

/// The place of an object within its stage.
pub fn rank(object: &Object) -> (usize, String, String, String, String) {
    let place = match ORDER.iter().position(|k| *k == object.kind()) {
        Some(i) if i >= LATE => i + 1,
        Some(i) => i,
        None => LATE,
    };
    let group = weir_object::split_api_version(object.api_version())
        .0
        .to_owned();
    let own = |text: &str| text.to_owned();
    (
        place,
        group,
        own(object.kind()),
        own(object.namespace()),
        own(object.name()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn definitions_go_first_and_webhooks_last() {
        let object = |kind: &str| {
            Object(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}}))
        };
        let kinds = [
            "ValidatingWebhookConfiguration",
            "Canary",
            "Service",
            "GatewayClass",
            "Namespace",
            "CustomResourceDefinition",
        ];
        let stages = divide(kinds.iter().map(|k| object(k)).collect());
        let shown: Vec<(Vec<&str>, bool)> = stages
            .iter()
            .map(|s| (s.objects.iter().map(Object::kind).collect(), s.awaited))
            .collect();
        assert_eq!(
            shown,
            [
                (vec!["CustomResourceDefinition", "Namespace"], true),
                (vec!["GatewayClass"], true),
                (
                    vec!["Service", "Canary", "ValidatingWebhookConfiguration"],
                    false
                ),
            ]
        );
    }
}
