//! Rates of counters and changes of gauges, extrapolated to the whole range as Prometheus does.

#![expect(
    clippy::unnecessary_wraps,
    reason = "one signature serves the table of functions"
)]

use crate::engine::Dialect;
use crate::over_time::Kahan;
use crate::storage::Sample;
use crate::window::Window;

pub(crate) fn rate(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    Some(extrapolated(window, true)? / window.seconds())
}

pub(crate) fn increase(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    extrapolated(window, true)
}

pub(crate) fn delta(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    extrapolated(window, false)
}

/// The change between the first and the last sample, stretched to the range's ends where samples
/// reach close to them, and never below a counter's zero.
fn extrapolated(window: &Window<'_>, counter: bool) -> Option<f64> {
    if window.samples.len() < 2 {
        return None;
    }
    let (first, last) = window.first_and_last()?;
    let mut change = last.value - first.value;
    if counter {
        // A fall is a reset: what was counted before it is added back.
        change += window
            .pairs()
            .filter(|(a, b)| b < a)
            .map(|(a, _)| a)
            .sum::<f64>();
    }
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    let mut to_start = seconds(window.start, first.time);
    let to_end = seconds(last.time, window.end);
    let sampled = seconds(first.time, last.time);
    let spacing = sampled / (window.samples.len() - 1) as f64;
    let threshold = spacing * 1.1;
    let to_zero = if counter && change > 0.0 && first.value >= 0.0 {
        sampled * (first.value / change)
    } else {
        f64::INFINITY
    };
    match window.dialect {
        Dialect::V2 => {
            to_start = to_start.min(to_zero);
            if to_start >= threshold {
                to_start = spacing / 2.0;
            }
        }
        Dialect::V3 => {
            if to_start >= threshold {
                to_start = spacing / 2.0;
            }
            to_start = to_start.min(to_zero);
        }
    }
    let to_end = if to_end < threshold {
        to_end
    } else {
        spacing / 2.0
    };
    Some(change * ((sampled + to_start + to_end) / sampled))
}

fn last_two(window: &Window<'_>) -> Option<(Sample, Sample)> {
    let mut back = window.samples.iter().rev();
    let last = back.next()?;
    let before = back.next()?;
    (last.time > before.time).then_some((*before, *last))
}

pub(crate) fn irate(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    let (before, last) = last_two(window)?;
    let reset = last.value < before.value;
    let change = if reset {
        last.value
    } else {
        last.value - before.value
    };
    Some(change / ((last.time - before.time) as f64 / 1000.0))
}

pub(crate) fn idelta(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    let (before, last) = last_two(window)?;
    Some(last.value - before.value)
}

pub(crate) fn resets(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    Some(window.pairs().filter(|(a, b)| b < a).count() as f64)
}

pub(crate) fn changes(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    #[expect(clippy::float_cmp, reason = "any difference is a change")]
    let changed = |(a, b): &(f64, f64)| a != b && !(a.is_nan() && b.is_nan());
    Some(window.pairs().filter(changed).count() as f64)
}

/// Slope and value at `origin` of the least-squares line.
fn regression(samples: &[Sample], origin: i64) -> Option<(f64, f64)> {
    let first = samples.first()?.value;
    #[expect(clippy::float_cmp, reason = "an exactly constant series has no slope")]
    if samples.iter().all(|sample| sample.value == first) {
        let broken = first.is_infinite();
        return Some(if broken {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        });
    }
    let [mut x, mut y, mut xy, mut xx] = [Kahan::default(); 4];
    for sample in samples {
        let at = (sample.time - origin) as f64 / 1000.0;
        x.add(at);
        y.add(sample.value);
        xy.add(at * sample.value);
        xx.add(at * at);
    }
    let n = samples.len() as f64;
    let [x, y, xy, xx] = [x, y, xy, xx].map(|sum| sum.sum + sum.rest);
    let slope = (xy - x * y / n) / (xx - x * x / n);
    Some((slope, y / n - slope * x / n))
}

pub(crate) fn deriv(window: &Window<'_>, _: &[f64]) -> Option<f64> {
    if window.samples.len() < 2 {
        return None;
    }
    let (slope, _) = regression(&window.samples, window.samples.first()?.time)?;
    Some(slope)
}

pub(crate) fn predict_linear(window: &Window<'_>, scalars: &[f64]) -> Option<f64> {
    if window.samples.len() < 2 {
        return None;
    }
    let (slope, now) = regression(&window.samples, window.now)?;
    Some(slope * scalars.first()? + now)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::labels::Labels;

    fn window(dialect: Dialect, range: (i64, i64), samples: &[(i64, f64)]) -> Window<'static> {
        let samples = samples.iter().map(|(time, value)| Sample {
            time: *time,
            value: *value,
        });
        Window {
            labels: Labels::default(),
            samples: Cow::Owned(samples.collect()),
            start: range.0,
            end: range.1,
            now: range.1,
            dialect,
        }
    }

    #[test]
    fn the_dialects_differ_in_how_far_a_counter_reaches_back() {
        // Zero lies 8 s before the first sample: below the threshold (11 s), above half a step.
        let samples = [(100_000, 8.0), (110_000, 18.0), (120_000, 28.0)];
        let v2 = increase(&window(Dialect::V2, (0, 120_000), &samples), &[]);
        let v3 = increase(&window(Dialect::V3, (0, 120_000), &samples), &[]);
        assert_eq!((v2, v3), (Some(28.0), Some(25.0)));
    }

    #[test]
    fn too_few_samples_and_resets() {
        let one = window(Dialect::V2, (0, 10), &[(5, 1.0)]);
        assert_eq!(
            [rate(&one, &[]), irate(&one, &[]), deriv(&one, &[])],
            [None; 3]
        );
        assert_eq!([resets(&one, &[]), changes(&one, &[])], [Some(0.0); 2]);
        let reset = window(
            Dialect::V2,
            (0, 20_000),
            &[(0, 10.0), (10_000, 2.0), (20_000, 4.0)],
        );
        assert_eq!(increase(&reset, &[]), Some(4.0));
        assert_eq!(irate(&reset, &[]), Some(0.2));
        assert_eq!(
            (resets(&reset, &[]), changes(&reset, &[])),
            (Some(1.0), Some(2.0))
        );
    }
}
