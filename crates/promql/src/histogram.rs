//! Quantiles of classic histograms: cumulative buckets with an `le` label.

use std::collections::HashMap;

use crate::labels::{Labels, NAME};
use crate::number::parse_value;
use crate::value::VectorSample;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// `histogram_quantile` over a vector: one result per label set without `le`, in order of first
/// appearance. Elements without a readable `le` are not buckets and are left out.
pub(crate) fn histogram_quantile(q: f64, vector: &[VectorSample]) -> Vec<VectorSample> {
    let mut groups: Vec<(Labels, Vec<Bucket>)> = Vec::new();
    let mut index: HashMap<Labels, usize> = HashMap::new();
    for sample in vector {
        let Some(upper) = parse_value(sample.labels.get("le")) else {
            continue;
        };
        let labels = sample.labels.filter(|name| name != "le" && name != NAME);
        let at = *index.entry(labels.clone()).or_insert_with(|| {
            groups.push((labels, Vec::new()));
            groups.len() - 1
        });
        if let Some((_, buckets)) = groups.get_mut(at) {
            buckets.push(Bucket {
                upper,
                count: sample.value,
            });
        }
    }
    groups
        .into_iter()
        .map(|(labels, buckets)| VectorSample {
            labels,
            value: bucket_quantile(q, buckets),
        })
        .collect()
}

fn bucket_quantile(q: f64, mut buckets: Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| crate::over_time::nan_first(a.upper, b.upper));
    #[expect(clippy::float_cmp, reason = "the bound is the bucket's identity")]
    buckets.dedup_by(|next, held| {
        let same = next.upper == held.upper;
        if same {
            held.count += next.count;
        }
        same
    });
    // Scrapes of one histogram are not atomic, so that counts may fall; a cumulative count cannot.
    let mut highest = f64::NEG_INFINITY;
    for bucket in &mut buckets {
        if bucket.count < highest {
            bucket.count = highest;
        } else {
            highest = bucket.count;
        }
    }
    let [.., second_last, last] = buckets.as_slice() else {
        return f64::NAN;
    };
    if last.upper != f64::INFINITY || last.count == 0.0 || last.count.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * last.count;
    let finite = buckets.len() - 1;
    let found = buckets
        .iter()
        .take(finite)
        .position(|bucket| bucket.count >= rank);
    let Some((at, bucket)) = found.and_then(|at| Some((at, *buckets.get(at)?))) else {
        return second_last.upper;
    };
    let Some(before) = at.checked_sub(1).and_then(|at| buckets.get(at)) else {
        if bucket.upper <= 0.0 {
            return bucket.upper;
        }
        return bucket.upper * (rank / bucket.count);
    };
    rank -= before.count;
    before.upper + (bucket.upper - before.upper) * (rank / (bucket.count - before.count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantile(q: f64, buckets: &[(f64, f64)]) -> f64 {
        let buckets = buckets.iter().map(|(upper, count)| Bucket {
            upper: *upper,
            count: *count,
        });
        bucket_quantile(q, buckets.collect())
    }

    #[test]
    fn interpolation_and_edges() {
        let inf = f64::INFINITY;
        let plain = [(0.1, 10.0), (0.5, 30.0), (inf, 40.0)];
        let table = [
            (0.125, 0.05),
            (0.5, 0.3),
            (0.99, 0.5),
            (0.0, 0.0),
            (-0.1, f64::NEG_INFINITY),
            (1.1, inf),
        ];
        for (q, expected) in table {
            let got = quantile(q, &plain);
            let same = got.to_bits() == f64::to_bits(expected);
            assert!(same || (got - expected).abs() < 1e-12, "{q}: {got}");
        }
        // Not monotonic, out of order, one bound twice.
        let bent = quantile(0.5, &[(inf, 40.0), (0.5, 9.0), (0.1, 10.0), (0.1, 10.0)]);
        assert!((bent - 0.1).abs() < 1e-12);
        for hopeless in [
            &[(0.1, 1.0)][..],
            &[(0.1, 1.0), (0.5, 2.0)],
            &[(0.1, 0.0), (inf, 0.0)],
        ] {
            assert!(quantile(0.5, hopeless).is_nan());
        }
        assert_eq!(
            quantile(0.2, &[(-1.0, 5.0), (inf, 10.0)]).to_bits(),
            (-1.0_f64).to_bits()
        );
    }
}
