//! Owns the reading of the types' numbers in protocol buffers (`data/wire-1.34.txt`), once per
//! process. It refuses bytes: coding is the API server's.
//!
//! A line is a type: its name, then `number:name:code` for each field, in the order of JSON. The
//! code begins with marks (`?` left out when empty, `!` left out when zero, `~` its members stand
//! among its parent's), then `*` for a field that may be absent, `[` for a list, `{` for a map by
//! text, and last what a value is: `s` text, `b` truth, `i` 32 and `l` 64 bits, `f` float,
//! `y` bytes, `t` time, `m` time to the microsecond, `q` quantity, `o` number or text, `j` JSON,
//! `w` words in a message of their own, or the number of a line. A line with `@` says which type a
//! kind has.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

static DATA: &str = include_str!("../data/wire-1.34.txt");

/// What one value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireKind {
    /// Text.
    Text,
    /// True or false.
    Truth,
    /// An integer of 32 bits.
    Int,
    /// An integer of 64 bits.
    Long,
    /// A float of 64 bits.
    Float,
    /// Bytes, base64 in JSON.
    Bytes,
    /// A time in whole seconds.
    Time,
    /// A time to the microsecond.
    MicroTime,
    /// A quantity.
    Quantity,
    /// A number or a text.
    IntOrString,
    /// A value as JSON text.
    Json,
    /// A list of texts with a message around it.
    Words,
    /// A message, by number.
    Message(usize),
}

/// How many values a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireShape {
    /// One.
    One,
    /// A list.
    List,
    /// A map by text.
    Map,
}

/// A field of a message.
#[expect(clippy::struct_excessive_bools, reason = "each is a mark of its own")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireField {
    /// Its number on the wire.
    pub number: u32,
    /// Its name in JSON.
    pub name: &'static str,
    /// Its name in Go, where that is not the one in JSON with a capital.
    pub go_name: Option<&'static str>,
    /// Left out of JSON when empty.
    pub omit_empty: bool,
    /// Left out of JSON when it is the zero of its type.
    pub omit_zero: bool,
    /// Its members stand among those of the message it is in.
    pub inline: bool,
    /// It may be absent, which is not the same as empty.
    pub optional: bool,
    /// How many values it holds.
    pub shape: WireShape,
    /// What they are.
    pub kind: WireKind,
}

/// The three types of a definition's schema whose JSON is one of their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireChoice {
    /// A schema or a list of them.
    SchemaOrList,
    /// A schema or a truth.
    SchemaOrTruth,
    /// A schema or a list of texts.
    SchemaOrWords,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireMessage {
    /// The type's name in the published OpenAPI.
    pub name: &'static str,
    /// Its fields in the order of JSON.
    pub fields: Vec<WireField>,
    /// The fields' places in the order of their numbers.
    pub by_number: Vec<usize>,
    /// Set when its JSON is not its fields.
    pub choice: Option<WireChoice>,
}

impl WireMessage {
    /// The place of the field with this number.
    pub fn place(&self, number: u32) -> Option<usize> {
        self.fields.iter().position(|field| field.number == number)
    }

    /// The type's name in Go, without its package.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// All messages.
#[derive(Debug, Default)]
pub struct Wire {
    messages: Vec<WireMessage>,
    kinds: HashMap<(&'static str, &'static str), usize>,
    by_name: HashMap<&'static str, usize>,
}

impl Wire {
    /// The messages of Kubernetes 1.34.
    pub fn builtin() -> &'static Self {
        static CELL: OnceLock<Wire> = OnceLock::new();
        CELL.get_or_init(|| Self::read(DATA))
    }

    /// The message of this number.
    pub fn message(&self, number: usize) -> Option<&WireMessage> {
        self.messages.get(number)
    }

    /// The number of a kind's message. Kinds of the protocol itself (options, `Status`, watch
    /// events) are the same in every group.
    pub fn kind(&self, api_version: &str, kind: &str) -> Option<usize> {
        self.kinds
            .get(&(api_version, kind))
            .or_else(|| self.kinds.get(&("meta.k8s.io/v1", kind)))
            .copied()
    }

