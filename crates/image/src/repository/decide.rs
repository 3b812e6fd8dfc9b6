//! Owns the decision whether an ImageRepository is scanned now. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::desk::Facts;
use crate::trouble::Trouble;

/// With less than this left, waiting is not worth it.
const ALMOST: Duration = Duration::from_secs(1);

/// All that the decision is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    /// What the object says about itself.
    pub(crate) facts: Facts,
    /// What in the spec stands in the way.
    pub(crate) problem: Option<Trouble>,
    /// This process has the tags of a scan.
    pub(crate) held: bool,
    /// The last scan was of another image.
    pub(crate) other_image: bool,
    /// The last scan left out other tags.
    pub(crate) other_rules: bool,
    /// How long until the next scan; `None` before the first.
    pub(crate) due: Option<Duration>,
}

/// Why the registry is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Why {
    /// It never was.
    First,
    /// Somebody asks.
    Asked,
    /// The image is another one.
    OtherImage,
    /// The exclusions are others.
    OtherRules,
    /// The last scan failed, or was of another generation.
    Unsettled,
    /// This process has no tags yet, as after a restart.
    NothingHeld,
    /// It is time.
    Due,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Plan {
    /// Let the object go.
    Release,
    /// Nothing: the object is going.
    LetGo,
    /// Nothing until it is resumed; the tags stay.
    Rest,
    /// Nothing until the object changes.
    Stall(Trouble),
    /// Ask the registry.
    Scan(Why),
    /// Nothing until the next scan is due.
    Keep {
        /// How long.
        next: Duration,
    },
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
        return Plan::Stall(problem.clone());
    }
    let Some(due) = seen.due else {
        return Plan::Scan(Why::First);
    };
    let whys = [
        (facts.asked, Why::Asked),
        (seen.other_image, Why::OtherImage),
        (seen.other_rules, Why::OtherRules),
        (!facts.settled, Why::Unsettled),
        (!seen.held, Why::NothingHeld),
        (due < ALMOST, Why::Due),
    ];
    match whys.iter().find(|(holds, _)| *holds) {
        Some((_, why)) => Plan::Scan(*why),
        None => Plan::Keep { next: due },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            held: true,
            other_image: false,
            other_rules: false,
            due: Some(Duration::from_secs(30)),
        }
    }

    #[test]
    fn a_scan_has_a_reason() {
        let with = |change: &dyn Fn(&mut Observation)| {
            let mut seen = mk_seen();
            change(&mut seen);
            decide(&seen)
        };
        let next = Duration::from_secs(30);
        assert_eq!(with(&|_| {}), Plan::Keep { next });
        assert_eq!(with(&|s| s.due = None), Plan::Scan(Why::First));
        assert_eq!(with(&|s| s.facts.asked = true), Plan::Scan(Why::Asked));
        assert_eq!(with(&|s| s.other_image = true), Plan::Scan(Why::OtherImage));
        assert_eq!(with(&|s| s.other_rules = true), Plan::Scan(Why::OtherRules));
        assert_eq!(
            with(&|s| s.facts.settled = false),
            Plan::Scan(Why::Unsettled)
        );
        assert_eq!(with(&|s| s.held = false), Plan::Scan(Why::NothingHeld));
        let almost = Duration::from_millis(900);
        assert_eq!(with(&|s| s.due = Some(almost)), Plan::Scan(Why::Due));
    }

    #[test]
    fn what_stands_before_a_scan_is_heeded() {
        let mut seen = mk_seen();
        seen.facts.asked = true;
        let trouble = Trouble::unsupported("spec.provider");
        seen.problem = Some(trouble.clone());
        assert_eq!(decide(&seen), Plan::Stall(trouble));
        seen.facts.suspended = true;
        assert_eq!(decide(&seen), Plan::Rest);
        seen.facts.deleting = true;
        assert_eq!(decide(&seen), Plan::LetGo);
        seen.facts.finalizer = true;
        assert_eq!(decide(&seen), Plan::Release);
    }
}
