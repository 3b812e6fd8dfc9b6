//! Owns the checks of a schema's rules: their words, that they compile, and what they cost.

use serde_json::Value;

use super::schema::{Node, Walk, branches};
use crate::cel::{Decl, Program};
use crate::refusal::Cause;
use crate::structural::{Rule, Structural, field_path};

/// One rule may cost this much by estimate.
const RULE_LIMIT: u64 = 10_000_000;
/// All rules of a schema together.
pub(super) const SCHEMA_LIMIT: u64 = 100_000_000;

pub(super) fn too_costly(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding \
         maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

impl Walk {
    /// The words of rules, before they are compiled.
    pub(super) fn rule_words(&mut self, schema: &Value, at: &str) {
        for (i, rule) in branches(schema, "x-kubernetes-validations") {
            let at = format!("{at}.x-kubernetes-validations[{i}]");
            let raw = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
            let (text, message) = (raw("rule").trim(), raw("message").trim());
            let breaks = |text: &str| text.contains(['\n', '\r']);
            let wrong = &mut self.wrong;
            if text.is_empty() {
                wrong.push(Cause::required(
                    format!("{at}.rule"),
                    "rule is not specified",
                ));
            } else if !raw("message").is_empty() && message.is_empty() {
                let detail = "must be non-empty if specified";
                wrong.push(Cause::invalid(
                    format!("{at}.message"),
                    &raw("message").into(),
                    detail,
                ));
            } else if breaks(message) {
                let detail = "must not contain line breaks";
                wrong.push(Cause::invalid(
                    format!("{at}.message"),
                    &raw("message").into(),
                    detail,
                ));
            } else if breaks(text) && message.is_empty() {
                let detail = "message must be specified if rule contains line breaks";
                wrong.push(Cause::required(format!("{at}.message"), detail));
            }
            if !raw("messageExpression").is_empty() && raw("messageExpression").trim().is_empty() {
                let detail = "messageExpression must be non-empty if specified";
                wrong.push(Cause::required(format!("{at}.messageExpression"), detail));
            }
            let reason = raw("reason");
            const REASONS: [&str; 4] = [
                "FieldValueDuplicate",
                "FieldValueForbidden",
                "FieldValueInvalid",
                "FieldValueRequired",
            ];
            if rule.get("reason").is_some() && !REASONS.contains(&reason) {
                let field = format!("{at}.reason");
                wrong.push(Cause::unsupported(field, &reason.into(), &REASONS));
            }
            let path = raw("fieldPath");
            if path.is_empty() {
                continue;
            }
            let field = format!("{at}.fieldPath");
            if path.trim().is_empty() {
                wrong.push(Cause::invalid(
                    field.clone(),
                    &path.into(),
                    "must be non-empty if specified",
                ));
            }
            if path.contains('\n') {
                wrong.push(Cause::invalid(
                    field.clone(),
                    &path.into(),
                    "must not contain line breaks",
                ));
            }
            if field_path(path, &Structural::read_unruled(schema)).is_err() {
                wrong.push(Cause::invalid(field, &path.into(), "must be a valid path"));
            }
        }
    }

    pub(super) fn compiled(&mut self, schema: &Value, at: &str, node: &Node) {
        if branches(schema, "x-kubernetes-validations")
            .next()
            .is_none()
        {
            return;
        }
        let typed = Structural::read_unruled(schema);
        let decl = Decl::of(&typed, "selfType", node.root || typed.embedded);
        if decl.is_none() {
            self.rules.push(Cause {
                reason: "InternalError",
                message:
                    "Internal error: internal error: failed to construct type information for \
                          x-kubernetes-validations rules: unable to convert structural schema to \
                          CEL declarations"
                        .to_owned(),
                field: format!("{at}.x-kubernetes-validations"),
            });
            return;
        }
        let mut rules = typed.rules;
        for (i, rule) in rules.iter_mut().enumerate() {
            rule.compile(decl.as_ref());
            let at = format!("{at}.x-kubernetes-validations[{i}]");
            self.one_rule(rule, decl.as_ref(), schema, i, &at, node);
        }
    }

    fn one_rule(
        &mut self,
        rule: &Rule,
        decl: Option<&Decl>,
        schema: &Value,
        i: usize,
        at: &str,
        node: &Node,
    ) {
        let shown = branches(schema, "x-kubernetes-validations")
            .nth(i)
            .map(|(_, rule)| super::shown::rule(rule))
            .unwrap_or_default();
        let refused = |field: String, why: &str| Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {shown}: {why}"),
            field,
        };
        let (field, telling) = (format!("{at}.rule"), format!("{at}.messageExpression"));
        let cost = |program: &Option<Result<Program, String>>| match (program, decl) {
            (Some(Ok(program)), Some(decl)) => program.at_most(decl),
            _ => 0,
        };
        let times = node
            .cardinality
            .unwrap_or_else(|| decl.map_or(1, |decl| 3 * 1024 * 1024 / (decl.least + 1)));
        let total = cost(&rule.program).saturating_mul(times);
        if !self.kept && total > RULE_LIMIT {
            let detail = too_costly("estimated rule cost", total, RULE_LIMIT);
            self.rules.push(Cause::forbidden(field.clone(), &detail));
        }
        self.observe(total, &field);
        if let Some(Err(why)) = &rule.program {
            self.rules.push(refused(field.clone(), why));
        }
        match &rule.telling {
            Some(Err(why)) => self.rules.push(refused(telling, why)),
            Some(Ok(_)) => {
                let cost = cost(&rule.telling);
                if !self.kept && cost > RULE_LIMIT {
                    let detail = too_costly("estimated messageExpression cost", cost, RULE_LIMIT);
                    self.rules.push(Cause::forbidden(telling.clone(), &detail));
                }
                self.observe(cost, &telling);
            }
            None => {}
        }
        let uses_old = matches!(&rule.program, Some(Ok(program)) if program.uses("oldSelf"));
        if uses_old {
            if let Some(path) = &node.uncorrelated {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {path}"
                );
                self.rules
                    .push(Cause::invalid(field, &rule.text.as_str().into(), &detail));
            }
        } else if let Some(given) = branches(schema, "x-kubernetes-validations")
            .nth(i)
            .and_then(|(_, rule)| rule.get("optionalOldSelf"))
        {
            let detail = "may not be set if oldSelf is not used in rule";
            self.rules.push(Cause::invalid(
                format!("{at}.optionalOldSelf"),
                given,
                detail,
            ));
        }
    }

    fn observe(&mut self, cost: u64, path: &str) {
        self.total = self.total.saturating_add(cost);
        if cost < SCHEMA_LIMIT / 100 {
            return;
        }
        self.expensive.push((cost, path.to_owned()));
        self.expensive
            .sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        self.expensive.truncate(4);
    }
}
