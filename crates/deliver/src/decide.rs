//! Owns the rules: what comes next for a Kustomization, given what is seen. Pure.

use serde::Serialize;
use weir_api::names::reason;

use crate::spec::Problem;

/// Everything a decision is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observation {
    /// Whether deletion was asked for.
    pub(crate) deleting: bool,
    /// Whether our finalizer is on it.
    pub(crate) finalizer: bool,
    /// Whether it is suspended.
    pub(crate) suspended: bool,
    /// Why it cannot be worked on, if it can't.
    pub(crate) problem: Option<Problem>,
    /// The source.
    pub(crate) source: Source,
    /// The first dependency that is not ready, with the reason.
    pub(crate) unready: Option<String>,
}

/// What is seen of the source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// It does not exist.
    Missing(String),
    /// It has no artifact yet.
    Empty(String),
    /// It has this artifact.
    At(Artifact),
}

/// The artifact to build from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Artifact {
    pub(crate) revision: String,
    pub(crate) url: String,
    pub(crate) digest: String,
    /// The revision of what the artifact was built from.
    pub(crate) origin: Option<String>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "plan", rename_all = "camelCase")]
pub(crate) enum Plan {
    /// It is being deleted and our finalizer is on it: take away what it applied, then let it go.
    Release,
    /// It is being deleted and is not ours to hold.
    Leave,
    /// Put our finalizer on it before anything is applied, so that nothing is left behind.
    Adopt,
    /// It is suspended.
    Rest,
    /// Only a change of the object can help.
    Stall(Problem),
    /// Something else has to happen first; its event continues.
    Await {
        /// The condition's reason.
        reason: &'static str,
        /// What is waited for.
        message: String,
    },
    /// Build and apply this artifact.
    Apply(Artifact),
}

/// Decides. Letting go comes before everything, and the finalizer before anything is applied.
pub(crate) fn decide(seen: &Observation) -> Plan {
    if seen.deleting {
        return if seen.finalizer {
            Plan::Release
        } else {
            Plan::Leave
        };
    }
    if !seen.finalizer {
        return Plan::Adopt;
    }
    if seen.suspended {
        return Plan::Rest;
    }
    if let Some(problem) = &seen.problem {
        return Plan::Stall(problem.clone());
    }
    let artifact = match &seen.source {
        Source::Missing(message) | Source::Empty(message) => {
            return Plan::Await {
                reason: reason::ARTIFACT_FAILED,
                message: message.clone(),
            };
        }
        Source::At(artifact) => artifact,
    };
    match &seen.unready {
        Some(message) => Plan::Await {
            reason: reason::DEPENDENCY_NOT_READY,
            message: message.clone(),
        },
        None => Plan::Apply(artifact.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact() -> Artifact {
        let text = |t: &str| t.to_owned();
        Artifact {
            revision: text("main@sha1:a"),
            url: text("http://a"),
            digest: text("d"),
            origin: None,
        }
    }

    fn ready() -> Observation {
        Observation {
            deleting: false,
            finalizer: true,
            suspended: false,
            problem: None,
            source: Source::At(artifact()),
            unready: None,
        }
    }

    #[test]
    fn each_fact_leads_to_its_plan() {
        let problem = Problem {
            reason: "Unsupported",
            message: "x".to_owned(),
        };
        for (change, expected) in [
            (ready(), Plan::Apply(artifact())),
            (
                Observation {
                    deleting: true,
                    suspended: true,
                    ..ready()
                },
                Plan::Release,
            ),
            (
                Observation {
                    deleting: true,
                    finalizer: false,
                    ..ready()
                },
                Plan::Leave,
            ),
            (
                Observation {
                    finalizer: false,
                    suspended: true,
                    ..ready()
                },
                Plan::Adopt,
            ),
            (
                Observation {
                    suspended: true,
                    problem: Some(problem.clone()),
                    ..ready()
                },
                Plan::Rest,
            ),
            (
                Observation {
                    problem: Some(problem.clone()),
                    ..ready()
                },
                Plan::Stall(problem),
            ),
            (
                Observation {
                    source: Source::Missing("s".into()),
                    unready: Some("d".into()),
                    ..ready()
                },
                Plan::Await {
                    reason: "ArtifactFailed",
                    message: "s".into(),
                },
            ),
            (
                Observation {
                    unready: Some("d".into()),
                    ..ready()
                },
                Plan::Await {
                    reason: "DependencyNotReady",
                    message: "d".into(),
                },
            ),
        ] {
            assert_eq!(decide(&change), expected);
        }
    }
}
