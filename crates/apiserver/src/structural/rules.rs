//! Owns the rules of a schema, `x-kubernetes-validations`: read and compiled with the schema,
//! evaluated on what was written. A rule that cannot be evaluated refuses the object and says why.

use serde_json::Value;

use super::ratchet::Was;
use super::{Additional, Structural};
use crate::cel::{
    Decl, Fault, Named, PER_CALL, PER_OBJECT, Program, Type, Uncompiled, Value as Val, some, view,
};
use crate::refusal::Cause;

/// Messages may not be longer.
const MESSAGE: usize = 5 * 1024;

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) text: String,
    pub(crate) message: String,
    pub(crate) message_expression: String,
    reason: String,
    pub(crate) field_path: String,
    pub(crate) optional_old: bool,
    /// Where the failure is told, below the rule's own place.
    place: Option<String>,
    /// Absent until compiled.
    pub(crate) program: Option<Result<Program, String>>,
    pub(crate) telling: Option<Result<Program, String>>,
}

/// The rules of one schema node.
pub(super) fn read(schema: &Value) -> Vec<Rule> {
    let list = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    let text = |rule: &Value, key: &str| {
        let text = rule.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    list.into_iter()
        .flatten()
        .map(|rule| Rule {
            text: text(rule, "rule"),
            message: text(rule, "message"),
            message_expression: text(rule, "messageExpression"),
            reason: text(rule, "reason"),
            field_path: text(rule, "fieldPath"),
            optional_old: rule.get("optionalOldSelf").and_then(Value::as_bool) == Some(true),
            place: None,
            program: None,
            telling: None,
        })
        .collect()
}

/// Compiles the rules of a schema and of all below it.
pub(super) fn compile(schema: &mut Structural) {
    if schema.ruled {
        walk(schema, "selfType", true);
    }
}

fn walk(schema: &mut Structural, name: &str, root: bool) {
    if !schema.rules.is_empty() {
        let decl = Decl::of(schema, name, root);
        let places: Vec<Option<String>> = schema
            .rules
            .iter()
            .map(|rule| {
                let path = (!rule.field_path.is_empty()).then_some(&rule.field_path)?;
                field_path(path, schema).ok()
            })
            .collect();
        for (rule, place) in schema.rules.iter_mut().zip(places) {
            rule.place = place;
            rule.compile(decl.as_ref());
        }
    }
    let decl = (!schema.all_of.is_empty() && schema.all_of.iter().any(|of| of.ruled))
        .then(|| Decl::of(schema, name, root));
    for of in &mut schema.all_of {
        // Rules of `allOf` see the value as the schema around them types it.
        if let Some(decl) = &decl {
            for rule in &mut of.rules {
                rule.compile(decl.as_ref());
            }
        }
    }
    if let Some(of) = &mut schema.items {
        let embedded = of.embedded;
        walk(of, &format!("{name}.@idx"), embedded);
    }
    if let Additional::Each(of) = &mut schema.additional {
        let embedded = of.embedded;
        walk(of, &format!("{name}.@elem"), embedded);
    }
    for (property, of) in &mut schema.properties {
        let embedded = of.embedded;
        walk(of, &format!("{name}.{property}"), embedded);
    }
}

impl Rule {
    /// Compiles against what the node declares.
    pub(crate) fn compile(&mut self, decl: Option<&Decl>) {
        let Some(decl) = decl else {
            let why = "the schema declares no type that a rule could see".to_owned();
            self.program = Some(Err(why));
            return;
        };
        if self.text.trim().is_empty() {
            return;
        }
        let old = if self.optional_old {
            Type::optional(decl.ty.clone())
        } else {
            decl.ty.clone()
        };
        let variables = [("self", decl.ty.clone()), ("oldSelf", old)];
        self.program = Some(match Program::compile(&self.text, &variables) {
            Err(why) => Err(why.to_string()),
            Ok(program) if program.result != Type::Bool => {
                Err("cel expression must evaluate to a bool".to_owned())
            }
            Ok(program) => Ok(program),
        });
        if self.message_expression.is_empty() {
            return;
        }
        let telling = Program::compile(&self.message_expression, &variables);
        self.telling = Some(match telling {
            Err(Uncompiled::Wrong(why)) => {
                Err(format!("messageExpression compilation failed: {why}"))
            }
            Err(Uncompiled::Unready(why)) => {
                Err(format!("messageExpression instantiation failed: {why}"))
            }
            Ok(program) if program.result != Type::Text => {
                Err("messageExpression must evaluate to a string".to_owned())
            }
            Ok(program) => Ok(program),
        });
    }

    fn shown(&self) -> &str {
        let message = if self.message.is_empty() {
            &self.text
        } else {
            &self.message
        };
        message.trim()
    }

    fn told(&self) -> String {
        if self.message.is_empty() {
            format!("failed rule: {}", self.shown())
        } else {
            self.message.trim().to_owned()
        }
    }

    fn cause(&self, field: String, kind: &str, detail: &str) -> Cause {
        match self.reason.as_str() {
            "FieldValueForbidden" => Cause::forbidden(field, detail),
            "FieldValueRequired" => Cause::required(field, detail),
            "FieldValueDuplicate" => Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: \"{kind}\""),
                field,
            },
            _ => Cause::invalid(field, &kind.into(), detail),
        }
    }
}

