//! Owns the tests of the doors into pods: logs, and the refusal of what needs a node's agent.

use std::sync::{Arc, Mutex};

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use weir_apiserver::{ApiServer, LogOptions, LogStream, Options, PodLogs, Tuning};

use crate::support::{get, post, raw, send_with};

const PODS: &str = "/api/v1/namespaces/default/pods";

#[derive(Default)]
struct Kept(Mutex<Vec<LogOptions>>);

impl PodLogs for Kept {
    fn open(&self, _: &Value, asked: &LogOptions) -> Result<LogStream, String> {
        self.0.lock().expect("not poisoned").push(asked.clone());
        if asked.previous {
            return Err("previous terminated container \"a\" in pod \"p\" not found".to_owned());
        }
        let lines = ["one\n", "two\n"].map(|l| bytes::Bytes::from_static(l.as_bytes()));
        Ok(Box::pin(futures::stream::iter(lines)))
    }
}

fn server(logs: &Arc<Kept>) -> ApiServer {
    let now: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
    let options = Options {
        now: Arc::new(move || now),
        seed: 7,
    };
    let tuning = Tuning {
        logs: Some(logs.clone()),
        ..Tuning::default()
    };
    ApiServer::with(options, tuning)
}

fn pod(name: &str, containers: &[&str], node: &str) -> Value {
    let containers: Vec<Value> = containers
        .iter()
        .map(|name| json!({"name": name, "image": "i"}))
        .collect();
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": containers}});
    if !node.is_empty() {
        pod["spec"]["nodeName"] = node.into();
    }
    pod
}

#[tokio::test(start_paused = true)]
async fn a_log_is_asked_for_in_full_and_comes_as_text() {
    let kept = Arc::new(Kept::default());
    let server = server(&kept);
    post(&server, PODS, &pod("p", &["a"], "n")).await;
    let path =
        format!("{PODS}/p/log?follow=true&timestamps=1&tailLines=3&sinceSeconds=5&limitBytes=100");
    let answer = send_with(&server, Method::GET, &path, &[], Vec::new()).await;
    assert_eq!(answer.headers()["content-type"], "text/plain");
    let body = answer.into_body().collect().await.expect("infallible");
    assert_eq!(body.to_bytes(), "one\ntwo\n");
    let asked = LogOptions {
        container: "a".to_owned(),
        follow: true,
        previous: false,
        timestamps: true,
        since: "2026-01-02T03:04:00Z".parse().ok(),
        tail: Some(3),
        limit: Some(100),
    };
    assert_eq!(*kept.0.lock().expect("not poisoned"), [asked]);
    let before = get(&server, &format!("{PODS}/p/log?previous=true")).await;
    assert_eq!(before.code, 400);
    assert_eq!(
        before.body["message"],
        "previous terminated container \"a\" in pod \"p\" not found"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_of_a_pod_is_refused_as_the_real_server_does() {
    let server = server(&Arc::new(Kept::default()));
    post(&server, PODS, &pod("p", &["a", "b"], "")).await;
    post(&server, PODS, &pod("q", &["a"], "n")).await;
    assert_eq!(
        get(&server, &format!("{PODS}/p/log?container=a"))
            .await
            .code,
        204
    );
    for (path, code, message) in [
        (
            "p/log",
            400,
            "a container name must be specified for pod p, choose one of: [a b]",
        ),
        (
            "p/log?container=z",
            400,
            "container z is not valid for pod p",
        ),
        ("none/log", 404, "pods \"none\" not found"),
        (
            "q/log?tailLines=x",
            400,
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "q/log?tailLines=-1&sinceSeconds=0&limitBytes=0",
            422,
            "PodLogOptions \"q\" is invalid: [tailLines: Invalid value: -1: must be greater than or \
             equal to 0, limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: Invalid \
             value: 0: must be greater than 0]",
        ),
        (
            "q/log?sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z",
            422,
            "PodLogOptions \"q\" is invalid: []: Forbidden: at most one of `sinceTime` or \
             `sinceSeconds` may be specified",
        ),
        (
            "q/log?stream=All",
            422,
            "PodLogOptions \"q\" is invalid: stream: Forbidden: may not be specified",
        ),
    ] {
        let answer = get(&server, &format!("{PODS}/{path}")).await;
        assert_eq!(
            (answer.code, &answer.body["message"]),
            (code, &json!(message)),
            "{path}"
        );
    }
    let ask =
        async |path: &str| raw(&server, Method::POST, &format!("{PODS}/{path}"), "", b"").await;
    let early = ask("p/exec?command=ls&container=a").await;
    assert_eq!(early.body["message"], "pod p does not have a host assigned");
    assert_eq!(ask("q/portforward").await.code, 400);
    assert_eq!(ask("q/log").await.code, 405);
}
