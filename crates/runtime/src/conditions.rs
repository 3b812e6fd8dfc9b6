//! Owns changing conditions. A transition time moves only when a status does; `Ready` is a summary
//! of what else is there and is set by [`summarise`] alone.

use jiff::Timestamp;
use weir_api::names::{READY, RECONCILING, REQUESTED_AT, STALLED};
use weir_api::{Condition, ConditionStatus};
use weir_object::Object;

/// One condition as a reconciler decides it; time and generation are added by [`set`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Type.
    pub kind: &'a str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Reason as one word.
    pub reason: &'a str,
    /// Reason as a sentence.
    pub message: &'a str,
}

/// Sets one condition, keeping the transition time while the status stays.
pub fn set(conditions: &mut Vec<Condition>, wanted: &Wanted<'_>, generation: i64, now: Timestamp) {
    let mut message = wanted.message.to_owned();
    // The API's limit; cut at a character.
    if message.len() > 32_000 {
        let end = (0..=32_000)
            .rev()
            .find(|i| message.is_char_boundary(*i))
            .unwrap_or(0);
        message.truncate(end);
    }
    let new = |since| Condition {
        kind: wanted.kind.to_owned(),
        status: wanted.status,
        observed_generation: Some(generation),
        last_transition_time: since,
        reason: wanted.reason.to_owned(),
        message: message.clone(),
    };
    match conditions.iter_mut().find(|c| c.kind == wanted.kind) {
        Some(held) if held.status == wanted.status => *held = new(held.last_transition_time),
        Some(held) => *held = new(now.into()),
        None => conditions.push(new(now.into())),
    }
}

/// Takes a condition away.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|c| c.kind != kind);
}

/// Sets `Ready` from the others: Stalled makes it False, Reconciling Unknown, a failure (any other
/// condition in `failures` that is True) False; else it is True with the given reason and message.
/// `Ready` is put first, as people expect to read it.
pub fn summarise(
    conditions: &mut Vec<Condition>,
    failures: &[&str],
    ready: (&str, &str),
    generation: i64,
    now: Timestamp,
) {
    let holds = |kind: &str| {
        conditions
            .iter()
            .find(|c| c.kind == kind && c.is_true())
            .cloned()
    };
    let failed = failures.iter().find_map(|kind| holds(kind));
    let (status, cause) = match (holds(STALLED), failed, holds(RECONCILING)) {
        (Some(stalled), _, _) => (ConditionStatus::False, Some(stalled)),
        (None, Some(failed), _) => (ConditionStatus::False, Some(failed)),
        (None, None, Some(busy)) => (ConditionStatus::Unknown, Some(busy)),
        (None, None, None) => (ConditionStatus::True, None),
    };
    let (reason, message) = cause
        .as_ref()
        .map_or(ready, |c| (c.reason.as_str(), c.message.as_str()));
    set(
        conditions,
        &Wanted {
            kind: READY,
            status,
            reason,
            message,
        },
        generation,
        now,
    );
    if let Some(at) = conditions.iter().position(|c| c.kind == READY) {
        conditions[..=at].rotate_right(1);
    }
}

/// The request for a reconciliation now that the object carries.
pub fn requested_at(object: &Object) -> Option<&str> {
    object.annotation(REQUESTED_AT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn the_transition_time_moves_with_the_status_alone() {
        let mut all = Vec::new();
        let wanted = |status, message| Wanted {
            kind: "FetchFailed",
            status,
            reason: "R",
            message,
        };
        set(&mut all, &wanted(ConditionStatus::True, "a"), 1, at(10));
        set(&mut all, &wanted(ConditionStatus::True, "b"), 2, at(20));
        assert_eq!(all[0].last_transition_time.timestamp(), at(10));
        assert_eq!(
            (all[0].message.as_str(), all[0].observed_generation),
            ("b", Some(2))
        );
        set(&mut all, &wanted(ConditionStatus::False, "b"), 2, at(30));
        assert_eq!(all[0].last_transition_time.timestamp(), at(30));
    }

    #[test]
    fn ready_summarises() {
        let mut all = Vec::new();
        let now = at(1);
        let ready = |all: &mut Vec<Condition>| {
            summarise(all, &["FetchFailed"], ("Succeeded", "stored"), 1, now);
            (all[0].kind.clone(), all[0].status, all[0].reason.clone())
        };
        assert_eq!(
            ready(&mut all),
            (READY.into(), ConditionStatus::True, "Succeeded".into())
        );
        let busy = Wanted {
            kind: RECONCILING,
            status: ConditionStatus::True,
            reason: "Progressing",
            message: "",
        };
        set(&mut all, &busy, 1, now);
        assert_eq!(ready(&mut all).1, ConditionStatus::Unknown);
        let failed = Wanted {
            kind: "FetchFailed",
            status: ConditionStatus::True,
            reason: "Auth",
            message: "no",
        };
        set(&mut all, &failed, 1, now);
        assert_eq!(
            ready(&mut all),
            (READY.into(), ConditionStatus::False, "Auth".into())
        );
        remove(&mut all, "FetchFailed");
        remove(&mut all, RECONCILING);
        assert_eq!(ready(&mut all).1, ConditionStatus::True);
    }
}
