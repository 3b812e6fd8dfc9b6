//! The way in: an engine with its limits, asked for an instant or a range.
//!
//! Owns the limits and what a query may ask for as a whole; the tree is evaluated in `eval`.

use std::collections::BTreeMap;

use crate::ast::Type;
use crate::error::QueryError;
use crate::eval::Run;
use crate::labels::Labels;
use crate::parse::{Query, parse_query};
use crate::storage::{Sample, Storage};
use crate::value::{RangeSeries, Value, VectorSample};

/// Which Prometheus to agree with where its major versions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// 2.x: a range includes a sample exactly at its start.
    #[default]
    V2,
    /// 3.x: a range and the lookback leave out a sample exactly at their start, and a counter's
    /// extrapolation stops at half a step before looking for zero.
    V3,
}

/// What one query may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Samples read and produced over all steps together.
    pub samples: usize,
    /// Steps of a range query.
    pub points: usize,
    /// How old a sample may be to count as current, in milliseconds.
    pub lookback: i64,
    /// Step of a subquery that states none, in milliseconds.
    pub subquery_step: i64,
}

impl Default for Limits {
    /// Prometheus's own: 11,000 points, five minutes, one minute; and five million samples.
    fn default() -> Self {
        Self {
            samples: 5_000_000,
            points: 11_000,
            lookback: 300_000,
            subquery_step: 60_000,
        }
    }
}

/// Evaluates queries. Cheap to copy, holds no state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Engine {
    pub(crate) limits: Limits,
    pub(crate) dialect: Dialect,
}

impl Engine {
    /// An engine with its own limits.
    pub fn new(limits: Limits, dialect: Dialect) -> Self {
        Self { limits, dialect }
    }

    /// The answer to a query at `time` (milliseconds).
    pub fn instant(&self, store: &Storage, text: &str, time: i64) -> Result<Value, QueryError> {
        self.instant_of(store, &parse_query(text)?, time)
    }

    /// The answer to a parsed query at `time` (milliseconds).
    pub fn instant_of(&self, store: &Storage, query: &Query, at: i64) -> Result<Value, QueryError> {
        let time = checked_time(at)?;
        let run = self.prepare(store, query, time, time)?;
        Ok(match query.root.kind {
            Type::Scalar => Value::Scalar {
                time,
                value: run.scalar(&query.root, time)?,
            },
            Type::Text => Value::Text {
                time,
                text: run.text(&query.root)?.to_owned(),
            },
            Type::Vector => Value::Vector {
                time,
                samples: run.vector(&query.root, time)?,
            },
            Type::Matrix => {
                let windows = run.matrix(&query.root, time)?.into_iter();
                let series = windows.map(|window| RangeSeries {
                    labels: window.labels,
                    points: window.samples.into_owned(),
                });
                Value::Matrix(series.collect())
            }
        })
    }

    /// The answers at `start`, `start + step`, … up to `end` (all in milliseconds), as a matrix.
    pub fn range(
        &self,
        store: &Storage,
        text: &str,
        start: i64,
        end: i64,
        step: i64,
    ) -> Result<Value, QueryError> {
        self.range_of(store, &parse_query(text)?, start, end, step)
    }

    /// As [`Engine::range`], for a parsed query.
    pub fn range_of(
        &self,
        store: &Storage,
        query: &Query,
        start: i64,
        end: i64,
        step: i64,
    ) -> Result<Value, QueryError> {
        let refuse = |message: &str| {
            Err(QueryError::Range {
                message: message.to_owned(),
            })
        };
        let (start, end) = (checked_time(start)?, checked_time(end)?);
        if step <= 0 {
            return refuse("the step must be above zero");
        }
        if end < start {
            return refuse("the end must not be before the start");
        }
        if (end - start) / step > self.limits.points as i64 {
            let message = format!(
                "it asks for more than {} points per series; use a larger step",
                self.limits.points
            );
            return Err(QueryError::Range { message });
        }
        if !matches!(query.root.kind, Type::Scalar | Type::Vector) {
            let kind = query.root.kind.name();
            let message = format!("it needs a scalar or an instant vector, and this is {kind}");
            return Err(QueryError::Range { message });
        }
        let run = self.prepare(store, query, start, end)?;
        let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
        let mut time = start;
        while time <= end {
            if query.root.kind == Type::Scalar {
                let value = run.scalar(&query.root, time)?;
                series
                    .entry(Labels::default())
                    .or_default()
                    .push(Sample { time, value });
            } else {
                for VectorSample { labels, value } in run.vector(&query.root, time)? {
                    series
                        .entry(labels)
                        .or_default()
                        .push(Sample { time, value });
                }
            }
            time += step;
        }
        let series = series
            .into_iter()
            .map(|(labels, points)| RangeSeries { labels, points });
        Ok(Value::Matrix(series.collect()))
    }

