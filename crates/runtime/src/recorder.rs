//! Owns Kubernetes Events. Publishing never waits and never fails a reconciliation: events pass
//! through a bounded channel to one task, which writes them, counting repeats of the same event up
//! instead of making new ones. When the channel is full the event is dropped and counted in the log.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use weir_object::{Key, Object};

use crate::kinds::EVENT;
use crate::{ApiClient, SharedClock, Write};

/// Whether a person should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Something happened as it should.
    Normal,
    /// Something needs a look.
    Warning,
}

#[derive(Debug)]
struct Note {
    source: &'static str,
    kind: EventKind,
    reason: String,
    message: String,
    annotations: Vec<(String, String)>,
    about: Value,
    namespace: String,
    name: String,
    at: Timestamp,
}

/// Publishes events of one source. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    source: &'static str,
    to: mpsc::Sender<Note>,
    clock: SharedClock,
}

/// How many events may wait to be written.
const WAITING: usize = 1024;
/// How many different events are remembered for counting repeats.
const REMEMBERED: usize = 4096;
/// How long a repeat counts up the earlier event.
const SAME_FOR: Duration = Duration::from_hours(1);
/// The API's limit of a message.
const MESSAGE_LIMIT: usize = 1024;

impl Recorder {
    /// Starts the writing task. It ends when the last recorder is dropped.
    pub(crate) fn start(api: ApiClient, clock: SharedClock) -> Self {
        let (to, from) = mpsc::channel(WAITING);
        tokio::spawn(write_all(api, from));
        Self {
            source: "weir",
            to,
            clock,
        }
    }

    /// The same recorder under another source name.
    #[must_use]
    pub fn named(&self, source: &'static str) -> Self {
        Self {
            source,
            ..self.clone()
        }
    }

    /// Publishes an event about `object`.
    pub fn publish(
        &self,
        object: &Object,
        kind: EventKind,
        reason: &str,
        message: &str,
        annotations: &[(&str, &str)],
    ) {
        let namespace = match object.namespace() {
            "" => "default",
            ns => ns,
        };
        let note = Note {
            source: self.source,
            kind,
            reason: reason.to_owned(),
            message: cut(message),
            annotations: annotations
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            about: json!({
                "apiVersion": object.api_version(),
                "kind": object.kind(),
                "namespace": object.namespace(),
                "name": object.name(),
                "uid": object.uid(),
                "resourceVersion": object.resource_version(),
            }),
            namespace: namespace.to_owned(),
            name: object.name().to_owned(),
            at: self.clock.now(),
        };
        tracing::debug!(source = note.source, object = %object.reference(), reason, message, "event");
        if self.to.try_send(note).is_err() {
            tracing::warn!(object = %object.reference(), reason, message, "event dropped: too many wait");
        }
    }
}

fn cut(message: &str) -> String {
    if message.len() <= MESSAGE_LIMIT {
        return message.to_owned();
    }
    let end = (0..=MESSAGE_LIMIT - 4)
        .rev()
        .find(|i| message.is_char_boundary(*i))
        .unwrap_or(0);
    format!("{} …", &message[..end])
}

struct Earlier {
    name: String,
    count: u64,
    last: Timestamp,
}

async fn write_all(api: ApiClient, mut from: mpsc::Receiver<Note>) {
    let mut earlier: HashMap<u64, Earlier> = HashMap::new();
    while let Some(note) = from.recv().await {
        let id = identity(&note);
        let recent = earlier.get_mut(&id).filter(|e| {
            Duration::try_from(note.at.duration_since(e.last)).unwrap_or_default() < SAME_FOR
        });
        let written = match recent {
            Some(seen) => {
                seen.count += 1;
                seen.last = note.at;
                let key = Key::new(note.namespace.clone(), seen.name.clone());
                let patch = json!({"count": seen.count, "lastTimestamp": stamp(note.at)});
                api.write(&EVENT, &key, Write::Merge(patch)).await
            }
            None => {
                let name = format!(
                    "{}.{:x}",
                    note.name,
                    note.at.as_nanosecond() as u64 ^ (id >> 20)
                );
                if earlier.len() >= REMEMBERED {
                    earlier.clear();
                }
                earlier.insert(
                    id,
                    Earlier {
                        name: name.clone(),
                        count: 1,
                        last: note.at,
                    },
                );
                let key = Key::new(note.namespace.clone(), name.clone());
                api.write(&EVENT, &key, Write::Create(event(&note, &name)))
                    .await
            }
        };
        if let Err(failure) = written {
            earlier.remove(&id);
            tracing::warn!(%failure, reason = note.reason, message = note.message, "event not written");
        }
    }
}

fn event(note: &Note, name: &str) -> Object {
    let annotations: serde_json::Map<String, Value> = note
        .annotations
        .iter()
        .map(|(k, v)| (k.clone(), Value::String(v.clone())))
        .collect();
    let mut metadata = json!({"name": name, "namespace": note.namespace});
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    Object(json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": note.about,
        "type": match note.kind { EventKind::Normal => "Normal", EventKind::Warning => "Warning" },
        "reason": note.reason,
        "message": note.message,
        "source": {"component": note.source},
        "reportingComponent": note.source,
        "reportingInstance": "",
        "firstTimestamp": stamp(note.at),
        "lastTimestamp": stamp(note.at),
        "count": 1,
    }))
}

fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn identity(note: &Note) -> u64 {
    let mut hasher = DefaultHasher::new();
    let about = (
        note.about["uid"].as_str(),
        note.about["kind"].as_str(),
        &note.namespace,
        &note.name,
    );
    (note.source, note.kind, &note.reason, &note.message, about).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #[test]
    fn long_messages_are_cut_at_a_character() {
        let long = "ä".repeat(2000);
        let cut = super::cut(&long);
        assert!(cut.len() <= super::MESSAGE_LIMIT && cut.ends_with(" …"));
        assert_eq!(super::cut("short"), "short");
    }
}
