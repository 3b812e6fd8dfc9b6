//! Owns what is outside of the cluster: the metrics server and the hooks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use weir_apiserver::Store;
use weir_runtime::http::{HttpError, Request, Response, Transport};
use weir_runtime::kinds::DEPLOYMENT;

use crate::faults::{Counted, Fault, Faults};
use crate::world::{image, weight};

/// What was found out about each image: the weights at which it passed.
pub(crate) type Evidence = Arc<Mutex<BTreeMap<String, BTreeSet<u64>>>>;

/// Answers queries by what the target, or the primary, runs; and every hook with yes.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) store: Store,
    pub(crate) faults: Faults,
    pub(crate) faulty: Arc<Mutex<BTreeSet<String>>>,
    pub(crate) evidence: Evidence,
    /// Keys of the hooks that were called.
    pub(crate) called: Arc<Mutex<Vec<String>>>,
}

#[async_trait::async_trait]
impl Transport for Outside {
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        if request.url.host_str() == Some("hooks") {
            return Ok(self.hook(&request));
        }
        let fault = self.faults.next(Counted::Queries, request.url.path());
        let ok = |result: serde_json::Value| {
            let data = json!({"resultType": "vector", "result": result});
            let body = json!({"status": "success", "data": data}).to_string();
            Response::full(http::StatusCode::OK, http::HeaderMap::new(), body)
        };
        match fault {
            Some(Fault::ProviderError) => {
                let code = http::StatusCode::INTERNAL_SERVER_ERROR;
                return Ok(Response::full(
                    code,
                    http::HeaderMap::new(),
                    "down".to_owned(),
                ));
            }
            Some(Fault::ProviderEmpty) => return Ok(ok(json!([]))),
            Some(Fault::ProviderHangs) => {
                tokio::time::sleep(request.timeout).await;
                let url = request.url.to_string();
                return Err(HttpError::Connect {
                    url,
                    what: "no answer".to_owned(),
                });
            }
            Some(fault) => {
                self.faults.hand(fault, "");
                // Long enough for the watch to tell of it.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            None => {}
        }
        let of_primary = request
            .url
            .query()
            .unwrap_or_default()
            .contains("app-primary");
        let workload = if of_primary { "app-primary" } else { "app" };
        let live = self
            .store
            .get(&DEPLOYMENT, "demo", workload)
            .map(|d| image(&d))
            .unwrap_or_default();
        let bad = self
            .faulty
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&live);
        if !bad && !of_primary {
            let at = weight(&self.store);
            let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
            evidence.entry(live).or_default().insert(at);
        }
        let value = if bad { "50" } else { "100" };
        Ok(ok(json!([{"metric": {}, "value": [0.0, value]}])))
    }
}

impl Outside {
    fn hook(&self, request: &Request) -> Response {
        let key = request
            .headers
            .iter()
            .find(|(name, _)| name.as_str().eq_ignore_ascii_case("idempotency-key"))
            .map(|(_, value)| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        called.push(key.unwrap_or_default());
        let rolls_back = request.url.path() == "/rollback";
        let code = if rolls_back {
            http::StatusCode::FORBIDDEN
        } else {
            http::StatusCode::OK
        };
        Response::full(code, http::HeaderMap::new(), String::new())
    }
}
