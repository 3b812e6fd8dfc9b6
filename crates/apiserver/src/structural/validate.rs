//! Owns validation by a structural schema, with the field paths and words that people know from
//! the API. What did not change since the last write is not refused now.
//! It refuses to change the value.

use serde_json::{Map, Number, Value};
use weir_gocompat::{FloatFormat, format_float};

use super::ratchet::Was;
use super::rules::{self, Found};
use super::{Additional, Structural, Type, formats, lists};
use crate::refusal::Cause;

/// No more causes than this are gathered for one object.
const CAUSES: usize = 100;

/// What a judgement came to.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) causes: Vec<Cause>,
    /// What is wrong and was before.
    pub(crate) warnings: Vec<String>,
}

/// All that is wrong with an object: against its schema, its lists, what was found of its counts,
/// and then its rules.
pub(crate) fn judge(
    new: &Value,
    old: Option<&Value>,
    schema: &Structural,
    counts: Vec<Cause>,
) -> Judged {
    let was = old.map(|old| Was { old, schema });
    let mut causes: Vec<Cause> = check(new, schema, "", was)
        .issues
        .into_iter()
        .map(|issue| issue.cause)
        .collect();
    super::embedded::check(new, schema, "", &mut causes);
    // Lists that were wrong before are let be.
    let mut before = Vec::new();
    if let Some(old) = old {
        lists::duplicates(old, schema, "", &mut before);
    }
    if before.is_empty() {
        lists::duplicates(new, schema, "", &mut causes);
    }
    causes.extend(counts);
    let mut warnings = Vec::new();
    if schema.ruled {
        let blocks = |cause: &Cause| {
            matches!(
                cause.reason,
                "FieldValueNotSupported"
                    | "FieldValueRequired"
                    | "FieldValueTooLong"
                    | "FieldValueTooMany"
                    | "FieldValueTypeInvalid"
            )
        };
        if causes.iter().any(blocks) {
            let detail = "some validation rules were not checked because the object was invalid; \
                          correct the existing errors to complete validation";
            causes.push(Cause::invalid("<nil>", &Value::Null, detail));
        } else {
            let mut found = Found::default();
            rules::evaluate(new, old, schema, &mut found);
            causes.append(&mut found.causes);
            warnings = found.warnings;
        }
    }
    causes.truncate(CAUSES);
    Judged { causes, warnings }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// One thing that is wrong, told once.
#[derive(Clone, Debug)]
struct Issue {
    cause: Cause,
    /// By which it is told apart from others.
    said: String,
}

/// What a check found, and how much fitted: of alternatives that all fail, the one is told that
/// fits best.
#[derive(Debug, Default)]
struct Outcome {
    issues: Vec<Issue>,
    fitted: u32,
}

impl Outcome {
    fn add(&mut self, issue: Issue) {
        if !self.issues.iter().any(|have| have.said == issue.said) {
            self.issues.push(issue);
        }
    }

    fn merge(&mut self, other: Self) {
        self.fitted += other.fitted;
        for issue in other.issues {
            self.add(issue);
        }
    }

    fn fails(&self) -> bool {
        !self.issues.is_empty()
    }

    /// A cause whose words begin with the path.
    fn say(&mut self, reason: &'static str, path: &str, value: &Value, detail: &str) {
        let said = format!("{path} in body {detail}");
        let mut cause = Cause::invalid(field(path), value, &said);
        cause.reason = reason;
        self.add(Issue { cause, said });
    }
}

/// Where the path leads to, as causes tell it.
fn field(path: &str) -> String {
    match path.strip_prefix('.').unwrap_or(path) {
        "" => "<nil>".to_owned(),
        path => path.to_owned(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check(value: &Value, schema: &Structural, path: &str, was: Option<Was<'_>>) -> Outcome {
    let mut out = Outcome::default();
    if value.is_null() {
        check_type(value, schema, path, &mut out);
        check_values(value, schema, path, &mut out);
    } else {
        if schema.kind.is_some() || schema.int_or_string || schema.format.is_some() {
            check_type(value, schema, path, &mut out);
            out.fitted += 1;
        }
        check_logic(value, schema, path, was, &mut out);
        out.fitted += 1;
        match value {
            Value::String(text) => {
                check_text(value, text, schema, path, &mut out);
                out.fitted += 1;
                if let Some(format) = &schema.format {
                    if !formats::holds(format, text) {
                        wrong_type(path, format, text, &mut out);
                    }
                    out.fitted += 1;
                }
            }
            Value::Number(number) => {
                check_number(number, value, schema, path, &mut out);
                out.fitted += 2;
            }
            Value::Array(items) => {
                check_list(items, schema, path, was, &mut out);
                out.fitted += 2;
            }
            _ => {}
        }
        check_values(value, schema, path, &mut out);
        out.fitted += 1;
        if let Value::Object(map) = value {
            check_map(map, schema, path, was, &mut out);
            out.fitted += 1;
        }
        out.fitted += 1;
    }
    // What did not change since it was let in is let be.
    if out.fails() && was.is_some_and(|was| was.same(value)) {
        out.issues.clear();
    }
    out
}

fn wrong_type(path: &str, wanted: &str, found: &str, out: &mut Outcome) {
    let detail = format!("must be of type {wanted}: {}", weir_gocompat::quote(found));
    out.say("FieldValueTypeInvalid", path, &found.into(), &detail);
}

fn check_type(value: &Value, schema: &Structural, path: &str, out: &mut Outcome) {
    let wanted = match (schema.int_or_string, schema.kind) {
        (true, _) => "integer,string",
        (false, Some(kind)) => kind.name(),
        (false, None) => "",
    };
    let takes = |kind: Type| {
        schema.kind == Some(kind)
            || (schema.int_or_string && matches!(kind, Type::Integer | Type::String))
    };
    if value.is_null() {
        if wanted.is_empty() || schema.nullable {
            out.fitted += 1;
        } else {
            wrong_type(path, wanted, "null", out);
        }
        return;
    }
    let numeric = takes(Type::Number) || takes(Type::Integer);
    let whole = value.as_f64().is_some_and(|f| f.fract() == 0.0) && takes(Type::Integer);
    let fits = match value {
        Value::Number(n) if n.is_i64() => numeric,
        Value::Number(_) => takes(Type::Number) || whole,
        Value::Bool(_) => takes(Type::Boolean),
        Value::String(_) => takes(Type::String),
        Value::Array(_) => takes(Type::Array),
        Value::Object(_) => takes(Type::Object),
        Value::Null => false,
    };
    if let Some(format) = &schema.format {
        let textual = matches!(value, Value::String(_) | Value::Array(_));
        if !textual && !fits {
            let found = match value {
                Value::Number(n) if n.is_i64() => "int64",
                Value::Number(_) => "double",
                _ => "",
            };
            wrong_type(path, format, found, out);
            return;
        }
        // The format alone judges texts.
        if textual && !numeric {
            out.fitted += 1;
            return;
        }
    }
    if fits {
        out.fitted += 1;
    } else {
        wrong_type(path, wanted, type_of(value), out);
    }
}

/// `enum`.
fn check_values(value: &Value, schema: &Structural, path: &str, out: &mut Outcome) {
    let Some(values) = schema.one_of_values.as_ref().filter(|v| !v.is_empty()) else {
        return;
    };
    let same = |allowed: &Value| match (allowed, value) {
        (Value::Null, _) => false,
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    };
    if values.iter().any(same) {
        return;
    }
    let supported: Vec<String> = values
        .iter()
        .map(|v| match v {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    let known: Vec<&str> = supported.iter().map(String::as_str).collect();
    let cause = Cause::unsupported(field(path), value, &known);
    let quoted: Vec<String> = known.iter().map(|v| weir_gocompat::quote(v)).collect();
    let said = format!("{path} in body should be one of {quoted:?}");
    out.add(Issue { cause, said });
}

/// The first that is wrong is told.
fn check_text(value: &Value, text: &str, schema: &Structural, path: &str, out: &mut Outcome) {
    let length = || text.chars().count() as u64;
    if let Some(max) = schema.max_length.filter(|max| length() > *max) {
        let cause = Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {max} bytes"),
            field: field(path),
        };
        let said = format!("{path} in body should be at most {max} chars long");
        out.add(Issue { cause, said });
    } else if let Some(min) = schema.min_length.filter(|min| length() < *min) {
        let detail = format!("should be at least {min} chars long");
        out.say("FieldValueInvalid", path, value, &detail);
    } else if let Some((pattern, regex)) = &schema.pattern {
        let detail = match regex {
            Ok(regex) if regex.is_match(text) => return,
            Ok(_) => format!("should match '{pattern}'"),
            Err(why) => format!("should match '{pattern}, but pattern is invalid: {why}'"),
        };
        out.say("FieldValueInvalid", path, value, &detail);
    }
}

/// A limit as it is printed beside whole numbers, or others.
fn limit(limit: f64, whole: bool) -> String {
    if whole {
        (limit as i64).to_string()
    } else {
        format_float(limit, FloatFormat::General, None)
    }
}

fn check_number(
    number: &Number,
    value: &Value,
    schema: &Structural,
    path: &str,
    out: &mut Outcome,
) {
    let whole = number.is_i64();
    let Some(float) = number.as_f64() else { return };
    // Whole numbers are compared with the whole part of the limit.
    let bound = |limit: f64| if whole { limit.trunc() } else { limit };
    if let Some(of) = schema.multiple_of {
        let fits = if whole {
            let of = of as i64;
            of > 0 && number.as_i64().is_some_and(|n| n % of == 0)
        } else {
            let times = if of < 1.0 {
                1.0 / of * float
            } else {
                float / of
            };
            of > 0.0 && (times - times.round()).abs() < 1e-9 * times.abs().max(1.0)
        };
        if !fits {
            let detail = format!("should be a multiple of {}", limit(of, whole));
            out.say("FieldValueInvalid", path, value, &detail);
        }
    }
    if let Some((min, exclusive)) = schema.minimum
        && (float < bound(min) || (exclusive && float <= bound(min)))
    {
        let than = if exclusive { "" } else { " or equal to" };
        let detail = format!("should be greater than{than} {}", limit(min, whole));
        out.say("FieldValueInvalid", path, value, &detail);
    }
    if let Some((max, exclusive)) = schema.maximum
        && (float > bound(max) || (exclusive && float >= bound(max)))
    {
        let than = if exclusive { "" } else { " or equal to" };
        let detail = format!("should be less than{than} {}", limit(max, whole));
        out.say("FieldValueInvalid", path, value, &detail);
    }
}

fn too_many(path: &str, count: usize, max: u64, what: &str) -> Issue {
    let s = if max == 1 { "" } else { "s" };
    Issue {
        cause: Cause {
            reason: "FieldValueTooMany",
            message: format!("Too many: {count}: must have at most {max} item{s}"),
            field: field(path),
        },
        said: format!("{path} in body should have at most {max} {what}"),
    }
}

fn check_list(
    items: &[Value],
    schema: &Structural,
    path: &str,
    was: Option<Was<'_>>,
    out: &mut Outcome,
) {
    if let Some(of) = &schema.items {
        for (i, item) in items.iter().enumerate() {
            let before = was.and_then(|was| was.item(item));
            out.merge(check(item, of, &format!("{path}[{i}]"), before));
            if out.issues.len() > CAUSES {
                return;
            }
        }
    }
    let count = items.len() as u64;
    if let Some(min) = schema.min_items.filter(|min| count < *min) {
        let detail = format!("should have at least {min} items");
        out.say("FieldValueInvalid", path, &count.into(), &detail);
    }
    if let Some(max) = schema.max_items.filter(|max| count > *max) {
        out.add(too_many(path, items.len(), max, "items"));
    }
    if schema.unique && (1..items.len()).any(|i| items[..i].contains(&items[i])) {
        let detail = "shouldn't contain duplicates";
        out.say("FieldValueInvalid", path, &"".into(), detail);
    }
}

fn check_map(
    map: &Map<String, Value>,
    schema: &Structural,
    path: &str,
    was: Option<Was<'_>>,
    out: &mut Outcome,
) {
    let count = map.len() as u64;
    if let Some(min) = schema.min_properties.filter(|min| count < *min) {
        let detail = format!("should have at least {min} properties");
        out.say("FieldValueInvalid", path, &count.into(), &detail);
    }
    if let Some(max) = schema.max_properties.filter(|max| count > *max) {
        out.add(too_many(path, map.len(), max, "properties"));
    }
    for (name, value) in map {
        let (of, below) = match (schema.properties.get(name), &schema.additional) {
            (Some(of), _) => (of, join(path, name)),
            (None, Additional::Each(of)) => (&**of, format!("{path}.{name}")),
            _ => continue,
        };
        // The version and kind of an object are never what they were: they were converted.
        let identity = path.is_empty() && matches!(name.as_str(), "apiVersion" | "kind");
        let before = was.filter(|_| !identity).and_then(|was| was.key(name));
        out.merge(check(value, of, &below, before));
        if out.issues.len() > CAUSES {
            return;
        }
    }
    for name in &schema.required {
        if !map.contains_key(name) {
            let cause = Cause::required(field(&format!("{path}.{name}")), "");
            let said = format!("{path}.{name} in body is required");
            out.add(Issue { cause, said });
        }
    }
}

/// `anyOf`, `oneOf`, `allOf` and `not`.
fn check_logic(
    value: &Value,
    schema: &Structural,
    path: &str,
    was: Option<Was<'_>>,
    out: &mut Outcome,
) {
    out.fitted += 1;
    let quoted = weir_gocompat::quote(path);
    let say = |out: &mut Outcome, detail: &str| {
        let said = format!("{quoted} {detail}");
        let cause = Cause::invalid("<nil>", &"".into(), &said);
        out.add(Issue { cause, said });
    };
    // Parts of an alternative are ratcheted, the alternative as a whole is not.
    let of = |of: &Structural| branch(value, of, path, was);
    if !schema.any_of.is_empty() {
        let (first, best) = alternatives(&schema.any_of, of, true);
        match first {
            (0, _) => {
                say(out, "must validate at least one schema (anyOf)");
                out.merge(best);
            }
            (_, fitted) => out.fitted += fitted,
        }
    }
    if !schema.one_of.is_empty() {
        let (first, best) = alternatives(&schema.one_of, of, false);
        match first {
            (1, fitted) => out.fitted += fitted,
            (0, _) => {
                let detail = "must validate one and only one schema (oneOf). Found none valid";
                say(out, detail);
                out.merge(best);
            }
            (count, _) => say(
                out,
                &format!(
                    "must validate one and only one schema (oneOf). Found {count} valid alternatives"
                ),
            ),
        }
    }
    if !schema.all_of.is_empty() {
        let mut valid = 0;
        for each in &schema.all_of {
            let outcome = of(each);
            valid += usize::from(!outcome.fails());
            out.merge(outcome);
        }
        if valid != schema.all_of.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            say(out, &format!("must validate all the schemas (allOf){none}"));
        }
    }
    if let Some(not) = &schema.not
        && !of(not).fails()
    {
        say(out, "must not validate the schema (not)");
    }
}

fn branch(value: &Value, of: &Structural, path: &str, was: Option<Was<'_>>) -> Outcome {
    // `same` of the whole must not clear what the alternative finds.
    match was {
        Some(was) if was.same(value) => check(value, of, path, None),
        was => check(value, of, path, was),
    }
}

/// How many alternatives hold with what the first of them fitted, and the best of those that fail.
fn alternatives(
    all: &[Structural],
    of: impl Fn(&Structural) -> Outcome,
    stop: bool,
) -> ((usize, u32), Outcome) {
    let (mut valid, mut fitted) = (0, 0);
    let mut best: Option<Outcome> = None;
    for each in all {
        let outcome = of(each);
        if !outcome.fails() {
            if valid == 0 {
                fitted = outcome.fitted;
            }
            valid += 1;
            if stop {
                break;
            }
        } else if best.as_ref().is_none_or(|b| outcome.fitted > b.fitted) {
            best = Some(outcome);
        }
    }
    ((valid, fitted), best.unwrap_or_default())
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
