//! Owns what Prometheus scrapes in a sandbox: pods that ask for it by annotation, and the proxy.

use std::net::SocketAddrV4;

use url::Url;
use weir_object::Object;
use weir_runtime::kinds::POD;
use weir_runtime::{Context, WatchOf};

use crate::prometheus::Target;

/// What Prometheus scrapes: pods that ask for it by annotation, and the proxy.
pub(crate) fn targets(
    context: &Context,
    proxy: SocketAddrV4,
) -> impl Fn() -> Vec<Target> + Send + Sync + 'static {
    let pods = context.caches.watch(WatchOf::all(&POD));
    move || {
        let mut out: Vec<Target> = pods.list().iter().filter_map(|pod| target(pod)).collect();
        if let Ok(url) = Url::parse(&format!("http://{proxy}/metrics")) {
            out.push(Target {
                url,
                labels: vec![("job".to_owned(), "proxy".to_owned())],
            });
        }
        out
    }
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
