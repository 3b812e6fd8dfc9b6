//! Owns what a pass leaves in the status. Each function makes a whole status of the one before;
//! `Ready` is a summary of the other conditions in all of them.

use jiff::Timestamp;
use weir_api::git_repository::Status;
use weir_api::names::{
    ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, RECONCILING, STALLED,
    STORAGE_OPERATION_FAILED, reason,
};
use weir_api::{Artifact, Condition, ConditionStatus};
use weir_runtime::conditions::{Wanted, remove, set, summarise};

use crate::decide::Why;
use crate::failure::{Failure, Next};
use crate::spec::Problem;

/// The conditions that make an object not ready, in the order in which they are told.
const FAILURES: &[&str] = &[STORAGE_OPERATION_FAILED, FETCH_FAILED];

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
    fn set(&self, status: &mut Status, kind: &str, reason: &str, message: &str) {
        let wanted = Wanted {
            kind,
            status: ConditionStatus::True,
            reason,
            message,
        };
        set(&mut status.conditions, &wanted, self.generation, self.now);
    }

    fn summarise(&self, status: &mut Status) {
        let stored = Condition::find(&status.conditions, ARTIFACT_IN_STORAGE).cloned();
        let (reason, message) = stored.map_or_else(
            || (reason::SUCCEEDED.to_owned(), String::new()),
            |condition| (condition.reason, condition.message),
        );
        let ready = (reason.as_str(), message.as_str());
        summarise(
            &mut status.conditions,
            FAILURES,
            ready,
            self.generation,
            self.now,
        );
    }

    /// A request counts as handled once a pass has seen it, however the pass ends.
    fn handled(&self, status: &mut Status) {
        if let Some(requested) = self.requested {
            status.last_handled_reconcile_at = Some(requested.to_owned());
        }
    }
}

/// A new generation is looked at.
pub(crate) fn looking(before: &Status, at: At<'_>) -> Status {
    let mut status = before.clone();
    let message = match before.observed_generation.filter(|observed| *observed > 0) {
        Some(observed) => {
            format!(
                "processing object: new generation {observed} -> {}",
                at.generation
            )
        }
        None => "reconciliation in progress".to_owned(),
    };
    remove(&mut status.conditions, STALLED);
    at.set(&mut status, RECONCILING, reason::PROGRESSING, &message);
    at.summarise(&mut status);
    status
}

/// An artifact is about to be made.
pub(crate) fn fetching(before: &Status, revision: &str, why: &Why, at: At<'_>) -> Status {
    let mut status = before.clone();
    let message = match why {
        Why::First | Why::NewRevision => {
            format!("building artifact: new upstream revision '{revision}'")
        }
        Why::NewRules => "building artifact: `spec.ignore` changed".to_owned(),
        Why::Lost => "building artifact: disappeared from storage".to_owned(),
    };
    if *why == Why::NewRevision {
        let outdated = format!("new upstream revision '{revision}'");
        at.set(&mut status, ARTIFACT_OUTDATED, "NewRevision", &outdated);
    }
    if *why == Why::Lost {
        // Nobody is to be sent to what is not there.
        status.artifact = None;
        remove(&mut status.conditions, ARTIFACT_IN_STORAGE);
    }
    at.set(&mut status, RECONCILING, reason::PROGRESSING, &message);
    at.summarise(&mut status);
    status
}

/// The artifact is of the remote's revision, be it new or kept.
pub(crate) fn succeeded(
    before: &Status,
    artifact: Artifact,
    ignore: Option<&str>,
    at: At<'_>,
) -> Status {
    let mut status = before.clone();
    for gone in [
        RECONCILING,
        STALLED,
        FETCH_FAILED,
        STORAGE_OPERATION_FAILED,
        ARTIFACT_OUTDATED,
    ] {
        remove(&mut status.conditions, gone);
    }
    let message = format!("stored artifact for revision '{}'", artifact.revision);
    at.set(
        &mut status,
        ARTIFACT_IN_STORAGE,
        reason::SUCCEEDED,
        &message,
    );
    at.summarise(&mut status);
    status.artifact = Some(artifact);
    status.observed_ignore = ignore.map(str::to_owned);
    status.observed_generation = Some(at.generation);
    at.handled(&mut status);
    status
}

/// The pass failed; what there was before is kept and served.
pub(crate) fn failed(before: &Status, failure: &Failure, at: At<'_>) -> Status {
    let mut status = before.clone();
    for condition in FAILURES
        .iter()
        .filter(|condition| **condition != failure.condition)
    {
        remove(&mut status.conditions, condition);
    }
    at.set(
        &mut status,
        failure.condition,
        failure.reason,
        &failure.message,
    );
    if failure.next == Next::Never {
        remove(&mut status.conditions, RECONCILING);
        at.set(&mut status, STALLED, failure.reason, &failure.message);
        status.observed_generation = Some(at.generation);
    } else {
        remove(&mut status.conditions, STALLED);
        at.set(
            &mut status,
            RECONCILING,
            reason::PROGRESSING_WITH_RETRY,
            &failure.message,
        );
    }
    at.summarise(&mut status);
    at.handled(&mut status);
    status
}

/// The object must change before work can go on.
pub(crate) fn stalled(before: &Status, problem: &Problem, at: At<'_>) -> Status {
    let mut status = before.clone();
    for gone in [RECONCILING, FETCH_FAILED, STORAGE_OPERATION_FAILED] {
        remove(&mut status.conditions, gone);
    }
    at.set(&mut status, STALLED, problem.reason, &problem.message);
    at.summarise(&mut status);
    status.observed_generation = Some(at.generation);
    at.handled(&mut status);
    status
}

