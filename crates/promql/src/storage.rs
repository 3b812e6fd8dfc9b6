//! Time series in memory, bounded by age, by number of series and by number of samples.
//!
//! Owns retention (the oldest goes first) and selection. Refuses samples older than the series'
//! newest, so each series is always in order. Knows nothing of the wall clock: "now" is the newest
//! sample, or what [`Storage::expire`] is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::QueryError;
use crate::labels::Labels;
use crate::matcher::{MatchOp, Matcher};
use crate::number::{is_stale, stale_marker};

/// One measurement: milliseconds since the Unix epoch, and a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub time: i64,
    /// The value; may be the staleness marker.
    pub value: f64,
}

/// A selected series with its samples in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels, the metric's name among them.
    pub labels: Labels,
    /// Its samples in order of time, staleness markers included.
    pub samples: Vec<Sample>,
}

/// What a storage keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Age in milliseconds before the newest sample.
    pub age: i64,
    /// Number of series; a new one beyond it displaces those silent for longest.
    pub series: usize,
    /// Number of samples of all series together; the oldest go first.
    pub samples: usize,
}

impl Default for Retention {
    /// Two hours, 20,000 series, two million samples (about 32 MB).
    fn default() -> Self {
        Self {
            age: 2 * 3_600_000,
            series: 20_000,
            samples: 2_000_000,
        }
    }
}

/// Why a sample was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The series already has a newer sample. Terminal for this sample.
    #[error(
        "the sample of `{labels}` at {time} ms is older than the series' newest at {newest} ms"
    )]
    OutOfOrder {
        /// The series.
        labels: String,
        /// The refused sample's time.
        time: i64,
        /// The newest one stored.
        newest: i64,
    },
    /// The series has another value at the same time. Terminal for this sample.
    #[error("`{labels}` already has another value at {time} ms")]
    Duplicate {
        /// The series.
        labels: String,
        /// The time of both.
        time: i64,
    },
    /// The sample is older than what is kept. Terminal for this sample.
    #[error("the sample of `{labels}` at {time} ms is older than the retention")]
    TooOld {
        /// The series.
        labels: String,
        /// The refused sample's time.
        time: i64,
    },
}

type ByLabels = BTreeMap<Labels, VecDeque<Sample>>;

#[derive(Debug)]
struct Inner {
    /// By metric name first, because nearly every selector states it.
    metrics: BTreeMap<String, ByLabels>,
    series: usize,
    samples: usize,
    newest: i64,
    swept: i64,
}

/// The store. Share it behind an `Arc`; readers never see half an append.
#[derive(Debug)]
pub struct Storage {
    retention: Retention,
    inner: RwLock<Inner>,
}

impl Storage {
    /// An empty store.
    pub fn new(retention: Retention) -> Self {
        let inner = Inner {
            metrics: BTreeMap::new(),
            series: 0,
            samples: 0,
            newest: i64::MIN,
            swept: i64::MIN,
        };
        Self {
            retention,
            inner: RwLock::new(inner),
        }
    }

    // A panic while the lock was held leaves counters off at worst, so a poisoned lock stays usable.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one sample. The same sample twice is accepted and stored once.
    pub fn append(&self, labels: &Labels, time: i64, value: f64) -> Result<(), StorageError> {
        self.write()
            .append(&self.retention, labels, Sample { time, value })
    }

    /// Adds many samples under one lock; the result has the refused ones' reasons.
    pub fn append_all<'a>(
        &self,
        samples: impl IntoIterator<Item = (&'a Labels, Sample)>,
    ) -> Vec<StorageError> {
        let mut inner = self.write();
        samples
            .into_iter()
            .filter_map(|(labels, sample)| inner.append(&self.retention, labels, sample).err())
            .collect()
    }

    /// Marks a series as ended, so that it leaves instant vectors at once instead of after the
    /// lookback. A series that is unknown or has ended already stays as it is.
    pub fn mark_stale(&self, labels: &Labels, time: i64) -> Result<(), StorageError> {
        let mut inner = self.write();
        let last = inner
            .metrics
            .get(labels.metric())
            .and_then(|series| series.get(labels))
            .and_then(VecDeque::back);
        match last {
            None => Ok(()),
            Some(last) if is_stale(last.value) => Ok(()),
            Some(_) => inner.append(
                &self.retention,
                labels,
                Sample {
                    time,
                    value: stale_marker(),
                },
            ),
        }
    }

    /// Drops what is older than the retention as seen at `now`.
    pub fn expire(&self, now: i64) {
        self.write()
            .drop_before(now.saturating_sub(self.retention.age));
    }

