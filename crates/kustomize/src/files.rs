//! Owns where a build reads from: files below one root, named by clean relative paths. It refuses
//! everything outside of the root, symbolic links included.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Why a file cannot be read. Terminal until the files change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The path leads out of the root. Terminal.
    #[error("`{0}` leads out of the source; keep all files inside of it")]
    Outside(String),
    /// A symbolic link is on the way. Terminal.
    #[error("`{0}` is a symbolic link, which is not followed; put the file itself there")]
    Link(String),
    /// The file is too large. Terminal.
    #[error("`{path}` is larger than {limit} bytes; split it")]
    TooLarge {
        /// The file.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// The file is not text. Terminal.
    #[error("`{0}` is not UTF-8 text; save it as such")]
    NotText(String),
    /// The file cannot be read. Retryable.
    #[error("`{path}` cannot be read: {what}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        what: String,
    },
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// Nothing.
    Absent,
}

/// Files below a root. Paths are relative, with `/`, without `.` and `..`; the root is empty.
pub trait Files {
    /// What is at `path`.
    fn entry(&self, path: &str) -> Result<Entry, FileError>;
    /// The text of a file of at most `limit` bytes.
    fn read(&self, path: &str, limit: usize) -> Result<String, FileError>;
    /// The names in a directory, in order.
    fn list(&self, path: &str) -> Result<Vec<String>, FileError>;
}

/// The clean path of `name` seen from directory `dir`, both below the root.
pub(crate) fn join(dir: &str, name: &str) -> Result<String, FileError> {
    let outside = || FileError::Outside(name.to_owned());
    if name.starts_with('/') {
        return Err(outside());
    }
    let mut parts: Vec<&str> = dir.split('/').filter(|p| !p.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(outside)?),
            part if part.contains('\0') => return Err(outside()),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Files in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryFiles(pub BTreeMap<String, String>);

impl MemoryFiles {
    /// Files from pairs of path and text.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(
            files
                .into_iter()
                .map(|(p, t)| (p.to_owned(), t.to_owned()))
                .collect(),
        )
    }
}

impl Files for MemoryFiles {
    fn entry(&self, path: &str) -> Result<Entry, FileError> {
        if self.0.contains_key(path) {
            return Ok(Entry::File);
        }
        let inside = format!("{path}/");
        let any = path.is_empty() || self.0.keys().any(|k| k.starts_with(&inside));
        Ok(if any { Entry::Directory } else { Entry::Absent })
    }

    fn read(&self, path: &str, limit: usize) -> Result<String, FileError> {
        let text = self.0.get(path).ok_or_else(|| FileError::Unreadable {
            path: path.to_owned(),
            what: "there is no such file".to_owned(),
        })?;
        if text.len() > limit {
            return Err(FileError::TooLarge {
                path: path.to_owned(),
                limit,
            });
        }
        Ok(text.clone())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, FileError> {
        let inside = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let names: BTreeSet<&str> = self
            .0
            .keys()
            .filter_map(|k| k.strip_prefix(&inside))
            .filter_map(|rest| rest.split('/').next())
            .collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }
}

/// Files of a directory on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryFiles(PathBuf);

impl DirectoryFiles {
    /// The files below `root`, which may itself be reached through links.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The path on disk, after proving that no part of it is a link.
    fn locate(&self, path: &str) -> Result<(PathBuf, Entry), FileError> {
        let mut at = self.0.clone();
        let mut entry = Entry::Directory;
        for part in path.split('/').filter(|p| !p.is_empty()) {
            if matches!(part, "." | "..") || Path::new(part).components().count() != 1 {
                return Err(FileError::Outside(path.to_owned()));
            }
            at.push(part);
            entry = match std::fs::symlink_metadata(&at) {
                Ok(found) if found.is_symlink() => return Err(FileError::Link(path.to_owned())),
                Ok(found) if found.is_dir() => Entry::Directory,
                Ok(found) if found.is_file() => Entry::File,
                Err(e) if !is_absence(e.kind()) => return Err(unreadable(path, &e)),
                Ok(_) | Err(_) => return Ok((at, Entry::Absent)),
            };
        }
        Ok((at, entry))
    }
}

/// Whether a failure only says that nothing is there, or that nothing with that name could be.
fn is_absence(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound};
    matches!(
        kind,
        NotFound | NotADirectory | InvalidFilename | InvalidInput
    )
}

fn unreadable(path: &str, e: &std::io::Error) -> FileError {
    FileError::Unreadable {
        path: path.to_owned(),
        what: e.to_string(),
    }
}

impl Files for DirectoryFiles {
    fn entry(&self, path: &str) -> Result<Entry, FileError> {
        let (at, entry) = self.locate(path)?;
        // The root has no part that was looked at.
        if path.is_empty() && !at.is_dir() {
            return Ok(Entry::Absent);
        }
        Ok(entry)
    }

    fn read(&self, path: &str, limit: usize) -> Result<String, FileError> {
        let (at, _) = self.locate(path)?;
        let file = std::fs::File::open(&at).map_err(|e| unreadable(path, &e))?;
        let mut bytes = Vec::new();
        let most = (limit as u64).saturating_add(1);
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(|e| unreadable(path, &e))?;
        if bytes.len() > limit {
            return Err(FileError::TooLarge {
                path: path.to_owned(),
                limit,
            });
        }
        String::from_utf8(bytes).map_err(|_| FileError::NotText(path.to_owned()))
    }

    fn list(&self, path: &str) -> Result<Vec<String>, FileError> {
        let (at, _) = self.locate(path)?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&at).map_err(|e| unreadable(path, &e))? {
            let name = entry.map_err(|e| unreadable(path, &e))?.file_name();
            // A name that is not UTF-8 cannot be asked for either.
            names.extend(name.into_string().ok());
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(join("a/b", "../c/./d.yaml"), Ok("a/c/d.yaml".into()));
        assert_eq!(join("", "./x"), Ok("x".into()));
        assert_eq!(join("a", ".."), Ok(String::new()));
        for name in ["../../x", "/etc/passwd", "b/../../../x"] {
            assert_eq!(
                join("a", name),
                Err(FileError::Outside(name.into())),
                "{name}"
            );
        }
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("real.yaml"), "a: 1").expect("written");
        std::os::unix::fs::symlink("real.yaml", dir.path().join("link.yaml")).expect("linked");
        std::os::unix::fs::symlink("/etc", dir.path().join("etc")).expect("linked");
        let files = DirectoryFiles::new(dir.path());
        assert_eq!(files.read("real.yaml", 10), Ok("a: 1".into()));
        assert_eq!(
            files.read("link.yaml", 10),
            Err(FileError::Link("link.yaml".into()))
        );
        assert_eq!(
            files.entry("etc/passwd"),
            Err(FileError::Link("etc/passwd".into()))
        );
        assert_eq!(files.entry("none"), Ok(Entry::Absent));
        let too_large = FileError::TooLarge {
            path: "real.yaml".into(),
            limit: 2,
        };
        assert_eq!(files.read("real.yaml", 2), Err(too_large));
    }
}
