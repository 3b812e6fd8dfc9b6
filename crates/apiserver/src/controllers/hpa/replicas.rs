//! Owns how many replicas a measurement asks for: the ratio to the target, and what is assumed of
//! pods that are not ready or not measured. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use weir_object::path;

use crate::controllers::pods::condition;
use crate::controllers::source::{is_going, name_of};

/// A ratio this near to one changes nothing.
const TOLERANCE: f64 = 0.1;
/// After its start a pod's processor use counts only while it is ready.
const INITIALIZATION: i64 = 300;
/// A pod that was never ready this long after its start counts as not ready.
const READINESS: i64 = 30;

pub(crate) fn is_close(ratio: f64) -> bool {
    (1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&ratio)
}

/// What was measured of one pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) value: i64,
    pub(crate) window: i64,
}

/// Pods by what their measurement is worth.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) ready: usize,
    pub(crate) unready: BTreeSet<String>,
    pub(crate) missing: BTreeSet<String>,
    pub(crate) ignored: BTreeSet<String>,
}

fn time(of: &Value, at: &[&str]) -> Option<i64> {
    path::text(of, at)
        .parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_second)
}

/// Sorts pods by what their measurement is worth.
pub(crate) fn group<'a>(
    pods: impl Iterator<Item = &'a Value>,
    samples: &BTreeMap<String, Sample>,
    cpu: bool,
    now: Timestamp,
) -> Groups {
    let mut out = Groups::default();
    let now = now.as_second();
    for pod in pods {
        let name = name_of(pod).to_owned();
        let phase = path::text(pod, &["status", "phase"]);
        if is_going(pod) || phase == "Failed" {
            out.ignored.insert(name);
        } else if phase == "Pending" {
            out.unready.insert(name);
        } else if let Some(sample) = samples.get(&name) {
            if cpu && is_young(pod, *sample, now) {
                out.unready.insert(name);
            } else {
                out.ready += 1;
            }
        } else {
            out.missing.insert(name);
        }
    }
    out
}

/// Whether a pod's processor use says nothing yet.
fn is_young(pod: &Value, sample: Sample, now: i64) -> bool {
    let start = time(pod, &["status", "startTime"]);
    let (Some(ready), Some(start)) = (condition(pod, "Ready"), start) else {
        return true;
    };
    let unready = path::text(ready, &["status"]) == "False";
    let changed = time(ready, &["lastTransitionTime"]).unwrap_or_default();
    if start + INITIALIZATION > now {
        return unready || now < changed + sample.window;
    }
    unready && start + READINESS > changed
}

/// How a measured sum compares with what is wanted of as many pods.
pub(crate) enum Goal<'a> {
    /// Percent of what the pods request.
    Utilization {
        percent: i64,
        requests: &'a BTreeMap<String, i64>,
    },
    /// This much each.
    Average(i64),
}

/// The ratio to the goal; percent, where that is the goal; and the average.
struct Ratio {
    value: f64,
    percent: i64,
    average: i64,
}

impl Goal<'_> {
    fn ratio(&self, samples: &BTreeMap<String, Sample>) -> Result<Ratio, String> {
        match self {
            Self::Utilization { percent, requests } => {
                let (mut used, mut asked, mut count) = (0, 0, 0);
                for (name, sample) in samples {
                    if let Some(request) = requests.get(name) {
                        used += sample.value;
                        asked += request;
                        count += 1;
                    }
                }
                if asked == 0 {
                    return Err("no metrics returned matched known pods".to_owned());
                }
                let is = used.saturating_mul(100) / asked;
                Ok(Ratio {
                    value: is as f64 / *percent as f64,
                    percent: is,
                    average: used / count,
                })
            }
            Self::Average(wanted) => {
                let used: i64 = samples.values().map(|s| s.value).sum();
                let average = used / (samples.len().max(1) as i64);
                Ok(Ratio {
                    value: average as f64 / *wanted as f64,
                    percent: 0,
                    average,
                })
            }
        }
    }

    /// What is assumed of a pod without a measurement when the size would shrink.
    fn assumed(&self, pod: &str) -> i64 {
        match self {
            Self::Utilization { percent, requests } => {
                let request = requests.get(pod).copied().unwrap_or_default();
                request.saturating_mul((*percent).max(100)) / 100
            }
            Self::Average(wanted) => *wanted,
        }
    }
}

/// What a measurement of pods asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) replicas: i64,
    pub(crate) percent: i64,
    pub(crate) average: i64,
}

