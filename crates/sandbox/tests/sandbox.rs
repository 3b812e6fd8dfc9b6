//! The sandbox as its inhabitants see it, in memory and on loopback.

#[path = "dataplane/gateway.rs"]
mod gateway;
#[path = "dataplane/grpc.rs"]
mod grpc;
#[path = "dataplane/listeners.rs"]
mod listeners;
#[path = "dataplane/mesh.rs"]
mod mesh;
#[path = "dataplane/sockets.rs"]
mod sockets;
#[path = "dataplane/stage.rs"]
mod stage;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::{Key, Object};
use weir_runtime::http::Request;
use weir_runtime::kinds::{DEPLOYMENT, POD, SERVICE};
use weir_runtime::{ApiClient, Caches, VirtualClock, Write};
use weir_sandbox::{Options, Sandbox};

const APP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: demo}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata:
      labels: {app: app}
      annotations: {prometheus.io/scrape: "true", prometheus.io/port: "9898"}
    spec:
      containers:
        - name: app
          image: registry.sandbox:5000/demo/app:1
          ports: [{name: http, containerPort: 9898}]
          readinessProbe: {httpGet: {path: /readyz, port: http}}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: demo}
spec:
  selector: {app: app}
  ports: [{port: 80, targetPort: http}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gateway, namespace: demo}
spec:
  gatewayClassName: sandbox
  listeners: [{name: http, protocol: HTTP, port: 8080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app, namespace: demo}
spec:
  parentRefs: [{name: gateway}]
  hostnames: [app.example.com]
  rules: [{backendRefs: [{name: app, port: 80}]}]
"#;

fn api(sandbox: &Sandbox) -> ApiClient {
    let client = sandbox.client();
    ApiClient::new(
        client.clone(),
        Caches::new(client, tokio_util::sync::CancellationToken::new()),
        "test",
    )
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..1200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("two minutes of virtual time passed until {what}");
}

async fn ready(api: &ApiClient) -> u64 {
    let app = api
        .get(&DEPLOYMENT, &Key::new("demo", "app"))
        .await
        .expect("answered");
    let status = app.unwrap_or_default();
    status
        .get(&["status", "readyReplicas"])
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

async fn get(sandbox: &Sandbox, url: &str, host: Option<&str>) -> (u16, String) {
    let mut request = Request::get(url::Url::parse(url).expect("a URL"));
    if let Some(host) = host {
        request = request.header(http::header::HOST, host);
    }
    match sandbox.http().send(request).await {
        Ok(response) => (
            response.status.as_u16(),
            response.text(1 << 16).await.expect("a body"),
        ),
        Err(e) => (0, e.to_string()),
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_runs_and_is_reached_by_every_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(VirtualClock::starting_at(
        Timestamp::from_second(1_900_000_000).expect("in range"),
    ));
    let sandbox = Sandbox::start(Options::memory(dir.path(), clock, 1))
        .await
        .expect("started");
    let env = [("APP_VERSION", "1.0.0")];
    sandbox
        .push_image("demo/app", "1", &[("app", b"app")], &env, &["/app"])
        .await
        .expect("pushed");
    sandbox.apply("app.yaml", APP).await.expect("applied");
    let api = api(&sandbox);
    until("two pods are ready", async || ready(&api).await == 2).await;

    for url in [
        "http://app.demo/",
        "http://app.demo.svc/",
        "http://app.demo.svc.cluster.local:80/",
    ] {
        let (status, body) = get(&sandbox, url, None).await;
        assert!(
            status == 200 && body.contains("1.0.0"),
            "{url}: {status} {body}"
        );
    }
    until("the gateway serves", async || {
        get(
            &sandbox,
            "http://gateway.sandbox:8080/",
            Some("app.example.com"),
        )
        .await
        .0 == 200
    })
    .await;
    assert_eq!(
        get(
            &sandbox,
            "http://gateway.sandbox:8080/",
            Some("other.example.com")
        )
        .await
        .0,
        404
    );

    // Prometheus sees the pods' series with their names.
    let query = "http://prometheus.sandbox:9090/api/v1/query?query=sum(http_request_duration_seconds_count%7Bkubernetes_namespace%3D%22demo%22%7D)";
    until("the requests are counted", async || {
        let (_, body) = get(&sandbox, query, None).await;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        body["data"]["result"][0]["value"][1].as_str() == Some("4")
    })
    .await;

    // A pod that is deleted is replaced, and its address is not reached any more.
    let pods = api
        .list(&POD, Some("demo"), "app=app")
        .await
        .expect("listed");
    let (gone, address) = (pods[0].key(), pods[0].text(&["status", "podIP"]).to_owned());
    api.delete(&POD, &gone, None, weir_runtime::Propagation::Background)
        .await
        .expect("deleted");
    until("it is replaced", async || {
        let pods = api
            .list(&POD, Some("demo"), "app=app")
            .await
            .expect("listed");
        pods.iter().all(|p| p.key() != gone) && ready(&api).await == 2
    })
    .await;
    let (status, _) = get(&sandbox, &format!("http://{address}:9898/"), None).await;
    assert_eq!(status, 0, "{address} is gone");
    sandbox.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_and_a_bad_environment_are_told_on_the_pod() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(VirtualClock::starting_at(
        Timestamp::from_second(1_900_000_000).expect("in range"),
    ));
    let sandbox = Sandbox::start(Options::memory(dir.path(), clock, 1))
        .await
        .expect("started");
    let api = api(&sandbox);
    let env = [("ERROR_RATE", "7")];
    sandbox
        .push_image("demo/bad", "1", &[("app", b"app")], &env, &["/app"])
        .await
        .expect("pushed");
    for (name, image, reason) in [
        (
            "absent",
            "registry.sandbox:5000/demo/absent:1",
            "ErrImagePull",
        ),
        (
            "bad",
            "registry.sandbox:5000/demo/bad:1",
            "RunContainerError",
        ),
    ] {
        let pod = Object(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [{"name": "app", "image": image}]},
        }));
        let key = Key::new("default", name);
        api.write(&POD, &key, Write::Create(pod))
            .await
            .expect("created");
        until("the reason is told", async || {
            let pod = api
                .get(&POD, &key)
                .await
                .expect("answered")
                .unwrap_or_default();
            pod.text(&[
                "status",
                "containerStatuses",
                "0",
                "state",
                "waiting",
                "reason",
            ]) == reason
        })
        .await;
    }
    sandbox.stop().await;
}

