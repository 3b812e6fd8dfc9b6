//! Owns the rules that a policy and its bindings must follow to be kept, and what is filled in
//! where they are silent.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weir_object::path;

use super::compiled::{Gives, compile, variables};
use super::types::Variables;
use crate::builtin::names;
use crate::cel::Type;
use crate::refusal::{Cause, shown};

const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Fills what a policy leaves out.
pub(crate) fn fill(policy: &mut Value) {
    default(policy, &["spec", "failurePolicy"], &json!("Fail"));
    if path::get(policy, &["spec", "matchConstraints"]).is_some() {
        fill_match(policy, &["spec", "matchConstraints"]);
    }
}

/// Fills what a binding leaves out.
pub(crate) fn fill_binding(binding: &mut Value) {
    if path::get(binding, &["spec", "matchResources"]).is_some() {
        fill_match(binding, &["spec", "matchResources"]);
    }
}

fn default(object: &mut Value, at: &[&str], value: &Value) {
    if path::get(object, at).is_none() {
        path::set(object, at, value.clone());
    }
}

fn fill_match(object: &mut Value, at: &[&str]) {
    let below = |field: &'static str| -> Vec<&str> { at.iter().copied().chain([field]).collect() };
    default(object, &below("matchPolicy"), &json!("Equivalent"));
    default(object, &below("namespaceSelector"), &json!({}));
    default(object, &below("objectSelector"), &json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        let Some(list) = path::get(object, &below(rules)).and_then(Value::as_array) else {
            continue;
        };
        let mut list = list.clone();
        for rule in &mut list {
            default(rule, &["scope"], &json!("*"));
        }
        path::set(object, &below(rules), list.into());
    }
}

fn list<'a>(of: &'a Value, at: &[&str]) -> Vec<&'a Value> {
    let list = path::get(of, at).and_then(Value::as_array);
    list.into_iter().flatten().collect()
}

/// An expression that does not compile: what is wrong inside the server is told as such.
fn refused(field: String, expression: &str, why: &str) -> Cause {
    if why.starts_with("program instantiation failed") {
        return Cause {
            reason: "InternalError",
            message: format!("Internal error: {why}"),
            field,
        };
    }
    Cause::invalid(field, &expression.into(), why)
}

/// All that is wrong with a policy.
pub(crate) fn check_policy(policy: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    let spec = |field: &str| format!("spec.{field}");
    match path::text(policy, &["spec", "failurePolicy"]) {
        "Fail" | "Ignore" => {}
        "" => out.push(Cause::required(spec("failurePolicy"), "")),
        other => out.push(Cause::unsupported(
            spec("failurePolicy"),
            &other.into(),
            &["Fail", "Ignore"],
        )),
    }
    let params = path::get(policy, &["spec", "paramKind"]);
    if let Some(kind) = params {
        for field in ["apiVersion", "kind"] {
            if path::text(kind, &[field]).is_empty() {
                out.push(Cause::required(spec(&format!("paramKind.{field}")), ""));
            }
        }
    }
    match path::get(policy, &["spec", "matchConstraints"]) {
        None => out.push(Cause::required(spec("matchConstraints"), "")),
        Some(constraints) => {
            check_match(constraints, "spec.matchConstraints", &mut out);
            if list(constraints, &["resourceRules"]).is_empty() {
                out.push(Cause::required(spec("matchConstraints.resourceRules"), ""));
            }
        }
    }
    let params = params.map(|_| Type::Dyn);
    let plain = |authorizer, composed| Variables {
        object: Type::Dyn,
        params: params.clone(),
        authorizer,
        composed,
    };
    check_conditions(policy, &plain(true, None), &mut out);
    let (known, compiled) = variables(policy, Type::Dyn, params.clone());
    for (i, variable) in list(policy, &["spec", "variables"]).into_iter().enumerate() {
        let at = |field: &str| format!("spec.variables[{i}].{field}");
        let name = path::text(variable, &["name"]);
        let expression = path::text(variable, &["expression"]);
        if name.trim().is_empty() {
            out.push(Cause::required(at("name"), "name is not specified"));
        } else if !is_identifier(name) {
            let detail = "must be a valid CEL identifier";
            out.push(Cause::invalid(at("name"), &name.into(), detail));
        }
        if expression.trim().is_empty() {
            let detail = "expression is not specified";
            out.push(Cause::required(at("expression"), detail));
        } else if let Some((_, Err(why))) = compiled.get(i) {
            out.push(refused(at("expression"), expression, why));
        }
    }
    let telling = plain(false, known.composed.clone());
    check_validations(policy, &known, &telling, &mut out);
    out
}

fn is_identifier(name: &str) -> bool {
    let start = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(start)
        && name.chars().all(|c| start(c) || c.is_ascii_digit())
        && crate::cel::escape(name).is_some_and(|escaped| escaped == name || name.contains("__"))
}

