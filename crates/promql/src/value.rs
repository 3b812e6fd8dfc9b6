//! Answers, and their form in the Prometheus HTTP API.

use serde_json::{Value as Json, json};

use crate::labels::Labels;
use crate::number::format_value;
use crate::storage::Sample;

/// One element of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSample {
    /// Its labels; an aggregation without `by` has none.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// One series of a range query's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its points in order of time.
    pub points: Vec<Sample>,
}

/// A query's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without labels.
    Scalar {
        /// The evaluation's time in milliseconds.
        time: i64,
        /// The number.
        value: f64,
    },
    /// A string.
    Text {
        /// The evaluation's time in milliseconds.
        time: i64,
        /// The string.
        text: String,
    },
    /// Any number of labelled values at one instant.
    Vector {
        /// The evaluation's time in milliseconds.
        time: i64,
        /// The elements.
        samples: Vec<VectorSample>,
    },
    /// Series of points over time.
    Matrix(Vec<RangeSeries>),
}

impl Value {
    /// The `data` member of the HTTP API's answer: `resultType` and `result`.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Scalar { time, value } => {
                json!({"resultType": "scalar", "result": [stamp(*time), format_value(*value)]})
            }
            Self::Text { time, text } => {
                json!({"resultType": "string", "result": [stamp(*time), text]})
            }
            Self::Vector { time, samples } => {
                let element = |sample: &VectorSample| {
                    json!({
                        "metric": sample.labels.to_json(),
                        "value": [stamp(*time), format_value(sample.value)],
                    })
                };
                let result: Vec<Json> = samples.iter().map(element).collect();
                json!({"resultType": "vector", "result": result})
            }
            Self::Matrix(series) => {
                let point = |p: &Sample| json!([stamp(p.time), format_value(p.value)]);
                let element = |series: &RangeSeries| {
                    let values: Vec<Json> = series.points.iter().map(point).collect();
                    json!({"metric": series.labels.to_json(), "values": values})
                };
                let result: Vec<Json> = series.iter().map(element).collect();
                json!({"resultType": "matrix", "result": result})
            }
        }
    }
}

/// Milliseconds as seconds, whole where they are.
fn stamp(millis: i64) -> Json {
    if millis % 1000 == 0 {
        json!(millis / 1000)
    } else {
        json!(millis as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_shapes() {
        let scalar = Value::Scalar {
            time: 1500,
            value: f64::INFINITY,
        };
        assert_eq!(
            scalar.to_json(),
            json!({"resultType": "scalar", "result": [1.5, "+Inf"]})
        );
        let labels = Labels::named("up", [("a", "b")]);
        let samples = vec![VectorSample {
            labels: labels.clone(),
            value: 1.0,
        }];
        assert_eq!(
            Value::Vector {
                time: 2000,
                samples
            }
            .to_json(),
            json!({"resultType": "vector", "result": [
                {"metric": {"__name__": "up", "a": "b"}, "value": [2, "1"]}]})
        );
        let points = vec![Sample {
            time: 0,
            value: f64::NAN,
        }];
        assert_eq!(
            Value::Matrix(vec![RangeSeries { labels, points }]).to_json(),
            json!({"resultType": "matrix", "result": [
                {"metric": {"__name__": "up", "a": "b"}, "values": [[0, "NaN"]]}]})
        );
    }
}
