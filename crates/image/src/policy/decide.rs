//! Owns the decision of an ImagePolicy. Pure, and called twice in a pass where a digest has to be
//! looked up in between.

use std::sync::Arc;

use serde::Serialize;
use weir_api::image_policy::ImageRef;
use weir_api::names::reason;
use weir_object::Key;

use super::choose::{NoTag, choose};
use super::spec::{Reflection, Rule, Wanted};
use crate::desk::Facts;
use crate::trouble::{Next, Trouble};

/// What there is to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// The ImageRepository is not there.
    NoRepository,
    /// The ImageRepository is another namespace's and does not let this one in.
    Denied,
    /// There are no tags, or none yet.
    None,
    /// These tags.
    Of {
        /// The image's name as it is written.
        image: String,
        /// Its tags.
        tags: Arc<[String]>,
    },
}

/// The chosen tag's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    /// It was not asked for yet.
    Unasked,
    /// This one.
    Known(String),
    /// It could not be had.
    Failed(Trouble),
}

/// All that the decision is made of.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    /// What the object says about itself.
    pub(crate) facts: Facts,
    /// What is wanted, or what in the spec stands in the way.
    pub(crate) wanted: Result<Wanted, Trouble>,
    /// Which ImageRepository it refers to.
    pub(crate) repository: Key,
    /// What there is to choose from.
    pub(crate) scan: Scan,
    /// What was chosen last.
    pub(crate) latest: Option<ImageRef>,
    /// The digest.
    pub(crate) digest: Digest,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) enum Plan {
    /// Let the object go.
    Release,
    /// Nothing: the object is going.
    LetGo,
    /// Nothing until it is resumed; the choice stays.
    Rest,
    /// Nothing: the choice stands, and a scan is on its way.
    Await,
    /// Tell why there is no choice; an earlier one stays.
    Fail(Trouble),
    /// Ask for this image's digest, then decide again.
    Ask(ImageRef),
    /// Record this choice.
    Settle(ImageRef),
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
    let wanted = match &seen.wanted {
        Ok(wanted) => wanted,
        Err(trouble) => return Plan::Fail(trouble.clone()),
    };
    let repository = &seen.repository;
    let wait = |reason, message: String| Plan::Fail(Trouble::new(reason, Next::Event, message));
    let (image, tags) = match &seen.scan {
        Scan::Of { image, tags } => (image, tags),
        Scan::NoRepository => {
            let message = format!(
                "the ImageRepository `{repository}` was not found; create it, or correct \
                 `spec.imageRepositoryRef`"
            );
            return wait(reason::DEPENDENCY_NOT_READY, message);
        }
        Scan::Denied => {
            let message = format!(
                "the ImageRepository `{repository}` does not let this namespace in; add the \
                 namespace's labels to its `spec.accessFrom`"
            );
            return wait(reason::ACCESS_DENIED, message);
        }
        Scan::None if facts.settled && seen.latest.is_some() => return Plan::Await,
        Scan::None => {
            let message = format!(
                "no tags of the ImageRepository `{repository}` yet; see its own conditions if this \
                 lasts"
            );
            return wait(reason::DEPENDENCY_NOT_READY, message);
        }
    };
    let tag = match choose(&wanted.rule, wanted.filter.as_ref(), tags) {
        Ok(tag) => tag,
        Err(none) => return wait(reason::FAILED, why_none(image, &wanted.rule, &none)),
    };
    let mut chosen = ImageRef {
        name: image.clone(),
        tag: tag.to_owned(),
        digest: None,
    };
    let same = seen
        .latest
        .as_ref()
        .filter(|latest| latest.name == chosen.name && latest.tag == chosen.tag);
    match (&wanted.reflection, &seen.digest) {
        (Reflection::Never, _) => Plan::Settle(chosen),
        (Reflection::IfNotPresent, Digest::Unasked)
            if same.is_some_and(|latest| latest.digest.is_some()) =>
        {
            chosen.digest = same.and_then(|latest| latest.digest.clone());
            Plan::Settle(chosen)
        }
        (_, Digest::Unasked) => Plan::Ask(chosen),
        (_, Digest::Known(digest)) => {
            chosen.digest = Some(digest.clone());
            Plan::Settle(chosen)
        }
        (_, Digest::Failed(trouble)) => Plan::Fail(trouble.clone()),
    }
}

