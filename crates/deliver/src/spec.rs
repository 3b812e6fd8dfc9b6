//! Owns what of a Kustomization's spec is supported, and reading the rest of it into plain values.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use weir_api::git_repository;
use weir_api::kustomization::{SourceKind, Spec};
use weir_api::names::reason;
use weir_object::{Key, Object, ObjectRef};

/// The least time that apply, health and deletion may take.
const LEAST: Duration = Duration::from_secs(30);

/// Why a Kustomization cannot be worked on until it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// One word.
    pub(crate) reason: &'static str,
    /// What, where, and what to do.
    pub(crate) message: String,
}

/// What a Kustomization asks for, read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) source: Key,
    pub(crate) path: String,
    pub(crate) interval: Duration,
    pub(crate) retry: Duration,
    pub(crate) timeout: Duration,
    pub(crate) prune: bool,
    pub(crate) force: bool,
    pub(crate) wait: bool,
    pub(crate) checks: Vec<ObjectRef>,
    pub(crate) dependencies: Vec<Key>,
    pub(crate) build: weir_kustomize::Options,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) annotations: Vec<(String, String)>,
}

/// What becomes of the objects when the Kustomization is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Deletion {
    Delete,
    /// And the Kustomization stays until they are gone.
    DeleteAndWait,
    Orphan,
}

/// What becomes of the objects when this Kustomization is deleted. A suspended one leaves them.
pub(crate) fn deletion(object: &Object) -> Deletion {
    let flag = |field: &str| object.get(&["spec", field]) == Some(&Value::Bool(true));
    if flag("suspend") {
        return Deletion::Orphan;
    }
    match object.text(&["spec", "deletionPolicy"]) {
        "Orphan" => Deletion::Orphan,
        "Delete" => Deletion::Delete,
        "WaitForTermination" => Deletion::DeleteAndWait,
        _ if flag("prune") => Deletion::Delete,
        _ => Deletion::Orphan,
    }
}

/// How long deletion may take; the least there is where the spec cannot be read.
pub(crate) fn timeout(object: &Object) -> Duration {
    let read = |field: &str| {
        let text = object.text(&["spec", field]);
        weir_api::GoDuration::from(text)
            .get()
            .ok()
            .filter(|_| !text.is_empty())
    };
    limit(read("timeout"), read("interval").unwrap_or_default())
}

/// The time that apply, health and deletion may take.
fn limit(timeout: Option<Duration>, interval: Duration) -> Duration {
    timeout
        .unwrap_or_else(|| interval.saturating_sub(LEAST))
        .max(LEAST)
}

/// Reads a spec.
pub(crate) fn wanted(spec: &Spec, namespace: &str, cross: bool) -> Result<Wanted, Problem> {
    if let Some(field) = unsupported(spec) {
        return Err(Problem {
            reason: reason::UNSUPPORTED,
            message: format!("`spec.{field}` is not supported by this version; remove it"),
        });
    }
    let source = &spec.source_ref;
    if let Some(other) = source.namespace.as_deref().filter(|ns| *ns != namespace)
        && !cross
    {
        let (kind, name) = (git_repository::KIND.kind, &source.name);
        return Err(Problem {
            reason: reason::ACCESS_DENIED,
            message: format!(
                "can't access '{kind}/{other}/{name}', cross-namespace references have been \
                 blocked; use a source of namespace {namespace}"
            ),
        });
    }
    let duration = |field: &str, value: &weir_api::GoDuration| {
        value.get().map_err(|e| Problem {
            reason: reason::BUILD_FAILED,
            message: format!("`spec.{field}` cannot be read: {e}"),
        })
    };
    let interval = duration("interval", &spec.interval)?;
    let retry = match &spec.retry_interval {
        Some(retry) => duration("retryInterval", retry)?,
        None => interval,
    };
    let timeout = match &spec.timeout {
        Some(timeout) => Some(duration("timeout", timeout)?),
        None => None,
    };
    let common = spec.common_metadata.clone().unwrap_or_default();
    let or_own = |ns: &Option<String>| ns.clone().unwrap_or_else(|| namespace.to_owned());
    Ok(Wanted {
        source: Key::new(
            or_own(&spec.source_ref.namespace),
            spec.source_ref.name.as_str(),
        ),
        path: clean(spec.path.as_deref().unwrap_or_default()),
        interval,
        retry,
        timeout: limit(timeout, interval),
        prune: spec.prune,
        force: spec.force,
        wait: spec.wait,
        checks: spec
            .health_checks
            .iter()
            .map(|check| ObjectRef {
                api_version: check
                    .api_version
                    .clone()
                    .unwrap_or_else(|| "apps/v1".to_owned()),
                kind: check.kind.clone(),
                namespace: check.namespace.clone().unwrap_or_default(),
                name: check.name.clone(),
            })
            .collect(),
        dependencies: spec
            .depends_on
            .iter()
            .map(|d| Key::new(or_own(&d.namespace), d.name.as_str()))
            .collect(),
        build: weir_kustomize::Options {
            overrides: weir_kustomize::Overrides {
                namespace: spec.target_namespace.clone(),
                images: spec
                    .images
                    .iter()
                    .map(|image| weir_kustomize::Image {
                        name: image.name.clone(),
                        new_name: image.new_name.clone().unwrap_or_default(),
                        new_tag: image.new_tag.clone().unwrap_or_default(),
                        digest: image.digest.clone().unwrap_or_default(),
                    })
                    .collect(),
            },
            generate: true,
            ..weir_kustomize::Options::default()
        },
        labels: common.labels.into_iter().collect(),
        annotations: common.annotations.into_iter().collect(),
    })
}

