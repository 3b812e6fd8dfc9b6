//! Owns the replay of what a real API server answered to objects as people write them and as they
//! get them wrong: `tests/corpus/admission`, made by `tests/admission/record.py`.

use std::fmt::Write as _;

use http::Method;
use serde_json::{Value, json};
use weir_apiserver::ApiServer;

use crate::support::*;

/// Takes out what differs from run to run, as the recorder does.
fn masked(answer: &Value, body: &Value) -> Value {
    if answer["kind"] == "Status" {
        let mut out = answer.clone();
        if let Value::Object(map) = &mut out {
            map.retain(|key, _| {
                !matches!(
                    key.as_str(),
                    "kind" | "apiVersion" | "metadata" | "status" | "code"
                )
            });
        }
        return out;
    }
    let uid = answer["metadata"]["uid"].as_str().unwrap_or("?");
    let text = answer.to_string().replace(uid, "UID");
    let mut out: Value = serde_json::from_str(&text).expect("JSON");
    if let Value::Object(meta) = &mut out["metadata"] {
        for field in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "managedFields",
        ] {
            meta.shift_remove(field);
        }
        if meta
            .get("name")
            .is_some_and(|name| *name != body["metadata"]["name"])
        {
            meta.insert("name".into(), "NAME".into());
        }
    }
    if out["kind"] == "PersistentVolume"
        && let Value::Object(status) = &mut out["status"]
    {
        status.shift_remove("lastPhaseTransitionTime");
    }
    if out["metadata"]["name"] == "upd"
        && let Value::Object(map) = &mut out
    {
        map.shift_remove("status");
    }
    if out["kind"] == "Service" {
        let asked = body.to_string();
        let own = &body["spec"]["clusterIP"];
        let spec = &mut out["spec"];
        let given = spec["clusterIP"].as_str().unwrap_or_default();
        if !matches!(given, "" | "None") && spec["clusterIP"] != *own {
            spec["clusterIP"] = json!("IP");
            spec["clusterIPs"] = json!(["IP"]);
        }
        let unasked = |number: &Value| !number.is_null() && !asked.contains(&number.to_string());
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            if unasked(&port["nodePort"]) {
                port["nodePort"] = json!(1);
            }
        }
        if spec.get("healthCheckNodePort").is_some_and(unasked) {
            spec["healthCheckNodePort"] = json!(1);
        }
        if let Value::Object(spec) = spec {
            spec.retain(|_, value| !value.is_null());
        }
    }
    let text = out.to_string();
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("kube-api-access-") {
        plain.push_str(before);
        plain.push_str("kube-api-access-xxxxx");
        rest = &after[5..];
    }
    plain.push_str(rest);
    serde_json::from_str(&plain).expect("JSON")
}

/// An answer without the uids that the server chose.
fn anonymous(answer: &Value) -> Value {
    let uid = regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}");
    let text = answer.to_string();
    let plain = uid.expect("a pattern").replace_all(&text, "UID");
    serde_json::from_str(&plain).expect("JSON")
}

async fn ask(server: &ApiServer, row: &Value) -> Answer {
    let body = &row["body"];
    if row["labels"].is_object() {
        let labels = json!({"metadata": {"labels": row["labels"]}});
        let labelled = patch(server, "/api/v1/namespaces/adm", "merge", &labels).await;
        assert_eq!(labelled.code, 200, "{}", labelled.body);
    }
    for first in row["first"].as_array().into_iter().flatten() {
        let path = first["path"].as_str().expect("a path");
        let made = post(server, path, &first["body"]).await;
        assert_eq!(made.code, 201, "{}", made.body);
    }
    if let Some(path) = row["post"].as_str() {
        return post(server, &format!("{path}?dryRun=All"), body).await;
    }
    let path = row["made"].as_str().expect("a path");
    let made = post(server, path, body).await;
    assert!(matches!(made.code, 201 | 409), "{}", made.body);
    patch(
        server,
        &format!("{path}/upd?dryRun=All"),
        "merge",
        &row["patch"],
    )
    .await
}

/// A server with the namespace of the corpus.
async fn prepared() -> ApiServer {
    let server = server();
    let namespace = json!({"metadata": {"name": "adm"}});
    post(&server, "/api/v1/namespaces", &namespace).await;
    server
}

/// Tells each row that is answered in another way.
async fn replay(file: &str, known: &[(usize, &str)]) {
    let path = format!(
        "{}/tests/corpus/admission/{file}.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).expect("the corpus is there");
    let mut faults = String::new();
    let mut count = 0;
    for (at, line) in text.lines().enumerate() {
        let row: Value = serde_json::from_str(line).expect("a row of JSON");
        let server = prepared().await;
        let answer = ask(&server, &row).await;
        let warnings: Vec<String> = row["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|w| w.as_str().expect("text").to_owned())
            .collect();
        let is = anonymous(&masked(&answer.body, &row["body"]));
        let row_answer = anonymous(&row["answer"]);
        let same = answer.code == row["code"] && is == row_answer && answer.warnings == warnings;
        let excused = known.iter().any(|(row, _)| *row == at);
        if same == excused {
            count += 1;
            let word = if same { "is right now" } else { "differs" };
            let asked = row.get("patch").unwrap_or(&row["body"]);
            let told = |code: &Value, warnings: &[String], body: &Value| {
                let shown = body.get("message").unwrap_or(body);
                format!("{code} {warnings:?} {shown}")
            };
            let _ = writeln!(
                faults,
                "{file} {at} {word}: {asked}\n  wants {}\n    got {}",
                told(&row["code"], &warnings, &row["answer"]),
                told(&answer.code.into(), &answer.warnings, &is)
            );
        }
    }
    assert!(
        faults.is_empty(),
        "{count} of {} rows\n{faults}",
        text.lines().count()
    );
}

macro_rules! corpus {
    ($($name:ident $known:expr),* $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            replay(stringify!($name), &$known).await;
        })*
    };
}

corpus! {
    minimal [],
    names [],
    metadata [],
    pods [],
    deployments [],
    workloads [],
    jobs [],
    services [],
    data [],
    volumes [],
    network [],
    scaling [],
    rbac [],
    others [],
    plugins [],
    // Templates of Jobs are shown in the server's own form.
    updates [(24, "a template in the inner form of the server")],
}

#[tokio::test]
async fn annotations_have_a_limit_together() {
    let server = prepared().await;
    let mut map = config_map("x", &json!({}));
    map["metadata"]["annotations"] = json!({"a": "x".repeat(262_144)});
    let refused = raw(
        &server,
        Method::POST,
        MAPS,
        "application/json",
        map.to_string().as_bytes(),
    )
    .await;
    assert_eq!(
        (refused.code, &refused.body["message"]),
        (
            422,
            &json!(
                "ConfigMap \"x\" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes"
            )
        )
    );
}
