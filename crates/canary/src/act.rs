//! Owns how an effect becomes a write. Each is idempotent and carries a precondition, so that one
//! that comes late is a conflict or changes nothing: Deployments are read from the server right
//! before, and written only at the generation that was observed.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_api::names::CANARY_FINALIZER;
use weir_object::{Key, Kind, Object};
use weir_rollout::{Backend, Effect, Revision, Source};
use weir_runtime::kinds::{CONTROLLER_REVISION, HTTP_ROUTE, SERVICE};
use weir_runtime::{ApiClient, ApiFailure, Propagation, Refusal, Write};

use crate::deployment::{Label, is_owned, primary, primary_template};
use crate::failure::Failure;
use crate::observe::Facts;
use crate::route::Lead;
use crate::service::{Role, unchanged};
use crate::template::Stored;
use crate::workload::{self, Workload};
use crate::{Options, scaler, template};

/// What the test of a JSON patch is about; see [`unchanged`].
const VERSION: &str = "/metadata/resourceVersion";

/// Performs effects.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) api: ApiClient,
    pub(crate) options: Options,
}

impl Actor {
    /// Performs one effect on what was observed.
    pub(crate) async fn perform(&self, facts: &Facts, effect: &Effect) -> Result<(), Failure> {
        let canary = &facts.canary;
        match effect {
            Effect::AddFinalizer => {
                let kind = &weir_api::canary::KIND;
                self.api
                    .add_finalizer(kind, canary, CANARY_FINALIZER)
                    .await?;
            }
            Effect::RemoveFinalizer => {
                let kind = &weir_api::canary::KIND;
                self.api
                    .remove_finalizer(kind, canary, CANARY_FINALIZER)
                    .await?;
            }
            Effect::ClaimReplicas => self.scale(facts, None).await?,
            Effect::ScaleTarget { replicas } => self.scale(facts, Some(*replicas)).await?,
            Effect::StoreTemplate {
                revision, source, ..
            } => {
                self.store(facts, revision, *source).await?;
            }
            Effect::PruneTemplates => self.prune(facts).await?,
            Effect::ApplyServices if facts.workload == Workload::Service => {
                self.lead_canary(facts).await?;
            }
            Effect::ApplyServices => {
                for (role, live) in [
                    (Role::Canary, &facts.apex_canary),
                    (Role::Primary, &facts.apex_primary),
                ] {
                    self.service(facts, role, live.as_deref()).await?;
                }
            }
            Effect::PointApex {
                to: Backend::Primary,
            } => {
                self.service(facts, Role::Apex, facts.apex.as_deref())
                    .await?;
            }
            Effect::PointApex {
                to: Backend::Target,
            } => self.release_apex(facts).await?,
            Effect::CreatePrimary { revision, replicas } => {
                self.create_primary(facts, revision, *replicas).await?;
            }
            Effect::ReplacePrimaryTemplate { revision } => {
                self.replace_template(facts, revision).await?;
            }
            Effect::ApplyScaler => self.scaler(facts, None).await?,
            Effect::PauseScaler { paused } => self.scaler(facts, Some(*paused)).await?,
            Effect::Route { to } => {
                if to.canary > 0 {
                    self.can_serve(facts).await?;
                }
                self.route(facts, Lead::Split(to.clone())).await?;
            }
            Effect::ReleaseRoute => self.route(facts, Lead::Apex).await?,
        }
        Ok(())
    }

