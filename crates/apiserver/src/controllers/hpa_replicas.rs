//! Owns how many replicas a measurement asks for: the ratio to the target, what is assumed of pods
//! that are not ready or not measured, and the limits on how fast a size may change. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use weir_object::path;

use super::pods::condition;
use super::source::{is_going, items, name_of, number};

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
    ratio: f64,
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
                    ratio: is as f64 / *percent as f64,
                    percent: is,
                    average: used / count,
                })
            }
            Self::Average(wanted) => {
                let used: i64 = samples.values().map(|s| s.value).sum();
                let average = used / (samples.len().max(1) as i64);
                Ok(Ratio {
                    ratio: average as f64 / *wanted as f64,
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
    let grows = first.ratio > 1.0;
    let with_unready = grows && !groups.unready.is_empty();
    if !with_unready && groups.missing.is_empty() {
        if is_close(first.ratio) {
            return Ok(proposal(current));
        }
        return Ok(proposal((first.ratio * groups.ready as f64).ceil() as i64));
    }
    // What is not known is taken to speak against the change.
    let window = 0;
    for name in &groups.missing {
        let value = if grows { 0 } else { goal.assumed(name) };
        if first.ratio != 1.0 {
            samples.insert(name.clone(), Sample { value, window });
        }
    }
    if with_unready {
        for name in &groups.unready {
            samples.insert(name.clone(), Sample { value: 0, window });
        }
    }
    let second = goal.ratio(&samples)?.ratio;
    let turned = (first.ratio < 1.0 && second > 1.0) || (grows && second < 1.0);
    if is_close(second) || turned {
        return Ok(proposal(current));
    }
    let replicas = (second * samples.len() as f64).ceil() as i64;
    let wrong = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
    Ok(proposal(if wrong { current } else { replicas }))
}

/// A change of size and when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) at: i64,
    pub(crate) by: i64,
}

/// What a scaler remembers: what was asked for, and what was done, with times in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) wanted: Vec<(i64, i64)>,
    pub(crate) ups: Vec<Change>,
    pub(crate) downs: Vec<Change>,
}

/// One direction of a behavior, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) window: i64,
    select: String,
    /// Percent or pods, how many, within how many seconds.
    policies: Vec<(bool, i64, i64)>,
}

impl Rules {
    pub(crate) fn up(behavior: &Value) -> Self {
        Self::read(
            behavior.get("scaleUp"),
            0,
            &[(false, 4, 15), (true, 100, 15)],
        )
    }

    pub(crate) fn down(behavior: &Value) -> Self {
        Self::read(behavior.get("scaleDown"), 300, &[(true, 100, 15)])
    }

    fn read(rules: Option<&Value>, window: i64, otherwise: &[(bool, i64, i64)]) -> Self {
        let none = Value::Null;
        let rules = rules.unwrap_or(&none);
        let given: Vec<(bool, i64, i64)> = items(rules, &["policies"])
            .map(|p| {
                (
                    path::text(p, &["type"]) == "Percent",
                    number(p, &["value"]),
                    number(p, &["periodSeconds"]),
                )
            })
            .collect();
        let select = match path::text(rules, &["selectPolicy"]) {
            "" => "Max",
            other => other,
        };
        Self {
            window: path::get(rules, &["stabilizationWindowSeconds"])
                .and_then(Value::as_i64)
                .unwrap_or(window),
            select: select.to_owned(),
            policies: if given.is_empty() {
                otherwise.to_vec()
            } else {
                given
            },
        }
    }

    pub(crate) fn longest(&self) -> i64 {
        self.policies.iter().map(|p| p.2).max().unwrap_or_default()
    }

    /// How far the size may go in this direction now.
    fn limit(&self, up: bool, current: i64, memory: &Memory, now: i64) -> i64 {
        if self.select == "Disabled" {
            return current;
        }
        let within = |changes: &[Change], seconds: i64| -> i64 {
            let recent = changes.iter().filter(|c| c.at > now - seconds * 1000);
            recent.map(|c| c.by).sum()
        };
        let limits = self.policies.iter().map(|(percent, value, seconds)| {
            let start = current - within(&memory.ups, *seconds) + within(&memory.downs, *seconds);
            let share = *value as f64 / 100.0;
            match (up, percent) {
                (true, false) => start + value,
                (true, true) => (start as f64 * (1.0 + share)).ceil() as i64,
                (false, false) => start - value,
                (false, true) => (start as f64 * (1.0 - share)) as i64,
            }
        });
        // The larger change is the larger number up and the smaller one down.
        let largest = up == (self.select != "Min");
        let limit = if largest { limits.max() } else { limits.min() };
        let limit = limit.unwrap_or(current);
        if up {
            limit.max(current)
        } else {
            limit.min(current)
        }
    }
}

/// A reason and a message, as conditions show them.
pub(crate) type Words = (&'static str, &'static str);

const WITHIN: Words = (
    "DesiredWithinRange",
    "the desired count is within the acceptable range",
);
const TOO_MANY: Words = (
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
);
const TOO_FEW: Words = (
    "TooFewReplicas",
    "the desired replica count is less than the minimum replica count",
);
const TOO_FAST_UP: Words = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
);
const TOO_FAST_DOWN: Words = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
);
const STABLE_DOWN: Words = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const STABLE_UP: Words = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const READY: Words = ("ReadyForNewScale", "recommended size matches current size");

