//! Merges: server-side apply with field ownership, strategic merge, JSON merge and JSON patch.
//!
//! This room owns how two versions of an object become one, and who owns which field afterwards:
//! [`managed`] (structured merge with `metadata.managedFields`), [`strategic`], [`json_merge`] and
//! [`json_patch()`].
//!
//! It refuses defaulting and validation (`weir-schema`, the API server), storage, and any notion
//! of time but the text it is given.

mod element;
mod fieldset;
pub mod go;
mod json;
pub mod managed;
pub mod strategic;
mod typed;

pub use element::{Path, PathElement, UnreadableFields};
pub use fieldset::FieldSet;
pub use json::{PatchFailure, json_merge, json_patch};
