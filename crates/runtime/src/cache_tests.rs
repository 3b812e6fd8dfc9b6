//! Following a watch: what is not served, and any shape that comes.

use super::*;
use crate::kinds::CONFIG_MAP;
use serde_json::json;

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
