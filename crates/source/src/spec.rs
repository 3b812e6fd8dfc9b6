//! Owns reading a GitRepository's spec: what is wanted of the remote, or which field stands in the
//! way. A field that is not supported is refused by name; ignoring it could serve what was never
//! meant to be served.

use std::time::Duration;

use serde::Serialize;
use weir_api::git_repository::{Provider, Reference as SpecReference, Spec};
use weir_api::names::reason;
use weir_git::{Reference, Remote, RemoteRef};
use weir_gocompat::{Version, VersionRange};

/// The branch where the spec names nothing.
const DEFAULT_BRANCH: &str = "master";
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// A shorter interval would only load the server.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// What must change in the object before work can go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// One word.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) message: String,
}

/// Which revision.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    /// The one a reference leads to.
    Exact(Reference),
    /// The highest tag in a range of versions.
    Range(VersionRange),
}

/// What is wanted of the remote.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Where, without the Secret's credentials.
    pub(crate) remote: Remote,
    /// Which revision.
    pub(crate) choice: Choice,
    /// How often.
    pub(crate) interval: Duration,
}

/// Reads the spec.
pub(crate) fn wanted(spec: &Spec) -> Result<Wanted, Problem> {
    if let Some(field) = unsupported(spec) {
        let message =
            format!("`spec.{field}` is not supported by this version; remove it to go on");
        return Err(Problem {
            reason: reason::UNSUPPORTED,
            message,
        });
    }
    let invalid = |field: &str, what: &dyn std::fmt::Display| Problem {
        reason: reason::FAILED,
        message: format!("`spec.{field}` cannot be used: {what}"),
    };
    let interval = spec.interval.get().map_err(|e| invalid("interval", &e))?;
    let timeout = spec
        .timeout
        .as_ref()
        .map_or(Ok(DEFAULT_TIMEOUT), |timeout| {
            timeout.get().map_err(|e| invalid("timeout", &e))
        })?;
    if timeout.is_zero() {
        return Err(invalid("timeout", &"it must be more than nothing"));
    }
    let remote = Remote::new(&spec.url)
        .map_err(|e| Problem {
            reason: reason::URL_INVALID,
            message: e.to_string(),
        })?
        .timeout(timeout);
    let choice = choice(spec.reference.as_ref()).map_err(|e| invalid("ref", &e))?;
    if let Choice::Exact(reference) = &choice {
        reference.validate().map_err(|e| invalid("ref", &e))?;
    }
    Ok(Wanted {
        remote,
        choice,
        interval: interval.max(SHORTEST_INTERVAL),
    })
}

/// The first field set that is not supported.
fn unsupported(spec: &Spec) -> Option<&'static str> {
    let fields = [
        ("verify", spec.verify.is_some()),
        ("proxySecretRef", spec.proxy_secret_ref.is_some()),
        (
            "provider",
            spec.provider.is_some_and(|p| p != Provider::Generic),
        ),
        ("serviceAccountName", spec.service_account_name.is_some()),
        ("recurseSubmodules", spec.recurse_submodules),
        ("include", !spec.include.is_empty()),
        ("sparseCheckout", !spec.sparse_checkout.is_empty()),
    ];
    fields
        .into_iter()
        .find(|(_, set)| *set)
        .map(|(name, _)| name)
}

/// The order in which the fields count is that of existing controllers, where a tag goes before a
/// range.
fn choice(reference: Option<&SpecReference>) -> Result<Choice, String> {
    let none = SpecReference::default();
    let given = reference.unwrap_or(&none);
    let set = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    if let Some(oid) = set(&given.commit) {
        return Ok(Choice::Exact(Reference::Commit {
            oid,
            branch: set(&given.branch),
        }));
    }
    if let Some(name) = set(&given.name) {
        return Ok(Choice::Exact(Reference::Name(name)));
    }
    if let Some(tag) = set(&given.tag) {
        return Ok(Choice::Exact(Reference::Tag(tag)));
    }
    if let Some(range) = set(&given.semver) {
        return VersionRange::parse(&range)
            .map(Choice::Range)
            .map_err(|e| e.to_string());
    }
    let branch = set(&given.branch).unwrap_or_else(|| DEFAULT_BRANCH.to_owned());
    Ok(Choice::Exact(Reference::Branch(branch)))
}

