//! Owns what is measured with: Deployments and their Canaries, a hundred in a namespace.

use serde_json::{Value, json};

/// How many Canaries share a namespace.
const TOGETHER: usize = 100;

/// The name of the Canary of this number, and of what it is about.
pub(crate) fn name(number: usize) -> String {
    format!("app{number}")
}

/// The namespace of the Canary of this number.
pub(crate) fn namespace(number: usize) -> String {
    format!("bench-{}", number / TOGETHER)
}

/// All namespaces of so many Canaries.
pub(crate) fn namespaces(count: usize) -> Vec<String> {
    (0..count.div_ceil(TOGETHER))
        .map(|n| format!("bench-{n}"))
        .collect()
}

/// The number of a Canary by its name.
pub(crate) fn number(name: &str) -> Option<usize> {
    name.strip_prefix("app")?.parse().ok()
}

pub(crate) fn deployment(number: usize, image: &str) -> Value {
    let name = name(number);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace(number)},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": {
                    "prometheus.io/scrape": "true", "prometheus.io/port": "9898"}},
                "spec": {"containers": [{"name": "app", "image": image,
                    "ports": [{"containerPort": 9898, "name": "http"}],
                    "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                    "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}}}]},
            },
        },
    })
}

/// Whether a hook of the Canary of this number asks where no answer comes.
pub(crate) fn hangs(number: usize) -> bool {
    number % 50 == 49
}

/// A Canary.
pub(crate) fn canary(number: usize, interval: u64, hooks: &str) -> Value {
    let name = name(number);
    let mut analysis = json!({
        "interval": format!("{interval}s"), "threshold": 1, "stepWeight": 10, "maxWeight": 50,
        "metrics": [{"name": "request-success-rate", "interval": format!("{interval}s"),
            "thresholdRange": {"min": 99}}],
    });
    if hangs(number) {
        analysis["webhooks"] = json!([{"name": "hang", "type": "rollout", "timeout": "10m",
            "url": format!("{hooks}/hang")}]);
    }
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": name, "namespace": namespace(number)},
        "spec": {
            "provider": "gatewayapi:v1",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": 9898, "targetPort": "http",
                "gatewayRefs": [{"name": "gateway", "namespace": "bench-0"}]},
            "analysis": analysis,
        },
    })
}
