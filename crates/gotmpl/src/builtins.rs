//! The functions every template knows.
//!
//! Owns Go's built-in ones. `and`, `or` and `call` are here for their signatures; evaluation treats them apart,
//! since the first two skip arguments and the third names its callee.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::compare;
use crate::escape;
use crate::format::{sprint, sprintln};
use crate::funcs::{Func, Signature};
use crate::printf::sprintf;
use crate::types::Type;
use crate::value::{GoStr, List, Value};

type Answer = Result<Value, String>;

/// The built-in function of a name.
pub(crate) fn get(name: &str) -> Option<&'static Func> {
    BUILTINS.get(name)
}

static BUILTINS: LazyLock<BTreeMap<&'static str, Func>> = LazyLock::new(|| {
    let any = || Signature::variadic([], Type::Any);
    let one = || Signature::fixed([Type::Raw]);
    let two = || Signature::fixed([Type::Raw, Type::Raw]);
    let more = || Signature::variadic([Type::Raw], Type::Raw);
    let text =
        |args: &[Value], escape: fn(&[u8]) -> Vec<u8>| Ok(Value::string(escape(&joined(args))));
    BTreeMap::from([
        ("and", Func::new(more(), |_| Ok(Value::Nil))),
        ("or", Func::new(more(), |_| Ok(Value::Nil))),
        ("call", Func::new(more(), |_| Ok(Value::Nil))),
        (
            "not",
            Func::new(one(), |args| Ok(Value::Bool(!first(args).is_true()))),
        ),
        ("len", Func::new(one(), |args| length(first(args)))),
        ("index", Func::new(more(), index)),
        ("slice", Func::new(more(), slice)),
        (
            "print",
            Func::new(any(), |args| Ok(Value::string(sprint(args)))),
        ),
        (
            "println",
            Func::new(any(), |args| Ok(Value::string(sprintln(args)))),
        ),
        (
            "printf",
            Func::new(Signature::variadic([Type::String], Type::Any), |args| {
                let Some((Value::Str(format), args)) = args.split_first() else {
                    return Ok(Value::Nil);
                };
                Ok(Value::string(sprintf(format.as_bytes(), args)))
            }),
        ),
        (
            "html",
            Func::new(any(), move |args| text(args, escape::html)),
        ),
        ("js", Func::new(any(), move |args| text(args, escape::js))),
        (
            "urlquery",
            Func::new(any(), move |args| text(args, escape::urlquery)),
        ),
        (
            "eq",
            Func::new(more(), |args| compare::eq(args).map(Value::Bool)),
        ),
        (
            "ne",
            Func::new(two(), |args| {
                compare::eq(args).map(|equal| Value::Bool(!equal))
            }),
        ),
        ("lt", Func::new(two(), |args| pair(args, compare::lt))),
        ("le", Func::new(two(), |args| pair(args, compare::le))),
        (
            "gt",
            Func::new(two(), |args| {
                pair(args, |a, b| compare::le(a, b).map(|le| !le))
            }),
        ),
        (
            "ge",
            Func::new(two(), |args| {
                pair(args, |a, b| compare::lt(a, b).map(|lt| !lt))
            }),
        ),
    ])
});

fn first(args: &[Value]) -> &Value {
    args.first().unwrap_or(&Value::Nil)
}

fn pair(args: &[Value], compare: impl Fn(&Value, &Value) -> Result<bool, String>) -> Answer {
    let second = args.get(1).unwrap_or(&Value::Nil);
    compare(first(args), second).map(Value::Bool)
}

/// The arguments of an escaper as one text; nothing is shown as when printed by a template.
fn joined(args: &[Value]) -> Vec<u8> {
    let shown: Vec<Value> = args
        .iter()
        .map(|arg| match arg {
            Value::Nil => Value::string("<no value>"),
            other => other.clone(),
        })
        .collect();
    sprint(&shown)
}

fn length(value: &Value) -> Answer {
    let length = match value {
        Value::Str(s) => s.as_bytes().len(),
        Value::List(list) => list.items().len(),
        Value::Map(map) => map.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_of().name())),
    };
    Ok(Value::Int(length as i64))
}

/// An index up to and including `end`.
fn position(value: &Value, end: usize) -> Result<usize, String> {
    let (at, shown) = match value {
        Value::Int(i) | Value::Int64(i) => (usize::try_from(*i).ok(), *i),
        Value::Uint8(u) => (Some(usize::from(*u)), i64::from(*u)),
        Value::Uint64(u) => (usize::try_from(*u).ok(), *u as i64),
        Value::Nil => return Err("cannot index slice/array with nil".to_owned()),
        other => {
            let name = other.type_of();
            return Err(format!(
                "cannot index slice/array with type {}",
                name.name()
            ));
        }
    };
    at.filter(|at| *at <= end && shown >= 0)
        .ok_or_else(|| format!("index out of range: {shown}"))
}

