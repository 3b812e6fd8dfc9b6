//! Owns what the API does to built-in kinds beyond their types: first status, derived fields, what
//! cannot change, what must agree and what clients are warned of. Each rule is a pure function of
//! the object and, for a change, of what it was. It refuses controllers' work and admission's.

mod checks;
mod cron;
mod data;
mod jobs;
pub(crate) mod names;
mod network;
mod others;
mod pod;
mod scaling;
mod services;
mod status;
mod storage;
mod workloads;

use serde_json::{Value, json};
use weir_object::path;

use crate::authorize;
use crate::call::{Call, Part, stamp};
use crate::refusal::Cause;
use crate::registry::Resource;

pub(crate) use checks::{At, Checks};
pub(crate) use services::{addresses, needs_health};

/// Fills in what a new object of a built-in kind starts with.
pub(crate) fn begin(resource: &Resource, object: &mut Value, call: &Call) {
    let keeps = matches!(
        resource.kind.kind.as_ref(),
        "Node" | "CertificateSigningRequest"
    );
    if resource.status && !keeps {
        path::remove(object, &["status"]);
    }
    match (resource.kind.group.as_ref(), resource.kind.kind.as_ref()) {
        ("", "Namespace") => {
            let mut finalizers = vec![json!("kubernetes")];
            let given = path::get(object, &["spec", "finalizers"]).and_then(Value::as_array);
            let others = given
                .into_iter()
                .flatten()
                .filter(|f| *f != "kubernetes")
                .cloned();
            let others: Vec<Value> = others.collect();
            if !others.is_empty() {
                finalizers = others;
                finalizers.push(json!("kubernetes"));
            }
            path::set(object, &["spec", "finalizers"], finalizers.into());
            path::set(object, &["status"], json!({"phase": "Active"}));
        }
        ("", "Pod") => {
            let mut status = json!({"phase": "Pending", "qosClass": qos(object)});
            let gated = path::get(object, &["spec", "schedulingGates"])
                .and_then(Value::as_array)
                .is_some_and(|gates| !gates.is_empty());
            if gated {
                let condition = json!([{"type": "PodScheduled", "status": "False", "lastProbeTime": null,
                    "lastTransitionTime": null, "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates"}]);
                path::set(&mut status, &["conditions"], condition);
            }
            path::set(object, &["status"], status);
            pod::profile_fields(object);
        }
        ("", "PersistentVolumeClaim") => {
            path::set(object, &["status"], json!({"phase": "Pending"}));
        }
        ("", "PersistentVolume") => {
            let status = json!({"phase": "Pending", "lastPhaseTransitionTime": stamp(call.now)});
            path::set(object, &["status"], status);
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            let endpoints = object.get_mut("endpoints").and_then(Value::as_array_mut);
            for endpoint in endpoints.into_iter().flatten() {
                path::remove(endpoint, &["deprecatedTopology"]);
            }
        }
        ("batch", "Job") => jobs::begin(object),
        ("apiextensions.k8s.io", _) => crate::custom::begin(object),
        _ => {}
    }
    every_write(resource, None, object);
}

/// What a new object has before it is told who owns which field.
pub(crate) fn before_owners(resource: &Resource, object: &mut Value) {
    if resource.is("apps", "DaemonSet") {
        let at = ["metadata", "annotations", TEMPLATE_GENERATION];
        path::set(object, &at, "1".into());
    }
}

/// What is read into a new object when it is read back.
pub(crate) fn finish(resource: &Resource, object: &mut Value) {
    if resource.is("batch", "Job") {
        jobs::finish(object);
    }
}

/// Counts the templates that a DaemonSet has had.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Where a kind has the spec of its pods.
fn pod_spec(resource: &Resource) -> Option<&'static [&'static str]> {
    match (resource.kind.group.as_ref(), resource.kind.kind.as_ref()) {
        ("", "Pod") => Some(&["spec"]),
        ("", "PodTemplate") => Some(&["template", "spec"]),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => Some(&["spec", "template", "spec"]),
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template", "spec"]),
        _ => None,
    }
}

