//! Owns asking: every hook of a kind, in order, until the answer is known.

use std::time::Duration;

use url::Url;
use weir_api::canary::{Spec, Webhook};
use weir_messenger::Call;
use weir_object::{Key, Object};
use weir_rollout::{Answer, HookKind, HookResult, Phase};
use weir_runtime::http::Http;
use weir_runtime::{ApiClient, Secret, SecretData};

use super::payload::payload;
use crate::accept::hook_kind;

/// How long one try may take where a hook does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks hooks.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) http: Http,
    pub(crate) api: ApiClient,
}

/// What is asked.
pub(crate) struct Question {
    pub(crate) kind: HookKind,
    pub(crate) point: String,
    pub(crate) revision: String,
    pub(crate) phase: Phase,
}

impl Asker {
    /// What all hooks of the kind answer. One that refuses ends it, since all have to agree; of
    /// those that can roll back it is the first that agrees.
    pub(crate) async fn ask(&self, canary: &Object, spec: &Spec, question: Question) -> Answer {
        let Question {
            kind,
            point,
            revision,
            phase,
        } = question;
        let mut results = Vec::new();
        let hooks = spec.analysis.webhooks.iter();
        for hook in hooks.filter(|h| hook_kind(h) == Some(kind)) {
            let id = format!(
                "{}/{revision}/{point}/{}/{}",
                canary.uid(),
                kind.as_str(),
                hook.name
            );
            let answer = self.one(canary, hook, kind, phase, id).await;
            let passed = answer.is_ok();
            results.push(HookResult {
                name: hook.name.clone(),
                passed,
                error: answer.err().unwrap_or_default(),
                muted: hook.mute_alert,
            });
            if passed == (kind == HookKind::Rollback) {
                break;
            }
        }
        Answer {
            kind,
            point,
            results,
        }
    }

    async fn one(
        &self,
        canary: &Object,
        hook: &Webhook,
        kind: HookKind,
        phase: Phase,
        id: String,
    ) -> Result<(), String> {
        let told = (kind.as_str(), hook.name.as_str(), id.as_str());
        let body = payload(canary, phase.as_str(), &hook.metadata, told);
        let call = Call {
            url: Url::parse(&hook.url).map_err(|e| format!("`{}` is no URL: {e}", hook.url))?,
            body,
            timeout: timeout(hook),
            retries: u32::try_from(hook.retries.unwrap_or_default()).unwrap_or_default(),
            insecure: hook.disable_tls,
            secret: self.secret(canary.namespace(), hook).await?,
            id,
        };
        let answer = weir_messenger::call(&self.http, &call).await;
        answer.map(drop).map_err(|e| e.to_string())
    }

    /// What calls of the hook are signed with.
    pub(super) async fn secret(
        &self,
        namespace: &str,
        hook: &Webhook,
    ) -> Result<Option<Secret>, String> {
        let Some(reference) = &hook.secret_ref else {
            return Ok(None);
        };
        let key = Key::new(namespace, reference.name.as_str());
        let data = SecretData::read(&self.api, namespace, &key.name, "webhooks.secretRef")
            .await
            .map_err(|e| e.to_string())?;
        let token = data.text("token").map_err(|e| e.to_string())?;
        let missing = || format!("Secret {key} has no key `token` to sign with");
        token.map(Secret::new).map(Some).ok_or_else(missing)
    }
}

/// How long one try may take.
pub(super) fn timeout(hook: &Webhook) -> Duration {
    let given = hook.timeout.as_ref().filter(|t| !t.0.is_empty());
    let given = given.and_then(|t| t.get().ok());
    given.filter(|t| !t.is_zero()).unwrap_or(TIMEOUT)
}
