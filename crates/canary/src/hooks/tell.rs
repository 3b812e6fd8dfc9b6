//! Owns telling: events to the hooks that listen, and alerts to where people read them. It goes
//! through bounded queues, one Canary always through the same, so that a place that hangs delays
//! nothing but what is behind it there.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use url::Url;
use weir_api::AlertProvider;
use weir_api::alert_provider::ProviderKind;
use weir_api::canary::{AlertSeverity, Spec, WebhookType};
use weir_messenger::{Call, Channel, Service, call, send};
use weir_object::{Key, Object};
use weir_rollout::{Alert, Course, Event, Severity, Strategy};
use weir_runtime::http::Http;
use weir_runtime::{Metrics, Secret, SecretData, Store};

use super::ask::{Asker, timeout};
use super::payload;

/// How many queues there are, and how much waits in each.
const QUEUES: usize = 16;
const LENGTH: usize = 64;

/// Something a Canary tells.
pub(crate) struct Told {
    pub(crate) canary: Arc<Object>,
    pub(crate) spec: Arc<Spec>,
    pub(crate) event: Event,
    /// The fields of a detailed alert.
    pub(crate) details: Vec<(String, String)>,
    pub(crate) at: Timestamp,
}

/// Where those are told that no Canary names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Everybody {
    /// The hook that is told of events of Canaries without an event hook of their own.
    pub(crate) event_webhook: Option<Url>,
    /// Where alerts of Canaries without alerts of their own go.
    pub(crate) channel: Option<Channel>,
    /// The cluster's name, for those who read of several.
    pub(crate) cluster: Option<String>,
    /// Whether providers must stand in the Canary's own namespace.
    pub(crate) same_namespace: bool,
}

/// Tells hooks and people. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Teller {
    queues: Arc<Vec<mpsc::Sender<Told>>>,
    lost: Counter,
}

impl Teller {
    /// A teller whose queues are worked on until the last clone of it is dropped.
    pub(crate) fn start(
        asker: &Asker,
        providers: &Arc<Store>,
        everybody: &Everybody,
        metrics: &Metrics,
    ) -> Self {
        let lost = Counter::default();
        metrics.register(|registry| {
            registry.register(
                "weir_canary_messages_lost",
                "Events and alerts of Canaries that did not reach their place",
                lost.clone(),
            );
        });
        let queues = (0..QUEUES).map(|_| {
            let (sender, mut queue) = mpsc::channel::<Told>(LENGTH);
            let place = Place {
                asker: asker.clone(),
                providers: providers.clone(),
                everybody: everybody.clone(),
                lost: lost.clone(),
            };
            tokio::spawn(async move {
                while let Some(told) = queue.recv().await {
                    place.tell(&told).await;
                }
            });
            sender
        });
        Self {
            queues: Arc::new(queues.collect()),
            lost,
        }
    }

    /// Tells something, some time soon. What a full queue has no room for is counted as lost.
    pub(crate) fn tell(&self, told: Told) {
        let mut hasher = DefaultHasher::new();
        told.canary.key().hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % QUEUES as u64).unwrap_or_default();
        let canary = told.canary.key();
        let full = match self.queues.get(at) {
            Some(queue) => queue.try_send(told).is_err(),
            None => true,
        };
        if full {
            self.lost.inc();
            tracing::warn!(%canary, "too much waits to be told; an event was left out");
        }
    }
}

/// Whether anybody would be told of an event.
pub(crate) fn anybody(spec: &Spec, event: &Event, everybody: &Everybody) -> bool {
    let listens = |kind: Option<WebhookType>| kind == Some(WebhookType::Event);
    spec.analysis.webhooks.iter().any(|w| listens(w.kind))
        || everybody.event_webhook.is_some()
        || (event.alert.is_some()
            && (!spec.analysis.alerts.is_empty() || everybody.channel.is_some()))
}

