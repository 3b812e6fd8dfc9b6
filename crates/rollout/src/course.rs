//! Owns the course of a run: where it can stand, what follows each stand, and where traffic then
//! goes. It refuses a course that can't end: weights rise, iterations count up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::StrategyError;

/// How traffic moves in the course of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Course {
    /// The canary's share rises step by step.
    Weighted {
        /// The steps, their weights strictly rising.
        steps: Vec<Step>,
        /// Whether the canary gets copies of requests before its first share.
        mirror: bool,
    },
    /// Requests that match go to the canary, all others to the primary (A/B testing).
    Matched {
        /// How many rounds have to pass.
        iterations: u32,
    },
    /// The canary is judged without users, and then gets all traffic at once (blue/green).
    BlueGreen {
        /// How many rounds have to pass.
        iterations: u32,
        /// Whether the canary gets copies of requests meanwhile.
        mirror: bool,
    },
}

/// One step of a weighted course.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The canary's percentage, 1 to 100.
    pub weight: u8,
    /// How long it stays at least, measured again and again.
    pub hold: Option<Duration>,
    /// Whether a person has to let it go on.
    pub manual: bool,
    /// How many requests the canary must have answered at this step before it is judged.
    pub min_requests: u64,
}

impl Step {
    /// A step that is nothing but a weight.
    pub fn at(weight: u8) -> Self {
        Self {
            weight,
            ..Self::default()
        }
    }
}

/// Where a run stands on its course. The default is the start: no traffic, no iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The canary's percentage.
    pub weight: u8,
    /// Rounds begun, of a course that counts rounds.
    pub iterations: u32,
    /// Whether the canary gets copies of requests.
    pub mirror: bool,
    /// Whether the weight is that of matching requests alone.
    pub matched: bool,
}

impl Course {
    /// The stand that follows `at`; `None` is the end, where the run is promoted. `routed` is
    /// whether there is a route that can switch all traffic at once. Steps that were edited
    /// mid-run never make the weight jump: it is the next one above.
    pub fn next(&self, at: Position, routed: bool) -> Option<Position> {
        match self {
            Self::Weighted { steps, mirror } => {
                if *mirror && at.weight == 0 && !at.mirror {
                    return Some(Position {
                        mirror: true,
                        ..Position::default()
                    });
                }
                let weight = steps.iter().map(|s| s.weight).find(|w| *w > at.weight)?;
                Some(Position {
                    weight,
                    ..Position::default()
                })
            }
            Self::Matched { iterations } => (at.iterations < *iterations).then(|| Position {
                weight: 100,
                iterations: at.iterations + 1,
                mirror: false,
                matched: true,
            }),
            Self::BlueGreen { iterations, mirror } => {
                if at.iterations < *iterations {
                    return Some(Position {
                        weight: 0,
                        iterations: at.iterations + 1,
                        mirror: *mirror && routed,
                        matched: false,
                    });
                }
                (routed && at.weight < 100).then_some(Position {
                    weight: 100,
                    iterations: at.iterations,
                    mirror: false,
                    matched: false,
                })
            }
        }
    }

    /// Whether users' traffic reaches the canary for good between `at` and `next`: from there on
    /// the promotion is decided.
    pub fn decides(&self, at: Position, next: Option<Position>) -> bool {
        match self {
            Self::BlueGreen { .. } => {
                next.map_or(at.weight < 100, |n| n.weight == 100 && at.weight < 100)
            }
            _ => next.is_none(),
        }
    }

    /// The step a weighted run stands at; the nearest below where the steps were edited.
    pub fn step(&self, at: Position) -> Option<&Step> {
        match self {
            Self::Weighted { steps, .. } => steps.iter().rev().find(|s| s.weight <= at.weight),
            _ => None,
        }
    }

    /// How many rounds the course counts, if it does.
    pub fn iterations(&self) -> Option<u32> {
        match self {
            Self::Weighted { .. } => None,
            Self::Matched { iterations } | Self::BlueGreen { iterations, .. } => Some(*iterations),
        }
    }

    /// The course's name in metrics: `canary`, `ab-testing` or `blue-green`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Weighted { .. } => "canary",
            Self::Matched { .. } => "ab-testing",
            Self::BlueGreen { .. } => "blue-green",
        }
    }
}

/// Where traffic goes. The primary gets what the canary does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The canary's percentage.
    pub canary: u8,
    /// Whether the canary gets copies of what the primary answers.
    pub mirror: bool,
    /// Whether the canary's percentage is that of matching requests, all others being the
    /// primary's.
    pub matched: bool,
    /// The cookies that keep a user at a side, where a Canary asks for that.
    pub cookies: Option<Cookies>,
}

impl Traffic {
    /// A plain share for the canary.
    pub fn canary(weight: u8) -> Self {
        Self {
            canary: weight.min(100),
            ..Self::default()
        }
    }
}

/// Cookies that keep a user at a side, each `name=value`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cookies {
    /// The current run's.
    pub canary: Option<String>,
    /// The last run's, which is to be forgotten.
    pub previous: Option<String>,
    /// The primary's.
    pub primary: Option<String>,
}

