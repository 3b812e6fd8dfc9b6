//! Owns the proof that a real client works over the service: kube, as the controllers use it.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::ObjectMeta;
use kube::{Api, Client};
use serde_json::json;

use crate::support::server;

#[tokio::test(start_paused = true)]
async fn kube_creates_lists_watches_patches_and_deletes() {
    let server = server();
    let client = Client::new(server.service(), "default");
    assert_eq!(
        client
            .apiserver_version()
            .await
            .expect("a version")
            .git_version,
        "v1.34.2"
    );
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let params = WatchParams::default().labels("app=web").timeout(10);
    let from = maps
        .list(&ListParams::default())
        .await
        .expect("a list")
        .metadata
        .resource_version;
    let mut events = maps
        .watch(&params, &from.unwrap_or_default())
        .await
        .expect("a watch")
        .boxed();
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some("a".into()),
            labels: Some(BTreeMap::from([("app".to_owned(), "web".to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("x".to_owned(), "1".to_owned())])),
        ..ConfigMap::default()
    };
    let made = maps
        .create(&PostParams::default(), &map)
        .await
        .expect("created");
    assert!(made.metadata.uid.is_some());
    let apply = PatchParams::apply("tests").force();
    let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"y": "2"}});
    let patched = maps
        .patch("a", &apply, &Patch::Apply(patch))
        .await
        .expect("applied");
    assert_eq!(patched.data.map(|d| d.len()), Some(2));
    maps.delete("a", &DeleteParams::default())
        .await
        .expect("deleted");
    let mut seen = Vec::new();
    while let Some(event) = events.try_next().await.expect("events") {
        seen.push(match event {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            WatchEvent::Bookmark(_) => "bookmark",
            WatchEvent::Error(_) => "error",
        });
        if seen.last() == Some(&"deleted") {
            break;
        }
    }
    assert_eq!(seen, ["added", "modified", "deleted"]);
    let missing = maps.get("a").await.expect_err("it is gone");
    assert!(matches!(missing, kube::Error::Api(status) if status.code == 404));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_follows_by_stream_and_by_list() {
    let server = server();
    let client = Client::new(server.service(), "default");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for config in [
        kube::runtime::watcher::Config::default(),
        kube::runtime::watcher::Config::default().streaming_lists(),
    ] {
        let mut stream = kube::runtime::watcher(namespaces.clone(), config).boxed();
        let mut names = Vec::new();
        while let Some(event) = stream.try_next().await.expect("no refusal") {
            match event {
                kube::runtime::watcher::Event::InitApply(ns) => names.extend(ns.metadata.name),
                kube::runtime::watcher::Event::InitDone => break,
                _ => {}
            }
        }
        assert_eq!(
            names,
            ["default", "kube-node-lease", "kube-public", "kube-system"]
        );
    }
    let pods: Api<Pod> = Api::default_namespaced(client);
    let metadata = pods
        .list_metadata(&ListParams::default())
        .await
        .expect("a list");
    assert_eq!(metadata.items.len(), 0);
}
