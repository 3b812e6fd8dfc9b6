//! Owns what a pass leaves in the conditions of any of the three kinds. Each function makes a whole
//! status of the one before. These kinds have no condition of their own for a failure, so `Ready`
//! carries its reason; it is set here and nowhere else.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_api::names::{READY, RECONCILING, STALLED, reason};
use weir_api::{Condition, ConditionStatus};
use weir_runtime::conditions::{Wanted, remove, set};

use crate::failure::{Failure, Next, Problem};

/// The part of a status that all three kinds have.
pub(crate) trait Told: Clone + Default + PartialEq + Serialize + DeserializeOwned + Send {
    /// The conditions.
    fn conditions(&self) -> &[Condition];
    /// The same, to change.
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
    /// The generation last acted on.
    fn observed(&self) -> Option<i64>;
    /// Sets it.
    fn observe(&mut self, generation: i64);
    /// The request last handled.
    fn handled(&self) -> Option<&str>;
    /// Sets it.
    fn handle(&mut self, request: &str);
}

macro_rules! told {
    ($($status:ty),*) => {$(
        impl Told for $status {
            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }
            fn conditions_mut(&mut self) -> &mut Vec<Condition> {
                &mut self.conditions
            }
            fn observed(&self) -> Option<i64> {
                self.observed_generation
            }
            fn observe(&mut self, generation: i64) {
                self.observed_generation = Some(generation);
            }
            fn handled(&self) -> Option<&str> {
                self.last_handled_reconcile_at.as_deref()
            }
            fn handle(&mut self, request: &str) {
                self.last_handled_reconcile_at = Some(request.to_owned());
            }
        }
    )*};
}

told!(
    weir_api::image_repository::Status,
    weir_api::image_policy::Status,
    weir_api::image_update_automation::Status
);

/// When and of which generation a status speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    /// The object's generation.
    pub(crate) generation: i64,
    /// Now.
    pub(crate) now: Timestamp,
    /// The request for a reconciliation that the object carries.
    pub(crate) requested: Option<&'a str>,
}

impl At<'_> {
    fn set<T: Told>(
        &self,
        status: &mut T,
        kind: &str,
        holds: ConditionStatus,
        reason: &str,
        message: &str,
    ) {
        let wanted = Wanted {
            kind,
            status: holds,
            reason,
            message,
        };
        let all = status.conditions_mut();
        set(all, &wanted, self.generation, self.now);
        // `Ready` is put first, as people expect to read it.
        if let Some(at) = all.iter().position(|c| c.kind == READY)
            && let Some(front) = all.get_mut(..=at)
        {
            front.rotate_right(1);
        }
    }

    /// A request counts as handled once a pass has seen it, however the pass ends.
    fn handle<T: Told>(&self, status: &mut T) {
        if let Some(requested) = self.requested {
            status.handle(requested);
        }
    }
}

/// A new generation is worked on.
pub(crate) fn working<T: Told>(before: &T, at: At<'_>) -> T {
    let mut status = before.clone();
    let message = match before.observed().filter(|observed| *observed > 0) {
        Some(observed) => format!(
            "processing object: new generation {observed} -> {}",
            at.generation
        ),
        None => "reconciliation in progress".to_owned(),
    };
    remove(status.conditions_mut(), STALLED);
    let (word, holds) = (reason::PROGRESSING, ConditionStatus::True);
    at.set(&mut status, RECONCILING, holds, word, &message);
    at.set(&mut status, READY, ConditionStatus::Unknown, word, &message);
    status
}

/// The pass did what it should.
pub(crate) fn succeeded<T: Told>(before: &T, message: &str, at: At<'_>) -> T {
    let mut status = before.clone();
    remove(status.conditions_mut(), RECONCILING);
    remove(status.conditions_mut(), STALLED);
    let (word, holds) = (reason::SUCCEEDED, ConditionStatus::True);
    at.set(&mut status, READY, holds, word, message);
    status.observe(at.generation);
    at.handle(&mut status);
    status
}

