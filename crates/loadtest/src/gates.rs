//! Owns the gates: open or closed, each for one Canary, and closed until somebody opens it. They are
//! kept in a ConfigMap, so that a restart or a second replica agrees; without a cluster they are kept
//! in memory, which is said.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use weir_object::{Key, Object};
use weir_runtime::kinds::CONFIG_MAP;
use weir_runtime::{ApiClient, ApiFailure, Write};

/// The ConfigMap.
const NAME: &str = "weir-loadtest-gates";

/// How often a write that somebody else came before is tried again.
const TRIES: usize = 8;

/// Which gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Whether it is the one that rolls back.
    pub rollback: bool,
    /// The Canary's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The type of hook, for a gate that is for one type alone.
    pub kind: Option<String>,
}

impl Gate {
    /// The gate for all types, as it is known.
    fn general(&self) -> String {
        let prefix = if self.rollback { "rollback." } else { "" };
        format!("{prefix}{}.{}", self.name, self.namespace)
    }

    /// The gate for one type. No name has an underscore, so it is nobody else's.
    fn of_kind(&self) -> Option<String> {
        let kind = self.kind.as_deref().filter(|k| !k.is_empty())?;
        Some(format!("{kind}_{}", self.general()))
    }
}

/// Why the gates can't be read or set. A retry may help.
#[derive(Debug, thiserror::Error)]
pub enum GateFailure {
    /// The cluster refused.
    #[error("the gates in ConfigMap {0} can't be reached: {1}")]
    Api(Key, Box<ApiFailure>),
    /// Others wrote each time.
    #[error("the gates in ConfigMap {0} were changed by others each time; try again")]
    Busy(Key),
    /// The name makes no key.
    #[error("`{0}` is no name of a Canary")]
    Name(String),
}

#[derive(Clone)]
enum Kept {
    Memory(Arc<Mutex<BTreeMap<String, bool>>>),
    Cluster(ApiClient, Key),
}

/// All gates. Cheap to clone.
#[derive(Clone)]
pub struct Gates(Kept);

impl Gates {
    /// Gates that are forgotten at the end of the process.
    pub fn in_memory() -> Self {
        Self(Kept::Memory(Arc::default()))
    }

    /// Gates in a namespace of a cluster.
    pub fn in_cluster(api: ApiClient, namespace: &str) -> Self {
        Self(Kept::Cluster(api, Key::new(namespace, NAME)))
    }

    /// Whether a gate is open: for all types, or for the one that is asked for.
    pub async fn is_open(&self, gate: &Gate) -> Result<bool, GateFailure> {
        let open = |all: &BTreeMap<String, bool>| {
            let is = |key: &String| all.get(key).copied().unwrap_or_default();
            is(&gate.general()) || gate.of_kind().as_ref().is_some_and(is)
        };
        match &self.0 {
            Kept::Memory(all) => Ok(open(&all.lock().unwrap_or_else(PoisonError::into_inner))),
            Kept::Cluster(api, key) => {
                let found = api.get(&CONFIG_MAP, key).await;
                let found = found.map_err(|e| GateFailure::Api(key.clone(), Box::new(e)))?;
                Ok(open(&found.as_ref().map(read).unwrap_or_default()))
            }
        }
    }

    /// Opens or closes a gate. Closing it for all types closes it for each.
    pub async fn set(&self, gate: &Gate, open: bool) -> Result<(), GateFailure> {
        check(&gate.name)?;
        check(&gate.namespace)?;
        let change = |all: &mut BTreeMap<String, bool>| {
            let key = gate.of_kind().unwrap_or_else(|| gate.general());
            if gate.of_kind().is_none() && !open {
                let suffix = format!("_{}", gate.general());
                all.retain(|k, _| !k.ends_with(&suffix));
            }
            all.insert(key, open);
        };
        match &self.0 {
            Kept::Memory(all) => {
                change(&mut all.lock().unwrap_or_else(PoisonError::into_inner));
                Ok(())
            }
            Kept::Cluster(api, key) => {
                for _ in 0..TRIES {
                    let found = api.get(&CONFIG_MAP, key).await;
                    let found = found.map_err(|e| GateFailure::Api(key.clone(), Box::new(e)))?;
                    let mut all = found.as_ref().map(read).unwrap_or_default();
                    change(&mut all);
                    match api.write(&CONFIG_MAP, key, written(key, found, &all)).await {
                        Ok(_) => return Ok(()),
                        Err(e) if e.is_conflict() || e.is_already_exists() => {}
                        Err(e) => return Err(GateFailure::Api(key.clone(), Box::new(e))),
                    }
                }
                Err(GateFailure::Busy(key.clone()))
            }
        }
    }
}

