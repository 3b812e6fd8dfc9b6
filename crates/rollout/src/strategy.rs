//! Owns how a canary is to proceed: the weights it walks, how often it is judged, and how much it
//! is forgiven. It refuses a walk that can't end.

use std::time::Duration;

/// How one canary proceeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Strategy {
    /// The canary's weights in order, strictly rising, each 1 to 100.
    pub steps: Vec<u8>,
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

/// Weights that can't be walked. Terminal until the Canary changes.
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
    #[error("`analysis.stepWeights` must rise from step to step, but {next} follows {previous}")]
    NotRising {
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
            Self::NoSteps { field } | Self::OutOfRange { field, .. } => field,
            Self::NotRising { .. } => "analysis.stepWeights",
        }
    }
}

/// The weights to walk. `stepWeights` are taken as they are; `stepWeight` is repeated until
/// `maxWeight` (100 when 0) is reached, which may pass it: 20 up to 50 walks 20, 40, 60.
/// `stepWeight` wins where both are given, as people know it.
pub fn weighted_steps(
    step_weight: i64,
    step_weights: &[i64],
    max_weight: i64,
) -> Result<Vec<u8>, StrategyError> {
    let percent = |field: &'static str, weight: i64| match u8::try_from(weight) {
        Ok(w @ 1..=100) => Ok(w),
        _ => Err(StrategyError::OutOfRange { field, weight }),
    };
    if step_weight != 0 {
        let step = percent("analysis.stepWeight", step_weight)?;
        let max = if max_weight == 0 {
            100
        } else {
            percent("analysis.maxWeight", max_weight)?
        };
        let mut steps = Vec::new();
        let mut at = 0u8;
        while at < max {
            at = at.saturating_add(step).min(100);
            steps.push(at);
        }
        return Ok(steps);
    }
    let mut steps: Vec<u8> = Vec::with_capacity(step_weights.len());
    for &weight in step_weights {
        let next = percent("analysis.stepWeights", weight)?;
        if let Some(&previous) = steps.last()
            && next <= previous
        {
            return Err(StrategyError::NotRising {
                previous: previous.into(),
                next: weight,
            });
        }
        steps.push(next);
    }
    if steps.is_empty() {
        return Err(StrategyError::NoSteps {
            field: "analysis.stepWeight",
        });
    }
    Ok(steps)
}

impl Strategy {
    /// The weight after `weight`, if the walk goes on. Steps that were edited mid-run never make
    /// the weight jump: it is the next one above.
    pub fn next_step(&self, weight: u8) -> Option<u8> {
        self.steps.iter().copied().find(|step| *step > weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_walk_as_people_know_them() {
        assert_eq!(weighted_steps(20, &[], 50), Ok(vec![20, 40, 60]));
        assert_eq!(weighted_steps(30, &[], 0), Ok(vec![30, 60, 90, 100]));
        assert_eq!(weighted_steps(100, &[], 0), Ok(vec![100]));
        assert_eq!(
            weighted_steps(0, &[1, 2, 10, 80], 0),
            Ok(vec![1, 2, 10, 80])
        );
    }

    #[test]
    fn r14_weights_that_cannot_be_walked_are_refused() {
        assert_eq!(
            weighted_steps(0, &[10, 10], 0),
            Err(StrategyError::NotRising {
                previous: 10,
                next: 10
            })
        );
        assert_eq!(
            weighted_steps(0, &[], 50),
            Err(StrategyError::NoSteps {
                field: "analysis.stepWeight"
            })
        );
        assert_eq!(
            weighted_steps(-5, &[], 50),
            Err(StrategyError::OutOfRange {
                field: "analysis.stepWeight",
                weight: -5
            })
        );
        assert_eq!(
            weighted_steps(5, &[], 500),
            Err(StrategyError::OutOfRange {
                field: "analysis.maxWeight",
                weight: 500
            })
        );
    }

    #[test]
    fn r14_edited_steps_go_on_at_the_next_weight_above() {
        let strategy = Strategy {
            steps: vec![10, 20, 50],
            promotion_step: 0,
            limits: Limits::all(0),
            interval: Duration::ZERO,
            longest_window: Duration::ZERO,
            progress_deadline: Duration::ZERO,
            skip_analysis: false,
        };
        assert_eq!(strategy.next_step(15), Some(20));
        assert_eq!(strategy.next_step(50), None);
        assert_eq!(
            strategy.limits,
            Limits {
                failed: 1,
                no_data: 1,
                provider: 1
            }
        );
    }
}
