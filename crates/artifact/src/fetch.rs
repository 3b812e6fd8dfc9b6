//! Owns the consumer's way to an artifact: download to a file, prove the digest, only then unpack.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use futures::StreamExt as _;
use url::Url;
use weir_runtime::http::{Http, Request};

use crate::digest::Digesting;
use crate::{ArtifactError, Digest, Limits, extract};

/// Downloads the artifact at `url`, proves that it has `digest`, and unpacks it into `dest`, which
/// is there and the caller's own.
///
/// # Guarantees
/// Not a byte is unpacked before the digest is proved. Nothing is retried.
///
/// # Errors
/// Any [`ArtifactError`]; [`ArtifactError::NotFound`] where the server does not have it (yet).
pub async fn fetch_and_extract(
    http: &Http,
    url: &str,
    digest: &str,
    dest: &Path,
    limits: &Limits,
) -> Result<(), ArtifactError> {
    let expected = Digest::parse(digest)?;
    let parsed = Url::parse(url).map_err(|e| ArtifactError::BadUrl {
        url: url.to_owned(),
        what: e.to_string(),
    })?;
    let shown = weir_runtime::http::masked(&parsed);
    let response = http
        .send(Request::get(parsed).timeout(limits.timeout))
        .await?;
    match response.status.as_u16() {
        200 => {}
        404 => return Err(ArtifactError::NotFound { url: shown }),
        status => return Err(ArtifactError::Status { url: shown, status }),
    }
    let file = tempfile::tempfile().map_err(ArtifactError::local("making", Path::new("a file")))?;
    let mut to = Digesting::new(file);
    let mut body = response.body;
    let mut left = limits.download;
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        left = left
            .checked_sub(chunk.len() as u64)
            .ok_or(ArtifactError::TooLarge {
                what: "its size in bytes",
                limit: limits.download,
            })?;
        // Small appends to a local file; a thread for each would cost more than it spares.
        to.write_all(&chunk)
            .map_err(ArtifactError::local("writing", Path::new("a file")))?;
    }
    let (file, found, _) = to.finish();
    if found != expected {
        return Err(ArtifactError::DigestMismatch {
            url: shown,
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }
    let (dest, limits) = (dest.to_owned(), limits.clone());
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut file: File = file;
        file.seek(SeekFrom::Start(0))
            .map_err(ArtifactError::local("reading", &dest))?;
        extract(std::io::BufReader::new(file), &dest, &limits)
    });
    unpacking
        .await
        .unwrap_or_else(|_| Err(ArtifactError::stopped("unpacking")))
}
