//! Binary operators between scalars and vectors, with vector matching.

use std::collections::{HashMap, HashSet};

use crate::ast::{BinaryOp, Cardinality, Matching};
use crate::engine::Dialect;
use crate::labels::{Labels, NAME};
use crate::signature;
use crate::value::VectorSample;

/// Whether the result is another quantity than the operand, and so loses its name.
fn drops_name(op: BinaryOp, bool: bool, dialect: Dialect) -> bool {
    // 2.x forgot `atan2`, and rules written for it may count on the name.
    bool || !op.is_comparison() && (op != BinaryOp::Atan2 || dialect != Dialect::V2)
}

/// The result of two numbers, and whether a comparison holds (always for arithmetic).
#[expect(clippy::float_cmp, reason = "PromQL compares exactly")]
fn apply(op: BinaryOp, left: f64, right: f64) -> (f64, bool) {
    let keep = match op {
        BinaryOp::Add => return (left + right, true),
        BinaryOp::Sub => return (left - right, true),
        BinaryOp::Mul => return (left * right, true),
        BinaryOp::Div => return (left / right, true),
        BinaryOp::Mod => return (left % right, true),
        BinaryOp::Pow => return (left.powf(right), true),
        BinaryOp::Atan2 => return (left.atan2(right), true),
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessEqual => left <= right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterEqual => left >= right,
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => false,
    };
    (left, keep)
}

/// Two scalars; a comparison gives 1 or 0.
pub(crate) fn scalars(op: BinaryOp, left: f64, right: f64) -> f64 {
    let (value, keep) = apply(op, left, right);
    if op.is_comparison() {
        f64::from(u8::from(keep))
    } else {
        value
    }
}

/// A vector and a scalar; `swapped` when the scalar stands on the left.
pub(crate) fn with_scalar(
    op: BinaryOp,
    vector: Vec<VectorSample>,
    scalar: f64,
    swapped: bool,
    bool: bool,
    dialect: Dialect,
) -> Vec<VectorSample> {
    let drop_name = drops_name(op, bool, dialect);
    vector
        .into_iter()
        .filter_map(|sample| {
            let own = sample.value;
            let (left, right) = if swapped {
                (scalar, own)
            } else {
                (own, scalar)
            };
            let (mut value, keep) = apply(op, left, right);
            if bool {
                value = f64::from(u8::from(keep));
            } else if op.is_comparison() {
                // A filter passes the vector's own value, whichever side it stands on.
                if !keep {
                    return None;
                }
                value = own;
            }
            let labels = if drop_name {
                sample.labels.nameless()
            } else {
                sample.labels
            };
            Some(VectorSample { labels, value })
        })
        .collect()
}

/// `and`, `or`, `unless`.
pub(crate) fn sets(
    op: BinaryOp,
    left: Vec<VectorSample>,
    right: Vec<VectorSample>,
    matching: &Matching,
) -> Vec<VectorSample> {
    let keys = |side: &[VectorSample]| -> HashSet<Labels> {
        side.iter()
            .map(|sample| signature::matched(&sample.labels, matching))
            .collect()
    };
    let has = |keys: &HashSet<Labels>, sample: &VectorSample| {
        keys.contains(&signature::matched(&sample.labels, matching))
    };
    match op {
        BinaryOp::And => {
            let keys = keys(&right);
            left.into_iter()
                .filter(|sample| has(&keys, sample))
                .collect()
        }
        BinaryOp::Unless => {
            let keys = keys(&right);
            left.into_iter()
                .filter(|sample| !has(&keys, sample))
                .collect()
        }
        _ => {
            let keys = keys(&left);
            let rest = right.into_iter().filter(|sample| !has(&keys, sample));
            left.into_iter().chain(rest).collect()
        }
    }
}

/// Two vectors by matching labels. The message of a failure names the labels concerned.
pub(crate) fn vectors(
    op: BinaryOp,
    left: Vec<VectorSample>,
    right: Vec<VectorSample>,
    bool: bool,
    matching: &Matching,
    dialect: Dialect,
) -> Result<Vec<VectorSample>, String> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped {
        (right, left)
    } else {
        (left, right)
    };
    let mut partners: HashMap<Labels, &VectorSample> = HashMap::with_capacity(one.len());
    for sample in &one {
        let key = signature::matched(&sample.labels, matching);
        if let Some(known) = partners.insert(key.clone(), sample) {
            return Err(format!(
                "the {} side has more than one series for the match group {key} (`{}` and `{}`); \
                 matching needs labels that are unique on one side",
                if swapped { "left" } else { "right" },
                known.labels,
                sample.labels,
            ));
        }
    }
    let mut used: HashSet<(Labels, Option<Labels>)> = HashSet::new();
    let mut out = Vec::new();
    for sample in &many {
        let key = signature::matched(&sample.labels, matching);
        let Some(partner) = partners.get(&key) else {
            continue;
        };
        let (a, b) = (sample.value, partner.value);
        let (a, b) = if swapped { (b, a) } else { (a, b) };
        let (mut value, keep) = apply(op, a, b);
        if bool {
            value = f64::from(u8::from(keep));
        } else if !keep {
            continue;
        }
        let drop_name = drops_name(op, bool, dialect);
        let mut labels = result_labels(sample, partner, matching, drop_name);
        if bool {
            // Also a name that was grouped in: it would be the name of another quantity.
            labels = labels.nameless();
        }
        if matching.cardinality == Cardinality::OneToOne {
            if !used.insert((key.clone(), None)) {
                return Err(format!(
                    "the left side has more than one series for the match group {key}; \
                     many-to-one matching has to be stated with `group_left`"
                ));
            }
        } else if !used.insert((key.clone(), Some(labels.clone()))) {
            return Err(format!(
                "more than one result would have the labels {labels} in the match group {key}; \
                 the grouping labels have to keep matches apart"
            ));
        }
        out.push(VectorSample { labels, value });
    }
    Ok(out)
}

fn result_labels(
    many: &VectorSample,
    one: &VectorSample,
    matching: &Matching,
    drop_name: bool,
) -> Labels {
    let mut labels = many.labels.clone();
    if drop_name {
        labels = labels.nameless();
    }
    if matching.cardinality == Cardinality::OneToOne {
        let listed = |name: &str| matching.labels.iter().any(|own| own == name);
        labels = labels.filter(|name| {
            if matching.on {
                listed(name)
            } else {
                !listed(name) || name == NAME
            }
        });
    }
    for name in &matching.include {
        labels = labels.with(name, one.labels.get(name));
    }
    labels
}