/// How many replicas the pods' measurements ask for.
pub(crate) fn propose(
    current: i64,
    mut samples: BTreeMap<String, Sample>,
    groups: &Groups,
    goal: &Goal<'_>,
) -> Result<Proposal, String> {
    samples.retain(|name, _| !groups.ignored.contains(name) && !groups.unready.contains(name));
    if samples.is_empty() {
        let why = "did not receive metrics for targeted pods (pods might be unready)";
        return Err(why.to_owned());
    }
    let first = goal.ratio(&samples)?;
    let proposal = |replicas| Proposal {
        replicas,
        percent: first.percent,
        average: first.average,
    };
    let grows = first.value > 1.0;
    let with_unready = grows && !groups.unready.is_empty();
    if !with_unready && groups.missing.is_empty() {
        if is_close(first.value) {
            return Ok(proposal(current));
        }
        return Ok(proposal((first.value * groups.ready as f64).ceil() as i64));
    }
    // What is not known is taken to speak against the change.
    let window = 0;
    let shrinks = first.value < 1.0;
    for name in groups.missing.iter().filter(|_| grows || shrinks) {
        let value = if grows { 0 } else { goal.assumed(name) };
        samples.insert(name.clone(), Sample { value, window });
    }
    if with_unready {
        for name in &groups.unready {
            samples.insert(name.clone(), Sample { value: 0, window });
        }
    }
    let second = goal.ratio(&samples)?.value;
    let turned = (first.value < 1.0 && second > 1.0) || (grows && second < 1.0);
    if is_close(second) || turned {
        return Ok(proposal(current));
    }
    let replicas = (second * samples.len() as f64).ceil() as i64;
    let wrong = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
    Ok(proposal(if wrong { current } else { replicas }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn samples(values: &[(&str, i64)]) -> BTreeMap<String, Sample> {
        let window = 30;
        values
            .iter()
            .map(|(name, value)| {
                (
                    (*name).to_owned(),
                    Sample {
                        value: *value,
                        window,
                    },
                )
            })
            .collect()
    }

    fn groups(ready: usize, unready: &[&str], missing: &[&str]) -> Groups {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Groups {
            ready,
            unready: set(unready),
            missing: set(missing),
            ignored: BTreeSet::new(),
        }
    }

    #[test]
    fn pods_that_are_not_ready_or_not_measured_speak_against_the_change() {
        let names = ["a", "b", "c", "d"];
        let requests: BTreeMap<String, i64> =
            names.iter().map(|n| ((*n).to_owned(), 100)).collect();
        let goal = |percent| Goal::Utilization {
            percent,
            requests: &requests,
        };
        let used = |values| samples(values);
        for (current, seen, groups, percent, expected) in [
            // Twice the target: twice the pods.
            (
                2,
                used(&[("a", 100), ("b", 100)]),
                groups(2, &[], &[]),
                50,
                4,
            ),
            // Within a tenth: no change.
            (2, used(&[("a", 54), ("b", 54)]), groups(2, &[], &[]), 50, 2),
            // Half: half.
            (
                4,
                used(&[("a", 25), ("b", 25), ("c", 25), ("d", 25)]),
                groups(4, &[], &[]),
                50,
                2,
            ),
            // One not measured counts as idle when it would grow.
            (
                3,
                used(&[("a", 100), ("b", 100)]),
                groups(2, &[], &["c"]),
                50,
                4,
            ),
            // And as busy when it would shrink.
            (
                3,
                used(&[("a", 10), ("b", 10)]),
                groups(2, &[], &["c"]),
                50,
                3,
            ),
            // One that is not ready is left out when it would shrink.
            (
                3,
                used(&[("a", 25), ("b", 25), ("c", 99)]),
                groups(2, &["c"], &[]),
                50,
                1,
            ),
            // And counts as idle when it would grow.
            (
                3,
                used(&[("a", 100), ("b", 100), ("c", 99)]),
                groups(2, &["c"], &[]),
                50,
                4,
            ),
        ] {
            let proposal = propose(current, seen.clone(), &groups, &goal(percent));
            let replicas = proposal.expect("a proposal").replicas;
            assert_eq!(replicas, expected, "{seen:?} {groups:?}");
        }
        let none = propose(1, samples(&[]), &groups(0, &["a"], &[]), &goal(50));
        let why = "did not receive metrics for targeted pods (pods might be unready)";
        assert_eq!(none, Err(why.to_owned()));
    }

    #[test]
    fn young_pods_do_not_count_for_the_processor() {
        let pod = |name: &str, start: &str, ready: &str, changed: &str| {
            json!({"metadata": {"name": name}, "status": {"phase": "Running", "startTime": start,
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": changed}]}})
        };
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().expect("a time");
        let all = [
            pod(
                "old",
                "2026-01-01T00:00:00Z",
                "True",
                "2026-01-01T00:00:10Z",
            ),
            pod(
                "new",
                "2026-01-01T00:09:30Z",
                "True",
                "2026-01-01T00:09:40Z",
            ),
            pod(
                "never",
                "2026-01-01T00:00:00Z",
                "False",
                "2026-01-01T00:00:00Z",
            ),
            pod(
                "lost",
                "2026-01-01T00:00:00Z",
                "False",
                "2026-01-01T00:05:00Z",
            ),
        ];
        let samples = samples(&[("old", 1), ("new", 1), ("never", 1), ("lost", 1)]);
        let cpu = group(all.iter(), &samples, true, now);
        assert_eq!(cpu, groups(2, &["never", "new"], &[]));
        assert_eq!(group(all.iter(), &samples, false, now), groups(4, &[], &[]));
    }
}
