//! Owns the door: what of a Canary's spec can be done here, and the strategy it comes to. What can't
//! be done is refused by the field's name, never ignored.

use std::time::Duration;

use weir_api::canary::{Analysis, Metric, Provider, Spec, TargetKind, Webhook, WebhookType};
use weir_api::metric_template::{self, ProviderKind};
use weir_api::names::reason::{ACCESS_DENIED, UNSUPPORTED};
use weir_api::{GoDuration, MetricTemplate};
use weir_object::{Key, Object};
use weir_rollout::{
    Affinity, Course, HookKind, Limits, Refusal, Step, Strategy, StrategyError, rising,
    weighted_steps,
};

use crate::Options;
use crate::measure::built_in;

/// How long a metric looks back where it does not say.
const WINDOW: Duration = Duration::from_mins(1);

/// The strategy a spec comes to, and what of it can't be done. With a refusal the strategy still
/// holds limits and deadlines, so that a run under way can be ended.
pub(crate) fn strategy(spec: &Spec, options: &Options) -> (Strategy, Option<Refusal>) {
    let analysis = &spec.analysis;
    let mut refusal = unsupported(spec, options).or_else(|| {
        let routed = routed(spec, options).unwrap_or(true);
        invalid(spec, routed)
    });
    let routed = routed(spec, options).unwrap_or(true);
    let course = course(analysis, routed).unwrap_or_else(|e| {
        if !spec.skip_analysis {
            refusal.get_or_insert(Refusal {
                reason: "Invalid",
                field: e.field().to_owned(),
                message: e.to_string(),
            });
        }
        Course::Weighted {
            steps: Vec::new(),
            mirror: false,
        }
    });
    let interval = analysis
        .interval
        .as_ref()
        .and_then(|i| i.get().ok())
        .unwrap_or(WINDOW);
    let deadline = spec
        .progress_deadline_seconds
        .filter(|s| *s > 0)
        .unwrap_or(600);
    let strategy = Strategy {
        course,
        routed,
        promotion_step: percent(analysis.step_weight_promotion),
        limits: Limits::all(analysis.threshold.unwrap_or_default()),
        interval: interval.max(options.min_analysis_interval),
        longest_window: analysis
            .metrics
            .iter()
            .map(window)
            .max()
            .unwrap_or_default(),
        progress_deadline: Duration::from_secs(deadline.unsigned_abs()),
        skip_analysis: spec.skip_analysis,
        hooks: analysis.webhooks.iter().filter_map(hook_kind).collect(),
        affinity: analysis.session_affinity.as_ref().map(|a| Affinity {
            cookie: a.cookie_name.clone(),
            primary_cookie: (a.primary_cookie_name.clone()).filter(|c| !c.is_empty()),
        }),
        bake: analysis.bake_time.as_ref().and_then(|b| b.get().ok()),
        rollback_window: usize::try_from(analysis.rollback_window.unwrap_or_default().clamp(0, 10))
            .unwrap_or_default(),
    };
    (strategy, refusal)
}

/// Whether traffic is shared by a route; `None` for a provider that is not known here.
fn routed(spec: &Spec, options: &Options) -> Option<bool> {
    match spec.provider {
        Some(Provider::GatewayApiV1 | Provider::GatewayApiV1Beta1) => Some(true),
        Some(Provider::Kubernetes) => Some(false),
        Some(_) => None,
        None => match options.mesh_provider.as_str() {
            "gatewayapi:v1" | "gatewayapi:v1beta1" => Some(true),
            "kubernetes" => Some(false),
            _ => None,
        },
    }
}

/// How many rounds a Canary without a route takes where it asks for weights.
const UNSEEN_ROUNDS: u32 = 10;