    fn prepare<'q>(
        &self,
        store: &Storage,
        query: &'q Query,
        start: i64,
        end: i64,
    ) -> Result<Run<'q>, QueryError> {
        let mut run = Run::new(*self, query);
        run.load(store, &query.root, start, end)?;
        Ok(run)
    }
}

/// Times within ±100,000 years, so that no arithmetic on them can overflow.
fn checked_time(time: i64) -> Result<i64, QueryError> {
    if time.unsigned_abs() > 3_155_760_000_000_000 {
        return Err(QueryError::Range {
            message: "the time is out of bounds".to_owned(),
        });
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Retention;

    fn store() -> Storage {
        let storage = Storage::new(Retention::default());
        for (pod, factor) in [("a", 1.0), ("b", 2.0)] {
            let labels = Labels::named("m", [("pod", pod)]);
            for step in 0..=60_i32 {
                let time = i64::from(step) * 10_000;
                storage
                    .append(&labels, time, f64::from(step) * factor)
                    .expect("in order");
            }
        }
        storage
    }

    fn refusal(engine: Engine, query: &str) -> String {
        match engine.instant(&store(), query, 600_000) {
            Ok(value) => format!("answered {}", value.to_json()),
            Err(refused) => refused.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_evaluated_is_named_with_its_place() {
        let table = [
            (
                "m @ 5",
                "1:3: the `@` modifier is not supported here; rewrite the query without it",
            ),
            (
                "1 +\n holt_winters(m[5m], 0.5, 0.5)",
                "2:2: the function `holt_winters` is not supported here; rewrite the query without it",
            ),
            ("sum(nope(m))", "1:5: there is no function named `nope`"),
            (
                "rate(m)",
                "1:6: `rate` needs a range vector here, found an instant vector",
            ),
            (
                "m{pod=~\"(\"}",
                "1:8: the regular expression cannot be used: unclosed group",
            ),
            (
                "sum(m",
                "1:6: expected `,` or `)`, found the end of the query",
            ),
            ("", "1:1: the query is empty"),
            ("é", "1:1: the character `é` cannot stand here"),
            (
                "m + on() m",
                "1:3: the right side has more than one series for the match group {} \
                 (`m{pod=\"a\"}` and `m{pod=\"b\"}`); matching needs labels that are unique on one \
                 side",
            ),
            (
                "label_replace(m, \"pod\", \"x\", \"\", \"\")",
                "1:1: the result has the labels m{pod=\"x\"} twice",
            ),
        ];
        for (query, message) in table {
            assert_eq!(refusal(Engine::default(), query), message, "{query}");
        }
    }

    #[test]
    fn limits_hold() {
        let limits = Limits {
            samples: 200,
            points: 10,
            ..Limits::default()
        };
        let engine = Engine::new(limits, Dialect::V2);
        let samples = "the query exceeds the limit of 200 samples; \
                       narrow its range, step or selectors";
        assert_eq!(refusal(engine, "rate(m[5m]) + rate(m[10m])"), samples);
        assert_eq!(refusal(engine, "sum_over_time(vector(1)[1y:1s])"), samples);
        let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
        let long = vec!["1"; 5000].join("+");
        let signs = format!("{}1", "-".repeat(5000));
        let functions = format!("{}m{}", "abs(".repeat(5000), ")".repeat(5000));
        for query in [deep, long, signs, functions] {
            assert!(refusal(engine, &query).contains("100 nested expressions"));
        }
        assert!(refusal(engine, &" ".repeat(100_000)).contains("bytes of query text"));
        let points = engine.range(&store(), "m", 0, 11_000, 1000);
        assert!(
            matches!(points, Err(QueryError::Range { .. })),
            "{points:?}"
        );
        for (start, end, step) in [(0, 10, 0), (10, 0, 1), (i64::MIN, i64::MAX, 1), (0, 1, -1)] {
            assert!(engine.range(&store(), "m", start, end, step).is_err());
        }
        assert!(engine.range(&store(), "m[5m]", 0, 10, 10).is_err());
    }

    #[test]
    fn dialects_differ_at_the_edges() {
        let count = |dialect| {
            let engine = Engine::new(Limits::default(), dialect);
            let query = "scalar(count_over_time(m{pod=\"a\"}[1m]))";
            let edge = "scalar(count(m))";
            let number = |query, time| match engine.instant(&store(), query, time) {
                Ok(Value::Scalar { value, .. }) => value.to_string(),
                other => format!("{other:?}"),
            };
            (number(query, 600_000), number(edge, 900_000))
        };
        assert_eq!(count(Dialect::V2), ("7".to_owned(), "2".to_owned()));
        assert_eq!(count(Dialect::V3), ("6".to_owned(), "NaN".to_owned()));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn never_panics(text in "(m|sum|by|rate|on|[(){}\\[\\],=~!+*/%^<>-]|5m|:|1|\"x\"| |pod|é){0,24}") {
            let _ = Engine::default().instant(&store(), &text, 600_000);
        }
    }
}
