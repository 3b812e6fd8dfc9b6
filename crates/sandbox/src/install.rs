//! Owns what a sandbox's API holds from the start: the definitions of kinds, the gateway class and
//! the one node.

use serde_json::json;
use weir_object::{Kind, Object};
use weir_runtime::kinds::CRD;
use weir_runtime::{ApiFailure, Context, Write};

use crate::istio;
use crate::kubelet::NODE;
use crate::plane::{CONTROLLER, GATEWAY_CLASS};

/// Installs the definitions of Weir's kinds and of the Gateway API, and the sandbox's class.
pub(crate) async fn install(context: &Context) -> Result<(), ApiFailure> {
    let api = context.api.with_manager("sandbox");
    let definitions = weir_api::crds().into_iter().chain(weir_api::gateway_crds());
    for definition in definitions.chain(istio::kinds::definitions()) {
        let object = Object(definition);
        let key = object.key();
        api.write(&CRD, &key, Write::Create(object)).await?;
    }
    let class = Object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": "sandbox"}, "spec": {"controllerName": CONTROLLER},
    }));
    let key = class.key();
    api.write(&GATEWAY_CLASS, &key, Write::Create(class))
        .await?;
    // Claims are bound at once, so nothing waits for a pod to be placed.
    let storage = Object(json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "weir.dev/sandbox", "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }));
    let kind = Kind::cluster("storage.k8s.io", "v1", "StorageClass", "storageclasses");
    let key = storage.key();
    api.write(&kind, &key, Write::Create(storage)).await?;
    let node = Object(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "SandboxReady"}],
            "nodeInfo": {"kubeletVersion": "sandbox", "operatingSystem": "linux"},
        },
    }));
    let kind = Kind::cluster("", "v1", "Node", "nodes");
    let key = node.key();
    api.write(&kind, &key, Write::Create(node.clone())).await?;
    api.write_status(
        &kind,
        &key,
        Write::Merge(json!({"status": node.get(&["status"])})),
    )
    .await?;
    Ok(())
}
