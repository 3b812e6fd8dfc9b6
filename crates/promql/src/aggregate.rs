//! Aggregations across series at one instant.

use std::collections::HashMap;

use crate::ast::{AggregateOp, Grouping};
use crate::labels::Labels;
use crate::number::format_plain;
use crate::over_time::{greater, keeps_infinite, lesser, nan_first, quantile};
use crate::signature;
use crate::value::VectorSample;

/// The operator's parameter, where it has one.
#[derive(Debug, Clone)]
pub(crate) enum Param {
    None,
    Number(f64),
    Label(String),
}

struct Group {
    labels: Labels,
    members: Vec<VectorSample>,
}

/// Aggregates a vector; groups come in order of their first member.
pub(crate) fn aggregate(
    op: AggregateOp,
    param: &Param,
    grouping: &Grouping,
    vector: Vec<VectorSample>,
) -> Vec<VectorSample> {
    let mut groups: Vec<Group> = Vec::new();
    let mut index: HashMap<Labels, usize> = HashMap::new();
    for sample in vector {
        let labels = match (op, param) {
            (AggregateOp::CountValues, Param::Label(label)) => {
                // The value becomes a label first, so that `without` can take it away again.
                let text = format_plain(sample.value);
                if grouping.without {
                    signature::group(&sample.labels.with(label, &text), grouping)
                } else {
                    signature::group(&sample.labels, grouping).with(label, &text)
                }
            }
            _ => signature::group(&sample.labels, grouping),
        };
        let at = *index.entry(labels.clone()).or_insert_with(|| {
            groups.push(Group {
                labels,
                members: Vec::new(),
            });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(at) {
            group.members.push(sample);
        }
    }
    let number = match param {
        Param::Number(number) => *number,
        _ => f64::NAN,
    };
    if matches!(op, AggregateOp::Topk | AggregateOp::Bottomk) {
        let count = number.max(0.0) as usize; // NaN and below one give none.
        return groups
            .into_iter()
            .flat_map(|group| extreme(op, count, group.members))
            .collect();
    }
    groups
        .into_iter()
        .map(|group| VectorSample {
            value: fold(op, number, &group.members),
            labels: group.labels,
        })
        .collect()
}

fn extreme(op: AggregateOp, count: usize, mut members: Vec<VectorSample>) -> Vec<VectorSample> {
    // A stable sort keeps the earlier of equals; NaN is last in both directions.
    members.sort_by(|a, b| {
        let (a, b) = (a.value, b.value);
        match op {
            AggregateOp::Topk => nan_first(b, a).then_with(|| a.is_nan().cmp(&b.is_nan())),
            _ if a.is_nan() || b.is_nan() => a.is_nan().cmp(&b.is_nan()),
            _ => nan_first(a, b),
        }
    });
    members.truncate(count);
    members
}

fn fold(op: AggregateOp, number: f64, members: &[VectorSample]) -> f64 {
    let values = || members.iter().map(|member| member.value);
    let count = members.len() as f64;
    match op {
        AggregateOp::Sum => values().sum(),
        AggregateOp::Avg => {
            let mut mean = 0.0_f64;
            let mut seen = 0.0;
            for value in values() {
                seen += 1.0;
                if !keeps_infinite(mean, value) {
                    mean += value / seen - mean / seen;
                }
            }
            mean
        }
        AggregateOp::Min => values().reduce(lesser).unwrap_or(f64::NAN),
        AggregateOp::Max => values().reduce(greater).unwrap_or(f64::NAN),
        AggregateOp::Count | AggregateOp::CountValues => count,
        AggregateOp::Group => 1.0,
        AggregateOp::Stdvar => variance(values()),
        AggregateOp::Stddev => variance(values()).sqrt(),
        AggregateOp::Quantile => quantile(number, values().collect()),
        // Handled before, because they keep their members.
        AggregateOp::Topk | AggregateOp::Bottomk => f64::NAN,
    }
}

fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut count) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let off = value - mean;
        mean += off / count;
        squares += off * (value - mean);
    }
    squares / count
}