/// What the rules came to.
#[derive(Default)]
pub(super) struct Found {
    pub(super) causes: Vec<Cause>,
    pub(super) warnings: Vec<String>,
}

/// Evaluates all rules on a value.
pub(super) fn evaluate<'a>(
    new: &'a Value,
    old: Option<&'a Value>,
    schema: &'a Structural,
    found: &mut Found,
) {
    let at = At {
        path: None,
        now: old.map(|old| Was { old, schema }),
        above: None,
    };
    let mut budget = PER_OBJECT;
    let _ = node(new, old, schema, &at, &mut budget, found);
}

/// Where a value is, and what it was.
struct At<'a> {
    path: Option<String>,
    /// What it was, if that can be told.
    now: Option<Was<'a>>,
    /// The nearest value around it of which that can be told.
    above: Option<(Was<'a>, &'a Value)>,
}

impl<'a> At<'a> {
    fn field(&self) -> String {
        self.path.clone().unwrap_or_else(|| "<nil>".to_owned())
    }

    fn below(&self, path: String, new: &'a Value, now: Option<Was<'a>>) -> Self {
        Self {
            path: Some(path),
            now,
            above: self.now.map(|was| (was, new)).or(self.above),
        }
    }

    fn unchanged(&self, new: &Value) -> bool {
        match (self.now, self.above) {
            (Some(was), _) => was.same(new),
            (None, Some((was, new))) => was.same(new),
            _ => false,
        }
    }
}

/// The budget is spent; nothing more is evaluated.
struct Spent;

