//! Sources: from what people push to artifacts that others build from.
//!
//! This room owns GitRepository. One pass is *observe → decide → intend → act → record*: the facts
//! are gathered into one value, `decide` makes a plan of it without any effect,
//! and the plan's outcome is recorded as conditions, an artifact and events under the names that
//! other tools know.
//!
//! It refuses fields that it does not support by name, rather than to ignore them, and it never
//! serves an artifact whose bytes are not those of its digest.

mod access;
mod controller;
mod decide;
mod failure;
mod reconcile;
mod record;
mod spec;

pub use controller::{Options, controller};
