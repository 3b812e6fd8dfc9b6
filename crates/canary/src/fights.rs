//! Owns noticing that what is done is undone each time, by an admission webhook for example. Doing it
//! again at once would be a fight without an end, so it is then done once in a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use weir_object::Key;
use weir_rollout::Effect;

/// How often the same is done in a row before it is clear that somebody undoes it.
const REPEATS: u32 = 3;

/// How long it is then left alone; each further time twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_mins(15);

struct Fight {
    effects: Vec<Effect>,
    times: u32,
    since: Timestamp,
}

/// What was done last for each Canary, since anything else happened.
#[derive(Default)]
pub(crate) struct Fights(Mutex<HashMap<Key, Fight>>);

impl Fights {
    /// Whether this was undone so often that it is to be left alone for now.
    pub(crate) fn contested(&self, key: &Key, effects: &[Effect], now: Timestamp) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(fight) = all.get(key).filter(|f| f.effects == effects) else {
            return false;
        };
        if fight.times < REPEATS {
            return false;
        }
        let doublings = (fight.times - REPEATS).min(5);
        let wait = FIRST.saturating_mul(1 << doublings).min(LONGEST);
        let over = fight.since.checked_add(wait).unwrap_or(Timestamp::MAX);
        now < over
    }

    /// This was done.
    pub(crate) fn did(&self, key: &Key, effects: &[Effect], now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = match all.get(key) {
            Some(fight) if fight.effects == effects => fight.times.saturating_add(1),
            _ => 1,
        };
        let effects = effects.to_vec();
        let fight = Fight {
            effects,
            times,
            since: now,
        };
        all.insert(key.clone(), fight);
    }

    /// There is nothing to do. That counts once it has lasted: right after a write all looks well.
    pub(crate) fn rests(&self, key: &Key, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |f: &Fight| f.since.checked_add(FIRST).is_ok_and(|over| now >= over);
        if all.get(key).is_some_and(quiet) {
            all.remove(key);
        }
    }

    /// Something else was decided, or the Canary is gone.
    pub(crate) fn over(&self, key: &Key) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}
