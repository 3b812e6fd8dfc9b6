//! Owns image references as text: `registry/repository:tag@digest`, with the defaults people know.

use std::fmt;

use weir_artifact::Digest;

use crate::OciError;

const DEFAULT_REGISTRY: &str = "index.docker.io";

/// An image: where it is, and which one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// The registry's host, with its port where it has one.
    pub registry: String,
    /// The repository in it.
    pub repository: String,
    /// The tag.
    pub tag: Option<String>,
    /// The manifest's digest.
    pub digest: Option<String>,
}

impl ImageReference {
    /// Reads a reference. Without a registry it is Docker Hub's, where a name of one part is in
    /// `library/`. Neither tag nor digest is made up.
    ///
    /// # Errors
    /// [`OciError::BadReference`].
    pub fn parse(text: &str) -> Result<Self, OciError> {
        let bad = |what| OciError::BadReference {
            name: text.chars().take(300).collect(),
            what,
        };
        if text.contains("://") {
            return Err(bad(
                "it has a scheme, such as `https://`, which an image name has not",
            ));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let valid = digest.starts_with("sha256:") && Digest::parse(digest).is_ok();
                if !valid {
                    return Err(bad("its digest is not `sha256:` and 64 hexadecimal digits"));
                }
                (rest, Some(digest.to_owned()))
            }
            None => (text, None),
        };
        let slash = rest.rfind('/').map_or(0, |i| i + 1);
        let (name, tag) = match rest.get(slash..).and_then(|last| last.rfind(':')) {
            Some(colon) => {
                let (name, tag) = rest.split_at(slash + colon);
                (name, Some(tag.trim_start_matches(':').to_owned()))
            }
            None => (rest, None),
        };
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(bad("its tag holds characters that a tag cannot have"));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((host, repository)) if host.contains(['.', ':']) || host == "localhost" => {
                (host.to_owned(), repository.to_owned())
            }
            _ => {
                let library = if name.contains('/') { "" } else { "library/" };
                (DEFAULT_REGISTRY.to_owned(), format!("{library}{name}"))
            }
        };
        let registry = match registry.as_str() {
            "docker.io" => DEFAULT_REGISTRY.to_owned(),
            _ => registry,
        };
        if !is_host(&registry) {
            return Err(bad("its registry is no host name"));
        }
        if repository.len() > 255 || !repository.split('/').all(is_part) {
            return Err(bad(
                "its repository holds characters that a repository cannot have",
            ));
        }
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }

    /// The registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same image under a tag.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        }
    }

    /// The same image by its digest.
    #[must_use]
    pub fn with_digest(&self, digest: &str) -> Self {
        Self {
            digest: Some(digest.to_owned()),
            ..self.clone()
        }
    }

    /// What names the manifest at the registry: the digest before the tag before `latest`.
    pub fn manifest(&self) -> &str {
        self.digest
            .as_deref()
            .or(self.tag.as_deref())
            .unwrap_or("latest")
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_tag(tag: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=128).contains(&tag.len()) && tag.bytes().all(good) && !tag.starts_with(['.', '-'])
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, port.parse::<u16>().is_ok()),
        None => (host, true),
    };
    let good = |b: u8| b.is_ascii_alphanumeric() || b".-[]:".contains(&b);
    port && !name.is_empty() && name.len() <= 255 && name.bytes().all(good)
}

fn is_part(part: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = part.as_bytes();
    bytes.iter().all(|b| good(*b)) && edge(bytes.first()) && edge(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_with_the_usual_defaults() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, shown) in [
            ("app", "index.docker.io/library/app".to_owned()),
            ("team/app:1", "index.docker.io/team/app:1".to_owned()),
            ("docker.io/team/app", "index.docker.io/team/app".to_owned()),
            ("localhost/app", "localhost/app".to_owned()),
            (
                "localhost:5000/app:1.0",
                "localhost:5000/app:1.0".to_owned(),
            ),
            (
                "registry.sandbox:5000/demo/app",
                "registry.sandbox:5000/demo/app".to_owned(),
            ),
            (
                "registry.example.com/a/b/c:v1",
                "registry.example.com/a/b/c:v1".to_owned(),
            ),
        ] {
            assert_eq!(ImageReference::parse(text).expect(text).to_string(), shown);
            let pinned = ImageReference::parse(&format!("{text}@{digest}")).expect(text);
            assert_eq!(pinned.to_string(), format!("{shown}@{digest}"));
            assert_eq!(pinned.manifest(), digest);
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for bad in [
            "",
            "https://a.b/c",
            "a.b/",
            "a.b/C",
            "a.b/c:",
            "a.b/c:-x",
            "a.b/c:x y",
            "a.b/c@sha256:12",
            "a.b/c@md5:12",
            "a.b:port/c",
            "a.b/../c",
            "a.b//c",
            "a.b/c?x",
            "a b/c",
        ] {
            assert!(ImageReference::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn a_reference_reads_as_it_is_written(text in "[a-z.:/@0-9A-Z-]{0,40}") {
            if let Ok(reference) = ImageReference::parse(&text) {
                let shown = reference.to_string();
                proptest::prop_assert_eq!(ImageReference::parse(&shown), Ok(reference));
            }
        }
    }
}
