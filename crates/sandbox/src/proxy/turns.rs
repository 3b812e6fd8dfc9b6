//! Owns turns: whose it is among weighted choices, exactly and without chance. Over any run of
//! requests each choice gets its share as closely as whole requests allow (smooth weighted round
//! robin; the method is the one nginx made known).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};

use super::model::Share;

/// Turns among some weights.
#[derive(Clone, Debug, Default)]
struct Turns {
    credit: Vec<i64>,
    weights: Vec<u32>,
}

impl Turns {
    /// The index of the next choice; `None` when all weights are zero. A change of the weights
    /// starts anew.
    fn next(&mut self, weights: &[u32]) -> Option<usize> {
        if self.weights != weights {
            self.weights = weights.to_vec();
            self.credit = vec![0; weights.len()];
        }
        let total: i64 = weights.iter().map(|w| i64::from(*w)).sum();
        if total == 0 {
            return None;
        }
        for (credit, weight) in self.credit.iter_mut().zip(weights) {
            *credit += i64::from(*weight);
        }
        let candidates = self.credit.iter().zip(weights).enumerate();
        let candidates = candidates.filter(|(_, (_, weight))| **weight > 0);
        let (best, _) = candidates.max_by(|(i, (a, _)), (j, (b, _))| a.cmp(b).then(j.cmp(i)))?;
        if let Some(credit) = self.credit.get_mut(best) {
            *credit -= total;
        }
        Some(best)
    }
}

/// The turns of everything, by name.
#[derive(Debug)]
pub(crate) struct AllTurns {
    seed: u64,
    all: Mutex<HashMap<String, Turns>>,
}

/// Past this many names all are forgotten: turns start anew, which keeps every share.
const NAMES: usize = 65_536;

impl AllTurns {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            all: Mutex::default(),
        }
    }

    /// The next choice under this name.
    pub(crate) fn next(&self, name: &str, weights: &[u32]) -> Option<usize> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= NAMES && !all.contains_key(name) {
            all.clear();
        }
        all.entry(name.to_owned()).or_default().next(weights)
    }

    /// Whether it is this share's turn. Where in the round it begins depends on the seed, so that
    /// two shares of one request do not always fall together.
    pub(crate) fn hit(&self, name: &str, share: Share) -> bool {
        if share.hits == 0 || share.of == 0 {
            return false;
        }
        if share.hits >= share.of {
            return true;
        }
        let weights = [share.hits, share.of - share.hits];
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= NAMES && !all.contains_key(name) {
            all.clear();
        }
        let turns = all.entry(name.to_owned()).or_default();
        if turns.weights != weights {
            let mut hasher = DefaultHasher::new();
            (self.seed, name).hash(&mut hasher);
            let start = i64::try_from(hasher.finish() % u64::from(share.of)).unwrap_or_default();
            turns.weights = weights.to_vec();
            // Credits that sum to zero and lie within half a round are a state of some run.
            let credit = start - i64::from(share.of / 2);
            turns.credit = vec![credit, -credit];
        }
        turns.next(&weights) == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        let mut turns = Turns::default();
        let canary = (0..1000)
            .filter(|_| turns.next(&[90, 10]) == Some(1))
            .count();
        assert_eq!(canary, 100);
        assert!((0..100).all(|_| turns.next(&[100, 0]) == Some(0)));
        assert_eq!(turns.next(&[0]), None);
        assert_eq!(turns.next(&[]), None);
    }

    #[test]
    fn hits_are_exact_from_any_seed_and_repeat_with_it() {
        let run = |seed: u64, share: Share, requests: usize| -> Vec<bool> {
            let turns = AllTurns::new(seed);
            (0..requests).map(|_| turns.hit("r", share)).collect()
        };
        let count = |hits: &[bool]| hits.iter().filter(|h| **h).count();
        let share = Share::percent(12.5);
        let mut starts = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let hits = run(seed, share, 800);
            assert_eq!(count(&hits), 100, "seed {seed}");
            for window in hits.windows(8) {
                assert_eq!(count(window), 1, "seed {seed}");
            }
            assert_eq!(hits, run(seed, share, 800));
            starts.insert(hits.iter().position(|h| *h));
        }
        assert!(starts.len() > 4, "the seed moves the beginning: {starts:?}");
        assert_eq!(count(&run(1, Share::percent(0.0), 100)), 0);
        assert_eq!(count(&run(1, Share::percent(100.0), 100)), 100);
        assert_eq!(count(&run(1, Share { of: 3, hits: 2 }, 300)), 200);
    }
}
