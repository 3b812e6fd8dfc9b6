//! A store: what replaces what, and what is told.

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
