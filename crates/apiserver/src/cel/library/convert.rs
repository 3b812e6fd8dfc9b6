//! Owns conversions between types, and how values are shown.

use std::fmt::Write as _;

use super::{Entry, overload, truth};
use crate::cel::eval::Fault;
use crate::cel::hosts::Host;
use crate::cel::time;
use crate::cel::value::{Value, text, type_name};
use weir_gocompat::{FloatFormat, format_float, parse_float};

pub(super) fn all() -> Vec<Entry> {
    vec![
        ("type", &["(A) type(A)"], |_, args| match args {
            [value] => Ok(Value::Type(value.ty())),
            _ => overload(),
        }),
        ("dyn", &["(A) dyn"], |_, args| match args {
            [value] => Ok(value.clone()),
            _ => overload(),
        }),
        (
            "bool",
            &["(bool) bool", "(string) bool"],
            |_, args| match args {
                [Value::Bool(v)] => truth(*v),
                [Value::Text(t)] => match t.as_ref() {
                    "1" | "t" | "T" | "true" | "TRUE" | "True" => truth(true),
                    "0" | "f" | "F" | "false" | "FALSE" | "False" => truth(false),
                    _ => wrong("string", "bool"),
                },
                _ => overload(),
            },
        ),
        (
            "bytes",
            &["(bytes) bytes", "(string) bytes"],
            |_, args| match args {
                [Value::Bytes(_)] => Ok(args[0].clone()),
                [Value::Text(t)] => Ok(Value::Bytes(t.as_bytes().into())),
                _ => overload(),
            },
        ),
        (
            "double",
            &[
                "(double) double",
                "(int) double",
                "(string) double",
                "(uint) double",
            ],
            |_, args| match args {
                [Value::Double(v)] => Ok(Value::Double(*v)),
                [Value::Int(v)] => Ok(Value::Double(*v as f64)),
                [Value::Uint(v)] => Ok(Value::Double(*v as f64)),
                [Value::Text(t)] => match parse_float(t) {
                    Ok(v) => Ok(Value::Double(v)),
                    Err(_) => wrong("string", "double"),
                },
                _ => overload(),
            },
        ),
        (
            "duration",
            &["(duration) duration", "(int) duration", "(string) duration"],
            |_, args| match args {
                [Value::Duration(v) | Value::Int(v)] => Ok(Value::Duration(*v)),
                [Value::Text(t)] => match time::duration(t) {
                    Some(v) => Ok(Value::Duration(v)),
                    None => wrong("string", "google.protobuf.Duration"),
                },
                _ => overload(),
            },
        ),
        (
            "int",
            &[
                "(int) int",
                "(double) int",
                "(duration) int",
                "(string) int",
                "(timestamp) int",
                "(uint) int",
            ],
            |_, args| match args {
                [Value::Int(v) | Value::Duration(v)] => Ok(Value::Int(*v)),
                [Value::Double(v)] => {
                    if v.is_nan()
                        || *v <= -9_223_372_036_854_775_808.0
                        || *v >= 9_223_372_036_854_775_808.0
                    {
                        return Err(Fault::said("integer overflow"));
                    }
                    Ok(Value::Int(*v as i64))
                }
                [Value::Uint(v)] => match i64::try_from(*v) {
                    Ok(v) => Ok(Value::Int(v)),
                    Err(_) => Err(Fault::said("integer overflow")),
                },
                [Value::Timestamp(t)] => Ok(Value::Int(t.as_second())),
                [Value::Text(t)] => match t.parse() {
                    Ok(v) => Ok(Value::Int(v)),
                    Err(_) => wrong("string", "int"),
                },
                _ => overload(),
            },
        ),
        (
            "uint",
            &[
                "(uint) uint",
                "(double) uint",
                "(int) uint",
                "(string) uint",
            ],
            |_, args| match args {
                [Value::Uint(v)] => Ok(Value::Uint(*v)),
                [Value::Double(v)] if *v >= 0.0 && *v < 1.844_674_407_370_955_2e19 => {
                    Ok(Value::Uint(*v as u64))
                }
                [Value::Int(v)] if *v >= 0 => Ok(Value::Uint(*v as u64)),
                [Value::Double(_) | Value::Int(_)] => Err(Fault::said("unsigned integer overflow")),
                [Value::Text(t)] => match t.parse() {
                    Ok(v) => Ok(Value::Uint(v)),
                    Err(_) => wrong("string", "uint"),
                },
                _ => overload(),
            },
        ),
        (
            "string",
            &[
                "(string) string",
                "(bool) string",
                "(bytes) string",
                "(double) string",
                "(duration) string",
                "(int) string",
                "(timestamp) string",
                "(uint) string",
                "(IP) string",
                "(CIDR) string",
            ],
            |_, args| match args {
                [Value::Text(_)] => Ok(args[0].clone()),
                [Value::Bytes(bytes)] => match std::str::from_utf8(bytes) {
                    Ok(v) => Ok(text(v)),
                    Err(_) => Err(Fault::said(
                        "invalid UTF-8 in bytes, cannot convert to string",
                    )),
                },
                [Value::Double(v)] => Ok(text(go_g(*v))),
                [
                    Value::Bool(_)
                    | Value::Int(_)
                    | Value::Uint(_)
                    | Value::Duration(_)
                    | Value::Timestamp(_)
                    | Value::Host(Host::Ip(_) | Host::Cidr(_)),
                ] => Ok(text(show(&args[0]))),
                _ => overload(),
            },
        ),
        (
            "timestamp",
            &[
                "(timestamp) timestamp",
                "(int) timestamp",
                "(string) timestamp",
            ],
            |_, args| match args {
                [Value::Timestamp(t)] => Ok(Value::Timestamp(*t)),
                [Value::Int(v)] => match jiff::Timestamp::from_second(*v) {
                    Ok(t) => Ok(Value::Timestamp(t)),
                    Err(_) => Err(Fault::said("timestamp overflow")),
                },
                [Value::Text(t)] => match time::timestamp(t) {
                    Some(v) => Ok(Value::Timestamp(v)),
                    None => wrong("string", "google.protobuf.Timestamp"),
                },
                _ => overload(),
            },
        ),
    ]
}

