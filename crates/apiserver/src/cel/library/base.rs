//! Owns operators, sizes, membership and optionals.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Entry, overload, truth};
use crate::cel::eval::{Fault, Machine};
use crate::cel::value::{Key, Map, Value, comparable, compare, equal, list, some};

type Outcome<'a> = Result<Value<'a>, Fault>;

const ORDERED: &[&str] = &[
    "(bool, bool) bool",
    "(int, int) bool",
    "(int, double) bool",
    "(int, uint) bool",
    "(uint, uint) bool",
    "(uint, double) bool",
    "(uint, int) bool",
    "(double, double) bool",
    "(double, int) bool",
    "(double, uint) bool",
    "(string, string) bool",
    "(bytes, bytes) bool",
    "(timestamp, timestamp) bool",
    "(duration, duration) bool",
];

pub(super) fn all() -> Vec<Entry> {
    vec![
        ("_?_:_", &["(bool, A, A) A"], |_, _| overload()),
        ("_&&_", &["(bool, bool) bool"], |_, _| overload()),
        ("_||_", &["(bool, bool) bool"], |_, _| overload()),
        ("@not_strictly_false", &["(bool) bool"], |_, _| overload()),
        ("!_", &["(bool) bool"], |_, args| match args {
            [Value::Bool(v)] => truth(!v),
            _ => overload(),
        }),
        ("_==_", &["(A, A) bool"], |_, args| match args {
            [a, b] => truth(equal(a, b)),
            _ => overload(),
        }),
        ("_!=_", &["(A, A) bool"], |_, args| match args {
            [a, b] => truth(!equal(a, b)),
            _ => overload(),
        }),
        ("_<_", ORDERED, |_, args| {
            order(args, |o| o == Ordering::Less)
        }),
        ("_<=_", ORDERED, |_, args| {
            order(args, |o| o != Ordering::Greater)
        }),
        ("_>_", ORDERED, |_, args| {
            order(args, |o| o == Ordering::Greater)
        }),
        ("_>=_", ORDERED, |_, args| {
            order(args, |o| o != Ordering::Less)
        }),
        (
            "_+_",
            &[
                "(bytes, bytes) bytes",
                "(double, double) double",
                "(duration, duration) duration",
                "(duration, timestamp) timestamp",
                "(timestamp, duration) timestamp",
                "(int, int) int",
                "(list(A), list(A)) list(A)",
                "(string, string) string",
                "(uint, uint) uint",
            ],
            add,
        ),
        (
            "_-_",
            &[
                "(double, double) double",
                "(duration, duration) duration",
                "(int, int) int",
                "(timestamp, duration) timestamp",
                "(timestamp, timestamp) duration",
                "(uint, uint) uint",
            ],
            subtract,
        ),
        (
            "_*_",
            &[
                "(double, double) double",
                "(int, int) int",
                "(uint, uint) uint",
            ],
            |_, args| match args {
                [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
                [Value::Int(a), Value::Int(b)] => int(a.checked_mul(*b)),
                [Value::Uint(a), Value::Uint(b)] => uint(a.checked_mul(*b)),
                _ => overload(),
            },
        ),
        (
            "_/_",
            &[
                "(double, double) double",
                "(int, int) int",
                "(uint, uint) uint",
            ],
            |_, args| match args {
                [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
                [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
                    Err(Fault::said("division by zero"))
                }
                [Value::Int(a), Value::Int(b)] => int(a.checked_div(*b)),
                [Value::Uint(a), Value::Uint(b)] => uint(a.checked_div(*b)),
                _ => overload(),
            },
        ),
        (
            "_%_",
            &["(int, int) int", "(uint, uint) uint"],
            |_, args| match args {
                [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
                    Err(Fault::said("modulus by zero"))
                }
                [Value::Int(a), Value::Int(b)] => int(a.checked_rem(*b)),
                [Value::Uint(a), Value::Uint(b)] => uint(a.checked_rem(*b)),
                _ => overload(),
            },
        ),
        (
            "-_",
            &["(double) double", "(int) int"],
            |_, args| match args {
                [Value::Double(v)] => Ok(Value::Double(-v)),
                [Value::Int(v)] => int(v.checked_neg()),
                _ => overload(),
            },
        ),
        (
            "_[_]",
            &[
                "(list(A), int) A",
                "(map(A, B), A) B",
                "(optional(list(A)), int) optional(A)",
                "(optional(map(A, B)), A) optional(B)",
            ],
            |_, _| overload(),
        ),
        (
            "_[?_]",
            &[
                "(list(A), int) optional(A)",
                "(optional(list(A)), int) optional(A)",
                "(map(A, B), A) optional(B)",
                "(optional(map(A, B)), A) optional(B)",
            ],
            |_, _| overload(),
        ),
        ("_?._", &["(dyn, string) optional(dyn)"], |_, _| overload()),
        (
            "@in",
            &["(A, list(A)) bool", "(A, map(A, B)) bool"],
            |_, args| match args {
                [item, Value::List(list)] => {
                    for have in list.iter() {
                        if equal(&have?, item) {
                            return truth(true);
                        }
                    }
                    truth(false)
                }
                [key, Value::Map(map)] => truth(map.get(key).is_some()),
                _ => overload(),
            },
        ),
        (
            "size",
            &[
                "(bytes) int",
                ".(bytes) int",
                "(list(A)) int",
                ".(list(A)) int",
                "(map(A, B)) int",
                ".(map(A, B)) int",
                "(string) int",
                ".(string) int",
            ],
            |_, args| match args {
                [value @ (Value::Text(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_))] => {
                    Ok(Value::Int(value.size() as i64))
                }
                _ => overload(),
            },
        ),
        (
            "cel.@mapInsert",
            &[
                "(map(A, B), A, B) map(A, B)",
                "(map(A, B), map(A, B)) map(A, B)",
            ],
            insert,
        ),
        ("optional.of", &["(A) optional(A)"], |_, args| match args {
            [value] => Ok(some(value.clone())),
            _ => overload(),
        }),
        ("optional.none", &["() optional(A)"], |_, _| {
            Ok(Value::Optional(None))
        }),
        (
            "optional.ofNonZeroValue",
            &["(A) optional(A)"],
            |_, args| match args {
                [value] if is_zero(value) => Ok(Value::Optional(None)),
                [value] => Ok(some(value.clone())),
                _ => overload(),
            },
        ),
        ("hasValue", &[".(optional(A)) bool"], |_, args| match args {
            [Value::Optional(value)] => truth(value.is_some()),
            _ => overload(),
        }),
        ("value", &[".(optional(A)) A"], |_, args| match args {
            [Value::Optional(Some(value))] => Ok((**value).clone()),
            [Value::Optional(None)] => Err(Fault::said("optional.none() dereference")),
            _ => overload(),
        }),
        (
            "or",
            &[".(optional(A), optional(A)) optional(A)"],
            |_, _| overload(),
        ),
        ("orValue", &[".(optional(A), A) A"], |_, _| overload()),
        ("first", &[".(list(A)) optional(A)"], |_, args| match args {
            [Value::List(list)] => Ok(match list.get(0) {
                Some(value) => some(value?),
                None => Value::Optional(None),
            }),
            _ => overload(),
        }),
        ("last", &[".(list(A)) optional(A)"], |_, args| match args {
            [Value::List(list)] => Ok(
                match list.len().checked_sub(1).and_then(|at| list.get(at)) {
                    Some(value) => some(value?),
                    None => Value::Optional(None),
                },
            ),
            _ => overload(),
        }),
        ("optional.unwrap", &["(list(optional(A))) list(A)"], unwrap),
        ("unwrapOpt", &[".(list(optional(A))) list(A)"], unwrap),
    ]
}

fn unwrap<'a>(_: &mut Machine<'a, '_>, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(items)] = args else {
        return overload();
    };
    let mut out = Vec::new();
    for item in items.iter() {
        match item? {
            Value::Optional(Some(value)) => out.push((*value).clone()),
            Value::Optional(None) => {}
            _ => return overload(),
        }
    }
    Ok(list(out))
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) => true,
        Value::Double(v) => *v == 0.0,
        Value::Text(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => value.size() == 0,
        Value::Duration(v) => *v == 0,
        Value::Optional(v) => v.is_none(),
        _ => false,
    }
}