const WORK: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: good, namespace: default}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "elsewhere/tool:1"}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad, namespace: default}
spec:
  backoffLimit: 0
  template:
    metadata: {annotations: {sandbox.weir.dev/exit-code: "3", sandbox.weir.dev/run-seconds: "5"}}
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "elsewhere/tool:1"}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere, namespace: default}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      containers: [{name: c, image: "elsewhere/agent:1"}]
"#;

#[tokio::test(start_paused = true)]
async fn jobs_run_to_their_end_claims_are_bound_and_daemons_run_on_the_node() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(VirtualClock::starting_at(
        Timestamp::from_second(1_900_000_000).expect("in range"),
    ));
    let sandbox = Sandbox::start(Options::memory(dir.path(), clock, 1))
        .await
        .expect("started");
    sandbox.apply("work.yaml", WORK).await.expect("applied");
    let store = sandbox.server().store();
    let shown = |group: &'static str, kind: &'static str, plural: &'static str, name: &str| {
        let kind = weir_object::Kind::namespaced(group, "v1", kind, plural);
        let object = store.get(&kind, "default", name);
        object.map_or(Value::Null, |o| o["status"].clone())
    };
    until("the good job is done", async || {
        shown("batch", "Job", "jobs", "good")["succeeded"] == 1
    })
    .await;
    until("the bad job is given up", async || {
        let status = shown("batch", "Job", "jobs", "bad");
        status["conditions"][1]["reason"] == "BackoffLimitExceeded" && status["failed"] == 1
    })
    .await;
    until("the daemon runs", async || {
        shown("apps", "DaemonSet", "daemonsets", "everywhere")["numberReady"] == 1
    })
    .await;
    let claim = shown(
        "",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        "data",
    );
    assert_eq!(claim["phase"], json!("Bound"));
    let api = api(&sandbox);
    let pods = api.list(&POD, Some("default"), "").await.expect("listed");
    let state = pods
        .iter()
        .find(|p| p.name().starts_with("bad-"))
        .and_then(|p| p.get(&["status", "containerStatuses", "0", "state", "terminated"]));
    assert_eq!(state.map(|s| &s["exitCode"]), Some(&json!(3)));
    let events = api
        .list(&weir_runtime::kinds::EVENT, Some("default"), "")
        .await
        .expect("listed");
    let scheduled = events.iter().find(|e| e.text(&["reason"]) == "Scheduled");
    let scheduled = scheduled.expect("a pod was placed");
    assert_eq!(scheduled.text(&["reportingComponent"]), "default-scheduler");
    sandbox.stop().await;
}

