//! Owns reading an ImageUpdateAutomation's spec together with its source's: where to check out from,
//! where to push to, or which field stands in the way.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_api::LabelSelector;
use weir_api::git_repository::{self, Provider, Reference as SpecReference};
use weir_api::image_update_automation::Spec;
use weir_api::names::reason;
use weir_git::{Head, Reference, Remote, RemoteRef};
use weir_gocompat::{Version, VersionRange};
use weir_gotmpl::Template;
use weir_object::Key;

use super::{message, selector};
use crate::trouble::{Next, Trouble};

const DEFAULT_BRANCH: &str = "master";
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
const SHORTEST: Duration = Duration::from_secs(1);

/// What the automation wants, whatever its source is.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) source: Key,
    pub(crate) interval: Duration,
    pub(crate) selector: LabelSelector,
    pub(crate) author_name: String,
    pub(crate) author_email: String,
    pub(crate) template: Option<Template>,
    pub(crate) values: BTreeMap<String, String>,
    /// Below which files are updated; empty for all.
    pub(crate) path: String,
    checkout: Option<SpecReference>,
    push_branch: Option<String>,
    refspec: Option<String>,
}

/// Which revision is checked out.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    Exact(Reference),
    Range(VersionRange),
}

/// Where to check out from and where to push to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Without the Secret's credentials.
    pub(crate) remote: Remote,
    pub(crate) choice: Choice,
    pub(crate) push_branch: String,
    /// Pushes go to another branch than the one that is checked out.
    pub(crate) switched: bool,
    /// A second reference that pushes go to, and how the spec writes it.
    pub(crate) also: Option<(String, String)>,
}

/// Reads the spec.
pub(crate) fn wanted(spec: &Spec, namespace: &str, cross: bool) -> Result<Wanted, Trouble> {
    let interval = spec
        .interval
        .get()
        .map_err(|e| Trouble::invalid("spec.interval", &e))?
        .max(SHORTEST);
    let selector = spec.policy_selector.clone().unwrap_or_default();
    if let Some(what) = selector::problem(&selector) {
        let message = format!("`spec.policySelector` cannot be used: {what}; correct it");
        return Err(Trouble::stalled(reason::INVALID_POLICY_SELECTOR, message));
    }
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let to = set(&spec.source_ref.namespace).unwrap_or_else(|| namespace.to_owned());
    if to != namespace && !cross {
        let message = format!(
            "`spec.sourceRef` leads to the namespace `{to}`, and references to other namespaces are \
             not allowed; use a GitRepository of `{namespace}`"
        );
        return Err(Trouble::stalled(reason::ACCESS_DENIED, message));
    }
    let Some(git) = &spec.git else {
        let message = "`spec.git` is not set; say there who commits";
        return Err(Trouble::stalled(
            reason::INVALID_SOURCE_CONFIGURATION,
            message,
        ));
    };
    if git.commit.signing_key.is_some() {
        return Err(Trouble::unsupported("spec.git.commit.signingKey"));
    }
    let push = git.push.clone().unwrap_or_default();
    if !push.options.is_empty() {
        return Err(Trouble::unsupported("spec.git.push.options"));
    }
    let email = git.commit.author.email.trim().to_owned();
    let name = set(&git.commit.author.name).unwrap_or_else(|| email.clone());
    for (field, text) in [("email", &email), ("name", &name)] {
        if text.trim().is_empty() || text.contains(['<', '>', '\n', '\0']) {
            let field = format!("spec.git.commit.author.{field}");
            return Err(Trouble::invalid(
                &field,
                &"it is empty or holds `<`, `>` or a line break",
            ));
        }
    }
    let template = set(&git.commit.message_template).map(|text| message::parse(&text));
    let template = template
        .transpose()
        .map_err(|e| Trouble::invalid("spec.git.commit.messageTemplate", &e))?;
    let path = spec.update.as_ref().and_then(|update| set(&update.path));
    Ok(Wanted {
        source: Key::new(to, &spec.source_ref.name),
        interval,
        selector,
        author_name: name.trim().to_owned(),
        author_email: email,
        template,
        values: git.commit.message_template_values.clone(),
        path: inside(&path.unwrap_or_default())?,
        checkout: git.checkout.as_ref().map(|c| c.reference.clone()),
        push_branch: set(&push.branch),
        refspec: set(&push.refspec),
    })
}

/// A path that stays in the repository, without needless parts.
fn inside(path: &str) -> Result<String, Trouble> {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts: Vec<&str> = parts.collect();
    if parts.contains(&"..") {
        let what = format!("`{path}` leads out of the repository");
        return Err(Trouble::invalid("spec.update.path", &what));
    }
    Ok(parts.join("/"))
}

