//! Owns the envelope: metadata, spec and status around any kind, and how an object is read into it.
//!
//! Reading follows the API's own rules rather than serde's: a null is an absent field, and `5.0` is
//! the number five. It refuses to be used for updates: what it does not know it does not carry, so
//! writers patch the fields they own instead.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_object::{Kind, Object, path};

use crate::Time;

/// A spec that belongs to a kind.
pub trait Api {
    /// The kind as it is served.
    const KIND: Kind;
}

/// One object of a kind: its metadata, what is asked, and what was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource<S, T> {
    /// `group/version`.
    #[serde(default)]
    pub api_version: String,
    /// Kind.
    #[serde(default)]
    pub kind: String,
    /// Who the object is.
    #[serde(default)]
    pub metadata: Metadata,
    /// What is asked.
    pub spec: S,
    /// What was seen and done; absent until the first reconciliation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<T>,
}

/// The part of an object's metadata that reconcilers read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Name.
    #[serde(default)]
    pub name: String,
    /// Namespace, empty for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Identity that a deleted and re-created object does not share.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Version of the stored object, for preconditions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Counts changes of the spec.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: i64,
    /// When the object was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Time>,
    /// When deletion was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Time>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What must be cleaned up before the object goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Who owns the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
}

/// An owner, with which the object is garbage-collected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// `group/version` of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// UID of the owner.
    pub uid: String,
    /// Whether this owner is the one that manages the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether the owner waits for this object when deleted in the foreground.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// An object that cannot be read as its kind. Other objects are not touched by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFailure {
    /// A field has a value of the wrong shape, or lacks one. Terminal until the object changes.
    #[error("{object}: field `{path}` must be {expected}, found {found}")]
    Field {
        /// The object, as `Canary demo/app`.
        object: String,
        /// The field, as `spec.analysis.threshold`.
        path: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The object is of another kind. Terminal; the caller asked for the wrong type.
    #[error("{object}: this is not a {expected}")]
    Kind {
        /// The object, as `Canary demo/app`.
        object: String,
        /// The kind that was asked for.
        expected: String,
    },
}

impl<S: Api + DeserializeOwned, T: DeserializeOwned> Resource<S, T> {
    /// Reads an object, with its status where it has one.
    pub fn from_object(object: &Object) -> Result<Self, DecodeFailure> {
        check_kind::<S>(object)?;
        decode(object, object.0.clone())
    }

    /// Reads an object without its status, for those who must act on the spec although another
    /// writer left a status that cannot be read.
    pub fn from_object_without_status(object: &Object) -> Result<Self, DecodeFailure> {
        check_kind::<S>(object)?;
        let mut value = object.0.clone();
        path::remove(&mut value, &["status"]);
        decode(object, value)
    }
}

impl<S: Api + Serialize, T: Serialize> Resource<S, T> {
    /// A new object of the kind, without a status.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, spec: S) -> Self {
        let kind = S::KIND;
        Self {
            api_version: kind.api_version(),
            kind: kind.kind.into_owned(),
            metadata: Metadata {
                name: name.into(),
                namespace: namespace.into(),
                ..Metadata::default()
            },
            spec,
            status: None,
        }
    }

    /// The object as a value, for creating it. Fields that the types do not know are not in it.
    pub fn to_object(&self) -> Object {
        // These types hold only text keys and finite numbers, which always have a JSON form.
        Object(serde_json::to_value(self).unwrap_or_default())
    }
}

impl<S, T> Resource<S, T> {
    /// The annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.get(key).map(String::as_str)
    }

    /// Whether deletion was asked for.
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}

fn check_kind<S: Api>(object: &Object) -> Result<(), DecodeFailure> {
    let (group, _) = weir_object::split_api_version(object.api_version());
    let kind = S::KIND;
    if group == kind.group && object.kind() == kind.kind {
        return Ok(());
    }
    Err(DecodeFailure::Kind {
        object: title(object),
        expected: kind.to_string(),
    })
}

fn decode<R: DeserializeOwned>(object: &Object, mut value: Value) -> Result<R, DecodeFailure> {
    if let Value::Object(map) = &mut value {
        // Metadata may be large and is ours only in part: managed fields are never decoded.
        path::remove(
            map.entry("metadata").or_insert(Value::Null),
            &["managedFields"],
        );
    }
    settle(&mut value);
    serde_path_to_error::deserialize(value).map_err(|failure| {
        let text = failure.inner().to_string();
        explain(object, &failure.path().to_string(), &text)
    })
}

/// Drops nulls and makes whole floats integers, as the API server's own codec does.
fn settle(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(settle);
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        Value::Number(number) => {
            // 2^53: beyond it a float no longer tells one whole number from the next.
            const LIMIT: f64 = 9_007_199_254_740_992.0;
            if number.is_f64()
                && let Some(float) = number.as_f64()
                && float.fract() == 0.0
                && float.abs() <= LIMIT
            {
                *value = Value::from(float as i64);
            }
        }
        _ => {}
    }
}

