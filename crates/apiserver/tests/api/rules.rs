//! Owns the tests of rules in schemas: what a real server was seen to say to each rule of a corpus
//! (`tests/cel/record.py` records it) is what this one says.

use proptest::prelude::*;
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

#[tokio::test]
async fn what_only_a_webhook_could_convert_is_refused() {
    let server = server();
    let mut definition = definition(&json!({"type": "string"}));
    let mut other = definition["spec"]["versions"][0].clone();
    other["name"] = json!("v2");
    other["storage"] = json!(false);
    let versions = definition["spec"]["versions"].as_array_mut();
    versions.expect("versions").push(other);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/x"}}});
    assert_eq!(post(&server, DEFINITIONS, &definition).await.code, 201);
    let probe = |version: &str| {
        json!({"apiVersion": format!("rules.example.com/{version}"), "kind": "Probe",
            "metadata": {"name": "p"}, "spec": {"f": "x"}})
    };
    let foreign = OBJECTS.replace("/v1/", "/v2/");
    assert_eq!(get(&server, &foreign).await.code, 200);
    let refused = post(&server, &foreign, &probe("v2")).await;
    assert_eq!(refused.code, 500);
    assert_eq!(
        refused.body["message"],
        "conversion webhook for rules.example.com/v2, Kind=Probe failed: webhooks are not called here"
    );
    assert_eq!(post(&server, OBJECTS, &probe("v1")).await.code, 201);
    assert_eq!(get(&server, &format!("{OBJECTS}/p")).await.code, 200);
    let refused = get(&server, &format!("{foreign}/p")).await;
    assert_eq!(refused.code, 500);
    assert_eq!(
        refused.body["message"],
        "conversion webhook for rules.example.com/v1, Kind=Probe failed: webhooks are not called here"
    );
    assert_eq!(get(&server, &format!("{foreign}/q")).await.code, 404);
    assert_eq!(get(&server, &foreign).await.code, 500);
}

/// Schemas of words that mean something, put together at random.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(Value::Null),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!("(")),
        Just(json!([])),
        prop::sample::select(vec![
            "string", "object", "array", "integer", "number", "boolean"
        ])
        .prop_map(|ty| json!({"type": ty})),
        prop::sample::select(vec![
            "self",
            "self == 1",
            "self.all(x, x)",
            "self.x",
            "oldSelf == self",
            "true",
            "size(self) > 0",
            "self.",
        ])
        .prop_map(|rule| json!({"type": "string", "x-kubernetes-validations": [{"rule": rule}]})),
    ];
    leaf.prop_recursive(5, 32, 4, |inner| {
        let words = prop::sample::select(vec![
            "type", "properties", "additionalProperties", "items", "allOf", "anyOf", "oneOf", "not",
            "default", "enum", "pattern", "format", "minimum", "maxLength", "required", "nullable",
            "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
            "x-kubernetes-map-type", "x-kubernetes-int-or-string", "x-kubernetes-embedded-resource",
            "x-kubernetes-preserve-unknown-fields", "multipleOf", "uniqueItems", "f", "metadata",
        ]);
        let shape = prop::sample::select(vec![
            json!({"type": "object"}), json!({"type": "array"}), json!({}),
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["f"]}),
            json!({"x-kubernetes-int-or-string": true}),
        ]);
        prop_oneof![
            3 => (shape, prop::collection::vec((words, inner.clone()), 0..4)).prop_map(|(shape, more)| {
                let mut out = shape.as_object().cloned().unwrap_or_default();
                for (word, value) in more {
                    let value = match word {
                        "properties" => json!({"f": value, "g": value}),
                        "allOf" | "anyOf" | "oneOf" | "enum" | "required" => json!([value]),
                        "nullable" | "x-kubernetes-preserve-unknown-fields" => json!(true),
                        _ => value,
                    };
                    out.insert(word.to_owned(), value);
                }
                out.into()
            }),
            1 => inner,
        ]
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z(é]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            (inner.clone(), inner)
                .prop_map(|(f, g)| json!({"f": f, "g": g, "metadata": {"name": 1}})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_schema_does_harm(schema in any_schema(), values in prop::collection::vec(any_value(), 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = server();
            let made = post(&server, DEFINITIONS, &definition(&schema)).await;
            assert!(matches!(made.code, 201 | 400 | 422), "{made:?}");
            for (i, value) in values.iter().enumerate() {
                let probe = json!({"apiVersion": "rules.example.com/v1", "kind": "Probe",
                    "metadata": {"name": "p"}, "spec": {"f": value}});
                let answer = if i == 0 {
                    post(&server, OBJECTS, &probe).await
                } else {
                    put(&server, &format!("{OBJECTS}/p"), &probe).await
                };
                assert!(matches!(answer.code, 200 | 201 | 400 | 404 | 422), "{answer:?}");
            }
        });
    }
}

#[tokio::test]
async fn a_schema_that_nests_deep_is_refused() {
    let server = server();
    for depth in [20, 30, 60, 90] {
        for word in ["items", "properties", "not", "allOf"] {
            let mut schema = json!({"type": "string"});
            for _ in 0..depth {
                schema = match word {
                    "items" => json!({"type": "array", "items": schema}),
                    "properties" => json!({"type": "object", "properties": {"f": schema}}),
                    "not" => json!({"not": schema}),
                    _ => json!({"allOf": [schema]}),
                };
            }
            let made = post(&server, DEFINITIONS, &definition(&schema)).await;
            assert!(matches!(made.code, 201 | 400 | 422), "{made:?}");
            let name = format!("{DEFINITIONS}/probes.rules.example.com");
            let _ = delete(&server, &name, &Value::Null).await;
        }
    }
}
