//! Owns the decision: from what was observed to what to do. Pure, and called twice in a pass where
//! the remote has to be asked in between.

use serde::Serialize;
use weir_git::Head;

use crate::failure::Failure;
use crate::spec::Problem;

/// Where an object is between coming and going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Our finalizer is not on it yet.
    New,
    /// Our finalizer is on it.
    Held,
    /// Deletion was asked for, and it waits for us.
    Leaving,
    /// Deletion was asked for, and it does not wait for us.
    Left,
}

impl Life {
    /// Of what the object's metadata says.
    pub(crate) fn of(deleting: bool, finalizer: bool) -> Self {
        match (deleting, finalizer) {
            (false, false) => Self::New,
            (false, true) => Self::Held,
            (true, true) => Self::Leaving,
            (true, false) => Self::Left,
        }
    }
}

/// What became of the artifact that the status names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// The status names none.
    Never,
    /// It is there with its digest.
    Intact,
    /// It is gone, as after a restart with an empty disk.
    Missing,
    /// It had other bytes and was removed.
    Damaged,
}

/// Where the remote is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// It was not asked yet.
    Unasked,
    /// At this revision.
    At(Head),
    /// It could not be asked.
    Failed(Failure),
}

/// All that the decision is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    /// Where the object is between coming and going.
    pub(crate) life: Life,
    /// `spec.suspend`.
    pub(crate) suspended: bool,
    /// What in the spec stands in the way.
    pub(crate) problem: Option<Problem>,
    /// The artifact on disk.
    pub(crate) stored: Stored,
    /// The revision of the artifact that the status names.
    pub(crate) revision: Option<String>,
    /// `spec.ignore` differs from the one the artifact was made with.
    pub(crate) rules_changed: bool,
    /// The remote.
    pub(crate) upstream: Upstream,
}

/// Why an artifact is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Why {
    /// There is none yet.
    First,
    /// The remote moved.
    NewRevision,
    /// `spec.ignore` changed.
    NewRules,
    /// The one there was is gone or damaged.
    Lost,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Plan {
    /// Remove the artifacts, then let the object go. In this order: once it is gone, nobody would.
    Release,
    /// Nothing: the object is going, and we hold it no more.
    LetGo,
    /// Put our finalizer on, before anything is stored that it must clean up.
    Adopt,
    /// Nothing until it is resumed; the artifact stays and is served.
    Rest,
    /// Nothing until the object changes; the artifact stays and is served.
    Stall(Problem),
    /// Ask the remote where it is, then decide again.
    Ask,
    /// Tell that the remote could not be asked; the artifact stays and is served.
    Fail(Failure),
    /// Nothing: the artifact is of the remote's revision.
    Keep {
        /// The revision.
        revision: String,
    },
    /// Say so in the status, then fetch the revision and store it as the artifact.
    Fetch {
        /// The revision.
        revision: String,
        /// Why.
        why: Why,
    },
}

/// Decides.
pub(crate) fn decide(seen: &Observation) -> Plan {
    match seen.life {
        Life::Leaving => return Plan::Release,
        Life::Left => return Plan::LetGo,
        Life::New => return Plan::Adopt,
        Life::Held => {}
    }
    if seen.suspended {
        return Plan::Rest;
    }
    if let Some(problem) = &seen.problem {
        return Plan::Stall(problem.clone());
    }
    let head = match &seen.upstream {
        Upstream::Unasked => return Plan::Ask,
        Upstream::Failed(failure) => return Plan::Fail(failure.clone()),
        Upstream::At(head) => head,
    };
    let revision = head.revision.clone();
    let why = match (&seen.stored, &seen.revision) {
        (Stored::Never, _) | (_, None) => Why::First,
        (_, Some(held)) if *held != revision => Why::NewRevision,
        (Stored::Missing | Stored::Damaged, _) => Why::Lost,
        (Stored::Intact, _) if seen.rules_changed => Why::NewRules,
        (Stored::Intact, _) => return Plan::Keep { revision },
    };
    Plan::Fetch { revision, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(oid: &str) -> Head {
        Head {
            oid: oid.to_owned(),
            revision: format!("main@sha1:{oid}"),
        }
    }

    /// An object at rest: stored, and the remote where it was.
    fn mk_seen() -> Observation {
        Observation {
            life: Life::Held,
            suspended: false,
            problem: None,
            stored: Stored::Intact,
            revision: Some(head("a").revision),
            rules_changed: false,
            upstream: Upstream::At(head("a")),
        }
    }

    fn mk_problem() -> Problem {
        Problem {
            reason: "Unsupported",
            message: "no".to_owned(),
        }
    }

    #[test]
    fn nothing_is_done_where_nothing_changed() {
        assert_eq!(
            decide(&mk_seen()),
            Plan::Keep {
                revision: head("a").revision
            }
        );
    }

    #[test]
    fn the_remote_is_asked_only_when_its_answer_matters() {
        let unasked = Observation {
            upstream: Upstream::Unasked,
            ..mk_seen()
        };
        assert_eq!(decide(&unasked), Plan::Ask);
        let suspended = Observation {
            suspended: true,
            ..unasked.clone()
        };
        assert_eq!(decide(&suspended), Plan::Rest);
        let problem = Observation {
            problem: Some(mk_problem()),
            ..unasked.clone()
        };
        assert_eq!(decide(&problem), Plan::Stall(mk_problem()));
        // A suspended object is not told about its spec until it is resumed.
        assert_eq!(
            decide(&Observation {
                suspended: true,
                ..problem
            }),
            Plan::Rest
        );
        for (life, plan) in [
            (Life::New, Plan::Adopt),
            (Life::Leaving, Plan::Release),
            (Life::Left, Plan::LetGo),
        ] {
            assert_eq!(
                decide(&Observation {
                    life,
                    suspended: true,
                    ..unasked.clone()
                }),
                plan
            );
        }
    }

    #[test]
    fn an_artifact_is_made_for_each_reason() {
        let fetch = |oid: &str, why| Plan::Fetch {
            revision: head(oid).revision,
            why,
        };
        let first = Observation {
            stored: Stored::Never,
            revision: None,
            ..mk_seen()
        };
        assert_eq!(decide(&first), fetch("a", Why::First));
        let moved = Observation {
            upstream: Upstream::At(head("b")),
            ..mk_seen()
        };
        assert_eq!(decide(&moved), fetch("b", Why::NewRevision));
        for stored in [Stored::Missing, Stored::Damaged] {
            assert_eq!(
                decide(&Observation {
                    stored,
                    ..mk_seen()
                }),
                fetch("a", Why::Lost)
            );
        }
        let rules = Observation {
            rules_changed: true,
            ..mk_seen()
        };
        assert_eq!(decide(&rules), fetch("a", Why::NewRules));
    }

    #[test]
    fn a_failure_to_ask_is_told() {
        let failure = Failure::credentials("no".to_owned());
        let failed = Observation {
            upstream: Upstream::Failed(failure.clone()),
            ..mk_seen()
        };
        assert_eq!(decide(&failed), Plan::Fail(failure));
    }
}
