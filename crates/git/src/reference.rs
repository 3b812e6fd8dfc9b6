//! Owns which commit of a repository is wanted, and the revision string that names the one found.

use std::fmt;

use crate::GitError;
use crate::jobs::RemoteRef;

/// Which commit is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// The tip of a branch.
    Branch(String),
    /// What a tag points to.
    Tag(String),
    /// What a full reference name points to, such as `refs/pull/1/head`.
    Name(String),
    /// A commit, and the branch it is on where that is known.
    Commit {
        /// The commit's 40 hexadecimal digits.
        oid: String,
        /// The branch.
        branch: Option<String>,
    },
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "branch `{name}`"),
            Self::Tag(name) => write!(f, "tag `{name}`"),
            Self::Name(name) => write!(f, "reference `{name}`"),
            Self::Commit { oid, branch: None } => write!(f, "commit `{oid}`"),
            Self::Commit {
                oid,
                branch: Some(b),
            } => write!(f, "commit `{oid}` of branch `{b}`"),
        }
    }
}

/// A commit that a remote has, and its revision string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The commit (or, for an annotated tag the server does not peel, the tag object).
    pub oid: String,
    /// The revision, such as `main@sha1:…`.
    pub revision: String,
}

impl Reference {
    /// Checks the name against Git's rules, so that no pattern or option can be slipped in.
    ///
    /// # Errors
    /// [`GitError::BadReference`].
    pub fn validate(&self) -> Result<(), GitError> {
        if let Self::Commit { oid, branch } = self {
            if oid.len() != 40 || !oid.bytes().all(|b| b.is_ascii_hexdigit()) {
                let what = "a commit is named by its 40 hexadecimal digits".to_owned();
                return Err(GitError::BadReference {
                    name: oid.clone(),
                    what,
                });
            }
            return branch
                .as_ref()
                .map_or(Ok(()), |b| Self::Branch(b.clone()).validate());
        }
        let full = self.full_name().unwrap_or_default();
        if matches!(self, Self::Name(_)) && !full.starts_with("refs/") {
            let what = "a full name starts with `refs/`".to_owned();
            return Err(GitError::BadReference { name: full, what });
        }
        if git2::Reference::is_valid_name(&full) {
            return Ok(());
        }
        let what = "it holds characters that Git does not allow in names".to_owned();
        Err(GitError::BadReference { name: full, what })
    }

    /// The remote's full name of it, where it has one.
    pub fn full_name(&self) -> Option<String> {
        match self {
            Self::Branch(name) => Some(format!("refs/heads/{name}")),
            Self::Tag(name) => Some(format!("refs/tags/{name}")),
            Self::Name(name) => Some(name.strip_suffix("^{}").unwrap_or(name).to_owned()),
            Self::Commit { .. } => None,
        }
    }

    /// The revision string of `oid` reached by this reference.
    pub fn revision(&self, oid: &str) -> String {
        match self {
            Self::Branch(name) | Self::Tag(name) | Self::Name(name) => format!("{name}@sha1:{oid}"),
            Self::Commit {
                branch: Some(branch),
                ..
            } => format!("{branch}@sha1:{oid}"),
            Self::Commit { branch: None, .. } => format!("sha1:{oid}"),
        }
    }

    /// Finds it among what a remote lists.
    pub(crate) fn find(&self, refs: &[RemoteRef], url: &str) -> Result<Head, GitError> {
        let oid = match (self, self.full_name()) {
            (Self::Commit { oid, .. }, _) => Some(oid.to_ascii_lowercase()),
            (_, Some(name)) => refs
                .iter()
                .find(|r| r.name == name)
                .map(|r| r.commit().to_owned()),
            (_, None) => None,
        };
        match oid {
            Some(oid) => Ok(Head {
                revision: self.revision(&oid),
                oid,
            }),
            None if refs.is_empty() => Err(GitError::Empty {
                url: url.to_owned(),
            }),
            None => Err(GitError::ReferenceNotFound {
                what: self.to_string(),
                url: url.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn mk_commit(oid: &str, branch: Option<&str>) -> Reference {
        Reference::Commit {
            oid: oid.into(),
            branch: branch.map(Into::into),
        }
    }

    #[test]
    fn revisions_are_written_as_people_know_them() {
        let text = |r: Reference| r.revision(OID);
        assert_eq!(
            text(Reference::Branch("main".into())),
            format!("main@sha1:{OID}")
        );
        assert_eq!(
            text(Reference::Tag("v1.2".into())),
            format!("v1.2@sha1:{OID}")
        );
        assert_eq!(
            text(Reference::Name("refs/pull/1/head".into())),
            format!("refs/pull/1/head@sha1:{OID}")
        );
        assert_eq!(text(mk_commit(OID, None)), format!("sha1:{OID}"));
        assert_eq!(
            text(mk_commit(OID, Some("main"))),
            format!("main@sha1:{OID}")
        );
    }

    #[test]
    fn names_that_could_be_patterns_or_options_are_refused() {
        for bad in [
            "", "a b", "a*", "../x", "a..b", "x.lock", "a\0b", "/", "a~1", "a:b", "@{",
        ] {
            assert!(Reference::Branch(bad.into()).validate().is_err(), "{bad}");
        }
        assert!(Reference::Name("heads/main".into()).validate().is_err());
        assert!(mk_commit("abc", None).validate().is_err());
        assert!(mk_commit(OID, Some("a b")).validate().is_err());
        for good in ["main", "feature/x", "-x", "ä"] {
            assert_eq!(Reference::Branch(good.into()).validate(), Ok(()), "{good}");
        }
        assert_eq!(mk_commit(OID, Some("main")).validate(), Ok(()));
    }

    #[test]
    fn a_missing_reference_and_an_empty_repository_are_told_apart() {
        let main = Reference::Branch("main".into());
        let other = RemoteRef {
            name: "refs/heads/other".into(),
            oid: OID.into(),
            peeled: None,
        };
        let url = "http://a".to_owned();
        assert_eq!(
            main.find(&[], &url),
            Err(GitError::Empty { url: url.clone() })
        );
        assert_eq!(
            main.find(&[other], &url),
            Err(GitError::ReferenceNotFound {
                what: "branch `main`".into(),
                url
            })
        );
    }
}
