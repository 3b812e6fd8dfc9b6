//! Owns what the proxy tells of its work: its own series, by route, service and status, and the
//! standard series of Istio for traffic of the mesh.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::model::{Destination, RouteKind};

/// Upper bounds in seconds of the gateway's latency.
const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Istio's upper bounds, in milliseconds.
const MILLISECONDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];
/// The most series of each metric; past it new ones are not begun.
const SERIES: usize = 20_000;

/// What the proxy did, by route, service and status. Cheap to clone.
#[derive(Clone, Default)]
pub struct ProxyMetrics(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    routes: BTreeMap<Series, Histogram>,
    mesh: BTreeMap<Hop, Histogram>,
    mirrored: BTreeMap<(String, &'static str), u64>,
    retried: BTreeMap<String, u64>,
}

/// One series of the proxy's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    /// `namespace/name` of the gateway; empty for the mesh.
    pub(crate) gateway: String,
    pub(crate) kind: RouteKind,
    /// `namespace/name`.
    pub(crate) route: String,
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) code: u16,
}

/// One series of Istio's.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hop {
    /// Whether the receiving side tells it, or the sending.
    pub(crate) received: bool,
    pub(crate) namespace: String,
    pub(crate) service: String,
    /// The namespace of the workload; empty where no pod was reached.
    pub(crate) workload_namespace: String,
    pub(crate) workload: String,
    pub(crate) app: String,
    pub(crate) version: String,
    pub(crate) grpc: bool,
    pub(crate) code: u16,
    /// The gRPC status, where there is one.
    pub(crate) grpc_status: String,
    pub(crate) flags: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Histogram {
    /// By bound, each request once.
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    fn add(&mut self, value: f64, bounds: &[f64]) {
        self.buckets.resize(bounds.len(), 0);
        let at = bounds.iter().position(|bound| value <= *bound);
        if let Some(bucket) = at.and_then(|at| self.buckets.get_mut(at)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str, bounds: &[f64]) {
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(&self.buckets) {
            below += count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", self.count);
    }
}

impl ProxyMetrics {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn observe(&self, series: &Series, took: Duration) {
        let all = &mut self.lock().routes;
        if all.len() < SERIES || all.contains_key(series) {
            let histogram = all.entry(series.clone()).or_default();
            histogram.add(took.as_secs_f64(), &SECONDS);
        }
    }

    pub(crate) fn observe_hop(&self, hop: Hop, took: Duration) {
        let all = &mut self.lock().mesh;
        if all.len() < SERIES || all.contains_key(&hop) {
            let histogram = all.entry(hop).or_default();
            histogram.add(took.as_secs_f64() * 1000.0, &MILLISECONDS);
        }
    }

    /// Counts a copy: sent, or left out with the reason.
    pub(crate) fn mirrored(&self, to: &Destination, outcome: &'static str) {
        let key = (format!("{}/{}", to.namespace, to.service), outcome);
        *self.lock().mirrored.entry(key).or_default() += 1;
    }

    /// Counts a request that was sent again.
    pub(crate) fn retried(&self, route: &str) {
        *self.lock().retried.entry(route.to_owned()).or_default() += 1;
    }

    /// Requests by service since the start.
    pub fn by_service(&self) -> BTreeMap<String, u64> {
        let mut out = BTreeMap::new();
        for (series, histogram) in &self.lock().routes {
            *out.entry(series.service.clone()).or_default() += histogram.count;
        }
        out
    }

    /// Copies sent to mirrors, by `namespace/service`, since the start.
    pub fn mirrored_by_service(&self) -> BTreeMap<String, u64> {
        let all = self.lock();
        let sent = all.mirrored.iter().filter(|((_, what), _)| *what == "sent");
        sent.map(|((service, _), count)| (service.clone(), *count))
            .collect()
    }

    /// All series in the Prometheus text format.
    pub fn exposition(&self) -> String {
        let all = self.lock();
        let mut out = String::new();
        // Writing to a String does not fail.
        let head = |name: &str, kind: &str, help: &str, out: &mut String| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        head(
            "proxy_requests_total",
            "counter",
            "Requests answered.",
            &mut out,
        );
        let mut totals: BTreeMap<(&str, &str, u16), u64> = BTreeMap::new();
        for (s, h) in &all.routes {
            *totals.entry((&s.route, &s.service, s.code)).or_default() += h.count;
        }
        for ((route, service, code), count) in totals {
            let _ = writeln!(
                out,
                "proxy_requests_total{{route=\"{route}\",service=\"{service}\",code=\"{code}\"}} {count}"
            );
        }
        let name = "gateway_request_duration_seconds";
        head(
            name,
            "histogram",
            "Time until an answer was complete.",
            &mut out,
        );
        for (s, h) in &all.routes {
            let (gateway_namespace, gateway) = s.gateway.split_once('/').unwrap_or_default();
            let (route_namespace, route) = s.route.split_once('/').unwrap_or_default();
            let labels = format!(
                "gateway_namespace=\"{gateway_namespace}\",gateway=\"{gateway}\",\
                 route_kind=\"{}\",route_namespace=\"{route_namespace}\",route=\"{route}\",\
                 service_namespace=\"{}\",service=\"{}\",code=\"{}\"",
                s.kind.name(),
                s.namespace,
                s.service,
                s.code,
            );
            h.write(&mut out, name, &labels, &SECONDS);
        }
        head(
            "proxy_mirrored_total",
            "counter",
            "Copies for mirrors, by outcome.",
            &mut out,
        );
        for ((service, outcome), count) in &all.mirrored {
            let _ = writeln!(
                out,
                "proxy_mirrored_total{{service=\"{service}\",outcome=\"{outcome}\"}} {count}"
            );
        }
        head(
            "proxy_retries_total",
            "counter",
            "Requests sent again.",
            &mut out,
        );
        for (route, count) in &all.retried {
            let _ = writeln!(out, "proxy_retries_total{{route=\"{route}\"}} {count}");
        }
        let name = "istio_requests_total";
        head(name, "counter", "Requests of the mesh.", &mut out);
        for (hop, histogram) in &all.mesh {
            let _ = writeln!(out, "{name}{{{}}} {}", hop.labels(), histogram.count);
        }
        let name = "istio_request_duration_milliseconds";
        head(
            name,
            "histogram",
            "Time until an answer was complete.",
            &mut out,
        );
        for (hop, histogram) in &all.mesh {
            histogram.write(&mut out, name, &hop.labels(), &MILLISECONDS);
        }
        out
    }
}

impl Hop {
    /// The labels as Istio names them. Who called is not known here.
    fn labels(&self) -> String {
        let known = |text: &str| {
            if text.is_empty() {
                "unknown".to_owned()
            } else {
                text.replace(['"', '\\', '\n'], "_")
            }
        };
        let (service, namespace) = (&self.service, &self.namespace);
        let host = format!("{service}.{namespace}.svc.cluster.local");
        format!(
            "reporter=\"{}\",source_workload=\"unknown\",source_workload_namespace=\"unknown\",\
             source_app=\"unknown\",destination_workload=\"{}\",\
             destination_workload_namespace=\"{}\",destination_app=\"{}\",\
             destination_version=\"{}\",destination_service=\"{host}\",\
             destination_service_name=\"{service}\",destination_service_namespace=\"{namespace}\",\
             request_protocol=\"{}\",response_code=\"{}\",grpc_response_status=\"{}\",\
             response_flags=\"{}\",connection_security_policy=\"{}\"",
            if self.received {
                "destination"
            } else {
                "source"
            },
            known(&self.workload),
            known(&self.workload_namespace),
            known(&self.app),
            known(&self.version),
            if self.grpc { "grpc" } else { "http" },
            self.code,
            self.grpc_status,
            if self.flags.is_empty() {
                "-"
            } else {
                self.flags
            },
            if self.received { "none" } else { "unknown" },
        )
    }
}