fn wrong<'a>(from: &str, to: &str) -> Result<Value<'a>, Fault> {
    Err(Fault::said(format!(
        "type conversion error from '{from}' to '{to}'"
    )))
}

/// Go's `%g`, as `string(double)` gives it.
pub(super) fn go_g(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    format_float(value, FloatFormat::General, None)
}

/// A double without an exponent.
pub(crate) fn show_double(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        format!("{value}")
    }
}

/// How a value reads in a message.
pub(crate) fn show(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Uint(v) => v.to_string(),
        Value::Double(v) => show_double(*v),
        Value::Text(t) => t.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(nanos) => time::show_duration(*nanos),
        Value::Timestamp(t) => t.to_string(),
        Value::Type(ty) => type_name(ty),
        Value::Host(Host::Ip(ip)) => ip.to_string(),
        Value::Host(Host::Cidr(cidr)) => cidr.to_string(),
        Value::Host(host) => host.name().to_owned(),
        Value::Optional(None) => "optional.none()".to_owned(),
        Value::Optional(Some(value)) => format!("optional({})", show(value)),
        Value::List(list) => {
            let items: Vec<String> = list
                .iter()
                .map(|item| item.as_ref().map_or_else(ToString::to_string, show))
                .collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut entries: Vec<(String, String)> = map
                .entries()
                .iter()
                .map(|(key, value)| {
                    let value = value.as_ref().map_or_else(ToString::to_string, show);
                    (show(key), value)
                })
                .collect();
            entries.sort();
            let mut out = String::from("{");
            for (i, (key, value)) in entries.iter().enumerate() {
                let comma = if i > 0 { ", " } else { "" };
                // Writing to a String cannot fail.
                let _ = write!(out, "{comma}{key}: {value}");
            }
            out.push('}');
            out
        }
    }
}
