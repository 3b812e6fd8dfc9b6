//! Owns the evaluation of a checked expression under a budget: each step costs, and what costs
//! too much stops. It refuses to know functions; they are the library's.

use std::collections::HashMap;
use std::sync::Arc;

use weir_gocompat::GoRegex;

use super::ast::{ACCU, Call, Expr, Fold, Literal, Node};
use super::cost;
use super::hosts::{Decision, Question};
use super::value::{Items, List, Map, Value, equal, some};

/// Why an evaluation has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("no such overload")]
    Overload,
    #[error("operation cancelled: actual cost limit exceeded")]
    Cost,
    #[error("{0}")]
    Said(Arc<str>),
}

impl Fault {
    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into().into())
    }

    pub(crate) fn no_key(name: &str) -> Self {
        Self::said(format!("no such key: {name}"))
    }
}

/// Where the variables of an expression are found.
pub(crate) trait Scope<'a> {
    fn get(&self, name: &str) -> Option<Result<Value<'a>, Fault>>;

    /// Asks the authorizer. Where there is none, nothing is allowed.
    fn decide(&self, _question: &Question) -> Decision {
        Decision::default()
    }
}

/// A few values by name.
pub(crate) struct Named<'a>(pub(crate) Vec<(&'static str, Value<'a>)>);

impl<'a> Scope<'a> for Named<'a> {
    fn get(&self, name: &str) -> Option<Result<Value<'a>, Fault>> {
        let found = self.0.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| Ok(value.clone()))
    }
}

/// What runs an expression.
pub(crate) struct Machine<'a, 'm> {
    pub(crate) scope: &'m dyn Scope<'a>,
    pub(crate) regexes: &'a HashMap<String, GoRegex>,
    /// What was spent, and what may be.
    pub(crate) spent: u64,
    pub(crate) limit: u64,
    locals: Vec<(&'a str, Result<Value<'a>, Fault>)>,
}

type Outcome<'a> = Result<Value<'a>, Fault>;

fn truth(value: &Value<'_>) -> Result<bool, Fault> {
    match value {
        Value::Bool(v) => Ok(*v),
        _ => Err(Fault::Overload),
    }
}

impl<'a, 'm> Machine<'a, 'm> {
    pub(crate) fn new(
        scope: &'m dyn Scope<'a>,
        regexes: &'a HashMap<String, GoRegex>,
        limit: u64,
    ) -> Self {
        Self {
            scope,
            regexes,
            spent: 0,
            limit,
            locals: Vec::new(),
        }
    }

