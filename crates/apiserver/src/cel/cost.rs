//! Owns what a call costs, in the API's units, so that the same work is refused at the same size.

use super::hosts::Host;
use super::value::Value;

/// A list that is not constant.
pub(crate) const LIST: u64 = 10;
/// A map.
pub(crate) const MAP: u64 = 30;
/// One expression may cost this much.
pub(crate) const PER_CALL: u64 = 1_000_000;
/// All the rules of one object together.
pub(crate) const PER_OBJECT: u64 = 10_000_000;

fn tenth(size: u64) -> u64 {
    size.div_ceil(10)
}

fn regex(text: u64, pattern: u64) -> u64 {
    tenth(text + 1).saturating_mul(pattern.div_ceil(4))
}

/// What a list of values takes to walk through, with what the items take.
fn walk(value: &Value<'_>) -> u64 {
    match value {
        Value::List(list) => list
            .iter()
            .map(|item| item.map_or(1, |item| walk(&item).max(1)))
            .fold(0, u64::saturating_add),
        Value::Text(text) => tenth(text.chars().count() as u64).max(1),
        other => other.size(),
    }
}

/// The cost of a call that is known from its arguments.
pub(crate) fn before(name: &str, args: &[Value<'_>]) -> u64 {
    let size = |at: usize| args.get(at).map_or(1, Value::size);
    match name {
        "check" => 350_000,
        "fieldSelector" | "labelSelector" => 10 + tenth(size(1)) + size(1).div_ceil(2) * 50,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            args.first().map_or(1, walk)
        }
        "replace" | "split" | "ip.isCanonical" => size(0).saturating_mul(2).div_ceil(10),
        "find" | "findAll" | "matches" => regex(size(0), size(1)),
        "validate" => regex(size(1), 64),
        "containsIP" | "containsCIDR" => tenth(2 * size(0)) + tenth(size(1)) + 1,
        "ip" if matches!(args.first(), Some(Value::Host(Host::Cidr(_)))) => 1,
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "cidr" | "isIP" | "isCIDR"
        | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" | "startsWith" | "endsWith"
        | "strings.quote" | "format" => tenth(size(0)),
        "bytes" | "string" => match args.first() {
            Some(Value::Text(_) | Value::Bytes(_)) => tenth(size(0)),
            _ => 1,
        },
        "@in" => match args.get(1) {
            Some(Value::List(list)) => list.len() as u64,
            _ => 1,
        },
        "_==_" | "_!=_" => match args.first() {
            Some(Value::Host(_)) => 1,
            _ => tenth(size(0).min(size(1))).max(1),
        },
        "_<_" | "_<=_" | "_>_" | "_>=_" => match args.first() {
            Some(Value::Text(_) | Value::Bytes(_)) => tenth(size(0).min(size(1))),
            _ => 1,
        },
        "_+_" => match args.first() {
            Some(Value::Text(_) | Value::Bytes(_)) => tenth(size(0).saturating_add(size(1))),
            // A list is copied here, which the API does not count; its limit still holds.
            Some(Value::List(list)) => 1 + (list.len() as u64) / 100,
            _ => 1,
        },
        "contains" => tenth(size(0)).saturating_mul(tenth(size(1))),
        "sets.contains" | "sets.intersects" => 1 + size(0).saturating_mul(size(1)),
        "sets.equivalent" => 1 + size(0).saturating_mul(size(1)).saturating_mul(2),
        "join" => args.first().map_or(1, walk),
        _ => 1,
    }
}

/// The cost that only the result tells.
pub(crate) fn after(name: &str, result: &Value<'_>) -> u64 {
    match name {
        "join" => result.size().saturating_mul(2).div_ceil(10),
        _ => 0,
    }
}
