//! Owns the ways in which bringing objects to a cluster can fail, each naming its object.

use weir_object::ObjectRef;
use weir_runtime::ApiFailure;

/// Why objects could not be brought to a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The cluster does not serve the kind. Terminal until a definition is installed.
    #[error(
        "{object}: the cluster has no kind `{kind}` in `{api_version}`; install its definition, or \
         correct apiVersion and kind"
    )]
    NoKind {
        /// The object.
        object: ObjectRef,
        /// Its kind.
        kind: String,
        /// Its group and version.
        api_version: String,
    },
    /// A namespaced object names no namespace. Terminal until it does.
    #[error("{0}: no namespace is given; set metadata.namespace or a target namespace")]
    NoNamespace(ObjectRef),
    /// The server refused the dry run or the write.
    #[error("{object} {step} failed: {failure}")]
    Refused {
        /// The object.
        object: ObjectRef,
        /// `dry-run`, `apply`, `delete` or `health check`.
        step: &'static str,
        /// What the server said.
        failure: ApiFailure,
    },
    /// Several objects failed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<ClusterError>),
    /// A stage that others stand on did not become ready. Retryable.
    #[error("waited {seconds} s for {what}, which others stand on")]
    Stage {
        /// Which objects.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The server could not be asked what it serves. Retryable.
    #[error("the cluster cannot be asked what it serves in `{api_version}`: {what}")]
    Discovery {
        /// Group and version.
        api_version: String,
        /// The cause.
        what: String,
    },
}

impl ClusterError {
    /// Whether the same call may succeed later with nothing changed in the source.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoKind { .. } | Self::NoNamespace(_) => false,
            Self::Refused { failure, .. } => failure.is_retryable(),
            Self::Several(all) => all.iter().any(Self::is_retryable),
            Self::Stage { .. } | Self::Discovery { .. } => true,
        }
    }

    pub(crate) fn of(mut all: Vec<Self>) -> Option<Self> {
        match all.len() {
            0 => None,
            1 => all.pop(),
            _ => Some(Self::Several(all)),
        }
    }
}