    pub(crate) fn spend(&mut self, cost: u64) -> Result<(), Fault> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > self.limit {
            return Err(Fault::Cost);
        }
        Ok(())
    }

    pub(crate) fn eval(&mut self, expr: &'a Expr) -> Outcome<'a> {
        match &expr.node {
            Node::Literal(literal) => Ok(constant(literal)),
            Node::Ident(name) => self.ident(name),
            Node::Select {
                operand,
                field,
                test,
            } => self.select(operand, field, *test),
            Node::Call(call) => self.call(call),
            Node::List { items, optional } => self.list(items, optional),
            Node::Map(entries) => self.map(entries),
            Node::Message(_) => Err(Fault::Overload),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    #[inline(never)]
    fn ident(&mut self, name: &'a str) -> Outcome<'a> {
        self.spend(1)?;
        if let Some((_, value)) = self.locals.iter().rev().find(|(n, _)| *n == name) {
            return value.clone();
        }
        if let Some(value) = self.scope.get(name) {
            return value;
        }
        match super::functions::denoted(name) {
            Some(ty) => Ok(Value::Type(ty)),
            None => Err(Fault::said(format!("no such attribute(s): {name}"))),
        }
    }

    #[inline(never)]
    fn select(&mut self, operand: &'a Expr, field: &'a str, test: bool) -> Outcome<'a> {
        let value = self.eval(operand)?;
        if test {
            return Ok(Value::Bool(match value {
                Value::Map(map) => map.field(field).is_some(),
                Value::Optional(None) => false,
                Value::Optional(Some(value)) => match &*value {
                    Value::Map(map) => map.field(field).is_some(),
                    _ => return Err(Fault::no_key(field)),
                },
                _ => return Err(Fault::Overload),
            }));
        }
        self.spend(1)?;
        select(&value, field)
    }

    #[inline(never)]
    fn list(&mut self, items: &'a [Expr], optional: &'a [bool]) -> Outcome<'a> {
        let mut out = Vec::with_capacity(items.len());
        let mut constant = true;
        for (item, optional) in items.iter().zip(optional) {
            constant &= matches!(item.node, Node::Literal(_));
            let value = self.eval(item)?;
            if !*optional {
                out.push(value);
                continue;
            }
            match value {
                Value::Optional(Some(value)) => out.push((*value).clone()),
                Value::Optional(None) => {}
                _ => return Err(Fault::Overload),
            }
        }
        if !constant || items.is_empty() {
            self.spend(cost::LIST)?;
        }
        Ok(super::value::list(out))
    }

    #[inline(never)]
    fn map(&mut self, entries: &'a [super::ast::Entry]) -> Outcome<'a> {
        let mut out = std::collections::BTreeMap::new();
        for entry in entries {
            let key = self.eval(&entry.key)?;
            let mut value = self.eval(&entry.value)?;
            if entry.optional {
                match value {
                    Value::Optional(Some(inner)) => value = (*inner).clone(),
                    Value::Optional(None) => continue,
                    _ => return Err(Fault::Overload),
                }
            }
            // The last of equal keys counts.
            let Some(at) = key.key() else {
                return Err(Fault::said("unsupported key type"));
            };
            out.insert(at, value);
        }
        self.spend(cost::MAP)?;
        Ok(Value::Map(Map::Owned(Arc::new(out))))
    }

    #[inline(never)]
    fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.eval(&fold.range)?;
        let init = self.eval(&fold.init)?;
        let depth = self.locals.len();
        self.locals.push((&fold.accu, Ok(init)));
        let outcome = self.rounds(fold, &range, depth);
        self.locals.truncate(depth + 1);
        let outcome = match outcome {
            Ok(()) => self.eval(&fold.result),
            Err(fault) => Err(fault),
        };
        self.locals.truncate(depth);
        outcome
    }

    #[inline(never)]
    fn rounds(&mut self, fold: &'a Fold, range: &Value<'a>, depth: usize) -> Result<(), Fault> {
        match range {
            Value::List(list) => {
                for at in 0..list.len() {
                    let Some(item) = list.get(at) else { break };
                    let index = Ok(Value::Int(at as i64));
                    let (first, second) = match fold.var2 {
                        Some(_) => (index, Some(item)),
                        None => (item, None),
                    };
                    if !self.round(fold, first, second, depth)? {
                        break;
                    }
                }
                Ok(())
            }
            Value::Map(map) => {
                if fold.var2.is_some() {
                    for (key, value) in map.entries() {
                        if !self.round(fold, Ok(key), Some(value), depth)? {
                            break;
                        }
                    }
                } else {
                    for key in map.keys() {
                        if !self.round(fold, Ok(key), None, depth)? {
                            break;
                        }
                    }
                }
                Ok(())
            }
            _ => Err(Fault::said(format!(
                "got '{}', expected iterable type",
                super::value::type_name(&range.ty())
            ))),
        }
    }

    fn round(
        &mut self,
        fold: &'a Fold,
        first: Outcome<'a>,
        second: Option<Outcome<'a>>,
        depth: usize,
    ) -> Result<bool, Fault> {
        self.locals.truncate(depth + 1);
        self.locals.push((&fold.var, first));
        if let (Some(var2), Some(second)) = (&fold.var2, second) {
            self.locals.push((var2, second));
        }
        let goes_on = self.eval(&fold.condition)?;
        if !matches!(goes_on, Value::Bool(true)) {
            return Ok(false);
        }
        let step = self.eval(&fold.step);
        if step == Err(Fault::Cost) {
            return Err(Fault::Cost);
        }
        if let Some(slot) = self.locals.get_mut(depth) {
            slot.1 = step;
        }
        Ok(true)
    }

    #[inline(never)]
    fn call(&mut self, call: &'a Call) -> Outcome<'a> {
        match (call.name.as_str(), call.args.as_slice()) {
            ("_&&_", terms) => return self.logic(terms, false),
            ("_||_", terms) => return self.logic(terms, true),
            ("_?:_" | "_?_:_", [condition, yes, no]) => {
                let chosen = if truth(&self.eval(condition)?)? {
                    yes
                } else {
                    no
                };
                return self.eval(chosen);
            }
            ("@not_strictly_false", [arg]) => {
                let value = self.eval(arg);
                if value == Err(Fault::Cost) {
                    return value;
                }
                self.spend(1)?;
                return Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false)))));
            }
            ("_+_", [first, second]) if is_accu(first) => return self.grow(first, second),
            ("_?._", [operand, field]) => {
                let value = self.eval(operand)?;
                self.spend(1)?;
                let Node::Literal(Literal::Text(name)) = &field.node else {
                    return Err(Fault::Overload);
                };
                return optional_select(&value, name);
            }
            ("_[_]" | "_[?_]", [operand, index]) => {
                let value = self.eval(operand)?;
                let index = self.eval(index)?;
                self.spend(1)?;
                return at(&value, &index, call.name == "_[?_]");
            }
            ("or" | "orValue", [other]) if call.target.is_some() => {
                let target = match &call.target {
                    Some(target) => self.eval(target)?,
                    None => return Err(Fault::Overload),
                };
                self.spend(1)?;
                return match target {
                    Value::Optional(Some(value)) if call.name == "orValue" => Ok((*value).clone()),
                    Value::Optional(Some(_)) => Ok(target),
                    Value::Optional(None) => self.eval(other),
                    _ => Err(Fault::Overload),
                };
            }
            _ => {}
        }
        self.plain(call)
    }

    #[inline(never)]
    fn plain(&mut self, call: &'a Call) -> Outcome<'a> {
        let mut args = Vec::with_capacity(call.args.len() + 1);
        if let Some(target) = &call.target {
            args.push(self.eval(target)?);
        }
        for arg in &call.args {
            args.push(self.eval(arg)?);
        }
        let function = call.function.ok_or(Fault::Overload)?;
        // What is known before is charged before, so that nothing large is begun in vain.
        self.spend(cost::before(&call.name, &args))?;
        let result = (function.run)(self, &args)?;
        self.spend(cost::after(&call.name, &result))?;
        Ok(result)
    }

    /// Any term may decide; what is wrong in others does not matter then.
    #[inline(never)]
    fn logic(&mut self, terms: &'a [Expr], decides: bool) -> Outcome<'a> {
        let mut fault = None;
        for term in terms {
            match self.eval(term) {
                Ok(Value::Bool(v)) if v == decides => return Ok(Value::Bool(v)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => {
                    fault.get_or_insert(Fault::Overload);
                }
                Err(Fault::Cost) => return Err(Fault::Cost),
                Err(found) => {
                    fault.get_or_insert(found);
                }
            }
        }
        match fault {
            Some(fault) => Err(fault),
            None => Ok(Value::Bool(!decides)),
        }
    }

    /// Adds to the accumulator in place, so that gathering a list takes time in its length only.
    #[inline(never)]
    fn grow(&mut self, accu: &'a Expr, second: &'a Expr) -> Outcome<'a> {
        let added = self.eval(second)?;
        self.spend(2)?;
        let held = self.locals.iter_mut().rev().find(|(n, _)| *n == ACCU);
        let Some((_, slot)) = held else {
            return Err(Fault::Overload);
        };
        let mut total = std::mem::replace(slot, Ok(Value::Null))?;
        match (&mut total, &added) {
            (
                Value::List(List {
                    items: Items::Owned(items),
                    ..
                }),
                Value::List(more),
            ) => {
                let items = Arc::make_mut(items);
                for item in more.iter() {
                    items.push(item?);
                }
                Ok(total)
            }
            (Value::Int(a), Value::Int(b)) => match a.checked_add(*b) {
                Some(sum) => Ok(Value::Int(sum)),
                None => Err(Fault::said("integer overflow")),
            },
            _ => {
                let _ = accu;
                Err(Fault::Overload)
            }
        }
    }
}

fn is_accu(expr: &Expr) -> bool {
    matches!(&expr.node, Node::Ident(name) if name == ACCU)
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        equal(self, other)
    }
}