fn order<'a>(args: &[Value<'a>], wanted: fn(Ordering) -> bool) -> Outcome<'a> {
    match args {
        [a, b] if comparable(a, b) => truth(compare(a, b).is_some_and(wanted)),
        _ => overload(),
    }
}

fn int<'a>(value: Option<i64>) -> Outcome<'a> {
    match value {
        Some(v) => Ok(Value::Int(v)),
        None => Err(Fault::said("integer overflow")),
    }
}

fn uint<'a>(value: Option<u64>) -> Outcome<'a> {
    match value {
        Some(v) => Ok(Value::Uint(v)),
        None => Err(Fault::said("unsigned integer overflow")),
    }
}

fn span<'a>(value: Option<i64>) -> Outcome<'a> {
    match value {
        Some(v) => Ok(Value::Duration(v)),
        None => Err(Fault::said("integer overflow")),
    }
}

fn moment<'a>(time: jiff::Timestamp, nanos: i64, back: bool) -> Outcome<'a> {
    let span = jiff::SignedDuration::from_nanos(nanos);
    let moved = if back {
        time.checked_sub(span)
    } else {
        time.checked_add(span)
    };
    match moved {
        Ok(time) => Ok(Value::Timestamp(time)),
        Err(_) => Err(Fault::said("timestamp overflow")),
    }
}

