//! Owns reading messages into the JSON that Go would write for them: what a type always shows is
//! shown, what is empty and may be left out is left out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};
use weir_schema::{
    Wire, WireChoice, WireField, WireKind, WireMessage, WireShape, canonical_quantity,
};

use super::fault::Fault;
use super::reader::{Reader, Tag};

/// Messages in each other.
const DEPTH: usize = 100;
/// Values in one body.
const VALUES: usize = 1_000_000;

/// What is around every object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) raw: Vec<u8>,
}

/// Reads an envelope, without the prefix.
pub(super) fn envelope(bytes: &[u8]) -> Result<Envelope, Fault> {
    let mut out = Envelope::default();
    let mut reader = Reader::new(bytes);
    while !reader.is_at_end() {
        let tag = reader.tag("Unknown")?;
        match tag.number {
            1 => {
                let mut types = Reader::new(texts(&tag, "TypeMeta", &mut reader)?);
                while !types.is_at_end() {
                    let tag = types.tag("TypeMeta")?;
                    match tag.number {
                        1 => out.api_version = text(texts(&tag, "APIVersion", &mut types)?),
                        2 => out.kind = text(texts(&tag, "Kind", &mut types)?),
                        _ => types.skip(tag.coding)?,
                    }
                }
            }
            2 => out.raw = texts(&tag, "Raw", &mut reader)?.to_vec(),
            3 => {
                texts(&tag, "ContentEncoding", &mut reader)?;
            }
            4 => {
                texts(&tag, "ContentType", &mut reader)?;
            }
            _ => reader.skip(tag.coding)?,
        }
    }
    Ok(out)
}

fn texts<'a>(tag: &Tag, field: &str, reader: &mut Reader<'a>) -> Result<&'a [u8], Fault> {
    if tag.coding != 2 {
        return Err(Fault::WireType {
            found: tag.coding,
            field: field.to_owned(),
        });
    }
    reader.piece()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads an object of a known kind.
pub(super) fn object(
    wire: &Wire,
    number: usize,
    api_version: &str,
    kind: &str,
    bytes: &[u8],
) -> Result<Value, Fault> {
    let mut decoder = Decoder { wire, values: 0 };
    let mut out = Map::new();
    out.insert("kind".to_owned(), kind.into());
    out.insert("apiVersion".to_owned(), api_version.into());
    if let Value::Object(fields) = decoder.message(number, bytes, 0)? {
        out.extend(fields);
    }
    Ok(Value::Object(out))
}

/// What was found of a field so far.
enum Slot<'a> {
    Nothing,
    One(Value),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    /// Parts of one message count as one.
    Message(Cow<'a, [u8]>),
}

struct Decoder<'w> {
    wire: &'w Wire,
    values: usize,
}

