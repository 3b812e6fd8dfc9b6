//! Owns applying: a dry run tells whether an object would change, and only then is it sent. The
//! labels of the owner are put on every object; borrowed fields are left out.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use weir_api::names::{OWNER_NAME, OWNER_NAMESPACE};
use weir_health::Health;
use weir_object::{Key, Kind, Object, ObjectRef, path};
use weir_runtime::{ApiClient, ApiFailure, Caches, Propagation, Refusal, SharedClock, Write};

use crate::discovery::Discovery;
use crate::failure::ClusterError;
use crate::inventory::{Entry, Inventory};
use crate::policy;
use crate::stages::{self, Stage};

/// How long a stage that others stand on may take.
const STAGE: Duration = Duration::from_mins(1);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(200);

/// On whose behalf objects are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Namespace of the owner.
    pub namespace: String,
    /// Name of the owner.
    pub name: String,
}

/// What others borrow of an object that is applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loan {
    /// Paths of fields that are left out, whatever the manifest says.
    pub left_out: Vec<Vec<String>>,
    /// Fields that are sent as they are live, where the manifest has what they are part of: that has
    /// one owner as a whole, who would take them away.
    pub sent_along: Vec<(Vec<String>, Value)>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was not there before.
    Created,
    /// It was changed.
    Configured,
    /// It was as it should be.
    Unchanged,
    /// It asks to be left alone.
    Skipped,
}

impl Action {
    /// The word in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
        }
    }
}

/// What happened to one object, and the version it then has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The object.
    pub object: ObjectRef,
    /// What happened to it.
    pub action: Action,
    /// Its resourceVersion afterwards.
    pub version: String,
}

/// What happened to all of them, in the order of applying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied(pub Vec<Done>);

impl Applied {
    /// The inventory of what was applied.
    pub fn inventory(&self) -> Inventory {
        Inventory(
            self.0
                .iter()
                .map(|d| Entry {
                    object: d.object.clone(),
                })
                .collect(),
        )
    }

    /// `Kind/namespace/name created`, a line for each object that changed.
    pub fn changes(&self) -> Vec<String> {
        let changed = |d: &&Done| matches!(d.action, Action::Created | Action::Configured);
        self.0
            .iter()
            .filter(changed)
            .map(|d| format!("{} {}", d.object, d.action.as_str()))
            .collect()
    }
}

/// Applies, prunes and waits. Cheap to clone.
#[derive(Clone)]
pub struct Applier {
    pub(crate) api: ApiClient,
    pub(crate) discovery: Discovery,
    pub(crate) caches: Caches,
    pub(crate) clock: SharedClock,
}

/// An object ready to be sent.
struct Ready {
    kind: Kind,
    object: Object,
    live: Option<Object>,
    action: Action,
}

impl Applier {
    /// An applier that writes as the client's field manager.
    pub fn new(api: ApiClient, caches: Caches, clock: SharedClock) -> Self {
        let discovery = Discovery::new(api.kube().clone());
        Self {
            api,
            discovery,
            caches,
            clock,
        }
    }

    /// The same with the rights of a ServiceAccount and no others.
    #[must_use]
    pub fn acting_as(&self, account: &Key) -> Self {
        Self {
            api: self.api.acting_as(account),
            ..self.clone()
        }
    }

    /// The objects with a namespace only where their kind has one, as the server will name them. A
    /// build can't know the scope of every kind; the record of what is applied must.
    ///
    /// Kinds that are not served yet are judged by the definitions among the objects, or left.
    ///
    /// # Errors
    /// [`ClusterError::Discovery`].
    pub async fn settle(&self, mut objects: Vec<Object>) -> Result<Vec<Object>, ClusterError> {
        let without_namespace: HashSet<(String, String)> = objects
            .iter()
            .filter(|o| o.kind() == "CustomResourceDefinition")
            .filter(|o| o.text(&["spec", "scope"]) == "Cluster")
            .map(|o| {
                let text = |path: &[&str]| o.text(path).to_owned();
                (text(&["spec", "group"]), text(&["spec", "names", "kind"]))
            })
            .collect();
        for object in objects.iter_mut().filter(|o| !o.namespace().is_empty()) {
            let served = self
                .discovery
                .find(object.api_version(), object.kind())
                .await?;
            let reference = object.reference();
            let id = (reference.group().to_owned(), reference.kind);
            if served.map_or(without_namespace.contains(&id), |kind| !kind.namespaced) {
                object.remove(&["metadata", "namespace"]);
            }
        }
        Ok(objects)
    }

