//! Owns what a person does in the sandbox: pushing an image, pushing to Git, applying manifests.
//! Each goes the way it would go elsewhere, over the protocol.

use bytes::Bytes;
use weir_git::{Change, Expected, Git, NewCommit, Push, Reference, Remote};
use weir_object::{Kind, Object};
use weir_oci::{ImageBuild, ImageReference, LayerFile, Oci};
use weir_runtime::kinds::CRD;
use weir_runtime::{ApiFailure, Write};

use crate::Sandbox;
use crate::images::{REGISTRY, access};

/// Something a person's hand in the sandbox could not do.
#[derive(Debug, thiserror::Error)]
pub enum HandFailure {
    /// Git refused.
    #[error(transparent)]
    Git(#[from] weir_git::GitError),
    /// The Git server has no such repository and cannot make it. Terminal.
    #[error("the repository cannot be made: {0}")]
    Repository(String),
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] weir_oci::OciError),
    /// A manifest cannot be read. Terminal until it changes.
    #[error("`{file}` cannot be read: {what}")]
    Manifest {
        /// Which one.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The API refused.
    #[error(transparent)]
    Api(#[from] ApiFailure),
    /// A name that the sandbox does not have. Terminal.
    #[error("`{0}` is not a URL of this sandbox")]
    Name(String),
}

impl Sandbox {
    /// Pushes an image of these files (path and bytes, all executable) to the sandbox's registry.
    pub async fn push_image(
        &self,
        repository: &str,
        tag: &str,
        files: &[(&str, &[u8])],
        env: &[(&str, &str)],
        entrypoint: &[&str],
    ) -> Result<String, HandFailure> {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        let build = ImageBuild {
            files: files
                .iter()
                .map(|(path, content)| LayerFile {
                    path: (*path).to_owned(),
                    content: Bytes::copy_from_slice(content),
                    executable: true,
                })
                .collect(),
            env: env
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            entrypoint: owned(entrypoint),
            exposed_ports: vec![9898],
            ..ImageBuild::default()
        };
        let to = ImageReference::parse(&format!("{REGISTRY}/{repository}:{tag}"))?;
        let built = tokio::task::spawn_blocking(move || build.build()).await;
        let image = built.map_err(|e| HandFailure::Repository(e.to_string()))??;
        Ok(Oci::new(self.http())
            .push_image(&to, &image, &access())
            .await?)
    }

    /// Commits these files (path and bytes) on top of a branch and pushes it; the repository is
    /// made where it is not there. Says the new revision.
    pub async fn push_git(
        &self,
        repository: &str,
        branch: &str,
        files: &[(String, Vec<u8>)],
        message: &str,
    ) -> Result<String, HandFailure> {
        let made = |e: &dyn std::fmt::Display| HandFailure::Repository(e.to_string());
        let path = self.git().create(repository).map_err(|e| made(&e))?;
        let seconds = self.now().as_second();
        let first = branch.to_owned();
        let begun = tokio::task::spawn_blocking(move || begin(&path, &first, seconds)).await;
        begun.map_err(|e| made(&e))?.map_err(|e| made(&e))?;
        let git = Git::new(self.http());
        let remote = Remote::new(&format!("http://git.sandbox:3000/{repository}"))?;
        let reference = Reference::Branch(branch.to_owned());
        let mut checkout = git.checkout(&remote, &reference).await?;
        let before = checkout.oid().to_owned();
        let change = |(path, content): &(String, Vec<u8>)| Change {
            path: path.clone(),
            content: Some(content.clone()),
        };
        let commit = NewCommit {
            author_name: "Developer".to_owned(),
            author_email: "developer@example.com".to_owned(),
            message: message.to_owned(),
            seconds,
        };
        let Some(commit) = checkout
            .commit(files.iter().map(change).collect(), commit)
            .await?
        else {
            return Ok(checkout.revision().to_owned());
        };
        let push = Push {
            commit: commit.clone(),
            reference: format!("refs/heads/{branch}"),
            expected: Expected::At(before),
            force: false,
        };
        git.push(&remote, &checkout, push).await?;
        Ok(format!("{branch}@sha1:{commit}"))
    }

    /// Applies the manifests of a text, as `kubectl apply --server-side` would.
    pub async fn apply(&self, file: &str, text: &str) -> Result<(), HandFailure> {
        let unreadable = |what: String| HandFailure::Manifest {
            file: file.to_owned(),
            what,
        };
        let documents = weir_yaml::from_str_all(text).map_err(|e| unreadable(e.to_string()))?;
        let api = self.api().with_manager("kubectl");
        for document in documents {
            let object = Object::new(document).map_err(|e| unreadable(e.to_string()))?;
            let kind = self.kind_of(&object).await?;
            let kind =
                kind.ok_or_else(|| unreadable(format!("the API has no kind `{}`", object.kind())))?;
            let key = object.key();
            api.write(
                &kind,
                &key,
                Write::Apply {
                    fields: object,
                    force: true,
                },
            )
            .await?;
        }
        Ok(())
    }

    async fn kind_of(&self, object: &Object) -> Result<Option<Kind>, ApiFailure> {
        let (group, version) = weir_object::split_api_version(object.api_version());
        if let Some(known) = weir_schema::lookup(group, version, object.kind()) {
            return Ok(Some(Kind {
                group: known.group.clone().into(),
                version: known.version.clone().into(),
                kind: known.kind.clone().into(),
                plural: known.plural.clone().into(),
                namespaced: known.namespaced,
            }));
        }
        let definitions = self.api().list(&CRD, None, "").await?;
        let definition = definitions.iter().find(|d| {
            d.text(&["spec", "group"]) == group
                && d.text(&["spec", "names", "kind"]) == object.kind()
        });
        Ok(definition.map(|d| Kind {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            kind: object.kind().to_owned().into(),
            plural: d.text(&["spec", "names", "plural"]).to_owned().into(),
            namespaced: d.text(&["spec", "scope"]) == "Namespaced",
        }))
    }
}

/// Gives an empty repository its first commit, as hosting services do.
fn begin(path: &std::path::Path, branch: &str, seconds: i64) -> Result<(), git2::Error> {
    let repository = git2::Repository::open_bare(path)?;
    let reference = format!("refs/heads/{branch}");
    if repository.find_reference(&reference).is_ok() {
        return Ok(());
    }
    let who = git2::Signature::new(
        "Sandbox",
        "sandbox@example.com",
        &git2::Time::new(seconds, 0),
    )?;
    let readme = repository.blob(b"# Configuration\n")?;
    let mut tree = repository.treebuilder(None)?;
    tree.insert("README.md", readme, 0o100_644)?;
    let tree = repository.find_tree(tree.write()?)?;
    repository.commit(Some(&reference), &who, &who, "Begin", &tree, &[])?;
    Ok(())
}