/// Fills in, beside the defaults, what follows from what the object says elsewhere.
pub(crate) fn derive(resource: &Resource, object: &mut Value) {
    if resource.is("", "Pod") {
        let first = path::text(object, &["status", "podIP"]).to_owned();
        let all = path::get(object, &["status", "podIPs"]).and_then(Value::as_array);
        let told = all
            .and_then(|all| all.first())
            .map(|ip| path::text(ip, &["ip"]).to_owned())
            .unwrap_or_default();
        // Writers that know of one address only are believed.
        if !first.is_empty() && first != told {
            path::set(object, &["status", "podIPs"], json!([{"ip": first}]));
        } else if first.is_empty() && !told.is_empty() {
            path::set(object, &["status", "podIP"], told.into());
        }
    }
    if resource.is("", "Service") && path::text(object, &["spec", "type"]) == "LoadBalancer" {
        let points = path::get_mut(object, &["status", "loadBalancer", "ingress"])
            .and_then(Value::as_array_mut);
        for point in points.into_iter().flatten() {
            let addressed = !path::text(point, &["ip"]).is_empty();
            if addressed && checks::of(point, "ipMode").is_null() {
                path::set(point, &["ipMode"], "VIP".into());
            }
        }
    }
}

/// What each write of the kind does.
pub(crate) fn every_write(resource: &Resource, old: Option<&Value>, object: &mut Value) {
    authorize::complete(resource, object);
    if let Some(at) = pod_spec(resource)
        && let Some(spec) = path::get_mut(object, at)
    {
        pod::drop_disabled(spec);
        if resource.is("", "Pod")
            && checks::int(spec, "terminationGracePeriodSeconds").is_some_and(|s| s < 0)
        {
            path::set(spec, &["terminationGracePeriodSeconds"], 1.into());
        }
    }
    if resource.is("coordination.k8s.io", "Lease") {
        // Only clusters that elect leaders themselves keep these.
        path::remove(object, &["spec", "strategy"]);
        path::remove(object, &["spec", "preferredHolder"]);
    }
    if resource.is("apps", "StatefulSet") {
        // How many may be down at once is not to be chosen by default.
        path::remove(
            object,
            &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"],
        );
    }
    if resource.is("", "PersistentVolumeClaim") {
        storage::data_source(object);
    }
    if resource.is("", "Node") {
        let one = path::text(object, &["spec", "podCIDR"]).to_owned();
        if !one.is_empty() && path::get(object, &["spec", "podCIDRs"]).is_none() {
            path::set(object, &["spec", "podCIDRs"], json!([one]));
        }
    }
    if resource.is("apps", "DaemonSet")
        && let Some(old) = old
    {
        let template = ["spec", "template"];
        let at = ["metadata", "annotations", TEMPLATE_GENERATION];
        let count: i64 = path::text(old, &at).parse().unwrap_or(1);
        let changed = path::get(old, &template) != path::get(object, &template);
        path::set(object, &at, (count + i64::from(changed)).to_string().into());
    }
    if resource.is("", "Namespace") {
        let name = path::text(object, &["metadata", "name"]).to_owned();
        if !name.is_empty() {
            let label = ["metadata", "labels", "kubernetes.io/metadata.name"];
            path::set(object, &label, name.into());
        }
    }
}

