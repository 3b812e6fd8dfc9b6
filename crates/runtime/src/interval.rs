//! Owns spreading intervals, so that objects that were made together do not stay together.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use jiff::Timestamp;
use weir_object::Object;

/// The interval, up to a twentieth shorter or longer. The same object at the same second always
/// gets the same, so that a scenario ends the same way each time.
pub fn jittered(interval: Duration, object: &Object, now: Timestamp) -> Duration {
    let mut hasher = DefaultHasher::new();
    (object.uid(), now.as_second()).hash(&mut hasher);
    let part = (hasher.finish() % 1001) as f64 / 1000.0;
    interval.mul_f64(0.95 + part / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn intervals_are_spread_within_a_twentieth() {
        let waits: Vec<Duration> = (0..200)
            .map(|i| {
                let object = Object(json!({"metadata": {"uid": i.to_string()}}));
                jittered(Duration::from_secs(100), &object, Timestamp::UNIX_EPOCH)
            })
            .collect();
        let (least, most) = (Duration::from_secs(95), Duration::from_secs(105));
        assert!(
            waits.iter().all(|w| (least..=most).contains(w)),
            "{waits:?}"
        );
        assert!(
            waits.iter().any(|w| *w < Duration::from_secs(97)),
            "{waits:?}"
        );
        assert!(
            waits.iter().any(|w| *w > Duration::from_secs(103)),
            "{waits:?}"
        );
    }
}