    /// The series that pass all matchers and have samples in `start..=end`.
    ///
    /// `max_samples` bounds what is copied out; more is a [`QueryError::Limit`].
    pub fn select(
        &self,
        matchers: &[Matcher],
        start: i64,
        end: i64,
        max_samples: usize,
    ) -> Result<Vec<Series>, QueryError> {
        let inner = self.read();
        let mut taken = 0_usize;
        let mut found = Vec::new();
        for (labels, samples) in inner.matching(matchers) {
            let from = samples.partition_point(|sample| sample.time < start);
            let to = samples.partition_point(|sample| sample.time <= end);
            if from >= to {
                continue;
            }
            taken = taken.saturating_add(to - from);
            if taken > max_samples {
                return Err(QueryError::Limit {
                    what: "samples",
                    limit: max_samples,
                });
            }
            found.push(Series {
                labels: labels.clone(),
                samples: samples.range(from..to).copied().collect(),
            });
        }
        Ok(found)
    }

    /// The label sets that pass all matchers of any of the sets and have samples in `start..=end`.
    pub fn series(&self, sets: &[Vec<Matcher>], start: i64, end: i64) -> Vec<Labels> {
        let inner = self.read();
        let mut found = BTreeSet::new();
        for matchers in sets {
            for (labels, samples) in inner.matching(matchers) {
                let from = samples.partition_point(|sample| sample.time < start);
                if samples.get(from).is_some_and(|sample| sample.time <= end) {
                    found.insert(labels.clone());
                }
            }
        }
        found.into_iter().collect()
    }

    /// How many series and samples are held.
    pub fn size(&self) -> (usize, usize) {
        let inner = self.read();
        (inner.series, inner.samples)
    }
}

