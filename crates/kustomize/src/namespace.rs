//! Owns the namespace transformer: which objects get the namespace, and where else it is written.

use serde_json::{Value, json};
use weir_object::Object;

use crate::fields::{FieldSpec, Leaf};
use crate::scope::is_cluster_scoped;

/// Puts an object into `namespace`. The error is a path and what is wrong there.
pub(crate) fn set(object: &mut Object, namespace: &str) -> Result<(), (String, String)> {
    if !is_cluster_scoped(object) {
        object.set(&["metadata", "namespace"], json!(namespace));
    }
    if matches!(object.kind(), "RoleBinding" | "ClusterRoleBinding")
        && let Some(Value::Array(subjects)) = object.0.get_mut("subjects")
    {
        for subject in subjects.iter_mut().filter(|s| s["name"] == "default") {
            subject["namespace"] = json!(namespace);
        }
    }
    for spec in places() {
        if spec.matches(object) {
            let mut write = |at: &mut Value| {
                *at = json!(namespace);
                Ok(())
            };
            spec.visit(object, Leaf::Text, &mut write)
                .map_err(|what| (spec.path.clone(), what))?;
        }
    }
    Ok(())
}

fn places() -> [FieldSpec; 3] {
    [
        // A Namespace is renamed; that surprises, and people rely on it.
        FieldSpec::new("", "v1", "Namespace", "metadata/name", true),
        FieldSpec::new(
            "apiregistration.k8s.io",
            "",
            "APIService",
            "spec/service/namespace",
            true,
        ),
        FieldSpec::new(
            "apiextensions.k8s.io",
            "",
            "CustomResourceDefinition",
            "spec/conversion/webhook/clientConfig/service/namespace",
            false,
        ),
    ]
}
