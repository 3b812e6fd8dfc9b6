//! Owns the rules of containers: names, images, ports, environment and mounts.

use serde_json::{Value, json};

use super::probes;
use super::resources;
use super::security;
use crate::builtin::checks::{At, Checks, flag, int, list, of, text};
use crate::builtin::names;

/// All containers of a spec.
pub(super) fn check(spec: &Value, at: At<'_>, volumes: &[&str], checks: &mut Checks) {
    let grace = int(spec, "terminationGracePeriodSeconds").unwrap_or(30);
    let containers = list(spec, "containers");
    let mut names = Vec::new();
    let claims: Vec<&str> = list(spec, "resourceClaims")
        .iter()
        .map(|c| text(c, "name"))
        .collect();
    {
        let at = at.field("containers");
        if containers.is_empty() {
            checks.required(at, "");
        }
        for (i, container) in containers.iter().enumerate() {
            let at = at.index(i);
            common(container, at, volumes, &claims, checks);
            let name = text(container, "name");
            if names.contains(&name) {
                checks.duplicate(at.field("name"), &name.into());
            } else {
                names.push(name);
            }
            probes::check(container, at, grace, checks);
            if !text(container, "restartPolicy").is_empty() {
                restart_policy(container, at, checks);
            }
        }
        host_ports(containers, at, checks);
    }
    let at = at.field("initContainers");
    for (i, container) in list(spec, "initContainers").iter().enumerate() {
        let at_list = at;
        let at = at.index(i);
        common(container, at, volumes, &claims, checks);
        let policy = text(container, "restartPolicy");
        if !policy.is_empty() {
            restart_policy(container, at, checks);
        }
        let name = text(container, "name");
        if names.contains(&name) {
            checks.duplicate(at.field("name"), &name.into());
        } else if !name.is_empty() {
            names.push(name);
        }
        host_ports(std::slice::from_ref(container), at_list, checks);
        if policy == "Always" {
            probes::check(container, at, grace, checks);
            continue;
        }
        for field in [
            "lifecycle",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
        ] {
            if !of(container, field).is_null() {
                let detail = "may not be set for init containers without restartPolicy=Always";
                checks.forbidden(at.field(field), detail);
            }
        }
    }
}

fn restart_policy(container: &Value, at: At<'_>, checks: &mut Checks) {
    let policy = text(container, "restartPolicy");
    checks.one_of(
        at.field("restartPolicy"),
        policy,
        &["Always", "Never", "OnFailure"],
    );
}

fn common(container: &Value, at: At<'_>, volumes: &[&str], claims: &[&str], checks: &mut Checks) {
    match text(container, "name") {
        "" => checks.required(at.field("name"), ""),
        name => checks.faults(at.field("name"), name, names::label(name)),
    }
    if text(container, "image").is_empty() {
        checks.required(at.field("image"), "");
    }
    let policy = text(container, "terminationMessagePolicy");
    let known = ["File", "FallbackToLogsOnError"];
    checks.one_of_if(at.field("terminationMessagePolicy"), policy, &known);
    ports(container, at.field("ports"), checks);
    environment(container, at.field("env"), checks);
    environment_from(container, at.field("envFrom"), checks);
    mounts(container, at.field("volumeMounts"), volumes, checks);
    let pull = text(container, "imagePullPolicy");
    checks.one_of_if(
        at.field("imagePullPolicy"),
        pull,
        &["Always", "IfNotPresent", "Never"],
    );
    resources::check(
        of(container, "resources"),
        at.field("resources"),
        claims,
        checks,
    );
    resize(container, at.field("resizePolicy"), checks);
    security::check_container(
        of(container, "securityContext"),
        at.field("securityContext"),
        checks,
    );
}