fn constant(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(v) => Value::Bool(*v),
        Literal::Int(v) => Value::Int(*v),
        Literal::Uint(v) => Value::Uint(*v),
        Literal::Double(v) => Value::Double(*v),
        Literal::Text(v) => Value::Text(v.as_str().into()),
        Literal::Bytes(v) => Value::Bytes(v.as_slice().into()),
    }
}

fn select<'a>(value: &Value<'a>, field: &str) -> Outcome<'a> {
    match value {
        Value::Map(map) => map
            .field(field)
            .unwrap_or_else(|| Err(Fault::no_key(field))),
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(value)) => optional_select(value, field),
        // What has no fields has no such field either.
        _ => Err(Fault::no_key(field)),
    }
}

fn optional_select<'a>(value: &Value<'a>, field: &str) -> Outcome<'a> {
    match value {
        Value::Map(map) => match map.field(field) {
            Some(found) => Ok(some(found?)),
            None => Ok(Value::Optional(None)),
        },
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(value)) => optional_select(value, field),
        _ => Err(Fault::Overload),
    }
}

/// `value[index]`.
fn at<'a>(value: &Value<'a>, index: &Value<'a>, optional: bool) -> Outcome<'a> {
    let found = match value {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(value)) => return at(value, index, true),
        Value::Map(map) => match map.get(index) {
            Some(found) => Ok(found?),
            None => Err(Fault::no_key(&super::library::show(index))),
        },
        Value::List(list) => {
            let number = match index {
                Value::Int(v) => *v,
                Value::Uint(v) => i64::try_from(*v).unwrap_or(i64::MAX),
                Value::Double(v) if v.fract() == 0.0 => *v as i64,
                _ => return Err(Fault::Overload),
            };
            match usize::try_from(number).ok().and_then(|at| list.get(at)) {
                Some(found) => Ok(found?),
                None => Err(Fault::said(format!("index out of bounds: {number}"))),
            }
        }
        _ => return Err(Fault::Overload),
    };
    match (found, optional) {
        (Ok(found), true) => Ok(some(found)),
        (Err(_), true) => Ok(Value::Optional(None)),
        (found, false) => found,
    }
}
