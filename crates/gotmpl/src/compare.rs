//! Comparison: `eq`, `ne`, `lt`, `le`, `gt`, `ge`.
//!
//! Owns which kinds may be compared and the messages when they may not. Integers compare across signs; an integer
//! and a float do not.

use crate::format::{Flags, Printer};
use crate::value::{Key, Value};

const BAD_TYPE: &str = "invalid type for comparison";

#[derive(PartialEq, Eq, Clone, Copy)]
enum Basic {
    Bool,
    Int,
    Uint,
    Float,
    String,
}

fn basic(value: &Value) -> Option<Basic> {
    Some(match value {
        Value::Bool(_) => Basic::Bool,
        Value::Int(_) | Value::Int64(_) => Basic::Int,
        Value::Uint8(_) | Value::Uint64(_) => Basic::Uint,
        Value::Float(_) => Basic::Float,
        Value::Str(_) => Basic::String,
        Value::Nil | Value::List(_) | Value::Map(_) | Value::Struct(_) | Value::Func(_) => {
            return None;
        }
    })
}

/// An integer of either sign, wide enough for both.
fn integer(value: &Value) -> Option<i128> {
    Some(match value {
        Value::Int(i) | Value::Int64(i) => i128::from(*i),
        Value::Uint8(u) => i128::from(*u),
        Value::Uint64(u) => i128::from(*u),
        _ => return None,
    })
}

/// Whether the first equals any of the others.
pub(crate) fn eq(args: &[Value]) -> Result<bool, String> {
    let Some((first, others)) = args.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Err("missing argument for comparison".to_owned());
    };
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[expect(clippy::float_cmp, reason = "a template's `eq` is exact")]
fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return Ok(a == b);
    }
    let nil = |value: &Value| matches!(value, Value::Nil);
    if basic(a) != basic(b) {
        if nil(a) || nil(b) {
            return Ok(false);
        }
        return Err(incompatible(a, b));
    }
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Str(a), Value::Str(b)) => Ok(a == b),
        (Value::Nil, _) | (_, Value::Nil) => Ok(nil(a) && nil(b)),
        (Value::Struct(_), Value::Struct(_)) => {
            Ok(a.type_of() == b.type_of() && Key::new(a.clone()) == Key::new(b.clone()))
        }
        _ if std::mem::discriminant(a) != std::mem::discriminant(b) => Err(format!(
            "non-comparable types {}: {}, {}: {}",
            string_verb(a),
            a.type_of().name(),
            b.type_of().name(),
            plain(b)
        )),
        _ => Err(format!(
            "non-comparable type {}: {}",
            string_verb(b),
            b.type_of().name()
        )),
    }
}

/// Whether `a` comes before `b`.
pub(crate) fn lt(a: &Value, b: &Value) -> Result<bool, String> {
    let (Some(kind_a), Some(kind_b)) = (basic(a), basic(b)) else {
        return Err(BAD_TYPE.to_owned());
    };
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return Ok(a < b);
    }
    if kind_a != kind_b {
        return Err(incompatible(a, b));
    }
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::Str(a), Value::Str(b)) => Ok(a < b),
        _ => Err(BAD_TYPE.to_owned()),
    }
}

/// Whether `a` comes before `b` or equals it.
pub(crate) fn le(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(lt(a, b)? || equal(a, b)?)
}

fn incompatible(a: &Value, b: &Value) -> String {
    let (a, b) = (a.type_of(), b.type_of());
    format!(
        "incompatible types for comparison: {} and {}",
        a.name(),
        b.name()
    )
}

fn plain(value: &Value) -> String {
    shown(value, 'v')
}

fn string_verb(value: &Value) -> String {
    shown(value, 's')
}

fn shown(value: &Value, verb: char) -> String {
    let mut printer = Printer::new(1 << 16);
    printer.flags = Flags::default();
    printer.value(value, verb);
    String::from_utf8_lossy(&printer.out).into_owned()
}