/// The size to take, why it waits if it does, and whether and why it is limited.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Normal {
    pub(crate) replicas: i64,
    pub(crate) able: Words,
    pub(crate) limited: bool,
    pub(crate) why: Words,
}

/// The bounds of a scaler, and its size now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) current: i64,
    pub(crate) least: i64,
    pub(crate) most: i64,
}

/// Remembers what was asked for; what is older than both windows is forgotten.
fn remember(memory: &mut Memory, now: i64, wanted: i64, window: i64) {
    memory.wanted.retain(|(at, _)| *at >= now - window * 1000);
    memory.wanted.push((now, wanted));
}

/// The size when no behavior is set: the highest asked for in five minutes, at most doubled.
pub(crate) fn normalize(memory: &mut Memory, now: i64, range: Range, wanted: i64) -> Normal {
    let recent = memory.wanted.iter().filter(|(at, _)| *at >= now - 300_000);
    let stable = recent.map(|(_, w)| *w).fold(wanted, i64::max);
    remember(memory, now, wanted, 300);
    let able = if stable == wanted { READY } else { STABLE_DOWN };
    let fast = (range.current * 2).max(4);
    let (most, why) = if range.most > fast {
        (fast, TOO_FAST_UP)
    } else {
        (range.most, TOO_MANY)
    };
    let (replicas, why) = if stable < range.least {
        (range.least, TOO_FEW)
    } else if stable > most {
        (most, why)
    } else {
        (stable, WITHIN)
    };
    Normal {
        replicas,
        able,
        limited: replicas != stable,
        why,
    }
}

/// The size when a behavior is set.
pub(crate) fn normalize_by(
    memory: &mut Memory,
    now: i64,
    range: Range,
    wanted: i64,
    up: &Rules,
    down: &Rules,
) -> Normal {
    let (mut lowest, mut highest) = (wanted, wanted);
    for (at, was) in &memory.wanted {
        if *at > now - up.window * 1000 {
            lowest = lowest.min(*was);
        }
        if *at > now - down.window * 1000 {
            highest = highest.max(*was);
        }
    }
    let stable = range.current.max(lowest).min(highest);
    remember(memory, now, wanted, up.window.max(down.window));
    let able = if stable == wanted {
        READY
    } else if wanted >= range.current {
        STABLE_UP
    } else {
        STABLE_DOWN
    };
    let (replicas, why) = if stable > range.current {
        let fast = up.limit(true, range.current, memory, now);
        let (most, why) = if range.most > fast {
            (fast, TOO_FAST_UP)
        } else {
            (range.most, TOO_MANY)
        };
        if stable > most {
            (most, why)
        } else {
            (stable, WITHIN)
        }
    } else if stable < range.current {
        let fast = down.limit(false, range.current, memory, now);
        let (least, why) = if range.least < fast {
            (fast, TOO_FAST_DOWN)
        } else {
            (range.least, TOO_FEW)
        };
        if stable < least {
            (least, why)
        } else {
            (stable, WITHIN)
        }
    } else {
        (stable, WITHIN)
    };
    Normal {
        replicas,
        able,
        limited: replicas != stable,
        why,
    }
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
    fn without_a_behavior_sizes_at_most_double_and_shrink_after_five_minutes() {
        let mut memory = Memory::default();
        let range = |current| Range {
            current,
            least: 1,
            most: 100,
        };
        let first = normalize(&mut memory, 0, range(3), 50);
        assert_eq!(
            (first.replicas, first.limited, first.why.0),
            (6, true, "ScaleUpLimit")
        );
        let held = normalize(&mut memory, 15_000, range(6), 1);
        assert_eq!((held.replicas, held.able.0), (12, "ScaleDownStabilized"));
        let later = normalize(&mut memory, 301_000, range(6), 2);
        assert_eq!((later.replicas, later.able.0), (2, "ReadyForNewScale"));
    }

    #[test]
    fn a_behavior_limits_each_direction() {
        let behavior = json!({
            "scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]},
            "scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Min", "policies": [
                {"type": "Percent", "value": 50, "periodSeconds": 60},
                {"type": "Pods", "value": 1, "periodSeconds": 60}]}});
        let (up, down) = (Rules::up(&behavior), Rules::down(&behavior));
        let mut memory = Memory::default();
        let range = |current| Range {
            current,
            least: 1,
            most: 20,
        };
        let mut at = |now, current, wanted| {
            normalize_by(&mut memory, now, range(current), wanted, &up, &down)
        };
        assert_eq!(at(0, 4, 10).replicas, 6);
        assert_eq!(at(1000, 8, 2).replicas, 7);
        assert_eq!(at(2000, 4, 4).why.0, "DesiredWithinRange");
        let off = json!({"scaleDown": {"selectPolicy": "Disabled"}, "scaleUp": {}});
        let (up, down) = (Rules::up(&off), Rules::down(&off));
        let mut memory = Memory::default();
        let kept = normalize_by(&mut memory, 0, range(5), 1, &up, &down);
        assert_eq!((kept.replicas, kept.why.0), (5, "ScaleDownLimit"));
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