fn qos(pod: &Value) -> &'static str {
    let containers = path::get(pod, &["spec", "containers"]).and_then(Value::as_array);
    let inits = path::get(pod, &["spec", "initContainers"]).and_then(Value::as_array);
    let (mut any, mut all) = (false, true);
    // What is asked for the pod as a whole stands for its containers.
    let whole = path::get(pod, &["spec"]);
    let of_pod = whole.filter(|spec| {
        ["limits", "requests"].iter().any(|which| {
            let amounts = path::get(spec, &["resources", which]).and_then(Value::as_object);
            amounts.is_some_and(|amounts| !amounts.is_empty())
        })
    });
    if let Some(spec) = of_pod {
        for resource in ["cpu", "memory"] {
            let limit = path::get(spec, &["resources", "limits", resource]);
            let request = path::get(spec, &["resources", "requests", resource]);
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && (request.is_none() || request == limit);
        }
        return if any && all {
            "Guaranteed"
        } else {
            "Burstable"
        };
    }
    for container in containers
        .into_iter()
        .flatten()
        .chain(inits.into_iter().flatten())
    {
        for resource in ["cpu", "memory"] {
            let limit = path::get(container, &["resources", "limits", resource]);
            let request = path::get(container, &["resources", "requests", resource]);
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, all) {
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
        (false, _) => "BestEffort",
    }
}

/// The rules of a built-in kind, of its status where that is what is written.
pub(crate) fn check(
    resource: &Resource,
    part: Part,
    old: Option<&Value>,
    new: &Value,
) -> Vec<Cause> {
    let mut checks = Checks::default();
    let group = resource.kind.group.as_ref();
    let kind = resource.kind.kind.as_ref();
    if let (Part::Status, Some(old)) = (part, old)
        && status::check(group, kind, old, new, &mut checks)
    {
        return checks.causes;
    }
    if group == "rbac.authorization.k8s.io" {
        return authorize::check(resource, old, new);
    }
    if part == Part::Finalize {
        others::namespace(new, true, &mut checks);
        return checks.causes;
    }
    // Of a DaemonSet it is told first what may not change.
    let change_first = (group, kind) == ("apps", "DaemonSet");
    if let Some(old) = old.filter(|_| change_first) {
        change(group, kind, old, new, &mut checks);
    }
    rules(group, kind, old, new, &mut checks);
    if let Some(old) = old.filter(|_| !change_first) {
        change(group, kind, old, new, &mut checks);
    }
    checks.causes
}

fn rules(group: &str, kind: &str, old: Option<&Value>, new: &Value, checks: &mut Checks) {
    match (group, kind) {
        ("", "Pod") if old.is_none() => pod::check_new(new, checks),
        ("", "PodTemplate") => {
            let template = checks::of(new, "template");
            pod::check_template(template, At::root("template"), checks);
        }
        ("", "ReplicationController") => workloads::replication_controller(new, checks),
        ("apps", "Deployment") => workloads::deployment(new, checks),
        ("apps", "ReplicaSet") => workloads::replica_set(new, checks),
        ("apps", "DaemonSet") => workloads::daemon_set(new, checks),
        ("apps", "StatefulSet") => workloads::stateful_set(new, checks),
        ("batch", "Job") => jobs::job(new, checks),
        ("apps", "ControllerRevision") => workloads::controller_revision(new, checks),
        ("batch", "CronJob") => jobs::cron_job(new, old, checks),
        ("", "ConfigMap") => data::config_map(new, checks),
        ("", "Secret") => data::secret(new, checks),
        ("", "Service") => services::service(new, checks),
        ("", "Endpoints") => services::endpoints(new, checks),
        ("discovery.k8s.io", "EndpointSlice") => services::slice(new, old, checks),
        ("", "PersistentVolumeClaim") => {
            let spec = checks::of(new, "spec");
            storage::claim_spec(spec, At::root("spec"), checks);
        }
        ("", "PersistentVolume") => storage::volume(new, checks),
        ("storage.k8s.io", "StorageClass") => storage::class(new, checks),
        ("networking.k8s.io", "Ingress") => network::ingress(new, old, checks),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(new, checks),
        ("networking.k8s.io", "NetworkPolicy") => network::policy(new, checks),
        ("autoscaling", "HorizontalPodAutoscaler") => scaling::autoscaler(new, checks),
        ("policy", "PodDisruptionBudget") => scaling::budget(new, checks),
        ("" | "events.k8s.io", "Event") => others::event(new, checks),
        ("coordination.k8s.io", "Lease") => others::lease(new, checks),
        ("scheduling.k8s.io", "PriorityClass") if old.is_none() => {
            others::priority_class(new, checks);
        }
        ("", "ResourceQuota") => others::quota(new, checks),
        ("", "LimitRange") => others::limit_range(new, checks),
        ("", "Namespace") => others::namespace(new, false, checks),
        ("", "Node") => others::node(new, checks),
        ("node.k8s.io", "RuntimeClass") => others::runtime_class(new, checks),
        _ => {}
    }
}