/// The course of an analysis. Rounds that are counted come before weights, as people know it.
fn course(analysis: &Analysis, routed: bool) -> Result<Course, StrategyError> {
    if let Some(iterations) = analysis.iterations.filter(|i| *i > 0) {
        let iterations = u32::try_from(iterations).unwrap_or(u32::MAX);
        return Ok(if analysis.matches.is_empty() {
            Course::BlueGreen {
                iterations,
                mirror: analysis.mirror,
            }
        } else {
            Course::Matched { iterations }
        });
    }
    // Weights mean nothing there; rounds do.
    if !routed {
        return Ok(Course::BlueGreen {
            iterations: UNSEEN_ROUNDS,
            mirror: false,
        });
    }
    let steps = if analysis.steps.is_empty() {
        weighted_steps(
            analysis.step_weight.unwrap_or_default(),
            &analysis.step_weights,
            analysis.max_weight.unwrap_or_default(),
        )?
    } else {
        let steps = analysis.steps.iter().map(|step| {
            let asked = Step {
                weight: 0,
                hold: step.hold.as_ref().and_then(|h| h.get().ok()),
                manual: step.manual,
                min_requests: step
                    .min_requests
                    .and_then(|n| u64::try_from(n).ok())
                    .unwrap_or_default(),
            };
            (step.weight, asked)
        });
        rising("analysis.steps", steps)?
    };
    Ok(Course::Weighted {
        steps,
        mirror: analysis.mirror,
    })
}

/// The kind of a hook that is asked; events are only told.
pub(crate) fn hook_kind(webhook: &Webhook) -> Option<HookKind> {
    Some(match webhook.kind.unwrap_or_default() {
        WebhookType::Unset | WebhookType::Rollout => HookKind::Rollout,
        WebhookType::ConfirmRollout => HookKind::ConfirmRollout,
        WebhookType::PreRollout => HookKind::PreRollout,
        WebhookType::ConfirmTrafficIncrease => HookKind::ConfirmTrafficIncrease,
        WebhookType::ConfirmPromotion => HookKind::ConfirmPromotion,
        WebhookType::PostRollout => HookKind::PostRollout,
        WebhookType::Rollback => HookKind::Rollback,
        WebhookType::Event => return None,
    })
}

fn percent(value: Option<i64>) -> u8 {
    u8::try_from(value.unwrap_or_default().clamp(0, 100)).unwrap_or_default()
}

/// How long a metric looks back.
pub(crate) fn window(metric: &Metric) -> Duration {
    let given = metric.interval.as_ref().filter(|i| !i.0.is_empty());
    given.and_then(|i| i.get().ok()).unwrap_or(WINDOW)
}

/// A metric's interval as its query is to have it.
pub(crate) fn window_text(metric: &Metric) -> String {
    let given = metric.interval.as_ref().filter(|i| !i.0.is_empty());
    given.map_or_else(|| "1m".to_owned(), ToString::to_string)
}

/// What of a target's kind can't be done.
fn target(spec: &Spec) -> Option<Refusal> {
    let no = |reason, field: &str, message: &str| {
        Some(Refusal {
            reason,
            field: field.to_owned(),
            message: message.to_owned(),
        })
    };
    let (kind, version) = (spec.target_ref.kind, spec.target_ref.api_version.as_str());
    let known = match kind {
        TargetKind::Deployment | TargetKind::DaemonSet => version.starts_with("apps/"),
        TargetKind::Service => version == "v1",
    };
    if !known {
        let kinds =
            "only a Deployment or DaemonSet of `apps/v1` and a Service of `v1` are supported";
        return no(UNSUPPORTED, "targetRef", kinds);
    }
    if kind != TargetKind::Deployment && spec.autoscaler_ref.is_some() {
        let none = "only a Deployment is scaled; remove the field";
        return no(UNSUPPORTED, "autoscalerRef", none);
    }
    if kind != TargetKind::Service {
        return None;
    }
    if spec.apex_name() != spec.target_ref.name {
        let same = "the Service that is released is the one that users call; remove the field";
        return no("Invalid", "service.name", same);
    }
    let pods = "whose pods a Service leads to is not known, so their requests can't be told apart";
    let metrics = spec.analysis.metrics.iter().enumerate();
    let mut by_pods = metrics.filter(|(_, metric)| built_in(metric).is_some());
    if let Some((i, _)) = by_pods.next() {
        let message = format!("{pods}; use a MetricTemplate");
        return no(UNSUPPORTED, &format!("analysis.metrics[{i}]"), &message);
    }
    let counts = |step: &weir_api::canary::AnalysisStep| step.min_requests.is_some_and(|n| n > 0);
    spec.analysis.steps.iter().any(counts).then_some(())?;
    no(
        UNSUPPORTED,
        "analysis.steps[].minRequests",
        &format!("{pods}; remove the field"),
    )
}