/// The first field that asks for what is not done here.
fn unsupported(spec: &Spec) -> Option<&'static str> {
    let fields = [
        (
            "sourceRef.kind",
            spec.source_ref.kind != SourceKind::GitRepository,
        ),
        ("patches", !spec.patches.is_empty()),
        ("components", !spec.components.is_empty()),
        ("ignoreMissingComponents", spec.ignore_missing_components),
        ("postBuild", spec.post_build.is_some()),
        ("decryption", spec.decryption.is_some()),
        ("kubeConfig", spec.kube_config.is_some()),
        ("namePrefix", spec.name_prefix.is_some()),
        ("nameSuffix", spec.name_suffix.is_some()),
        ("healthCheckExprs", !spec.health_check_exprs.is_empty()),
        ("buildMetadata", !spec.build_metadata.is_empty()),
        ("ignore", !spec.ignore.is_empty()),
        (
            "dependsOn[].readyExpr",
            spec.depends_on.iter().any(|d| d.ready_expr.is_some()),
        ),
    ];
    fields
        .into_iter()
        .find(|(_, set)| *set)
        .map(|(field, _)| field)
}

/// The path without `.` parts and slashes around it. What leaves the root stays as it is, and is
/// refused where it is read.
fn clean(path: &str) -> String {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::kustomization::Patch;

    fn spec() -> Spec {
        Spec {
            interval: "10m".into(),
            prune: true,
            ..Spec::default()
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let patched = Spec {
            patches: vec![Patch::default()],
            ..spec()
        };
        let told = wanted(&patched, "n", true).map_err(|p| p.message);
        assert_eq!(
            told.err().as_deref(),
            Some("`spec.patches` is not supported by this version; remove it")
        );
    }

    #[test]
    fn a_source_of_another_namespace_can_be_refused() {
        let mut elsewhere = spec();
        elsewhere.source_ref.namespace = Some("theirs".to_owned());
        assert!(wanted(&elsewhere, "n", true).is_ok());
        let told = wanted(&elsewhere, "n", false).map_err(|p| p.reason);
        assert_eq!(told.err(), Some("AccessDenied"));
        elsewhere.source_ref.namespace = Some("n".to_owned());
        assert!(wanted(&elsewhere, "n", false).is_ok());
    }

    #[test]
    fn deletion_is_read_from_any_spec() {
        use serde_json::json;
        for (spec, expected) in [
            (json!({"prune": true, "patches": "odd"}), Deletion::Delete),
            (json!({"prune": false}), Deletion::Orphan),
            (json!({"prune": true, "suspend": true}), Deletion::Orphan),
            (
                json!({"prune": true, "deletionPolicy": "Orphan"}),
                Deletion::Orphan,
            ),
            (json!({"deletionPolicy": "Delete"}), Deletion::Delete),
            (
                json!({"deletionPolicy": "WaitForTermination"}),
                Deletion::DeleteAndWait,
            ),
            (json!({"deletionPolicy": "MirrorPrune"}), Deletion::Orphan),
            (json!(null), Deletion::Orphan),
        ] {
            assert_eq!(deletion(&Object(json!({"spec": spec}))), expected, "{spec}");
        }
        let times = |spec| timeout(&Object(json!({"spec": spec}))).as_secs();
        assert_eq!(times(json!({"timeout": "5s"})), 30);
        assert_eq!(times(json!({"interval": "10m"})), 570);
        assert_eq!(times(json!({"timeout": "soon"})), 30);
    }

    #[test]
    fn times_and_paths_have_the_known_defaults() {
        let read = wanted(
            &Spec {
                path: Some("./a//b/".into()),
                ..spec()
            },
            "n",
            true,
        )
        .expect("readable");
        assert_eq!(
            (read.retry, read.timeout),
            (Duration::from_mins(10), Duration::from_secs(570))
        );
        assert_eq!(read.path, "a/b");
        let bad = wanted(
            &Spec {
                interval: "soon".into(),
                ..spec()
            },
            "n",
            true,
        )
        .map_err(|p| p.message);
        assert!(bad.err().is_some_and(|m| m.contains("spec.interval")));
    }
}