fn check(name: &str) -> Result<(), GateFailure> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if !name.is_empty() && name.len() <= 253 && name.chars().all(good) {
        Ok(())
    } else {
        Err(GateFailure::Name(name.chars().take(64).collect()))
    }
}

fn read(object: &Object) -> BTreeMap<String, bool> {
    let data = object.get(&["data"]).and_then(Value::as_object);
    data.into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str() == Some("open")))
        .collect()
}

fn written(key: &Key, found: Option<Object>, all: &BTreeMap<String, bool>) -> Write {
    let text = |open: &bool| if *open { "open" } else { "closed" };
    let data: BTreeMap<&String, &str> = all.iter().map(|(k, open)| (k, text(open))).collect();
    match found {
        Some(mut object) => {
            object.set(&["data"], json!(data));
            Write::Replace(object)
        }
        None => Write::Create(Object(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "data": data,
        }))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;
    use weir_apiserver::{ApiServer, Options};
    use weir_runtime::Caches;

    use super::*;

    fn gate(kind: Option<&str>) -> Gate {
        Gate {
            rollback: false,
            name: "app".into(),
            namespace: "demo".into(),
            kind: kind.map(str::to_owned),
        }
    }

    fn api() -> ApiClient {
        let server = ApiServer::new(Options {
            now: Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
            seed: 1,
        });
        let client = kube::Client::new(server.service(), "default");
        let caches = Caches::new(client.clone(), CancellationToken::new());
        ApiClient::new(client, caches, "weir")
    }

    async fn plays(gates: &Gates, other: &Gates) {
        let open = async |g: &Gates, kind| g.is_open(&gate(kind)).await.expect("read");
        assert!(!open(gates, None).await, "closed until opened");
        gates.set(&gate(None), true).await.expect("set");
        assert!(open(other, Some("confirm-rollout")).await, "for every type");
        gates.set(&gate(None), false).await.expect("set");
        gates
            .set(&gate(Some("confirm-rollout")), true)
            .await
            .expect("set");
        assert!(open(other, Some("confirm-rollout")).await);
        assert!(
            !open(other, Some("confirm-promotion")).await,
            "for one alone"
        );
        assert!(!open(other, None).await);
        gates.set(&gate(None), false).await.expect("set");
        assert!(
            !open(other, Some("confirm-rollout")).await,
            "closed for all"
        );
        let back = Gate {
            rollback: true,
            ..gate(None)
        };
        gates.set(&back, true).await.expect("set");
        assert!(!open(other, None).await, "another gate");
        assert!(other.is_open(&back).await.expect("read"));
    }

    #[tokio::test]
    async fn gates_in_memory() {
        let gates = Gates::in_memory();
        plays(&gates, &gates.clone()).await;
    }

    #[tokio::test]
    async fn r30_two_replicas_agree_and_a_restart_remembers() {
        let api = api();
        let one = Gates::in_cluster(api.clone(), "default");
        let other = Gates::in_cluster(api, "default");
        plays(&one, &other).await;
    }

    #[tokio::test]
    async fn a_name_that_makes_no_key_is_refused() {
        let mut bad = gate(None);
        bad.name = "a/b".into();
        let refused = Gates::in_memory().set(&bad, true).await;
        assert_eq!(
            refused.expect_err("refused").to_string(),
            "`a/b` is no name of a Canary"
        );
    }
}
