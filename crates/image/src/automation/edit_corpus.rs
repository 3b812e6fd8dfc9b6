//! The corpus of edits.