fn why_none(image: &str, rule: &Rule, none: &NoTag) -> String {
    let NoTag {
        tags,
        filtered,
        comparable,
    } = none;
    if *filtered == 0 {
        return format!(
            "none of the {tags} tags of `{image}` matches `spec.filterTags.pattern`; push one that \
             does, or correct the pattern"
        );
    }
    let what = match rule {
        Rule::Semver(_) if *comparable == 0 => "is a version of three numbers".to_owned(),
        Rule::Semver(range) => format!("is a version in the range `{}`", range.original()),
        Rule::Numerical(_) => "is a number".to_owned(),
        Rule::Alphabetical(_) => "can be compared".to_owned(),
    };
    format!(
        "none of the {filtered} tags of `{image}` that count {what}; push one that is, or correct \
         `spec.policy`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_gocompat::VersionRange;

    fn mk_seen() -> Observation {
        let range = VersionRange::parse("1.x").expect("a range");
        Observation {
            facts: Facts {
                deleting: false,
                finalizer: false,
                suspended: false,
                asked: false,
                settled: true,
            },
            wanted: Ok(Wanted {
                rule: Rule::Semver(range),
                filter: None,
                reflection: Reflection::Never,
            }),
            repository: Key::new("demo", "app"),
            scan: mk_scan(&["1.1.0", "1.0.0"]),
            latest: None,
            digest: Digest::Unasked,
        }
    }

    fn mk_scan(tags: &[&str]) -> Scan {
        Scan::Of {
            image: "r/app".into(),
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        }
    }

    fn mk_image(tag: &str, digest: Option<&str>) -> ImageRef {
        ImageRef {
            name: "r/app".into(),
            tag: tag.into(),
            digest: digest.map(str::to_owned),
        }
    }

    fn told(seen: &Observation) -> String {
        match decide(seen) {
            Plan::Fail(t) => format!("{} {:?}: {}", t.reason, t.next, t.message),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_highest_is_settled() {
        assert_eq!(decide(&mk_seen()), Plan::Settle(mk_image("1.1.0", None)));
    }

    #[test]
    fn what_is_missing_is_told_and_waited_for() {
        let mut seen = mk_seen();
        for (scan, expected) in [
            (
                Scan::NoRepository,
                "DependencyNotReady Event: the ImageRepository `demo/app`",
            ),
            (
                Scan::Denied,
                "AccessDenied Event: the ImageRepository `demo/app`",
            ),
            (Scan::None, "DependencyNotReady Event: no tags"),
            (
                mk_scan(&["2.0.0"]),
                "Failed Event: none of the 1 tags of `r/app` that count is a version in the range `1.x`",
            ),
            (
                mk_scan(&["latest"]),
                "Failed Event: none of the 1 tags of `r/app` that count is a version of three",
            ),
        ] {
            seen.scan = scan;
            let text = told(&seen);
            assert!(text.starts_with(expected), "{text}");
        }
        // After a restart the choice stands until the tags are there again.
        seen.scan = Scan::None;
        seen.latest = Some(mk_image("1.0.0", None));
        assert_eq!(decide(&seen), Plan::Await);
        seen.facts.settled = false;
        assert!(told(&seen).starts_with("DependencyNotReady"));
    }

    #[test]
    fn a_digest_is_asked_for_when_it_is_wanted() {
        let mut seen = mk_seen();
        let reflect = |seen: &mut Observation, reflection| {
            if let Ok(wanted) = &mut seen.wanted {
                wanted.reflection = reflection;
            }
        };
        reflect(&mut seen, Reflection::IfNotPresent);
        assert_eq!(decide(&seen), Plan::Ask(mk_image("1.1.0", None)));
        seen.latest = Some(mk_image("1.1.0", Some("sha256:a")));
        assert_eq!(
            decide(&seen),
            Plan::Settle(mk_image("1.1.0", Some("sha256:a")))
        );
        seen.latest = Some(mk_image("1.0.0", Some("sha256:a")));
        assert_eq!(decide(&seen), Plan::Ask(mk_image("1.1.0", None)));
        reflect(
            &mut seen,
            Reflection::Always(std::time::Duration::from_mins(1)),
        );
        seen.latest = Some(mk_image("1.1.0", Some("sha256:a")));
        assert_eq!(decide(&seen), Plan::Ask(mk_image("1.1.0", None)));
        seen.digest = Digest::Known("sha256:b".into());
        assert_eq!(
            decide(&seen),
            Plan::Settle(mk_image("1.1.0", Some("sha256:b")))
        );
        let trouble = Trouble::new("ReadOperationFailed", Next::Backoff, "no");
        seen.digest = Digest::Failed(trouble.clone());
        assert_eq!(decide(&seen), Plan::Fail(trouble));
    }

    #[test]
    fn what_stands_before_a_choice_is_heeded() {
        let mut seen = mk_seen();
        let trouble = Trouble::stalled("InvalidPolicy", "no");
        seen.wanted = Err(trouble.clone());
        assert_eq!(decide(&seen), Plan::Fail(trouble));
        seen.facts.suspended = true;
        assert_eq!(decide(&seen), Plan::Rest);
        seen.facts.deleting = true;
        assert_eq!(decide(&seen), Plan::LetGo);
        seen.facts.finalizer = true;
        assert_eq!(decide(&seen), Plan::Release);
    }
}
