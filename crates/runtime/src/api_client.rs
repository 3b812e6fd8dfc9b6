//! Owns writing to and reading from the API server: every call has a timeout, every reply is fed
//! back to the caches, every refusal is told with verb and object. Dry runs are not fed back.
//! kube's own retry is off where the client is built; retrying is the queue's part.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weir_object::{Key, Kind, Object, ObjectRef};

use crate::metrics::Asked;
use crate::{ApiFailure, Caches, Refusal};

/// How long one call to the API server may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Creates the object.
    Create(Object),
    /// Replaces the object; its resourceVersion is the precondition.
    Replace(Object),
    /// A JSON merge patch (RFC 7396); put `metadata.resourceVersion` in it as precondition.
    Merge(Value),
    /// A JSON patch (RFC 6902); a `test` operation is its precondition.
    Json(Value),
    /// Server-side apply.
    Apply {
        /// The fields to own.
        fields: Object,
        /// Whether to take fields from other managers.
        force: bool,
    },
}

/// The reply to a write.
pub type Applied = Result<Object, ApiFailure>;

/// How dependants of a deleted object are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay.
    Orphan,
}

/// A client bound to one field manager. Cheap to clone.
#[derive(Clone)]
pub struct ApiClient {
    client: kube::Client,
    caches: Caches,
    manager: &'static str,
    /// The user that is acted as instead of the process's own.
    user: Option<Arc<str>>,
}

impl ApiClient {
    /// A client whose writes carry `manager`.
    pub fn new(client: kube::Client, caches: Caches, manager: &'static str) -> Self {
        Self {
            client,
            caches,
            manager,
            user: None,
        }
    }

    /// The same client with another field manager.
    #[must_use]
    pub fn with_manager(&self, manager: &'static str) -> Self {
        Self {
            manager,
            ..self.clone()
        }
    }

    /// The same client acting as a ServiceAccount, with its rights and no others. The process's own
    /// account needs `impersonate` on it.
    #[must_use]
    pub fn acting_as(&self, account: &Key) -> Self {
        let user = format!(
            "system:serviceaccount:{}:{}",
            account.namespace, account.name
        );
        Self {
            user: Some(user.into()),
            ..self.clone()
        }
    }

    /// Whether another account than the process's own is acted as.
    pub fn is_acting(&self) -> bool {
        self.user.is_some()
    }

