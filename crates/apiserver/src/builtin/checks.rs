//! Owns the collecting of causes: where a field is, and the forms in which it is told to be wrong.

use std::fmt;

use serde_json::{Map, Value};

use super::names::{self, Faults};
use crate::refusal::Cause;

/// Where a field is, as a way back to the root. Nothing is written until it is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> At<'a> {
    /// A field of the object itself.
    pub(crate) fn root(name: &'a str) -> Self {
        Self {
            parent: None,
            step: Step::Field(name),
        }
    }

    pub(crate) fn field<'b>(&'b self, name: &'b str) -> At<'b> {
        At {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    pub(crate) fn index(&self, at: usize) -> At<'_> {
        At {
            parent: Some(self),
            step: Step::Index(at),
        }
    }

    pub(crate) fn key<'b>(&'b self, key: &'b str) -> At<'b> {
        At {
            parent: Some(self),
            step: Step::Key(key),
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Index(at) => write!(f, "[{at}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

impl From<At<'_>> for String {
    fn from(at: At<'_>) -> Self {
        at.to_string()
    }
}

/// The causes found so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) causes: Vec<Cause>,
}

impl Checks {
    pub(crate) fn count(&self) -> usize {
        self.causes.len()
    }

    pub(crate) fn required(&mut self, at: At<'_>, detail: &str) {
        self.causes.push(Cause::required(at, detail));
    }

    pub(crate) fn invalid(&mut self, at: At<'_>, value: &Value, detail: &str) {
        self.causes.push(Cause::invalid(at, value, detail));
    }

    /// A text that is wrong.
    pub(crate) fn wrong(&mut self, at: At<'_>, value: &str, detail: &str) {
        self.causes.push(Cause::invalid(at, &value.into(), detail));
    }

    pub(crate) fn forbidden(&mut self, at: At<'_>, detail: &str) {
        self.causes.push(Cause::forbidden(at, detail));
    }

    pub(crate) fn duplicate(&mut self, at: At<'_>, value: &Value) {
        self.causes.push(Cause::duplicate(at, value));
    }

    pub(crate) fn unsupported(&mut self, at: At<'_>, value: &Value, known: &[&str]) {
        self.causes.push(Cause::unsupported(at, value, known));
    }

    /// A text of which each fault is told.
    pub(crate) fn faults(&mut self, at: At<'_>, value: &str, faults: Faults) {
        for fault in faults {
            self.causes.push(Cause::invalid(at, &value.into(), &fault));
        }
    }

    /// One of some words.
    pub(crate) fn one_of(&mut self, at: At<'_>, value: &str, known: &[&str]) {
        if !known.contains(&value) {
            self.unsupported(at, &value.into(), known);
        }
    }

    /// One of some words where anything is said.
    pub(crate) fn one_of_if(&mut self, at: At<'_>, value: &str, known: &[&str]) {
        if !value.is_empty() {
            self.one_of(at, value, known);
        }
    }

    /// An integer member that is not less than zero.
    pub(crate) fn not_negative(&mut self, at: At<'_>, owner: &Value, name: &str) {
        if let Some(number) = int(owner, name).filter(|n| *n < 0) {
            let detail = "must be greater than or equal to 0";
            self.invalid(at.field(name), &number.into(), detail);
        }
    }

    /// Labels, or what selects by them.
    pub(crate) fn labels(&mut self, at: At<'_>, labels: &Value) {
        for (key, value) in members(labels) {
            self.faults(at, key, names::qualified(key));
            let value = value.as_str().unwrap_or_default();
            self.faults(at, value, names::label_value(value));
        }
    }

    /// A port number, or the name of a port.
    pub(crate) fn port_or_name(&mut self, at: At<'_>, value: &Value) {
        match value {
            Value::String(name) => self.faults(at, name, names::port_name(name)),
            value => self.port(at, value.as_i64().unwrap_or_default()),
        }
    }

    pub(crate) fn port(&mut self, at: At<'_>, number: i64) {
        if !(1..=65535).contains(&number) {
            self.invalid(at, &number.into(), names::PORT);
        }
    }

    /// A label selector. Answers whether it can be used.
    pub(crate) fn selector(&mut self, at: At<'_>, selector: &Value) {
        self.labels(at.field("matchLabels"), of(selector, "matchLabels"));
        let at = at.field("matchExpressions");
        for (i, rule) in list(selector, "matchExpressions").iter().enumerate() {
            let at = at.index(i);
            let values = list(rule, "values");
            match text(rule, "operator") {
                "In" | "NotIn" => {
                    if values.is_empty() {
                        let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                        self.required(at.field("values"), detail);
                    }
                }
                "Exists" | "DoesNotExist" => {
                    if !values.is_empty() {
                        let detail =
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                        self.forbidden(at.field("values"), detail);
                    }
                }
                other => self.wrong(at.field("operator"), other, "not a valid selector operator"),
            }
            let key = text(rule, "key");
            self.faults(at.field("key"), key, names::qualified(key));
            let at = at.field("values");
            for (i, value) in values.iter().enumerate() {
                let value = value.as_str().unwrap_or_default();
                self.faults(at.index(i), value, names::label_value(value));
            }
        }
    }

    /// A member that may not change.
    pub(crate) fn fixed(&mut self, at: At<'_>, old: &Value, new: &Value) {
        if old != new {
            self.invalid(at, new, "field is immutable");
        }
    }

    /// A count or a percentage that is not less than zero.
    pub(crate) fn count_or_percent(&mut self, at: At<'_>, value: &Value) {
        match value {
            Value::String(text) => self.faults(at, text, names::percent(text)),
            value => {
                if let Some(number) = value.as_i64().filter(|n| *n < 0) {
                    let detail = "must be greater than or equal to 0";
                    self.invalid(at, &number.into(), detail);
                }
            }
        }
    }

    /// A percentage that is not more than the whole.
    pub(crate) fn within_whole(&mut self, at: At<'_>, value: &Value) {
        if let Some(text) = value.as_str()
            && names::percent(text).is_empty()
            && text
                .trim_end_matches('%')
                .parse::<i64>()
                .is_ok_and(|n| n > 100)
        {
            self.wrong(at, text, "must not be greater than 100%");
        }
    }
}

static NULL: Value = Value::Null;

/// A member, or null.
pub(crate) fn of<'a>(owner: &'a Value, name: &str) -> &'a Value {
    owner.get(name).unwrap_or(&NULL)
}