/// Reads the source. What stands in the way there heals when the source changes.
pub(crate) fn target(wanted: &Wanted, source: &git_repository::Spec) -> Result<Target, Trouble> {
    let key = &wanted.source;
    let unsupported = [
        ("spec.proxySecretRef", source.proxy_secret_ref.is_some()),
        (
            "spec.provider",
            source.provider.is_some_and(|p| p != Provider::Generic),
        ),
        (
            "spec.serviceAccountName",
            source.service_account_name.is_some(),
        ),
    ];
    let wrong = |reason, message: String| Trouble::new(reason, Next::Event, message);
    if let Some((field, _)) = unsupported.iter().find(|(_, set)| *set) {
        let message = format!(
            "`{field}` of the GitRepository `{key}` is not supported by this version; remove it to \
             go on"
        );
        return Err(Trouble::stalled(
            reason::INVALID_SOURCE_CONFIGURATION,
            message,
        ));
    }
    let timeout = match &source.timeout {
        None => DEFAULT_TIMEOUT,
        Some(timeout) => timeout.get().map_err(|e| {
            let message = format!("`spec.timeout` of the GitRepository `{key}`: {e}");
            wrong(reason::SOURCE_MANAGER_FAILED, message)
        })?,
    };
    let remote = Remote::new(&source.url)
        .map_err(|e| wrong(reason::SOURCE_MANAGER_FAILED, e.to_string()))?
        .timeout(timeout.max(SHORTEST));
    let given = wanted.checkout.as_ref().or(source.reference.as_ref());
    let given = given.cloned().unwrap_or_default();
    let choice = choice(&given).map_err(|what| {
        let message = format!("the revision to check out cannot be used: {what}; correct it");
        wrong(reason::SOURCE_MANAGER_FAILED, message)
    })?;
    let branch = match &choice {
        Choice::Exact(Reference::Branch(branch)) => Some(branch.clone()),
        _ => None,
    };
    let Some(push_branch) = wanted.push_branch.clone().or_else(|| branch.clone()) else {
        let message = "the revision to check out is not a branch, so there is none to push to; set \
                       `spec.git.push.branch`";
        return Err(wrong(reason::SOURCE_MANAGER_FAILED, message.to_owned()));
    };
    Reference::Branch(push_branch.clone())
        .validate()
        .map_err(|e| Trouble::invalid("spec.git.push.branch", &e))?;
    let also = wanted.refspec.as_ref().map(|refspec| {
        destination(refspec, &push_branch)
            .map(|to| (to, refspec.clone()))
            .map_err(|what| Trouble::invalid("spec.git.push.refspec", &what))
    });
    Ok(Target {
        remote,
        switched: branch.as_ref() != Some(&push_branch),
        choice,
        push_branch,
        also: also.transpose()?,
    })
}

fn choice(given: &SpecReference) -> Result<Choice, String> {
    let set = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    let exact = if let Some(oid) = set(&given.commit) {
        // What is pushed follows from this commit, so its branch is not one to push to.
        Reference::Commit {
            oid,
            branch: set(&given.branch),
        }
    } else if let Some(name) = set(&given.name) {
        match name.strip_prefix("refs/heads/") {
            Some(branch) => Reference::Branch(branch.to_owned()),
            None => Reference::Name(name),
        }
    } else if let Some(tag) = set(&given.tag) {
        Reference::Tag(tag)
    } else if let Some(range) = set(&given.semver) {
        let range = VersionRange::parse(&range).map_err(|e| e.to_string())?;
        return Ok(Choice::Range(range));
    } else {
        Reference::Branch(set(&given.branch).unwrap_or_else(|| DEFAULT_BRANCH.to_owned()))
    };
    exact.validate().map_err(|e| e.to_string())?;
    Ok(Choice::Exact(exact))
}

/// Where a refspec leads to, where it is one that pushes the new commit.
fn destination(refspec: &str, branch: &str) -> Result<String, String> {
    if refspec.starts_with('+') {
        let what = "it starts with `+`, which would overwrite what others pushed";
        return Err(what.to_owned());
    }
    let (from, to) = refspec.split_once(':').unwrap_or((refspec, refspec));
    let full = |name: &str| match name {
        name if name.starts_with("refs/") => name.to_owned(),
        name => format!("refs/heads/{name}"),
    };
    if from != "HEAD" && full(from) != full(branch) {
        return Err(format!(
            "its source is neither `HEAD` nor the branch `{branch}`"
        ));
    }
    let to = full(to);
    let named = Reference::Name(to.clone()).validate();
    named.map_err(|e| e.to_string())?;
    Ok(to)
}

/// Where the revision to check out is now.
pub(crate) fn head(
    choice: &Choice,
    refs: &[RemoteRef],
    url: &str,
) -> Result<(Reference, Head), String> {
    let reference = match choice {
        Choice::Exact(reference) => reference.clone(),
        Choice::Range(range) => {
            let highest = refs
                .iter()
                .filter_map(|r| r.name.strip_prefix("refs/tags/"))
                .filter_map(|tag| Some((Version::parse(tag).ok()?, tag)))
                .filter(|(version, _)| range.check(version))
                .max_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.cmp(y)));
            let (_, tag) = highest.ok_or_else(|| {
                let range = range.original();
                format!(
                    "no tag of `{url}` is a version in the range `{range}`; push one, or widen it"
                )
            })?;
            Reference::Tag(tag.to_owned())
        }
    };
    let oid = match (&reference, reference.full_name()) {
        (Reference::Commit { oid, .. }, _) => Some(oid.to_ascii_lowercase()),
        (_, Some(name)) => tip(refs, &name),
        (_, None) => None,
    };
    let oid = oid.ok_or_else(|| match refs {
        [] => format!("the repository at `{url}` is empty; push a commit to it"),
        _ => format!("{reference} was not found in `{url}`; check its spelling, or push it"),
    })?;
    let revision = reference.revision(&oid);
    Ok((reference, Head { oid, revision }))
}

/// Where a full reference name leads to.
pub(crate) fn tip(refs: &[RemoteRef], name: &str) -> Option<String> {
    let found = refs.iter().find(|r| r.name == name);
    found.map(|r| r.commit().to_owned())
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