    /// The inventory of settled objects, so that it can be recorded before anything is sent.
    pub fn planned(objects: &[Object]) -> Inventory {
        Inventory(
            objects
                .iter()
                .map(|o| Entry {
                    object: o.reference(),
                })
                .collect(),
        )
    }

    /// Applies the objects, stage by stage. `borrowed` says of a manifest, and of the live object
    /// where there is one, what others borrow of it.
    ///
    /// # Guarantees
    /// Within a stage nothing is sent until the server has accepted every object of it in a dry
    /// run. An object that would not change is not sent.
    ///
    /// # Errors
    /// Any [`ClusterError`]; several objects' failures are told together.
    pub async fn apply(
        &self,
        objects: Vec<Object>,
        owner: &Owner,
        force: bool,
        borrowed: impl Fn(&Object, Option<&Object>) -> Loan,
    ) -> Result<Applied, ClusterError> {
        let mut applied = Applied::default();
        for Stage { objects, awaited } in stages::divide(objects) {
            let mut ready = Vec::new();
            let mut failures = Vec::new();
            for object in objects {
                match self.prepare(object, owner, force, &borrowed).await {
                    Ok(prepared) => ready.push(prepared),
                    Err(failure) => failures.push(failure),
                }
            }
            if let Some(failure) = ClusterError::of(failures) {
                return Err(failure);
            }
            let mut wait_for = Vec::new();
            for prepared in ready {
                let done = self.send(&prepared).await?;
                if awaited && done.action != Action::Skipped {
                    wait_for.push((prepared.kind, done.object.clone()));
                }
                applied.0.push(done);
            }
            self.await_stage(wait_for).await?;
        }
        Ok(applied)
    }

    async fn prepare(
        &self,
        mut object: Object,
        owner: &Owner,
        force: bool,
        borrowed: &impl Fn(&Object, Option<&Object>) -> Loan,
    ) -> Result<Ready, ClusterError> {
        let kind = self.discovery.kind_of(&object).await?;
        let reference = object.reference();
        if kind.namespaced && object.namespace().is_empty() {
            return Err(ClusterError::NoNamespace(reference));
        }
        object.set(&["metadata", "labels", OWNER_NAME], json!(owner.name));
        object.set(
            &["metadata", "labels", OWNER_NAMESPACE],
            json!(owner.namespace),
        );
        object.remove(&["status"]);
        for field in ["managedFields", "creationTimestamp"] {
            object.remove(&["metadata", field]);
        }
        let refused = |failure| ClusterError::Refused {
            object: reference.clone(),
            step: "dry-run",
            failure,
        };
        let key = object.key();
        let live = self.api.get(&kind, &key).await.map_err(refused)?;
        borrow(&mut object, live.as_ref(), borrowed);
        if policy::leaves_alone(&object, live.as_ref()) {
            return Ok(Ready {
                kind,
                object,
                live,
                action: Action::Skipped,
            });
        }
        let apply = || Write::Apply {
            fields: object.clone(),
            force: true,
        };
        let action = match self.api.dry_run(&kind, &key, apply()).await {
            Ok(result) => match &live {
                None => Action::Created,
                Some(live) if same(live, &result, self.api.manager()) => Action::Unchanged,
                Some(_) => Action::Configured,
            },
            Err(failure) if failure.is_not_found() => {
                // The kind may be served no more, or served elsewhere.
                self.discovery.forget(&kind);
                return Err(refused(failure));
            }
            Err(failure) => match &live {
                Some(live)
                    if is_immutable(&failure)
                        && (force || policy::may_be_recreated(&object, live)) =>
                {
                    self.remove(&kind, live).await.map_err(refused)?;
                    return Ok(Ready {
                        kind,
                        object,
                        live: None,
                        action: Action::Created,
                    });
                }
                _ => return Err(refused(failure)),
            },
        };
        Ok(Ready {
            kind,
            object,
            live,
            action,
        })
    }