/// What may not change.
fn change(group: &str, kind: &str, old: &Value, new: &Value, checks: &mut Checks) {
    let at = At::root("spec");
    let (a, b) = (checks::of(old, "spec"), checks::of(new, "spec"));
    let mut fixed = |at: At<'_>, a: &Value, b: &Value| checks.fixed(at, a, b);
    match (group, kind) {
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => {
            fixed(
                at.field("selector"),
                checks::of(a, "selector"),
                checks::of(b, "selector"),
            );
        }
        ("", "Secret") => {
            fixed(
                At::root("type"),
                checks::of(old, "type"),
                checks::of(new, "type"),
            );
            data::change(old, new, checks);
        }
        ("", "ConfigMap") => data::change(old, new, checks),
        ("discovery.k8s.io", "EndpointSlice") => {
            let field = "addressType";
            fixed(
                At::root(field),
                checks::of(old, field),
                checks::of(new, field),
            );
        }
        ("networking.k8s.io", "IngressClass") => {
            fixed(
                at.field("controller"),
                checks::of(a, "controller"),
                checks::of(b, "controller"),
            );
        }
        ("node.k8s.io", "RuntimeClass") => {
            fixed(
                At::root("handler"),
                checks::of(old, "handler"),
                checks::of(new, "handler"),
            );
        }
        ("apps", "ControllerRevision") => {
            fixed(
                At::root("data"),
                checks::of(old, "data"),
                checks::of(new, "data"),
            );
        }
        ("apps", "StatefulSet") => workloads::stateful_set_change(old, new, checks),
        ("batch", "Job") => jobs::job_change(old, new, checks),
        ("", "Pod") => pod::check_change(old, new, checks),
        ("", "Service") => services::service_change(old, new, checks),
        ("", "PersistentVolumeClaim") => storage::claim_change(old, new, checks),
        ("", "PersistentVolume") => storage::volume_change(old, new, checks),
        ("storage.k8s.io", "StorageClass") => storage::class_change(old, new, checks),
        ("scheduling.k8s.io", "PriorityClass") => others::priority_class_change(old, new, checks),
        ("", "ResourceQuota") => others::quota_change(old, new, checks),
        ("", "Node") => others::node_change(old, new, checks),
        _ => {}
    }
}

/// What clients are warned of, whether the object is kept or not.
pub(crate) fn early_warnings(resource: &Resource, object: &Value) -> Vec<String> {
    let mut out = Vec::new();
    if resource.is("", "Pod") {
        let annotations = path::get(object, &["metadata", "annotations"]);
        for (key, _) in checks::members(annotations.unwrap_or(&Value::Null)) {
            if key.starts_with("container.apparmor.security.beta.kubernetes.io/") {
                out.push(format!(
                    "metadata.annotations[{key}]: deprecated since v1.30; use the \"appArmorProfile\" \
                     field instead"
                ));
            }
        }
    }
    out
}

