//! Owns the Events that controllers leave: repeated ones are counted, many similar ones become one,
//! and an object that causes too many is heard no more for a while. What it remembers is bounded
//! and may be lost; then an Event starts anew.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::path;

use super::EVENTS;
use super::source::namespace_of;
use crate::call::stamp;
use crate::refusal::Refusal;
use crate::store::Store;

/// What is remembered of each sort.
const MEMORY: usize = 4096;
/// Different messages for one reason before they are combined.
const SIMILAR: usize = 10;
/// Seconds after which similar events are new again.
const INTERVAL: i64 = 600;
/// Events that one object may cause at once, and the seconds until it may cause one more.
const BURST: f64 = 25.0;
const REFILL: f64 = 300.0;

/// A map that forgets its oldest keys.
struct Recent<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn new() -> Self {
        Self {
            map: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    fn entry(&mut self, key: &K, new: impl FnOnce() -> V) -> &mut V {
        if !self.map.contains_key(key) {
            self.order.push_back(key.clone());
            if self.order.len() > MEMORY
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
        }
        self.map.entry(key.clone()).or_insert_with(new)
    }
}

/// An Event that was written.
#[derive(Clone, Default)]
struct Written {
    name: String,
    count: i64,
}

struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// What controllers tell about objects.
pub(crate) struct Recorder {
    similar: Recent<String, Similar>,
    written: Recent<String, Written>,
    buckets: Recent<String, Bucket>,
}

/// One thing to tell.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    /// Who tells it.
    pub(crate) component: &'a str,
    /// `Normal` or `Warning`.
    pub(crate) kind: &'static str,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            similar: Recent::new(),
            written: Recent::new(),
            buckets: Recent::new(),
        }
    }

    /// Writes an Event about an object, or counts it up.
    pub(crate) fn tell(&mut self, store: &Store, now: Timestamp, about: &Value, told: Told<'_>) {
        let meta = |field| path::text(about, &["metadata", field]);
        let object = [
            told.component,
            path::text(about, &["kind"]),
            meta("namespace"),
            meta("name"),
            meta("uid"),
            path::text(about, &["apiVersion"]),
        ]
        .join("/");
        let group = format!("{object}/{}/{}", told.kind, told.reason);
        let (key, message) = self.combine(&group, told.message, now);
        let written = self.written.entry(&key, Written::default).clone();
        if !self.allow(&object, now) {
            return;
        }
        let namespace = match namespace_of(about) {
            "" => "default",
            own => own,
        };
        let outcome = if written.count > 0 {
            let patch = json!({"count": written.count + 1, "lastTimestamp": stamp(now),
                "message": message});
            match store.patch(&EVENTS, namespace, &written.name, patch) {
                Ok(_) => Ok(Written {
                    count: written.count + 1,
                    ..written
                }),
                // It was removed meanwhile, so it starts again with its count.
                Err(Refusal::NotFound { .. }) => create(
                    store,
                    now,
                    about,
                    namespace,
                    told,
                    &message,
                    written.count + 1,
                ),
                Err(refusal) => Err(refusal),
            }
        } else {
            create(store, now, about, namespace, told, &message, 1)
        };
        match outcome {
            Ok(new) => *self.written.entry(&key, Written::default) = new,
            Err(refusal) => {
                tracing::debug!(%refusal, reason = told.reason, "an event was not kept");
            }
        }
    }

    /// Which Event this belongs to, and with what message.
    fn combine(&mut self, group: &str, message: &str, now: Timestamp) -> (String, String) {
        let new = || Similar {
            messages: HashSet::new(),
            last: now,
        };
        let similar = self.similar.entry(&group.to_owned(), new);
        if now.as_second() - similar.last.as_second() > INTERVAL {
            similar.messages.clear();
        }
        similar.last = now;
        let known = similar.messages.contains(message);
        if !known && similar.messages.len() + 1 >= SIMILAR {
            return (
                group.to_owned(),
                format!("(combined from similar events): {message}"),
            );
        }
        similar.messages.insert(message.to_owned());
        (format!("{group}/{message}"), message.to_owned())
    }

    fn allow(&mut self, object: &str, now: Timestamp) -> bool {
        let new = || Bucket {
            tokens: BURST,
            at: now,
        };
        let bucket = self.buckets.entry(&object.to_owned(), new);
        let passed = (now.as_millisecond() - bucket.at.as_millisecond()).max(0) as f64 / 1000.0;
        bucket.at = now;
        bucket.tokens = (bucket.tokens + passed / REFILL).min(BURST);
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

fn create(
    store: &Store,
    now: Timestamp,
    about: &Value,
    namespace: &str,
    told: Told<'_>,
    message: &str,
    count: i64,
) -> Result<Written, Refusal> {
    let meta = |field| path::text(about, &["metadata", field]);
    let mut involved = json!({"kind": about.get("kind"), "name": meta("name"), "uid": meta("uid"),
        "apiVersion": about.get("apiVersion"), "resourceVersion": meta("resourceVersion")});
    if !meta("namespace").is_empty() {
        path::set(&mut involved, &["namespace"], meta("namespace").into());
    }
    let time = stamp(now);
    let mut at = now.as_nanosecond();
    // Two events in one instant differ in name.
    for _ in 0..64 {
        let name = format!("{}.{at:x}", meta("name"));
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved, "reason": told.reason, "message": message,
            "source": {"component": told.component},
            "firstTimestamp": time, "lastTimestamp": time, "count": count, "type": told.kind,
            "reportingComponent": told.component, "reportingInstance": "",
        });
        match store.create(&EVENTS, event) {
            Ok(_) => return Ok(Written { name, count }),
            Err(Refusal::AlreadyExists { .. }) => at += 1,
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(Written::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn the_tenth_message_for_one_reason_and_those_after_it_are_combined() {
        let mut recorder = Recorder::new();
        let messages: Vec<String> = (0..12)
            .map(|i| recorder.combine("g", &format!("m{i}"), at(0)).1)
            .collect();
        assert_eq!(messages[8], "m8");
        assert_eq!(messages[9], "(combined from similar events): m9");
        assert_eq!(recorder.combine("g", "m3", at(1)).1, "m3");
        assert_eq!(recorder.combine("g", "m20", at(602)).1, "m20");
    }

    #[test]
    fn one_object_may_tell_twenty_five_things_at_once() {
        let mut recorder = Recorder::new();
        let allowed = (0..40).filter(|_| recorder.allow("o", at(0))).count();
        assert_eq!(allowed, 25);
        assert!(!recorder.allow("o", at(200)));
        assert!(recorder.allow("o", at(301)));
        assert!(recorder.allow("p", at(0)));
    }
}