fn check_conditions(policy: &Value, variables: &Variables, out: &mut Vec<Cause>) {
    let conditions = list(policy, &["spec", "matchConditions"]);
    if conditions.len() > 64 {
        out.push(Cause {
            reason: "FieldValueTooMany",
            message: format!("Too many: {}: must have at most 64 items", conditions.len()),
            field: "spec.matchConditions".to_owned(),
        });
    }
    let mut names = BTreeSet::new();
    for (i, condition) in conditions.into_iter().enumerate() {
        let at = |field: &str| format!("spec.matchConditions[{i}].{field}");
        let expression = path::text(condition, &["expression"]).trim();
        if expression.is_empty() {
            out.push(Cause::required(at("expression"), ""));
        } else if let Err(why) = compile(expression, variables, Gives::Bool) {
            out.push(refused(at("expression"), expression, &why));
        }
        let name = path::text(condition, &["name"]);
        if name.is_empty() {
            out.push(Cause::required(at("name"), ""));
        } else {
            if !names::qualified(name).is_empty() {
                out.push(Cause::invalid(at("name"), &name.into(), QUALIFIED));
            }
            if !names.insert(name) {
                out.push(Cause::duplicate(at("name"), &name.into()));
            }
        }
    }
}

fn check_validations(policy: &Value, known: &Variables, telling: &Variables, out: &mut Vec<Cause>) {
    let validations = list(policy, &["spec", "validations"]);
    let annotations = list(policy, &["spec", "auditAnnotations"]);
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        out.push(Cause::required("spec.validations", detail));
        out.push(Cause::required("spec.auditAnnotations", detail));
        return;
    }
    for (i, validation) in validations.into_iter().enumerate() {
        let at = |field: &str| format!("spec.validations[{i}].{field}");
        let text = |field: &str| path::text(validation, &[field]);
        let expression = text("expression");
        if expression.trim().is_empty() {
            let detail = "expression is not specified";
            out.push(Cause::required(at("expression"), detail));
        } else if let Err(why) = compile(expression, known, Gives::Bool) {
            out.push(refused(at("expression"), expression, &why));
        }
        let made = text("messageExpression");
        if !made.is_empty() && made.trim().is_empty() {
            let detail = "must be non-empty if specified";
            out.push(Cause::invalid(
                at("messageExpression"),
                &made.into(),
                detail,
            ));
        } else if !made.is_empty()
            && let Err(why) = compile(made, telling, Gives::Text)
        {
            out.push(refused(at("messageExpression"), made, &why));
        }
        let message = text("message");
        if !message.is_empty() && message.trim().is_empty() {
            let detail = "must be non-empty if specified";
            out.push(Cause::invalid(at("message"), &message.into(), detail));
        } else if message.trim().contains(['\n', '\r']) {
            let detail = "must not contain line breaks";
            out.push(Cause::invalid(at("message"), &message.into(), detail));
        }
        const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
        if validation.get("reason").is_some() && !REASONS.contains(&text("reason")) {
            out.push(Cause::unsupported(
                at("reason"),
                &text("reason").into(),
                &REASONS,
            ));
        }
    }
    let name = path::text(policy, &["metadata", "name"]);
    let mut keys = BTreeSet::new();
    for (i, annotation) in annotations.into_iter().enumerate() {
        let at = |field: &str| format!("spec.auditAnnotations[{i}].{field}");
        let key = path::text(annotation, &["key"]);
        let qualified = format!("{name}/{key}");
        for wrong in names::qualified(&qualified) {
            out.push(Cause::invalid(
                at("key"),
                &qualified.as_str().into(),
                &wrong,
            ));
        }
        let expression = path::text(annotation, &["valueExpression"]);
        if expression.trim().is_empty() {
            let detail = "valueExpression is not specified";
            out.push(Cause::required(at("valueExpression"), detail));
        } else if let Err(why) = compile(expression.trim(), known, Gives::TextOrNull) {
            out.push(refused(at("valueExpression"), expression, &why));
        }
        if !keys.insert(key) {
            out.push(Cause::duplicate(at("key"), &key.into()));
        }
    }
}

