//! Owns the ways of failing with artifacts, each said with what, where and what to do.

use weir_runtime::http::HttpError;

/// Why an artifact could not be made, kept, fetched or unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// A digest is not written as one, or its algorithm is not supported. Terminal until it changes.
    #[error(
        "`{0}` is not a digest that can be checked; it must be `sha256:` and 64 hexadecimal digits"
    )]
    BadDigest(String),
    /// A name cannot be part of an artifact's path. Terminal.
    #[error("`{0}` cannot be part of an artifact's path")]
    BadName(String),
    /// The URL cannot be used. Terminal until it changes.
    #[error("`{url}` is no URL of an artifact: {what}")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// The server does not have it (any more). Retryable: the source stores it again.
    #[error(
        "the artifact `{url}` was not found; its source stores it again at its next reconciliation"
    )]
    NotFound {
        /// Where it should be.
        url: String,
    },
    /// The server could not serve it. Retryable.
    #[error("the artifact `{url}` could not be fetched: the server answered with status {status}")]
    Status {
        /// Where it is.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The exchange failed. Retryable where the cause is.
    #[error("the artifact could not be fetched: {0}")]
    Http(#[from] HttpError),
    /// The bytes are not those of the digest. Retryable: the source may just have stored anew.
    #[error("the artifact `{url}` has digest `{found}` and not `{expected}`; it was not used")]
    DigestMismatch {
        /// Where it came from.
        url: String,
        /// What was asked for.
        expected: String,
        /// What came.
        found: String,
    },
    /// A limit was passed. Terminal until the artifact or the limit changes.
    #[error(
        "the archive is larger than allowed: {what} exceeds {limit}; leave files out with `ignore`"
    )]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// An entry of the archive must not be unpacked. Terminal until the artifact changes.
    #[error("entry `{path}` of the archive was refused: {what}")]
    BadEntry {
        /// The entry's path.
        path: String,
        /// Why.
        what: &'static str,
    },
    /// The archive cannot be read. Terminal until the artifact changes.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// The local disk failed. Retryable.
    #[error("{doing} `{path}` failed: {what}; check the disk")]
    Local {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: String,
        /// The cause.
        what: String,
    },
}

impl ArtifactError {
    /// Whether the same call may succeed later with the same artifact and limits.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::BadDigest(_)
            | Self::BadName(_)
            | Self::BadUrl { .. }
            | Self::TooLarge { .. }
            | Self::BadEntry { .. }
            | Self::Damaged(_) => false,
            Self::Http(e) => e.is_retryable(),
            Self::NotFound { .. }
            | Self::Status { .. }
            | Self::DigestMismatch { .. }
            | Self::Local { .. } => true,
        }
    }

    pub(crate) fn local(
        doing: &'static str,
        path: &std::path::Path,
    ) -> impl Fn(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |e| Self::Local {
            doing,
            path: path.clone(),
            what: e.to_string(),
        }
    }

    pub(crate) fn stopped(doing: &'static str) -> Self {
        Self::Local {
            doing,
            path: "-".to_owned(),
            what: "the work was cut short".to_owned(),
        }
    }
}
