//! Owns what an automation takes from its GitRepository: where the repository is, what is checked
//! out, and which branch is pushed. Pure.

use std::time::Duration;

use weir_api::git_repository::{Provider, Reference as SpecReference, Spec};
use weir_api::names::reason;
use weir_git::{GitError, Reference, Remote};

use super::spec::Wanted;
use crate::failure::{Failure, Next};

/// The branch where nobody names anything.
const DEFAULT_BRANCH: &str = "master";
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// Where the work is done.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The repository, without the Secret's credentials.
    pub(crate) remote: Remote,
    /// What is checked out.
    pub(crate) checkout: Reference,
    /// The branch that is pushed.
    pub(crate) branch: String,
}

impl Place {
    /// Whether the branch that is pushed is another one than what is checked out.
    pub(crate) fn switches(&self) -> bool {
        self.checkout != Reference::Branch(self.branch.clone())
    }
}

/// Finds the place. All of this ends with a change of one of the two objects.
pub(crate) fn place(name: &str, source: &Spec, wanted: &Wanted) -> Result<Place, Failure> {
    let failed = |message: String| {
        let message = format!("the GitRepository `{name}` cannot be used: {message}");
        Failure::new(reason::SOURCE_MANAGER_FAILED, message, Next::Change)
    };
    let unsupported = [
        ("proxySecretRef", source.proxy_secret_ref.is_some()),
        (
            "provider",
            source.provider.is_some_and(|p| p != Provider::Generic),
        ),
        ("serviceAccountName", source.service_account_name.is_some()),
    ];
    if let Some((field, _)) = unsupported.iter().find(|(_, set)| *set) {
        return Err(failed(format!(
            "its `spec.{field}` is not supported by this version; remove it to go on"
        )));
    }
    let timeout = source.timeout.as_ref().map_or(Ok(DEFAULT_TIMEOUT), |t| {
        t.get().map_err(|e| failed(format!("its `spec.timeout`: {e}")))
    })?;
    let remote = Remote::new(&source.url).map_err(|e| failed(e.to_string()))?;
    let given = wanted.checkout.as_ref().or(source.reference.as_ref());
    let checkout = reference(given).map_err(&failed)?;
    let branch = match (&wanted.push, &checkout) {
        (Some(branch), _) => branch.clone(),
        (None, Reference::Branch(branch)) => branch.clone(),
        (None, other) => {
            return Err(failed(format!(
                "{other} is no branch that can be pushed; name one in the automation's \
                 `spec.git.push.branch`"
            )));
        }
    };
    let bad = |e: GitError| failed(e.to_string());
    checkout.validate().map_err(bad)?;
    Reference::Branch(branch.clone()).validate().map_err(bad)?;
    Ok(Place {
        remote: remote.timeout(timeout.max(Duration::from_secs(1))),
        checkout,
        branch,
    })
}

/// The order in which the fields count is that of existing controllers.
fn reference(given: Option<&SpecReference>) -> Result<Reference, String> {
    let none = SpecReference::default();
    let given = given.unwrap_or(&none);
    let set = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    if let Some(oid) = set(&given.commit) {
        let branch = set(&given.branch);
        return Ok(Reference::Commit { oid, branch });
    }
    if let Some(name) = set(&given.name) {
        return Ok(Reference::Name(name));
    }
    if let Some(tag) = set(&given.tag) {
        return Ok(Reference::Tag(tag));
    }
    if set(&given.semver).is_some() {
        return Err(
            "a range of tags cannot be committed to; name a branch in the automation's \
             `spec.git.checkout.ref`"
                .to_owned(),
        );
    }
    let branch = set(&given.branch).unwrap_or_else(|| DEFAULT_BRANCH.to_owned());
    Ok(Reference::Branch(branch))
}

/// What a Git operation failed with.
pub(crate) fn git_failed(e: &GitError) -> Failure {
    let reason = match e {
        GitError::Auth { .. } => reason::AUTHENTICATION_FAILED,
        _ => reason::GIT_OPERATION_FAILED,
    };
    let next = if e.is_retryable() {
        Next::Backoff
    } else {
        Next::Interval
    };
    Failure::new(reason, e.to_string(), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn found(source: &Value, checkout: &Value, push: &Value) -> Result<Place, String> {
        let mut spec = json!({"url": "http://git/config.git", "interval": "1m"});
        for (name, value) in source.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        let mut git = json!({"commit": {"author": {"email": "a@b"}}});
        if !checkout.is_null() {
            git["checkout"] = json!({"ref": checkout});
        }
        if !push.is_null() {
            git["push"] = json!({"branch": push});
        }
        let automation = json!({"sourceRef": {"kind": "GitRepository", "name": "config"},
            "interval": "1m", "git": git});
        let automation = serde_json::from_value(automation).expect("a spec");
        let wanted = super::super::spec::wanted(&automation).expect("valid");
        let spec = serde_json::from_value(spec).expect("a spec");
        place("demo/config", &spec, &wanted).map_err(|failure| {
            assert_eq!(failure.next, Next::Change);
            failure.message
        })
    }

    #[test]
    fn the_branch_is_found() {
        let null = Value::Null;
        let main = json!({"ref": {"branch": "main"}});
        let tag = json!({"ref": {"tag": "v1"}});
        for (source, checkout, push, branch, switches) in [
            (&null, &null, &null, "master", false),
            (&main, &null, &null, "main", false),
            (&main, &json!({"branch": "dev"}), &null, "dev", false),
            (&main, &null, &json!("main"), "main", false),
            (&main, &null, &json!("next"), "next", true),
            (&tag, &null, &json!("next"), "next", true),
        ] {
            let place = found(source, checkout, push).expect(branch);
            assert_eq!((place.branch.as_str(), place.switches()), (branch, switches));
        }
        for (source, checkout, words) in [
            (&tag, &null, "`spec.git.push.branch`"),
            (&main, &json!({"commit": "a"}), "`spec.git.push.branch`"),
            (&json!({"ref": {"semver": "1.x"}}), &null, "range of tags"),
            (&main, &json!({"branch": "a b"}), "not a valid Git reference"),
            (&json!({"url": "ssh://git@a/b"}), &null, "scheme `ssh`"),
            (&json!({"provider": "azure"}), &null, "`spec.provider`"),
        ] {
            let message = found(source, checkout, &null).expect_err(words);
            assert!(message.contains(words), "{message}");
        }
    }
}
