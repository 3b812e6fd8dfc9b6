//! Artifacts: what a source hands to those who build from it, as one file that anyone can verify.
//!
//! This room owns the tarball (the same bytes for the same files), which files of a source are left
//! out, the store on disk with its names, retention and server, and the consumer's side: download,
//! verify, then unpack within limits.
//!
//! It refuses to unpack before the digest is proved, to make or follow links, to write outside the
//! directory it was given, and to know any kind of source.

mod archive;
mod digest;
mod extract;
mod failure;
mod fetch;
mod glob;
mod ignore;
mod serve;
mod storage;

pub use archive::{Archived, archive};
pub use digest::{Digest, sha256_of};
pub use extract::{Limits, extract};
pub use failure::ArtifactError;
pub use fetch::fetch_and_extract;
pub use ignore::Ignore;
pub use storage::{Held, Owner, Retention, Storage, Stored};