    async fn send(&self, ready: &Ready) -> Result<Done, ClusterError> {
        let reference = ready.object.reference();
        let version = match ready.action {
            Action::Skipped | Action::Unchanged => ready
                .live
                .as_ref()
                .map_or(String::new(), |o| o.resource_version().to_owned()),
            Action::Created | Action::Configured => {
                let write = Write::Apply {
                    fields: ready.object.clone(),
                    force: true,
                };
                let key = ready.object.key();
                let sent = self.api.write(&ready.kind, &key, write).await;
                let sent = sent.map_err(|failure| ClusterError::Refused {
                    object: reference.clone(),
                    step: "apply",
                    failure,
                })?;
                sent.resource_version().to_owned()
            }
        };
        Ok(Done {
            object: reference,
            action: ready.action,
            version,
        })
    }

    /// Deletes an object and waits until it is gone, so that it can be made anew.
    async fn remove(&self, kind: &Kind, live: &Object) -> Result<(), ApiFailure> {
        let key = live.key();
        self.api
            .delete(kind, &key, Some(live.uid()), Propagation::Background)
            .await?;
        let rounds = STAGE.as_millis() / LOOK.as_millis();
        for _ in 0..rounds {
            match self.api.get(kind, &key).await? {
                Some(still) if still.uid() == live.uid() => tokio::time::sleep(LOOK).await,
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    async fn await_stage(&self, mut pending: Vec<(Kind, ObjectRef)>) -> Result<(), ClusterError> {
        let rounds = STAGE.as_millis() / LOOK.as_millis();
        for _ in 0..rounds {
            let mut still = Vec::new();
            for (kind, object) in pending {
                let live = self.api.get(&kind, &object.key()).await;
                let there = live.ok().flatten().is_some_and(|live| {
                    matches!(
                        weir_health::health(&live, self.clock.now()),
                        Health::Current
                    )
                });
                if !there {
                    still.push((kind, object));
                }
            }
            if still.is_empty() {
                return Ok(());
            }
            pending = still;
            tokio::time::sleep(LOOK).await;
        }
        let what: Vec<String> = pending.iter().map(|(_, o)| o.to_string()).collect();
        Err(ClusterError::Stage {
            what: what.join(", "),
            seconds: STAGE.as_secs(),
        })
    }
}

/// Leaves out and sends along what is borrowed. What is sent along is bound to the version it was
/// read at: it may be gone in the next one.
fn borrow(
    object: &mut Object,
    live: Option<&Object>,
    borrowed: &impl Fn(&Object, Option<&Object>) -> Loan,
) {
    fn steps(field: &[String]) -> Vec<&str> {
        field.iter().map(String::as_str).collect()
    }
    let loan = borrowed(object, live);
    for field in &loan.left_out {
        object.remove(&steps(field));
    }
    for (field, value) in loan.sent_along {
        let field = steps(&field);
        let whole = field.split_last().map(|(_, whole)| whole);
        let (Some(live), Some(whole)) = (live, whole) else {
            continue;
        };
        if object.get(whole).is_some_and(Value::is_object) {
            object.set(&field, value);
            object.set(
                &["metadata", "resourceVersion"],
                live.resource_version().into(),
            );
        }
    }
}

/// Whether a dry run's result is what is there: everything but status and what every write changes,
/// and which fields are ours. A field that the source let go of may keep its value through another
/// owner; it has to be sent all the same, so that it is ours no more.
fn same(live: &Object, result: &Object, manager: &str) -> bool {
    let essence = |object: &Object| {
        let mut value = object.0.clone();
        path::remove(&mut value, &["status"]);
        for field in [
            "managedFields",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "uid",
        ] {
            path::remove(&mut value, &["metadata", field]);
        }
        for field in ["labels", "annotations"] {
            if path::get(&value, &["metadata", field])
                == Some(&Value::Object(serde_json::Map::new()))
            {
                path::remove(&mut value, &["metadata", field]);
            }
        }
        value
    };
    essence(live) == essence(result) && owned(live, manager) == owned(result, manager)
}

/// The fields that the manager has applied.
fn owned<'a>(object: &'a Object, manager: &str) -> Option<&'a Value> {
    let entries = object.get(&["metadata", "managedFields"])?.as_array()?;
    let ours = |e: &&Value| {
        e["manager"] == manager && e["operation"] == "Apply" && e.get("subresource").is_none()
    };
    entries.iter().find(ours)?.get("fieldsV1")
}

fn is_immutable(failure: &ApiFailure) -> bool {
    match &failure.refusal {
        Refusal::Invalid(message) | Refusal::Conflict(message) => message.contains("immutable"),
        _ => false,
    }
}
