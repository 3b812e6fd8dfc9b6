//! Owns waiting until objects are healthy: by watch, or by asking where another account's rights
//! count. It ends when all are, when one has failed for good, when time is up, or when the caller has
//! a better thing to do.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use weir_health::Health;
use weir_object::{Kind, Object, ObjectRef};
use weir_runtime::{Projection, Store, WatchOf};

use crate::apply::{Action, Applied, Applier};
use crate::failure::ClusterError;

/// What is waited for.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// The objects, each with the least resourceVersion that counts.
    objects: Vec<(ObjectRef, u64)>,
}

/// How waiting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// All are healthy.
    Healthy,
    /// One has failed for good, or time is up: what is not healthy, and why.
    Unhealthy {
        /// Whether it was given up before the time was up.
        early: bool,
        /// `Kind/namespace/name status: 'InProgress': why`.
        objects: Vec<String>,
    },
    /// The caller had a better thing to do.
    Cancelled,
}

impl Waiting {
    /// All that was applied and not left alone.
    pub fn of(applied: &Applied) -> Self {
        let counts = applied.0.iter().filter(|d| d.action != Action::Skipped);
        Self {
            objects: counts
                .map(|d| (d.object.clone(), d.version.parse().unwrap_or(0)))
                .collect(),
        }
    }

    /// These objects.
    pub fn for_objects(objects: impl IntoIterator<Item = ObjectRef>) -> Self {
        Self {
            objects: objects.into_iter().map(|o| (o, 0)).collect(),
        }
    }

    /// Without this object.
    #[must_use]
    pub fn except(mut self, object: &ObjectRef) -> Self {
        let same = |o: &ObjectRef| {
            o.kind == object.kind && o.group() == object.group() && o.key() == object.key()
        };
        self.objects.retain(|(o, _)| !same(o));
        self
    }

    /// Whether there is nothing to wait for.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// Between two looks at what is asked for.
const LOOK: Duration = Duration::from_secs(2);

/// Kinds that are healthy as soon as they are there; watching them would only cost memory.
const ALWAYS: [&str; 8] = [
    "Secret",
    "ConfigMap",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "NetworkPolicy",
];

/// How objects are seen.
enum Sight {
    /// Through a watch that all share.
    Watched(Arc<Store>),
    /// By asking for each with the rights of who waits, since a shared watch tells more than those
    /// may allow.
    Asked(Kind),
}

impl Sight {
    fn store(&self) -> Option<&Arc<Store>> {
        match self {
            Self::Watched(store) => Some(store),
            Self::Asked(_) => None,
        }
    }
}

impl Applier {
    async fn look(
        &self,
        object: &ObjectRef,
        sight: &Sight,
    ) -> Result<Option<Arc<Object>>, ClusterError> {
        let (key, kind) = match sight {
            Sight::Watched(store) => return Ok(store.get(&object.key())),
            Sight::Asked(kind) => (object.key(), kind),
        };
        match self.api.get(kind, &key).await {
            Ok(found) => Ok(found.map(Arc::new)),
            // Not seen for the moment, as a watch that is interrupted would show it.
            Err(failure) if failure.is_retryable() => Ok(None),
            Err(failure) => Err(ClusterError::Refused {
                object: object.clone(),
                step: "health check",
                failure,
            }),
        }
    }

    /// Waits until all are healthy.
    ///
    /// # Errors
    /// [`ClusterError::NoKind`], [`ClusterError::Discovery`]; [`ClusterError::Refused`] where the
    /// account that is acted as may not read what is waited for.
    pub async fn wait(
        &self,
        waiting: &Waiting,
        limit: Duration,
        cancelled: impl Future<Output = ()>,
    ) -> Result<Waited, ClusterError> {
        let mut watched: Vec<(ObjectRef, u64, Sight)> = Vec::new();
        for (object, version) in &waiting.objects {
            if *version > 0 && ALWAYS.contains(&object.kind.as_str()) {
                continue; // it was applied, so it is there
            }
            let kind = self
                .discovery
                .find(&object.api_version, &object.kind)
                .await?;
            let kind = kind.ok_or_else(|| ClusterError::NoKind {
                object: object.clone(),
                kind: object.kind.clone(),
                api_version: object.api_version.clone(),
            })?;
            let sight = if self.api.is_acting() {
                Sight::Asked(kind)
            } else {
                // As what works on Canaries watches workloads, so that both share one.
                let of = WatchOf::projected(&kind, Projection::Text);
                Sight::Watched(self.caches.watch(of))
            };
            watched.push((object.clone(), *version, sight));
        }
        let deadline = Instant::now() + limit;
        tokio::pin!(cancelled);
        loop {
            // Taken before looking, so that a change in between is not missed.
            let stores = watched.iter().filter_map(|(_, _, sight)| sight.store());
            let mut changes: Vec<_> = stores.map(|store| store.changes()).collect();
            let (mut open, mut failed) = (Vec::new(), false);
            for (object, version, sight) in &watched {
                let health = match self.look(object, sight).await? {
                    Some(live) if seen(&live) >= *version => {
                        weir_health::health(&live, self.clock.now())
                    }
                    Some(_) => Health::Unknown {
                        message: "not seen yet as applied".to_owned(),
                    },
                    None => Health::NotFound,
                };
                if !health.is_current() {
                    failed |= matches!(health, Health::Failed { .. });
                    let why = match health.message() {
                        "" => String::new(),
                        message => format!(": {message}"),
                    };
                    open.push(format!("{object} status: '{}'{why}", health.as_str()));
                }
            }
            if open.is_empty() {
                return Ok(Waited::Healthy);
            }
            if failed {
                return Ok(Waited::Unhealthy {
                    early: true,
                    objects: open,
                });
            }
            let mut any: FuturesUnordered<_> = changes
                .iter_mut()
                .map(tokio::sync::watch::Receiver::changed)
                .collect();
            tokio::select! {
                () = &mut cancelled => return Ok(Waited::Cancelled),
                () = tokio::time::sleep_until(deadline) => {
                    return Ok(Waited::Unhealthy { early: false, objects: open });
                }
                Some(_) = any.next() => {}
                () = tokio::time::sleep(LOOK), if self.api.is_acting() => {}
            }
        }
    }
}

fn seen(object: &Object) -> u64 {
    object.resource_version().parse().unwrap_or_default()
}
