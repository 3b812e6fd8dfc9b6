//! Replays the corpus of `tests/go/defaults`: objects as people write them, and with the defaults
//! of the API server.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// What typed storage writes or leaves out without meaning: nulls.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let rows = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                rows.map(|(name, value)| (name.clone(), plain(value)))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(list) => Value::Array(list.iter().map(plain).collect()),
        scalar => scalar.clone(),
    }
}

#[test]
fn objects_are_filled_in_as_the_api_server_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/defaults.jsonl");
    let text = std::fs::read_to_string(path).expect("the corpus is there");
    let mut faults = String::new();
    for (at, line) in text.lines().enumerate() {
        let row: Value = serde_json::from_str(line).expect("a row of JSON");
        let mut object = row["object"].clone();
        weir_schema::defaults::apply(&mut object);
        let changes = weir_object::diff::diff(&plain(&row["want"]), &plain(&object));
        if !changes.is_empty() {
            let _ = writeln!(faults, "row {at} ({}): {changes:#?}", row["object"]["kind"]);
        }
        let once = object.clone();
        weir_schema::defaults::apply(&mut object);
        assert_eq!(once, object, "row {at} changes when filled in twice");
    }
    assert!(faults.is_empty(), "{faults}");
}
