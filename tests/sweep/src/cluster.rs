//! Owns what a cluster does by itself: pods come up, and the gateway takes routes over.

use std::time::Duration;

use serde_json::{Value, json};
use weir_apiserver::{Event, Selector, Store};
use weir_object::path;
use weir_runtime::kinds::{DEPLOYMENT, HTTP_ROUTE};

/// Makes each Deployment ready half a second after it changed.
pub(crate) async fn pods(store: Store) {
    let Ok(mut watch) = store.watch(&DEPLOYMENT, None, &Selector::default(), None) else {
        return;
    };
    while let Some(Ok(event)) = watch.next().await {
        let (Event::Added(object) | Event::Modified(object)) = event else {
            continue;
        };
        let generation = &object["metadata"]["generation"];
        if object["status"]["observedGeneration"] == *generation {
            continue;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        ready(&store, &object, true);
    }
}

/// Writes a Deployment's status: all of its pods serve, or none.
pub(crate) fn ready(store: &Store, object: &Value, serves: bool) {
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
    let available = if serves { wanted } else { 0 };
    let status = json!({"status": {
        "observedGeneration": object["metadata"]["generation"], "replicas": wanted,
        "updatedReplicas": wanted, "readyReplicas": available, "availableReplicas": available}});
    let name = path::text(object, &["metadata", "name"]);
    // It may be gone by now.
    let _ = store.patch_status(&DEPLOYMENT, "demo", name, status);
}

/// Takes each route over a tenth of a second after it changed.
pub(crate) async fn gateway(store: Store) {
    let Ok(mut watch) = store.watch(&HTTP_ROUTE, None, &Selector::default(), None) else {
        return;
    };
    while let Some(Ok(event)) = watch.next().await {
        let (Event::Added(object) | Event::Modified(object)) = event else {
            continue;
        };
        let generation = &object["metadata"]["generation"];
        let seen = &object["status"]["parents"][0]["conditions"][0]["observedGeneration"];
        if seen == generation {
            continue;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let status = json!({"status": {"parents": [{
            "controllerName": "test/gateway",
            "parentRef": object["spec"]["parentRefs"][0],
            "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted",
                "message": "", "lastTransitionTime": "2030-01-01T00:00:00Z",
                "observedGeneration": generation}],
        }]}});
        let name = path::text(&object, &["metadata", "name"]);
        // It may be gone by now.
        let _ = store.patch_status(&HTTP_ROUTE, "demo", name, status);
    }
}
