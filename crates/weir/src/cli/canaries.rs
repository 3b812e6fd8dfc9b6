//! Owns what an operator can set for all Canaries on the command line of `weir run`. What is a secret
//! is read from the environment, where the process list does not show it.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use url::Url;
use weir_messenger::{Channel, Service};
use weir_runtime::Secret;

/// What holds for all Canaries.
#[derive(Args, Clone, Debug)]
pub(crate) struct CanaryOptions {
    /// The shortest analysis interval of a Canary, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    min_analysis_interval: u64,
    /// Prometheus for the built-in checks of Canaries that name none
    #[arg(long, value_name = "URL", default_value = "http://prometheus:9090")]
    metrics_server: String,
    /// What moves the traffic of Canaries that do not say
    #[arg(long, value_name = "PROVIDER", default_value = "gatewayapi:v1")]
    #[arg(value_parser = ["gatewayapi:v1", "gatewayapi:v1beta1", "kubernetes"])]
    mesh_provider: String,
    /// Labels that may tell a target's pods from its primary's, in order of preference
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    #[arg(default_value = "app,name,app.kubernetes.io/name")]
    selector_labels: Vec<String>,
    /// Prefixes of the target's labels that its primary gets too; `*` is all
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    include_label_prefix: Vec<String>,
    /// Whether the ConfigMaps and Secrets of a target are part of its revisions
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(default_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    enable_config_tracking: bool,
    /// How many Canaries may have a run under way at once; 0 is no limit
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    max_running_canaries: usize,
    /// The cluster's name in alerts
    #[arg(long, value_name = "NAME")]
    cluster_name: Option<String>,
    /// The hook that is told of events of Canaries without an event hook; or $EVENT_WEBHOOK_URL
    #[arg(long, value_name = "URL")]
    event_webhook: Option<String>,
    /// Slack's address for alerts of Canaries without alerts of their own; or $SLACK_URL, with
    /// $SLACK_TOKEN where it asks for one
    #[arg(long, value_name = "URL")]
    slack_url: Option<String>,
    /// Who is seen to speak in Slack
    #[arg(long, value_name = "NAME", default_value = "flagger")]
    slack_user: String,
    /// The channel in Slack
    #[arg(long, value_name = "NAME", default_value = "general")]
    slack_channel: String,
    /// Microsoft Teams' address for such alerts, which takes the place of Slack; or $MSTEAMS_URL
    #[arg(long, value_name = "URL")]
    msteams_url: Option<String>,
}

impl CanaryOptions {
    /// The same as the controller takes it.
    pub(crate) fn read(&self) -> anyhow::Result<weir_canary::Options> {
        // As people know it, the environment wins.
        let secret = |name: &str, given: &Option<String>| {
            let of = std::env::var(name).ok().or_else(|| given.clone());
            of.filter(|text| !text.is_empty())
        };
        let event_webhook = secret("EVENT_WEBHOOK_URL", &self.event_webhook)
            .map(|text| Url::parse(&text))
            .transpose()
            .context("--event-webhook is no URL")?;
        let channel = |service, address: String| Channel {
            service,
            address: Secret::new(address),
            channel: self.slack_channel.clone(),
            username: self.slack_user.clone(),
            token: secret("SLACK_TOKEN", &None).map(Secret::new),
        };
        let teams = secret("MSTEAMS_URL", &self.msteams_url);
        let slack = secret("SLACK_URL", &self.slack_url);
        let notifier = teams
            .map(|address| channel(Service::MsTeams, address))
            .or_else(|| slack.map(|address| channel(Service::Slack, address)));
        Ok(weir_canary::Options {
            mesh_provider: self.mesh_provider.clone(),
            metrics_server: self.metrics_server.clone(),
            min_analysis_interval: Duration::from_secs(self.min_analysis_interval),
            selector_labels: self.selector_labels.clone(),
            include_label_prefix: self.include_label_prefix.clone(),
            max_running: Some(self.max_running_canaries).filter(|most| *most > 0),
            event_webhook,
            notifier,
            cluster_name: self.cluster_name.clone(),
            config_tracking: self.enable_config_tracking,
            ..weir_canary::Options::default()
        })
    }
}
