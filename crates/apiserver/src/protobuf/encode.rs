//! Owns writing objects as Go's generated code writes them: fields by number, and every field that
//! cannot be absent. It refuses to judge: what does not fit its type is written as empty.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use weir_schema::{
    Wire, WireChoice, WireField, WireKind, WireMessage, WireShape, canonical_quantity,
};

const NUMBER: u32 = 0;
const FIXED: u32 = 1;
const PIECE: u32 = 2;

/// Messages in each other; deeper ones are written as empty.
const DEPTH: usize = 100;

/// Writes an envelope around an object.
pub(super) fn envelope(
    wire: &Wire,
    number: usize,
    api_version: &str,
    kind: &str,
    object: &Value,
    out: &mut Vec<u8>,
) {
    nested(1, out, |out| {
        bytes(1, api_version.as_bytes(), out);
        bytes(2, kind.as_bytes(), out);
    });
    nested(2, out, |out| message(wire, number, Some(object), out, 0));
    bytes(3, &[], out);
    bytes(4, &[], out);
}

/// Writes a watch event around an object in its envelope.
pub(super) fn event(word: &str, object: &[u8], out: &mut Vec<u8>) {
    bytes(1, word.as_bytes(), out);
    nested(2, out, |out| bytes(1, object, out));
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn tag(number: u32, coding: u32, out: &mut Vec<u8>) {
    varint(u64::from(number << 3 | coding), out);
}

fn integer(number: u32, value: i64, out: &mut Vec<u8>) {
    tag(number, NUMBER, out);
    varint(value as u64, out);
}

fn bytes(number: u32, value: &[u8], out: &mut Vec<u8>) {
    tag(number, PIECE, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Writes a part with its length before it.
fn nested(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    tag(number, PIECE, out);
    let start = out.len();
    write(out);
    let mut length = Vec::with_capacity(5);
    varint((out.len() - start) as u64, &mut length);
    out.splice(start..start, length);
}

fn message(wire: &Wire, number: usize, value: Option<&Value>, out: &mut Vec<u8>, depth: usize) {
    let Some(message) = wire.message(number).filter(|_| depth <= DEPTH) else {
        return;
    };
    if let Some(choice) = message.choice {
        return choose(
            wire,
            message,
            choice,
            value.unwrap_or(&Value::Null),
            out,
            depth,
        );
    }
    for place in &message.by_number {
        let Some(field) = message.fields.get(*place) else {
            continue;
        };
        let member = if field.inline {
            value
        } else {
            value
                .and_then(|v| v.get(field.name))
                .filter(|v| !v.is_null())
        };
        write(wire, field, member, out, depth);
    }
}

fn write(wire: &Wire, field: &WireField, value: Option<&Value>, out: &mut Vec<u8>, depth: usize) {
    match field.shape {
        WireShape::List => {
            for item in value.and_then(Value::as_array).into_iter().flatten() {
                one(wire, field.number, field.kind, Some(item), out, depth);
            }
        }
        WireShape::Map => {
            let map = value.and_then(Value::as_object);
            let mut entries: Vec<_> = map.into_iter().flatten().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in entries {
                nested(field.number, out, |out| {
                    bytes(1, key.as_bytes(), out);
                    one(wire, 2, field.kind, Some(value), out, depth);
                });
            }
        }
        WireShape::One => {
            let nullable = matches!(field.kind, WireKind::Bytes | WireKind::Words);
            if value.is_some() || !(field.optional || nullable) {
                one(wire, field.number, field.kind, value, out, depth);
            }
        }
    }
}

fn one(
    wire: &Wire,
    number: u32,
    kind: WireKind,
    value: Option<&Value>,
    out: &mut Vec<u8>,
    depth: usize,
) {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    match kind {
        WireKind::Text => bytes(number, text.as_bytes(), out),
        WireKind::Truth => integer(
            number,
            i64::from(value.and_then(Value::as_bool).unwrap_or_default()),
            out,
        ),
        WireKind::Int | WireKind::Long => {
            integer(
                number,
                value.and_then(Value::as_i64).unwrap_or_default(),
                out,
            );
        }
        WireKind::Float => {
            tag(number, FIXED, out);
            let float = value.and_then(Value::as_f64).unwrap_or_default();
            out.extend_from_slice(&float.to_le_bytes());
        }
        WireKind::Bytes => bytes(number, &STANDARD.decode(text).unwrap_or_default(), out),
        WireKind::Time | WireKind::MicroTime => nested(number, out, |out| {
            if let Ok(at) = text.parse::<Timestamp>() {
                let micro = kind == WireKind::MicroTime;
                let nanos = i64::from(at.subsec_nanosecond()) / 1000 * 1000;
                integer(1, at.as_second(), out);
                integer(2, if micro { nanos } else { 0 }, out);
            }
        }),
        WireKind::Quantity => {
            let shown = value.and_then(canonical_quantity);
            let shown =
                shown.unwrap_or_else(|| if text.is_empty() { "0" } else { text }.to_owned());
            nested(number, out, |out| bytes(1, shown.as_bytes(), out));
        }
        WireKind::IntOrString => nested(number, out, |out| {
            integer(1, i64::from(value.is_some_and(Value::is_string)), out);
            integer(2, value.and_then(Value::as_i64).unwrap_or_default(), out);
            bytes(3, text.as_bytes(), out);
        }),
        WireKind::Json => nested(number, out, |out| {
            if let Some(value) = value.filter(|v| !v.is_null()) {
                bytes(1, value.to_string().as_bytes(), out);
            }
        }),
        WireKind::Words => nested(number, out, |out| {
            for word in value.and_then(Value::as_array).into_iter().flatten() {
                bytes(1, word.as_str().unwrap_or_default().as_bytes(), out);
            }
        }),
        WireKind::Message(of) => {
            nested(number, out, |out| message(wire, of, value, out, depth + 1));
        }
    }
}

fn choose(
    wire: &Wire,
    message: &WireMessage,
    choice: WireChoice,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) {
    let mut part = |place: usize, value: Option<&Value>| {
        if let Some(field) = message.fields.get(place) {
            write(wire, field, value, out, depth);
        }
    };
    let schema = value.is_object().then_some(value);
    match choice {
        WireChoice::SchemaOrTruth => {
            part(
                0,
                Some(&Value::Bool(
                    schema.is_some() || value == &Value::Bool(true),
                )),
            );
            part(1, schema);
        }
        WireChoice::SchemaOrList | WireChoice::SchemaOrWords => {
            part(0, schema);
            part(1, Some(value));
        }
    }
}
