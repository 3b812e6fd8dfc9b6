//! Owns the order of the built objects: as they were named, or by kind as the command line sorts.

use std::cmp::Ordering;

use weir_object::{Object, split_api_version};

/// The order of the built objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As the resources are named, bases first to last. What the controller does.
    #[default]
    Fifo,
    /// By kind, what others need first. What the command line does.
    Legacy,
}

const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

pub(crate) fn compare(a: &Object, b: &Object) -> Ordering {
    let by_kind = rank(a.kind()).cmp(&rank(b.kind()));
    if by_kind.is_ne() {
        return by_kind;
    }
    let (x, y) = (group_version_kind(a), group_version_kind(b));
    if x == y {
        return identity(a).cmp(&identity(b));
    }
    // Namespaces come before everything else, a foreign kind of that name included.
    let is_core_namespace = |o: &Object| o.kind() == "Namespace" && !o.api_version().contains('/');
    match (is_core_namespace(a), is_core_namespace(b)) {
        (true, false) | (false, true) => y.cmp(&x),
        _ => x.cmp(&y),
    }
}

fn rank(kind: &str) -> i32 {
    let first = FIRST
        .iter()
        .position(|k| *k == kind)
        .map(|i| i as i32 - FIRST.len() as i32);
    let last = LAST.iter().position(|k| *k == kind).map(|i| i as i32 + 1);
    first.or(last).unwrap_or(0)
}

fn group_version_kind(object: &Object) -> String {
    let (group, version) = split_api_version(object.api_version());
    let or = |text: &str, none: &str| {
        if text.is_empty() {
            none.to_owned()
        } else {
            text.to_owned()
        }
    };
    format!(
        "{}_{}_{}",
        or(group, "~G"),
        or(version, "~V"),
        or(object.kind(), "~K")
    )
}

fn identity(object: &Object) -> String {
    let (group, version) = split_api_version(object.api_version());
    let or = |text: &str, none: &str| {
        if text.is_empty() {
            none.to_owned()
        } else {
            text.to_owned()
        }
    };
    format!(
        "{}.{}.{}|{}|{}",
        or(object.kind(), "[noKind]"),
        or(version, "[noVer]"),
        or(group, "[noGrp]"),
        or(object.namespace(), "~X"),
        or(object.name(), "~N"),
    )
}
