//! Owns what Prometheus scrapes in a sandbox: pods that ask for it by annotation, and the proxy.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;
use weir_object::{Key, Object};
use weir_runtime::kinds::POD;
use weir_runtime::{Context, Projection, WatchOf};

use crate::prometheus::Target;

/// What Prometheus scrapes: pods that ask for it by annotation, and the proxy.
pub(crate) fn targets(
    context: &Context,
    proxy: SocketAddrV4,
) -> impl Fn() -> Vec<Target> + Send + Sync + 'static {
    let of = WatchOf::projected(&POD, Projection::Text);
    let pods = Arc::new(Noted::default());
    let seen = pods.clone();
    let store = context.caches.watch(of);
    store.on_change(move |change| {
        let target = change.after.as_deref().and_then(target);
        note(&seen, change.key.clone(), target);
    });
    for pod in store.list() {
        note(&pods, pod.key(), target(&pod));
    }
    move || {
        let pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out: Vec<Target> = pods.values().cloned().collect();
        if let Ok(url) = Url::parse(&format!("http://{proxy}/metrics")) {
            out.push(Target {
                url,
                labels: vec![("job".to_owned(), "proxy".to_owned())],
            });
        }
        out
    }
}

type Noted = Mutex<BTreeMap<Key, Target>>;

fn note(pods: &Noted, key: Key, target: Option<Target>) {
    let mut pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
    match target {
        Some(target) => pods.insert(key, target),
        None => pods.remove(&key),
    };
}

fn target(pod: &Object) -> Option<Target> {
    if pod.annotation("prometheus.io/scrape") != Some("true") || pod.is_deleting() {
        return None;
    }
    let address = pod.text(&["status", "podIP"]);
    if address.is_empty() || pod.text(&["status", "phase"]) != "Running" {
        return None;
    }
    let port = pod.annotation("prometheus.io/port").unwrap_or("80");
    let path = pod.annotation("prometheus.io/path").unwrap_or("/metrics");
    let url = Url::parse(&format!("http://{address}:{port}{path}")).ok()?;
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Some(Target {
        url,
        labels: vec![
            label("job", "kubernetes-pods"),
            label("kubernetes_namespace", pod.namespace()),
            label("kubernetes_pod_name", pod.name()),
        ],
    })
}
