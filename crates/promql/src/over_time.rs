//! Aggregations of one series over a range (`*_over_time`), and the quantile they share.

#![expect(
    clippy::unnecessary_wraps,
    reason = "one signature serves the table of functions"
)]

use std::cmp::Ordering;

use crate::window::Window;

/// A sum that keeps what rounding would lose (Neumaier's variant).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kahan {
    pub(crate) sum: f64,
    pub(crate) rest: f64,
}

impl Kahan {
    pub(crate) fn add(&mut self, term: f64) {
        let total = self.sum + term;
        self.rest += if self.sum.abs() >= term.abs() {
            (self.sum - total) + term
        } else {
            (term - total) + self.sum
        };
        self.sum = total;
    }

    fn total(self) -> f64 {
        if self.sum.is_infinite() {
            self.sum
        } else {
            self.sum + self.rest
        }
    }
}

pub(crate) fn sum(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    let mut kahan = Kahan::default();
    window.values().for_each(|value| kahan.add(value));
    Some(kahan.total())
}

pub(crate) fn avg(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    let mut mean = Kahan::default();
    let mut count = 0.0;
    for value in window.values() {
        count += 1.0;
        if keeps_infinite(mean.sum, value) {
            continue;
        }
        mean.add(value / count - mean.sum / count);
    }
    Some(mean.total())
}

/// Whether a mean that is infinite already stays as it is, where arithmetic would make it NaN.
pub(crate) fn keeps_infinite(mean: f64, value: f64) -> bool {
    mean.is_infinite()
        && (value.is_finite() || value.is_infinite() && (mean > 0.0) == (value > 0.0))
}

pub(crate) fn min(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    window.values().reduce(lesser)
}

pub(crate) fn max(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    window.values().reduce(greater)
}

/// The smaller one; a number wins over NaN.
pub(crate) fn lesser(held: f64, next: f64) -> f64 {
    if next < held || held.is_nan() {
        next
    } else {
        held
    }
}

/// The larger one; a number wins over NaN.
pub(crate) fn greater(held: f64, next: f64) -> f64 {
    if next > held || held.is_nan() {
        next
    } else {
        held
    }
}

pub(crate) fn count(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    Some(window.samples.len() as f64)
}

pub(crate) fn last(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    window.samples.last().map(|sample| sample.value)
}

pub(crate) fn present(_: &Window<'_>, _: &[f64]) -> Option<f64> {
    Some(1.0)
}

pub(crate) fn stdvar(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    let mut count = 0.0;
    for value in window.values() {
        count += 1.0;
        let off = value - (mean.sum + mean.rest);
        mean.add(off / count);
        squares.add(off * (value - (mean.sum + mean.rest)));
    }
    Some((squares.sum + squares.rest) / count)
}

pub(crate) fn stddev(window: &Window<'_>, scalars: &[f64]) -> Option<f64> {
    stdvar(window, scalars).map(f64::sqrt)
}

pub(crate) fn quantile_over_time(window: &Window<'_>, scalars: &[f64]) -> Option<f64> {
    Some(quantile(*scalars.first()?, window.values().collect()))
}

/// Ascending with NaN first.
pub(crate) fn nan_first(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The interpolated quantile of values in any order.
pub(crate) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| nan_first(*a, *b));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let weight = rank - rank.floor();
    let below = values.get(lower).copied().unwrap_or(f64::NAN);
    let above = values.get(lower + 1).copied().unwrap_or(below);
    below * (1.0 - weight) + above * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let values = vec![4.0, 1.0, 3.0, 2.0];
        for (q, expected) in [
            (0.0, 1.0),
            (0.5, 2.5),
            (1.0, 4.0),
            (-1.0, f64::NEG_INFINITY),
            (2.0, f64::INFINITY),
        ] {
            assert_eq!(
                quantile(q, values.clone()).to_bits(),
                f64::to_bits(expected),
                "{q}"
            );
        }
        assert!(quantile(0.5, vec![]).is_nan() && quantile(f64::NAN, values).is_nan());
    }
}
