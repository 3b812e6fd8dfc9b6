//! Owns the store on disk: `<kind>/<namespace>/<name>/<file>` below one root, written by renaming
//! so that a reader sees a whole file or none, and swept by age and number.
//!
//! A file's time on disk is the time of the injected clock, so that ages mean the same in a process
//! and in a scenario. One process writes to a root at a time.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use weir_runtime::SharedClock;

use crate::digest::digest_of;
use crate::{ArtifactError, Digest, Ignore, archive};

/// Whose artifacts: the source object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    kind: String,
    namespace: String,
    name: String,
}

impl Owner {
    /// The owner of this kind (written in lower case), namespace and name.
    ///
    /// # Errors
    /// [`ArtifactError::BadName`].
    pub fn new(kind: &str, namespace: &str, name: &str) -> Result<Self, ArtifactError> {
        for part in [kind, namespace, name] {
            check_name(part)?;
        }
        let kind = kind.to_ascii_lowercase();
        Ok(Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    fn dir(&self) -> String {
        format!("{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

pub(crate) fn check_name(part: &str) -> Result<(), ArtifactError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.:+@".contains(&b);
    if part.is_empty() || part.len() > 255 || part.starts_with('.') || !part.bytes().all(good) {
        return Err(ArtifactError::BadName(part.chars().take(100).collect()));
    }
    Ok(())
}

/// How long artifacts that are not current are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Older ones go.
    pub ttl: Duration,
    /// Of the rest, the newest this many stay.
    pub records: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            ttl: Duration::from_mins(1),
            records: 2,
        }
    }
}

/// A stored artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Path from the root of the store, which is also its path at the server.
    pub path: String,
    /// Digest of the file.
    pub digest: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// When it was stored.
    pub at: Timestamp,
}

/// What became of an artifact that was stored before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is there with the digest it should have.
    Intact,
    /// It is not there.
    Missing,
    /// It was there with other bytes; the file was removed.
    Damaged {
        /// The digest it had.
        found: String,
    },
}

/// A store below one directory. Cheap to clone.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    root: PathBuf,
    retention: Retention,
    clock: SharedClock,
    temporary: AtomicU64,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Storage({})", self.0.root.display())
    }
}

impl Storage {
    /// A store below `root`, which is made where it is not there.
    ///
    /// # Errors
    /// [`ArtifactError::Local`].
    pub fn new(
        root: impl Into<PathBuf>,
        retention: Retention,
        clock: SharedClock,
    ) -> Result<Self, ArtifactError> {
        let root: PathBuf = root.into();
        make_dir(&root).map_err(ArtifactError::local("making", &root))?;
        let root = root
            .canonicalize()
            .map_err(ArtifactError::local("finding", &root))?;
        let temporary = AtomicU64::new(0);
        Ok(Self(Arc::new(Inner {
            root,
            retention,
            clock,
            temporary,
        })))
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Packs `dir` less what `ignore` leaves out and stores it as the owner's `file`.
    ///
    /// # Errors
    /// [`ArtifactError::Local`], [`ArtifactError::BadName`].
    pub async fn store_dir(
        &self,
        owner: &Owner,
        file: &str,
        dir: &Path,
        ignore: Ignore,
    ) -> Result<Stored, ArtifactError> {
        check_name(file)?;
        let (inner, dir) = (self.0.clone(), dir.to_owned());
        let (owner, file) = (owner.clone(), file.to_owned());
        blocking("storing", move || inner.store(&owner, &file, &dir, &ignore)).await
    }

    /// Proves that the artifact at `path` is there with `digest`; one with other bytes is removed,
    /// so that nobody is served it.
    ///
    /// # Errors
    /// [`ArtifactError::Local`], [`ArtifactError::BadName`], [`ArtifactError::BadDigest`].
    pub async fn verify(&self, path: &str, digest: &str) -> Result<Held, ArtifactError> {
        let expected = Digest::parse(digest)?;
        let at = self.find(path)?;
        blocking("verifying", move || {
            if !at.symlink_metadata().is_ok_and(|m| m.is_file()) {
                return Ok(Held::Missing);
            }
            let failed = ArtifactError::local("verifying", &at);
            let (found, _) = File::open(&at).and_then(digest_of).map_err(&failed)?;
            if found == expected {
                return Ok(Held::Intact);
            }
            fs::remove_file(&at).map_err(&failed)?;
            Ok(Held::Damaged {
                found: found.to_string(),
            })
        })
        .await
    }

    /// Removes the owner's artifacts that are past their time. The one at `current` stays whatever
    /// its age. Returns the files removed.
    ///
    /// # Errors
    /// [`ArtifactError::Local`].
    pub async fn sweep(
        &self,
        owner: &Owner,
        current: Option<&str>,
    ) -> Result<Vec<String>, ArtifactError> {
        let (inner, dir) = (self.0.clone(), owner.dir());
        let current = current.map(|path| self.0.root.join(path));
        blocking("sweeping", move || inner.sweep(&dir, current.as_deref())).await
    }

    /// Removes all of an owner's artifacts. Returns how many there were.
    ///
    /// # Errors
    /// [`ArtifactError::Local`].
    pub async fn remove_all(&self, owner: &Owner) -> Result<usize, ArtifactError> {
        let at = self.0.root.join(owner.dir());
        blocking("removing", move || {
            let count = fs::read_dir(&at).map_or(0, Iterator::count);
            match fs::remove_dir_all(&at) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    Err(ArtifactError::local("removing", &at)(e))
                }
                _ => Ok(count),
            }
        })
        .await
    }

    /// The file at a path from the root, checked part by part.
    pub(crate) fn find(&self, path: &str) -> Result<PathBuf, ArtifactError> {
        path.split('/').try_for_each(check_name)?;
        Ok(self.0.root.join(path))
    }
}

