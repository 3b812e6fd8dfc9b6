//! Kustomization: from an artifact to objects in a cluster.
//!
//! This room owns what a Kustomization means: what has to be there before it is built
//! (`decide`), fetching, building, applying and pruning in an order in which a crash loses no object
//! from the record (`deliver`), waiting for health (`health`), letting go (`release`), and what is
//! said of it (`record`).
//!
//! It refuses fields that it does not support by name, before anything is applied. The fields that
//! a Canary borrows are left out of what it applies, whatever the manifests say.

mod controller;
mod decide;
mod deliver;
mod health;
mod pass;
mod record;
mod release;
mod spec;

pub use controller::{Options, controller};
