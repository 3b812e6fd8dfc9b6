//! Owns the rules of kinds that run no pods themselves: Job, Service, claim, definition.

use weir_object::Object;

use crate::Health;
use crate::conditions::{conditions, number};

/// A Job is current when it is complete, or suspended and thus as asked.
pub(crate) fn job(object: &Object) -> Result<Health, Health> {
    if object.is_deleting() {
        return Ok(Health::Terminating);
    }
    if object
        .get(&["spec", "suspend"])
        .and_then(serde_json::Value::as_bool)
        == Some(true)
    {
        return Ok(Health::Current);
    }
    let parallelism = number(object, &["spec", "parallelism"], 1);
    let completions = number(object, &["spec", "completions"], parallelism);
    for condition in conditions(object)? {
        if condition.is("Complete", "True") {
            return Ok(Health::Current);
        }
        if condition.is("Failed", "True") {
            let failed = number(object, &["status", "failed"], 0);
            return Ok(Health::failed(
                "JobFailed",
                format!(
                    "Job failed: {failed} of {completions} pods failed. {}",
                    condition.message
                )
                .trim_end()
                .to_owned(),
            ));
        }
    }
    let succeeded = number(object, &["status", "succeeded"], 0);
    Ok(Health::in_progress(
        "JobInProgress",
        format!("Job is running: {succeeded} of {completions} pods succeeded"),
    ))
}

/// A Service is current at once, but for a load balancer without any address.
#[expect(clippy::unnecessary_wraps, reason = "all rules have one form")]
pub(crate) fn service(object: &Object) -> Result<Health, Health> {
    let balanced = object.text(&["spec", "type"]) == "LoadBalancer";
    if balanced && object.text(&["spec", "clusterIP"]).is_empty() {
        return Ok(Health::in_progress(
            "NoIPAssigned",
            "Service has no cluster address yet",
        ));
    }
    Ok(Health::Current)
}

/// A claim is current when a volume is bound to it.
#[expect(clippy::unnecessary_wraps, reason = "all rules have one form")]
pub(crate) fn claim(object: &Object) -> Result<Health, Health> {
    match object.text(&["status", "phase"]) {
        "Bound" => Ok(Health::Current),
        "" => Ok(Health::in_progress(
            "NotBound",
            "claim has no volume; its phase is not known",
        )),
        phase => Ok(Health::in_progress(
            "NotBound",
            format!("claim has no volume; it is {phase}"),
        )),
    }
}

/// A definition is current when it is served.
pub(crate) fn definition(object: &Object) -> Result<Health, Health> {
    for condition in conditions(object)? {
        if condition.is("NamesAccepted", "False") {
            return Ok(Health::failed(condition.reason, condition.message));
        }
        if condition.is("Established", "False") && condition.reason != "Installing" {
            return Ok(Health::failed(condition.reason, condition.message));
        }
        if condition.is("Established", "True") {
            return Ok(Health::Current);
        }
    }
    Ok(Health::in_progress(
        "Installing",
        "definition is not served yet",
    ))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::health;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "tables of cases read best with values"
    )]
    fn of(api_version: &str, kind: &str, spec: Value, status: Value) -> Health {
        let object = Object(json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"name": "x", "generation": 1}, "spec": spec, "status": status,
        }));
        health(&object, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn jobs() {
        let job = |spec, status| of("batch/v1", "Job", spec, status);
        assert_eq!(
            job(
                json!({"completions": 3}),
                json!({"succeeded": 1, "startTime": "x"})
            ),
            Health::in_progress("JobInProgress", "Job is running: 1 of 3 pods succeeded")
        );
        assert_eq!(job(json!({"suspend": true}), json!({})), Health::Current);
        let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        assert_eq!(job(json!({}), done), Health::Current);
        let failed = json!({"failed": 1, "conditions": [
            {"type": "Failed", "status": "True", "message": "Backoff limit reached"}]});
        assert_eq!(
            job(json!({}), failed),
            Health::failed(
                "JobFailed",
                "Job failed: 1 of 1 pods failed. Backoff limit reached"
            )
        );
        // Its generation is not looked at.
        let stale = json!({"observedGeneration": 9, "conditions": [
            {"type": "Complete", "status": "True"}]});
        assert_eq!(job(json!({}), stale), Health::Current);
    }

    #[test]
    fn services() {
        let service = |spec| of("v1", "Service", spec, json!({}));
        assert_eq!(service(json!({})), Health::Current);
        assert_eq!(service(json!({"type": "NodePort"})), Health::Current);
        assert_eq!(
            service(json!({"type": "LoadBalancer"})),
            Health::in_progress("NoIPAssigned", "Service has no cluster address yet")
        );
        // The outer address is not awaited.
        let addressed = json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"});
        assert_eq!(service(addressed), Health::Current);
    }

    #[test]
    fn claims_and_plain_kinds() {
        let claim = |status| of("v1", "PersistentVolumeClaim", json!({}), status);
        assert_eq!(claim(json!({"phase": "Bound"})), Health::Current);
        assert_eq!(
            claim(json!({"phase": "Pending"})),
            Health::in_progress("NotBound", "claim has no volume; it is Pending")
        );
        assert_eq!(claim(json!({})).as_str(), "InProgress");
        for (api_version, kind) in [
            ("v1", "Secret"),
            ("v1", "ConfigMap"),
            ("batch/v1", "CronJob"),
            ("policy/v1", "PodDisruptionBudget"),
        ] {
            assert_eq!(
                of(api_version, kind, json!({}), json!({})),
                Health::Current,
                "{kind}"
            );
        }
        let unseen = json!({"observedGeneration": 0});
        assert_eq!(
            of("policy/v1", "PodDisruptionBudget", json!({}), unseen).as_str(),
            "InProgress"
        );
    }

    #[test]
    fn definitions() {
        let with = |conditions: Value| {
            let status = json!({"conditions": conditions});
            of(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({}),
                status,
            )
        };
        let accepted = json!({"type": "NamesAccepted", "status": "True"});
        assert_eq!(
            with(json!([accepted, {"type": "Established", "status": "True"}])),
            Health::Current
        );
        assert_eq!(
            with(
                json!([{"type": "NamesAccepted", "status": "False", "reason": "Conflict", "message": "taken"}])
            ),
            Health::failed("Conflict", "taken")
        );
        assert_eq!(
            with(
                json!([{"type": "Established", "status": "False", "reason": "Odd", "message": "m"}])
            ),
            Health::failed("Odd", "m")
        );
        let installing = Health::in_progress("Installing", "definition is not served yet");
        assert_eq!(
            with(json!([{"type": "Established", "status": "False", "reason": "Installing"}])),
            installing
        );
        assert_eq!(with(json!([])), installing);
    }
}
