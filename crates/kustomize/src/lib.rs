//! Builds a kustomization into objects; pure.
//!
//! This room owns reading `kustomization.yaml` and what it names, and changing the objects as it
//! asks: `resources` and `bases`, `namespace`, `labels`, `commonLabels`, `commonAnnotations`,
//! `images` and `sortOptions`. Order, conflicts and text are those of kustomize.
//!
//! It refuses to leave a field out silently: whatever it can't do yet is a [`BuildError`] with file,
//! line and field. It refuses to read outside of the root it was given, to follow symbolic links,
//! to fetch anything, and to go beyond its [`Limits`].

mod annotations;
mod build;
mod failure;
mod fields;
mod files;
mod images;
mod kustomization;
mod labels;
mod namespace;
mod order;
mod references;
mod resources;
mod scope;

pub use build::{Built, Limits, Options, Overrides, build, to_yaml};
pub use failure::{BuildError, Spot};
pub use files::{DirectoryFiles, Entry, FileError, Files, MemoryFiles};
pub use images::Image;
pub use order::Order;
