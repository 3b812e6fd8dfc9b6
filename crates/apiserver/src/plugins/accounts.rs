//! Owns the service account of a pod: its name, its pull secrets and the volume that carries its
//! token. The account `default` counts as there: its controller makes it with the namespace.

use serde_json::{Value, json};
use weir_object::path;

use super::Asked;
use crate::refusal::Refusal;

const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const PREFIX: &str = "kube-api-access-";

/// Names the account and mounts its token.
pub(super) fn fill(asked: &mut Asked<'_>, pod: &mut Value) -> Result<(), Refusal> {
    if !asked.creates("", "Pod")
        || path::get(
            pod,
            &["metadata", "annotations", "kubernetes.io/config.mirror"],
        )
        .is_some()
    {
        return Ok(());
    }
    let mut name = path::text(pod, &["spec", "serviceAccountName"]).to_owned();
    if name.is_empty() {
        "default".clone_into(&mut name);
    }
    path::set(pod, &["spec", "serviceAccountName"], name.clone().into());
    path::set(pod, &["spec", "serviceAccount"], name.clone().into());
    let namespace = asked.namespace.unwrap_or_default();
    let account = asked.find("", "serviceaccounts", namespace, &name);
    if account.is_none() && name != "default" {
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        );
        return Err(asked.forbid(pod, why));
    }
    let flag = |of: Option<&Value>, at: &[&str]| {
        of.and_then(|of| path::get(of, at)).and_then(Value::as_bool)
    };
    let mounts = flag(Some(pod), &["spec", "automountServiceAccountToken"])
        .or_else(|| flag(account.as_deref(), &["automountServiceAccountToken"]))
        .unwrap_or(true);
    if mounts {
        mount(asked, pod);
    }
    let secrets = path::get(pod, &["spec", "imagePullSecrets"]).and_then(Value::as_array);
    if secrets.is_none_or(Vec::is_empty)
        && let Some(secrets) = account.as_deref().and_then(|a| a.get("imagePullSecrets"))
    {
        path::set(pod, &["spec", "imagePullSecrets"], secrets.clone());
    }
    Ok(())
}

fn mount(asked: &mut Asked<'_>, pod: &mut Value) {
    let volumes = path::get(pod, &["spec", "volumes"]).and_then(Value::as_array);
    let known = volumes
        .into_iter()
        .flatten()
        .map(|v| path::text(v, &["name"]))
        .find(|name| name.starts_with(PREFIX))
        .map(str::to_owned);
    let fresh = known.is_none();
    let name = known.unwrap_or_else(|| format!("{PREFIX}{}", asked.state.random.suffix()));
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        let containers = path::get_mut(pod, &["spec", list]).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mounts = container.get("volumeMounts").and_then(Value::as_array);
            if mounts
                .into_iter()
                .flatten()
                .any(|m| path::text(m, &["mountPath"]) == MOUNT)
            {
                continue;
            }
            needed = true;
            let mount = json!({"name": name, "readOnly": true, "mountPath": MOUNT});
            push(container, "volumeMounts", mount);
        }
    }
    if needed
        && fresh
        && let Some(spec) = pod.get_mut("spec")
    {
        let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace",
                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}});
        push(spec, "volumes", volume);
    }
}

fn push(owner: &mut Value, field: &str, item: Value) {
    match owner.get_mut(field).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => path::set(owner, &[field], json!([item])),
    }
}