/// What a detailed alert says of a run.
pub(crate) fn details(spec: &Spec, namespace: &str, strategy: &Strategy) -> Vec<(String, String)> {
    let target = &spec.target_ref;
    let routing = match &strategy.course {
        Course::Matched { .. } => "A/B Testing".to_owned(),
        Course::BlueGreen { .. } => "Blue/Green".to_owned(),
        Course::Weighted { steps, .. } => {
            let max = spec.analysis.max_weight.unwrap_or_default();
            let max = if max == 0 { 100 } else { max };
            match spec.analysis.step_weight.filter(|s| *s > 0) {
                Some(step) => format!("Weight step: {step} max: {max}"),
                None => {
                    let all: Vec<String> = steps.iter().map(|s| s.weight.to_string()).collect();
                    format!("Weight steps: {} max: {max}", all.join(","))
                }
            }
        }
    };
    let deadline = strategy.progress_deadline.as_secs();
    [
        (
            "Target",
            format!("{}/{}.{namespace}", target.kind.as_str(), target.name),
        ),
        (
            "Failed checks threshold",
            strategy.limits.failed.to_string(),
        ),
        ("Progress deadline", format!("{deadline}s")),
        ("Traffic routing", routing),
    ]
    .map(|(title, value)| (title.to_owned(), value))
    .to_vec()
}

/// One queue's worker.
struct Place {
    asker: Asker,
    providers: Arc<Store>,
    everybody: Everybody,
    lost: Counter,
}

impl Place {
    async fn tell(&self, told: &Told) {
        self.hooks(told).await;
        if let Some(alert) = &told.event.alert {
            self.alerts(told, alert).await;
        }
    }

    fn failed(&self, told: &Told, place: &str, why: &str) {
        self.lost.inc();
        let canary = told.canary.key();
        tracing::warn!(%canary, place, why, "an event did not reach its place");
    }

    async fn hooks(&self, told: &Told) {
        let kind = if told.event.warning {
            "Warning"
        } else {
            "Normal"
        };
        let said = (kind, told.event.message.as_str());
        let id = format!("{}/{}", told.canary.uid(), told.at.as_millisecond());
        let all = &told.spec.analysis.webhooks;
        let own = all.iter().filter(|w| w.kind == Some(WebhookType::Event));
        let mut listens = false;
        for hook in own {
            listens = true;
            let Ok(url) = Url::parse(&hook.url) else {
                self.failed(told, &hook.name, "its address is no URL");
                continue;
            };
            let secret = match self.asker.secret(told.canary.namespace(), hook).await {
                Ok(secret) => secret,
                Err(why) => {
                    self.failed(told, &hook.name, &why);
                    continue;
                }
            };
            let told_by = Call {
                url,
                body: payload::event(&told.canary, &hook.metadata, said, told.at),
                timeout: timeout(hook),
                retries: u32::try_from(hook.retries.unwrap_or_default()).unwrap_or_default(),
                insecure: hook.disable_tls,
                id: id.clone(),
                secret,
            };
            if let Err(why) = call(&self.asker.http, &told_by).await {
                self.failed(told, &hook.name, &why.to_string());
            }
        }
        if listens {
            return;
        }
        if let Some(url) = &self.everybody.event_webhook {
            let told_by = Call {
                url: url.clone(),
                body: payload::event(&told.canary, &BTreeMap::new(), said, told.at),
                timeout: Duration::from_secs(10),
                retries: 0,
                insecure: false,
                id,
                secret: None,
            };
            if let Err(why) = call(&self.asker.http, &told_by).await {
                self.failed(told, "the event webhook", &why.to_string());
            }
        }
    }

    async fn alerts(&self, told: &Told, alert: &Alert) {
        let said = self.said(told, alert);
        let http = &self.asker.http;
        if told.spec.analysis.alerts.is_empty() {
            if let Some(channel) = &self.everybody.channel {
                self.send(told, http, "the notifier", channel, &said).await;
            }
            return;
        }
        for one in &told.spec.analysis.alerts {
            if !wants(one.severity.unwrap_or_default(), alert.severity) {
                continue;
            }
            let namespace = one.provider_ref.namespace.as_deref();
            let namespace = namespace.filter(|n| !n.is_empty());
            let home = told.canary.namespace();
            let key = Key::new(namespace.unwrap_or(home), one.provider_ref.name.as_str());
            if self.everybody.same_namespace && key.namespace != home {
                let why = "it stands in another namespace, which is not allowed here";
                self.failed(told, &one.name, why);
                continue;
            }
            match self.channel(&key).await {
                Ok(channel) => self.send(told, http, &one.name, &channel, &said).await,
                Err(why) => self.failed(told, &one.name, &why),
            }
        }
    }