#[tokio::test]
async fn on_loopback_the_api_is_reached_over_tls_and_knows_callers_by_their_tokens() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = Options::loopback(dir.path());
    options.api_port = 0;
    let sandbox = Sandbox::start(options).await.expect("started");
    let kubeconfig = sandbox.kubeconfig().expect("a kubeconfig");
    let parsed = kube::config::Kubeconfig::from_yaml(kubeconfig.expose()).expect("readable");
    let config =
        kube::Config::from_custom_kubeconfig(parsed, &kube::config::KubeConfigOptions::default())
            .await
            .expect("usable");
    let client = kube::Client::try_from(config.clone()).expect("a client");
    assert!(
        client
            .apiserver_version()
            .await
            .expect("an answer")
            .git_version
            .starts_with("v1.34")
    );
    let ask = async |client: &kube::Client, method: &str, path: &str, body: &str| {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(body.as_bytes().to_vec())
            .expect("a request");
        match client.request_text(request).await {
            Ok(text) => (200, text),
            Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
            Err(other) => panic!("{other}"),
        }
    };
    // Who proves nothing is nobody, who proves it badly is refused.
    let mut stranger = config.clone();
    stranger.auth_info = kube::config::AuthInfo::default();
    let nobody = kube::Client::try_from(stranger.clone()).expect("a client");
    assert_eq!(ask(&nobody, "GET", "/version", "").await.0, 200);
    let (code, why) = ask(&nobody, "GET", "/api/v1/namespaces", "").await;
    let expected = "namespaces is forbidden: User \"system:anonymous\" cannot list resource \
                    \"namespaces\" in API group \"\" at the cluster scope";
    assert_eq!((code, why.as_str()), (403, expected));
    assert_eq!(ask(&nobody, "GET", "/sandbox/clock", "").await.0, 403);
    stranger.auth_info.token = Some("wrong".to_owned().into());
    let liar = kube::Client::try_from(stranger.clone()).expect("a client");
    assert_eq!(ask(&liar, "GET", "/version", "").await.0, 401);
    // A service account's token is as good as the administrator's, for what the account may do.
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = r#"{"metadata": {"name": "robot"}}"#;
    assert_eq!(ask(&client, "POST", accounts, account).await.0, 200);
    let path = format!("{accounts}/robot/token");
    let (code, answer) = ask(&client, "POST", &path, "{}").await;
    assert_eq!(code, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let token = answer["status"]["token"].as_str().expect("a token");
    stranger.auth_info.token = Some(token.to_owned().into());
    let robot = kube::Client::try_from(stranger).expect("a client");
    assert_eq!(ask(&robot, "GET", "/api/v1", "").await.0, 200);
    let (code, why) = ask(&robot, "GET", "/api/v1/namespaces", "").await;
    assert_eq!(code, 403);
    assert!(
        why.contains("User \"system:serviceaccount:default:robot\""),
        "{why}"
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn sandboxes_on_one_machine_keep_out_of_each_others_way() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        let mut options = Options::loopback(&dir.path().join(name));
        options.api_port = 0;
        all.push(Sandbox::start(options).await.expect("started"));
    }
    let mut registries: Vec<String> = all.iter().map(Sandbox::registry_address).collect();
    registries.sort();
    registries.dedup();
    assert_eq!(registries.len(), 3, "{registries:?}");
    for sandbox in all {
        sandbox.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_file_goes_on_with_objects_repositories_and_images() {
    let files = tempfile::tempdir().expect("a directory");
    let state = files.path().join("state.redb");
    let clock = || {
        Arc::new(VirtualClock::starting_at(
            Timestamp::from_second(1_900_000_000).expect("in range"),
        ))
    };
    let start = async |dir: &std::path::Path| {
        let mut options = Options::memory(dir, clock(), 1);
        options.state = Some(state.clone());
        Sandbox::start(options).await.expect("started")
    };
    let first_dir = tempfile::tempdir().expect("a directory");
    let first = start(first_dir.path()).await;
    let env = [("APP_VERSION", "1.0.0")];
    first
        .push_image("demo/app", "1", &[("app", b"app")], &env, &["/app"])
        .await
        .expect("pushed");
    let file = [("a.txt".to_owned(), b"one".to_vec())];
    let revision = first.push_git("config.git", "main", &file, "one").await;
    let revision = revision.expect("pushed");
    let commit = revision.trim_start_matches("main@sha1:");
    first.apply("app.yaml", APP).await.expect("applied");
    let before = api(&first);
    until("two pods are ready", async || ready(&before).await == 2).await;
    let pods = before.list(&POD, Some("demo"), "").await.expect("listed");
    first.stop().await;

    let second_dir = tempfile::tempdir().expect("a directory");
    let second = start(second_dir.path()).await;
    let after = api(&second);
    let uids =
        |pods: &[Object]| -> Vec<String> { pods.iter().map(|pod| pod.uid().to_owned()).collect() };
    let again = after.list(&POD, Some("demo"), "").await.expect("listed");
    assert_eq!(uids(&again), uids(&pods), "the pods are the same ones");
    until("the pods run again", async || {
        get(&second, "http://app.demo/", None).await.0 == 200
    })
    .await;
    let refs = "http://git.sandbox:3000/config.git/info/refs?service=git-upload-pack";
    let (status, body) = get(&second, refs, None).await;
    assert!(status == 200 && body.contains(commit), "{status} {body}");
    let kept = after.get(&SERVICE, &Key::new("demo", "app")).await;
    let kept = kept.expect("answered").expect("the Service is kept");
    let other = Object(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "other", "namespace": "demo"}, "spec": {"ports": [{"port": 80}]}}));
    let other = after
        .write(&SERVICE, &other.key(), Write::Create(other))
        .await;
    let other = other.expect("created");
    let address = ["spec", "clusterIP"];
    assert_ne!(kept.text(&address), other.text(&address));
    second.stop().await;
}

