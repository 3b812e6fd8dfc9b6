//! Owns Istio's kinds in the sandbox: their definitions, and the controllers that say on each
//! object what became of it. What is right is decided in `plane`; forwarding is the proxy's.

pub(crate) mod kinds;

use std::sync::Arc;

use serde_json::{Value, json};
use weir_object::{Key, Kind};
use weir_runtime::{Context, Controller, ControllerOptions, EventKind, Outcome, Reconciler};

use crate::gateway::Say;
use crate::plane::Plane;
use kinds::{DESTINATION_RULE, VIRTUAL_SERVICE};

/// The field manager and event source.
const CONTROLLER: &str = "sandbox-mesh";

/// Both controllers.
pub(crate) fn controllers(context: &Context, plane: &Arc<Plane>) -> Vec<Controller> {
    let say = Say {
        api: context.api.with_manager(CONTROLLER),
        clock: context.clock.clone(),
        events: context.events.named(CONTROLLER),
        plane: plane.clone(),
    };
    [
        (&VIRTUAL_SERVICE, "sandbox-virtual-services"),
        (&DESTINATION_RULE, "sandbox-destination-rules"),
    ]
    .into_iter()
    .map(|(kind, name)| {
        let reconciler = Verdicts {
            say: say.clone(),
            kind: kind.clone(),
        };
        let options = ControllerOptions::default();
        plane.follow(
            Controller::new(context, name, kind, reconciler, options),
            kind,
        )
    })
    .collect()
}

/// Says what became of the objects of one kind.
struct Verdicts {
    say: Say,
    kind: Kind,
}

#[async_trait::async_trait]
impl Reconciler for Verdicts {
    async fn reconcile(&self, key: &Key) -> Outcome {
        let decision = self.say.plane.refresh();
        let Some(object) = self.say.plane.store(&self.kind).get(key) else {
            return Outcome::Wait;
        };
        let all = if self.kind == VIRTUAL_SERVICE {
            &decision.virtuals
        } else {
            &decision.rules
        };
        let Some(verdict) = all.get(key) else {
            return Outcome::Retry("the object is not decided yet".to_owned());
        };
        let before = object.get(&["status", "validationMessages"]).cloned();
        let messages: Vec<Value> = verdict
            .messages
            .iter()
            .map(|m| {
                json!({
                    "type": {"name": m.name, "code": m.code},
                    "level": m.level,
                    "message": m.text,
                })
            })
            .collect();
        if !messages.is_empty() && before.as_ref() != Some(&json!(messages)) {
            for message in &verdict.messages {
                self.say.events.publish(
                    &object,
                    EventKind::Warning,
                    message.name,
                    &message.text,
                    &[],
                );
            }
        }
        let earlier = object.get(&["status", "conditions"]);
        let reconciled = &verdict.reconciled;
        let status = json!({
            "conditions": [self.say.condition(earlier, &object, "Reconciled", reconciled)],
            "observedGeneration": object.generation(),
            "validationMessages": messages,
        });
        self.say.status(&self.kind, &object, &status).await
    }
}
