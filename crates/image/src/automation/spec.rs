//! Owns reading an ImageUpdateAutomation's spec, as far as it can be read without its source. A
//! field that is not supported is refused by name.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_api::LabelSelector;
use weir_api::git_repository::Reference as SpecReference;
use weir_api::image_update_automation::Spec;
use weir_api::names::reason;
use weir_gotmpl::Template;

use super::{files, message, select};
use crate::failure::Problem;

const SHORTEST: Duration = Duration::from_secs(1);

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// How often to look for a state that nobody told of.
    pub(crate) interval: Duration,
    /// The policies that count.
    pub(crate) selector: Option<LabelSelector>,
    /// What to check out, where it is not what the source names.
    pub(crate) checkout: Option<SpecReference>,
    /// The branch to push, where it is not the one checked out.
    pub(crate) push: Option<String>,
    /// Where the manifests are.
    pub(crate) path: String,
    /// Name and address of the author.
    pub(crate) author: (String, String),
    /// The message.
    pub(crate) template: Template,
    /// Values for it.
    pub(crate) values: BTreeMap<String, String>,
}

/// Reads the spec.
pub(crate) fn wanted(spec: &Spec) -> Result<Wanted, Problem> {
    let source = |message: &str| Problem::new(reason::INVALID_SOURCE_CONFIGURATION, message);
    let Some(git) = &spec.git else {
        return Err(source(
            "`spec.git` is missing; say there who commits, and to which branch",
        ));
    };
    let push = git.push.as_ref();
    let reference = git.checkout.as_ref().map(|c| &c.reference);
    let unsupported = [
        ("git.commit.signingKey", git.commit.signing_key.is_some()),
        ("git.push.refspec", push.is_some_and(|p| is_set(p.refspec.as_ref()))),
        ("git.push.options", push.is_some_and(|p| !p.options.is_empty())),
        (
            "git.checkout.ref.semver",
            reference.is_some_and(|r| is_set(r.semver.as_ref())),
        ),
    ];
    if let Some((field, _)) = unsupported.iter().find(|(_, set)| *set) {
        return Err(Problem::unsupported(field));
    }
    if let Some(version) = &spec.source_ref.api_version
        && !version.starts_with("source.toolkit.fluxcd.io/")
    {
        return Err(source(
            "`spec.sourceRef.apiVersion` is not one of `source.toolkit.fluxcd.io`; correct it",
        ));
    }
    if let Some(selector) = &spec.policy_selector {
        select::check(selector).map_err(|what| {
            Problem::new(
                reason::INVALID_POLICY_SELECTOR,
                format!("`spec.policySelector` cannot be used: {what}"),
            )
        })?;
    }
    let interval = spec.interval.get();
    let interval = interval.map_err(|e| Problem::invalid("interval", &e))?;
    let update = spec.update.as_ref();
    let path = update.and_then(|u| u.path.clone()).unwrap_or_default();
    files::below(&path).map_err(|e| {
        Problem::new(
            reason::INVALID_UPDATE_STRATEGY,
            format!("`spec.update.path` cannot be used: {e}"),
        )
    })?;
    let template = message::template(git.commit.message_template.as_deref()).map_err(|e| {
        Problem::new(
            reason::UPDATE_FAILED,
            format!("`spec.git.commit.messageTemplate` is no template: {e}; correct it"),
        )
    })?;
    let (name, email) = (&git.commit.author.name, &git.commit.author.email);
    let bad = |text: &str| text.contains(['<', '>', '\n', '\0']);
    if email.trim().is_empty() || bad(email) || name.as_deref().is_some_and(bad) {
        let what = "Git needs an `email`, and no `<`, `>` or line break in it or in `name`";
        return Err(Problem::invalid("git.commit.author", &what));
    }
    // Git needs a name; the address tells of the author as well.
    let shown = name.clone().filter(|name| !name.trim().is_empty());
    Ok(Wanted {
        interval: interval.max(SHORTEST),
        selector: spec.policy_selector.clone(),
        checkout: reference.cloned(),
        push: push.and_then(|p| p.branch.clone()).filter(|b| !b.is_empty()),
        path,
        author: (shown.unwrap_or_else(|| email.clone()), email.clone()),
        template,
        values: git.commit.message_template_values.clone(),
    })
}

fn is_set(field: Option<&String>) -> bool {
    field.is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use weir_object::path::set;

    fn told(path: &[&str], value: Value) -> (&'static str, String) {
        let mut spec = json!({"sourceRef": {"kind": "GitRepository", "name": "config"},
            "interval": "1m", "git": {"commit": {"author": {"email": "a@b"}}}});
        set(&mut spec, path, value);
        match wanted(&serde_json::from_value(spec).expect("a spec")) {
            Ok(wanted) => ("", format!("{wanted:?}")),
            Err(problem) => (problem.reason, problem.message),
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_by_name() {
        for (path, value, reason, words) in [
            (&["git"][..], Value::Null, "InvalidSourceConfiguration", "`spec.git`"),
            (
                &["git", "commit", "signingKey"],
                json!({"secretRef": {"name": "a"}}),
                "Unsupported",
                "spec.git.commit.signingKey",
            ),
            (&["git", "push"], json!({"refspec": "a:b"}), "Unsupported", "spec.git.push.refspec"),
            (
                &["git", "push"],
                json!({"options": {"a": "b"}}),
                "Unsupported",
                "spec.git.push.options",
            ),
            (
                &["git", "checkout"],
                json!({"ref": {"semver": "1.x"}}),
                "Unsupported",
                "spec.git.checkout.ref.semver",
            ),
            (
                &["git", "commit", "messageTemplate"],
                json!("{{ if }}"),
                "UpdateFailed",
                "messageTemplate",
            ),
            (&["git", "commit", "author", "email"], json!(""), "Failed", "author"),
            (
                &["policySelector"],
                json!({"matchExpressions": [{"key": "a", "operator": "Is"}]}),
                "InvalidPolicySelector",
                "`Is` is no operator",
            ),
            (&["update"], json!({"path": "../x"}), "InvalidUpdateStrategy", "leads out"),
            (&["interval"], json!("never"), "Failed", "spec.interval"),
            (
                &["sourceRef", "apiVersion"],
                json!("v1"),
                "InvalidSourceConfiguration",
                "apiVersion",
            ),
        ] {
            let (found, message) = told(path, value);
            assert_eq!(found, reason, "{message}");
            assert!(message.contains(words), "{message}");
        }
        let (reason, shown) = told(&["git", "push"], json!({"branch": "next"}));
        assert_eq!(reason, "", "{shown}");
        assert!(shown.contains(r#"push: Some("next")"#), "{shown}");
        assert!(shown.contains(r#"author: ("a@b", "a@b")"#), "{shown}");
    }
}