fn index(args: &[Value]) -> Answer {
    let Some((item, indexes)) = args.split_first() else {
        return Ok(Value::Nil);
    };
    if matches!(item, Value::Nil) {
        return Err("index of untyped nil".to_owned());
    }
    let mut item = item.clone();
    for at in indexes {
        item = match &item {
            Value::Nil => return Err("index of nil pointer".to_owned()),
            Value::Str(s) => {
                let i = position(at, s.as_bytes().len())?;
                let byte = s.as_bytes().get(i);
                Value::Uint8(*byte.ok_or_else(|| past_end("string", i, s.as_bytes().len()))?)
            }
            Value::List(list) => {
                let i = position(at, list.items().len())?;
                let found = list.items().get(i).cloned();
                found.ok_or_else(|| past_end("slice", i, list.items().len()))?
            }
            Value::Map(map) => {
                let key = key_for(at, map.key())?;
                map.get(&key).unwrap_or_else(|| map.element().zero())
            }
            other => {
                return Err(format!(
                    "can't index item of type {}",
                    other.type_of().name()
                ));
            }
        };
    }
    Ok(item)
}

/// Go lets an index equal the length through, and its runtime refuses it.
fn past_end(kind: &str, _at: usize, _length: usize) -> String {
    format!("reflect: {kind} index out of range")
}

/// A map's key from an argument: of the key's type, or an integer for an integer.
fn key_for(at: &Value, wanted: &Type) -> Answer {
    if matches!(at, Value::Nil) {
        if wanted.is_any() {
            return Ok(Value::Nil);
        }
        return Err(format!("value is nil; should be of type {}", wanted.name()));
    }
    let kind = at.type_of();
    if kind == *wanted || wanted.is_any() {
        return Ok(at.clone());
    }
    let number = match at {
        Value::Int(i) | Value::Int64(i) => Some(*i),
        Value::Uint8(u) => Some(i64::from(*u)),
        Value::Uint64(u) => Some(*u as i64),
        _ => None,
    };
    match (number, wanted) {
        (Some(n), Type::Int) => Ok(Value::Int(n)),
        (Some(n), Type::Int64) => Ok(Value::Int64(n)),
        (Some(n), Type::Uint8) => Ok(Value::Uint8(n as u8)),
        (Some(n), Type::Uint64) => Ok(Value::Uint64(n as u64)),
        _ => Err(format!(
            "value has type {}; should be {}",
            kind.name(),
            wanted.name()
        )),
    }
}

fn slice(args: &[Value]) -> Answer {
    let Some((item, indexes)) = args.split_first() else {
        return Ok(Value::Nil);
    };
    if matches!(item, Value::Nil) {
        return Err("slice of untyped nil".to_owned());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let length = match item {
        Value::Str(_) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::Str(s) => s.as_bytes().len(),
        Value::List(list) => list.items().len(),
        other => {
            return Err(format!(
                "can't slice item of type {}",
                other.type_of().name()
            ));
        }
    };
    let mut bounds = [0, length, length];
    for (bound, at) in bounds.iter_mut().zip(indexes) {
        *bound = position(at, length)?;
    }
    let [from, to, end] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if to > end {
        return Err(format!("invalid slice index: {to} > {end}"));
    }
    Ok(match item {
        Value::Str(s) => Value::Str(GoStr::from(s.as_bytes().get(from..to).unwrap_or_default())),
        Value::List(list) => Value::List(List::typed(
            list.element().clone(),
            list.items().get(from..to).unwrap_or_default().to_vec(),
        )),
        _ => Value::Nil,
    })
}

/// `call`: the first argument is the function, the rest its arguments.
pub(crate) fn call(name: &str, args: &[Value]) -> Answer {
    let Some((callee, args)) = args.split_first() else {
        return Err("call of nil".to_owned());
    };
    let func = match callee {
        Value::Nil => return Err("call of nil".to_owned()),
        Value::Func(func) => func,
        other => {
            return Err(format!(
                "non-function {name} of type {}",
                other.type_of().name()
            ));
        }
    };
    let (fixed, given) = (func.signature().params.len(), args.len());
    if func.signature().variadic.is_some() {
        if given < fixed {
            return Err(format!(
                "wrong number of args for {name}: got {given} want at least {fixed}"
            ));
        }
    } else if given != fixed {
        return Err(format!(
            "wrong number of args for {name}: got {given} want {fixed}"
        ));
    }
    let mut ready = Vec::with_capacity(given);
    for (i, arg) in args.iter().enumerate() {
        let wanted = func.param(i);
        if matches!(wanted, Type::Any | Type::Raw) {
            ready.push(arg.clone());
            continue;
        }
        ready.push(key_for(arg, &wanted).map_err(|wrong| format!("arg {i}: {wrong}"))?);
    }
    func.call(&ready)
}