impl Inner {
    fn matching<'a>(
        &'a self,
        matchers: &'a [Matcher],
    ) -> impl Iterator<Item = (&'a Labels, &'a VecDeque<Sample>)> {
        let exact = matchers
            .iter()
            .find(|matcher| matcher.name == "__name__" && matcher.op == MatchOp::Equal)
            .map(|matcher| matcher.value.as_str());
        let (one, all) = match exact {
            Some(name) => (self.metrics.get(name), None),
            None => (None, Some(self.metrics.values())),
        };
        one.into_iter()
            .chain(all.into_iter().flatten())
            .flatten()
            .filter(|(labels, _)| matchers.iter().all(|matcher| matcher.matches(labels)))
    }

    fn append(
        &mut self,
        retention: &Retention,
        labels: &Labels,
        sample: Sample,
    ) -> Result<(), StorageError> {
        let time = sample.time;
        if self.newest != i64::MIN && time < self.newest.saturating_sub(retention.age) {
            return Err(StorageError::TooOld {
                labels: labels.to_string(),
                time,
            });
        }
        let known = self
            .metrics
            .get_mut(labels.metric())
            .and_then(|all| all.get_mut(labels));
        if let Some(samples) = known {
            if let Some(last) = samples.back() {
                if last.time > time {
                    let labels = labels.to_string();
                    return Err(StorageError::OutOfOrder {
                        labels,
                        time,
                        newest: last.time,
                    });
                }
                if last.time == time {
                    if last.value.to_bits() == sample.value.to_bits() {
                        return Ok(());
                    }
                    return Err(StorageError::Duplicate {
                        labels: labels.to_string(),
                        time,
                    });
                }
            }
            samples.push_back(sample);
        } else {
            if self.series >= retention.series.max(1) {
                self.drop_quietest();
            }
            self.metrics
                .entry(labels.metric().to_owned())
                .or_default()
                .insert(labels.clone(), VecDeque::from([sample]));
            self.series += 1;
        }
        self.samples += 1;
        self.newest = self.newest.max(time);
        // Swept in tenths of the retention, so that the cost per sample stays constant.
        if self.newest.saturating_sub(self.swept) > retention.age / 10 {
            self.drop_before(self.newest.saturating_sub(retention.age));
            self.swept = self.newest;
        }
        if self.samples > retention.samples.max(1) {
            self.drop_oldest_tenth(retention.samples.max(1));
        }
        Ok(())
    }

    fn drop_before(&mut self, horizon: i64) {
        for all in self.metrics.values_mut() {
            all.retain(|_, samples| {
                let gone = samples.partition_point(|sample| sample.time < horizon);
                samples.drain(..gone);
                self.samples -= gone;
                self.series -= usize::from(samples.is_empty());
                !samples.is_empty()
            });
        }
        self.metrics.retain(|_, all| !all.is_empty());
    }

    /// Makes room for new series: a twentieth of them, those whose last sample is oldest.
    fn drop_quietest(&mut self) {
        let mut quiet: Vec<(i64, Labels)> = self
            .metrics
            .values()
            .flatten()
            .map(|(labels, samples)| (samples.back().map_or(i64::MIN, |s| s.time), labels.clone()))
            .collect();
        quiet.sort();
        let count = self.series / 20 + 1;
        for (_, labels) in quiet.into_iter().take(count) {
            let all = self.metrics.get_mut(labels.metric());
            if let Some(samples) = all.and_then(|all| all.remove(&labels)) {
                self.samples -= samples.len();
                self.series -= 1;
            }
        }
        self.metrics.retain(|_, all| !all.is_empty());
    }

    /// Makes room for new samples: the oldest, down to nine tenths of the limit.
    fn drop_oldest_tenth(&mut self, limit: usize) {
        let mut times: Vec<i64> = Vec::with_capacity(self.samples);
        for samples in self.metrics.values().flat_map(BTreeMap::values) {
            times.extend(samples.iter().map(|sample| sample.time));
        }
        let excess = self
            .samples
            .saturating_sub(limit - limit / 10)
            .min(times.len() - 1);
        let (_, horizon, _) = times.select_nth_unstable(excess);
        let horizon = *horizon;
        self.drop_before(horizon);
        // All at one instant: nothing is older than the rest, so whole series go.
        let mut rounds = 0;
        while self.samples > limit && self.series > 1 && rounds < 100 {
            self.drop_quietest();
            rounds += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pod: &str) -> Labels {
        Labels::named("m", [("pod", pod)])
    }

    fn times(storage: &Storage, pod: &str) -> Vec<i64> {
        let matchers = [Matcher::equal("__name__", "m"), Matcher::equal("pod", pod)];
        let found = storage
            .select(&matchers, i64::MIN, i64::MAX, 1000)
            .expect("fits");
        found
            .into_iter()
            .flat_map(|s| s.samples)
            .map(|s| s.time)
            .collect()
    }

    #[test]
    fn refuses_disorder_and_accepts_repeats() {
        let storage = Storage::new(Retention {
            age: 100,
            series: 9,
            samples: 99,
        });
        assert_eq!(storage.append(&labels("a"), 50, 1.0), Ok(()));
        assert_eq!(storage.append(&labels("a"), 50, 1.0), Ok(()));
        assert!(matches!(
            storage.append(&labels("a"), 50, 2.0),
            Err(StorageError::Duplicate { .. })
        ));
        assert!(matches!(
            storage.append(&labels("a"), 49, 1.0),
            Err(StorageError::OutOfOrder { newest: 50, .. })
        ));
        assert_eq!(storage.append(&labels("a"), 200, 1.0), Ok(()));
        assert!(matches!(
            storage.append(&labels("b"), 60, 1.0),
            Err(StorageError::TooOld { .. })
        ));
        assert_eq!(times(&storage, "a"), [200]);
    }

    #[test]
    fn the_oldest_goes_first() {
        let storage = Storage::new(Retention {
            age: 1_000_000,
            series: 3,
            samples: 10,
        });
        for time in 0..11 {
            storage.append(&labels("a"), time, 0.0).expect("in order");
        }
        assert_eq!(times(&storage, "a"), (2..11).collect::<Vec<_>>());
        for (index, pod) in ["b", "c", "d"].into_iter().enumerate() {
            storage
                .append(&labels(pod), 20 + index as i64, 0.0)
                .expect("in order");
        }
        assert_eq!(times(&storage, "a"), Vec::<i64>::new());
        assert_eq!(storage.size(), (3, 3));
        storage.expire(1_000_021);
        assert_eq!(storage.size(), (2, 2));
    }

    #[test]
    fn counters_hold_when_all_samples_are_of_one_instant() {
        let storage = Storage::new(Retention {
            age: 10,
            series: 100,
            samples: 10,
        });
        for index in 0..50 {
            storage
                .append(&labels(&index.to_string()), 7, 0.0)
                .expect("in order");
        }
        let (series, samples) = storage.size();
        assert!(series == samples && samples <= 10 && samples > 0);
    }

    #[test]
    fn stale_once() {
        let storage = Storage::new(Retention::default());
        storage
            .mark_stale(&labels("a"), 1)
            .expect("unknown is fine");
        storage.append(&labels("a"), 2, 1.0).expect("in order");
        storage.mark_stale(&labels("a"), 3).expect("in order");
        storage.mark_stale(&labels("a"), 4).expect("in order");
        assert_eq!(times(&storage, "a"), [2, 3]);
    }

    #[test]
    fn selection_is_bounded() {
        let storage = Storage::new(Retention::default());
        for time in 0..20 {
            storage.append(&labels("a"), time, 0.0).expect("in order");
        }
        let all = [Matcher::equal("__name__", "m")];
        assert_eq!(
            storage.select(&all, 0, 19, 10),
            Err(QueryError::Limit {
                what: "samples",
                limit: 10
            })
        );
        assert_eq!(storage.series(&[all.to_vec()], 5, 5), [labels("a")]);
    }
}
