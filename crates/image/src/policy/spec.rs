//! Owns reading an ImagePolicy's spec: which tags are compared and how, or which field stands in the
//! way.

use std::time::Duration;

use weir_api::image_policy::{Order, ReflectionPolicy, Spec};
use weir_api::names::reason;
use weir_gocompat::{GoRegex, VersionRange};

use crate::trouble::Trouble;

const SHORTEST: Duration = Duration::from_secs(1);

/// The order in which the last one is chosen.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// The highest version in the range.
    Semver(VersionRange),
    /// The last as text.
    Alphabetical(Order),
    /// The last as a number.
    Numerical(Order),
}

/// Which tags are considered, and what of them is compared.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// A tag must match it.
    pub(crate) pattern: GoRegex,
    /// What is compared in place of the tag.
    pub(crate) extract: Option<String>,
}

/// Whether digests are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reflection {
    /// No.
    Never,
    /// Once for each tag.
    IfNotPresent,
    /// Again and again.
    Always(Duration),
}

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) rule: Rule,
    pub(crate) filter: Option<Filter>,
    pub(crate) reflection: Reflection,
}

/// Reads the spec. Where several orders are given, the first in the order of the API counts.
pub(crate) fn wanted(spec: &Spec) -> Result<Wanted, Trouble> {
    let invalid = |field: &str, what: String| {
        let message = format!("`spec.{field}` cannot be used: {what}; correct it");
        Trouble::stalled(reason::INVALID_POLICY, message)
    };
    let policy = &spec.policy;
    let rule = if let Some(semver) = &policy.semver {
        let range = VersionRange::parse(&semver.range).map_err(|e| {
            let what = format!("`{}` is no range of versions: {e}", semver.range);
            invalid("policy.semver.range", what)
        })?;
        Rule::Semver(range)
    } else if let Some(alphabetical) = &policy.alphabetical {
        Rule::Alphabetical(alphabetical.order.unwrap_or_default())
    } else if let Some(numerical) = &policy.numerical {
        Rule::Numerical(numerical.order.unwrap_or_default())
    } else {
        let what = "it has none of `semver`, `alphabetical` and `numerical`";
        return Err(invalid("policy", what.to_owned()));
    };
    let filter = spec.filter_tags.as_ref().map(|filter| {
        let pattern = filter.pattern.as_deref().unwrap_or_default();
        let extract = filter.extract.clone().filter(|text| !text.is_empty());
        match GoRegex::parse(pattern) {
            Ok(pattern) => Ok(Filter { pattern, extract }),
            Err(e) => Err(invalid(
                "filterTags.pattern",
                format!("`{pattern}` is no regular expression: {e}"),
            )),
        }
    });
    let reflection = match (
        spec.digest_reflection_policy.unwrap_or_default(),
        &spec.interval,
    ) {
        (ReflectionPolicy::Never, _) => Reflection::Never,
        (ReflectionPolicy::IfNotPresent, _) => Reflection::IfNotPresent,
        (ReflectionPolicy::Always, Some(interval)) => {
            let interval = interval
                .get()
                .map_err(|e| Trouble::invalid("spec.interval", &e))?;
            Reflection::Always(interval.max(SHORTEST))
        }
        (ReflectionPolicy::Always, None) => {
            let message = "`spec.interval` is not set, which `spec.digestReflectionPolicy: Always` \
                           needs; set it";
            return Err(Trouble::stalled("IntervalNotConfigured", message));
        }
    };
    Ok(Wanted {
        rule,
        filter: filter.transpose()?,
        reflection,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::image_policy::{PolicyChoice, SemverPolicy, TagFilter};

    fn mk_spec(range: &str) -> Spec {
        let semver = Some(SemverPolicy {
            range: range.into(),
        });
        Spec {
            policy: PolicyChoice {
                semver,
                ..PolicyChoice::default()
            },
            ..Spec::default()
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let told = |spec: Spec| {
            let trouble = wanted(&spec).expect_err("trouble");
            format!("{}: {}", trouble.reason, trouble.message)
        };
        let text = told(mk_spec("not a range"));
        assert!(
            text.starts_with("InvalidPolicy: `spec.policy.semver.range`"),
            "{text}"
        );
        assert!(told(Spec::default()).starts_with("InvalidPolicy: `spec.policy`"));
        let filter = Some(TagFilter {
            pattern: Some("(".into()),
            extract: None,
        });
        let text = told(Spec {
            filter_tags: filter,
            ..mk_spec("*")
        });
        assert!(
            text.starts_with("InvalidPolicy: `spec.filterTags.pattern`"),
            "{text}"
        );
        let always = Spec {
            digest_reflection_policy: Some(ReflectionPolicy::Always),
            ..mk_spec("*")
        };
        assert!(told(always.clone()).starts_with("IntervalNotConfigured"));
        let timed = Spec {
            interval: Some("1m".into()),
            ..always
        };
        let read = wanted(&timed).expect("a spec").reflection;
        assert_eq!(read, Reflection::Always(Duration::from_mins(1)));
    }
}
