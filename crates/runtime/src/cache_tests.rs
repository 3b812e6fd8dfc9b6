//! The caches: what replaces what, and what is told.

use super::*;
use crate::kinds::CONFIG_MAP;
use serde_json::json;

fn mk(name: &str, version: u64) -> Object {
    Object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
        {"namespace": "a", "name": name, "uid": name, "resourceVersion": version.to_string()}}))
}

fn versions(store: &Store) -> Vec<(String, u64)> {
    store
        .list()
        .iter()
        .map(|o| (o.name().to_owned(), version_of(o)))
        .collect()
}

#[test]
fn an_older_version_never_replaces_a_newer_one() {
    let store = Store::new(WatchOf::all(&CONFIG_MAP));
    store.replace(vec![mk("x", 5), mk("y", 6)]);
    store.observe(&mk("x", 9)); // our own write's reply
    store.put(mk("x", 7), true); // a watch event that was on its way
    assert_eq!(versions(&store), [("x".into(), 9), ("y".into(), 6)]);
    store.remove(&mk("y", 10));
    store.observe(&mk("y", 8)); // a late reply to a write before the deletion
    assert_eq!(versions(&store), [("x".into(), 9)]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_what_is_not_served_is_tried_less_and_less_often() {
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        *count.lock().expect("lock") += 1;
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "reason": "NotFound", "code": 404, "message": "nothing"});
        let answer = http::Response::builder().status(404);
        let body = kube::client::Body::from(status.to_string().into_bytes());
        std::future::ready(answer.body(body))
    });
    let client = kube::Client::new(service, "default");
    let caches = Caches::new(client, CancellationToken::new());
    let store = caches.watch(WatchOf::all(&CONFIG_MAP));
    tokio::time::sleep(Duration::from_mins(5)).await;
    let asked = *asked.lock().expect("lock");
    assert!(
        (10..20).contains(&asked),
        "asked {asked} times in five minutes"
    );
    assert!(!store.is_synced());
    assert_eq!(
        caches.incomplete(),
        Vec::<String>::new(),
        "it is not waited for"
    );
}

#[test]
fn objects_held_as_text_read_back_as_they_were_and_change_alike() {
    let store = Store::new(WatchOf::projected(&CONFIG_MAP, Projection::Text));
    let mut object = mk("x", 5);
    object.0["data"] = json!({"k": "v\u{1f980}", "n": "1.0"});
    store.replace(vec![object.clone(), mk("y", 6)]);
    assert_eq!(store.get(&object.key()).as_deref(), Some(&object));
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    store.on_change(move |c| log.lock().expect("lock").push(c.clone()));
    store.put(mk("x", 4), true); // older
    store.put(mk("x", 7), true);
    store.remove(&mk("y", 8));
    let told = told.lock().expect("lock");
    let seen: Vec<_> = told
        .iter()
        .map(|c| (c.before.clone(), c.after.clone()))
        .collect();
    let held = |object: Object| Some(Arc::new(object));
    assert_eq!(
        seen,
        [(held(object), held(mk("x", 7))), (held(mk("y", 6)), None)]
    );
}

#[test]
fn r26_a_new_list_removes_what_is_gone_and_tells_each_change() {
    let store = Store::new(WatchOf::all(&CONFIG_MAP));
    store.replace(vec![mk("x", 1), mk("y", 2)]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    store.on_change(move |c| {
        log.lock()
            .expect("lock")
            .push((c.key.name.clone(), c.after.is_some()));
    });
    store.replace(vec![mk("y", 2), mk("z", 4)]);
    assert_eq!(
        *told.lock().expect("lock"),
        [("x".into(), false), ("z".into(), true)]
    );
    assert_eq!(store.list_in("a").len(), 2);
    assert!(store.list_in("b").is_empty());
}

#[test]
fn any_metadata_is_taken() {
    for odd in [
        json!({}),
        json!({"metadata": 7}),
        json!({"metadata": {"name": 3}}),
        json!([]),
    ] {
        let watched: Watched = serde_json::from_value(odd).expect("taken");
        let _ = watched.into_object(&WatchOf::all(&CONFIG_MAP));
    }
}