/// The highest tag in the range; of tags of one version, the last by name.
pub(crate) fn highest(range: &VersionRange, refs: &[RemoteRef]) -> Option<String> {
    refs.iter()
        .filter_map(|r| r.name.strip_prefix("refs/tags/"))
        .filter_map(|tag| Some((Version::parse(tag).ok()?, tag)))
        .filter(|(version, _)| range.check(version))
        .max_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.cmp(y)))
        .map(|(_, tag)| tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::LocalObjectReference;
    use weir_api::git_repository::{Include, Verification};

    fn mk_spec() -> Spec {
        Spec {
            url: "http://git/config.git".into(),
            interval: "1m".into(),
            ..Spec::default()
        }
    }

    fn chosen(given: SpecReference) -> String {
        match wanted(&Spec {
            reference: Some(given),
            ..mk_spec()
        })
        .expect("a spec")
        .choice
        {
            Choice::Exact(reference) => reference.to_string(),
            Choice::Range(range) => format!("range {}", range.original()),
        }
    }

    #[test]
    fn the_order_of_references_is_the_known_one() {
        let text = |text: &str| Some(text.to_owned());
        let oid = "0123456789abcdef0123456789abcdef01234567";
        let mut all = SpecReference {
            branch: text("dev"),
            tag: text("v1"),
            semver: text(">=1"),
            name: text("refs/pull/1/head"),
            commit: text(oid),
        };
        assert_eq!(
            chosen(all.clone()),
            format!("commit `{oid}` of branch `dev`")
        );
        all.commit = None;
        assert_eq!(chosen(all.clone()), "reference `refs/pull/1/head`");
        all.name = None;
        assert_eq!(chosen(all.clone()), "tag `v1`");
        all.tag = None;
        assert_eq!(chosen(all.clone()), "range >=1");
        all.semver = text("");
        assert_eq!(chosen(all.clone()), "branch `dev`");
        assert_eq!(chosen(SpecReference::default()), "branch `master`");
    }

    #[test]
    fn each_field_that_stands_in_the_way_is_named() {
        let spec = mk_spec;
        let some = || Some(LocalObjectReference::new("x"));
        for (spec, reason, named) in [
            (
                Spec {
                    proxy_secret_ref: some(),
                    ..spec()
                },
                "Unsupported",
                "spec.proxySecretRef",
            ),
            (
                Spec {
                    verify: Some(Verification::default()),
                    ..spec()
                },
                "Unsupported",
                "spec.verify",
            ),
            (
                Spec {
                    provider: Some(Provider::Azure),
                    ..spec()
                },
                "Unsupported",
                "spec.provider",
            ),
            (
                Spec {
                    recurse_submodules: true,
                    ..spec()
                },
                "Unsupported",
                "spec.recurseSubmodules",
            ),
            (
                Spec {
                    include: vec![Include::default()],
                    ..spec()
                },
                "Unsupported",
                "spec.include",
            ),
            (
                Spec {
                    sparse_checkout: vec!["a".into()],
                    ..spec()
                },
                "Unsupported",
                "spec.sparseCheckout",
            ),
            (
                Spec {
                    url: "ssh://git@a/b".into(),
                    ..spec()
                },
                "URLInvalid",
                "ssh",
            ),
            (
                Spec {
                    url: "nonsense".into(),
                    ..spec()
                },
                "URLInvalid",
                "nonsense",
            ),
            (
                Spec {
                    interval: "soon".into(),
                    ..spec()
                },
                "Failed",
                "spec.interval",
            ),
            (
                Spec {
                    timeout: Some("0s".into()),
                    ..spec()
                },
                "Failed",
                "spec.timeout",
            ),
            (
                Spec {
                    reference: Some(SpecReference {
                        branch: Some("a b".into()),
                        ..Default::default()
                    }),
                    ..spec()
                },
                "Failed",
                "spec.ref",
            ),
            (
                Spec {
                    reference: Some(SpecReference {
                        semver: Some("x y".into()),
                        ..Default::default()
                    }),
                    ..spec()
                },
                "Failed",
                "spec.ref",
            ),
        ] {
            let problem = wanted(&spec).expect_err("a problem");
            assert_eq!(problem.reason, reason, "{}", problem.message);
            assert!(problem.message.contains(named), "{}", problem.message);
        }
        let generic = Spec {
            provider: Some(Provider::Generic),
            ..spec()
        };
        assert!(wanted(&generic).is_ok());
    }

    #[test]
    fn the_highest_tag_in_the_range_is_taken() {
        let refs: Vec<RemoteRef> = ["v1.2.0", "1.10.0", "v2.0.0", "1.11.0-rc.1", "latest"]
            .iter()
            .map(|tag| RemoteRef {
                name: format!("refs/tags/{tag}"),
                oid: String::new(),
                peeled: None,
            })
            .chain([RemoteRef {
                name: "refs/heads/1.99.0".into(),
                oid: String::new(),
                peeled: None,
            }])
            .collect();
        let highest = |range| highest(&VersionRange::parse(range).expect("a range"), &refs);
        assert_eq!(highest("1.x").as_deref(), Some("1.10.0"));
        assert_eq!(highest(">=1.0.0-0 <2").as_deref(), Some("1.11.0-rc.1"));
        assert_eq!(highest("*").as_deref(), Some("v2.0.0"));
        assert_eq!(highest(">3"), None);
    }
}
