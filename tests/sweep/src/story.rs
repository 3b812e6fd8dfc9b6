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
    /// A Canary is deleted between runs.
    Farewell,
    /// A change of a ConfigMap alone is promoted.
    Configured,
    /// A good revision is promoted without an analysis.
    Skipped,
    /// A good revision gets matching requests, with users kept at their side, and is promoted.
    Matched,
    /// A good revision gets copies of requests, then all traffic, and is promoted.
    BlueGreen,
    /// A good revision is promoted with a hook of every kind asked, and watched afterwards.
    Hooked,
}

impl Story {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Initialisation,
        Self::Promotion,
        Self::Rollback,
        Self::Deletion,
        Self::Farewell,
        Self::Configured,
        Self::Skipped,
        Self::Matched,
        Self::BlueGreen,
        Self::Hooked,
    ];

    /// Its name, as the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initialisation => "initialisation",
            Self::Promotion => "promotion",
            Self::Rollback => "rollback",
            Self::Deletion => "deletion in a run",
            Self::Farewell => "deletion at rest",
            Self::Configured => "changed settings",
            Self::Skipped => "skipped analysis",
            Self::Matched => "A/B test",
            Self::BlueGreen => "blue/green, mirrored",
            Self::Hooked => "hooks and bake time",
        }
    }

    /// The weights at which a revision has to pass before it is promoted.
    pub(crate) fn weights(self) -> &'static [u64] {
        match self {
            Self::Matched => &[100],
            Self::BlueGreen => &[0, 100],
            _ => &[20, 40],
        }
    }

    /// The kinds of hooks that are asked.
    pub(crate) const KINDS: [&str; 7] = [
        "confirm-rollout",
        "pre-rollout",
        "rollout",
        "confirm-traffic-increase",
        "confirm-promotion",
        "post-rollout",
        "rollback",
    ];

    /// Its Canary.
    pub(crate) fn canary(self) -> Value {
        let mut analysis = json!({
            "interval": "10s", "threshold": 2,
            "metrics": [{"name": "request-success-rate", "interval": "10s",
                "thresholdRange": {"min": 99}}],
        });
        match self {
            Self::Matched => {
                analysis["iterations"] = 2.into();
                analysis["match"] = json!([{"headers": {"x-user": {"exact": "insider"}}}]);
            }
            Self::BlueGreen => {
                analysis["iterations"] = 2.into();
                analysis["mirror"] = true.into();
            }
            _ => analysis["stepWeights"] = json!(self.weights()),
        }
        if self == Self::Hooked {
            let hooks = Self::KINDS.map(
                |kind| json!({"name": kind, "type": kind, "url": format!("http://hooks/{kind}")}),
            );
            analysis["webhooks"] = json!(hooks);
            analysis["bakeTime"] = "30s".into();
        }
        json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "app", "namespace": "demo"},
            "spec": {
                "provider": "gatewayapi:v1",
                "skipAnalysis": self == Self::Skipped,
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
                "service": {"port": 9898, "targetPort": "http",
                    "gatewayRefs": [{"name": "gateway", "namespace": "demo"}]},
                "analysis": analysis,
            },
        })
    }
}
