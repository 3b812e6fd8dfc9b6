//! Owns what a hook gets to read: the payload as it is known, and beside it the hook's type, its name
//! and the id of the question. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use weir_object::{Object, digest};

/// What a hook reads.
pub(crate) fn payload(
    canary: &Object,
    phase: &str,
    metadata: &BTreeMap<String, String>,
    (kind, hook, id): (&str, &str, &str),
) -> Value {
    let mut body = common(canary, phase);
    if !metadata.is_empty() {
        body.insert("metadata".into(), json!(metadata));
    }
    body.insert("type".into(), kind.into());
    body.insert("hook".into(), hook.into());
    body.insert("id".into(), id.into());
    Value::Object(body)
}

/// What a hook that is told of events reads. What the event says cannot be overridden.
pub(crate) fn event(
    canary: &Object,
    metadata: &BTreeMap<String, String>,
    (kind, message): (&str, &str),
    at: Timestamp,
) -> Value {
    let mut body = common(canary, canary.text(&["status", "phase"]));
    let mut told = metadata.clone();
    told.insert("eventMessage".into(), message.into());
    told.insert("eventType".into(), kind.into());
    told.insert("timestamp".into(), at.as_millisecond().to_string());
    body.insert("metadata".into(), json!(told));
    body.insert("type".into(), "event".into());
    Value::Object(body)
}

fn common(canary: &Object, phase: &str) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("name".into(), canary.name().into());
    body.insert("namespace".into(), canary.namespace().into());
    body.insert("phase".into(), phase.into());
    body.insert("checksum".into(), checksum(canary).into());
    body
}

/// Tells one revision with its configuration from another.
fn checksum(canary: &Object) -> String {
    let of = json!({
        "revision": canary.text(&["status", "lastAppliedSpec"]),
        "configs": canary.get(&["status", "trackedConfigs"]),
    });
    digest(&of).get(7..23).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary() -> Object {
        Object(json!({
            "metadata": {"name": "app", "namespace": "demo"},
            "status": {"phase": "Progressing", "lastAppliedSpec": "v1:a"},
        }))
    }

    #[test]
    fn r21_a_payload_tells_the_hook_what_it_is_asked() {
        let metadata = BTreeMap::from([("type".to_owned(), "bash".to_owned())]);
        let asked = ("confirm-promotion", "gate", "u/1");
        let body = payload(&canary(), "Progressing", &metadata, asked);
        assert_eq!(
            body,
            json!({
                "name": "app", "namespace": "demo", "phase": "Progressing",
                "checksum": checksum(&canary()),
                "metadata": {"type": "bash"},
                "type": "confirm-promotion", "hook": "gate", "id": "u/1",
            })
        );
        assert_eq!(checksum(&canary()).len(), 16);
    }

    #[test]
    fn an_events_own_words_come_last() {
        let metadata = BTreeMap::from([
            ("eventMessage".to_owned(), "forged".to_owned()),
            ("team".to_owned(), "a".to_owned()),
        ]);
        let at = Timestamp::from_second(7).expect("in range");
        let body = event(&canary(), &metadata, ("Normal", "said"), at);
        assert_eq!(
            body["metadata"],
            json!({"eventMessage": "said", "eventType": "Normal", "team": "a", "timestamp": "7000"})
        );
    }
}
