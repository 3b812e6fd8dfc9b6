//! Owns the ways a Git operation can fail. Each message says what failed, where, and what to do;
//! URLs in it have their credentials masked.

use std::time::Duration;

use weir_runtime::http::HttpError;

/// Why a Git operation did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// The URL is not one that Git over HTTP can use. Terminal until the URL changes.
    #[error("`{url}` is not a Git URL that can be used: {what}")]
    BadUrl {
        /// The URL, credentials masked.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// A branch, tag or other name breaks Git's rules. Terminal until the name changes.
    #[error("`{name}` is not a valid Git reference: {what}")]
    BadReference {
        /// The name as given.
        name: String,
        /// Which rule it breaks.
        what: String,
    },
    /// There is no repository at the URL. Retryable: it may be created.
    #[error(
        "no repository was found at `{url}`; check the URL, and the credentials if it is private"
    )]
    RepositoryNotFound {
        /// The URL, credentials masked.
        url: String,
    },
    /// What answers at the URL does not speak Git's smart protocol. Retryable: a proxy in front may answer for a server that is down.
    #[error("`{url}` answered, but not as a Git server does: {what}; check the URL")]
    NotGit {
        /// The URL, credentials masked.
        url: String,
        /// What came instead.
        what: String,
    },
    /// The repository has no commit. Retryable: push one.
    #[error("the repository at `{url}` is empty; push a commit to it")]
    Empty {
        /// The URL, credentials masked.
        url: String,
    },
    /// The repository lacks the branch, tag, name or commit. Retryable: it may be pushed.
    #[error("{what} was not found in `{url}`; check its spelling, or push it")]
    ReferenceNotFound {
        /// The reference in words, such as "branch `main`".
        what: String,
        /// The URL, credentials masked.
        url: String,
    },
    /// The server refused the credentials, or wants some. Retryable: the Secret may be mended.
    #[error(
        "`{url}` refused access with status {status} ({given}); check the credentials and their rights"
    )]
    Auth {
        /// The URL, credentials masked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What kind of credentials were sent.
        given: &'static str,
    },
    /// The server could not be reached or could not serve. Retryable.
    #[error("`{url}` cannot be reached: {what}; check the address and the network")]
    Unreachable {
        /// The URL, credentials masked.
        url: String,
        /// The cause.
        what: String,
    },
    /// The server's certificate was refused. Terminal until a certificate changes.
    #[error("TLS with `{url}` was refused: {what}; check `ca.crt` in its Secret")]
    Tls {
        /// The URL, credentials masked.
        url: String,
        /// The cause.
        what: String,
    },
    /// The whole operation did not end in time. Retryable.
    #[error(
        "the Git operation with `{url}` did not end within {timeout:?}; check the server, or raise the timeout"
    )]
    Timeout {
        /// The URL, credentials masked.
        url: String,
        /// The whole operation's bound.
        timeout: Duration,
    },
    /// The exchange broke off, or the data is damaged. Retryable.
    #[error("the exchange with `{url}` broke off: {what}")]
    Broken {
        /// The URL, credentials masked.
        url: String,
        /// The cause.
        what: String,
    },
    /// The remote's reference is not where the caller saw it, or the server refused the update. Retryable after a new checkout.
    #[error(
        "the push to `{reference}` of `{url}` was rejected: {what}; fetch the new state and try again"
    )]
    Rejected {
        /// The URL, credentials masked.
        url: String,
        /// The remote reference.
        reference: String,
        /// The cause.
        what: String,
    },
    /// A limit was passed. Terminal until the repository or the limit changes.
    #[error(
        "`{url}` holds more than is allowed: {what} exceeds {limit}; make the repository smaller or raise the limit"
    )]
    TooLarge {
        /// The URL, credentials masked.
        url: String,
        /// What was counted.
        what: &'static str,
        /// The limit, in the unit that `what` names.
        limit: u64,
    },
    /// A path in a tree or a change cannot be used. Terminal until the repository or the change does.
    #[error("path `{path}` cannot be used: {what}")]
    BadPath {
        /// The path.
        path: String,
        /// Which rule it breaks.
        what: &'static str,
    },
    /// The local disk or libgit2 failed. Retryable.
    #[error("{doing} failed on this side: {what}")]
    Local {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        what: String,
    },
}

impl GitError {
    /// Whether the same call may succeed later though neither the object nor the limits change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::BadUrl { .. }
            | Self::BadReference { .. }
            | Self::Tls { .. }
            | Self::TooLarge { .. }
            | Self::BadPath { .. } => false,
            Self::RepositoryNotFound { .. }
            | Self::NotGit { .. }
            | Self::Empty { .. }
            | Self::ReferenceNotFound { .. }
            | Self::Auth { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::Rejected { .. }
            | Self::Local { .. } => true,
        }
    }

    /// What libgit2 said while `doing`, about the remote at `url`.
    pub(crate) fn of_libgit2(e: &git2::Error, doing: &'static str, url: &str) -> Self {
        use git2::{ErrorClass, ErrorCode};
        let what = e.message().to_owned();
        match (e.code(), e.class()) {
            (ErrorCode::Eof, _)
            | (
                _,
                ErrorClass::Net
                | ErrorClass::Http
                | ErrorClass::Indexer
                | ErrorClass::Zlib
                | ErrorClass::Odb,
            ) => Self::Broken {
                url: url.to_owned(),
                what,
            },
            _ => Self::Local { doing, what },
        }
    }

    pub(crate) fn local(doing: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |e| Self::Local {
            doing,
            what: e.to_string(),
        }
    }

    /// The failure of one exchange, told of the repository rather than of the exchange's own URL.
    pub(crate) fn of_http(e: HttpError, url: String, timeout: Duration) -> Self {
        match e {
            HttpError::BadUrl { what, .. } => Self::BadUrl { url, what },
            HttpError::Connect { what, .. } => Self::Unreachable { url, what },
            HttpError::Tls { what, .. } => Self::Tls { url, what },
            HttpError::Timeout { .. } => Self::Timeout { url, timeout },
            HttpError::TooLarge { limit, .. } => Self::TooLarge {
                url,
                what: "the response in bytes",
                limit: limit as u64,
            },
            HttpError::Broken { what, .. } => Self::Broken { url, what },
        }
    }
}