    /// A field by the names that the published OpenAPI has for its type and itself.
    pub fn field(&self, type_name: &str, field: &str) -> Option<&WireField> {
        let number = *self.by_name.get(type_name)?;
        let fields = &self.message(number)?.fields;
        let own = fields.iter().find(|f| f.name == field && !f.inline);
        // Members of a part without a name of its own are the type's.
        own.or_else(|| {
            fields.iter().filter(|f| f.inline).find_map(|part| {
                let WireKind::Message(number) = part.kind else {
                    return None;
                };
                let fields = &self.message(number)?.fields;
                fields.iter().find(|f| f.name == field)
            })
        })
    }

    fn read(data: &'static str) -> Self {
        let mut out = Self::default();
        for line in data.lines() {
            let mut words = line.split(' ');
            let Some(name) = words.next() else { continue };
            if let Some(api_version) = name.strip_prefix('@') {
                if let (Some(kind), Some(number)) = (words.next(), words.next())
                    && let Ok(number) = number.parse()
                {
                    out.kinds.insert((api_version, kind), number);
                }
                continue;
            }
            let fields: Vec<WireField> = words.filter_map(field).collect();
            let mut by_number: Vec<usize> = (0..fields.len()).collect();
            by_number.sort_by_key(|place| fields.get(*place).map(|field| field.number));
            let choice = match name.rsplit('.').next() {
                Some("JSONSchemaPropsOrArray") => Some(WireChoice::SchemaOrList),
                Some("JSONSchemaPropsOrBool") => Some(WireChoice::SchemaOrTruth),
                Some("JSONSchemaPropsOrStringArray") => Some(WireChoice::SchemaOrWords),
                _ => None,
            };
            out.by_name.insert(name, out.messages.len());
            out.messages.push(WireMessage {
                name,
                fields,
                by_number,
                choice,
            });
        }
        out
    }
}

fn field(word: &'static str) -> Option<WireField> {
    let mut parts = word.split(':');
    let number = parts.next()?.parse().ok()?;
    let names = parts.next()?;
    let (name, go_name) = names
        .split_once('/')
        .map_or((names, None), |(name, go)| (name, Some(go)));
    let code = parts.next()?;
    let start = code.find(|c| !"?!~".contains(c))?;
    let (marks, mut code) = code.split_at(start);
    let optional = code.starts_with('*');
    code = code.strip_prefix('*').unwrap_or(code);
    let shape = match code.chars().next()? {
        '[' => WireShape::List,
        '{' => WireShape::Map,
        _ => WireShape::One,
    };
    if shape != WireShape::One {
        code = code.get(1..)?;
    }
    let kind = match code {
        "s" => WireKind::Text,
        "b" => WireKind::Truth,
        "i" => WireKind::Int,
        "l" => WireKind::Long,
        "f" => WireKind::Float,
        "y" => WireKind::Bytes,
        "t" => WireKind::Time,
        "m" => WireKind::MicroTime,
        "q" => WireKind::Quantity,
        "o" => WireKind::IntOrString,
        "j" => WireKind::Json,
        "w" => WireKind::Words,
        number => WireKind::Message(number.parse().ok()?),
    };
    Some(WireField {
        number,
        name,
        go_name,
        omit_empty: marks.contains('?'),
        omit_zero: marks.contains('!'),
        inline: marks.contains('~'),
        optional,
        shape,
        kind,
    })
}

/// A quantity's canonical text; none when the value is no quantity, or too large to be told
/// exactly.
pub fn canonical_quantity(value: &Value) -> Option<String> {
    crate::defaults::quantity::canonical(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_in_full() {
        let wire = Wire::builtin();
        for line in DATA.lines() {
            let words = line.split(' ').count() - 1;
            let name = line.split(' ').next().expect("a word");
            if name.starts_with('@') {
                continue;
            }
            let message = wire.messages.iter().find(|m| m.name == name);
            assert_eq!(message.expect("read").fields.len(), words, "{name}");
        }
        for message in &wire.messages {
            for field in &message.fields {
                if let WireKind::Message(number) = field.kind {
                    assert!(wire.message(number).is_some());
                }
            }
        }
    }

    #[test]
    fn every_built_in_kind_has_a_message() {
        for info in crate::builtin_kinds() {
            let number = Wire::builtin().kind(&info.api_version(), &info.kind);
            assert!(number.is_some(), "{} {}", info.api_version(), info.kind);
        }
        assert!(Wire::builtin().kind("apps/v1", "DeleteOptions").is_some());
        assert!(Wire::builtin().kind("apps/v1", "Nothing").is_none());
    }
}