/// A text member, or nothing.
pub(crate) fn text<'a>(owner: &'a Value, name: &str) -> &'a str {
    of(owner, name).as_str().unwrap_or_default()
}

/// An integer member.
pub(crate) fn int(owner: &Value, name: &str) -> Option<i64> {
    of(owner, name).as_i64()
}

/// Whether a member is there and true.
pub(crate) fn flag(owner: &Value, name: &str) -> bool {
    of(owner, name).as_bool().unwrap_or_default()
}

/// The items of a member.
pub(crate) fn list<'a>(owner: &'a Value, name: &str) -> &'a [Value] {
    of(owner, name).as_array().map_or(&[], Vec::as_slice)
}

/// The members of a map in the order of their names.
pub(crate) fn members(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flat_map(Map::iter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_way_is_written_as_the_api_writes_it() {
        let spec = At::root("spec");
        let containers = spec.field("containers");
        let first = containers.index(0);
        let limits = first.field("limits");
        assert_eq!(
            limits.key("cpu").to_string(),
            "spec.containers[0].limits[cpu]"
        );
    }

    #[test]
    fn selectors_are_judged_rule_by_rule() {
        let mut checks = Checks::default();
        let selector = json!({"matchLabels": {"a b": "c"}, "matchExpressions": [
            {"key": "a", "operator": "In"}, {"key": "a", "operator": "Odd"}]});
        checks.selector(At::root("s"), &selector);
        let fields: Vec<&str> = checks.causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "s.matchLabels",
                "s.matchExpressions[0].values",
                "s.matchExpressions[1].operator"
            ]
        );
    }
}
