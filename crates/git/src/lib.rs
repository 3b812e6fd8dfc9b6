//! Git over HTTP, for every reconciler that reads or writes a repository.
//!
//! libgit2 does the Git; every byte it exchanges goes through the one HTTP seam of the runtime, so
//! timeouts, certificates, name resolution and in-memory tests are the same as for all else. This
//! room owns listing a remote, shallow checkouts into temporary directories, commits on top of
//! them, pushes that compare the ref they replace, and revision strings (`main@sha1:…`).
//!
//! It refuses to open sockets, to run a `git` program, to read the machine's Git configuration or
//! credential helpers, to follow or create symbolic links, and to retry: only a caller knows when.

mod checkout;
mod client;
mod commit;
mod exchange;
mod failure;
mod jobs;
mod reference;
mod remote;
mod transport;

pub use checkout::{Checkout, CommitInfo};
pub use client::{Git, Limits};
pub use commit::{Change, NewCommit};
pub use failure::GitError;
pub use jobs::{Expected, Push, RemoteRef};
pub use reference::{Head, Reference};
pub use remote::{Credentials, Remote};
