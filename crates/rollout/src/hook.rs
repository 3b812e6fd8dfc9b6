//! Owns what a hook can be asked and what its answer means. It refuses to know how a hook is
//! reached: whoever asks reduces what came back to these values.

use serde::{Deserialize, Serialize};

use crate::{Alert, Event};

/// When a hook is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookKind {
    /// Before a run starts; it waits until all agree.
    ConfirmRollout,
    /// Before the first traffic; a refusal is a failed check.
    PreRollout,
    /// With each round of checks; a refusal is a failed check.
    Rollout,
    /// Before each rise of a weight, and before the promotion; it waits until all agree.
    ConfirmTrafficIncrease,
    /// Before the promotion is decided; it waits until all agree.
    ConfirmPromotion,
    /// After the run, however it ended.
    PostRollout,
    /// With each round; one that agrees rolls back.
    Rollback,
}

impl HookKind {
    /// The kind as manifests and payloads write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmRollout => "confirm-rollout",
            Self::PreRollout => "pre-rollout",
            Self::Rollout => "rollout",
            Self::ConfirmTrafficIncrease => "confirm-traffic-increase",
            Self::ConfirmPromotion => "confirm-promotion",
            Self::PostRollout => "post-rollout",
            Self::Rollback => "rollback",
        }
    }
}

/// What all hooks of one kind answered at one point of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The kind.
    pub kind: HookKind,
    /// The point they were asked at; an answer counts for that point alone.
    pub point: String,
    /// Each hook that was asked, in order.
    pub results: Vec<HookResult>,
}

/// What one hook answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookResult {
    /// Its name.
    pub name: String,
    /// Whether it agreed.
    pub passed: bool,
    /// Why not.
    pub error: String,
    /// Whether its waiting sends no alert.
    pub muted: bool,
}

impl Answer {
    /// Whether all agreed.
    pub fn all(&self) -> bool {
        self.results.iter().all(|r| r.passed)
    }

    /// Whether any agreed.
    pub fn any(&self) -> bool {
        self.results.iter().any(|r| r.passed)
    }

    /// The first that did not agree.
    pub fn refusal(&self) -> Option<&HookResult> {
        self.results.iter().find(|r| !r.passed)
    }

    /// What to tell of them, in the words people know. `subject` is `name.namespace` of the Canary.
    pub fn events(&self, subject: &str) -> Vec<Event> {
        self.results
            .iter()
            .filter_map(|r| self.event(r, subject))
            .collect()
    }

    fn event(&self, result: &HookResult, subject: &str) -> Option<Event> {
        let (name, error) = (&result.name, &result.error);
        let waiting = |what: &str, alert: &'static str| {
            let event = Event::warning(format!(
                "Halt {subject} advancement waiting for {what}approval {name}"
            ));
            if result.muted {
                event
            } else {
                event.alerting(Alert::warn(alert))
            }
        };
        Some(match (self.kind, result.passed) {
            (HookKind::Rollout, true) | (HookKind::Rollback, false) => return None,
            (HookKind::Rollback, true) => Event::warning(format!("Rollback check {name} passed")),
            (kind, true) => {
                let mut kind = kind.as_str().to_owned();
                if let Some(first) = kind.get_mut(..1) {
                    first.make_ascii_uppercase();
                }
                Event::normal(format!("{kind} check {name} passed"))
            }
            (HookKind::ConfirmRollout, false) => waiting("", "Canary is waiting for approval."),
            (HookKind::ConfirmTrafficIncrease, false) => waiting(
                "traffic increase ",
                "Canary traffic increase is waiting for approval.",
            ),
            (HookKind::ConfirmPromotion, false) => {
                waiting("promotion ", "Canary promotion is waiting for approval.")
            }
            (HookKind::PreRollout, false) => Event::warning(format!(
                "Halt {subject} advancement pre-rollout check {name} failed {error}"
            )),
            (HookKind::Rollout, false) => Event::warning(format!(
                "Halt {subject} advancement external check {name} failed {error}"
            )),
            (HookKind::PostRollout, false) => {
                Event::warning(format!("Post-rollout hook {name} failed {error}"))
            }
        })
    }
}
