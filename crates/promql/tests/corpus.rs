//! Replays answers recorded from a real Prometheus (`tests/prometheus/record.py` makes them).

use std::path::Path;

use serde_json::Value as Json;
use weir_promql::{Engine, Labels, QueryError, Retention, Storage, parse_value, stale_marker};

fn read(name: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name);
    let text = std::fs::read_to_string(&path).expect("the corpus is in the repository");
    serde_json::from_str(&text).expect("the corpus is JSON")
}

fn number(json: &Json) -> f64 {
    match json {
        Json::String(text) if text == "stale" => stale_marker(),
        Json::String(text) => parse_value(text).expect("a number"),
        other => other.as_f64().expect("a number"),
    }
}

fn store() -> (Storage, i64) {
    let file = read("samples.json");
    let base = file["base"].as_i64().expect("a base");
    let storage = Storage::new(Retention::default());
    for series in file["series"].as_array().expect("series") {
        let pairs = series["labels"].as_object().expect("labels");
        let labels = Labels::new(pairs.iter().map(|(k, v)| (k, v.as_str().expect("text"))));
        for sample in series["samples"].as_array().expect("samples") {
            let time = base + sample[0].as_i64().expect("a time");
            storage
                .append(&labels, time, number(&sample[1]))
                .expect("in order");
        }
    }
    (storage, base)
}

/// Equal but for the last digits, which depend on the order of additions and on the C library.
fn same_number(ours: &str, theirs: &str) -> bool {
    let (Some(a), Some(b)) = (parse_value(ours), parse_value(theirs)) else {
        return false;
    };
    ours == theirs || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

fn same_points(ours: &Json, theirs: &Json) -> bool {
    match (ours.as_array(), theirs.as_array()) {
        (Some(a), Some(b)) if a.len() == b.len() => {
            if let [time, Json::String(value)] = a.as_slice() {
                return time.as_f64() == b[0].as_f64()
                    && b[1]
                        .as_str()
                        .is_some_and(|theirs| same_number(value, theirs));
            }
            a.iter().zip(b).all(|(a, b)| same_points(a, b))
        }
        _ => false,
    }
}

fn same(ours: &Json, theirs: &Json, ordered: bool) -> bool {
    let kind = ours["resultType"].as_str().unwrap_or_default();
    if ours["resultType"] != theirs["resultType"] {
        return false;
    }
    if kind == "string" {
        return ours["result"][1] == theirs["result"][1];
    }
    if kind == "scalar" {
        return same_points(&ours["result"], &theirs["result"]);
    }
    let (Some(a), Some(b)) = (ours["result"].as_array(), theirs["result"].as_array()) else {
        return false;
    };
    let key = |json: &Json| {
        let mut pairs: Vec<String> = json["metric"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.sort();
        pairs.join(",")
    };
    let (mut a, mut b): (Vec<&Json>, Vec<&Json>) = (a.iter().collect(), b.iter().collect());
    if !ordered {
        a.sort_by_key(|json| key(json));
        b.sort_by_key(|json| key(json));
    }
    a.len() == b.len()
        && a.iter().zip(&b).all(|(a, b)| {
            let field = if kind == "vector" { "value" } else { "values" };
            key(a) == key(b) && same_points(&a[field], &b[field])
        })
}

fn check(
    case: &Json,
    outcome: Result<weir_promql::Value, QueryError>,
    ordered: bool,
) -> Option<String> {
    let query = &case["query"];
    match (outcome, case.get("answer")) {
        (Ok(value), Some(answer)) => {
            let ours = value.to_json();
            (!same(&ours, answer, ordered)).then(|| {
                format!(
                    "{query} at {}\n  ours   {ours}\n  theirs {answer}",
                    case["time"]
                )
            })
        }
        (Ok(value), None) => Some(format!(
            "{query}\n  ours   {}\n  theirs {}",
            value.to_json(),
            case["message"]
        )),
        (Err(ours), Some(answer)) => Some(format!(
            "{query} at {}\n  ours   {ours}\n  theirs {answer}",
            case["time"]
        )),
        (Err(ours), None) => (ours.is_bad_query() != (case["errorType"] == "bad_data"))
            .then(|| format!("{query}\n  ours   {ours:?}\n  theirs {}", case["message"])),
    }
}

fn report(what: &str, count: usize, failures: &[String]) {
    assert!(count > 10, "the {what} corpus is empty");
    assert!(
        failures.is_empty(),
        "{} of {count} {what} answers differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn instant_queries_answer_as_prometheus_does() {
    let (storage, base) = store();
    let file = read("instant.json");
    let cases = file["cases"].as_array().expect("cases");
    let mut failures = Vec::new();
    for case in cases {
        let query = case["query"].as_str().expect("a query");
        let time = base + case["time"].as_i64().expect("a time");
        let ordered = query.starts_with("sort");
        let outcome = Engine::default().instant(&storage, query, time);
        failures.extend(check(case, outcome, ordered));
    }
    report("instant", cases.len(), &failures);
}

#[test]
fn range_queries_answer_as_prometheus_does() {
    let (storage, base) = store();
    let file = read("range.json");
    let cases = file["cases"].as_array().expect("cases");
    let mut failures = Vec::new();
    for case in cases {
        let query = case["query"].as_str().expect("a query");
        let millis = |name: &str| case[name].as_i64().expect("a time");
        let (start, end) = (base + millis("start"), base + millis("end"));
        let outcome = Engine::default().range(&storage, query, start, end, millis("step"));
        failures.extend(check(case, outcome, true));
    }
    report("range", cases.len(), &failures);
}

#[test]
fn what_prometheus_refuses_is_refused() {
    let (storage, base) = store();
    let file = read("refused.json");
    let cases = file["cases"].as_array().expect("cases");
    let mut failures = Vec::new();
    for case in cases {
        let query = case["query"].as_str().expect("a query");
        let outcome = Engine::default().instant(&storage, query, base + 2_400_000);
        failures.extend(check(case, outcome, false));
    }
    report("refused", cases.len(), &failures);
}
