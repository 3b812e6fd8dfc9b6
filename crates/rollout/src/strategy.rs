//! Owns how a canary is to proceed: the course it takes, how often it is judged, and how much it
//! is forgiven.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{Course, HookKind};

/// How one canary proceeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Strategy {
    /// How traffic moves.
    pub course: Course,
    /// Whether there is a route that shares traffic. Without one the canary is judged unseen, and
    /// users meet the new revision when the primary has it.
    pub routed: bool,
    /// How much weight goes back to the primary at a time after the copy; 0 is all at once.
    pub promotion_step: u8,
    /// How many rounds of each bad kind end the run.
    pub limits: Limits,
    /// How long a weight is in force before it is judged, and how long between two judgements.
    pub interval: Duration,
    /// The longest look-back of any metric. A window that reaches into another revision's traffic
    /// does not count.
    pub longest_window: Duration,
    /// How long the run may stand still waiting for pods or for the route.
    pub progress_deadline: Duration,
    /// Promote as soon as the canary's pods are ready, without measuring.
    pub skip_analysis: bool,
    /// The kinds of hooks there are to ask.
    pub hooks: BTreeSet<HookKind>,
    /// What keeps a user at the side that first answered.
    pub affinity: Option<Affinity>,
    /// For how long a promoted revision is still watched, and taken back if it turns bad.
    pub bake: Option<Duration>,
    /// How many revisions promoted before the current one can be gone back to without a new
    /// analysis.
    pub rollback_window: usize,
}

/// The names of the cookies that keep a user at a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// The canary's.
    pub cookie: String,
    /// The primary's.
    pub primary_cookie: Option<String>,
}

/// How many rounds of each bad kind end the run. Each is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rounds in which a metric was out of its range.
    pub failed: u32,
    /// Rounds in which a metric had no value.
    pub no_data: u32,
    /// Rounds in which a metric's provider did not answer.
    pub provider: u32,
}

impl Limits {
    /// The same limit for each kind; the known `threshold`, where 0 or less means 1.
    pub fn all(threshold: i64) -> Self {
        let limit = u32::try_from(threshold.max(1)).unwrap_or(u32::MAX);
        Self {
            failed: limit,
            no_data: limit,
            provider: limit,
        }
    }
}

impl Strategy {
    /// Whether there are hooks of this kind.
    pub fn asks(&self, kind: HookKind) -> bool {
        self.hooks.contains(&kind)
    }
}

/// A course that can't be walked. Terminal until the Canary changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// Neither `stepWeight` nor `stepWeights` says where to go.
    #[error("`{field}` gives no weight to walk: set it to a number from 1 to 100")]
    NoSteps {
        /// The field to set.
        field: &'static str,
    },
    /// A weight is not a percentage.
    #[error("`{field}` has the weight {weight}: weights are percentages from 1 to 100")]
    OutOfRange {
        /// The field at fault.
        field: &'static str,
        /// Its value.
        weight: i64,
    },
    /// The weights stand still or fall.
    #[error("`{field}` must rise from step to step, but {next} follows {previous}")]
    NotRising {
        /// The field at fault.
        field: &'static str,
        /// The weight before.
        previous: i64,
        /// The weight that does not exceed it.
        next: i64,
    },
}

impl StrategyError {
    /// The field a person has to change.
    pub fn field(&self) -> &'static str {
        match self {
            Self::NoSteps { field }
            | Self::OutOfRange { field, .. }
            | Self::NotRising { field, .. } => field,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_at_least_one() {
        let of = |n| Limits {
            failed: n,
            no_data: n,
            provider: n,
        };
        assert_eq!(Limits::all(0), of(1));
        assert_eq!(Limits::all(-3), of(1));
        assert_eq!(Limits::all(5), of(5));
    }
}
