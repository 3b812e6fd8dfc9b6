//! Owns the verdict over one round of measurements: pass, failed, no data and provider's failure are
//! four different things. It refuses to stop at the first bad metric, so that a round is always
//! recorded whole, and it never takes missing evidence for a pass.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Event;

/// A round of measurements: every metric of the analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// When it was taken.
    pub at: Timestamp,
    /// The revision it was taken for.
    pub revision: String,
    /// The point of the run it was taken at; it counts for that point alone.
    pub point: String,
    /// How many requests the pods answered since the step began, where that was asked for.
    pub requests: Option<f64>,
    /// One check per metric.
    pub checks: Vec<Check>,
}

/// One metric's measurement and what it is held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The metric's name.
    pub name: String,
    /// How its value reads.
    pub judge: Judge,
    /// What it is held against.
    pub rule: Rule,
    /// What came back.
    pub reading: Reading,
}

/// How a value reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// The built-in success rate, in percent.
    SuccessRate,
    /// The built-in duration, in milliseconds.
    Duration,
    /// A query's number.
    Number,
}

/// The range a value has to be in, ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rule {
    /// The least value.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
}

/// What came back for one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "camelCase")]
pub enum Reading {
    /// A number.
    Value {
        /// The metric's name.
        name: String,
        /// The number.
        value: f64,
        /// What the provider warned of while answering.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// The provider answered and had no number.
    NoData {
        /// The metric's name.
        name: String,
        /// A sentence for people.
        message: String,
    },
    /// The provider did not answer, or not with one number.
    ProviderFailed {
        /// The metric's name.
        name: String,
        /// A sentence for people.
        message: String,
    },
}

/// The verdict over one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// A metric was out of its range.
    pub failed: bool,
    /// A metric had no value.
    pub no_data: bool,
    /// A metric's provider did not answer.
    pub provider_failed: bool,
    /// What to tell; empty if all is well.
    pub events: Vec<Event>,
}

impl Round {
    /// Whether every metric had a value in its range.
    pub fn passed(&self) -> bool {
        !(self.failed || self.no_data || self.provider_failed)
    }
}

/// Judges a round. `subject` is `name.namespace` of the Canary.
pub fn judge(subject: &str, measurement: &Measurement) -> Round {
    let mut round = Round::default();
    for check in &measurement.checks {
        match &check.reading {
            Reading::Value { value, .. } => {
                // A number that compares with nothing is no evidence.
                if value.is_nan() {
                    round.no_data = true;
                    round.events.push(Event::warning(format!(
                        "Halt {subject} advancement {} has no value",
                        check.name
                    )));
                } else if let Some(text) = out_of_range(check, *value) {
                    round.failed = true;
                    round
                        .events
                        .push(Event::warning(format!("Halt {subject} advancement {text}")));
                }
            }
            Reading::NoData { message, .. } => {
                round.no_data = true;
                round.events.push(Event::warning(message.clone()));
            }
            Reading::ProviderFailed { message, .. } => {
                round.provider_failed = true;
                round.events.push(Event::warning(message.clone()));
            }
        }
    }
    round
}

fn out_of_range(check: &Check, value: f64) -> Option<String> {
    let (sign, bound) = match check.rule {
        Rule { min: Some(min), .. } if value < min => ('<', min),
        Rule { max: Some(max), .. } if value > max => ('>', max),
        _ => return None,
    };
    Some(match check.judge {
        Judge::SuccessRate => format!("success rate {value:.2}% {sign} {bound}%"),
        Judge::Duration => {
            format!(
                "request duration {} {sign} {}",
                millis(value),
                millis(bound)
            )
        }
        Judge::Number => format!("{} {value:.2} {sign} {bound}", check.name),
    })
}

/// Milliseconds as Go writes a duration: `1.5s`, `515ms`, `500µs`, `1m30s`.
fn millis(ms: f64) -> String {
    let micros = (ms * 1000.0).round();
    if !micros.is_finite() || micros.abs() >= 9e15 {
        return format!("{ms}ms");
    }
    let (sign, micros) = if micros < 0.0 {
        ("-", -micros)
    } else {
        ("", micros)
    };
    let micros = micros as u64;
    let seconds = micros as f64 / 1e6;
    match micros {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{micros}µs"),
        1_000..1_000_000 => format!("{sign}{}ms", micros as f64 / 1e3),
        1_000_000..60_000_000 => format!("{sign}{seconds}s"),
        _ => {
            let minutes = micros / 60_000_000;
            let rest = (micros % 60_000_000) as f64 / 1e6;
            if minutes < 60 {
                format!("{sign}{minutes}m{rest}s")
            } else {
                format!("{sign}{}h{}m{rest}s", minutes / 60, minutes % 60)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, judge: Judge, rule: Rule, value: f64) -> Check {
        let reading = Reading::Value {
            name: name.into(),
            value,
            warnings: vec![],
        };
        Check {
            name: name.into(),
            judge,
            rule,
            reading,
        }
    }

    fn measured(checks: Vec<Check>) -> Measurement {
        Measurement {
            at: Timestamp::UNIX_EPOCH,
            revision: "v1:a".into(),
            point: "p".into(),
            requests: None,
            checks,
        }
    }

    #[test]
    fn every_metric_is_judged_and_told_as_people_know_it() {
        let min = |min| Rule {
            min: Some(min),
            max: None,
        };
        let max = |max| Rule {
            min: None,
            max: Some(max),
        };
        let round = judge(
            "app.demo",
            &measured(vec![
                check(
                    "request-success-rate",
                    Judge::SuccessRate,
                    min(99.0),
                    69.166_66,
                ),
                check("request-duration", Judge::Duration, max(500.0), 1500.0),
                check("errors", Judge::Number, max(2.0), 3.0),
                check("fine", Judge::Number, max(2.0), 2.0),
            ]),
        );
        let texts: Vec<&str> = round.events.iter().map(|e| e.message.as_str()).collect();
        assert_eq!(
            texts,
            [
                "Halt app.demo advancement success rate 69.17% < 99%",
                "Halt app.demo advancement request duration 1.5s > 500ms",
                "Halt app.demo advancement errors 3.00 > 2",
            ]
        );
        assert_eq!(
            (round.failed, round.no_data, round.provider_failed),
            (true, false, false)
        );
    }

    #[test]
    fn missing_evidence_is_never_a_pass() {
        let none = Reading::NoData {
            name: "m".into(),
            message: "nothing".into(),
        };
        let broken = Reading::ProviderFailed {
            name: "m".into(),
            message: "down".into(),
        };
        for (reading, expected) in [(none, (false, true, false)), (broken, (false, false, true))] {
            let mut one = check("m", Judge::Number, Rule::default(), 0.0);
            one.reading = reading;
            let round = judge("app.demo", &measured(vec![one]));
            assert_eq!(
                (round.failed, round.no_data, round.provider_failed),
                expected
            );
            assert!(!round.passed());
        }
        let nan = check("m", Judge::Number, Rule::default(), f64::NAN);
        assert!(judge("app.demo", &measured(vec![nan])).no_data);
    }

    #[test]
    fn durations_read_as_go_writes_them() {
        for (ms, text) in [
            (0.0, "0s"),
            (0.5, "500µs"),
            (515.0, "515ms"),
            (1500.0, "1.5s"),
            (90_000.0, "1m30s"),
            (3_600_000.0, "1h0m0s"),
        ] {
            assert_eq!(millis(ms), text);
        }
    }
}