fn add<'a>(_: &mut Machine<'a, '_>, args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_add(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_add(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a + b)),
        [Value::Text(a), Value::Text(b)] => Ok(Value::Text(format!("{a}{b}").into())),
        [Value::Bytes(a), Value::Bytes(b)] => Ok(Value::Bytes([&a[..], &b[..]].concat().into())),
        [Value::List(a), Value::List(b)] => a.plus(b),
        [Value::Duration(a), Value::Duration(b)] => span(a.checked_add(*b)),
        [Value::Timestamp(time), Value::Duration(by)]
        | [Value::Duration(by), Value::Timestamp(time)] => moment(*time, *by, false),
        _ => overload(),
    }
}

fn subtract<'a>(_: &mut Machine<'a, '_>, args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_sub(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_sub(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a - b)),
        [Value::Duration(a), Value::Duration(b)] => span(a.checked_sub(*b)),
        [Value::Timestamp(time), Value::Duration(by)] => moment(*time, *by, true),
        [Value::Timestamp(a), Value::Timestamp(b)] => {
            span(i64::try_from(a.as_nanosecond() - b.as_nanosecond()).ok())
        }
        _ => overload(),
    }
}

fn insert<'a>(_: &mut Machine<'a, '_>, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::Map(map), rest @ ..] = args else {
        return overload();
    };
    let mut out = std::collections::BTreeMap::<Key, Value<'a>>::new();
    let mut put = |key: &Value<'a>, value: Value<'a>| {
        let Some(at) = key.key() else {
            return Err(Fault::said("unsupported key type"));
        };
        if out.insert(at, value).is_some() {
            let shown = super::show(key);
            return Err(Fault::said(format!(
                "insert failed: key {shown} already exists"
            )));
        }
        Ok(())
    };
    for (key, value) in map.entries() {
        put(&key, value?)?;
    }
    match rest {
        [key, value] => put(key, value.clone())?,
        [Value::Map(more)] => {
            for (key, value) in more.entries() {
                put(&key, value?)?;
            }
        }
        _ => return overload(),
    }
    Ok(Value::Map(Map::Owned(Arc::new(out))))
}
