//! Owns what a pass leaves in the conditions: `Ready` as a summary of one verdict, with
//! `Reconciling` while work goes on and `Stalled` while it cannot.

use jiff::Timestamp;
use weir_api::names::{RECONCILING, STALLED, reason};
use weir_api::{Condition, ConditionStatus};
use weir_api::{image_policy, image_repository, image_update_automation};
use weir_runtime::conditions::{Wanted, remove, set, summarise};

use crate::trouble::{Next, Trouble};

/// What a pass found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is as the spec asks, with this sentence.
    Succeeded(String),
    /// Work is under way.
    Working(String),
    /// It is not as the spec asks.
    Failed(Trouble),
}

/// When and of which generation a status speaks.
#[derive(Clone, Debug)]
pub(crate) struct At {
    /// The object's generation.
    pub(crate) generation: i64,
    /// Now.
    pub(crate) now: Timestamp,
    /// The request for a reconciliation that the object carries.
    pub(crate) requested: Option<String>,
}

/// The parts that the statuses of all kinds have.
pub(crate) trait Told: Clone {
    /// The conditions.
    fn conditions(&self) -> &[Condition];
    /// The parts to write: conditions, observed generation, handled request.
    fn parts(&mut self) -> (&mut Vec<Condition>, &mut Option<i64>, &mut Option<String>);

    /// Whether the last pass ended well.
    fn is_ready(&self) -> bool {
        Condition::find(self.conditions(), weir_api::names::READY).is_some_and(Condition::is_true)
    }

    /// The sentence of `Ready`.
    fn said(&self) -> &str {
        Condition::find(self.conditions(), weir_api::names::READY)
            .map_or("", |ready| ready.message.as_str())
    }
}

macro_rules! told {
    ($($status:ty),*) => {$(
        impl Told for $status {
            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }

            fn parts(&mut self) -> (&mut Vec<Condition>, &mut Option<i64>, &mut Option<String>) {
                (
                    &mut self.conditions,
                    &mut self.observed_generation,
                    &mut self.last_handled_reconcile_at,
                )
            }
        }
    )*};
}

told!(
    image_repository::Status,
    image_policy::Status,
    image_update_automation::Status
);

/// A failure that is retried has no condition of its own in these kinds; this one lives only while
/// the summary is made.
const FAILING: &str = "Failing";

/// The status with the verdict in it.
pub(crate) fn pronounce<S: Told>(before: &S, verdict: &Verdict, at: &At) -> S {
    let mut status = before.clone();
    let (conditions, observed, handled) = status.parts();
    let mut hold = |kind: &str, reason: &str, message: &str| {
        let wanted = Wanted {
            kind,
            status: ConditionStatus::True,
            reason,
            message,
        };
        set(conditions, &wanted, at.generation, at.now);
    };
    let (busy, stalled) = match verdict {
        Verdict::Succeeded(_) => (false, false),
        Verdict::Working(message) => {
            hold(RECONCILING, reason::PROGRESSING, message);
            (true, false)
        }
        Verdict::Failed(trouble) if trouble.next == Next::Never => {
            hold(STALLED, trouble.reason, &trouble.message);
            (false, true)
        }
        Verdict::Failed(trouble) => {
            hold(FAILING, trouble.reason, &trouble.message);
            hold(
                RECONCILING,
                reason::PROGRESSING_WITH_RETRY,
                &trouble.message,
            );
            (true, false)
        }
    };
    if !busy {
        remove(conditions, RECONCILING);
    }
    if !stalled {
        remove(conditions, STALLED);
    }
    let good = match verdict {
        Verdict::Succeeded(message) => message.as_str(),
        _ => "",
    };
    summarise(
        conditions,
        &[FAILING],
        (reason::SUCCEEDED, good),
        at.generation,
        at.now,
    );
    remove(conditions, FAILING);
    if matches!(verdict, Verdict::Succeeded(_)) || stalled {
        *observed = Some(at.generation);
    }
    // A request counts as handled once a pass has seen it to its end, however that was.
    if !matches!(verdict, Verdict::Working(_)) {
        heed(handled, at);
    }
    status
}

/// The status of an object that rests: only the request is seen.
pub(crate) fn resting<S: Told>(before: &S, at: &At) -> S {
    let mut status = before.clone();
    heed(status.parts().2, at);
    status
}

fn heed(handled: &mut Option<String>, at: &At) {
    if let Some(requested) = &at.requested {
        *handled = Some(requested.clone());
    }
}

/// What is said while a new generation is looked at.
pub(crate) fn looking(observed: Option<i64>, generation: i64) -> Verdict {
    Verdict::Working(match observed.filter(|observed| *observed > 0) {
        Some(observed) => {
            format!("processing object: new generation {observed} -> {generation}")
        }
        None => "reconciliation in progress".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::image_policy::Status;

    fn mk_at() -> At {
        At {
            generation: 2,
            now: Timestamp::UNIX_EPOCH,
            requested: Some("r".into()),
        }
    }

    fn told(status: &Status) -> Vec<String> {
        let text = |c: &Condition| {
            format!(
                "{}={} {}: {}",
                c.kind,
                c.status.as_str(),
                c.reason,
                c.message
            )
        };
        status.conditions.iter().map(text).collect()
    }

    #[test]
    fn each_verdict_has_its_conditions() {
        let failed = |next| Verdict::Failed(Trouble::new("Failed", next, "no"));
        let none = Status::default();
        let working = pronounce(&none, &looking(Some(1), 2), &mk_at());
        let message = "processing object: new generation 1 -> 2";
        assert_eq!(
            told(&working),
            [
                format!("Ready=Unknown Progressing: {message}"),
                format!("Reconciling=True Progressing: {message}")
            ]
        );
        assert_eq!(
            (
                working.observed_generation,
                working.last_handled_reconcile_at.clone()
            ),
            (None, None)
        );
        let failing = pronounce(&working, &failed(Next::Backoff), &mk_at());
        assert_eq!(
            told(&failing),
            [
                "Ready=False Failed: no",
                "Reconciling=True ProgressingWithRetry: no"
            ]
        );
        assert_eq!(
            (
                failing.observed_generation,
                failing.last_handled_reconcile_at.as_deref()
            ),
            (None, Some("r"))
        );
        let stalled = pronounce(&failing, &failed(Next::Never), &mk_at());
        assert_eq!(
            told(&stalled),
            ["Ready=False Failed: no", "Stalled=True Failed: no"]
        );
        assert_eq!(stalled.observed_generation, Some(2));
        let good = pronounce(&stalled, &Verdict::Succeeded("yes".into()), &mk_at());
        assert_eq!(told(&good), ["Ready=True Succeeded: yes"]);
        assert!(good.is_ready() && good.said() == "yes" && !stalled.is_ready());
    }
}
