//! What a range vector gives a function: one series' samples between two instants.

use std::borrow::Cow;

use crate::engine::Dialect;
use crate::labels::Labels;
use crate::storage::Sample;

/// One series of a range vector at one evaluation.
#[derive(Debug, Clone)]
pub(crate) struct Window<'a> {
    pub(crate) labels: Labels,
    /// In order, without staleness markers, at least one.
    pub(crate) samples: Cow<'a, [Sample]>,
    /// Start of the range in milliseconds, offset applied.
    pub(crate) start: i64,
    /// End of the range in milliseconds, offset applied.
    pub(crate) end: i64,
    /// The instant of the evaluation, offset not applied.
    pub(crate) now: i64,
    pub(crate) dialect: Dialect,
}

impl Window<'_> {
    pub(crate) fn values(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|sample| sample.value)
    }

    pub(crate) fn first_and_last(&self) -> Option<(Sample, Sample)> {
        Some((*self.samples.first()?, *self.samples.last()?))
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        self.samples
            .iter()
            .zip(self.samples.iter().skip(1))
            .map(|(a, b)| (a.value, b.value))
    }

    /// Length of the range in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1000.0
    }
}
