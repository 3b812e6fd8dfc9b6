//! Owns the tests of admission by policy: a list of requests, answered as a real server was seen
//! to answer them (`tests/cel/record.py` records it).

use http::Method;
use serde_json::{Value, json};
use weir_apiserver::ApiServer;

use crate::support::*;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

fn corpus() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/policies.json");
    let text = std::fs::read_to_string(path).expect("the corpus");
    serde_json::from_str(&text).expect("JSON")
}

/// Numbers of generated types, uids and versions differ each time.
fn steady(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        if c.is_ascii_alphabetic() && chars.peek().is_some_and(char::is_ascii_digit) {
            let digits: String =
                std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect();
            if digits.len() < 4 {
                out.push_str(&digits);
            }
        }
    }
    out
}

/// What matters of an answer.
fn told(code: u64, body: &Value, warnings: &[String]) -> Vec<String> {
    let mut out = vec![code.to_string()];
    if code >= 400 {
        out.push(steady(body["message"].as_str().unwrap_or_default()));
        out.push(body["reason"].to_string());
        let mut causes: Vec<String> = body["details"]["causes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|cause| steady(&cause.to_string()))
            .collect();
        causes.sort();
        out.extend(causes);
        // Several causes come in any order; their sum is told by the causes.
        if body["details"]["causes"]
            .as_array()
            .is_some_and(|c| c.len() > 1)
        {
            out.remove(1);
        }
    }
    out.extend(warnings.iter().cloned());
    out
}

async fn send(server: &ApiServer, step: &Value) -> Answer {
    let text = |key: &str| step[key].as_str().unwrap_or_default();
    let method = Method::from_bytes(text("method").as_bytes()).expect("a method");
    let media = step["type"].as_str().unwrap_or("application/json");
    let body = match &step["body"] {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    raw(server, method, text("path"), media, &body).await
}

#[tokio::test]
async fn policies_say_what_the_real_server_said() {
    let corpus = corpus();
    let steps = corpus["steps"].as_array().expect("steps");
    let server = server();
    let mut wrong = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let answer = send(&server, step).await;
        let real = &step["real"];
        let warnings: Vec<String> = real["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|w| w.as_str().map(str::to_owned))
            .collect();
        let mut wanted = told(real["code"].as_u64().unwrap_or_default(), real, &warnings);
        let mut found = told(u64::from(answer.code), &answer.body, &answer.warnings);
        if let Some(keep) = step["keep"].as_str() {
            wanted.push(steady(&sorted(&real[keep])));
            found.push(steady(&sorted(&answer.body[keep])));
        }
        if wanted != found {
            let (method, path) = (&step["method"], &step["path"]);
            wrong.push(format!(
                "{number} {method} {path}\n   real {wanted:#?}\n   ours {found:#?}"
            ));
        }
    }
    let all = steps.len();
    assert!(
        wrong.is_empty(),
        "of {all} requests {} are answered differently:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A value as text with its keys in order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}: {}", sorted(value)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(sorted).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

fn policy(expression: &str) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["configmaps"]}]},
            "validations": [{"expression": expression}]}})
}

fn binding() -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "b"},
        "spec": {"policyName": "p", "validationActions": ["Deny"]}})
}

#[tokio::test]
async fn a_policy_that_changes_judges_anew_and_one_that_goes_no_more() {
    let server = server();
    assert_eq!(
        post(&server, POLICIES, &policy("object.data.a == 'x'"))
            .await
            .code,
        201
    );
    assert_eq!(post(&server, BINDINGS, &binding()).await.code, 201);
    let map = config_map("m", &json!({"a": "y"}));
    assert_eq!(post(&server, MAPS, &map).await.code, 422);
    let change = json!({"spec": {"validations": [{"expression": "object.data.a == 'y'"}]}});
    let changed = patch(&server, &format!("{POLICIES}/p"), "merge", &change).await;
    assert_eq!(changed.body["metadata"]["generation"], json!(2));
    assert_eq!(post(&server, MAPS, &map).await.code, 201);
    assert_eq!(
        post(&server, MAPS, &config_map("n", &json!({"a": "x"})))
            .await
            .code,
        422
    );
    assert_eq!(
        delete(&server, &format!("{BINDINGS}/b"), &Value::Null)
            .await
            .code,
        200
    );
    assert_eq!(
        post(&server, MAPS, &config_map("n", &json!({"a": "x"})))
            .await
            .code,
        201
    );
}

#[tokio::test]
async fn webhook_configurations_are_kept_and_never_called() {
    let server = server();
    let hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let hook = json!({"apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "h"}, "webhooks": [{
            "name": "h.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail", "clientConfig": {"url": "https://127.0.0.1:1/x"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["configmaps"]}]}]});
    assert_eq!(post(&server, hooks, &hook).await.code, 201);
    assert_eq!(
        post(&server, MAPS, &config_map("m", &json!({}))).await.code,
        201
    );
}
