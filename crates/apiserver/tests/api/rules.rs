//! Owns the tests of rules in schemas: what a real server was seen to say to each rule of a corpus
//! (`tests/cel/record.py` records it) is what this one says.

use serde_json::{Map, Value, json};
use weir_apiserver::ApiServer;

use crate::support::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const OBJECTS: &str = "/apis/rules.example.com/v1/probes";

fn corpus() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rules.json");
    let text = std::fs::read_to_string(path).expect("the corpus");
    serde_json::from_str(&text).expect("JSON")
}

fn definition(field: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "probes.rules.example.com"},
        "spec": {"group": "rules.example.com", "scope": "Cluster",
            "names": {"plural": "probes", "singular": "probe", "kind": "Probe", "listKind": "ProbeList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"f": field}}}}}}]}
    })
}

fn with(base: &Value, changes: Option<&Value>) -> Map<String, Value> {
    let mut out = base.as_object().cloned().unwrap_or_default();
    for (name, value) in changes.and_then(Value::as_object).into_iter().flatten() {
        out.insert(name.clone(), value.clone());
    }
    out
}

/// Causes in an order of their own, without what is different each time.
fn causes(body: &Value) -> Vec<String> {
    let list = body["details"]["causes"].as_array();
    let mut out: Vec<String> = list.into_iter().flatten().map(one).collect();
    out.sort();
    out
}

fn one(cause: &Value) -> String {
    let text = |key: &str| cause[key].as_str().unwrap_or_default().to_owned();
    let text = format!(
        "{} | {} | {}",
        text("field"),
        text("reason"),
        text("message")
    );
    // The name of the root type has a number that is different each time.
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("selfType") {
        let end = at + "selfType".len();
        out.push_str(&rest[..end]);
        rest = rest[end..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out + rest
}

async fn answer(corpus: &Value, case: &Value) -> (u16, Option<u16>, Vec<String>) {
    let server: ApiServer = server();
    let mut field = corpus["schema"].clone();
    field["x-kubernetes-validations"] = json!([case["rule"]]);
    let defined = post(&server, DEFINITIONS, &definition(&field)).await;
    if defined.code != 201 {
        return (defined.code, None, causes(&defined.body));
    }
    let object = |changes: Option<&Value>| {
        json!({"apiVersion": "rules.example.com/v1", "kind": "Probe", "metadata": {"name": "c"},
            "spec": {"f": with(&corpus["value"], changes)}})
    };
    let mut new = object(case.get("set"));
    let written = if let Some(old) = case.get("old") {
        let made = post(&server, OBJECTS, &object(Some(old))).await;
        assert_eq!(made.code, 201, "{case}: {}", made.body);
        new["metadata"]["resourceVersion"] = made.body["metadata"]["resourceVersion"].clone();
        put(&server, &format!("{OBJECTS}/c"), &new).await
    } else {
        post(&server, OBJECTS, &new).await
    };
    (201, Some(written.code), causes(&written.body))
}

#[tokio::test]
async fn rules_are_judged_as_the_real_server_judged_them() {
    let corpus = corpus();
    let cases = corpus["cases"].as_array().expect("cases");
    let (mut verdicts, mut words) = (Vec::new(), Vec::new());
    for case in cases {
        let real = &case["real"];
        let (definition, object, found) = answer(&corpus, case).await;
        let rule = &case["rule"];
        let codes = (u64::from(definition), object.map(u64::from));
        let wanted = (
            real["definition"].as_u64().unwrap_or_default(),
            real["object"].as_u64(),
        );
        let mut told: Vec<String> = real["causes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(one)
            .collect();
        told.sort();
        if codes != wanted {
            verdicts.push(format!(
                "{rule}\n   real {wanted:?} {told:#?}\n   ours {codes:?} {found:#?}"
            ));
        } else if told != found {
            words.push(format!("{rule}\n   real {told:#?}\n   ours {found:#?}"));
        }
    }
    let all = cases.len();
    assert!(
        verdicts.is_empty() && words.is_empty(),
        "of {all} rules {} are judged differently:\n{}\n{} are told in other words:\n{}",
        verdicts.len(),
        verdicts.join("\n"),
        words.len(),
        words.join("\n")
    );
}

#[tokio::test]
async fn definitions_are_refused_as_the_real_server_refused_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/definitions.json");
    let text = std::fs::read_to_string(path).expect("the corpus");
    let corpus: Value = serde_json::from_str(&text).expect("JSON");
    let cases = corpus["definitions"].as_array().expect("cases");
    let mut wrong = Vec::new();
    for case in cases {
        let made = post(&server(), DEFINITIONS, &case["body"]).await;
        let real = &case["real"];
        let told = causes(&json!({"details": {"causes": real["causes"]}}));
        let found = causes(&made.body);
        if u64::from(made.code) != real["code"].as_u64().unwrap_or_default() || told != found {
            let spec = &case["body"]["spec"];
            wrong.push(format!(
                "{spec}\n   real {} {told:#?}\n   ours {} {found:#?}",
                real["code"], made.code
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "of {} definitions {} are judged differently:\n{}",
        cases.len(),
        wrong.len(),
        wrong.join("\n")
    );
}