#[tokio::test]
async fn what_a_process_says_is_read_as_its_pods_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = Options::loopback(dir.path());
    options.api_port = 0;
    let sandbox = Sandbox::start(options).await.expect("started");
    let api = api(&sandbox);
    let script = b"#!/bin/sh\necho one\necho two >&2\nexit 3\n";
    sandbox
        .push_image("demo/talks", "1", &[("app", script)], &[], &["/app"])
        .await
        .expect("pushed");
    let pod = Object(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talks", "namespace": "default"},
        "spec": {"containers": [{"name": "app", "image": "registry.sandbox:5000/demo/talks:1"}]},
    }));
    let key = Key::new("default", "talks");
    api.write(&POD, &key, Write::Create(pod))
        .await
        .expect("created");
    let client = sandbox.client();
    let read = async |query: &str| {
        let path = format!("/api/v1/namespaces/default/pods/talks/log{query}");
        let request = http::Request::get(path)
            .body(Vec::new())
            .expect("a request");
        client.request_text(request).await.unwrap_or_default()
    };
    until("both lines are there", async || {
        let text = read("").await;
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines == ["one", "two"]
    })
    .await;
    let last = read("?tailLines=1&timestamps=true").await;
    let (at, word) = last.trim().split_once(' ').expect("a time and a word");
    assert!(at.parse::<Timestamp>().is_ok(), "{at}");
    assert!(matches!(word, "one" | "two"), "{word}");
    // The run is over, so it is the previous one too, also after the next begins.
    until("the run before is kept", async || {
        read("?previous=true").await.lines().count() == 2
    })
    .await;
    sandbox.stop().await;
}
