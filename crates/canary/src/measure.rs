//! Owns how a metric becomes a number: the text of the built-in queries, templates, the question to
//! Prometheus and the answer's reading. It refuses to guess: no value, several values and no answer
//! are told apart, and none of them is a pass.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use http::header::HeaderName;
use jiff::Timestamp;
use prometheus_http_query::response::{Data, PromqlResult};
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use weir_api::canary::{Metric, Spec};
use weir_api::{GoDuration, MetricTemplate};
use weir_gotmpl::{Funcs, MissingKey, Template};
use weir_object::{Key, Object, path};
use weir_rollout::{Check, Judge, Measurement, Reading, Rule};
use weir_runtime::http::{Http, Request, Tls};
use weir_runtime::kinds::SECRET;
use weir_runtime::{ApiClient, Secret, Store};

use crate::accept::{template_key, window_text};
use crate::names::Names;
use crate::workload::Workload;

/// The most bytes of an answer that are read.
const ANSWER_LIMIT: usize = 4 << 20;

/// The labels of the requests a target's own pods served, as Prometheus' Kubernetes discovery names
/// them. The pattern is that of a Deployment's pods; it does not match its primary's.
const PODS: &str = r#"kubernetes_namespace="{{ namespace }}",kubernetes_pod_name=~"{{ target }}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)""#;

/// The same for a DaemonSet, whose pods have one part behind its name.
const DAEMON_PODS: &str =
    r#"kubernetes_namespace="{{ namespace }}",kubernetes_pod_name=~"{{ target }}-[0-9a-zA-Z]+""#;

/// A built-in query about the pods of the target's kind.
fn about(query: &str, spec: &Spec) -> String {
    let pods = match Workload::of(spec) {
        // Whose pods a Service leads to is not known: such a check is refused.
        Workload::Deployment | Workload::Service => PODS,
        Workload::DaemonSet => DAEMON_PODS,
    };
    query.replace("PODS", pods)
}

/// Asks for measurements.
#[derive(Clone)]
pub(crate) struct Measurer {
    pub(crate) http: Http,
    pub(crate) api: ApiClient,
    pub(crate) templates: Arc<Store>,
    pub(crate) metrics_server: String,
    pub(crate) timeout: Duration,
}

/// How a provider is asked.
struct Provider {
    address: String,
    headers: Vec<(String, String)>,
    auth: Auth,
    insecure: bool,
}

enum Auth {
    None,
    Bearer(Secret),
    Basic(String, Secret),
}

/// What one query came to.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Value(f64, Vec<String>),
    NoData(Vec<String>),
}

impl Measurer {
    /// One round: every metric of the analysis, all at once. `names` are those of the workload that
    /// is measured.
    pub(crate) async fn measure(
        &self,
        spec: &Spec,
        names: &Names,
        at: Timestamp,
        (revision, point): (String, String),
        count_since: Option<Timestamp>,
    ) -> Measurement {
        let checks = spec
            .analysis
            .metrics
            .iter()
            .map(|metric| self.check(spec, names, metric));
        let requests = async {
            match count_since {
                None => None,
                Some(since) => self.requests(spec, names, since, at).await,
            }
        };
        let (checks, requests) = futures::join!(join_all(checks), requests);
        Measurement {
            at,
            revision,
            point,
            requests,
            checks,
        }
    }

    /// How many requests the workload answered in a time. What can't be counted is none: it is
    /// waited for more.
    async fn requests(
        &self,
        spec: &Spec,
        names: &Names,
        since: Timestamp,
        at: Timestamp,
    ) -> Option<f64> {
        let seconds = at.duration_since(since).as_secs().max(1);
        let metric = Metric {
            name: "request-count".to_owned(),
            interval: Some(GoDuration(format!("{seconds}s"))),
            ..Metric::default()
        };
        let query = about(COUNT, spec);
        match self.ask_default(spec, names, &metric, &query).await {
            Ok(Answer::Value(value, _)) => Some(value),
            Ok(Answer::NoData(_)) => None,
            Err(why) => {
                tracing::debug!(canary = %names.key(&names.canary), why, "requests were not counted");
                None
            }
        }
    }

