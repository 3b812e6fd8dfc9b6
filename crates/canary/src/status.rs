//! Owns how a Canary's status is read and composed. The state is what was recorded; conditions
//! follow from it and keep their times while they stay the same. Fields of others are left alone.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use weir_object::{Object, path};
use weir_rollout::{State, Summary};

use crate::configs::Digests;

/// What was recorded. `None`: the Canary was never taken up, or its status can't be read, which
/// comes to the same: what serves is then taken as the baseline.
pub(crate) fn read(canary: &Object) -> Option<State> {
    let status = canary.get(&["status"])?;
    let state: State = serde_json::from_value(status.clone())
        .or_else(|_| {
            // Another controller's counts and times may look different; the rest still counts.
            let mut known = Map::new();
            for field in ["phase", "lastAppliedSpec", "lastPromotedSpec"] {
                known.extend(status.get(field).map(|v| (field.to_owned(), v.clone())));
            }
            serde_json::from_value(Value::Object(known))
        })
        .ok()?;
    (state.phase.as_str() != "").then_some(state)
}

/// The status to be, from the one that is.
pub(crate) fn compose(
    canary: &Object,
    state: Option<&State>,
    tracked: Option<&Digests>,
    conditions: &[Summary],
    now: Timestamp,
) -> Value {
    let mut status = canary
        .get(&["status"])
        .cloned()
        .unwrap_or_else(|| json!({}));
    if let Some(state) = state {
        let known = serde_json::to_value(state).unwrap_or_default();
        for (field, value) in known.as_object().into_iter().flatten() {
            let mut value = value.clone();
            without_nulls(&mut value);
            if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
                path::remove(&mut status, &[field]);
            } else {
                path::set(&mut status, &[field], value);
            }
        }
    }
    match tracked {
        Some(tracked) if tracked.is_empty() => drop(path::remove(&mut status, &["trackedConfigs"])),
        Some(tracked) => path::set(&mut status, &["trackedConfigs"], json!(tracked)),
        None => {}
    }
    path::set(
        &mut status,
        &["observedGeneration"],
        canary.generation().into(),
    );
    let before: Vec<Value> = status
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut after: Vec<Value> = Vec::new();
    for wanted in conditions {
        let held = before
            .iter()
            .find(|c| path::text(c, &["type"]) == wanted.kind);
        after.push(condition(wanted, held, canary.generation(), now));
    }
    after.extend(before.into_iter().filter(|held| {
        let kind = path::text(held, &["type"]);
        conditions.iter().all(|wanted| wanted.kind != kind)
    }));
    path::set(&mut status, &["conditions"], Value::Array(after));
    status
}

fn condition(wanted: &Summary, held: Option<&Value>, generation: i64, now: Timestamp) -> Value {
    let second = Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string();
    let same = |field: &str, value: &str| held.is_some_and(|c| path::text(c, &[field]) == value);
    let time = |field: &str, keep: bool| {
        let before = held
            .map(|c| path::text(c, &[field]))
            .filter(|t| !t.is_empty());
        match before {
            Some(before) if keep => before.to_owned(),
            _ => second.clone(),
        }
    };
    let status = same("status", wanted.status.as_str());
    let all = status && same("reason", &wanted.reason) && same("message", &wanted.message);
    json!({
        "type": wanted.kind,
        "status": wanted.status.as_str(),
        "observedGeneration": generation,
        "lastUpdateTime": time("lastUpdateTime", all),
        "lastTransitionTime": time("lastTransitionTime", status),
        "reason": wanted.reason,
        "message": wanted.message,
    })
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(without_nulls);
            map.retain(|_, v| !v.is_null());
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Whether the condition of this type says something else in the two statuses.
pub(crate) fn changed(canary: &Object, status: &Value, kind: &str) -> bool {
    let find = |status: Option<&Value>| {
        let all = status
            .and_then(|s| s.get("conditions"))
            .and_then(Value::as_array)
            .cloned();
        all.into_iter()
            .flatten()
            .find(|c| path::text(c, &["type"]) == kind)
            .map(|c| {
                let text = |field| path::text(&c, &[field]).to_owned();
                (text("status"), text("reason"), text("message"))
            })
    };
    find(canary.get(&["status"])) != find(Some(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_rollout::{Phase, Status};

    fn summary(status: Status, message: &str) -> Summary {
        Summary {
            kind: "Ready",
            status,
            reason: "R".into(),
            message: message.into(),
        }
    }

    #[test]
    fn conditions_keep_their_times_and_fields_of_others_stay() {
        let mut canary = Object(json!({
            "metadata": {"name": "c", "generation": 3},
            "status": {"trackedConfigs": {"a": "b"}, "lastPromotedSpec": "v1:a"},
        }));
        let state = State {
            phase: Phase::Initializing,
            ..State::default()
        };
        let at = |second| Timestamp::from_second(second).expect("in range");
        let first = compose(
            &canary,
            Some(&state),
            None,
            &[summary(Status::True, "a")],
            at(10),
        );
        assert_eq!(
            first,
            json!({
                "trackedConfigs": {"a": "b"}, "phase": "Initializing", "failedChecks": 0,
                "canaryWeight": 0, "iterations": 0, "observedGeneration": 3,
                "conditions": [{
                    "type": "Ready", "status": "True", "observedGeneration": 3,
                    "lastUpdateTime": "1970-01-01T00:00:10Z",
                    "lastTransitionTime": "1970-01-01T00:00:10Z", "reason": "R", "message": "a",
                }],
            })
        );
        canary.set(&["status"], first.clone());
        assert_eq!(
            compose(
                &canary,
                Some(&state),
                None,
                &[summary(Status::True, "a")],
                at(20)
            ),
            first
        );
        let next = compose(&canary, None, None, &[summary(Status::True, "b")], at(20));
        assert_eq!(
            next["conditions"][0]["lastUpdateTime"],
            "1970-01-01T00:00:20Z"
        );
        assert_eq!(
            next["conditions"][0]["lastTransitionTime"],
            "1970-01-01T00:00:10Z"
        );
        assert!(changed(&canary, &next, "Ready") && !changed(&canary, &first, "Ready"));
    }

    #[test]
    fn a_status_of_another_controller_is_read_as_far_as_it_goes() {
        let read = |status: Value| read(&Object(json!({"status": status})));
        assert_eq!(read(json!({})), None);
        assert_eq!(read(json!({"phase": "Nonsense"})), None);
        let state = read(json!({
            "phase": "Succeeded", "failedChecks": 1.5, "lastTransitionTime": null,
            "lastPromotedSpec": "95b8f8bc", "run": [],
        }));
        let state = state.expect("read");
        assert_eq!(state.last_promoted_spec.as_deref(), Some("95b8f8bc"));
    }
}
