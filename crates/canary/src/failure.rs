//! Owns why an effect did not happen. Every one of them is tried again after a new observation.

use weir_runtime::ApiFailure;

/// Why an effect did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The API server refused or did not answer. Retryable as the refusal says.
    #[error(transparent)]
    Api(#[from] ApiFailure),
    /// What the effect was decided for is not there any more. Retryable after observing again.
    #[error("{0} changed since it was observed; it is observed again")]
    Moved(String),
}

impl Failure {
    /// Whether a person has to do something before a retry can help.
    pub(crate) fn needs_a_person(&self) -> bool {
        match self {
            Self::Api(failure) => !failure.is_retryable(),
            Self::Moved(_) => false,
        }
    }
}