    async fn check(&self, spec: &Spec, names: &Names, metric: &Metric) -> Check {
        let built_in = built_in(metric);
        let answer = match built_in {
            Some((query, _, factor)) => self
                .ask_default(spec, names, metric, &about(query, spec))
                .await
                .map(|answer| scaled(answer, factor)),
            None => match &metric.query {
                Some(query) if metric.template_ref.is_none() => {
                    self.ask_default(spec, names, metric, query).await
                }
                _ => self.ask_template(names, metric).await,
            },
        };
        let judge = built_in.map_or(Judge::Number, |(_, judge, _)| judge);
        let name = metric.name.clone();
        let reading = match answer {
            Ok(Answer::Value(value, warnings)) => Reading::Value {
                name,
                value,
                warnings,
            },
            Ok(Answer::NoData(warnings)) => {
                let mut message = if built_in.is_some() {
                    format!(
                        "Halt advancement no values found for gatewayapi:v1 metric {name} probably \
                         {} is not receiving traffic",
                        names.target_text()
                    )
                } else {
                    format!(
                        "Halt advancement no values found for custom metric: {name}: no values \
                         found"
                    )
                };
                if !warnings.is_empty() {
                    message = format!("{message} ({})", warnings.join("; "));
                }
                Reading::NoData { name, message }
            }
            Err(why) if built_in.is_some() => Reading::ProviderFailed {
                name,
                message: format!("Prometheus query failed: {why}"),
            },
            Err(why) => {
                let message = format!("Metric query failed for {name}: {why}");
                Reading::ProviderFailed { name, message }
            }
        };
        Check {
            name: metric.name.clone(),
            judge,
            rule: rule(metric, judge),
            reading,
        }
    }

    /// Asks the Canary's or the operator's Prometheus.
    async fn ask_default(
        &self,
        spec: &Spec,
        names: &Names,
        metric: &Metric,
        query: &str,
    ) -> Result<Answer, String> {
        let own = spec.metrics_server.as_deref().filter(|s| !s.is_empty());
        let provider = Provider {
            address: own.unwrap_or(&self.metrics_server).to_owned(),
            headers: Vec::new(),
            auth: Auth::None,
            insecure: false,
        };
        self.ask(&provider, &render(query, names, metric)?).await
    }

    /// Asks what a MetricTemplate names.
    async fn ask_template(&self, names: &Names, metric: &Metric) -> Result<Answer, String> {
        let key = template_key(metric, &names.namespace)
            .ok_or_else(|| "it has neither a query nor a template".to_owned())?;
        let object = self.templates.get(&key).ok_or_else(|| {
            format!("MetricTemplate {key} does not exist; create it or correct `templateRef`")
        })?;
        let template = MetricTemplate::from_object(&object).map_err(|e| e.to_string())?;
        let query = render(&template.spec.query, names, metric)?;
        let provider = template.spec.provider;
        let auth = match &provider.secret_ref {
            None => Auth::None,
            Some(secret) => {
                self.auth(&Key::new(key.namespace.as_str(), &*secret.name))
                    .await?
            }
        };
        let address = provider.address.filter(|a| !a.is_empty());
        let headers = provider.headers.into_iter();
        let provider = Provider {
            address: address.unwrap_or_else(|| self.metrics_server.clone()),
            headers: headers
                .flat_map(|(k, all)| all.into_iter().map(move |v| (k.clone(), v)))
                .collect(),
            auth,
            insecure: provider.insecure_skip_verify,
        };
        self.ask(&provider, &query).await
    }

    /// The credentials of a Secret: `token`, or `username` and `password`.
    async fn auth(&self, key: &Key) -> Result<Auth, String> {
        let secret = self
            .api
            .get(&SECRET, key)
            .await
            .map_err(|e| e.to_string())?;
        let secret = secret.ok_or_else(|| format!("Secret {key} does not exist; create it"))?;
        if let Some(token) = decoded(&secret, "token") {
            return Ok(Auth::Bearer(Secret::new(token)));
        }
        match (decoded(&secret, "username"), decoded(&secret, "password")) {
            (Some(user), Some(password)) => Ok(Auth::Basic(user, Secret::new(password))),
            _ => Err(format!(
                "Secret {key} needs `token`, or `username` and `password`"
            )),
        }
    }

    async fn ask(&self, provider: &Provider, query: &str) -> Result<Answer, String> {
        let mut url = address(&provider.address)?;
        // White space in a template is for its readers.
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
        url.query_pairs_mut().append_pair("query", &query);
        let mut request = Request::get(url).timeout(self.timeout).tls(Tls {
            insecure: provider.insecure,
            ..Tls::default()
        });
        for (name, value) in &provider.headers {
            if let Ok(name) = HeaderName::try_from(name.as_str()) {
                request = request.header(name, value);
            }
        }
        request = match &provider.auth {
            Auth::None => request,
            Auth::Bearer(token) => request.bearer(token),
            Auth::Basic(user, password) => request.basic_auth(user, password),
        };
        let response = self.http.send(request).await.map_err(|e| e.to_string())?;
        let status = response.status;
        let body = response
            .bytes(ANSWER_LIMIT)
            .await
            .map_err(|e| e.to_string())?;
        read(status.as_u16(), &body)
    }
}

