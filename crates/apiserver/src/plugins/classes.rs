//! Owns default classes, and the finalizers that keep volumes and claims while they are used.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::path;
use weir_schema::Quantity;

use super::Asked;
use crate::refusal::Refusal;

/// The default among classes: the newest of those so annotated, then the first by name.
fn default_of(classes: &[Arc<Value>], annotation: &str) -> Option<String> {
    let marked = classes
        .iter()
        .filter(|c| path::text(c, &["metadata", "annotations", annotation]) == "true");
    let text = |c: &Value, field| path::text(c, &["metadata", field]).to_owned();
    let mut marked: Vec<(String, String)> = marked
        .map(|c| (text(c, "creationTimestamp"), text(c, "name")))
        .collect();
    marked.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    marked.into_iter().next().map(|(_, name)| name)
}

/// A claim that names no class gets the default one.
pub(super) fn storage(asked: &Asked<'_>, claim: &mut Value) {
    if !asked.creates("", "PersistentVolumeClaim")
        || path::get(claim, &["spec", "storageClassName"]).is_some()
        || path::get(
            claim,
            &[
                "metadata",
                "annotations",
                "volume.beta.kubernetes.io/storage-class",
            ],
        )
        .is_some()
    {
        return;
    }
    let classes = asked.all("storage.k8s.io", "v1", "storageclasses", None);
    if let Some(name) = default_of(&classes, "storageclass.kubernetes.io/is-default-class") {
        path::set(claim, &["spec", "storageClassName"], name.into());
    }
}

/// An Ingress that names no class gets the default one.
pub(super) fn ingress(asked: &Asked<'_>, object: &mut Value) {
    if !asked.creates("networking.k8s.io", "Ingress")
        || path::get(object, &["spec", "ingressClassName"]).is_some()
        || path::get(
            object,
            &["metadata", "annotations", "kubernetes.io/ingress.class"],
        )
        .is_some()
    {
        return;
    }
    let classes = asked.all("networking.k8s.io", "v1", "ingressclasses", None);
    if let Some(name) = default_of(&classes, "ingressclass.kubernetes.io/is-default-class") {
        path::set(object, &["spec", "ingressClassName"], name.into());
    }
}

/// Volumes and claims wait for those that use them.
pub(super) fn protect(asked: &Asked<'_>, object: &mut Value) {
    let finalizer = if asked.creates("", "PersistentVolumeClaim") {
        "kubernetes.io/pvc-protection"
    } else if asked.creates("", "PersistentVolume") {
        "kubernetes.io/pv-protection"
    } else {
        return;
    };
    match path::get_mut(object, &["metadata", "finalizers"]).and_then(Value::as_array_mut) {
        Some(list) if list.iter().any(|f| f == finalizer) => {}
        Some(list) => list.push(finalizer.into()),
        None => path::set(object, &["metadata", "finalizers"], json!([finalizer])),
    }
}

/// A bound claim grows only where its class lets it.
pub(super) fn resize(asked: &Asked<'_>, claim: &Value) -> Result<(), Refusal> {
    let Some(old) = asked
        .old
        .filter(|_| asked.resource.is("", "PersistentVolumeClaim"))
    else {
        return Ok(());
    };
    let size = |claim| {
        path::get(claim, &["spec", "resources", "requests", "storage"]).and_then(Quantity::of)
    };
    let (Some(before), Some(after)) = (size(old), size(claim)) else {
        return Ok(());
    };
    if after <= before || path::text(old, &["status", "phase"]) != "Bound" {
        return Ok(());
    }
    let name = path::text(old, &["spec", "storageClassName"]);
    let class = asked.find("storage.k8s.io", "storageclasses", "", name);
    if class.is_some_and(|c| c.get("allowVolumeExpansion") == Some(&Value::Bool(true))) {
        return Ok(());
    }
    Err(asked.forbid(
        claim,
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc \
         must support resize",
    ))
}