    async fn send(
        &self,
        told: &Told,
        http: &Http,
        name: &str,
        channel: &Channel,
        said: &weir_messenger::Alert,
    ) {
        if let Err(why) = send(http, channel, said).await {
            self.failed(told, name, &why.to_string());
        }
    }

    fn said(&self, told: &Told, alert: &Alert) -> weir_messenger::Alert {
        let cluster = self.everybody.cluster.clone();
        let mut fields: Vec<(String, String)> = cluster
            .map(|name| ("Cluster".to_owned(), name))
            .into_iter()
            .collect();
        if alert.details {
            fields.extend(told.details.iter().cloned());
        }
        weir_messenger::Alert {
            subject: format!("{}.{}", told.canary.name(), told.canary.namespace()),
            text: alert.message.clone(),
            fields,
            error: alert.severity == Severity::Error,
        }
    }

    /// Where an AlertProvider leads.
    async fn channel(&self, key: &Key) -> Result<Channel, String> {
        let object = self
            .providers
            .get(key)
            .ok_or_else(|| format!("AlertProvider {key} does not exist; create it"))?;
        let spec = AlertProvider::from_object(&object)
            .map_err(|e| e.to_string())?
            .spec;
        if spec.proxy.as_deref().is_some_and(|p| !p.is_empty()) {
            return Err(format!(
                "AlertProvider {key} asks for a `proxy`, which this version can't use; set it for \
                 the whole process by HTTPS_PROXY"
            ));
        }
        let (mut address, mut token) = (spec.address.map(Secret::new), None);
        if let Some(reference) = &spec.secret_ref {
            let name = reference.name.as_str();
            let data = SecretData::read(&self.asker.api, &key.namespace, name, "secretRef")
                .await
                .map_err(|e| e.to_string())?;
            let text = |name| data.text(name).map_err(|e| e.to_string());
            if let Some(given) = text("address")? {
                address = Some(Secret::new(given.trim()));
            }
            token = text("token")?.map(|t| Secret::new(t.trim()));
        }
        Ok(Channel {
            service: match spec.kind {
                ProviderKind::Slack => Service::Slack,
                ProviderKind::MsTeams => Service::MsTeams,
                ProviderKind::Discord => Service::Discord,
                ProviderKind::Rocket => Service::Rocket,
                ProviderKind::GChat => Service::GChat,
            },
            address: address.ok_or_else(|| {
                format!("AlertProvider {key} has neither `address` nor a Secret with that key")
            })?,
            channel: spec.channel.unwrap_or_default(),
            username: spec.username.unwrap_or_default(),
            token,
        })
    }
}

/// Whether a place that asks for one severity gets an alert of another. A place that does not say
/// gets everything.
fn wants(asked: AlertSeverity, severity: Severity) -> bool {
    match asked {
        AlertSeverity::Unset | AlertSeverity::Info => true,
        AlertSeverity::Warn => severity >= Severity::Warn,
        AlertSeverity::Error => severity == Severity::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r09_a_place_that_names_no_severity_gets_everything() {
        let all = [Severity::Info, Severity::Warn, Severity::Error];
        let gets = |asked| all.map(|severity| wants(asked, severity));
        assert_eq!(gets(AlertSeverity::Unset), [true, true, true]);
        assert_eq!(gets(AlertSeverity::Info), [true, true, true]);
        assert_eq!(gets(AlertSeverity::Warn), [false, true, true]);
        assert_eq!(gets(AlertSeverity::Error), [false, false, true]);
    }
}
