//! Owns unpacking: within limits, inside the given directory, and never through a link.
//!
//! No link is ever made, so no path below the directory can lead out of it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

use crate::ArtifactError;

/// Bounds of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the compressed file.
    pub download: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files and directories.
    pub entries: u64,
    /// Bytes of one path.
    pub path: usize,
    /// How long a download may take.
    pub timeout: std::time::Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            download: 256 << 20,
            bytes: 1 << 30,
            entries: 200_000,
            path: 4096,
            timeout: std::time::Duration::from_mins(1),
        }
    }
}

/// Unpacks a tar.gz into `dest`, which is there and the caller's own. Links are left out; what is
/// neither a file nor a directory is refused.
///
/// # Errors
/// [`ArtifactError::BadEntry`], [`ArtifactError::TooLarge`], [`ArtifactError::Damaged`],
/// [`ArtifactError::Local`]. Files unpacked before the failure stay: throw `dest` away.
pub fn extract(from: impl Read, dest: &Path, limits: &Limits) -> Result<(), ArtifactError> {
    // Headers and padding count as well, so that a bomb of empty entries is no way around.
    let most = limits
        .bytes
        .saturating_add(limits.entries.saturating_mul(2048));
    let mut left = Budget {
        inner: GzDecoder::new(from),
        left: most,
        passed: false,
    };
    let unpacked = unpack(&mut left, dest, limits);
    if left.passed {
        return Err(ArtifactError::TooLarge {
            what: "its unpacked size in bytes",
            limit: limits.bytes,
        });
    }
    unpacked
}

fn unpack(from: impl Read, dest: &Path, limits: &Limits) -> Result<(), ArtifactError> {
    let damaged = |e: io::Error| ArtifactError::Damaged(e.to_string());
    let mut archive = Archive::new(from);
    let (mut count, mut bytes) = (0_u64, 0_u64);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        count += 1;
        if count > limits.entries {
            let limit = limits.entries;
            return Err(ArtifactError::TooLarge {
                what: "the number of entries",
                limit,
            });
        }
        let kind = entry.header().entry_type();
        if matches!(
            kind,
            EntryType::Symlink | EntryType::Link | EntryType::XGlobalHeader
        ) {
            continue;
        }
        let Some(path) = safe(&entry.path_bytes(), limits)? else {
            continue;
        };
        let at = dest.join(&path);
        let failed = ArtifactError::local("unpacking", &path);
        let mode = entry.header().mode().map_err(damaged)? & 0o777;
        match kind {
            EntryType::Directory => {
                directories(&at).map_err(&failed)?;
                let rights = fs::Permissions::from_mode(mode | 0o700);
                fs::set_permissions(&at, rights).map_err(&failed)?;
            }
            EntryType::Regular | EntryType::Continuous => {
                bytes = bytes.saturating_add(entry.size());
                if bytes > limits.bytes {
                    let limit = limits.bytes;
                    return Err(ArtifactError::TooLarge {
                        what: "the size of all files",
                        limit,
                    });
                }
                if let Some(parent) = at.parent() {
                    directories(parent).map_err(&failed)?;
                }
                let mut file = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(mode)
                    .open(&at)
                    .map_err(&failed)?;
                let size = entry.size();
                let written = io::copy(&mut entry, &mut file).map_err(damaged)?;
                if written != size {
                    return Err(ArtifactError::Damaged(format!(
                        "`{}` ends after {written} of {size} bytes",
                        path.display()
                    )));
                }
            }
            _ => {
                return Err(bad(
                    &entry.path_bytes(),
                    "only files and directories are unpacked",
                ));
            }
        }
    }
    Ok(())
}

fn directories(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
}

fn bad(path: &[u8], what: &'static str) -> ArtifactError {
    let path = String::from_utf8_lossy(path).chars().take(200).collect();
    ArtifactError::BadEntry { path, what }
}

/// The path inside the destination; nothing for the destination itself.
fn safe(raw: &[u8], limits: &Limits) -> Result<Option<PathBuf>, ArtifactError> {
    if raw.len() > limits.path {
        return Err(bad(raw, "its path is too long"));
    }
    let text = std::str::from_utf8(raw).map_err(|_| bad(raw, "its path is not UTF-8"))?;
    if text.is_empty() {
        return Err(bad(raw, "its path is empty"));
    }
    if text.contains(['\\', '\0']) {
        return Err(bad(raw, "its path holds a backslash or a null byte"));
    }
    let mut out = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::Normal(part) => out.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err(bad(raw, "its path holds `..`")),
            Component::RootDir | Component::Prefix(_) => {
                return Err(bad(raw, "its path is absolute"));
            }
        }
    }
    Ok(Some(out).filter(|path| !path.as_os_str().is_empty()))
}

/// Ends the stream with a failure once too many bytes came out of it.
struct Budget<R> {
    inner: R,
    left: u64,
    passed: bool,
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        let Some(left) = self.left.checked_sub(n as u64) else {
            self.passed = true;
            return Err(io::Error::other("the unpacked data passes the limit"));
        };
        self.left = left;
        Ok(n)
    }
}
