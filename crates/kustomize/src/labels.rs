//! Owns where labels are written: metadata, pod templates, selectors. It refuses to judge whether a
//! selector may still be changed in the cluster.

use crate::fields::FieldSpec;

const WORKLOADS: [&str; 2] = ["Deployment", "StatefulSet"];

/// `metadata/labels` of everything.
pub(crate) fn metadata() -> Vec<FieldSpec> {
    vec![FieldSpec::new("", "", "", "metadata/labels", true)]
}

/// The labels of pod templates, and of the claims that come with the pods.
pub(crate) fn templates() -> Vec<FieldSpec> {
    let mut out = templates_of("labels", "apps");
    out.push(claims());
    out
}

fn claims() -> FieldSpec {
    FieldSpec::new(
        "apps",
        "",
        "StatefulSet",
        "spec/volumeClaimTemplates[]/metadata/labels",
        true,
    )
}

/// The fields of pod templates' metadata, for labels and annotations alike. `stateful` is the group
/// that a StatefulSet must have.
pub(crate) fn templates_of(field: &str, stateful: &str) -> Vec<FieldSpec> {
    let template = format!("spec/template/metadata/{field}");
    let spec = |group: &str, version: &str, kind: &str, path: &str| {
        FieldSpec::new(group, version, kind, path, true)
    };
    vec![
        spec("", "v1", "ReplicationController", &template),
        spec("", "", "Deployment", &template),
        spec("", "", "ReplicaSet", &template),
        spec("", "", "DaemonSet", &template),
        spec(stateful, "", "StatefulSet", &template),
        spec("batch", "", "Job", &template),
        spec(
            "batch",
            "",
            "CronJob",
            &format!("spec/jobTemplate/metadata/{field}"),
        ),
        spec(
            "batch",
            "",
            "CronJob",
            &format!("spec/jobTemplate/spec/template/metadata/{field}"),
        ),
    ]
}

/// Selectors, and everything that must change with them.
pub(crate) fn selectors() -> Vec<FieldSpec> {
    let mut out = vec![
        FieldSpec::new("", "v1", "Service", "spec/selector", true),
        FieldSpec::new("", "v1", "ReplicationController", "spec/selector", true),
        FieldSpec::new("", "", "Deployment", "spec/selector/matchLabels", true),
        FieldSpec::new("", "", "ReplicaSet", "spec/selector/matchLabels", true),
        FieldSpec::new("", "", "DaemonSet", "spec/selector/matchLabels", true),
        FieldSpec::new("apps", "", "StatefulSet", "spec/selector/matchLabels", true),
    ];
    let pod = "spec/template/spec";
    for kind in WORKLOADS {
        for rule in ["podAffinity", "podAntiAffinity"] {
            for (strength, term) in [
                (
                    "preferredDuringSchedulingIgnoredDuringExecution",
                    "/podAffinityTerm",
                ),
                ("requiredDuringSchedulingIgnoredDuringExecution", ""),
            ] {
                let path =
                    format!("{pod}/affinity/{rule}/{strength}{term}/labelSelector/matchLabels");
                out.push(FieldSpec::new("apps", "", kind, &path, false));
            }
        }
        let spread = format!("{pod}/topologySpreadConstraints/labelSelector/matchLabels");
        out.push(FieldSpec::new("apps", "", kind, &spread, false));
    }
    for (group, kind, path) in [
        ("batch", "Job", "spec/selector/matchLabels"),
        (
            "batch",
            "CronJob",
            "spec/jobTemplate/spec/selector/matchLabels",
        ),
        ("policy", "PodDisruptionBudget", "spec/selector/matchLabels"),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            "spec/podSelector/matchLabels",
        ),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            "spec/ingress/from/podSelector/matchLabels",
        ),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            "spec/egress/to/podSelector/matchLabels",
        ),
    ] {
        out.push(FieldSpec::new(group, "", kind, path, false));
    }
    out.extend(metadata());
    out.extend(templates());
    out
}