fn ports(container: &Value, at: At<'_>, checks: &mut Checks) {
    let mut seen = Vec::new();
    for (i, port) in list(container, "ports").iter().enumerate() {
        let at = at.index(i);
        let name = text(port, "name");
        if !name.is_empty() {
            let faults = names::port_name(name);
            if !faults.is_empty() {
                checks.faults(at.field("name"), name, faults);
            } else if seen.contains(&name) {
                checks.duplicate(at.field("name"), &name.into());
            } else {
                seen.push(name);
            }
        }
        match int(port, "containerPort").unwrap_or_default() {
            0 => checks.required(at.field("containerPort"), ""),
            number => checks.port(at.field("containerPort"), number),
        }
        let host = int(port, "hostPort").unwrap_or_default();
        if host != 0 {
            checks.port(at.field("hostPort"), host);
        }
        match text(port, "protocol") {
            "" => checks.required(at.field("protocol"), ""),
            protocol => checks.one_of(at.field("protocol"), protocol, &["SCTP", "TCP", "UDP"]),
        }
    }
}

fn host_ports(containers: &[Value], at: At<'_>, checks: &mut Checks) {
    let mut seen = Vec::new();
    for (i, container) in containers.iter().enumerate() {
        for (j, port) in list(container, "ports").iter().enumerate() {
            let host = int(port, "hostPort").unwrap_or_default();
            if host == 0 {
                continue;
            }
            let (protocol, ip) = (text(port, "protocol"), text(port, "hostIP"));
            let key = format!("{protocol}/{ip}/{host}");
            if seen.contains(&key) {
                let at = at.index(i);
                let at = at.field("ports");
                checks.duplicate(at.index(j).field("hostPort"), &key.into());
            } else {
                seen.push(key);
            }
        }
    }
}

fn environment(container: &Value, at: At<'_>, checks: &mut Checks) {
    for (i, variable) in list(container, "env").iter().enumerate() {
        let at = at.index(i);
        match text(variable, "name") {
            "" => checks.required(at.field("name"), ""),
            name => checks.faults(at.field("name"), name, names::env_name(name)),
        }
        let source = of(variable, "valueFrom");
        if !source.is_null() {
            value_from(variable, source, at.field("valueFrom"), checks);
        }
    }
}

fn value_from(variable: &Value, source: &Value, at: At<'_>, checks: &mut Checks) {
    let mut count = 0;
    if let Some(field) = source.get("fieldRef").filter(|v| !v.is_null()) {
        count += 1;
        let known = [
            "metadata.name",
            "metadata.namespace",
            "metadata.uid",
            "spec.nodeName",
            "spec.serviceAccountName",
            "status.hostIP",
            "status.hostIPs",
            "status.podIP",
            "status.podIPs",
        ];
        field_ref(field, at.field("fieldRef"), &known, checks);
    }
    if let Some(resource) = source.get("resourceFieldRef").filter(|v| !v.is_null()) {
        count += 1;
        resource_ref(resource, at.field("resourceFieldRef"), checks);
    }
    for (name, of_what) in [
        ("configMapKeyRef", "configMapKeyRef"),
        ("secretKeyRef", "secretKeyRef"),
    ] {
        if let Some(key) = source.get(name).filter(|v| !v.is_null()) {
            count += 1;
            let at = at.field(of_what);
            let object = text(key, "name");
            checks.faults(at.field("name"), object, names::subdomain(object));
            match text(key, "key") {
                "" => checks.required(at.field("key"), ""),
                key => checks.faults(at.field("key"), key, names::config_key(key)),
            }
        }
    }
    if count == 0 {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        checks.wrong(at, "", detail);
    } else if !text(variable, "value").is_empty() {
        checks.wrong(at, "", "may not be specified when `value` is not empty");
    } else if count > 1 {
        checks.wrong(
            at,
            "",
            "may not have more than one field specified at a time",
        );
    }
}

/// A field of the pod; `known` are those that may be named here.
pub(super) fn field_ref(field: &Value, at: At<'_>, known: &[&str], checks: &mut Checks) {
    let path = text(field, "fieldPath");
    if text(field, "apiVersion").is_empty() {
        checks.required(at.field("apiVersion"), "");
        return;
    }
    if path.is_empty() {
        checks.required(at.field("fieldPath"), "");
        return;
    }
    let fine = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    if let Some((owner, rest)) = path.split_once("['")
        && let Some(key) = rest.strip_suffix("']")
    {
        if matches!(owner, "metadata.labels" | "metadata.annotations") {
            let lower = key.to_lowercase();
            let name = if owner == "metadata.labels" {
                key
            } else {
                &lower
            };
            checks.faults(at, key, names::qualified(name));
        } else {
            checks.wrong(at, path, "does not support subscript");
        }
    } else if !fine.contains(&path) {
        let detail = format!("error converting fieldPath: field label not supported: {path}");
        checks.wrong(at.field("fieldPath"), path, &detail);
    } else if !known.contains(&path) {
        checks.unsupported(at.field("fieldPath"), &path.into(), known);
    }
}

