//! Owns what a pass can end with instead of an artifact: the condition, its reason, a sentence, and
//! when to try again.

use serde::Serialize;
use weir_api::names::{FETCH_FAILED, STORAGE_OPERATION_FAILED, reason};
use weir_artifact::ArtifactError;
use weir_git::GitError;

/// When a failed pass is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Next {
    /// After a back-off: it may heal by itself.
    Backoff,
    /// At the interval: something must change on the other side.
    Interval,
    /// Only when the object changes.
    Never,
}

/// Why there is no new artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// The condition that tells of it.
    pub(crate) condition: &'static str,
    /// One word.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) message: String,
    /// When to try again.
    pub(crate) next: Next,
}

impl Failure {
    /// The Secret is missing or lacks what is needed.
    pub(crate) fn credentials(message: String) -> Self {
        let (condition, reason) = (FETCH_FAILED, reason::AUTHENTICATION_FAILED);
        Self {
            condition,
            reason,
            message,
            next: Next::Backoff,
        }
    }

    /// No tag is in the range.
    pub(crate) fn no_tag(range: &str, url: &str) -> Self {
        Self {
            condition: FETCH_FAILED,
            reason: reason::GIT_OPERATION_FAILED,
            message: format!(
                "no tag of `{url}` is a version in the range `{range}`; push one, or widen \
                 `spec.ref.semver`"
            ),
            next: Next::Interval,
        }
    }
}

impl From<GitError> for Failure {
    fn from(e: GitError) -> Self {
        let (reason, next) = match &e {
            GitError::BadUrl { .. } => (reason::URL_INVALID, Next::Never),
            GitError::BadReference { .. } => (reason::GIT_OPERATION_FAILED, Next::Never),
            GitError::Auth { .. } => (reason::AUTHENTICATION_FAILED, Next::Backoff),
            GitError::Empty { .. } => (reason::EMPTY_GIT_REPOSITORY, Next::Backoff),
            e if e.is_retryable() => (reason::GIT_OPERATION_FAILED, Next::Backoff),
            _ => (reason::GIT_OPERATION_FAILED, Next::Interval),
        };
        let message = format!("failed to checkout and determine revision: {e}");
        Self {
            condition: FETCH_FAILED,
            reason,
            message,
            next,
        }
    }
}

impl From<ArtifactError> for Failure {
    fn from(e: ArtifactError) -> Self {
        Self {
            condition: STORAGE_OPERATION_FAILED,
            reason: reason::ARCHIVE_OPERATION_FAILED,
            message: format!("failed to store the artifact: {e}"),
            next: Next::Backoff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_under_known_names() {
        let url = "http://a".to_owned();
        let told = |e: GitError| {
            let failure = Failure::from(e);
            (failure.reason, failure.next)
        };
        let auth = GitError::Auth {
            url: url.clone(),
            status: 401,
            given: "x",
        };
        assert_eq!(told(auth), ("AuthenticationFailed", Next::Backoff));
        assert_eq!(
            told(GitError::Empty { url: url.clone() }),
            ("EmptyGitRepository", Next::Backoff)
        );
        let bad = GitError::BadUrl {
            url: url.clone(),
            what: String::new(),
        };
        assert_eq!(told(bad), ("URLInvalid", Next::Never));
        let large = GitError::TooLarge {
            url: url.clone(),
            what: "x",
            limit: 1,
        };
        assert_eq!(told(large), ("GitOperationFailed", Next::Interval));
        let lost = GitError::RepositoryNotFound { url };
        assert_eq!(told(lost), ("GitOperationFailed", Next::Backoff));
    }
}