fn unsupported(spec: &Spec, options: &Options) -> Option<Refusal> {
    let no = |field: &str, message: String| {
        Some(Refusal {
            reason: UNSUPPORTED,
            field: field.to_owned(),
            message,
        })
    };
    if routed(spec, options).is_none() {
        return no(
            "provider",
            "only `gatewayapi:v1`, `gatewayapi:v1beta1` and `kubernetes` are supported; set one"
                .to_owned(),
        );
    }
    if routed(spec, options) == Some(false) {
        let unseen = "without a route no user reaches the canary; remove it, or set `provider` to \
                      `gatewayapi:v1`";
        for (field, asked) in [
            ("analysis.match", !spec.analysis.matches.is_empty()),
            ("analysis.mirror", spec.analysis.mirror),
            (
                "analysis.sessionAffinity",
                spec.analysis.session_affinity.is_some(),
            ),
            ("analysis.steps", !spec.analysis.steps.is_empty()),
        ] {
            if asked {
                return no(field, unseen.to_owned());
            }
        }
    }
    if let Some(refusal) = target(spec) {
        return Some(refusal);
    }
    let service = spec.service.as_ref();
    let asks = |f: fn(&weir_api::canary::Service) -> bool| service.is_some_and(f);
    let analysis = &spec.analysis;
    [
        ("ingressRef", spec.ingress_ref.is_some()),
        ("routeRef", spec.route_ref.is_some()),
        ("upstreamRef", spec.upstream_ref.is_some()),
        ("service.gateways", asks(|s| !s.gateways.is_empty())),
        ("service.delegation", asks(|s| s.delegation)),
        (
            "service.trafficPolicy",
            asks(|s| s.traffic_policy.is_some()),
        ),
        ("service.retries", asks(|s| s.retries.is_some())),
        ("service.meshName", asks(|s| s.mesh_name.is_some())),
        ("service.backends", asks(|s| !s.backends.is_empty())),
        (
            "analysis.mirrorWeight",
            analysis.mirror_weight.is_some_and(|w| w != 0),
        ),
    ]
    .into_iter()
    .find(|(_, asked)| *asked)
    .and_then(|(field, _)| {
        no(
            field,
            "this version does not support it, so nothing is moved; remove it".to_owned(),
        )
    })
}

