//! Owns what an operator can set for all Canaries.

use std::time::Duration;

use url::Url;
use weir_messenger::Channel;

/// What an operator can set for all Canaries. The defaults are the known ones.
#[derive(Clone, Debug)]
pub struct Options {
    /// What moves the traffic where a Canary does not say; `gatewayapi:v1` is all there is.
    pub mesh_provider: String,
    /// Prometheus for the built-in checks where a Canary does not name one.
    pub metrics_server: String,
    /// The least time between two measurements, whatever a Canary says.
    pub min_analysis_interval: Duration,
    /// Labels that may tell a target's pods from its primary's, in order of preference.
    pub selector_labels: Vec<String>,
    /// Prefixes of the target's labels that its primary gets too; `*` is all.
    pub include_label_prefix: Vec<String>,
    /// How long one query may take.
    pub query_timeout: Duration,
    /// How many Canaries are worked on at once. Most of them only wait for an answer, and none may
    /// keep another's rollback waiting.
    pub workers: usize,
    /// How many Canaries may have a run under way at once; as many as want where it is not set.
    pub max_running: Option<usize>,
    /// The hook that is told of events of Canaries without an event hook of their own.
    pub event_webhook: Option<Url>,
    /// Where alerts of Canaries without alerts of their own go.
    pub notifier: Option<Channel>,
    /// The cluster's name, for those who read alerts of several.
    pub cluster_name: Option<String>,
    /// Whether the ConfigMaps and Secrets that a target refers to are part of its revisions.
    pub config_tracking: bool,
    /// Whether what a Canary refers to must stand in its own namespace.
    pub no_cross_namespace_refs: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mesh_provider: "gatewayapi:v1".to_owned(),
            metrics_server: "http://prometheus:9090".to_owned(),
            min_analysis_interval: Duration::from_secs(10),
            selector_labels: ["app", "name", "app.kubernetes.io/name"]
                .map(str::to_owned)
                .to_vec(),
            include_label_prefix: Vec::new(),
            query_timeout: Duration::from_secs(5),
            workers: 512,
            max_running: None,
            event_webhook: None,
            notifier: None,
            cluster_name: None,
            config_tracking: true,
            no_cross_namespace_refs: false,
        }
    }
}