pub(super) fn resource_ref(resource: &Value, at: At<'_>, checks: &mut Checks) {
    let known = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    match text(resource, "resource") {
        "" => checks.required(at.field("resource"), ""),
        name if name.contains(".hugepages-") => {}
        name => checks.one_of(at.field("resource"), name, &known),
    }
}

fn environment_from(container: &Value, at: At<'_>, checks: &mut Checks) {
    for (i, source) in list(container, "envFrom").iter().enumerate() {
        let item = at.index(i);
        let prefix = text(source, "prefix");
        if !prefix.is_empty() {
            checks.faults(item.field("prefix"), prefix, names::env_name(prefix));
        }
        let mut count = 0;
        for name in ["configMapRef", "secretRef"] {
            if let Some(of_what) = source.get(name).filter(|v| !v.is_null()) {
                count += 1;
                let at = item.field(name);
                match text(of_what, "name") {
                    "" => checks.required(at.field("name"), ""),
                    object => checks.faults(at.field("name"), object, names::subdomain(object)),
                }
            }
        }
        if count == 0 {
            checks.wrong(at, "", "must specify one of: `configMapRef` or `secretRef`");
        } else if count > 1 {
            checks.wrong(
                at,
                "",
                "may not have more than one field specified at a time",
            );
        }
    }
}

fn mounts(container: &Value, at: At<'_>, volumes: &[&str], checks: &mut Checks) {
    let mut paths = Vec::new();
    for (i, mount) in list(container, "volumeMounts").iter().enumerate() {
        let item = at.index(i);
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        if name.is_empty() {
            checks.required(item.field("name"), "");
        }
        if !volumes.contains(&name) {
            checks.causes.push(crate::refusal::Cause::not_found(
                item.field("name"),
                &name.into(),
            ));
        }
        if path.is_empty() {
            checks.required(item.field("mountPath"), "");
        }
        if paths.contains(&path) {
            checks.wrong(item.field("mountPath"), path, "must be unique");
        }
        paths.push(path);
        let (sub, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        if let Some(fault) = names::local_path(sub).filter(|_| !sub.is_empty()) {
            checks.wrong(at.field("subPath"), sub, fault);
        }
        if !expression.is_empty() {
            if !sub.is_empty() {
                let detail = "subPathExpr and subPath are mutually exclusive";
                checks.wrong(item.field("subPathExpr"), expression, detail);
            }
            if let Some(fault) = names::local_path(expression) {
                checks.wrong(at.field("subPathExpr"), expression, fault);
            }
        }
        let propagation = text(mount, "mountPropagation");
        let privileged = flag(of(container, "securityContext"), "privileged");
        if propagation == "Bidirectional" && !privileged {
            let detail =
                "Bidirectional mount propagation is available only to privileged containers";
            checks.forbidden(at.field("mountPropagation"), detail);
        } else {
            let known = ["Bidirectional", "HostToContainer", "None"];
            checks.one_of_if(at.field("mountPropagation"), propagation, &known);
        }
    }
}

fn resize(container: &Value, at: At<'_>, checks: &mut Checks) {
    let mut seen = Vec::new();
    for policy in list(container, "resizePolicy") {
        let name = text(policy, "resourceName");
        if seen.contains(&name) {
            checks.duplicate(at, &json!(name));
        }
        seen.push(name);
        match name {
            "" => checks.required(at, ""),
            name => checks.one_of(at, name, &["cpu", "memory"]),
        }
        match text(policy, "restartPolicy") {
            "" => checks.required(at, ""),
            restart => checks.one_of(at, restart, &["NotRequired", "RestartContainer"]),
        }
    }
}
