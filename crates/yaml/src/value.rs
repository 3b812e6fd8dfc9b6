//! From the tree to a JSON value. Owns keys, duplicates, merges, aliases and the bounds on their
//! expansion; refuses what JSON cannot hold.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::error::YamlError;
use crate::number::{GoInt, float_text, json_float, key_float_text};
use crate::reader::{Numbers, Reader};
use crate::resolve::{Dialect, Scalar, TAG_PREFIX, resolve_plain, resolve_tagged};
use crate::tree::{Content, Document, Entry, Node, Style};

pub(crate) fn to_value(document: &Document, reader: &Reader) -> Result<Value, YamlError> {
    if let Some((major, minor)) = document.version
        && (major, minor) != (1, 1)
    {
        return Err(YamlError::Version {
            at: document.place,
            major,
            minor,
        });
    }
    let mut anchors = HashMap::new();
    note_anchors(&document.root, &mut anchors);
    let mut decoder = Decoder {
        reader,
        anchors,
        active: Vec::new(),
        depth: 0,
        decoded: 0,
        aliased: 0,
        bytes: 0,
    };
    decoder.value(&document.root)
}

fn note_anchors<'a>(node: &'a Node, anchors: &mut HashMap<usize, &'a Node>) {
    if let Some(anchor) = &node.anchor {
        anchors.insert(anchor.id, node);
    }
    match &node.content {
        Content::Sequence { items, .. } => {
            for item in items {
                note_anchors(item, anchors);
            }
        }
        Content::Mapping { entries, .. } => {
            for entry in entries {
                note_anchors(&entry.key, anchors);
                note_anchors(&entry.value, anchors);
            }
        }
        _ => {}
    }
}