impl Inner {
    fn store(
        &self,
        owner: &Owner,
        file: &str,
        dir: &Path,
        ignore: &Ignore,
    ) -> Result<Stored, ArtifactError> {
        let home = self.root.join(owner.dir());
        let failed = ArtifactError::local("storing", &home);
        make_dir(&home).map_err(&failed)?;
        // Names that start with a dot are never served, swept or taken for an artifact.
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = home.join(format!(".{file}.{number}"));
        let done = self.write(&temporary, &home.join(file), dir, ignore);
        if done.is_err() {
            // What is left of it is swept with the owner's directory at the latest.
            let _ = fs::remove_file(&temporary);
        }
        let (digest, size, at) = done?;
        Ok(Stored {
            path: format!("{}/{file}", owner.dir()),
            digest,
            size,
            at,
        })
    }

    fn write(
        &self,
        temporary: &Path,
        target: &Path,
        dir: &Path,
        ignore: &Ignore,
    ) -> Result<(String, u64, Timestamp), ArtifactError> {
        let failed = ArtifactError::local("storing", target);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(temporary)
            .map_err(&failed)?;
        let archived = archive(dir, ignore, io::BufWriter::new(&file))?;
        let at = self.clock.now();
        file.set_modified(SystemTime::from(at)).map_err(&failed)?;
        // The bytes are on disk before the name is: after a crash a name never stands for a torso.
        file.sync_all().map_err(&failed)?;
        fs::rename(temporary, target).map_err(&failed)?;
        Ok((archived.digest.to_string(), archived.size, at))
    }

    fn sweep(&self, dir: &str, current: Option<&Path>) -> Result<Vec<String>, ArtifactError> {
        /// More files than these wait for the next sweep.
        const AT_ONCE: usize = 1000;
        let home = self.root.join(dir);
        let failed = ArtifactError::local("sweeping", &home);
        let listed = match fs::read_dir(&home) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(&failed)?,
        };
        let mut files: Vec<(SystemTime, String)> = Vec::new();
        for entry in listed.take(AT_ONCE) {
            let entry = entry.map_err(&failed)?;
            let meta = entry.metadata().map_err(&failed)?;
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string())
                && !name.starts_with('.')
            {
                files.push((meta.modified().map_err(&failed)?, name));
            }
        }
        files.sort();
        let oldest = SystemTime::from(self.clock.now()).checked_sub(self.retention.ttl);
        let mut kept = 0;
        let mut removed = Vec::new();
        // Newest first; the current one counts among the kept ones.
        for (at, name) in files.into_iter().rev() {
            let path = home.join(&name);
            let is_current = current == Some(path.as_path());
            let expired = oldest.is_some_and(|oldest| at < oldest);
            if is_current || (!expired && kept < self.retention.records) {
                kept += 1;
                continue;
            }
            fs::remove_file(&path).map_err(&failed)?;
            removed.push(format!("{dir}/{name}"));
        }
        Ok(removed)
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    job: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    let done = tokio::task::spawn_blocking(job).await;
    done.unwrap_or_else(|_| Err(ArtifactError::stopped(doing)))
}