fn node<'a>(
    new: &'a Value,
    old: Option<&'a Value>,
    schema: &'a Structural,
    at: &At<'a>,
    budget: &mut u64,
    found: &mut Found,
) -> Result<(), Spent> {
    if new.is_null() || !schema.ruled {
        return Ok(());
    }
    let old = old.filter(|old| !old.is_null());
    apply(&schema.rules, new, old, schema, at, budget, found)?;
    for of in schema.all_of.iter().filter(|of| of.ruled) {
        let bare = At {
            path: at.path.clone(),
            now: None,
            above: at.above,
        };
        apply(&of.rules, new, old, schema, &bare, budget, found)?;
    }
    match new {
        Value::Array(items) => {
            let Some(of) = schema.items.as_deref().filter(|of| of.ruled) else {
                return Ok(());
            };
            let was = old.map(|old| Was { old, schema });
            for (i, item) in items.iter().enumerate() {
                let before = was.and_then(|was| was.item(item));
                let now = at.now.and_then(|was| was.item(item));
                let path = format!("{}[{i}]", at.path.clone().unwrap_or_default());
                let below = at.below(path, new, now);
                node(item, before.map(|w| w.old), of, &below, budget, found)?;
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                let (of, path) = match (schema.properties.get(name), &schema.additional) {
                    (Some(of), _) => (of, join(at.path.as_deref(), name)),
                    (None, Additional::Each(of)) => (
                        &**of,
                        format!("{}[{name}]", at.path.clone().unwrap_or_default()),
                    ),
                    _ => continue,
                };
                if !of.ruled {
                    continue;
                }
                let before = old.and_then(|old| old.get(name));
                let now = at.now.and_then(|was| was.key(name));
                let below = at.below(path, new, now);
                node(value, before, of, &below, budget, found)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn join(path: Option<&str>, name: &str) -> String {
    match path {
        None => name.to_owned(),
        Some(path) => format!("{path}.{name}"),
    }
}

fn apply<'a>(
    rules: &'a [Rule],
    new: &'a Value,
    old: Option<&'a Value>,
    schema: &'a Structural,
    at: &At<'a>,
    budget: &mut u64,
    found: &mut Found,
) -> Result<(), Spent> {
    if rules.is_empty() {
        return Ok(());
    }
    let kind = schema.kind.map_or("", super::Type::name);
    let refuse = |detail: &str| Cause::invalid(at.field(), &kind.into(), detail);
    const OUT: &str = "validation failed due to running out of cost budget, no further validation rules will be run";
    if *budget == 0 {
        found.causes.push(refuse(OUT));
        return Err(Spent);
    }
    for rule in rules {
        let program = match &rule.program {
            None => continue,
            Some(Err(why)) => {
                found
                    .causes
                    .push(refuse(&format!("rule compile error: {why}")));
                continue;
            }
            Some(Ok(program)) => program,
        };
        let uses_old = program.uses("oldSelf");
        if uses_old && old.is_none() && !rule.optional_old {
            continue;
        }
        let scope = match scope(new, old, schema, rule.optional_old) {
            Ok(scope) => scope,
            Err(fault) => {
                let text = format!("{fault} evaluating rule: {}", rule.shown());
                found.causes.push(refuse(&text));
                continue;
            }
        };
        let (outcome, cost) = program.run(&scope, PER_CALL);
        if cost > *budget {
            found.causes.push(refuse(OUT));
            return Err(Spent);
        }
        *budget -= cost;
        match outcome {
            Ok(Val::Bool(true)) => continue,
            Ok(_) => {}
            Err(Fault::Overload) => {
                let text = format!(
                    "'{}': call arguments did not match a supported operator, function or macro \
                     signature for rule: {}",
                    Fault::Overload,
                    rule.shown()
                );
                found.causes.push(refuse(&text));
                continue;
            }
            Err(Fault::Cost) => {
                let text = format!(
                    "'{}': no further validation rules will be run due to call cost exceeds limit \
                     for rule: {}",
                    Fault::Cost,
                    rule.shown()
                );
                found.causes.push(refuse(&text));
                return Err(Spent);
            }
            Err(fault) => {
                let text = format!("{fault} evaluating rule: {}", rule.shown());
                found.causes.push(refuse(&text));
                continue;
            }
        }
        let field = match &rule.place {
            Some(place) => join(at.path.as_deref(), place),
            None => at.field(),
        };
        let cause = match message(rule, &scope, budget) {
            Ok(text) => rule.cause(field, kind, &text),
            Err(Some(why)) => {
                found.causes.push(Cause::invalid(field, &kind.into(), &why));
                return Err(Spent);
            }
            Err(None) => rule.cause(field, kind, &rule.told()),
        };
        if !uses_old && at.unchanged(new) {
            let text = format!("{}: {}", cause.field, cause.message);
            found.warnings.push(text);
        } else {
            found.causes.push(cause);
        }
    }
    Ok(())
}

fn scope<'a>(
    new: &'a Value,
    old: Option<&'a Value>,
    schema: &'a Structural,
    optional: bool,
) -> Result<Named<'a>, Fault> {
    let mut names = vec![("self", view(new, Some(schema))?)];
    let old = old.map(|old| view(old, Some(schema))).transpose()?;
    match (old, optional) {
        (Some(old), true) => names.push(("oldSelf", some(old))),
        (None, true) => names.push(("oldSelf", Val::Optional(None))),
        (Some(old), false) => names.push(("oldSelf", old)),
        (None, false) => {}
    }
    Ok(Named(names))
}

/// The message that the rule makes. `Err(Some(_))` ends the evaluation, `Err(None)` asks for the
/// fixed message.
fn message<'a>(
    rule: &'a Rule,
    scope: &Named<'a>,
    budget: &mut u64,
) -> Result<String, Option<String>> {
    let Some(Ok(program)) = &rule.telling else {
        return Err(None);
    };
    let (outcome, cost) = program.run(scope, PER_CALL);
    if cost > *budget {
        return Err(Some(
            "messageExpression evaluation failed due to running out of cost budget, no further \
             validation rules will be run"
                .to_owned(),
        ));
    }
    *budget -= cost;
    match outcome {
        Err(Fault::Cost) => Err(Some(format!(
            "no further validation rules will be run due to call cost exceeds limit for \
             messageExpression: {:?}",
            rule.message_expression
        ))),
        Ok(Val::Text(text)) => {
            let text = text.trim();
            if text.is_empty() || text.contains('\n') || text.len() > MESSAGE {
                return Err(None);
            }
            Ok(text.to_owned())
        }
        _ => Err(None),
    }
}

