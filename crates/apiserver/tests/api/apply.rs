//! Owns server-side apply: ownership, conflicts, force, dry runs.

use http::Method;
use serde_json::json;

use crate::objects::deployment;
use crate::support::*;

const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

fn by(manager: &str) -> String {
    format!("{WEB}?fieldManager={manager}")
}

#[tokio::test]
async fn an_apply_creates_then_changes_and_tells_conflicts() {
    let server = server();
    let dry = patch(
        &server,
        &format!("{}&dryRun=All", by("one")),
        "apply",
        &deployment("web", 2),
    )
    .await;
    assert_eq!(dry.code, 201, "{}", dry.body);
    assert_eq!(get(&server, WEB).await.code, 404);
    let made = patch(&server, &by("one"), "apply", &deployment("web", 2)).await;
    assert_eq!(made.code, 201);
    let fields = &made.body["metadata"]["managedFields"][0];
    assert_eq!(
        (
            &fields["manager"],
            &fields["operation"],
            &fields["fieldsV1"]["f:spec"]["f:replicas"]
        ),
        (&json!("one"), &json!("Apply"), &json!({}))
    );
    let again = patch(&server, &by("one"), "apply", &deployment("web", 2)).await;
    assert_eq!((again.code, &again.body), (200, &made.body));
    let mut other = deployment("web", 5);
    other["spec"]
        .as_object_mut()
        .expect("a map")
        .retain(|k, _| k == "replicas");
    let conflict = patch(&server, &by("two"), "apply", &other).await;
    assert_eq!(
        conflict.body,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas",
            "reason": "Conflict",
            "details": {"causes": [{"reason": "FieldManagerConflict",
                "message": "conflict with \"one\"", "field": ".spec.replicas"}]},
            "code": 409})
    );
    let forced = patch(
        &server,
        &format!("{}&force=true", by("two")),
        "apply",
        &other,
    )
    .await
    .body;
    assert_eq!(forced["spec"]["replicas"], json!(5));
    assert_eq!(forced["metadata"]["generation"], json!(2));
    // What a manager drops from its configuration goes when nobody else owns it.
    let mut labelled = deployment("web", 5);
    labelled["metadata"]["labels"] = json!({"team": "a"});
    let one = format!("{}&force=true", by("one"));
    assert_eq!(
        patch(&server, &one, "apply", &labelled).await.body["metadata"]["labels"],
        json!({"team": "a"})
    );
    let dropped = patch(&server, &one, "apply", &deployment("web", 5))
        .await
        .body;
    assert_eq!(
        dropped["metadata"]
            .get("labels")
            .filter(|l| **l != json!({})),
        None
    );
}

#[tokio::test]
async fn an_apply_needs_a_manager_and_a_fitting_object() {
    let server = server();
    assert_eq!(
        patch(&server, WEB, "apply", &deployment("web", 1))
            .await
            .body["message"],
        json!(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for \
             apply patch"
        )
    );
    let mut managed = deployment("web", 1);
    managed["metadata"]["managedFields"] = json!([]);
    assert_eq!(
        patch(&server, &by("one"), "apply", &managed).await.code,
        400
    );
    assert_eq!(
        patch(&server, &by("one"), "apply", &deployment("other", 1))
            .await
            .code,
        400
    );
    let mut odd = deployment("web", 1);
    odd["spec"]["odd"] = json!(1);
    let refused = patch(&server, &by("one"), "apply", &odd).await;
    assert_eq!(
        (refused.code, get(&server, WEB).await.code),
        (500, 404),
        "{}",
        refused.body
    );
    assert_eq!(
        refused.body["message"],
        json!(
            "failed to create typed patch object (/web; apps/v1, Kind=Deployment): \
             .spec.odd: field not declared in schema"
        )
    );
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n  a: b\n";
    let path = format!("{MAPS}/m?fieldManager=one");
    let made = raw(
        &server,
        Method::PATCH,
        &path,
        "application/apply-patch+yaml",
        yaml.as_bytes(),
    )
    .await;
    assert_eq!((made.code, &made.body["data"]), (201, &json!({"a": "b"})));
    let forced = format!("{}&force=true", by("one"));
    assert_eq!(patch(&server, &forced, "merge", &json!({})).await.code, 422);
}

#[tokio::test]
async fn writes_of_any_kind_are_owned() {
    let server = server();
    post(&server, MAPS, &config_map("a", &json!({"x": "1"}))).await;
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "2"}});
    let path = format!("{MAPS}/a?fieldManager=two");
    let conflict = patch(&server, &path, "apply", &applied).await;
    assert_eq!(
        conflict.body["message"],
        json!("Apply failed with 1 conflict: conflict with \"test\" using v1: .data.x")
    );
    let equal = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
    let shared = patch(&server, &path, "apply", &equal).await.body;
    assert_eq!(
        shared["metadata"]["managedFields"].as_array().map(Vec::len),
        Some(2)
    );
}

#[tokio::test(start_paused = true)]
async fn raw_data_is_owned_as_one_value() {
    let server = server();
    let path = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let revision = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {"name": "r"}, "revision": 1, "data": {"a": {"b": [1]}, "c": 1}});
    let made = post(&server, &format!("{path}?fieldManager=me"), &revision).await;
    assert_eq!(
        made.body["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:data": {}, "f:revision": {}})
    );
}