/// The weights to walk. `stepWeights` are taken as they are; `stepWeight` is repeated until
/// `maxWeight` (100 when 0) is reached, which may pass it: 20 up to 50 walks 20, 40, 60.
/// `stepWeight` wins where both are given, as people know it.
pub fn weighted_steps(
    step_weight: i64,
    step_weights: &[i64],
    max_weight: i64,
) -> Result<Vec<Step>, StrategyError> {
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
            steps.push(Step::at(at));
        }
        return Ok(steps);
    }
    let weights = step_weights.iter().map(|weight| (*weight, Step::default()));
    rising("analysis.stepWeights", weights)
}

/// Steps with these weights, which must rise from each to the next.
pub fn rising(
    field: &'static str,
    weights: impl IntoIterator<Item = (i64, Step)>,
) -> Result<Vec<Step>, StrategyError> {
    let mut steps: Vec<Step> = Vec::new();
    for (weight, step) in weights {
        let next = percent(field, weight)?;
        if let Some(previous) = steps.last().map(|s| s.weight)
            && next <= previous
        {
            return Err(StrategyError::NotRising {
                field,
                previous: previous.into(),
                next: weight,
            });
        }
        steps.push(Step {
            weight: next,
            ..step
        });
    }
    if steps.is_empty() {
        return Err(StrategyError::NoSteps {
            field: "analysis.stepWeight",
        });
    }
    Ok(steps)
}

fn percent(field: &'static str, weight: i64) -> Result<u8, StrategyError> {
    match u8::try_from(weight) {
        Ok(w @ 1..=100) => Ok(w),
        _ => Err(StrategyError::OutOfRange { field, weight }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(weights: &[u8]) -> Vec<Step> {
        weights.iter().copied().map(Step::at).collect()
    }

    fn walk(course: &Course, routed: bool) -> Vec<Position> {
        let next = |at: &Position| course.next(*at, routed);
        std::iter::successors(next(&Position::default()), next)
            .take(20)
            .collect()
    }

    fn at(weight: u8, iterations: u32, mirror: bool, matched: bool) -> Position {
        Position {
            weight,
            iterations,
            mirror,
            matched,
        }
    }

    #[test]
    fn steps_walk_as_people_know_them() {
        assert_eq!(weighted_steps(20, &[], 50), Ok(steps(&[20, 40, 60])));
        assert_eq!(weighted_steps(30, &[], 0), Ok(steps(&[30, 60, 90, 100])));
        assert_eq!(weighted_steps(100, &[], 0), Ok(steps(&[100])));
        assert_eq!(
            weighted_steps(0, &[1, 2, 10, 80], 0),
            Ok(steps(&[1, 2, 10, 80]))
        );
    }

    #[test]
    fn r14_weights_that_cannot_be_walked_are_refused() {
        assert_eq!(
            weighted_steps(0, &[10, 10], 0),
            Err(StrategyError::NotRising {
                field: "analysis.stepWeights",
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
    fn each_course_is_walked_to_its_end() {
        let weighted = |mirror| Course::Weighted {
            steps: steps(&[20, 60]),
            mirror,
        };
        let plain = [at(20, 0, false, false), at(60, 0, false, false)];
        assert_eq!(walk(&weighted(false), true), plain);
        assert_eq!(
            walk(&weighted(true), true),
            [&[at(0, 0, true, false)][..], &plain].concat()
        );
        assert_eq!(
            walk(&Course::Matched { iterations: 2 }, true),
            [at(100, 1, false, true), at(100, 2, false, true)]
        );
        let blue = |mirror| Course::BlueGreen {
            iterations: 2,
            mirror,
        };
        assert_eq!(
            walk(&blue(true), true),
            [
                at(0, 1, true, false),
                at(0, 2, true, false),
                at(100, 2, false, false)
            ]
        );
        assert_eq!(
            walk(&blue(true), false),
            [at(0, 1, false, false), at(0, 2, false, false)]
        );
    }

    #[test]
    fn r14_edited_steps_go_on_at_the_next_weight_above() {
        let course = Course::Weighted {
            steps: steps(&[10, 20, 50]),
            mirror: false,
        };
        let next = |weight| course.next(at(weight, 0, false, false), true);
        assert_eq!(next(15), Some(at(20, 0, false, false)));
        assert_eq!(next(50), None);
        assert_eq!(course.step(at(15, 0, false, false)), Some(&Step::at(10)));
        assert_eq!(course.step(Position::default()), None);
    }

    #[test]
    fn r16_the_promotion_is_decided_once() {
        let decided = |course: &Course, routed| {
            let mut found = Vec::new();
            let mut here = Position::default();
            for _ in 0..20 {
                let next = course.next(here, routed);
                if course.decides(here, next) {
                    found.push((here.weight, here.iterations));
                }
                let Some(next) = next else { break };
                here = next;
            }
            found
        };
        let blue = Course::BlueGreen {
            iterations: 2,
            mirror: false,
        };
        assert_eq!(decided(&blue, true), [(0, 2)]);
        assert_eq!(decided(&blue, false), [(0, 2)]);
        assert_eq!(
            decided(&Course::Matched { iterations: 1 }, true),
            [(100, 1)]
        );
    }
}
