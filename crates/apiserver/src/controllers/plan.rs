//! Owns the arithmetic of a rollout: how many replicas each replica set should have next. Pure.

/// A replica set as the arithmetic sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) replicas: i64,
    pub(crate) available: i64,
    /// The deployment's size when this one was last scaled, surge included.
    pub(crate) max: i64,
}

/// The bounds of a rolling update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) replicas: i64,
    pub(crate) surge: i64,
    pub(crate) unavailable: i64,
}

/// A number or a percentage of `total`, rounded up or down.
pub(crate) fn resolve(value: Option<&serde_json::Value>, total: i64, up: bool) -> i64 {
    match value {
        Some(serde_json::Value::Number(n)) => n.as_i64().unwrap_or_default().max(0),
        Some(serde_json::Value::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or_default();
            let scaled = total.saturating_mul(percent.max(0));
            if up {
                (scaled + 99) / 100
            } else {
                scaled / 100
            }
        }
        _ => 0,
    }
}

/// How many replicas the new set gets when all others stay.
pub(crate) fn new_size(new: i64, all: i64, bounds: Bounds) -> i64 {
    if new >= bounds.replicas {
        return bounds.replicas;
    }
    let room = (bounds.replicas + bounds.surge - all).max(0);
    new + room.min(bounds.replicas - new)
}

/// How far the old sets, oldest first, shrink now. Unhealthy replicas go first.
pub(crate) fn old_sizes(new: &Set, old: &[Set], bounds: Bounds) -> Vec<(String, i64)> {
    let all: i64 = new.replicas + old.iter().map(|s| s.replicas).sum::<i64>();
    let minimum = bounds.replicas - bounds.unavailable;
    let mut budget = all - minimum - (new.replicas - new.available);
    if budget <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i64> = old.iter().map(|s| s.replicas).collect();
    for (size, set) in sizes.iter_mut().zip(old) {
        let unhealthy = (*size - set.available).clamp(0, budget);
        *size -= unhealthy;
        budget -= unhealthy;
    }
    let available: i64 = new.available + old.iter().map(|s| s.available).sum::<i64>();
    let mut spare = (available - minimum).max(0);
    for size in &mut sizes {
        let less = (*size).min(spare).max(0);
        *size -= less;
        spare -= less;
    }
    old.iter()
        .zip(sizes)
        .filter(|(set, size)| set.replicas != *size)
        .map(|(set, size)| (set.name.clone(), size))
        .collect()
}

/// Spreads a changed size over the active sets in proportion, newest first.
pub(crate) fn proportional(sets: &[Set], bounds: Bounds) -> Vec<(String, i64)> {
    let allowed = if bounds.replicas > 0 {
        bounds.replicas + bounds.surge
    } else {
        0
    };
    let all: i64 = sets.iter().map(|s| s.replicas).sum();
    let mut left = allowed - all;
    if left == 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i64> = Vec::with_capacity(sets.len());
    for set in sets {
        let was = if set.max > 0 { set.max } else { all.max(1) };
        // Rounded to the nearest whole replica.
        let share = (2 * set.replicas * allowed + was).div_euclid(2 * was) - set.replicas;
        let share = if left > 0 {
            share.clamp(0, left)
        } else {
            share.clamp(left, 0)
        };
        left -= share;
        sizes.push(set.replicas + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + left).max(0);
    }
    sets.iter()
        .zip(sizes)
        .filter(|(set, size)| set.replicas != *size)
        .map(|(set, size)| (set.name.clone(), size))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn set(name: &str, replicas: i64, available: i64) -> Set {
        Set {
            name: name.to_owned(),
            replicas,
            available,
            max: 0,
        }
    }

    #[test]
    fn percentages_round_as_the_fields_say() {
        assert_eq!(resolve(Some(&json!("25%")), 3, true), 1);
        assert_eq!(resolve(Some(&json!("25%")), 3, false), 0);
        assert_eq!(resolve(Some(&json!(2)), 3, false), 2);
    }

    #[test]
    fn a_rollout_keeps_its_bounds_at_each_step() {
        let bounds = Bounds {
            replicas: 4,
            surge: 1,
            unavailable: 1,
        };
        assert_eq!(new_size(0, 4, bounds), 1);
        assert_eq!(
            old_sizes(&set("n", 1, 0), &[set("o", 4, 4)], bounds),
            [("o".to_owned(), 3)]
        );
        assert_eq!(
            old_sizes(&set("n", 1, 0), &[set("o", 4, 3)], bounds),
            [("o".to_owned(), 3)]
        );
        assert_eq!(old_sizes(&set("n", 2, 0), &[set("o", 3, 3)], bounds), []);
        assert_eq!(
            old_sizes(&set("n", 4, 4), &[set("o", 1, 1)], bounds),
            [("o".to_owned(), 0)]
        );
    }

    #[test]
    fn a_changed_size_is_spread() {
        let bounds = Bounds {
            replicas: 10,
            surge: 0,
            unavailable: 0,
        };
        let mut sets = [set("n", 2, 2), set("o", 3, 3)];
        for set in &mut sets {
            set.max = 5;
        }
        assert_eq!(
            proportional(&sets, bounds),
            [("n".to_owned(), 4), ("o".to_owned(), 6)]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rollouts_end_and_never_break_their_bounds(
            replicas in 1i64..12, surge in 0i64..4, unavailable in 0i64..4, old_start in 0i64..12,
        ) {
            prop_assume!(surge + unavailable > 0);
            let bounds = Bounds { replicas, surge, unavailable: unavailable.min(replicas) };
            let start = old_start.min(replicas);
            let (mut new, mut old) = (set("n", 0, 0), set("o", start, start));
            let floor = (replicas - unavailable).min(start);
            for _ in 0..100 {
                new.replicas = new_size(new.replicas, new.replicas + old.replicas, bounds);
                prop_assert!(new.replicas + old.replicas <= replicas + surge);
                for (_, size) in old_sizes(&new, &[old.clone()], bounds) {
                    old.replicas = size;
                    old.available = old.available.min(size);
                }
                prop_assert!(new.available + old.available >= floor.min(replicas - unavailable));
                new.available = new.replicas;
                if new.replicas == replicas && old.replicas == 0 {
                    return Ok(());
                }
            }
            prop_assert!(false, "the rollout does not end: {new:?} {old:?}");
        }
    }
}
