//! Owns what a sandbox's API holds from the start: the definitions of kinds, the gateway class and
//! the one node.

use serde_json::json;
use weir_object::{Kind, Object};
use weir_runtime::kinds::CRD;
use weir_runtime::{ApiClient, ApiFailure, Context, Write};

use crate::istio;
use crate::kubelet::NODE;
use crate::plane::{CONTROLLER, GATEWAY_CLASS};

/// The definitions that every sandbox has: of Weir's kinds, the Gateway API, and Istio.
pub(crate) fn definitions() -> impl Iterator<Item = Object> {
    let own = weir_api::crds().into_iter().chain(weir_api::gateway_crds());
    own.chain(istio::kinds::definitions()).map(Object)
}

/// Creates an object, or leaves the one that a kept state has.
async fn create(api: &ApiClient, kind: &Kind, object: Object) -> Result<(), ApiFailure> {
    match api.write(kind, &object.key(), Write::Create(object)).await {
        Err(failure) if !failure.is_already_exists() => Err(failure),
        _ => Ok(()),
    }
}

/// Installs the definitions, and the sandbox's classes and node.
pub(crate) async fn install(context: &Context) -> Result<(), ApiFailure> {
    let api = context.api.with_manager("sandbox");
    for fields in definitions() {
        // A kept state may have the definition as an earlier version knew it.
        let (key, force) = (fields.key(), true);
        api.write(&CRD, &key, Write::Apply { fields, force })
            .await?;
    }
    let class = Object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": "sandbox"}, "spec": {"controllerName": CONTROLLER},
    }));
    create(&api, &GATEWAY_CLASS, class).await?;
    // Claims are bound at once, so nothing waits for a pod to be placed.
    let storage = Object(json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "weir.dev/sandbox", "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }));
    let kind = Kind::cluster("storage.k8s.io", "v1", "StorageClass", "storageclasses");
    create(&api, &kind, storage).await?;
    let node = Object(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {
            "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "SandboxReady"}],
            "nodeInfo": {"kubeletVersion": "sandbox", "operatingSystem": "linux"},
        },
    }));
    let kind = Kind::cluster("", "v1", "Node", "nodes");
    let key = node.key();
    create(&api, &kind, node.clone()).await?;
    api.write_status(
        &kind,
        &key,
        Write::Merge(json!({"status": node.get(&["status"])})),
    )
    .await?;
    Ok(())
}
