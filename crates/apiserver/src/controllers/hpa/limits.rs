//! Owns how fast and how far a size may change: bounds, windows in which it must be stable, and the
//! policies of each direction. Pure.

use std::cmp::Ordering;

use serde_json::Value;
use weir_object::path;

use crate::controllers::source::{items, number};

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
    let (replicas, why) = match stable.cmp(&range.current) {
        Ordering::Greater => {
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
        }
        Ordering::Less => {
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
        }
        Ordering::Equal => (stable, WITHIN),
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
}