impl Decoder<'_> {
    fn message(&mut self, number: usize, bytes: &[u8], depth: usize) -> Result<Value, Fault> {
        if depth > DEPTH {
            return Err(Fault::Depth);
        }
        let wire = self.wire;
        let Some(message) = wire.message(number) else {
            return Ok(Value::Null);
        };
        let mut slots: Vec<Slot<'_>> = message.fields.iter().map(|_| Slot::Nothing).collect();
        let mut reader = Reader::new(bytes);
        while !reader.is_at_end() {
            let tag = reader.tag(message.short_name())?;
            let place = message.place(tag.number);
            let found =
                place.and_then(|place| Some((message.fields.get(place)?, slots.get_mut(place)?)));
            match found {
                Some((field, slot)) => self.field(field, slot, &tag, &mut reader, depth)?,
                None => reader.skip(tag.coding)?,
            }
        }
        let mut out = Map::new();
        for (field, slot) in message.fields.iter().zip(slots) {
            let Some(value) = self.settle(field, slot, depth)? else {
                continue;
            };
            match value {
                Value::Object(members) if field.inline => out.extend(members),
                value => {
                    out.insert(field.name.to_owned(), value);
                }
            }
        }
        Ok(match message.choice {
            None => Value::Object(out),
            Some(choice) => choose(message, choice, &out),
        })
    }

    fn field<'a>(
        &mut self,
        field: &WireField,
        slot: &mut Slot<'a>,
        tag: &Tag,
        reader: &mut Reader<'a>,
        depth: usize,
    ) -> Result<(), Fault> {
        match field.shape {
            WireShape::Map => {
                let entry = piece(field, tag, reader)?;
                let (key, value) = self.entry(field, entry, depth)?;
                if !matches!(slot, Slot::Map(_)) {
                    *slot = Slot::Map(BTreeMap::new());
                }
                if let Slot::Map(map) = slot {
                    map.insert(key, value);
                }
            }
            WireShape::List => {
                if !matches!(slot, Slot::List(_)) {
                    *slot = Slot::List(Vec::new());
                }
                let Slot::List(list) = slot else {
                    return Ok(());
                };
                if matches!(field.kind, WireKind::Int | WireKind::Long) && tag.coding == 2 {
                    // Numbers in one piece.
                    let mut packed = Reader::new(reader.piece()?);
                    while !packed.is_at_end() {
                        self.count()?;
                        list.push(integer(field.kind, packed.varint()?));
                    }
                    return Ok(());
                }
                list.push(self.value(field, tag, reader, depth)?);
            }
            WireShape::One => match (field.kind, &mut *slot) {
                (WireKind::Message(_), Slot::Message(sofar)) => {
                    sofar.to_mut().extend_from_slice(piece(field, tag, reader)?);
                }
                (WireKind::Message(_), _) => {
                    *slot = Slot::Message(Cow::Borrowed(piece(field, tag, reader)?));
                }
                _ => *slot = Slot::One(self.value(field, tag, reader, depth)?),
            },
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.values += 1;
        if self.values > VALUES {
            return Err(Fault::TooMany);
        }
        Ok(())
    }

    /// One value of a field.
    fn value(
        &mut self,
        field: &WireField,
        tag: &Tag,
        reader: &mut Reader<'_>,
        depth: usize,
    ) -> Result<Value, Fault> {
        self.count()?;
        let coding = match field.kind {
            WireKind::Truth | WireKind::Int | WireKind::Long => 0,
            WireKind::Float => 1,
            _ => 2,
        };
        if tag.coding != coding {
            return Err(wrong(field, tag));
        }
        Ok(match field.kind {
            WireKind::Truth => Value::Bool(reader.varint()? != 0),
            WireKind::Int | WireKind::Long => integer(field.kind, reader.varint()?),
            WireKind::Float => float(f64::from_le_bytes(reader.fixed()?)),
            WireKind::Text => text(reader.piece()?).into(),
            WireKind::Bytes => STANDARD.encode(reader.piece()?).into(),
            WireKind::Time => time(reader.piece()?, false)?,
            WireKind::MicroTime => time(reader.piece()?, true)?,
            WireKind::Quantity => quantity(reader.piece()?)?,
            WireKind::IntOrString => int_or_string(reader.piece()?)?,
            WireKind::Json => json(reader.piece()?)?,
            WireKind::Words => words(reader.piece()?)?,
            WireKind::Message(number) => self.message(number, reader.piece()?, depth + 1)?,
        })
    }

    /// An entry of a map.
    fn entry(
        &mut self,
        field: &WireField,
        bytes: &[u8],
        depth: usize,
    ) -> Result<(String, Value), Fault> {
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader::new(bytes);
        while !reader.is_at_end() {
            // An entry is read without looking at how its parts are coded.
            let tag = reader.tag("Entry")?;
            match tag.number {
                1 => key = text(piece(field, &tag, &mut reader)?),
                2 => value = Some(self.value(field, &tag, &mut reader, depth)?),
                _ => reader.skip(tag.coding)?,
            }
        }
        let value = match (value, field.kind) {
            (Some(value), _) => value,
            (None, WireKind::Bytes) => Value::String(String::new()),
            (None, WireKind::Words) => Value::Array(Vec::new()),
            (None, kind) => self.zero(kind, depth)?,
        };
        Ok((key, value))
    }

    /// What a type shows of nothing.
    fn zero(&mut self, kind: WireKind, depth: usize) -> Result<Value, Fault> {
        self.count()?;
        Ok(match kind {
            WireKind::Text => "".into(),
            WireKind::Truth => false.into(),
            WireKind::Int | WireKind::Long | WireKind::Float | WireKind::IntOrString => 0.into(),
            WireKind::Quantity => "0".into(),
            WireKind::Bytes
            | WireKind::Time
            | WireKind::MicroTime
            | WireKind::Json
            | WireKind::Words => Value::Null,
            WireKind::Message(number) => self.message(number, &[], depth + 1)?,
        })
    }

    /// What JSON shows of a field, if it shows it.
    fn settle(
        &mut self,
        field: &WireField,
        slot: Slot<'_>,
        depth: usize,
    ) -> Result<Option<Value>, Fault> {
        let absent = || (!field.omit_empty).then_some(Value::Null);
        Ok(match slot {
            Slot::List(list) => Some(list.into()),
            Slot::Map(map) => Some(Value::Object(map.into_iter().collect())),
            Slot::Message(bytes) => match field.kind {
                WireKind::Message(number) => Some(self.message(number, &bytes, depth + 1)?),
                _ => None,
            },
            Slot::One(value) if field.optional => Some(value),
            Slot::One(value) => {
                let leave = match &value {
                    Value::Null => {
                        field.omit_zero || (field.omit_empty && field.kind == WireKind::Words)
                    }
                    Value::Bool(truth) => field.omit_empty && !truth,
                    Value::String(text) => {
                        let may = matches!(field.kind, WireKind::Text | WireKind::Bytes);
                        field.omit_empty && may && text.is_empty()
                    }
                    Value::Number(number) => {
                        let may = field.kind != WireKind::IntOrString;
                        field.omit_empty && may && number.as_f64() == Some(0.0)
                    }
                    Value::Array(list) => field.omit_empty && list.is_empty(),
                    Value::Object(_) => false,
                };
                (!leave).then_some(value)
            }
            Slot::Nothing if field.optional || field.shape != WireShape::One => absent(),
            Slot::Nothing => match field.kind {
                WireKind::Time | WireKind::MicroTime if field.omit_zero => None,
                WireKind::Text
                | WireKind::Truth
                | WireKind::Int
                | WireKind::Long
                | WireKind::Float
                | WireKind::Bytes
                | WireKind::Words
                    if field.omit_empty =>
                {
                    None
                }
                kind => Some(self.zero(kind, depth)?),
            },
        })
    }
}

