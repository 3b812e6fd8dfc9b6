//! Kustomization: from an artifact to objects in a cluster.
//!
//! This room owns what a Kustomization means: what has to be there before it is built
//! (`decide`), fetching, building, applying, pruning and waiting in an order in which a crash
//! loses no object from the record (`pass`), and what is said of it afterwards (`record`).
//!
//! It refuses fields that it does not support by name, before anything is applied. The fields that
//! a Canary borrows are left out of what it applies, whatever the manifests say.

mod controller;
mod decide;
mod pass;
mod record;
mod spec;

pub use controller::{Options, controller};
