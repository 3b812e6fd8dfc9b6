//! What the fuzz targets share: one server with a few objects in it, and a way to ask it.
//! It refuses sockets and real time, so that an input always does the same.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures::executor::block_on;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use weir_apiserver::{ApiServer, Options};

/// A custom kind with every list type, defaults, limits and a rule.
pub const DEFINITION: &str = include_str!("definition.json");
/// A Deployment with lists that merge by key.
pub const DEPLOYMENT: &str = include_str!("deployment.json");

/// An answer, its body read as JSON where it is.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub code: u16,
    /// The body; null when it is no JSON.
    pub body: Value,
}

/// A server that holds a definition and one Deployment.
pub fn server() -> ApiServer {
    let start = jiff::Timestamp::UNIX_EPOCH;
    let server = ApiServer::new(Options {
        now: Arc::new(move || start),
        seed: 1,
    });
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = ask(
        &server,
        Method::POST,
        crds,
        "application/json",
        DEFINITION.as_bytes(),
    );
    assert_eq!(made.code, 201, "{made:?}");
    let made = ask(
        &server,
        Method::POST,
        DEPLOYMENTS,
        "application/json",
        DEPLOYMENT.as_bytes(),
    );
    assert_eq!(made.code, 201, "{made:?}");
    server
}

/// Where the Deployments are.
pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
/// Where the custom objects are.
pub const WIDGETS: &str = "/apis/fuzz.example.com/v1/namespaces/default/widgets";

/// Sends one request and reads its answer, a watch's first frame at most.
pub fn ask(server: &ApiServer, method: Method, path: &str, content: &str, body: &[u8]) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .header("user-agent", "fuzz");
    let Ok(request) = request.body(Full::new(Bytes::copy_from_slice(body))) else {
        // The HTTP layer itself refuses it, as it would on a socket.
        return Answer {
            code: 400,
            body: Value::Null,
        };
    };
    let watches = request.uri().query().is_some_and(|q| q.contains("watch"));
    block_on(async {
        let Ok(response) = server.service().oneshot(request).await;
        let code = response.status().as_u16();
        if watches && code < 400 {
            return Answer {
                code,
                body: Value::Null,
            };
        }
        let bytes = response
            .into_body()
            .collect()
            .await
            .map(|b| b.to_bytes())
            .unwrap_or_default();
        Answer {
            code,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    })
}

/// An answer is one of the API's own: a refusal says why, and nothing is a fault of the server.
/// Kubernetes gives the code 500 to refusals that have no reason of their own, as to a removal whose
/// options cannot be read; a fault of the server itself has the reason `InternalError`.
pub fn holds(answer: &Answer, what: impl Fn() -> String) {
    let refusal = answer.code == 500
        && answer.body["kind"] == "Status"
        && answer.body.get("reason").is_none();
    assert!(answer.code < 500 || refusal, "{}: {answer:?}", what());
    if answer.code >= 400 && answer.body["kind"] == "Status" {
        assert_eq!(answer.body["code"], json!(answer.code), "{}", what());
        assert!(
            answer.body["message"]
                .as_str()
                .is_some_and(|m| !m.is_empty()),
            "{}",
            what()
        );
    }
}

/// An object that is kept must be readable, say its own name, and own its fields by readable sets.
pub fn sound(object: &Value) {
    assert!(object["metadata"]["name"].is_string(), "{object}");
    assert!(object["metadata"]["uid"].is_string(), "{object}");
    for entry in object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
    {
        assert!(entry["fieldsV1"].is_object(), "{entry}");
        assert!(
            entry["manager"].is_string() && entry["operation"].is_string(),
            "{entry}"
        );
    }
}

/// The shared server of a target that changes nothing for good.
pub static SERVER: LazyLock<ApiServer> = LazyLock::new(server);