fn wrong(field: &WireField, tag: &Tag) -> Fault {
    let name = match field.go_name {
        Some(name) => name.to_owned(),
        None => {
            let mut letters = field.name.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        }
    };
    Fault::WireType {
        found: tag.coding,
        field: name,
    }
}

fn piece<'a>(field: &WireField, tag: &Tag, reader: &mut Reader<'a>) -> Result<&'a [u8], Fault> {
    if tag.coding != 2 {
        return Err(wrong(field, tag));
    }
    reader.piece()
}

fn integer(kind: WireKind, bits: u64) -> Value {
    if kind == WireKind::Int {
        i64::from(bits as i32).into()
    } else {
        (bits as i64).into()
    }
}

/// Go writes whole floats without a point.
fn float(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9.0e15 {
        return (value as i64).into();
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// Two numbers of a message.
fn pair(bytes: &[u8], message: &str) -> Result<(i64, i64), Fault> {
    let (mut one, mut two) = (0, 0);
    let mut reader = Reader::new(bytes);
    while !reader.is_at_end() {
        let tag = reader.tag(message)?;
        match (tag.number, tag.coding) {
            (1, 0) => one = reader.varint()? as i64,
            (2, 0) => two = i64::from(reader.varint()? as i32),
            (_, coding) => reader.skip(coding)?,
        }
    }
    Ok((one, two))
}

fn time(bytes: &[u8], micro: bool) -> Result<Value, Fault> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (seconds, nanos) = pair(bytes, "Timestamp")?;
    let nanos = if micro { nanos / 1000 * 1000 } else { 0 };
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let at = Timestamp::from_nanosecond(total).map_err(|_| Fault::Time(seconds))?;
    let form = if micro {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    Ok(at.strftime(form).to_string().into())
}

/// The only field of a message, a text or bytes.
fn single<'a>(bytes: &'a [u8], message: &str) -> Result<&'a [u8], Fault> {
    let mut out: &[u8] = &[];
    let mut reader = Reader::new(bytes);
    while !reader.is_at_end() {
        let tag = reader.tag(message)?;
        match (tag.number, tag.coding) {
            (1, 2) => out = reader.piece()?,
            (_, coding) => reader.skip(coding)?,
        }
    }
    Ok(out)
}

fn quantity(bytes: &[u8]) -> Result<Value, Fault> {
    let found = text(single(bytes, "Quantity")?);
    if found.is_empty() {
        return Ok("0".into());
    }
    canonical_quantity(&found.into())
        .map(Value::String)
        .ok_or(Fault::Quantity)
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Fault> {
    let (mut kind, mut number, mut word) = (0, 0, String::new());
    let mut reader = Reader::new(bytes);
    while !reader.is_at_end() {
        let tag = reader.tag("IntOrString")?;
        match (tag.number, tag.coding) {
            (1, 0) => kind = reader.varint()?,
            (2, 0) => number = reader.varint()? as i32,
            (3, 2) => word = text(reader.piece()?),
            (_, coding) => reader.skip(coding)?,
        }
    }
    match kind {
        0 => Ok(number.into()),
        1 => Ok(word.into()),
        _ => Err(Fault::Json("impossible IntOrString.Type".to_owned())),
    }
}

fn json(bytes: &[u8]) -> Result<Value, Fault> {
    let raw = single(bytes, "RawExtension")?;
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(raw).map_err(|fault| Fault::Json(fault.to_string()))
}

fn words(bytes: &[u8]) -> Result<Value, Fault> {
    let mut out: Vec<Value> = Vec::new();
    let mut reader = Reader::new(bytes);
    while !reader.is_at_end() {
        let tag = reader.tag("Words")?;
        match (tag.number, tag.coding) {
            (1, 2) => out.push(text(reader.piece()?).into()),
            (_, coding) => reader.skip(coding)?,
        }
    }
    Ok(out.into())
}

/// The one field that stands for the whole.
fn choose(message: &WireMessage, choice: WireChoice, fields: &Map<String, Value>) -> Value {
    let get = |place: usize| {
        let field = message.fields.get(place)?;
        fields.get(field.name).filter(|value| !value.is_null())
    };
    let (first, second) = (get(0).cloned(), get(1).cloned());
    let listed = second
        .clone()
        .filter(|v| v.as_array().is_some_and(|l| !l.is_empty()));
    match choice {
        WireChoice::SchemaOrTruth => second.or(first).unwrap_or(Value::Bool(false)),
        WireChoice::SchemaOrList | WireChoice::SchemaOrWords => {
            listed.or(first).unwrap_or(Value::Null)
        }
    }
}
