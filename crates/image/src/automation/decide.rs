//! Owns the decision of ImageUpdateAutomation: whether to run. Pure, and called twice in a pass where
//! the remote has to be asked in between.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_api::image_policy::ImageRef;

use crate::failure::{Failure, Problem};
use crate::subject::Life;

/// Where the remote is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// It was not asked yet.
    Unasked,
    /// At this revision.
    At(String),
    /// It could not be asked.
    Failed(Failure),
}

/// The chosen images by policy.
pub(crate) type Policies = BTreeMap<String, ImageRef>;

/// All that the decision is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    /// Where the object is between coming and going.
    pub(crate) life: Life,
    /// `spec.suspend`.
    pub(crate) suspended: bool,
    /// What in the spec stands in the way.
    pub(crate) problem: Option<Problem>,
    /// What in the source stands in the way.
    pub(crate) source: Option<Failure>,
    /// Whether the branch that is pushed is another one than what is checked out.
    pub(crate) switches: bool,
    /// The images that the policies chose.
    pub(crate) policies: Policies,
    /// Those of the last run.
    pub(crate) observed_policies: Policies,
    /// The remote.
    pub(crate) upstream: Upstream,
    /// The revision that the last run left.
    pub(crate) observed_revision: Option<String>,
    /// Whether the last run succeeded, with this generation.
    pub(crate) settled: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Plan {
    /// Let the object go.
    Release,
    /// Nothing: it is going, and does not wait for us.
    LetGo,
    /// Nothing until it is resumed.
    Rest,
    /// Nothing until the object changes.
    Stall(Problem),
    /// Tell of what stands in the way.
    Fail(Failure),
    /// Ask the remote where it is, then decide again.
    Ask,
    /// Nothing: images and revision are those of the last run.
    Keep,
    /// Check out, edit, commit and push.
    Run,
}

/// Decides.
pub(crate) fn decide(seen: &Observation) -> Plan {
    match seen.life {
        Life::Leaving => return Plan::Release,
        Life::Left => return Plan::LetGo,
        Life::Wanted => {}
    }
    if seen.suspended {
        return Plan::Rest;
    }
    if let Some(problem) = &seen.problem {
        return Plan::Stall(problem.clone());
    }
    if let Some(failure) = &seen.source {
        return Plan::Fail(failure.clone());
    }
    // With two branches, one revision does not tell of both.
    if !seen.settled || seen.switches || seen.policies != seen.observed_policies {
        return Plan::Run;
    }
    match &seen.upstream {
        Upstream::Unasked => Plan::Ask,
        Upstream::Failed(failure) => Plan::Fail(failure.clone()),
        Upstream::At(revision) if seen.observed_revision.as_ref() == Some(revision) => Plan::Keep,
        Upstream::At(_) => Plan::Run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Next;

    fn mk_policies(tag: &str) -> Policies {
        let image = ImageRef {
            name: "r/app".into(),
            tag: tag.into(),
            digest: None,
        };
        [("app".to_owned(), image)].into()
    }

    fn mk() -> Observation {
        Observation {
            life: Life::Wanted,
            suspended: false,
            problem: None,
            source: None,
            switches: false,
            policies: mk_policies("1"),
            observed_policies: mk_policies("1"),
            upstream: Upstream::At("main@sha1:a".into()),
            observed_revision: Some("main@sha1:a".into()),
            settled: true,
        }
    }

    #[test]
    fn it_runs_when_something_changed() {
        let base = mk();
        let failure = Failure::new("GitOperationFailed", "no", Next::Backoff);
        let problem = Problem::unsupported("x");
        for (seen, plan) in [
            (base.clone(), Plan::Keep),
            (
                Observation {
                    upstream: Upstream::Unasked,
                    ..base.clone()
                },
                Plan::Ask,
            ),
            (
                Observation {
                    upstream: Upstream::At("main@sha1:b".into()),
                    ..base.clone()
                },
                Plan::Run,
            ),
            (
                Observation {
                    upstream: Upstream::Failed(failure.clone()),
                    ..base.clone()
                },
                Plan::Fail(failure.clone()),
            ),
            (
                Observation {
                    policies: mk_policies("2"),
                    upstream: Upstream::Unasked,
                    ..base.clone()
                },
                Plan::Run,
            ),
            (
                Observation {
                    settled: false,
                    upstream: Upstream::Unasked,
                    ..base.clone()
                },
                Plan::Run,
            ),
            (
                Observation {
                    switches: true,
                    ..base.clone()
                },
                Plan::Run,
            ),
            (
                Observation {
                    source: Some(failure.clone()),
                    settled: false,
                    ..base.clone()
                },
                Plan::Fail(failure),
            ),
            (
                Observation {
                    problem: Some(problem.clone()),
                    ..base.clone()
                },
                Plan::Stall(problem.clone()),
            ),
            (
                Observation {
                    problem: Some(problem),
                    suspended: true,
                    ..base.clone()
                },
                Plan::Rest,
            ),
            (
                Observation {
                    life: Life::Leaving,
                    ..base.clone()
                },
                Plan::Release,
            ),
            (
                Observation {
                    life: Life::Left,
                    ..base
                },
                Plan::LetGo,
            ),
        ] {
            assert_eq!(decide(&seen), plan, "{seen:?}");
        }
    }
}
