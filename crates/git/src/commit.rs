//! Owns commits made on top of a checkout. Only the changed paths are touched: all else of the tree,
//! links and submodules included, is carried over byte for byte.

use std::fs;
use std::io;
use std::path::Path;

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Repository, Signature, Time};

use crate::checkout::{bad_name, info_of};
use crate::{Checkout, GitError, Head};

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path from the root, with `/` between its parts.
    pub path: String,
    /// The file's new bytes, or nothing to remove it.
    pub content: Option<Vec<u8>>,
}

/// Who commits, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommit {
    /// The author's name.
    pub author_name: String,
    /// The author's address.
    pub author_email: String,
    /// The message.
    pub message: String,
    /// The time, in seconds since 1970.
    pub seconds: i64,
}

impl Checkout {
    /// Commits `changes` on top of this checkout and moves it there: its files and
    /// [`Checkout::oid`] are those of the new commit afterwards. `None` where nothing differs.
    /// Nothing is pushed.
    ///
    /// # Errors
    /// [`GitError::BadPath`] for a path that leaves the tree or goes through a link or a submodule;
    /// [`GitError::Local`].
    pub async fn commit(
        &mut self,
        changes: Vec<Change>,
        commit: NewCommit,
    ) -> Result<Option<String>, GitError> {
        let (store, head, files) = (self.store(), self.head.clone(), self.dir().to_owned());
        let made = tokio::task::spawn_blocking(move || {
            let made = make(&store.repository(), &head, &changes, &commit)?;
            if made.is_some() {
                for change in &changes {
                    write_file(&files, change)
                        .map_err(GitError::local("writing the committed files"))?;
                }
            }
            Ok(made)
        });
        let made = made.await.unwrap_or_else(|e| {
            Err(GitError::Local {
                doing: "committing",
                what: e.to_string(),
            })
        })?;
        let Some((oid, info)) = made else {
            return Ok(None);
        };
        let revision = match self.head.revision.rsplit_once("sha1:") {
            Some((front, _)) => format!("{front}sha1:{oid}"),
            None => format!("sha1:{oid}"),
        };
        self.head = Head {
            oid: oid.clone(),
            revision,
        };
        self.info = info;
        Ok(Some(oid))
    }
}

fn make(
    repository: &Path,
    head: &Head,
    changes: &[Change],
    commit: &NewCommit,
) -> Result<Option<(String, crate::CommitInfo)>, GitError> {
    let said = |e: git2::Error| GitError::Local {
        doing: "committing",
        what: e.message().to_owned(),
    };
    let repo = Repository::open_bare(repository).map_err(said)?;
    let parent = repo
        .find_commit(git2::Oid::from_str(&head.oid).map_err(said)?)
        .map_err(said)?;
    let tree = parent.tree().map_err(said)?;
    let mut update = TreeUpdateBuilder::new();
    for change in changes {
        let there = check(&tree, &repo, &change.path)?;
        match &change.content {
            Some(bytes) => {
                let blob = repo.blob(bytes).map_err(said)?;
                update.upsert(change.path.as_str(), blob, there.unwrap_or(FileMode::Blob));
            }
            None if there.is_some() => {
                update.remove(change.path.as_str());
            }
            None => {}
        }
    }
    let new = update.create_updated(&repo, &tree).map_err(said)?;
    if new == tree.id() {
        return Ok(None);
    }
    let new = repo.find_tree(new).map_err(said)?;
    let time = Time::new(commit.seconds, 0);
    let author = Signature::new(&commit.author_name, &commit.author_email, &time).map_err(said)?;
    let oid = repo
        .commit(None, &author, &author, &commit.message, &new, &[&parent])
        .map_err(said)?;
    let made = repo.find_commit(oid).map_err(said)?;
    Ok(Some((oid.to_string(), info_of(&made))))
}

/// The mode of the file at `path`, or nothing where there is no such file yet.
fn check(
    tree: &git2::Tree<'_>,
    repo: &Repository,
    path: &str,
) -> Result<Option<FileMode>, GitError> {
    let bad = |what| GitError::BadPath {
        path: path.to_owned(),
        what,
    };
    let mut at = Some(tree.clone());
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if let Some(what) = bad_name(part.as_bytes()) {
            return Err(bad(what));
        }
        let entry = at
            .as_ref()
            .and_then(|t| t.get_name(part).map(|e| e.to_owned()));
        let last = parts.peek().is_none();
        at = match entry.as_ref().map(git2::TreeEntry::filemode) {
            None => None,
            Some(0o040_000) if !last => entry
                .and_then(|e| e.to_object(repo).ok())
                .and_then(|o| o.into_tree().ok()),
            Some(0o100_644 | 0o100_664) if last => return Ok(Some(FileMode::Blob)),
            Some(0o100_755) if last => return Ok(Some(FileMode::BlobExecutable)),
            Some(0o040_000) => return Err(bad("it is a directory")),
            Some(_) => return Err(bad("a file, a link or a submodule stands in its way")),
        };
    }
    Ok(None)
}

/// Writes to the checkout's files what the commit holds. The path is checked, and the files hold no
/// links, so it stays inside.
fn write_file(files: &Path, change: &Change) -> io::Result<()> {
    let path = files.join(&change.path);
    match &change.content {
        None => match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        },
        Some(bytes) => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, bytes)
        }
    }
}