fn invalid(spec: &Spec, routed: bool) -> Option<Refusal> {
    let no = |field: String, message: String| {
        Some(Refusal {
            reason: "Invalid",
            field,
            message,
        })
    };
    let unreadable = |field: String, interval: Option<&GoDuration>| {
        let why = interval.filter(|i| !i.0.is_empty())?.get().err()?;
        no(field, why.to_string())
    };
    let Some(service) = &spec.service else {
        return no(
            "service".into(),
            "is missing: set its `port` and `gatewayRefs`".into(),
        );
    };
    if routed && service.gateway_refs.is_empty() {
        let message = "must name the Gateway that the route hangs on".to_owned();
        return no("service.gatewayRefs".into(), message);
    }
    if !(1..=65_535).contains(&service.port) {
        return no(
            "service.port".into(),
            format!("{} is not a port", service.port),
        );
    }
    let interval = spec.analysis.interval.as_ref();
    if let Some(refusal) = unreadable("analysis.interval".into(), interval) {
        return Some(refusal);
    }
    if let Some(refusal) = unreadable("analysis.bakeTime".into(), spec.analysis.bake_time.as_ref())
    {
        return Some(refusal);
    }
    for (i, hook) in spec.analysis.webhooks.iter().enumerate() {
        let field = format!("analysis.webhooks[{i}]");
        let http = url::Url::parse(&hook.url).is_ok_and(|u| matches!(u.scheme(), "http" | "https"));
        if !http {
            let message = format!(
                "`{}` is no address of a hook; begin it with http:// or https://",
                hook.url
            );
            return no(format!("{field}.url"), message);
        }
        if let Some(refusal) = unreadable(format!("{field}.timeout"), hook.timeout.as_ref()) {
            return Some(refusal);
        }
    }
    if let Some(cookies) = &spec.analysis.session_affinity
        && cookies.primary_cookie_name.as_ref() == Some(&cookies.cookie_name)
    {
        let message = "the two cookies need two names".to_owned();
        return no("analysis.sessionAffinity.primaryCookieName".into(), message);
    }
    for (i, step) in spec.analysis.steps.iter().enumerate() {
        let field = format!("analysis.steps[{i}].hold");
        if let Some(refusal) = unreadable(field, step.hold.as_ref()) {
            return Some(refusal);
        }
    }
    for (i, metric) in spec.analysis.metrics.iter().enumerate() {
        let field = format!("analysis.metrics[{i}]");
        if let Some(refusal) = unreadable(format!("{field}.interval"), metric.interval.as_ref()) {
            return Some(refusal);
        }
        let query = metric
            .query
            .as_deref()
            .is_some_and(|q| !q.trim().is_empty());
        if built_in(metric).is_none() && !query && metric.template_ref.is_none() {
            let message = format!(
                "`{}` is not built in (`request-success-rate`, `request-duration`); give it a \
                 `templateRef`",
                metric.name
            );
            return no(field, message);
        }
    }
    None
}

/// A reference to another namespace, where those are not allowed.
pub(crate) fn abroad(spec: &Spec, namespace: &str) -> Option<Refusal> {
    let other = |of: Option<&str>| of.is_some_and(|n| !n.is_empty() && n != namespace);
    let analysis = &spec.analysis;
    let templates = analysis.metrics.iter().enumerate().map(|(i, metric)| {
        let reference = metric.template_ref.as_ref();
        let namespace = reference.and_then(|r| r.namespace.as_deref());
        (format!("analysis.metrics[{i}].templateRef"), namespace)
    });
    let providers = analysis.alerts.iter().enumerate().map(|(i, alert)| {
        let namespace = alert.provider_ref.namespace.as_deref();
        (format!("analysis.alerts[{i}].providerRef"), namespace)
    });
    templates
        .chain(providers)
        .find(|(_, named)| other(*named))
        .map(|(field, _)| Refusal {
            reason: ACCESS_DENIED,
            field,
            message: "references to other namespaces are not allowed here".to_owned(),
        })
}

/// What of the metric templates can't be done. One that is missing is not refused: it may come, and
/// until then its metric has no value.
pub(crate) fn templates(
    spec: &Spec,
    namespace: &str,
    find: impl Fn(&Key) -> Option<std::sync::Arc<Object>>,
) -> Option<Refusal> {
    spec.analysis
        .metrics
        .iter()
        .enumerate()
        .find_map(|(i, metric)| {
            let object = find(&template_key(metric, namespace)?)?;
            let template = MetricTemplate::from_object(&object).ok()?;
            (template.spec.provider.kind != ProviderKind::Prometheus).then(|| Refusal {
                reason: UNSUPPORTED,
                field: format!("analysis.metrics[{i}].templateRef"),
                message: format!(
                    "MetricTemplate {} asks a provider other than `prometheus`, which this version \
                 does not support",
                    object.key()
                ),
            })
        })
}

/// The MetricTemplate of a metric.
pub(crate) fn template_key(metric: &Metric, namespace: &str) -> Option<Key> {
    let reference = metric.template_ref.as_ref()?;
    let namespace = reference
        .namespace
        .as_deref()
        .filter(|n| !n.is_empty())
        .unwrap_or(namespace);
    Some(Key::new(namespace, reference.name.as_str()))
}