/// Reads a rule's `fieldPath`: `.spec.x`, `.map['key']`. It must name what the schema has.
pub(crate) fn field_path(path: &str, schema: &Structural) -> Result<String, String> {
    walk_path(path, schema).map(|(path, _)| path)
}

/// Reads the path of a selectable field, and finds its schema.
pub(crate) fn selectable_path<'s>(
    path: &str,
    schema: &'s Structural,
) -> Result<(String, &'s Structural), String> {
    if path.contains('[') {
        return Err("array notation is not allowed".to_owned());
    }
    walk_path(path, schema)
}

fn walk_path<'s>(path: &str, schema: &'s Structural) -> Result<(String, &'s Structural), String> {
    let mut out = String::new();
    let mut schema = schema;
    let mut rest = path;
    let unknown = || "does not refer to a valid field".to_owned();
    while !rest.is_empty() {
        let (name, after) = if let Some(after) = rest.strip_prefix("['") {
            let mut end = None;
            let mut escaped = false;
            for (at, c) in after.char_indices() {
                if c == '\'' && !escaped {
                    end = Some(at);
                    break;
                }
                escaped = c == '\\' && !escaped;
            }
            let Some(end) = end else {
                return Err("unexpected end of JSON path".to_owned());
            };
            let name = after[..end].replace("\\'", "'").replace("\\\\", "\\");
            let after = &after[end + 1..];
            let Some(after) = after.strip_prefix(']') else {
                return Err(if after.is_empty() {
                    "unexpected end of JSON path".to_owned()
                } else {
                    format!(
                        "expected ] but got {}",
                        &after[..after.find(['.', '[']).unwrap_or(after.len())]
                    )
                });
            };
            (name, after)
        } else if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            if end == 0 {
                return Err(if after.is_empty() {
                    "unexpected end of JSON path".to_owned()
                } else {
                    unknown()
                });
            }
            (after[..end].to_owned(), &after[end..])
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            return Err(if after.is_empty() {
                "unexpected end of JSON path".to_owned()
            } else {
                format!("expected single quoted string but got {}", &after[..end])
            });
        } else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
            let got = rest.get(..end).unwrap_or(rest);
            return Err(format!("expected [ or . but got: {got}"));
        };
        rest = after;
        if !schema.properties.is_empty() {
            schema = schema.properties.get(&name).ok_or_else(unknown)?;
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&name);
        } else if let Additional::Each(of) = &schema.additional {
            schema = of;
            out.push('[');
            out.push_str(&name);
            out.push(']');
        } else {
            return Err(unknown());
        }
    }
    Ok((out, schema))
}
