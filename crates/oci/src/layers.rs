//! Owns unpacking an image's layers one over the other, with what upper ones take away.
//!
//! Links are left out, so an image that needs them does not run from here; what is unpacked cannot
//! reach outside its directory.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use flate2::read::GzDecoder;
use weir_artifact::{ArtifactError, Limits, extract};

use crate::OciError;

const TAKEN: &str = ".wh.";
const ALL_TAKEN: &str = ".wh..wh..opq";

/// Unpacks gzipped layers, lowest first, into `dest`, which is there and the caller's own. The
/// limits hold for each layer.
///
/// # Errors
/// [`OciError::Layer`], [`OciError::TooLarge`].
pub async fn unpack_layers(
    layers: Vec<Bytes>,
    dest: &Path,
    limits: &Limits,
) -> Result<(), OciError> {
    let (dest, limits) = (dest.to_owned(), limits.clone());
    let done = tokio::task::spawn_blocking(move || {
        layers
            .iter()
            .try_for_each(|layer| unpack(layer, &dest, &limits))
    });
    done.await
        .unwrap_or_else(|_| Err(OciError::Layer("the work was cut short".to_owned())))
}

fn unpack(layer: &Bytes, dest: &Path, limits: &Limits) -> Result<(), OciError> {
    let said = |e: io::Error| OciError::Layer(e.to_string());
    // What this layer takes away is of the layers below, so it goes before anything is unpacked.
    let markers = markers(layer, limits).map_err(said)?;
    for marker in &markers {
        let (Some(dir), Some(name)) =
            (marker.parent(), marker.file_name().and_then(|n| n.to_str()))
        else {
            continue;
        };
        let dir = dest.join(dir);
        if name == ALL_TAKEN {
            for entry in fs::read_dir(&dir).into_iter().flatten() {
                remove(&entry.map_err(said)?.path()).map_err(said)?;
            }
        } else if let Some(taken) = name
            .strip_prefix(TAKEN)
            .filter(|n| !matches!(*n, "" | "." | ".."))
        {
            remove(&dir.join(taken)).map_err(said)?;
        }
    }
    extract(layer.as_ref(), dest, limits).map_err(|e| match e {
        ArtifactError::TooLarge { what, limit } => OciError::TooLarge {
            what: format!("a layer: {what}"),
            limit,
        },
        e => OciError::Layer(e.to_string()),
    })?;
    markers
        .iter()
        .try_for_each(|marker| remove(&dest.join(marker)).map_err(said))
}

fn markers(layer: &Bytes, limits: &Limits) -> io::Result<Vec<PathBuf>> {
    let most = limits
        .bytes
        .saturating_add(limits.entries.saturating_mul(2048));
    let unpacked = io::Read::take(GzDecoder::new(layer.as_ref()), most);
    let mut archive = tar::Archive::new(unpacked);
    let mut found = Vec::new();
    let entries = usize::try_from(limits.entries).unwrap_or(usize::MAX);
    for entry in archive.entries()?.take(entries) {
        let path = entry?.path()?.into_owned();
        let inside = path
            .components()
            .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        let marks = path
            .file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| n.starts_with(TAKEN));
        if inside && marks {
            found.push(path);
        }
    }
    Ok(found)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
