//! Owns the story's result, the one object that `--output json` prints.

use serde::Serialize;

/// How the story ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    /// The good version's run.
    pub(crate) promoted: Run,
    /// The faulty version's run.
    pub(crate) rolled_back: Run,
    /// The commits of image automation, oldest first.
    pub(crate) commits: Vec<String>,
    /// What users saw.
    pub(crate) requests: Requests,
}

/// One run of a canary.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// The Git revision that brought the version.
    pub(crate) revision: String,
    /// From the tag's push to the end of the run.
    pub(crate) seconds: f64,
    /// The weights that were in force, in their order.
    pub(crate) weights: Vec<u64>,
    /// Why it was rolled back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What users saw.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Requests {
    /// Requests sent.
    pub(crate) total: u64,
    /// Of these, failed.
    pub(crate) failed: u64,
}
