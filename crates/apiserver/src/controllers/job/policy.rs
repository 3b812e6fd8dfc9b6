//! Owns the rules by which a Job ends early: which failures count, which fail the Job or an index,
//! and which successes are enough. Pure.

use std::collections::BTreeSet;

use serde_json::Value;
use weir_object::path;

use super::indexes;
use crate::controllers::source::{items, name_of, namespace_of, number};

/// What the policy says of a failed pod.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It counts like any failure.
    Count,
    /// It does not count.
    Ignore,
    /// Its index has failed.
    FailIndex,
    /// The Job has failed; why.
    FailJob(String),
}

fn exited<'a>(pod: &'a Value, rule: &Value) -> Option<&'a Value> {
    let wanted = rule.get("containerName").and_then(Value::as_str);
    let lists = [
        ["status", "containerStatuses"],
        ["status", "initContainerStatuses"],
    ];
    lists.iter().find_map(|list| {
        items(pod, list).find(|container| {
            let Some(ended) = path::get(container, &["state", "terminated"]) else {
                return false;
            };
            let code = number(ended, &["exitCode"]);
            let named = wanted.is_none_or(|name| name == path::text(container, &["name"]));
            let listed = items(rule, &["values"]).any(|v| v.as_i64() == Some(code));
            let fits = match path::text(rule, &["operator"]) {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            };
            named && code != 0 && fits
        })
    })
}

fn conditioned<'a>(pod: &'a Value, patterns: &Value) -> Option<&'a Value> {
    items(pod, &["status", "conditions"]).find(|condition| {
        patterns.as_array().into_iter().flatten().any(|pattern| {
            let same = |field| path::text(pattern, &[field]) == path::text(condition, &[field]);
            let status = match path::text(pattern, &["status"]) {
                "" => path::text(condition, &["status"]) == "True",
                _ => same("status"),
            };
            same("type") && status
        })
    })
}

/// What a Job's policy says of a failed pod.
pub(crate) fn judge(job: &Value, pod: &Value) -> Verdict {
    let at = ["spec", "podFailurePolicy", "rules"];
    for (index, rule) in items(job, &at).enumerate() {
        let action = path::text(rule, &["action"]);
        let place = format!("{}/{}", namespace_of(pod), name_of(pod));
        let matched = if let Some(codes) = rule.get("onExitCodes") {
            exited(pod, codes).map(|container| {
                format!(
                    "Container {} for pod {place} failed with exit code {} matching {action} rule \
                     at index {index}",
                    path::text(container, &["name"]),
                    number(container, &["state", "terminated", "exitCode"])
                )
            })
        } else {
            let patterns = rule.get("onPodConditions");
            patterns.and_then(|p| conditioned(pod, p)).map(|condition| {
                let kind = path::text(condition, &["type"]);
                format!("Pod {place} has condition {kind} matching {action} rule at index {index}")
            })
        };
        if let Some(message) = matched {
            return match action {
                "Ignore" => Verdict::Ignore,
                "FailIndex" => Verdict::FailIndex,
                "FailJob" => Verdict::FailJob(message),
                _ => Verdict::Count,
            };
        }
    }
    Verdict::Count
}

/// Which rule of the success policy is met, in the API's words.
pub(crate) fn succeeded(job: &Value, done: &BTreeSet<i64>, completions: i64) -> Option<String> {
    if done.is_empty() {
        return None;
    }
    let at = ["spec", "successPolicy", "rules"];
    for (index, rule) in items(job, &at).enumerate() {
        let count = rule.get("succeededCount").and_then(Value::as_i64);
        let met = match rule.get("succeededIndexes").and_then(Value::as_str) {
            Some(text) => {
                let wanted = indexes::read(text, completions);
                let have = wanted.intersection(done).count();
                !wanted.is_empty()
                    && (have == wanted.len() || count.is_some_and(|count| have as i64 >= count))
            }
            None => count.is_some_and(|count| done.len() as i64 >= count),
        };
        if met {
            return Some(format!("Matched rules at index {index}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let job = json!({"spec": {"podFailurePolicy": {"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42], "containerName": "a"}},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1]}}]}}});
        let pod = |name: &str, code: i64, conditions: Value| {
            json!({"metadata": {"namespace": "n", "name": "p"}, "status": {"conditions": conditions,
                "containerStatuses": [{"name": name, "state": {"terminated": {"exitCode": code}}}]}})
        };
        let none = || json!([]);
        let disrupted = json!([{"type": "DisruptionTarget", "status": "True"}]);
        let message =
            "Container a for pod n/p failed with exit code 42 matching FailJob rule at index 1";
        assert_eq!(judge(&job, &pod("a", 42, disrupted)), Verdict::Ignore);
        assert_eq!(
            judge(&job, &pod("a", 42, none())),
            Verdict::FailJob(message.to_owned())
        );
        assert_eq!(judge(&job, &pod("b", 42, none())), Verdict::FailIndex);
        assert_eq!(judge(&job, &pod("b", 1, none())), Verdict::Count);
    }

    #[test]
    fn enough_successes_meet_a_rule() {
        let job = json!({"spec": {"successPolicy": {"rules": [
            {"succeededIndexes": "0-2", "succeededCount": 2}, {"succeededCount": 4}]}}});
        let done = |list: &[i64]| list.iter().copied().collect::<BTreeSet<i64>>();
        assert_eq!(succeeded(&job, &done(&[0, 7, 8]), 10), None);
        let first = Some("Matched rules at index 0".to_owned());
        assert_eq!(succeeded(&job, &done(&[0, 2]), 10), first);
        let second = Some("Matched rules at index 1".to_owned());
        assert_eq!(succeeded(&job, &done(&[6, 7, 8, 9]), 10), second);
    }
}
