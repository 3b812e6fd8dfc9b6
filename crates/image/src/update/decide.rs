//! Owns the decision of an ImageUpdateAutomation. Pure, and called twice in a pass where the remote
//! has to be asked in between.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_api::image_policy::ImageRef;

use crate::desk::Facts;
use crate::trouble::Trouble;

/// Where the remote is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// It was not asked yet.
    Unasked,
    /// The revision to check out, and the branch to push to where that is another one.
    At {
        /// Such as `main@sha1:…`.
        revision: String,
        /// Whether pushes go to another branch.
        switched: bool,
        /// The commit that the branch to push to is at.
        tip: Option<String>,
    },
    /// It could not be asked.
    Failed(Trouble),
}

/// All that the decision is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observation {
    /// What the object says about itself.
    pub(crate) facts: Facts,
    /// What in the spec or in the source stands in the way.
    pub(crate) problem: Option<Trouble>,
    /// The policies' choices, by name.
    pub(crate) policies: BTreeMap<String, ImageRef>,
    /// The choices that the manifests were last compared with.
    pub(crate) observed_policies: BTreeMap<String, ImageRef>,
    /// The revision that they were last compared at.
    pub(crate) observed_revision: Option<String>,
    /// The last pushed commit.
    pub(crate) pushed: Option<String>,
    /// The remote.
    pub(crate) upstream: Upstream,
}

/// Why the manifests are compared with the policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Why {
    /// The spec is new, or the last pass failed.
    Unsettled,
    /// Somebody asks.
    Asked,
    /// A policy chose another image, or came or went.
    NewImages,
    /// The repository moved.
    NewRevision,
    /// The branch to push to moved.
    OtherTip,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Plan {
    /// Let the object go.
    Release,
    /// Nothing: the object is going.
    LetGo,
    /// Nothing until it is resumed.
    Rest,
    /// Tell why there is no update.
    Fail(Trouble),
    /// Ask the remote where it is, then decide again.
    Ask,
    /// Nothing: the manifests were compared with these images at this revision.
    Keep,
    /// Check out, set the marks, and push a commit where something changed.
    Run(Why),
}

/// Decides.
pub(crate) fn decide(seen: &Observation) -> Plan {
    let facts = &seen.facts;
    match (facts.deleting, facts.finalizer, facts.suspended) {
        (true, true, _) => return Plan::Release,
        (true, false, _) => return Plan::LetGo,
        (false, _, true) => return Plan::Rest,
        (false, _, false) => {}
    }
    if let Some(problem) = &seen.problem {
        return Plan::Fail(problem.clone());
    }
    let (revision, switched, tip) = match &seen.upstream {
        Upstream::Unasked => return Plan::Ask,
        Upstream::Failed(trouble) => return Plan::Fail(trouble.clone()),
        Upstream::At {
            revision,
            switched,
            tip,
        } => (revision, *switched, tip),
    };
    let whys = [
        (!facts.settled, Why::Unsettled),
        (facts.asked, Why::Asked),
        (seen.policies != seen.observed_policies, Why::NewImages),
        (
            seen.observed_revision.as_ref() != Some(revision),
            Why::NewRevision,
        ),
        (switched && *tip != seen.pushed, Why::OtherTip),
    ];
    match whys.iter().find(|(holds, _)| *holds) {
        Some((_, why)) => Plan::Run(*why),
        None => Plan::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_policies(tag: &str) -> BTreeMap<String, ImageRef> {
        let image = ImageRef {
            name: "r/app".into(),
            tag: tag.into(),
            digest: None,
        };
        BTreeMap::from([("app".to_owned(), image)])
    }

    fn mk_upstream(oid: &str) -> Upstream {
        Upstream::At {
            revision: format!("main@sha1:{oid}"),
            switched: false,
            tip: Some(oid.to_owned()),
        }
    }

    fn mk_seen() -> Observation {
        Observation {
            facts: Facts {
                deleting: false,
                finalizer: false,
                suspended: false,
                asked: false,
                settled: true,
            },
            problem: None,
            policies: mk_policies("1"),
            observed_policies: mk_policies("1"),
            observed_revision: Some("main@sha1:a".into()),
            pushed: None,
            upstream: mk_upstream("a"),
        }
    }

    #[test]
    fn nothing_new_is_nothing_to_do() {
        assert_eq!(decide(&mk_seen()), Plan::Keep);
        let unasked = Observation {
            upstream: Upstream::Unasked,
            ..mk_seen()
        };
        assert_eq!(decide(&unasked), Plan::Ask);
    }

    #[test]
    fn a_run_has_a_reason() {
        let with = |change: &dyn Fn(&mut Observation)| {
            let mut seen = mk_seen();
            change(&mut seen);
            decide(&seen)
        };
        assert_eq!(
            with(&|s| s.facts.settled = false),
            Plan::Run(Why::Unsettled)
        );
        assert_eq!(with(&|s| s.facts.asked = true), Plan::Run(Why::Asked));
        assert_eq!(
            with(&|s| s.policies = mk_policies("2")),
            Plan::Run(Why::NewImages)
        );
        assert_eq!(with(&|s| s.policies.clear()), Plan::Run(Why::NewImages));
        assert_eq!(
            with(&|s| s.upstream = mk_upstream("b")),
            Plan::Run(Why::NewRevision)
        );
        let other = |tip: Option<&str>| Upstream::At {
            revision: "main@sha1:a".into(),
            switched: true,
            tip: tip.map(str::to_owned),
        };
        assert_eq!(with(&|s| s.upstream = other(None)), Plan::Keep);
        assert_eq!(
            with(&|s| s.upstream = other(Some("x"))),
            Plan::Run(Why::OtherTip)
        );
        let pushed = |s: &mut Observation| {
            s.pushed = Some("x".into());
            s.upstream = other(Some("x"));
        };
        assert_eq!(with(&pushed), Plan::Keep);
    }

    #[test]
    fn what_stands_before_a_run_is_heeded() {
        let mut seen = mk_seen();
        seen.facts.asked = true;
        let trouble = Trouble::unsupported("spec.git.push.options");
        seen.upstream = Upstream::Failed(trouble.clone());
        assert_eq!(decide(&seen), Plan::Fail(trouble.clone()));
        seen.upstream = Upstream::Unasked;
        seen.problem = Some(trouble.clone());
        assert_eq!(decide(&seen), Plan::Fail(trouble));
        seen.facts.suspended = true;
        assert_eq!(decide(&seen), Plan::Rest);
        seen.facts.deleting = true;
        assert_eq!(decide(&seen), Plan::LetGo);
        seen.facts.finalizer = true;
        assert_eq!(decide(&seen), Plan::Release);
    }
}