/// The kind of metric templates.
pub(crate) const METRIC_TEMPLATE: &weir_object::Kind = &metric_template::KIND;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;
    use weir_api::Canary;

    fn spec(change: impl FnOnce(&mut Value)) -> Spec {
        let mut object = json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "app", "namespace": "demo"},
            "spec": {
                "provider": "gatewayapi:v1",
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
                "service": {"port": 80, "gatewayRefs": [{"name": "gateway"}]},
                "analysis": {
                    "interval": "30s", "threshold": 5, "maxWeight": 50, "stepWeight": 10,
                    "metrics": [
                        {"name": "request-success-rate", "interval": "2m",
                            "thresholdRange": {"min": 99}},
                    ],
                },
            },
        });
        change(&mut object["spec"]);
        Canary::from_object(&Object(object)).expect("a Canary").spec
    }

    #[test]
    fn a_strategy_by_its_whole_value() {
        let (found, refusal) = strategy(&spec(|_| {}), &Options::default());
        let expected = Strategy {
            course: Course::Weighted {
                steps: [10, 20, 30, 40, 50].map(Step::at).to_vec(),
                mirror: false,
            },
            routed: true,
            promotion_step: 0,
            limits: Limits {
                failed: 5,
                no_data: 5,
                provider: 5,
            },
            interval: Duration::from_secs(30),
            longest_window: Duration::from_mins(2),
            progress_deadline: Duration::from_mins(10),
            skip_analysis: false,
            hooks: BTreeSet::new(),
            affinity: None,
            bake: None,
            rollback_window: 0,
        };
        assert_eq!((found, refusal), (expected, None));
        let quick = spec(|s| s["analysis"]["interval"] = "1s".into());
        assert_eq!(
            strategy(&quick, &Options::default()).0.interval,
            Duration::from_secs(10)
        );
    }

    #[test]
    fn r15_a_reference_to_another_namespace_is_refused_where_those_are_not_allowed() {
        let at = ["analysis", "metrics", "0", "templateRef"];
        let named = |namespace: &str| {
            let reference = json!({"name": "t", "namespace": namespace});
            abroad(&spec(|s| weir_object::path::set(s, &at, reference)), "demo")
        };
        assert_eq!(named("demo"), None);
        assert_eq!(
            named("other").map(|r| r.field).as_deref(),
            Some("analysis.metrics[0].templateRef")
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (at, value, reason, field) in [
            (&["provider"][..], json!("istio"), "Unsupported", "provider"),
            (
                &["targetRef", "kind"],
                json!("Service"),
                "Unsupported",
                "targetRef",
            ),
            (
                &["targetRef"],
                json!({"apiVersion": "v1", "kind": "Service", "name": "other"}),
                "Unsupported",
                "analysis.metrics[0]",
            ),
            (
                &["service", "retries"],
                json!({"attempts": 1}),
                "Unsupported",
                "service.retries",
            ),
            (
                &["service", "gatewayRefs"],
                json!([]),
                "Invalid",
                "service.gatewayRefs",
            ),
            (
                &["analysis", "stepWeight"],
                json!(0),
                "Invalid",
                "analysis.stepWeight",
            ),
            (
                &["analysis", "stepWeight"],
                json!(-1),
                "Invalid",
                "analysis.stepWeight",
            ),
            (
                &["analysis", "webhooks"],
                json!([{"name": "h", "url": "hook.demo/x"}]),
                "Invalid",
                "analysis.webhooks[0].url",
            ),
            (
                &["analysis", "metrics", "0", "name"],
                json!("errors"),
                "Invalid",
                "analysis.metrics[0]",
            ),
            (
                &["analysis", "metrics", "0", "interval"],
                json!("1mfoo"),
                "Invalid",
                "analysis.metrics[0].interval",
            ),
        ] {
            let asked = spec(|s| weir_object::path::set(s, at, value));
            let refusal = strategy(&asked, &Options::default()).1.expect("refused");
            assert_eq!(
                (refusal.reason, refusal.field.as_str()),
                (reason, field),
                "{at:?}"
            );
        }
    }
}
