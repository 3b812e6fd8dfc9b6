//! Owns which kinds a cluster serves, asked group by group and remembered. A kind that is not known
//! is asked for again, since its definition may just have been installed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use weir_object::{Kind, Object, split_api_version};

use crate::ClusterError;

/// How long the server may take to say what it serves.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What a cluster serves. Cheap to clone.
#[derive(Clone)]
pub struct Discovery(Arc<Inner>);

struct Inner {
    client: kube::Client,
    known: Mutex<HashMap<(String, String), Kind>>,
}

impl Discovery {
    /// Knows nothing yet.
    pub fn new(client: kube::Client) -> Self {
        Self(Arc::new(Inner {
            client,
            known: Mutex::default(),
        }))
    }

    /// The kind of an object, as the cluster serves it.
    ///
    /// # Errors
    /// [`ClusterError::NoKind`], [`ClusterError::Discovery`].
    pub async fn kind_of(&self, object: &Object) -> Result<Kind, ClusterError> {
        let (api_version, kind) = (object.api_version(), object.kind());
        match self.find(api_version, kind).await? {
            Some(kind) => Ok(kind),
            None => Err(ClusterError::NoKind {
                object: object.reference(),
                kind: kind.to_owned(),
                api_version: api_version.to_owned(),
            }),
        }
    }

    /// The kind of this name in a group and version; `None` where it is not served.
    ///
    /// # Errors
    /// [`ClusterError::Discovery`].
    pub async fn find(&self, api_version: &str, kind: &str) -> Result<Option<Kind>, ClusterError> {
        let id = (api_version.to_owned(), kind.to_owned());
        let known = |this: &Self| {
            this.0
                .known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&id)
                .cloned()
        };
        if let Some(kind) = known(self) {
            return Ok(Some(kind));
        }
        self.ask(api_version).await?;
        Ok(known(self))
    }

    /// Forgets a kind, so that it is asked for again.
    pub(crate) fn forget(&self, kind: &Kind) {
        let id = (kind.api_version(), kind.kind.to_string());
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&id);
    }

    async fn ask(&self, api_version: &str) -> Result<(), ClusterError> {
        let failed = |what: String| ClusterError::Discovery {
            api_version: api_version.to_owned(),
            what,
        };
        let (group, version) = split_api_version(api_version);
        let valid = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
        };
        if version.is_empty() || !valid(group) || !valid(version) {
            return Ok(()); // nothing is served under such a name
        }
        let path = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{api_version}")
        };
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(|e| failed(e.to_string()))?;
        let asked = tokio::time::timeout(TIMEOUT, self.0.client.request::<Value>(request)).await;
        let list = match asked {
            Ok(Ok(list)) => list,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Ok(()),
            Ok(Err(e)) => return Err(failed(e.to_string())),
            Err(_) => return Err(failed(format!("no answer within {TIMEOUT:?}"))),
        };
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        for resource in list["resources"].as_array().into_iter().flatten() {
            let text = |field: &str| resource[field].as_str().unwrap_or_default();
            if text("name").contains('/') {
                continue; // a subresource
            }
            let kind = Kind {
                group: group.to_owned().into(),
                version: version.to_owned().into(),
                kind: text("kind").to_owned().into(),
                plural: text("name").to_owned().into(),
                namespaced: resource["namespaced"].as_bool().unwrap_or_default(),
            };
            known.insert((api_version.to_owned(), text("kind").to_owned()), kind);
        }
        Ok(())
    }
}
