//! Owns what a policy's expressions see: the objects, the request, the parameters, the variables
//! (each evaluated once, when it is first asked for) and the authorizer.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::Value;

use super::compiled::Ready;
use crate::authorize::{self, Attributes, Decision};
use crate::cel::{Authorization, Fault, Host, PER_CALL, Question, Scope, Value as Val, view};
use crate::identity::User;
use crate::state::State;

/// The world of one evaluation.
pub(super) struct World<'a> {
    pub(super) state: &'a State,
    pub(super) user: &'a User,
    pub(super) object: Option<&'a Value>,
    pub(super) old: Option<&'a Value>,
    pub(super) request: &'a Value,
    pub(super) space: Option<&'a Value>,
    pub(super) params: Option<&'a Value>,
    pub(super) has_params: bool,
    pub(super) variables: &'a [(String, Ready)],
    pub(super) resource: Question,
    pub(super) found: RefCell<HashMap<&'a str, Result<Val<'a>, Fault>>>,
    /// What variables cost that were evaluated meanwhile.
    pub(super) spent: RefCell<u64>,
}

impl<'a> World<'a> {
    fn variable(&self, name: &str) -> Option<Result<Val<'a>, Fault>> {
        if let Some(found) = self.found.borrow().get(name) {
            return Some(found.clone());
        }
        let (own, ready) = self.variables.iter().find(|(n, _)| n == name)?;
        let value = match ready {
            Err(why) => Err(Fault::said(format!(
                "composited variable {name:?} fails to compile: {why}"
            ))),
            Ok(program) => {
                let (value, cost) = program.run(self, PER_CALL);
                *self.spent.borrow_mut() += cost;
                match value {
                    Err(Fault::Cost) => Err(Fault::Cost),
                    Err(fault) => Err(Fault::said(format!(
                        "composited variable {name:?} fails to evaluate: {fault}"
                    ))),
                    Ok(value) => Ok(value),
                }
            }
        };
        self.found.borrow_mut().insert(own, value.clone());
        Some(value)
    }
}

impl<'a> Scope<'a> for World<'a> {
    fn get(&self, name: &str) -> Option<Result<Val<'a>, Fault>> {
        let seen = |value: Option<&'a Value>| Some(value.map_or(Ok(Val::Null), |v| view(v, None)));
        match name {
            "object" => seen(self.object),
            "oldObject" => seen(self.old),
            "request" => seen(Some(self.request)),
            "namespaceObject" => seen(self.space),
            "params" if self.has_params => seen(self.params),
            "authorizer" => Some(Ok(Val::Host(Host::Authorizer(Question::default().into())))),
            "authorizer.requestResource" => {
                Some(Ok(Val::Host(Host::Resource(self.resource.clone().into()))))
            }
            _ => self.variable(name.strip_prefix("variables.")?),
        }
    }

    fn decide(&self, question: &Question) -> Authorization {
        let attributes = Attributes {
            verb: question.verb.clone(),
            group: question.group.clone(),
            version: "*".to_owned(),
            resource: question.resource.clone(),
            subresource: question.subresource.clone(),
            namespace: question.namespace.clone(),
            name: question.name.clone(),
            path: question.path.clone(),
            is_resource: question.path.is_empty(),
        };
        let account;
        let user = match &question.account {
            None => self.user,
            Some((namespace, name)) => {
                account = User::service_account(namespace, name);
                &account
            }
        };
        let Decision { allowed, reason } = authorize::authorize(self.state, user, &attributes);
        Authorization {
            allowed,
            reason,
            error: None,
        }
    }
}
