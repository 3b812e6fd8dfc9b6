//! Owns a policy made ready: its expressions, compiled. One that does not compile is kept with the
//! reason, and refuses what the policy was to judge.

use serde_json::Value;
use weir_object::path;

use super::types::Variables;
use crate::cel::{Program, Type, Uncompiled};

/// What an expression may give.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    Bool,
    Text,
    TextOrNull,
    Anything,
}

/// An expression, or why there is none.
pub(super) type Ready = Result<Program, String>;

/// A policy's expressions.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) ignores_faults: bool,
    pub(super) conditions: Vec<(String, Ready)>,
    pub(super) variables: Vec<(String, Ready)>,
    pub(super) validations: Vec<Validation>,
    pub(super) annotations: Vec<(String, String, Ready)>,
    pub(super) param_kind: Option<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Validation {
    pub(super) expression: String,
    pub(super) program: Ready,
    pub(super) message: String,
    pub(super) telling: Option<Ready>,
    pub(super) reason: String,
}

fn list<'a>(policy: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    let list = path::get(policy, &["spec", field]).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// Compiles one expression.
pub(super) fn compile(source: &str, variables: &Variables, gives: Gives) -> Ready {
    let list = variables.list();
    let list: Vec<(&str, Type)> = list
        .iter()
        .map(|(n, ty)| (n.as_str(), ty.clone()))
        .collect();
    let program = Program::compile(source, &list).map_err(|why: Uncompiled| why.to_string())?;
    let is = |ty: &Type| program.result == *ty;
    let wanted = match gives {
        Gives::Anything => return Ok(program),
        Gives::Bool if is(&Type::Bool) => return Ok(program),
        Gives::Text if is(&Type::Text) => return Ok(program),
        Gives::TextOrNull if is(&Type::Text) || is(&Type::Null) => return Ok(program),
        Gives::Bool => "must evaluate to bool",
        Gives::Text => "must evaluate to string",
        Gives::TextOrNull => "must evaluate to one of [string null_type]",
    };
    Err(format!("{wanted} but got {}", program.result))
}

/// The variables of a policy, each of which may use those before it.
pub(super) fn variables(
    policy: &Value,
    object: Type,
    params: Option<Type>,
) -> (Variables, Vec<(String, Ready)>) {
    let mut known = Variables {
        object,
        params,
        authorizer: true,
        composed: Some(Vec::new()),
    };
    let mut out = Vec::new();
    for variable in list(policy, "variables") {
        let name = path::text(variable, &["name"]).to_owned();
        let ready = compile(
            path::text(variable, &["expression"]),
            &known,
            Gives::Anything,
        );
        let ty = ready
            .as_ref()
            .map_or(Type::Dyn, |program| program.result.clone());
        if let Some(composed) = &mut known.composed {
            composed.push((name.clone(), ty));
        }
        out.push((name, ready));
    }
    if out.is_empty() {
        known.composed = None;
    }
    (known, out)
}

impl Compiled {
    pub(super) fn read(policy: &Value) -> Self {
        let param_kind = path::get(policy, &["spec", "paramKind"]).map(|kind| {
            let text = |key: &str| path::text(kind, &[key]).to_owned();
            (text("apiVersion"), text("kind"))
        });
        let params = param_kind.is_some().then_some(Type::Dyn);
        let (known, variables) = variables(policy, Type::Dyn, params.clone());
        let plain = Variables {
            object: Type::Dyn,
            params,
            authorizer: true,
            composed: None,
        };
        let telling = Variables {
            object: Type::Dyn,
            params: plain.params.clone(),
            authorizer: false,
            composed: known.composed.clone(),
        };
        let text = |of: &Value, key: &str| path::text(of, &[key]).to_owned();
        Self {
            ignores_faults: path::text(policy, &["spec", "failurePolicy"]) == "Ignore",
            conditions: list(policy, "matchConditions")
                .map(|condition| {
                    let expression = text(condition, "expression");
                    (
                        expression.clone(),
                        compile(expression.trim(), &plain, Gives::Bool),
                    )
                })
                .collect(),
            validations: list(policy, "validations")
                .map(|validation| {
                    let expression = text(validation, "expression");
                    let message = text(validation, "messageExpression");
                    Validation {
                        program: compile(&expression, &known, Gives::Bool),
                        expression,
                        message: text(validation, "message"),
                        telling: (!message.trim().is_empty())
                            .then(|| compile(&message, &telling, Gives::Text)),
                        reason: text(validation, "reason"),
                    }
                })
                .collect(),
            annotations: list(policy, "auditAnnotations")
                .map(|annotation| {
                    let expression = text(annotation, "valueExpression");
                    let ready = compile(expression.trim(), &known, Gives::TextOrNull);
                    (text(annotation, "key"), expression, ready)
                })
                .collect(),
            variables,
            param_kind,
        }
    }
}