    /// One write. A JSON patch whose test failed is told as invalid by the server; it only means that
    /// somebody wrote in between.
    pub(crate) async fn put(&self, kind: &Kind, key: &Key, write: Write) -> Result<(), Failure> {
        match self.api.write(kind, key, write).await {
            Ok(_) => Ok(()),
            Err(ApiFailure {
                refusal: Refusal::Invalid(why),
                ..
            }) if why.contains(VERSION) => Err(Failure::Moved(format!("{} {key}", kind.kind))),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The object as it is on the server, if nobody changed what was observed of it.
    async fn fresh(&self, kind: &Kind, seen: &Object) -> Result<Object, Failure> {
        let live = self.api.get(kind, &seen.key()).await?;
        // Kinds whose every change counts have no generations.
        let same = |live: &Object| match seen.generation() {
            0 => live.resource_version() == seen.resource_version(),
            generation => live.generation() == generation,
        };
        live.filter(|live| live.uid() == seen.uid() && same(live))
            .ok_or_else(|| Failure::Moved(seen.reference().to_string()))
    }

    /// Right before traffic is led to the target it is asked for once more: it must still be at the
    /// generation that was decided about, with a pod that serves. No write can be made to depend on
    /// another object, so this narrows the gap to one round trip and does not close it.
    async fn can_serve(&self, facts: &Facts) -> Result<(), Failure> {
        let seen = observed(facts.target.as_ref(), "the target")?;
        let live = self.fresh(facts.workload.kind(), seen).await?;
        if facts.workload.available(&live) == 0 && facts.primary_serves() {
            return Err(Failure::Moved(seen.reference().to_string()));
        }
        Ok(())
    }

    /// Applies what the target's pods are counted by, and nothing else of it: Git's applier keeps the
    /// rest, and both own replicas, so that either may let go of them.
    async fn scale(&self, facts: &Facts, replicas: Option<u32>) -> Result<(), Failure> {
        let seen = observed(facts.target.as_ref(), "the target")?;
        let kind = facts.workload.kind();
        let live = self.fresh(kind, seen).await?;
        let write = facts.workload.scaled(&live, replicas);
        self.put(kind, &live.key(), write).await?;
        Ok(())
    }

    /// Whether the target's replicas are co-owned. Only the server tells; the caches leave managers
    /// out.
    pub(crate) async fn claimed(&self, facts: &Facts) -> Result<bool, Failure> {
        let Some(seen) = &facts.target else {
            return Ok(false);
        };
        let live = self.api.get(facts.workload.kind(), &seen.key()).await?;
        let claimed = |live: &Object| facts.workload.is_claimed(live, self.api.manager());
        Ok(live.as_ref().is_some_and(claimed))
    }

    async fn store(&self, facts: &Facts, revision: &str, source: Source) -> Result<(), Failure> {
        let (live, configs) = match source {
            Source::Target => (facts.live_template.clone(), facts.configs.target.clone()),
            Source::Primary => (facts.baseline(), facts.baseline_configs()),
        };
        // What is stored is the recorded revision or nothing.
        let live = live
            .filter(|template| Revision::with(template, &configs).id == revision)
            .ok_or_else(|| Failure::Moved("the pod template".to_owned()))?;
        // What it refers to first: a stored template is whole, or it is not there.
        self.keep_configs(facts, revision, &configs, |config| match source {
            Source::Target => config.clone(),
            Source::Primary => config.of_primary(),
        })
        .await?;
        let record = template::record(&facts.canary, revision, &live, &configs);
        let key = record.key();
        // One of this name with other content is not what its name says.
        if let Some(wrong) = self.api.get(&CONTROLLER_REVISION, &key).await? {
            if is_owned(&wrong, &facts.canary)
                && template::find(&[Arc::new(wrong.clone())], revision).is_some()
            {
                return Ok(());
            }
            let uid = Some(wrong.uid());
            self.api
                .delete(&CONTROLLER_REVISION, &key, uid, Propagation::Background)
                .await?;
        }
        self.put(&CONTROLLER_REVISION, &key, Write::Create(record))
            .await?;
        Ok(())
    }

    async fn prune(&self, facts: &Facts) -> Result<(), Failure> {
        for record in &facts.records {
            let id = record.text(&["data", "revision"]);
            if !template::is_needed(facts.state.as_ref(), id) {
                self.drop_configs(facts, record).await?;
                let uid = Some(record.uid());
                let key = record.key();
                self.api
                    .delete(&CONTROLLER_REVISION, &key, uid, Propagation::Background)
                    .await?;
            }
        }
        Ok(())
    }

    /// A Service as it should be: applied whole where it is generated, its selector alone where a
    /// user owns it.
    async fn service(
        &self,
        facts: &Facts,
        role: Role,
        live: Option<&Object>,
    ) -> Result<(), Failure> {
        let label = label(facts)?;
        let maker = facts.services(label);
        let to = if role == Role::Canary {
            Backend::Target
        } else {
            Backend::Primary
        };
        let write = match live {
            Some(live) if !is_owned(live, &facts.canary) => Write::Json(maker.borrow(live, to)),
            _ => applied(maker.generated(role), live),
        };
        self.put(&SERVICE, &facts.names.key(maker.name(role)), write)
            .await?;
        Ok(())
    }

    /// The canary's Service leads where the target, which is a Service too, does now.
    async fn lead_canary(&self, facts: &Facts) -> Result<(), Failure> {
        let gone = || Failure::Moved("the target".to_owned());
        let wanted = facts.live_template.as_ref().ok_or_else(gone)?;
        let name = &facts.names.apex_canary;
        let write = match facts.apex_canary.as_deref() {
            Some(live) => Write::Json(workload::lead(live, wanted)),
            None => Write::Create(workload::service(&facts.canary, name, wanted)),
        };
        self.put(&SERVICE, &facts.names.key(name), write).await
    }

    async fn release_apex(&self, facts: &Facts) -> Result<(), Failure> {
        let maker = facts.services(label(facts)?);
        let key = facts.names.key(&facts.names.apex);
        let write = match facts.apex.as_deref() {
            Some(live) => Write::Json(maker.release(live)),
            None => {
                let mut service = maker.generated(Role::Apex);
                service.remove(&["metadata", "ownerReferences"]);
                service.set(&["spec", "selector"], maker.selector(Backend::Target));
                Write::Create(service)
            }
        };
        self.put(&SERVICE, &key, write).await?;
        Ok(())
    }

    async fn create_primary(
        &self,
        facts: &Facts,
        revision: &str,
        replicas: u32,
    ) -> Result<(), Failure> {
        let target = observed(facts.target.as_ref(), "the target")?;
        let stored = stored(facts, revision)?;
        if facts.workload == Workload::Service {
            let made = workload::service(&facts.canary, &facts.names.primary, stored.template);
            return self.put(&SERVICE, &made.key(), Write::Create(made)).await;
        }
        self.bring_configs(facts, stored).await?;
        let made = primary(
            &facts.canary,
            target,
            stored,
            label(facts)?,
            &facts.names,
            replicas,
            &self.options.include_label_prefix,
        );
        let kind = facts.workload.kind();
        self.put(kind, &made.key(), Write::Create(made)).await?;
        Ok(())
    }

    /// Replaces the primary's pod template as a whole. An apply would leave behind what others set,
    /// and what runs would not be what was analysed.
    async fn replace_template(&self, facts: &Facts, revision: &str) -> Result<(), Failure> {
        let seen = observed(facts.primary.as_ref(), "the primary")?;
        let stored = stored(facts, revision)?;
        if facts.workload == Workload::Service {
            let live = self.fresh(&SERVICE, seen).await?;
            let write = Write::Json(workload::lead(&live, stored.template));
            return self.put(&SERVICE, &live.key(), write).await;
        }
        // Its configuration first: pods that start meanwhile start with what is to come, and those
        // that run have read theirs.
        self.bring_configs(facts, stored).await?;
        let template = primary_template(stored, label(facts)?);
        let kind = facts.workload.kind();
        let live = self.fresh(kind, seen).await?;
        let mut ops = vec![
            unchanged(&live),
            json!({"op": "replace", "path": "/spec/template", "value": template}),
        ];
        if let Some(target) = &facts.target {
            for field in facts.workload.followed() {
                let wanted = target.get(&["spec", field]);
                if let Some(wanted) = wanted.filter(|w| live.get(&["spec", field]) != Some(*w)) {
                    let at = format!("/spec/{field}");
                    ops.push(json!({"op": "add", "path": at, "value": wanted}));
                }
            }
        }
        let write = Write::Json(Value::Array(ops));
        self.put(kind, &live.key(), write).await?;
        Ok(())
    }

    /// Makes the primary's autoscaler, or stops the target's and lets it go on.
    async fn scaler(&self, facts: &Facts, paused: Option<bool>) -> Result<(), Failure> {
        let gone = || Failure::Moved("the autoscaler".to_owned());
        let maker = facts.scalers().ok_or_else(gone)?;
        let source = facts.scaler.as_deref().ok_or_else(gone)?;
        let (name, write) = match paused {
            None => {
                let write = applied(maker.made(source), facts.primary_scaler.as_deref());
                (maker.name(), write)
            }
            Some(paused) => {
                let write = Write::Json(scaler::Maker::pause(source, paused));
                (source.name().to_owned(), write)
            }
        };
        self.put(maker.kind(), &facts.names.key(&name), write).await
    }

    async fn route(&self, facts: &Facts, lead: Lead) -> Result<(), Failure> {
        let maker = facts.routes();
        let key = facts.names.key(&facts.names.apex);
        let live = facts.route.as_deref();
        let write = match live {
            // Rules are one list to the API: a second manager's apply would take them all.
            Some(live) if !is_owned(live, &facts.canary) || lead == Lead::Apex => {
                Write::Json(maker.borrow(live, &lead))
            }
            _ => applied(maker.generated(&lead), live),
        };
        self.put(&HTTP_ROUTE, &key, write).await?;
        Ok(())
    }
}

/// An apply of a generated object, at the version that was observed.
fn applied(mut fields: Object, live: Option<&Object>) -> Write {
    if let Some(live) = live {
        fields.set(
            &["metadata", "resourceVersion"],
            live.resource_version().into(),
        );
    }
    Write::Apply {
        fields,
        force: true,
    }
}

fn observed<'a>(object: Option<&'a Arc<Object>>, what: &str) -> Result<&'a Arc<Object>, Failure> {
    object.ok_or_else(|| Failure::Moved(what.to_owned()))
}

fn label(facts: &Facts) -> Result<&Label, Failure> {
    facts
        .label
        .as_ref()
        .ok_or_else(|| Failure::Moved("the target's selector".to_owned()))
}

fn stored<'a>(facts: &'a Facts, revision: &str) -> Result<Stored<'a>, Failure> {
    template::find(&facts.records, revision)
        .ok_or_else(|| Failure::Moved("the stored template".to_owned()))
}
