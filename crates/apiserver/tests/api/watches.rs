//! Owns list-and-watch: order, selections, bookmarks, lost history.

use http::Method;
use serde_json::{Value, json};
use weir_apiserver::{ApiServer, Options, Selector, Tuning};
use weir_object::Kind;

use crate::support::*;

const KIND: Kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");

#[tokio::test(start_paused = true)]
async fn a_watch_tells_changes_in_order_from_a_version() {
    let server = server();
    let made = post(&server, MAPS, &config_map("a", &json!({"x": "1"})))
        .await
        .body;
    let from = made["metadata"]["resourceVersion"]
        .as_str()
        .expect("a version");
    let mut body = watch(&server, &format!("{MAPS}?watch=1&resourceVersion={from}")).await;
    let mut all = watch(&server, "/api/v1/configmaps?watch=true").await;
    assert_eq!(brief(&lines(&mut body).await), Vec::<String>::new());
    patch(
        &server,
        &format!("{MAPS}/a"),
        "merge",
        &json!({"data": {"x": "2"}}),
    )
    .await;
    post(&server, MAPS, &config_map("b", &json!({}))).await;
    post(
        &server,
        "/api/v1/namespaces/kube-system/configmaps",
        &config_map("c", &json!({})),
    )
    .await;
    delete(&server, &format!("{MAPS}/a"), &Value::Null).await;
    let events = lines(&mut body).await;
    assert_eq!(
        brief(&events),
        ["MODIFIED a@7", "ADDED b@8", "DELETED a@10"]
    );
    assert_eq!(events[2]["object"]["data"], json!({"x": "2"}));
    assert_eq!(
        brief(&lines(&mut all).await),
        [
            "ADDED a@6",
            "MODIFIED a@7",
            "ADDED b@8",
            "ADDED c@9",
            "DELETED a@10"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn entering_and_leaving_a_selection_are_events() {
    let server = server();
    let mut body = watch(&server, &format!("{MAPS}?watch=1&labelSelector=on%3D1")).await;
    let label = |v: &str| json!({"metadata": {"labels": {"on": v}}});
    post(&server, MAPS, &config_map("a", &json!({}))).await;
    patch(&server, &format!("{MAPS}/a"), "merge", &label("1")).await;
    patch(
        &server,
        &format!("{MAPS}/a"),
        "merge",
        &json!({"data": {"x": "1"}}),
    )
    .await;
    patch(&server, &format!("{MAPS}/a"), "merge", &label("2")).await;
    delete(&server, &format!("{MAPS}/a"), &Value::Null).await;
    let events = lines(&mut body).await;
    assert_eq!(brief(&events), ["ADDED a@7", "MODIFIED a@8", "DELETED a@9"]);
    assert_eq!(
        events[2]["object"]["metadata"]["labels"],
        json!({"on": "1"})
    );
}

#[tokio::test(start_paused = true)]
async fn initial_events_end_with_a_bookmark_and_a_timeout_with_another() {
    let server = server();
    post(&server, MAPS, &config_map("a", &json!({}))).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut body = watch(
        &server,
        &format!("{MAPS}?{query}&allowWatchBookmarks=true&timeoutSeconds=5"),
    )
    .await;
    let events = lines(&mut body).await;
    assert_eq!(brief(&events), ["ADDED a@6", "BOOKMARK @6"]);
    assert_eq!(
        events[1]["object"],
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "6",
            "annotations": {"k8s.io/initial-events-end": "true"}}})
    );
    post(
        &server,
        "/api/v1/namespaces",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}),
    )
    .await;
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    assert_eq!(brief(&lines(&mut body).await), ["BOOKMARK @7"]);
    let wrong = get(&server, &format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(
        (wrong.code, &wrong.body["message"]),
        (
            422,
            &json!(
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
                 sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_of_a_built_in_kind_is_an_empty_object_of_it() {
    let server = server();
    let none = json!({"metadata": {}, "spec": {"containers": null}});
    for (path, spec, status) in [
        (
            "apps/v1/deployments",
            json!({"replicas": 0, "selector": null, "template": none, "strategy": {}}),
            json!({}),
        ),
        (
            "apps/v1/replicasets",
            json!({"replicas": 0, "selector": null, "template": none}),
            json!({"replicas": 0}),
        ),
        (
            "networking.k8s.io/v1/networkpolicies",
            json!({"podSelector": {}}),
            json!(null),
        ),
        ("batch/v1/jobs", json!({"template": none}), json!({})),
    ] {
        let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        let path = format!("/apis/{path}?{query}&allowWatchBookmarks=true");
        let mut body = watch(&server, &path).await;
        let events = lines(&mut body).await;
        let object = &events[0]["object"];
        assert_eq!(
            (&events[0]["type"], &object["spec"], &object["status"]),
            (&json!("BOOKMARK"), &spec, &status),
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_as_its_options_say() {
    let server = server();
    post(&server, MAPS, &config_map("a", &json!({}))).await;
    let streams = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    for (query, events) in [
        ("", vec!["ADDED a@6"]),
        ("&resourceVersion=0", vec!["ADDED a@6"]),
        ("&resourceVersion=6", vec![]),
        ("&resourceVersion=4", vec!["ADDED a@6"]),
        // Whoever understands bookmarks is told where the beginning ends.
        ("&allowWatchBookmarks=1", vec!["ADDED a@6", "BOOKMARK @6"]),
        (&format!("&{streams}"), vec!["ADDED a@6"]),
        (
            "&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1",
            vec![],
        ),
        // A version that is yet to come is waited for.
        ("&resourceVersion=99", vec![]),
    ] {
        let mut body = watch(&server, &format!("{MAPS}?watch=1{query}")).await;
        assert_eq!(brief(&lines(&mut body).await), events, "{query}");
    }
    let mut ahead = watch(
        &server,
        &format!("{MAPS}?watch=1&{streams}&resourceVersion=99"),
    )
    .await;
    let events = lines(&mut ahead).await;
    assert_eq!(events[0]["object"]["code"], json!(504));
    let mut older = watch(&server, "/api/v1/watch/namespaces/default/configmaps/a").await;
    assert_eq!(brief(&lines(&mut older).await), ["ADDED a@6"]);
    let wrong = get(&server, &format!("{MAPS}?watch=1&resourceVersion=x")).await;
    assert_eq!((wrong.code, wrong.body.get("reason")), (500, None));
    // One object's path has no watch of its own.
    let one = get(&server, &format!("{MAPS}/a?watch=1")).await;
    assert_eq!(one.body["kind"], json!("ConfigMap"));
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_comes_each_minute_and_before_the_end() {
    let server = server();
    let query = "watch=1&allowWatchBookmarks=1&resourceVersion=5&timeoutSeconds=200";
    let mut body = watch(&server, &format!("{MAPS}?{query}&labelSelector=x")).await;
    assert_eq!(brief(&lines(&mut body).await), Vec::<String>::new());
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    assert_eq!(brief(&lines(&mut body).await), ["BOOKMARK @5"]);
    post(&server, MAPS, &config_map("a", &json!({}))).await;
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    assert_eq!(brief(&lines(&mut body).await), ["BOOKMARK @6"]);
    post(&server, MAPS, &config_map("b", &json!({}))).await;
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    assert_eq!(brief(&lines(&mut body).await), ["BOOKMARK @7"]);
    post(&server, MAPS, &config_map("c", &json!({}))).await;
    tokio::time::advance(std::time::Duration::from_secs(15)).await;
    assert_eq!(brief(&lines(&mut body).await), ["BOOKMARK @8"]);
}

#[tokio::test(start_paused = true)]
async fn many_followers_see_the_same_and_later_ones_find_it_in_the_history() {
    let server = server();
    let mut followers = Vec::new();
    for _ in 0..20 {
        followers.push(watch(&server, &format!("{MAPS}?watch=1")).await);
    }
    for i in 0..30 {
        post(
            &server,
            MAPS,
            &config_map(&format!("m{i:02}"), &json!({"i": i.to_string()})),
        )
        .await;
    }
    delete(&server, &format!("{MAPS}/m07"), &Value::Null).await;
    followers.push(watch(&server, &format!("{MAPS}?watch=1&resourceVersion=5")).await);
    let mut seen = Vec::new();
    for follower in &mut followers {
        seen.push(lines(follower).await);
    }
    let first = seen.first().cloned().unwrap_or_default();
    assert_eq!(first.len(), 31);
    assert_eq!(first[9]["object"]["data"], json!({"i": "9"}));
    assert_eq!(brief(&first[30..]), ["DELETED m07@36"]);
    assert!(seen.iter().all(|events| *events == first));
}

#[tokio::test(start_paused = true)]
async fn a_history_that_is_gone_is_told() {
    let server = ApiServer::with(
        Options::default(),
        Tuning {
            history: 3,
            ..Tuning::default()
        },
    );
    let mut slow = watch(&server, &format!("{MAPS}?watch=1&resourceVersion=5")).await;
    for i in 0..6 {
        post(&server, MAPS, &config_map(&format!("m{i}"), &json!({}))).await;
    }
    let events = lines(&mut slow).await;
    assert_eq!(
        events,
        [
            json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": "too old resource version: 5 (8)", "reason": "Expired",
            "code": 410}})
        ]
    );
    let mut late = watch(&server, &format!("{MAPS}?watch=1&resourceVersion=6")).await;
    assert_eq!(lines(&mut late).await[0]["object"]["code"], json!(410));
    let store = server.store();
    let watch = store.watch(&KIND, None, &Selector::default(), Some(6));
    assert_eq!(watch.err().map(|r| r.code()), Some(410));
}

#[tokio::test(start_paused = true)]
async fn watches_speak_tables_too() {
    let server = server();
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let response = send_with(
        &server,
        Method::GET,
        &format!("{MAPS}?watch=1"),
        &accept,
        Vec::new(),
    )
    .await;
    let mut body = response.into_body();
    post(&server, MAPS, &config_map("a", &json!({}))).await;
    post(&server, MAPS, &config_map("b", &json!({}))).await;
    let events = lines(&mut body).await;
    assert_eq!(
        events[0]["object"]["rows"][0]["cells"],
        json!(["a", 0, "0s"])
    );
    assert!(events[0]["object"]["columnDefinitions"].is_array());
    assert!(events[1]["object"]["columnDefinitions"].is_null());
}

#[tokio::test(start_paused = true)]
async fn parts_of_the_process_follow_without_http() {
    let server = server();
    let store = server.store();
    let mut watch = store
        .watch(&KIND, Some("default"), &Selector::default(), None)
        .expect("served");
    let mut object = config_map("a", &json!({"x": "1"}));
    object["metadata"]["namespace"] = json!("default");
    let made = store.create(&KIND, object).expect("valid");
    let seen = watch.next().await.expect("open").expect("kept");
    assert_eq!(seen, weir_apiserver::Event::Added(made.clone()));
    store.delete(&KIND, "default", "a").expect("there");
    assert!(matches!(
        watch.next().await,
        Some(Ok(weir_apiserver::Event::Deleted(_)))
    ));
    assert_eq!(store.get(&KIND, "default", "a"), None);
}