fn explain(object: &Object, at: &str, text: &str) -> DecodeFailure {
    let at = if at == "." { "" } else { at };
    let join = |field: &str| match at {
        "" => field.to_owned(),
        _ => format!("{at}.{field}"),
    };
    if let Some(field) = text
        .strip_prefix("missing field `")
        .and_then(|t| t.split('`').next())
    {
        return DecodeFailure::Field {
            object: title(object),
            path: join(field),
            expected: "set".to_owned(),
            found: "nothing".to_owned(),
        };
    }
    let steps: Vec<&str> = at
        .split(['.', '[', ']'])
        .filter(|s| !s.is_empty())
        .collect();
    let found = object
        .get(&steps)
        .map_or_else(|| "nothing".to_owned(), shown);
    let expected = text
        .rsplit_once("expected ")
        .map_or(text, |(_, expected)| expected);
    let expected = match expected {
        "i64" | "i32" => "a whole number",
        "f64" => "a number",
        "a sequence" => "a list",
        other if other.starts_with("struct ") => "a map",
        other => other,
    };
    DecodeFailure::Field {
        object: title(object),
        path: at.to_owned(),
        expected: expected.to_owned(),
        found,
    }
}

/// A value for a message: scalars as they are, cut short; containers by their shape.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a map".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        scalar => {
            let text = scalar.to_string();
            let mut cut: String = text.chars().take(64).collect();
            if cut.len() < text.len() {
                cut.push('…');
            }
            format!("`{cut}`")
        }
    }
}

fn title(object: &Object) -> String {
    format!("{} {}", object.kind(), object.key())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Canary, GitRepository, IntOrString, Kustomization, canary};
    use proptest::prelude::*;
    use serde_json::json;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "tables of cases read best with values"
    )]
    fn canary(analysis: Value) -> Object {
        Object(json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "app", "namespace": "demo", "generation": 3, "managedFields": [1]},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
                "service": {"port": 9898, "targetPort": "http", "unknown": {"kept": false}},
                "analysis": analysis,
            },
        }))
    }

    fn failure(object: &Object) -> String {
        Canary::from_object(object).map_or_else(|f| f.to_string(), |_| "no failure".to_owned())
    }

    #[test]
    fn a_whole_float_is_a_number_and_null_is_absent() {
        let object = canary(json!({
            "interval": "10s", "threshold": 5.0, "stepWeights": [1, 2.0], "mirror": null,
            "metrics": [{"name": "m", "thresholdRange": {"min": 99, "max": null}}],
        }));
        let read = Canary::from_object(&object).map(|c| (c.spec.analysis, c.spec.service));
        let analysis = canary::Analysis {
            interval: Some("10s".into()),
            threshold: Some(5),
            step_weights: vec![1, 2],
            metrics: vec![canary::Metric {
                name: "m".to_owned(),
                threshold_range: Some(canary::ThresholdRange {
                    min: Some(99.0),
                    max: None,
                }),
                ..canary::Metric::default()
            }],
            ..canary::Analysis::default()
        };
        let service = canary::Service {
            port: 9898,
            target_port: Some(IntOrString::Text("http".to_owned())),
            ..canary::Service::default()
        };
        assert_eq!(read, Ok((analysis, Some(service))));
    }

    #[test]
    fn a_failure_names_the_object_the_field_and_what_was_found() {
        assert_eq!(
            failure(&canary(json!({"threshold": 1.5}))),
            "Canary demo/app: field `spec.analysis.threshold` must be a whole number, found `1.5`"
        );
        assert_eq!(
            failure(&canary(json!({"stepWeights": [10, 2.5]}))),
            "Canary demo/app: field `spec.analysis.stepWeights[1]` must be a whole number, found `2.5`"
        );
        assert_eq!(
            failure(&canary(json!({"metrics": [{"interval": "1m"}]}))),
            "Canary demo/app: field `spec.analysis.metrics[0].name` must be set, found nothing"
        );
        assert_eq!(
            failure(&canary(json!({"webhooks": {"name": "x"}}))),
            "Canary demo/app: field `spec.analysis.webhooks` must be a list, found a map"
        );
        assert_eq!(
            failure(&canary(
                json!({"sessionAffinity": {"cookieName": "c", "sameSite": "Odd"}})
            )),
            "Canary demo/app: field `spec.analysis.sessionAffinity.sameSite` must be \
             one of `Strict`, `Lax`, `None`, found `\"Odd\"`"
        );
    }

    #[test]
    fn another_kind_is_refused() {
        let kustomization = Object(json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "metadata": {"name": "x"},
        }));
        assert_eq!(
            Kustomization::from_object(&kustomization),
            Err(DecodeFailure::Kind {
                object: "Kustomization x".to_owned(),
                expected: "Kustomization.kustomize.toolkit.fluxcd.io".to_owned(),
            })
        );
    }

    #[test]
    fn a_new_object_reads_back_as_it_was() {
        let spec = crate::git_repository::Spec {
            url: "http://git.sandbox:3000/config.git".to_owned(),
            interval: "1m".into(),
            ..crate::git_repository::Spec::default()
        };
        let new = GitRepository::new("demo", "config", spec);
        assert_eq!(
            new.to_object().0,
            json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
                "metadata": {"name": "config", "namespace": "demo"},
                "spec": {"url": "http://git.sandbox:3000/config.git", "interval": "1m"},
            })
        );
        assert_eq!(GitRepository::from_object(&new.to_object()), Ok(new));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map(
                    "(name|port|interval|kind|url|metrics|type)",
                    inner,
                    0..4
                )
                .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_input_panics(spec in any_json(), status in any_json()) {
            for (api, kind) in [("flagger.app/v1beta1", "Canary"),
                ("source.toolkit.fluxcd.io/v1", "GitRepository")] {
                let object = Object(json!({
                    "apiVersion": api, "kind": kind, "metadata": spec, "spec": spec, "status": status,
                }));
                let _ = Canary::from_object(&object);
                let _ = GitRepository::from_object(&object);
            }
        }
    }
}
