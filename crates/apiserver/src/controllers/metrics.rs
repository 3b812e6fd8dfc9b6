//! Owns the seam by which a server learns what pods use, as a cluster does from a metrics server
//! and adapters. It refuses to measure.

use std::time::Duration;

/// What a pod, or a container of it, uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Thousandths of a processor.
    pub cpu_millis: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// The time over which it was measured, up to now.
    pub window: Duration,
}

impl Usage {
    /// Measured over the usual 30 seconds.
    pub fn new(cpu_millis: i64, memory_bytes: i64) -> Self {
        Self {
            cpu_millis,
            memory_bytes,
            window: Duration::from_secs(30),
        }
    }
}

/// Gives measurements to HorizontalPodAutoscalers. Called while others wait, so it must answer at
/// once. `None` is a value that is not known (yet).
pub trait MetricsSource: Send + Sync {
    /// What a pod uses; `container` names one of its containers, if only that is asked for.
    fn resource(&self, namespace: &str, pod: &str, container: Option<&str>) -> Option<Usage>;

    /// A custom metric of a pod, in thousandths.
    fn pod_metric(&self, namespace: &str, pod: &str, metric: &str) -> Option<i64> {
        let _ = (namespace, pod, metric);
        None
    }

    /// A custom metric of another object, in thousandths.
    fn object_metric(&self, namespace: &str, kind: &str, name: &str, metric: &str) -> Option<i64> {
        let _ = (namespace, kind, name, metric);
        None
    }

    /// A metric of something outside the cluster, in thousandths.
    fn external_metric(&self, namespace: &str, metric: &str) -> Option<i64> {
        let _ = (namespace, metric);
        None
    }
}
