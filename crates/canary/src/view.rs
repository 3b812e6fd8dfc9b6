//! Owns what can be said of a Canary by one look: the same observation and the same decision that the
//! controller takes, and nothing is written.

use std::sync::Arc;

use jiff::Timestamp;
use weir_object::{Kind, Object};
use weir_rollout::{Evidence, Observation, Plan, decide};
use weir_runtime::kinds::{
    CONFIG_MAP, CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, HTTP_ROUTE, SECRET, SERVICE,
};
use weir_runtime::{ApiClient, ApiFailure, Store};

use crate::contents::Contents;
use crate::failure::Failure;
use crate::observe::{Facts, Stores};
use crate::scaler::{HPA, SCALED_OBJECT};
use crate::{Options, accept};

/// A Canary at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The Canary.
    pub canary: Arc<Object>,
    /// What was seen, and what is decided from it; otherwise why the Canary can't be read.
    pub decided: Result<(Observation, Plan), String>,
}

/// Every Canary of a namespace, or of all, as the controller would see and decide it now.
pub async fn views(
    api: &ApiClient,
    options: &Options,
    namespace: Option<&str>,
    now: Timestamp,
) -> Result<Vec<View>, ApiFailure> {
    let stores = Stores::read(api, namespace).await?;
    let contents = Contents::new(api.clone());
    let mut found = Vec::new();
    for canary in stores.canaries.list() {
        let decided = match Facts::gather(&stores, options, canary.clone()) {
            Ok(mut facts) => {
                if options.config_tracking {
                    match contents.resolve(&stores, &facts).await {
                        Ok(configs) => facts.configs = configs,
                        Err(Failure::Api(failure)) => return Err(failure),
                        Err(moved) => {
                            let decided = Err(moved.to_string());
                            found.push(View { canary, decided });
                            continue;
                        }
                    }
                }
                let evidence = Evidence::default();
                let o = facts.observation(&stores, options, now, true, evidence);
                let plan = decide(&o);
                Ok((o, plan))
            }
            Err(unreadable) => Err(unreadable.to_string()),
        };
        found.push(View { canary, decided });
    }
    Ok(found)
}

impl Stores {
    /// What there is right now, read once. A kind that the cluster does not know has no objects.
    async fn read(api: &ApiClient, namespace: Option<&str>) -> Result<Self, ApiFailure> {
        let of = async |kind: &Kind| match api.list(kind, namespace, "").await {
            Ok(objects) => Ok(Store::holding(kind, objects)),
            Err(failure) if failure.is_not_found() => Ok(Store::holding(kind, Vec::new())),
            Err(failure) => Err(failure),
        };
        // A template may stand in any namespace; whoever may not see it sees the rest all the same.
        let templates = api.list(accept::METRIC_TEMPLATE, None, "").await;
        Ok(Self {
            canaries: Store::holding(
                &weir_api::canary::KIND,
                api.list(&weir_api::canary::KIND, namespace, "").await?,
            ),
            deployments: of(&DEPLOYMENT).await?,
            daemon_sets: of(&DAEMON_SET).await?,
            services: of(&SERVICE).await?,
            routes: of(&HTTP_ROUTE).await?,
            revisions: of(&CONTROLLER_REVISION).await?,
            templates: Store::holding(accept::METRIC_TEMPLATE, templates.unwrap_or_default()),
            // Nothing that is decided depends on them.
            providers: Store::holding(&weir_api::alert_provider::KIND, Vec::new()),
            hpas: of(&HPA).await?,
            scaled: of(&SCALED_OBJECT).await?,
            maps: of(&CONFIG_MAP).await?,
            secrets: of(&SECRET).await?,
        })
    }
}