/// The object rests; a request is still seen.
pub(crate) fn resting(before: &Status, at: At<'_>) -> Status {
    let mut status = before.clone();
    at.handled(&mut status);
    status
}

/// Whether a status tells of a failure, so that the end of it is worth an event.
pub(crate) fn tells_of_failure(status: &Status) -> bool {
    [FETCH_FAILED, STORAGE_OPERATION_FAILED, STALLED]
        .iter()
        .any(|kind| Condition::find(&status.conditions, kind).is_some_and(Condition::is_true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::Time;

    const GENERATION: i64 = 2;

    fn mk_at(second: i64) -> At<'static> {
        let now = Timestamp::from_second(second).expect("in range");
        At {
            generation: GENERATION,
            now,
            requested: None,
        }
    }

    fn mk_artifact(oid: &str) -> Artifact {
        Artifact {
            revision: format!("main@sha1:{oid}"),
            ..Artifact::default()
        }
    }

    fn mk_condition(kind: &str, status: ConditionStatus, reason: &str, message: &str) -> Condition {
        Condition {
            kind: kind.to_owned(),
            status,
            observed_generation: Some(GENERATION),
            last_transition_time: Time::from(mk_at(10).now),
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    use ConditionStatus::{False, True, Unknown};

    #[test]
    fn success_leaves_two_conditions() {
        let status = succeeded(
            &Status::default(),
            mk_artifact("a"),
            Some("*.md"),
            mk_at(10),
        );
        let stored = "stored artifact for revision 'main@sha1:a'";
        let expected = Status {
            observed_generation: Some(GENERATION),
            conditions: vec![
                mk_condition("Ready", True, "Succeeded", stored),
                mk_condition("ArtifactInStorage", True, "Succeeded", stored),
            ],
            artifact: Some(mk_artifact("a")),
            observed_ignore: Some("*.md".into()),
            ..Status::default()
        };
        assert_eq!(status, expected);
        let again = succeeded(&status, mk_artifact("a"), Some("*.md"), mk_at(99));
        assert_eq!(again, status, "nothing new is nothing to write");
    }

    #[test]
    fn a_failure_keeps_the_artifact_and_says_that_it_goes_on() {
        let before = succeeded(&Status::default(), mk_artifact("a"), None, mk_at(10));
        let failure = Failure::credentials("no Secret".to_owned());
        let asked = At {
            requested: Some("now"),
            ..mk_at(10)
        };
        let status = failed(&before, &failure, asked);
        let stored = "stored artifact for revision 'main@sha1:a'";
        let expected = Status {
            conditions: vec![
                mk_condition("Ready", False, "AuthenticationFailed", "no Secret"),
                mk_condition("ArtifactInStorage", True, "Succeeded", stored),
                mk_condition("FetchFailed", True, "AuthenticationFailed", "no Secret"),
                mk_condition("Reconciling", True, "ProgressingWithRetry", "no Secret"),
            ],
            last_handled_reconcile_at: Some("now".into()),
            ..before.clone()
        };
        assert_eq!(status, expected);
        assert!(tells_of_failure(&status) && !tells_of_failure(&before));
        let healed = succeeded(&status, mk_artifact("a"), None, mk_at(10));
        let handled = Status {
            last_handled_reconcile_at: Some("now".into()),
            ..before
        };
        assert_eq!(healed, handled);
    }

    #[test]
    fn what_cannot_go_on_is_stalled() {
        let problem = Problem {
            reason: "Unsupported",
            message: "no".to_owned(),
        };
        let status = stalled(&Status::default(), &problem, mk_at(10));
        let expected = Status {
            observed_generation: Some(GENERATION),
            conditions: vec![
                mk_condition("Ready", False, "Unsupported", "no"),
                mk_condition("Stalled", True, "Unsupported", "no"),
            ],
            ..Status::default()
        };
        assert_eq!(status, expected);
        let looking = looking(
            &Status {
                observed_generation: Some(1),
                ..status
            },
            mk_at(10),
        );
        let message = "processing object: new generation 1 -> 2";
        let conditions = vec![
            mk_condition("Ready", Unknown, "Progressing", message),
            mk_condition("Reconciling", True, "Progressing", message),
        ];
        assert_eq!(looking.conditions, conditions);
    }

    #[test]
    fn a_lost_artifact_is_not_pointed_to() {
        let before = succeeded(&Status::default(), mk_artifact("a"), None, mk_at(10));
        let status = fetching(&before, "main@sha1:a", &Why::Lost, mk_at(10));
        assert_eq!(status.artifact, None);
        let message = "building artifact: disappeared from storage";
        let conditions = vec![
            mk_condition("Ready", Unknown, "Progressing", message),
            mk_condition("Reconciling", True, "Progressing", message),
        ];
        assert_eq!(status.conditions, conditions);
        let moved = fetching(&before, "main@sha1:b", &Why::NewRevision, mk_at(10));
        assert_eq!(
            moved.artifact, before.artifact,
            "the old one is served until the new one is"
        );
        let outdated = Condition::find(&moved.conditions, "ArtifactOutdated").expect("outdated");
        assert_eq!(outdated.message, "new upstream revision 'main@sha1:b'");
    }
}
