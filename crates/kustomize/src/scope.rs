//! Owns which kinds are certainly without a namespace, as the build knows it: by the API of
//! Kubernetes 1.21, which is what kustomize carries. Everything else counts as namespaced; what the
//! cluster really serves is asked when objects are applied.

use weir_object::{Object, split_api_version};

const CLUSTER_SCOPED: &[(&str, &[&str], &[&str])] = &[
    (
        "",
        &["v1"],
        &["ComponentStatus", "Namespace", "Node", "PersistentVolume"],
    ),
    (
        "admissionregistration.k8s.io",
        &["v1", "v1beta1"],
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &["v1", "v1alpha1", "v1beta1"],
        &[
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
    ),
    (
        "apiextensions.k8s.io",
        &["v1", "v1beta1"],
        &["CustomResourceDefinition"],
    ),
    (
        "apiregistration.k8s.io",
        &["v1", "v1beta1"],
        &["APIService"],
    ),
    (
        "authentication.k8s.io",
        &["v1", "v1beta1"],
        &["TokenReview"],
    ),
    (
        "authorization.k8s.io",
        &["v1", "v1beta1"],
        &[
            "SelfSubjectAccessReview",
            "SelfSubjectRulesReview",
            "SubjectAccessReview",
        ],
    ),
    (
        "certificates.k8s.io",
        &["v1", "v1beta1"],
        &["CertificateSigningRequest"],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        &["v1beta1", "v1alpha1"],
        &["FlowSchema", "PriorityLevelConfiguration"],
    ),
    (
        "internal.apiserver.k8s.io",
        &["v1alpha1"],
        &["StorageVersion"],
    ),
    ("networking.k8s.io", &["v1", "v1beta1"], &["IngressClass"]),
    (
        "node.k8s.io",
        &["v1", "v1beta1", "v1alpha1"],
        &["RuntimeClass"],
    ),
    ("policy", &["v1beta1"], &["PodSecurityPolicy"]),
    (
        "rbac.authorization.k8s.io",
        &["v1", "v1beta1", "v1alpha1"],
        &["ClusterRole", "ClusterRoleBinding"],
    ),
    (
        "scheduling.k8s.io",
        &["v1", "v1beta1", "v1alpha1"],
        &["PriorityClass"],
    ),
    (
        "storage.k8s.io",
        &["v1", "v1beta1", "v1alpha1"],
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
    ),
];

/// Whether the object certainly has no namespace.
pub(crate) fn is_cluster_scoped(object: &Object) -> bool {
    let (group, version) = split_api_version(object.api_version());
    CLUSTER_SCOPED.iter().any(|(g, versions, kinds)| {
        *g == group && versions.contains(&version) && kinds.contains(&object.kind())
    })
}

/// What a namespace counts as when identities are compared.
pub(crate) fn effective_namespace(object: &Object) -> &str {
    if is_cluster_scoped(object) {
        return "_non_namespaceable_";
    }
    match object.namespace() {
        "" => "default",
        namespace => namespace,
    }
}
