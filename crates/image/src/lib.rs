//! Images: from a tag in a registry to a commit in Git.
//!
//! This room owns ImageRepository (which tags are there), ImagePolicy (which of them counts) and
//! ImageUpdateAutomation (writing it down in Git). Each is *observe → decide → act → record*: the
//! facts are gathered into one value, a pure function makes a plan of it, and the outcome is recorded
//! as conditions and events under the names that other tools know.
//!
//! It refuses to touch any byte of a file but the marked values, to force a push, to guess at fields
//! that it does not support (they are named instead), and to share tags between repositories.

mod automation;
mod controllers;
mod failure;
mod policy;
mod record;
mod repository;
mod secrets;
mod subject;
mod tags;

pub use controllers::{Options, controllers};