/// The query of a built-in metric, how its value reads, and by what it is multiplied.
pub(crate) fn built_in(metric: &Metric) -> Option<(&'static str, Judge, f64)> {
    if metric.template_ref.is_some() {
        return None;
    }
    match metric.name.as_str() {
        "request-success-rate" => Some((SUCCESS_RATE, Judge::SuccessRate, 1.0)),
        "request-duration" => Some((DURATION, Judge::Duration, 1000.0)),
        _ => None,
    }
}

/// The share of requests without a server's fault, in percent.
const SUCCESS_RATE: &str = r#"
    sum(rate(http_request_duration_seconds_count{PODS,status!~"5.*"}[{{ interval }}]))
    / sum(rate(http_request_duration_seconds_count{PODS}[{{ interval }}])) * 100"#;

/// How many requests were answered.
const COUNT: &str = r"sum(increase(http_request_duration_seconds_count{PODS}[{{ interval }}]))";

/// The duration that 99 of 100 requests stay under, in seconds.
const DURATION: &str = r"
    histogram_quantile(0.99, sum(rate(
        http_request_duration_seconds_bucket{PODS}[{{ interval }}])) by (le))";

fn scaled(answer: Answer, factor: f64) -> Answer {
    match answer {
        Answer::Value(value, warnings) => Answer::Value(value * factor, warnings),
        none @ Answer::NoData(_) => none,
    }
}

/// The range a metric has to be in. The older `threshold` is the least success rate, and the most of
/// anything else.
fn rule(metric: &Metric, judge: Judge) -> Rule {
    if let Some(range) = &metric.threshold_range {
        return Rule {
            min: range.min,
            max: range.max,
        };
    }
    let threshold = Some(metric.threshold.unwrap_or_default());
    match judge {
        Judge::SuccessRate => Rule {
            min: threshold,
            max: None,
        },
        Judge::Duration | Judge::Number => Rule {
            min: None,
            max: threshold,
        },
    }
}

/// A query with its names filled in. What a template asks for and does not get is a refusal, never
/// an empty text.
fn render(query: &str, names: &Names, metric: &Metric) -> Result<String, String> {
    let text = |text: &str| weir_gotmpl::Value::string(text);
    let funcs = Funcs::new()
        .with_value("name", text(&names.canary))
        .with_value("namespace", text(&names.namespace))
        .with_value("target", text(&names.target))
        .with_value("service", text(&names.apex))
        .with_value("ingress", text(&names.target))
        .with_value("route", text(&names.target))
        .with_value("interval", text(&window_text(metric)))
        .with_value(
            "variables",
            weir_gotmpl::Value::string_map(&metric.template_variables),
        );
    Template::parse(&metric.name, query, &funcs)
        .map_err(|e| e.to_string())?
        .missing_key(MissingKey::Error)
        .execute(&weir_gotmpl::Value::Nil)
        .map_err(|e| e.to_string())
}

/// The address of the query API of a Prometheus.
fn address(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text)
        .map_err(|e| format!("the address `{text}` is not a URL ({e}); correct it"))?;
    let path = format!("{}/api/v1/query", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    error: String,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    #[serde(default)]
    infos: Option<Vec<String>>,
}

/// Reads an answer of Prometheus' API.
fn read(status: u16, body: &[u8]) -> Result<Answer, String> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_| {
        let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
        format!("status {status} and no answer of a Prometheus: {text}")
    })?;
    if envelope.status != "success" || status >= 400 {
        return Err(format!(
            "status {status} {}: {}",
            envelope.error_type, envelope.error
        ));
    }
    let mut warnings = envelope.warnings.unwrap_or_default();
    warnings.extend(envelope.infos.unwrap_or_default());
    let result: PromqlResult = serde_json::from_value(envelope.data.unwrap_or_default())
        .map_err(|e| format!("the result can't be read: {e}"))?;
    let value = match result.data() {
        Data::Vector(series) => match series.as_slice() {
            [] => return Ok(Answer::NoData(warnings)),
            [one] => one.sample().value(),
            many => {
                return Err(format!(
                    "the query has {} series as its result; aggregate them to one, with `sum` for \
                     example",
                    many.len()
                ));
            }
        },
        Data::Scalar(sample) => sample.value(),
        Data::Matrix(_) => {
            return Err("the query has a range as its result; ask for one instant".to_owned());
        }
    };
    if value.is_nan() {
        return Ok(Answer::NoData(warnings));
    }
    if value.is_infinite() {
        return Err("the query has an infinite result; it divides by zero".to_owned());
    }
    Ok(Answer::Value(value, warnings))
}

/// A key of a Secret as text.
fn decoded(secret: &Object, key: &str) -> Option<String> {
    let text = path::text(&secret.0, &["data", key]);
    if text.is_empty() {
        return None;
    }
    let bytes = STANDARD.decode(text).ok()?;
    String::from_utf8(bytes)
        .ok()
        .map(|t| t.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