struct Decoder<'a> {
    reader: &'a Reader,
    anchors: HashMap<usize, &'a Node>,
    /// The anchors whose aliases are being followed.
    active: Vec<usize>,
    depth: usize,
    /// Nodes decoded so far, and those of them that came through an alias.
    decoded: usize,
    aliased: usize,
    bytes: usize,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, node: &'a Node) -> Result<Value, YamlError> {
        self.count(node)?;
        self.depth += 1;
        let value = match &node.content {
            Content::Scalar { text, .. } => {
                self.bytes += text.len();
                self.scalar(node)
            }
            Content::Alias { target } => {
                let inner = self.follow(node, *target)?;
                let value = self.value(inner);
                self.active.pop();
                value
            }
            Content::Sequence { items, .. } => items
                .iter()
                .map(|item| self.value(item))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Content::Mapping { entries, .. } => {
                let mut map = Map::new();
                self.mapping(entries, &mut map)?;
                Ok(Value::Object(map))
            }
        };
        self.depth -= 1;
        value
    }

    /// Counts a node against the bounds. The share that may come through aliases falls with the size
    /// of the document, as in Go, so that what Go reads is read and what it refuses is refused.
    fn count(&mut self, node: &Node) -> Result<(), YamlError> {
        self.decoded += 1;
        if !self.active.is_empty() {
            self.aliased += 1;
        }
        let limits = &self.reader.limits;
        let at = node.place;
        let share = self.aliased as f64 / self.decoded as f64;
        if self.aliased > 100 && self.decoded > 1000 && share > allowed_share(self.decoded) {
            return Err(YamlError::Aliasing { at });
        }
        if self.depth >= limits.depth {
            return Err(YamlError::Limit {
                at,
                limit: limits.depth,
                what: "levels",
            });
        }
        if self.decoded > limits.nodes {
            return Err(YamlError::Limit {
                at,
                limit: limits.nodes,
                what: "nodes",
            });
        }
        if self.bytes > limits.expanded {
            return Err(YamlError::Limit {
                at,
                limit: limits.expanded,
                what: "bytes of values",
            });
        }
        Ok(())
    }

    /// The node an alias stands for; the caller takes the anchor off `active` again.
    fn follow(&mut self, alias: &Node, target: usize) -> Result<&'a Node, YamlError> {
        let cycle = YamlError::Cycle { at: alias.place };
        if self.active.contains(&target) {
            return Err(cycle);
        }
        let inner = self.anchors.get(&target).copied().ok_or(cycle)?;
        self.active.push(target);
        Ok(inner)
    }

    fn mapping(
        &mut self,
        entries: &'a [Entry],
        map: &mut Map<String, Value>,
    ) -> Result<(), YamlError> {
        if self.reader.dialect == Dialect::GoYaml3 {
            return self.mapping3(entries, map);
        }
        for entry in entries {
            if is_merge(&entry.key) {
                self.merge(&entry.value, map)?;
            } else {
                let key = self.key(&entry.key)?;
                let value = self.value(&entry.value)?;
                map.insert(key, value);
            }
        }
        Ok(())
    }

    /// In the third dialect a key may stand once, and merged keys only fill gaps.
    fn mapping3(
        &mut self,
        entries: &'a [Entry],
        map: &mut Map<String, Value>,
    ) -> Result<(), YamlError> {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for entry in entries {
            let Some((text, _)) = entry.key.scalar() else {
                continue;
            };
            if let Some(first) = seen.insert(text, entry.key.place.line) {
                return Err(YamlError::DuplicateKey {
                    at: entry.key.place,
                    first,
                });
            }
        }
        for entry in entries.iter().filter(|e| !is_merge(&e.key)) {
            let key = self.key(&entry.key)?;
            let value = self.value(&entry.value)?;
            map.entry(key).or_insert(value);
        }
        for entry in entries.iter().filter(|e| is_merge(&e.key)) {
            self.merge(&entry.value, map)?;
        }
        Ok(())
    }

    fn merge(&mut self, node: &'a Node, map: &mut Map<String, Value>) -> Result<(), YamlError> {
        let Content::Sequence { items, .. } = &node.content else {
            return self.merge_one(node, map);
        };
        // The earlier mapping wins: in the second dialect by coming last, in the third by coming first.
        if self.reader.dialect == Dialect::GoYaml3 {
            items.iter().try_for_each(|item| self.merge_one(item, map))
        } else {
            items
                .iter()
                .rev()
                .try_for_each(|item| self.merge_one(item, map))
        }
    }

    fn merge_one(&mut self, node: &'a Node, map: &mut Map<String, Value>) -> Result<(), YamlError> {
        self.count(node)?;
        let (inner, followed) = match &node.content {
            Content::Alias { target } => (self.follow(node, *target)?, true),
            _ => (node, false),
        };
        let Content::Mapping { entries, .. } = &inner.content else {
            return Err(YamlError::Merge { at: node.place });
        };
        if followed {
            self.count(inner)?;
        }
        self.depth += 1;
        self.mapping(entries, map)?;
        self.depth -= 1;
        if followed {
            self.active.pop();
        }
        Ok(())
    }

    fn key(&mut self, node: &'a Node) -> Result<String, YamlError> {
        self.count(node)?;
        let refuse = |found| {
            Err(YamlError::Key {
                at: node.place,
                found,
            })
        };
        match &node.content {
            Content::Alias { target } => {
                let inner = self.follow(node, *target)?;
                let key = self.key(inner);
                self.active.pop();
                key
            }
            Content::Sequence { .. } => refuse("a list"),
            Content::Mapping { .. } => refuse("a mapping"),
            Content::Scalar { text, .. } => {
                self.bytes += text.len();
                match self.meaning(node)? {
                    Scalar::Null => refuse("null"),
                    Scalar::Int(GoInt::Unsigned(_)) => refuse("a number beyond 63 bits"),
                    Scalar::Int(GoInt::Signed(n)) => Ok(n.to_string()),
                    Scalar::Bool(b) => Ok(b.to_string()),
                    Scalar::Float(f) => match self.reader.dialect {
                        Dialect::GoYaml2 => Ok(key_float_text(f)),
                        Dialect::GoYaml3 if f.is_finite() => Ok(float_text(f)),
                        Dialect::GoYaml3 => refuse("not finite"),
                    },
                    Scalar::Time(_) if self.reader.dialect == Dialect::GoYaml3 => refuse("a time"),
                    Scalar::Time(_) | Scalar::Text => Ok(text.clone()),
                    Scalar::Binary => self.binary(node, text),
                }
            }
        }
    }

    fn scalar(&self, node: &Node) -> Result<Value, YamlError> {
        let Some((text, _)) = node.scalar() else {
            return Ok(Value::Null);
        };
        Ok(match self.meaning(node)? {
            Scalar::Null => Value::Null,
            Scalar::Bool(b) => Value::Bool(b),
            Scalar::Int(n) => self.integer(n),
            Scalar::Float(f) => json_float(f).ok_or(YamlError::NotFinite { at: node.place })?,
            Scalar::Time(time) if self.reader.dialect == Dialect::GoYaml3 => Value::String(time),
            Scalar::Time(_) | Scalar::Text => Value::String(text.to_owned()),
            Scalar::Binary => Value::String(self.binary(node, text)?),
        })
    }

    fn integer(&self, n: GoInt) -> Value {
        let (exact, float) = match n {
            GoInt::Signed(n) => (Value::from(n), n as f64),
            GoInt::Unsigned(n) => (Value::from(n), n as f64),
        };
        match self.reader.numbers {
            Numbers::Exact => exact,
            Numbers::Float64 => json_float(float).unwrap_or(exact),
        }
    }

    fn meaning(&self, node: &Node) -> Result<Scalar, YamlError> {
        let Some((text, style)) = node.scalar() else {
            return Ok(Scalar::Text);
        };
        let dialect = self.reader.dialect;
        match node.tag.as_ref().map(|t| t.name.as_str()) {
            None if style == Style::Plain => Ok(resolve_plain(dialect, text)),
            Some("!") if style == Style::Plain && dialect == Dialect::GoYaml3 => {
                Ok(resolve_plain(dialect, text))
            }
            None | Some("!") => Ok(Scalar::Text),
            Some(tag) => resolve_tagged(dialect, tag, text).map_err(|found| YamlError::Tag {
                at: node.place,
                tag: tag.replacen(TAG_PREFIX, "!!", 1),
                found: found.name(),
            }),
        }
    }

    #[expect(clippy::unused_self, reason = "stands beside the other scalar forms")]
    fn binary(&self, node: &Node, text: &str) -> Result<String, YamlError> {
        decode_base64(text).ok_or_else(|| YamlError::Tag {
            at: node.place,
            tag: "!!binary".to_owned(),
            found: "no base64 text",
        })
    }
}

/// The share of nodes that may come through aliases.
fn allowed_share(decoded: usize) -> f64 {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    let decoded = (decoded as f64).clamp(LOW, HIGH);
    0.99 - 0.89 * (decoded - LOW) / (HIGH - LOW)
}

fn is_merge(key: &Node) -> bool {
    let Some(("<<", style)) = key.scalar() else {
        return false;
    };
    match key.tag.as_ref().map(|t| t.name.as_str()) {
        None => style == Style::Plain,
        Some(tag) => tag.strip_prefix(TAG_PREFIX) == Some("merge"),
    }
}

/// Base64 with padding, line breaks ignored; bytes that are not UTF-8 become replacement characters
/// one by one, as Go's JSON writer does it.
fn decode_base64(text: &str) -> Option<String> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| !matches!(b, b'\n' | b'\r'))
        .collect();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let padding = digits.iter().rev().take_while(|b| **b == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    let (mut word, mut bits) = (0u32, 0u32);
    for &digit in digits.iter().take(digits.len() - padding) {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        word = (word << 6 | u32::from(six)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    Some(out)
}
