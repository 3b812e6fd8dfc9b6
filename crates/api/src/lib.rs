//! The API types of every group, with their schemas.
//!
//! This room owns what people write and read: the kinds of `source|kustomize|image.toolkit.fluxcd.io`
//! and `flagger.app`, one module each, with a `Spec`, a `Status` and a [`weir_object::Kind`]; the
//! envelope around them ([`Resource`]); what they share ([`Condition`], [`Artifact`], references,
//! [`GoDuration`], [`Time`]); the [`names`] that other tools know; and the definitions to install
//! ([`crds()`], [`gateway_crds`]).
//!
//! It refuses meaning: nothing here decides, fetches or waits. Unknown fields are let pass, and one
//! object that cannot be read is one [`DecodeFailure`] that names the field, never the end of a list.
//!
//! With the feature `schema` the types also make their schemas, and `weir-gen-crds` writes them.

pub mod alert_provider;
pub mod canary;
mod common;
mod crds;
mod duration;
mod envelope;
pub mod git_repository;
pub mod image_policy;
pub mod image_repository;
pub mod image_update_automation;
pub mod kustomization;
pub mod metric_template;
pub mod names;
#[cfg(feature = "schema")]
pub mod schema;
mod time;

pub use common::{
    Artifact, Condition, ConditionStatus, IntOrString, LabelSelector, LabelSelectorRequirement,
    LocalObjectReference, NamespacedObjectReference, ObjectSelector, SecretKeyReference, Snapshot,
};
pub use crds::{crds, gateway_crds};
pub use duration::GoDuration;
pub use envelope::{Api, DecodeFailure, Metadata, OwnerReference, Resource};
pub use time::Time;

/// A Git repository to fetch.
pub type GitRepository = Resource<git_repository::Spec, git_repository::Status>;
/// A path of a source to build and apply.
pub type Kustomization = Resource<kustomization::Spec, kustomization::Status>;
/// An image repository to scan.
pub type ImageRepository = Resource<image_repository::Spec, image_repository::Status>;
/// A rule that chooses one of an image's tags.
pub type ImagePolicy = Resource<image_policy::Spec, image_policy::Status>;
/// The writing of chosen images into a Git repository.
pub type ImageUpdateAutomation =
    Resource<image_update_automation::Spec, image_update_automation::Status>;
/// A workload whose changes are released step by step.
pub type Canary = Resource<canary::Spec, canary::Status>;
/// A query for a measurement.
pub type MetricTemplate = Resource<metric_template::Spec, metric_template::Status>;
/// A place to send alerts to.
pub type AlertProvider = Resource<alert_provider::Spec, alert_provider::Status>;