    /// The field manager of this client's writes.
    pub fn manager(&self) -> &'static str {
        self.manager
    }

    /// The kube client underneath, for discovery.
    pub fn kube(&self) -> &kube::Client {
        &self.client
    }

    /// Reads the object from the server. `None` when it is not there.
    pub async fn get(&self, kind: &Kind, key: &Key) -> Result<Option<Object>, ApiFailure> {
        let request = http::Request::get(object_path(kind, key, None));
        match self.call("get", &reference(kind, key), request, None).await {
            Ok(value) => Ok(Some(Object(value))),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Lists objects by label selector (empty for all), in pages, at most 10,000.
    pub async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Object>, ApiFailure> {
        let target = reference(kind, &Key::new(namespace.unwrap_or_default(), "*"));
        let path = kind.collection_path(namespace);
        let mut out = Vec::new();
        let mut token = String::new();
        for _page in 0..20 {
            let request = http::Request::get(format!("{path}?{}", page_query(labels, &token)));
            let mut page = self.call("list", &target, request, None).await?;
            weir_object::path::text(&page, &["metadata", "continue"]).clone_into(&mut token);
            if let Some(Value::Array(items)) = weir_object::path::remove(&mut page, &["items"]) {
                for item in items {
                    let mut object = Object(item);
                    object.set(&["kind"], json!(kind.kind));
                    object.set(&["apiVersion"], json!(kind.api_version()));
                    out.push(object);
                }
            }
            if token.is_empty() {
                break;
            }
        }
        Ok(out)
    }

    /// Performs one write and returns the object as it then is.
    pub async fn write(&self, kind: &Kind, key: &Key, write: Write) -> Applied {
        self.write_to(kind, key, None, write, false).await
    }

    /// Performs one write on the status subresource.
    pub async fn write_status(&self, kind: &Kind, key: &Key, write: Write) -> Applied {
        self.write_to(kind, key, Some("status"), write, false).await
    }

    /// Asks what a write would make of the object, changing nothing.
    pub async fn dry_run(&self, kind: &Kind, key: &Key, write: Write) -> Applied {
        self.write_to(kind, key, None, write, true).await
    }

    async fn write_to(
        &self,
        kind: &Kind,
        key: &Key,
        subresource: Option<&str>,
        write: Write,
        dry_run: bool,
    ) -> Applied {
        let mut query = format!("fieldManager={}", self.manager);
        if dry_run {
            query.push_str("&dryRun=All");
        }
        let path = object_path(kind, key, subresource);
        let patch = |media: &str, query: &str| {
            http::Request::patch(format!("{path}?{query}")).header("content-type", media)
        };
        let (verb, request, body) = match write {
            Write::Create(object) => {
                let path = kind.collection_path(Some(&key.namespace));
                let request = http::Request::post(format!("{path}?{query}"))
                    .header("content-type", "application/json");
                ("create", request, object.0)
            }
            Write::Replace(object) => {
                let request = http::Request::put(format!("{path}?{query}"))
                    .header("content-type", "application/json");
                ("update", request, object.0)
            }
            Write::Merge(body) => ("patch", patch("application/merge-patch+json", &query), body),
            Write::Json(body) => ("patch", patch("application/json-patch+json", &query), body),
            Write::Apply { fields, force } => {
                query.push_str(if force { "&force=true" } else { "&force=false" });
                (
                    "apply",
                    patch("application/apply-patch+yaml", &query),
                    fields.0,
                )
            }
        };
        let reply = self
            .call(verb, &reference(kind, key), request, Some(body))
            .await?;
        let object = Object(reply);
        if !dry_run {
            self.caches.observe(kind, &object);
        }
        Ok(object)
    }

    /// Deletes the object if it still is the one of this uid. Says whether it was there.
    pub async fn delete(
        &self,
        kind: &Kind,
        key: &Key,
        uid: Option<&str>,
        propagation: Propagation,
    ) -> Result<bool, ApiFailure> {
        let policy = match propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        };
        let mut body =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
        if let Some(uid) = uid {
            body["preconditions"] = json!({"uid": uid});
        }
        self.send_delete(kind, key, body).await
    }

    /// Deletes the object at once, without grace, if it still is the one of this uid. For those
    /// who have already ended what the grace period is for.
    pub async fn delete_now(&self, kind: &Kind, key: &Key, uid: &str) -> Result<bool, ApiFailure> {
        let body = json!({"apiVersion": "v1", "kind": "DeleteOptions",
            "gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
        self.send_delete(kind, key, body).await
    }

    async fn send_delete(&self, kind: &Kind, key: &Key, body: Value) -> Result<bool, ApiFailure> {
        let request = http::Request::delete(object_path(kind, key, None))
            .header("content-type", "application/json");
        match self
            .call("delete", &reference(kind, key), request, Some(body))
            .await
        {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_not_found() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Adds a finalizer, with the object's resourceVersion as precondition.
    pub async fn add_finalizer(&self, kind: &Kind, object: &Object, name: &str) -> Applied {
        let names: Vec<&str> = object.finalizers().chain([name]).collect();
        self.set_finalizers(kind, object, &names).await
    }

    /// Removes a finalizer, with the object's resourceVersion as precondition.
    pub async fn remove_finalizer(&self, kind: &Kind, object: &Object, name: &str) -> Applied {
        let names: Vec<&str> = object.finalizers().filter(|n| *n != name).collect();
        self.set_finalizers(kind, object, &names).await
    }

    async fn set_finalizers(&self, kind: &Kind, object: &Object, names: &[&str]) -> Applied {
        let patch = json!({"metadata":
            {"finalizers": names, "resourceVersion": object.resource_version()}});
        self.write(kind, &object.key(), Write::Merge(patch)).await
    }

    async fn call(
        &self,
        verb: &'static str,
        target: &ObjectRef,
        request: http::request::Builder,
        body: Option<Value>,
    ) -> Result<Value, ApiFailure> {
        let told = |refusal| ApiFailure::of(verb, target, refusal);
        let body = body.map_or_else(Vec::new, |b| b.to_string().into_bytes());
        let request = match &self.user {
            Some(user) => request.header("impersonate-user", &**user),
            None => request,
        };
        let request = request
            .body(body)
            .map_err(|e| told(Refusal::Invalid(e.to_string())))?;
        let method = request.method().to_string();
        let answer = tokio::time::timeout(TIMEOUT, self.client.request::<Value>(request)).await;
        let code = match &answer {
            Ok(Ok(_)) => 200,
            Ok(Err(kube::Error::Api(status))) => status.code,
            Ok(Err(_)) | Err(_) => 0,
        };
        let asked = Asked { method, code };
        self.caches.requests().get_or_create(&asked).inc();
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(e)) => Err(told(e.into())),
            Err(_) => Err(told(Refusal::Timeout(TIMEOUT))),
        }
    }
}

fn object_path(kind: &Kind, key: &Key, subresource: Option<&str>) -> String {
    let collection = kind.collection_path(Some(&key.namespace));
    match subresource {
        Some(sub) => format!("{collection}/{}/{sub}", key.name),
        None => format!("{collection}/{}", key.name),
    }
}

fn reference(kind: &Kind, key: &Key) -> ObjectRef {
    ObjectRef {
        api_version: kind.api_version(),
        kind: kind.kind.to_string(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}
/// The query of one page of a list.
fn page_query(labels: &str, token: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", "500");
    for (name, value) in [("labelSelector", labels), ("continue", token)] {
        if !value.is_empty() {
            query.append_pair(name, value);
        }
    }
    query.finish()
}
