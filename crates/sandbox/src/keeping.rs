//! Owns what of the sandbox is kept in its state file beside the API's objects: Git repositories and
//! images, each again after it was pushed. It refuses what is only passing: logs, samples, processes.

use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use weir_apiserver::ApiServer;

use crate::gitserver::{GitPush, GitServer};
use crate::registry::{Registry, RegistryPush};

/// The largest repository that is kept, in bytes of its files.
const REPOSITORY_LIMIT: u64 = 512 << 20;

const GIT: &str = "git ";
const REGISTRY: &str = "registry ";

/// Puts back what an earlier sandbox kept.
pub(crate) fn put_back(server: &ApiServer, git_root: &Path, registry: &Registry) {
    for (name, bytes) in server.take_parcels() {
        if let Some(repository) = name.strip_prefix(GIT) {
            let unpacked = tar::Archive::new(&bytes[..]).unpack(git_root);
            if let Err(e) = unpacked {
                tracing::error!(repository, %e, "a kept repository could not be put back");
            }
        } else if let Some(piece) = name.strip_prefix(REGISTRY) {
            registry.put_back(piece, bytes);
        }
    }
}

/// Keeps what is pushed, until the servers are gone.
pub(crate) async fn run(
    server: ApiServer,
    git: GitServer,
    registry: Registry,
    mut git_pushes: Receiver<GitPush>,
    mut registry_pushes: Receiver<RegistryPush>,
) {
    loop {
        tokio::select! {
            push = git_pushes.recv() => match push {
                Ok(push) => keep_repository(&server, &git, &push.repository).await,
                // What was missed is kept with the next push of its repository.
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "pushes were too quick to be kept"),
                Err(RecvError::Closed) => return,
            },
            push = registry_pushes.recv() => match push {
                Ok(push) => {
                    for (name, bytes) in registry.pieces(&push) {
                        server.keep_parcel(&format!("{REGISTRY}{name}"), Some(bytes));
                    }
                }
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "pushes were too quick to be kept"),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

async fn keep_repository(server: &ApiServer, git: &GitServer, name: &str) {
    let Some(path) = git.directory(name) else {
        return;
    };
    let root = git.root().to_owned();
    let packed = tokio::task::spawn_blocking(move || pack(&root, &path)).await;
    match packed {
        Ok(Ok(bytes)) => server.keep_parcel(&format!("{GIT}{name}"), Some(bytes)),
        Ok(Err(e)) => tracing::error!(name, %e, "a repository could not be kept"),
        Err(e) => tracing::error!(name, %e, "keeping a repository broke off"),
    }
}

/// A bare repository's files as an archive, named from the root of all repositories.
fn pack(root: &Path, path: &Path) -> std::io::Result<Bytes> {
    let mut size = 0;
    measure(path, 0, &mut size)?;
    if size > REPOSITORY_LIMIT {
        let what = format!("it has {size} bytes, more than {REPOSITORY_LIMIT}");
        return Err(std::io::Error::other(what));
    }
    let name = path.strip_prefix(root).map_err(std::io::Error::other)?;
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.append_dir_all(name, path)?;
    let mut bytes = archive.into_inner()?;
    bytes.flush()?;
    Ok(bytes.into())
}

fn measure(path: &Path, depth: usize, size: &mut u64) -> std::io::Result<()> {
    if depth > 32 {
        return Err(std::io::Error::other("its directories nest too deep"));
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            measure(&entry.path(), depth + 1, size)?;
        } else {
            *size += entry.metadata()?.len();
        }
    }
    Ok(())
}
