//! Owns the tarball: the same files give the same bytes, whoever packs them and when.
//!
//! Entries are in order of name within each directory, parents first, with the root as `.`. Owners,
//! times and group rights are not carried. Only directories and regular files are packed; links,
//! devices and sockets are left out without a word, as consumers could not use them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::digest::Digesting;
use crate::{ArtifactError, Digest, Ignore};

/// What was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// The digest of the compressed file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Files and directories in it.
    pub entries: u64,
}

/// Packs `dir`, less what `ignore` leaves out, into `to`.
///
/// # Errors
/// [`ArtifactError::Local`].
pub fn archive(dir: &Path, ignore: &Ignore, to: impl Write) -> Result<Archived, ArtifactError> {
    let failed = ArtifactError::local("packing", dir);
    let gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Digesting::new(to), Compression::default());
    let mut tar = Builder::new(gzip);
    let mut entries = 0;
    pack(&mut tar, dir, ignore, &mut entries).map_err(&failed)?;
    let digesting = tar
        .into_inner()
        .and_then(flate2::write::GzEncoder::finish)
        .map_err(&failed)?;
    let (mut to, digest, size) = digesting.finish();
    to.flush().map_err(&failed)?;
    Ok(Archived {
        digest,
        size,
        entries,
    })
}

fn pack<W: Write>(
    tar: &mut Builder<W>,
    root: &Path,
    ignore: &Ignore,
    entries: &mut u64,
) -> io::Result<()> {
    // A stack in reverse order of name makes each directory's content follow it at once.
    let mut open: Vec<(PathBuf, Vec<String>)> = vec![(root.to_owned(), Vec::new())];
    while let Some((path, parts)) = open.pop() {
        let meta = path.symlink_metadata()?;
        let names: Vec<&str> = parts.iter().map(String::as_str).collect();
        let left_out = !parts.is_empty() && ignore.excludes(&names, meta.is_dir());
        let name = if parts.is_empty() {
            ".".to_owned()
        } else {
            parts.join("/")
        };
        if meta.is_dir() {
            if !left_out {
                append(tar, &name, EntryType::Directory, 0o750, 0, io::empty())?;
                *entries += 1;
            }
            let mut below: Vec<String> = Vec::new();
            for entry in fs::read_dir(&path)? {
                // Names that are not UTF-8 cannot be carried by every consumer.
                below.extend(entry?.file_name().into_string().ok());
            }
            below.sort_unstable_by(|a, b| b.cmp(a));
            for name in below {
                let mut parts = parts.clone();
                let path = path.join(&name);
                parts.push(name);
                open.push((path, parts));
            }
        } else if meta.is_file() && !left_out {
            let mode = if meta.permissions().mode() & 0o111 == 0 {
                0o600
            } else {
                0o700
            };
            append(
                tar,
                &name,
                EntryType::Regular,
                mode,
                meta.len(),
                File::open(&path)?,
            )?;
            *entries += 1;
        }
    }
    Ok(())
}

fn append<W: Write>(
    tar: &mut Builder<W>,
    name: &str,
    kind: EntryType,
    mode: u32,
    size: u64,
    content: impl io::Read,
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    if !name.is_ascii() || header.set_path(name).is_err() {
        tar.append_pax_extensions([("path", name.as_bytes())])?;
        // Readers that know no extensions see a shortened name.
        let short: String = name.chars().filter(char::is_ascii).take(100).collect();
        let short = short.trim_end_matches('/');
        header.set_path(if short.is_empty() { "long-name" } else { short })?;
    }
    header.set_cksum();
    tar.append(&header, content.take_exactly(size))
}

/// Reads as many bytes as the header says, also of a file that changes meanwhile.
trait TakeExactly: io::Read + Sized {
    fn take_exactly(self, size: u64) -> Exactly<Self> {
        Exactly {
            inner: self,
            left: size,
        }
    }
}

impl<R: io::Read> TakeExactly for R {}

struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: io::Read> io::Read for Exactly<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(out.len());
        if want == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut out[..want])?;
        if n == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file became shorter",
            ));
        }
        self.left -= n as u64;
        Ok(n)
    }
}
