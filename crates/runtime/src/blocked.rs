//! Owns telling on the objects themselves that nobody can work on them: their controller may not
//! watch what it needs, so no pass of it will ever say so.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use weir_api::names::READY;
use weir_api::{Condition, ConditionStatus};
use weir_object::{Kind, Object};

use crate::conditions::{self, Wanted};
use crate::{ApiClient, patch_status};

/// The condition's reason.
const FORBIDDEN: &str = "Forbidden";

/// Makes `Ready` of each object False for this reason. What cannot be written is only logged: the
/// right to write it may be missing too.
pub(crate) async fn tell(
    api: &ApiClient,
    kind: &Kind,
    objects: &[Arc<Object>],
    why: &str,
    now: Timestamp,
) {
    for object in objects {
        let mut status = object.get(&["status"]).cloned().unwrap_or(json!({}));
        let held = status["conditions"].take();
        let mut held: Vec<Condition> = serde_json::from_value(held).unwrap_or_default();
        let wanted = Wanted {
            kind: READY,
            status: ConditionStatus::False,
            reason: FORBIDDEN,
            message: why,
        };
        conditions::set(&mut held, &wanted, object.generation(), now);
        status["conditions"] = json!(held);
        if let Err(failure) = patch_status(api, kind, object, &status).await {
            tracing::warn!(%failure, "it cannot be told that nobody works on the object");
        }
    }
}
