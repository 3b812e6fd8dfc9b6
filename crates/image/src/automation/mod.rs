//! ImageUpdateAutomation: writing chosen images into a Git repository.

pub(crate) mod decide;
pub(crate) mod edit;
pub(crate) mod files;
pub(crate) mod marker;
pub(crate) mod message;
pub(crate) mod reconcile;
pub(crate) mod select;
pub(crate) mod source;
pub(crate) mod spec;

#[cfg(test)]
mod edit_corpus;
