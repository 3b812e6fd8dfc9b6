//! Owns a fetched commit on disk: a bare store and, beside it, the commit's files.
//!
//! Files are written by hand from the tree and never by libgit2's checkout: symbolic links are not
//! made, no attribute or filter applies, and each name, size and count is checked before a byte is
//! written. So nothing in a repository can reach outside its directory.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{ObjectType, Oid, Repository};
use tempfile::TempDir;

use crate::exchange::Stop;
use crate::{GitError, Head, Limits};

/// What a commit says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitInfo {
    /// The author's name.
    pub author_name: String,
    /// The author's address.
    pub author_email: String,
    /// When it was committed, in seconds since 1970.
    pub seconds: i64,
    /// The whole message.
    pub message: String,
}

impl CommitInfo {
    /// The first line of the message.
    pub fn subject(&self) -> &str {
        self.message
            .trim_start()
            .lines()
            .next()
            .unwrap_or_default()
            .trim_end()
    }
}

/// The directory of a checkout. Removed with the last handle.
#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<TempDir>);

impl Store {
    pub(crate) fn create() -> Result<Self, GitError> {
        let failed = GitError::local("making a temporary directory");
        let dir = tempfile::Builder::new()
            .prefix("weir-git-")
            .tempdir()
            .map_err(&failed)?;
        fs::create_dir(dir.path().join("files")).map_err(&failed)?;
        Ok(Self(Arc::new(dir)))
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.0.path().join("store.git")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.0.path().join("files")
    }
}

/// A commit's files in a temporary directory, which is removed with the value.
#[derive(Debug)]
pub struct Checkout {
    store: Store,
    files: PathBuf,
    pub(crate) head: Head,
    pub(crate) info: CommitInfo,
}

impl Checkout {
    pub(crate) fn new(store: Store, head: Head, info: CommitInfo) -> Self {
        let files = store.files();
        Self {
            store,
            files,
            head,
            info,
        }
    }

    /// The directory that holds the files, and nothing else.
    pub fn dir(&self) -> &Path {
        &self.files
    }

    /// The commit's 40 hexadecimal digits.
    pub fn oid(&self) -> &str {
        &self.head.oid
    }

    /// The revision string, such as `main@sha1:…`.
    pub fn revision(&self) -> &str {
        &self.head.revision
    }

    /// What the commit says about itself.
    pub fn info(&self) -> &CommitInfo {
        &self.info
    }

    pub(crate) fn store(&self) -> Store {
        self.store.clone()
    }
}

pub(crate) fn info_of(commit: &git2::Commit<'_>) -> CommitInfo {
    let author = commit.author();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    CommitInfo {
        author_name: text(author.name_bytes()),
        author_email: text(author.email_bytes()),
        seconds: commit.time().seconds(),
        message: text(commit.message_bytes()),
    }
}

const EXECUTABLE: i32 = 0o100_755;
const LINK: i32 = 0o120_000;
/// Deeper trees are refused; the limit on entries bounds the rest.
const MAX_DEPTH: usize = 128;

/// Writes the commit's files below `dir`, which is empty and ours.
pub(crate) fn write_tree(
    repo: &Repository,
    commit: &git2::Commit<'_>,
    dir: &Path,
    limits: &Limits,
    url: &str,
    stop: &Stop,
) -> Result<(), GitError> {
    let said = |e: git2::Error| GitError::of_libgit2(&e, "reading the commit", url);
    let failed = GitError::local("writing files");
    let too_large = |what, limit| GitError::TooLarge {
        url: url.to_owned(),
        what,
        limit,
    };
    let odb = repo.odb().map_err(said)?;
    let (mut entries, mut bytes) = (0_u64, 0_u64);
    let mut open: Vec<(Oid, PathBuf, usize)> = vec![(commit.tree_id(), dir.to_owned(), 0)];
    while let Some((oid, at, depth)) = open.pop() {
        let tree = repo.find_tree(oid).map_err(said)?;
        for entry in &tree {
            if stop.is_set() {
                return Err(GitError::Local {
                    doing: "writing files",
                    what: "the operation was ended".to_owned(),
                });
            }
            entries += 1;
            if entries > limits.entries {
                return Err(too_large("the number of files", limits.entries));
            }
            let name = entry.name_bytes();
            let path = at.join(OsStr::from_bytes(name));
            if let Some(what) = bad_name(name) {
                let shown = path
                    .strip_prefix(dir)
                    .unwrap_or(&path)
                    .display()
                    .to_string();
                return Err(GitError::BadPath { path: shown, what });
            }
            match entry.kind() {
                Some(ObjectType::Tree) if depth < MAX_DEPTH => {
                    fs::create_dir(&path).map_err(&failed)?;
                    open.push((entry.id(), path, depth + 1));
                }
                Some(ObjectType::Tree) => {
                    return Err(too_large("the depth of directories", MAX_DEPTH as u64));
                }
                Some(ObjectType::Blob) if entry.filemode() != LINK => {
                    let (size, _) = odb.read_header(entry.id()).map_err(said)?;
                    bytes = bytes.saturating_add(size as u64);
                    if bytes > limits.tree_bytes {
                        return Err(too_large(
                            "the size of all files in bytes",
                            limits.tree_bytes,
                        ));
                    }
                    let mode = if entry.filemode() == EXECUTABLE {
                        0o755
                    } else {
                        0o644
                    };
                    let blob = odb.read(entry.id()).map_err(said)?;
                    OpenOptions::new()
                        .write(true)
                        .create_new(true)
                        .mode(mode)
                        .open(&path)
                        .and_then(|mut file| file.write_all(blob.data()))
                        .map_err(&failed)?;
                }
                // Links, submodules and what is not known have no file.
                _ => {}
            }
        }
    }
    Ok(())
}

/// Why a name in a tree or a path's part cannot be a file's.
pub(crate) fn bad_name(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("a part of it is empty"),
        b"." | b".." => Some("`.` and `..` are not allowed in it"),
        _ if name.eq_ignore_ascii_case(b".git") => Some("`.git` is not allowed in it"),
        _ if name.iter().any(|b| matches!(b, b'/' | b'\\' | 0)) => {
            Some("a part of it holds a slash, a backslash or a null byte")
        }
        _ if name.len() > 255 => Some("a part of it is longer than 255 bytes"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for bad in ["", ".", "..", ".git", ".GIT", "a/b", "a\\b", "a\0"] {
            assert!(bad_name(bad.as_bytes()).is_some(), "{bad}");
        }
        assert!(bad_name(&[b'a'; 256]).is_some());
        for good in ["a", ".gitignore", "...", "ä", "git"] {
            assert_eq!(bad_name(good.as_bytes()), None, "{good}");
        }
    }

    #[test]
    fn the_subject_is_the_first_line() {
        let info = |m: &str| CommitInfo {
            message: m.into(),
            ..CommitInfo::default()
        };
        assert_eq!(info("\nfirst \nsecond").subject(), "first");
        assert_eq!(info("").subject(), "");
    }
}