/// The pass failed; what there was before is kept.
pub(crate) fn failed<T: Told>(before: &T, failure: &Failure, at: At<'_>) -> T {
    let mut status = before.clone();
    remove(status.conditions_mut(), STALLED);
    let message = failure.message.as_str();
    if failure.next == Next::Change {
        remove(status.conditions_mut(), RECONCILING);
        status.observe(at.generation);
    } else {
        let (word, holds) = (reason::PROGRESSING_WITH_RETRY, ConditionStatus::True);
        at.set(&mut status, RECONCILING, holds, word, message);
    }
    let holds = ConditionStatus::False;
    at.set(&mut status, READY, holds, failure.reason, message);
    at.handle(&mut status);
    status
}

/// The object must change before work can go on.
pub(crate) fn stalled<T: Told>(before: &T, problem: &Problem, at: At<'_>) -> T {
    let mut status = before.clone();
    remove(status.conditions_mut(), RECONCILING);
    let (word, message) = (problem.reason, problem.message.as_str());
    at.set(&mut status, STALLED, ConditionStatus::True, word, message);
    at.set(&mut status, READY, ConditionStatus::False, word, message);
    status.observe(at.generation);
    at.handle(&mut status);
    status
}

/// Nothing but that a request was seen.
pub(crate) fn seen<T: Told>(before: &T, at: At<'_>) -> T {
    let mut status = before.clone();
    at.handle(&mut status);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::Time;
    use weir_api::image_policy::Status;

    fn mk_at(requested: Option<&'static str>) -> At<'static> {
        At {
            generation: 2,
            now: Timestamp::from_second(10).expect("in range"),
            requested,
        }
    }

    fn mk(kind: &str, status: ConditionStatus, reason: &str, message: &str) -> Condition {
        Condition {
            kind: kind.to_owned(),
            status,
            observed_generation: Some(2),
            last_transition_time: Time::from(mk_at(None).now),
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    use ConditionStatus::{False, True, Unknown};

    #[test]
    fn each_end_of_a_pass_has_its_conditions() {
        let none = Status::default();
        let busy = working(&none, mk_at(None));
        let message = "reconciliation in progress";
        let expected = Status {
            conditions: vec![
                mk("Ready", Unknown, "Progressing", message),
                mk("Reconciling", True, "Progressing", message),
            ],
            ..Status::default()
        };
        assert_eq!(busy, expected);

        let good = succeeded(&busy, "done", mk_at(Some("now")));
        let expected = Status {
            observed_generation: Some(2),
            conditions: vec![mk("Ready", True, "Succeeded", "done")],
            last_handled_reconcile_at: Some("now".into()),
            ..Status::default()
        };
        assert_eq!(good, expected);
        assert_eq!(succeeded(&good, "done", mk_at(None)), good, "no write");

        let failure = Failure::new("ReadOperationFailed", "no", Next::Backoff);
        let bad = failed(&good, &failure, mk_at(None));
        let expected = vec![
            mk("Ready", False, "ReadOperationFailed", "no"),
            mk("Reconciling", True, "ProgressingWithRetry", "no"),
        ];
        assert_eq!(bad.conditions, expected);

        let waits = Failure {
            next: Next::Change,
            ..failure
        };
        let waits = failed(&bad, &waits, mk_at(None));
        let expected = vec![mk("Ready", False, "ReadOperationFailed", "no")];
        assert_eq!(waits.conditions, expected);

        let stall = stalled(&bad, &Problem::unsupported("x"), mk_at(None));
        let message = "`spec.x` is not supported by this version; remove it to go on";
        let expected = vec![
            mk("Ready", False, "Unsupported", message),
            mk("Stalled", True, "Unsupported", message),
        ];
        assert_eq!(stall.conditions, expected);
        assert_eq!(seen(&stall, mk_at(Some("x"))).handled(), Some("x"));
    }
}
