//! Owns the stories that are played: from an idle Canary to an end, each with what must have come of
//! it.

use serde_json::{Value, json};

/// A story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Story {
    /// A Canary is taken up for the first time.
    Initialisation,
    /// A good revision walks its weights and is promoted.
    Promotion,
    /// A faulty revision is rolled back.
    Rollback,
    /// A Canary is deleted in the middle of a run.
    Deletion,
    /// A good revision is promoted without an analysis.
    Skipped,
}

impl Story {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Initialisation,
        Self::Promotion,
        Self::Rollback,
        Self::Deletion,
        Self::Skipped,
    ];

    /// Its name, as the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initialisation => "initialisation",
            Self::Promotion => "promotion",
            Self::Rollback => "rollback",
            Self::Deletion => "deletion",
            Self::Skipped => "skipped analysis",
        }
    }

    /// The weights of the run.
    pub(crate) const WEIGHTS: [u64; 2] = [20, 40];

    /// Its Canary.
    pub(crate) fn canary(self) -> Value {
        json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "app", "namespace": "demo"},
            "spec": {
                "provider": "gatewayapi:v1",
                "skipAnalysis": self == Self::Skipped,
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
                "service": {"port": 9898, "targetPort": "http",
                    "gatewayRefs": [{"name": "gateway", "namespace": "demo"}]},
                "analysis": {
                    "interval": "10s", "threshold": 2, "stepWeights": Self::WEIGHTS,
                    "metrics": [{"name": "request-success-rate", "interval": "10s",
                        "thresholdRange": {"min": 99}}],
                },
            },
        })
    }
}
