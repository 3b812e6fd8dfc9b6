//! Owns the story's manifests, which are the example's files as they are.

/// What is applied once, in this order.
pub(super) const CLUSTER: [(&str, &str); 4] = [
    (
        "namespace.yaml",
        include_str!("../../../../examples/canary/weighted/cluster/namespace.yaml"),
    ),
    (
        "gateway.yaml",
        include_str!("../../../../examples/canary/weighted/cluster/gateway.yaml"),
    ),
    (
        "source.yaml",
        include_str!("../../../../examples/canary/weighted/cluster/source.yaml"),
    ),
    (
        "images.yaml",
        include_str!("../../../../examples/canary/weighted/cluster/images.yaml"),
    ),
];

/// What lives in Git.
pub(super) const CONFIG: [(&str, &str); 3] = [
    (
        "app/kustomization.yaml",
        include_str!("../../../../examples/canary/weighted/app/kustomization.yaml"),
    ),
    (
        "app/deployment.yaml",
        include_str!("../../../../examples/canary/weighted/app/deployment.yaml"),
    ),
    (
        "app/canary.yaml",
        include_str!("../../../../examples/canary/weighted/app/canary.yaml"),
    ),
];
