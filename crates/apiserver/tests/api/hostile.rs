//! Owns the proof that no request does harm: whatever comes, an answer goes, and what was stored
//! stays readable.

use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::objects::deployment;
use crate::support::*;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z/\\[\\]*.%~-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Names that mean something to the server, and some that do not.
fn key() -> impl Strategy<Value = String> {
    let known = [
        "metadata",
        "spec",
        "status",
        "kind",
        "apiVersion",
        "name",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "managedFields",
        "uid",
        "resourceVersion",
        "replicas",
        "selector",
        "template",
        "containers",
        "op",
        "path",
        "value",
        "$patch",
        "$retainKeys",
        "matchLabels",
        "strategy",
        "rollingUpdate",
        "maxSurge",
        "conditions",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        "[a-z$]{0,4}"
    ]
}

fn content() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "application/json",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "application/yaml",
    ])
}

fn path() -> impl Strategy<Value = String> {
    let base = "/apis/apps/v1/namespaces/default/deployments";
    let known = vec![
        base.to_owned(),
        format!("{base}/web"),
        format!("{base}/web/status"),
        format!("{base}/web/scale"),
        format!("{base}/new"),
        "/api/v1/namespaces/default/services".to_owned(),
        "/api/v1/namespaces/default/pods/x/binding".to_owned(),
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned(),
    ];
    let query = prop_oneof![
        Just("fieldManager=fuzz&force=true".to_owned()),
        Just("fieldManager=fuzz".to_owned()),
        "[a-zA-Z=&%,()! ]{0,20}".prop_map(|q| q.replace(' ', "+")),
    ];
    (prop::sample::select(known), query).prop_map(|(path, query)| format!("{path}?{query}"))
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::PATCH,
        Method::DELETE,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_request_gets_an_answer(
        requests in prop::collection::vec((method(), path(), content(), any_json()), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = server();
            let controllers = tokio::spawn(server.run_controllers());
            post(&server, "/apis/apps/v1/namespaces/default/deployments", &deployment("web", 1)).await;
            for (method, path, content, mut body) in requests {
                // Half of them look like the object, so that they get further.
                if let (Value::Object(body), true) = (&mut body, path.contains("web")) {
                    body.insert("kind".into(), json!("Deployment"));
                    body.insert("apiVersion".into(), json!("apps/v1"));
                }
                let answer = raw(&server, method, &path, content, body.to_string().as_bytes()).await;
                assert!(answer.code != 0);
                tokio::task::yield_now().await;
            }
            assert_eq!(get(&server, "/apis/apps/v1/deployments").await.code, 200);
            assert!(!controllers.is_finished());
            controllers.abort();
        });
    }

    #[test]
    fn odd_selectors_and_bytes_are_answered(labels in ".{0,24}", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let server = server();
            let query: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("labelSelector", &labels)
                .append_pair("continue", &labels)
                .finish();
            assert!(matches!(get(&server, &format!("{MAPS}?{query}")).await.code, 200 | 400 | 410));
            for content in ["application/json", "application/yaml"] {
                let answer = raw(&server, Method::POST, MAPS, content, &bytes).await;
                assert!(matches!(answer.code, 400 | 422), "{}", answer.body);
            }
        });
    }
}