/// What clients are warned of in an object that passed.
pub(crate) fn warnings(resource: &Resource, old: Option<&Value>, object: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let spec = checks::of(object, "spec");
    let meta = checks::of(object, "metadata");
    let at = At::root("spec");
    let name = checks::text(meta, "name");
    // A template that is as it was has been warned of.
    let same_template = old.is_some_and(|old| {
        if resource.is("apps", "DaemonSet") {
            checks::of(checks::of(old, "spec"), "template") == checks::of(spec, "template")
        } else {
            checks::int(checks::of(old, "metadata"), "generation")
                == checks::int(meta, "generation")
        }
    });
    match (resource.kind.group.as_ref(), resource.kind.kind.as_ref()) {
        ("", "Pod") => {
            if old.is_none() {
                label_advised(name, "the Pod's hostname", &mut out);
            }
            pod::warnings(meta, spec, None, &mut out);
        }
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet") | ("batch", "Job") => {
            if old.is_none() && !matches!(resource.kind.kind.as_ref(), "DaemonSet" | "StatefulSet")
            {
                label_advised(name, "Pod names and hostnames", &mut out);
            }
            if resource.is("apps", "StatefulSet")
                && checks::int(spec, "revisionHistoryLimit").is_some_and(|n| n < 0)
            {
                out.push(
                    "spec.revisionHistoryLimit: a negative value retains all historical revisions; a \
                     value >= 0 is recommended"
                        .to_owned(),
                );
            }
            if !same_template {
                let template = checks::of(spec, "template");
                template_warnings(template, at.field("template"), &mut out);
            }
        }
        ("batch", "CronJob") | ("", "ReplicationController" | "PodTemplate") if same_template => {}
        ("batch", "CronJob") => {
            if old.is_none() {
                label_advised(name, "Pod names and hostnames", &mut out);
            }
            let job = checks::of(checks::of(spec, "jobTemplate"), "spec");
            let at = at.field("jobTemplate");
            let at = at.field("spec");
            template_warnings(checks::of(job, "template"), at.field("template"), &mut out);
        }
        ("", "ReplicationController") => {
            template_warnings(checks::of(spec, "template"), at.field("template"), &mut out);
        }
        ("", "PodTemplate") => {
            template_warnings(
                checks::of(object, "template"),
                At::root("template"),
                &mut out,
            );
        }
        ("", "Service") => services::service_warnings(object, &mut out),
        ("", "Secret") => data::warnings(object, &mut out),
        ("networking.k8s.io", "Ingress") => network::ingress_warnings(object, &mut out),
        ("discovery.k8s.io", "EndpointSlice") if checks::text(object, "addressType") == "FQDN" => {
            out.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        ("", "ServiceAccount") => {
            let key = "kubernetes.io/enforce-mountable-secrets";
            if !checks::of(checks::of(meta, "annotations"), key).is_null() {
                out.push(format!(
                    "metadata.annotations[{key}]: deprecated in v1.32+; prefer separate namespaces to \
                     isolate access to mounted secrets"
                ));
            }
        }
        _ => {}
    }
    out
}

fn template_warnings(template: &Value, at: At<'_>, out: &mut Vec<String>) {
    pod::warnings(
        checks::of(template, "metadata"),
        checks::of(template, "spec"),
        Some(at),
        out,
    );
}

fn label_advised(name: &str, used: &str, out: &mut Vec<String>) {
    let faults = names::label(name);
    if !faults.is_empty() {
        out.push(format!(
            "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS \
             label is recommended: [{}]",
            faults.join(" ")
        ));
    }
}

/// The instant an object's removal was asked for, as its metadata tells it.
pub(crate) fn mark_deleted(object: &mut Value, call: &Call, grace: i64) {
    let at = call.now.as_second().saturating_add(grace);
    let at = jiff::Timestamp::from_second(at).unwrap_or(call.now);
    path::set(object, &["metadata", "deletionTimestamp"], stamp(at).into());
    path::set(
        object,
        &["metadata", "deletionGracePeriodSeconds"],
        grace.into(),
    );
    if let Some(generation) = path::get(object, &["metadata", "generation"]).and_then(Value::as_i64)
    {
        path::set(object, &["metadata", "generation"], (generation + 1).into());
    }
}
