//! Owns what clients are warned of in pods and pod templates.

use serde_json::Value;
use weir_schema::Quantity;

use crate::builtin::checks::{At, int, list, members, of, text};

/// Labels of nodes that are gone.
const OLD_LABELS: [(&str, &str); 5] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
];

/// Volumes that are gone.
const OLD_VOLUMES: [(&str, &str); 9] = [
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS
        .iter()
        .find(|(known, _)| *known == key)
        .map(|(_, why)| *why)
}

/// The warnings of a pod, or of the template at a place.
pub(crate) fn warnings(
    meta: &Value,
    spec: &Value,
    template: Option<At<'_>>,
    out: &mut Vec<String>,
) {
    let meta_at = |name| match &template {
        Some(at) => at.field("metadata").field(name).to_string(),
        None => At::root("metadata").field(name).to_string(),
    };
    let at = match &template {
        Some(at) => at.field("spec"),
        None => At::root("spec"),
    };
    for (key, _) in members(of(spec, "nodeSelector")) {
        if let Some(why) = old_label(key) {
            out.push(format!("{}: {why}", at.field("nodeSelector").key(key)));
        }
    }
    for (i, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let at = at.field("topologySpreadConstraints");
        let at = at.index(i);
        let key = text(constraint, "topologyKey");
        if let Some(why) = old_label(key) {
            out.push(format!("{}: {key} is {why}", at.field("topologyKey")));
        }
        if of(constraint, "labelSelector").is_null() {
            let at = at.field("labelSelector");
            out.push(format!(
                "{at}: a null labelSelector results in matching no pod"
            ));
        }
    }
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        for (name, why) in OLD_VOLUMES {
            if !of(volume, name).is_null() {
                let at = at.field("volumes");
                out.push(format!("{}: {why}", at.index(i).field(name)));
            }
        }
    }
    let annotations = of(meta, "annotations");
    repeated(spec, "hostAliases", "ip", at, out);
    repeated(spec, "imagePullSecrets", "name", at, out);
    for (i, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            let at = at.field("imagePullSecrets");
            out.push(format!(
                "{}: invalid empty name \"\"",
                at.index(i).field("name")
            ));
        }
    }
    for (kind, name) in [
        ("initContainers", "initContainers"),
        ("containers", "containers"),
    ] {
        let at = at.field(name);
        for (i, container) in list(spec, kind).iter().enumerate() {
            container_warnings(container, at.index(i), out);
            let key = format!(
                "container.apparmor.security.beta.kubernetes.io/{}",
                text(container, "name")
            );
            // Of a pod this is told where the annotation becomes a field.
            if template.is_some()
                && !of(annotations, &key).is_null()
                && of(of(container, "securityContext"), "appArmorProfile").is_null()
            {
                let at = meta_at("annotations");
                out.push(format!(
                    "{at}[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
                ));
            }
        }
    }
    ports(spec, at, out);
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|s| s < 0) {
        let at = at.field("terminationGracePeriodSeconds");
        out.push(format!(
            "{at}: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    pod_terms(of(spec, "affinity"), at.field("affinity"), out);
}

fn repeated(spec: &Value, name: &str, field: &str, at: At<'_>, out: &mut Vec<String>) {
    let mut seen = Vec::new();
    let at = at.field(name);
    for (i, item) in list(spec, name).iter().enumerate() {
        let value = text(item, field);
        if seen.contains(&value) {
            out.push(format!(
                "{}: duplicate {field} {}",
                at.index(i).field(field),
                Value::from(value)
            ));
        }
        seen.push(value);
    }
}

fn container_warnings(container: &Value, at: At<'_>, out: &mut Vec<String>) {
    let resources = of(container, "resources");
    for name in ["memory", "ephemeral-storage"] {
        for part in ["limits", "requests"] {
            if let Some(amount) = Quantity::of(of(of(resources, part), name))
                && amount.nanos / 1_000_000 % 1000 != 0
            {
                let at = at.field("resources");
                let at = at.field(part);
                out.push(format!(
                    "{}: fractional byte value \"{amount}\" is invalid, must be an integer",
                    at.key(name)
                ));
            }
        }
    }
    let mut seen = Vec::new();
    for (i, variable) in list(container, "env").iter().enumerate() {
        let name = text(variable, "name");
        if !seen.contains(&name) {
            seen.push(name);
            continue;
        }
        let reference = format!("$({name})");
        let value = text(variable, "value");
        if !of(variable, "valueFrom").is_null() || value == reference || !value.contains(&reference)
        {
            let at = at.field("env");
            out.push(format!(
                "{}: hides previous definition of \"{name}\", which may be dropped when using apply",
                at.index(i)
            ));
        }
    }
}

fn ports(spec: &Value, at: At<'_>, out: &mut Vec<String>) {
    let mut all: Vec<(&Value, String)> = Vec::new();
    for name in ["initContainers", "containers"] {
        let at = at.field(name);
        for (i, container) in list(spec, name).iter().enumerate() {
            let at = at.index(i);
            let at = at.field("ports");
            for (i, port) in list(container, "ports").iter().enumerate() {
                all.push((port, at.index(i).to_string()));
            }
        }
    }
    let host = |port: &Value| int(port, "hostPort").unwrap_or_default();
    for (i, (port, at)) in all.iter().enumerate() {
        for (other, before) in all.get(..i).unwrap_or_default() {
            let same = int(port, "containerPort") == int(other, "containerPort")
                && text(port, "protocol") == text(other, "protocol");
            if !same {
                continue;
            }
            let (ip, other_ip) = (text(port, "hostIP"), text(other, "hostIP"));
            if ip == other_ip && host(port) == host(other) {
                out.push(format!("{at}: duplicate port definition with {before}"));
            } else if host(port) == 0 || host(other) == 0 {
                out.push(format!("{at}: overlapping port definition with {before}"));
            } else if host(port) == host(other) && ip.is_empty() != other_ip.is_empty() {
                out.push(format!(
                    "{at}: dangerously ambiguous port definition with {before}"
                ));
            }
        }
    }
    for (i, (port, at)) in all.iter().enumerate() {
        let name = text(port, "name");
        let earlier = all.get(..i).unwrap_or_default();
        if let Some((_, before)) = earlier
            .iter()
            .find(|(p, _)| !name.is_empty() && text(p, "name") == name)
        {
            out.push(format!(
                "{at}: duplicate port name \"{name}\" with {before}, services and probes that select \
                 ports by name will use {before}"
            ));
        }
    }
}

fn pod_terms(affinity: &Value, at: At<'_>, out: &mut Vec<String>) {
    for name in ["podAffinity", "podAntiAffinity"] {
        let of_pods = of(affinity, name);
        let at = at.field(name);
        for (kind, inner) in [
            ("requiredDuringSchedulingIgnoredDuringExecution", None),
            (
                "preferredDuringSchedulingIgnoredDuringExecution",
                Some("podAffinityTerm"),
            ),
        ] {
            let at = at.field(kind);
            for (i, term) in list(of_pods, kind).iter().enumerate() {
                let term = inner.map_or(term, |inner| of(term, inner));
                if of(term, "labelSelector").is_null() {
                    let at = at.index(i);
                    let at = match inner {
                        Some(inner) => at.field(inner).field("labelSelector").to_string(),
                        None => at.field("labelSelector").to_string(),
                    };
                    out.push(format!(
                        "{at}: a null labelSelector results in matching no pod"
                    ));
                }
            }
        }
    }
}