/// All that is wrong with a binding.
pub(crate) fn check_binding(binding: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    let policy = path::text(binding, &["spec", "policyName"]);
    if policy.is_empty() {
        out.push(Cause::required("spec.policyName", ""));
    } else if let Some(wrong) = names::subdomain(policy).first() {
        out.push(Cause::invalid("spec.policyName", &policy.into(), wrong));
    }
    if let Some(reference) = path::get(binding, &["spec", "paramRef"]) {
        let named = !path::text(reference, &["name"]).is_empty();
        let selects = reference.get("selector").is_some();
        let both = "name and selector are mutually exclusive";
        if named && selects {
            out.push(Cause::forbidden("spec.paramRef.name", both));
            out.push(Cause::forbidden("spec.paramRef.selector", both));
        }
        if !named && !selects {
            let detail = "one of name or selector must be specified";
            out.push(Cause::required("spec.paramRef", detail));
        }
        let field = "spec.paramRef.parameterNotFoundAction".to_owned();
        match path::text(reference, &["parameterNotFoundAction"]) {
            "Allow" | "Deny" => {}
            "" => out.push(Cause::required(field, "")),
            other => out.push(Cause::unsupported(field, &other.into(), &["Deny", "Allow"])),
        }
    }
    if let Some(limits) = path::get(binding, &["spec", "matchResources"]) {
        check_match(limits, "spec.matchResources", &mut out);
    }
    let at = "spec.validationActions";
    let actions = list(binding, &["spec", "validationActions"]);
    let mut seen = BTreeSet::new();
    for (i, action) in actions.iter().enumerate() {
        let action = action.as_str().unwrap_or_default();
        if !matches!(action, "Audit" | "Deny" | "Warn") {
            let field = format!("{at}[{i}]");
            out.push(Cause::unsupported(
                field,
                &action.into(),
                &["Audit", "Deny", "Warn"],
            ));
        }
        if !seen.insert(action) {
            out.push(Cause::duplicate(format!("{at}[{i}]"), &action.into()));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        let value: Value = actions.into_iter().cloned().collect();
        out.push(Cause::invalid(at, &value, detail));
    }
    if seen.is_empty() {
        out.push(Cause::required(
            at,
            "at least one validation action is required",
        ));
    }
    out
}

fn check_match(of: &Value, at: &str, out: &mut Vec<Cause>) {
    match path::text(of, &["matchPolicy"]) {
        "Equivalent" | "Exact" => {}
        "" => out.push(Cause::required(format!("{at}.matchPolicy"), "")),
        other => {
            let field = format!("{at}.matchPolicy");
            out.push(Cause::unsupported(
                field,
                &other.into(),
                &["Equivalent", "Exact"],
            ));
        }
    }
    for rules in ["resourceRules", "excludeResourceRules"] {
        for (i, rule) in list(of, &[rules]).into_iter().enumerate() {
            check_rule(rule, &format!("{at}.{rules}[{i}]"), out);
        }
    }
}

fn check_rule(rule: &Value, at: &str, out: &mut Vec<Cause>) {
    let words = |key: &str| -> Vec<&str> {
        list(rule, &[key])
            .into_iter()
            .filter_map(Value::as_str)
            .collect()
    };
    let names = words("resourceNames");
    let mut seen = BTreeSet::new();
    for (i, name) in names.iter().enumerate() {
        if !seen.insert(*name) {
            out.push(Cause::duplicate(
                format!("{at}.resourceNames[{i}]"),
                &(*name).into(),
            ));
        }
    }
    let mut all = |key: &str, what: &str| {
        let given = words(key);
        let field = format!("{at}.{key}");
        if given.is_empty() {
            out.push(Cause::required(field, ""));
        } else if given.len() > 1 && given.contains(&"*") {
            let detail = format!("if '*' is present, must not specify other {what}");
            out.push(Cause::invalid(field, &json!(given), &detail));
        }
    };
    all("operations", "operations");
    let operations = words("operations");
    all("apiGroups", "API groups");
    all("apiVersions", "API versions");
    for (i, version) in words("apiVersions").iter().enumerate() {
        if version.is_empty() {
            out.push(Cause::required(format!("{at}.apiVersions[{i}]"), ""));
        }
    }
    const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for (i, operation) in operations.iter().enumerate() {
        if !OPERATIONS.contains(operation) {
            let field = format!("{at}.operations[{i}]");
            out.push(Cause::unsupported(field, &(*operation).into(), &OPERATIONS));
        }
    }
    let resources = words("resources");
    if resources.is_empty() {
        out.push(Cause::required(format!("{at}.resources"), ""));
    }
    for (i, resource) in resources.iter().enumerate() {
        if resource.is_empty() {
            out.push(Cause::required(format!("{at}.resources[{i}]"), ""));
        }
        if resources.len() > 1 && (*resource == "*" || *resource == "*/*") {
            let detail = if *resource == "*" {
                "if '*' is present, must not specify other resources without subresources"
            } else {
                "if '*/*' is present, must not specify other resources"
            };
            let bare = resources.iter().filter(|r| !r.contains('/')).count() > 1;
            if *resource == "*/*" || bare {
                let value: Value = json!(resources);
                out.push(Cause {
                    reason: "FieldValueInvalid",
                    message: format!("Invalid value: {}: {detail}", shown(&value)),
                    field: format!("{at}.resources"),
                });
            }
        }
    }
    let scope = path::text(rule, &["scope"]);
    if !matches!(scope, "" | "*" | "Cluster" | "Namespaced") {
        let field = format!("{at}.scope");
        out.push(Cause::unsupported(
            field,
            &scope.into(),
            &["*", "Cluster", "Namespaced"],
        ));
    }
}
