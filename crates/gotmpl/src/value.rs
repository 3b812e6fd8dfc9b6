//! The values templates work on.
//!
//! Owns the Go kinds a template can meet. Strings are bytes; maps are shared handles that functions may change,
//! as in Go; everything is `Send` and `Sync`. It refuses to hold what Go's JSON cannot: there are no pointers.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::funcs::Func;
use crate::types::Type;

/// A Go value.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// Nothing: `nil`.
    #[default]
    Nil,
    /// A `bool`.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// An `int64`.
    Int64(i64),
    /// A `uint8`.
    Uint8(u8),
    /// A `uint64`.
    Uint64(u64),
    /// A `float64`.
    Float(f64),
    /// A `string`.
    Str(GoStr),
    /// A slice.
    List(List),
    /// A map.
    Map(Map),
    /// A struct.
    Struct(Struct),
    /// A function.
    Func(Func),
}

impl Value {
    /// A string value.
    pub fn string(text: impl AsRef<[u8]>) -> Self {
        Self::Str(GoStr::from(text.as_ref()))
    }

    /// A `[]interface {}`.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Self {
        Self::List(List::typed(Type::Any, items.into_iter().collect()))
    }

    /// A `map[string]interface {}`.
    pub fn map<K: AsRef<[u8]>>(entries: impl IntoIterator<Item = (K, Value)>) -> Self {
        let map = Map::typed(Type::String, Type::Any);
        for (key, value) in entries {
            map.insert(Value::string(key), value);
        }
        Self::Map(map)
    }

    /// A `map[string]string`.
    pub fn string_map<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let map = Map::typed(Type::String, Type::String);
        for (key, value) in entries {
            map.insert(Value::string(key), Value::string(value));
        }
        Self::Map(map)
    }

    /// A `[]string`.
    pub fn string_list<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(List::typed(
            Type::String,
            items.into_iter().map(Value::string).collect(),
        ))
    }

    /// The value's own type; nothing has the type of `interface {}`.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Nil => Type::Any,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Int64(_) => Type::Int64,
            Self::Uint8(_) => Type::Uint8,
            Self::Uint64(_) => Type::Uint64,
            Self::Float(_) => Type::Float,
            Self::Str(_) => Type::String,
            Self::List(list) => Type::List(list.0.element.clone()),
            Self::Map(map) => Type::Map(map.0.key.clone(), map.0.element.clone()),
            Self::Struct(fields) => Type::Struct(fields.0.name.clone()),
            Self::Func(func) => Type::Func(func.type_name()),
        }
    }

    /// What an `if` makes of the value: everything but nothing, zero and the empty is true.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(i) | Self::Int64(i) => *i != 0,
            Self::Uint8(u) => *u != 0,
            Self::Uint64(u) => *u != 0,
            Self::Float(f) => *f != 0.0,
            Self::Str(s) => !s.as_bytes().is_empty(),
            Self::List(list) => !list.items().is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Struct(_) | Self::Func(_) => true,
        }
    }

    /// The text of a string, or nothing. Bytes that are not UTF-8 are replaced.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Self::Str(s) => Some(s.to_text()),
            _ => None,
        }
    }
}

impl From<&serde_json::Value> for Value {
    /// As Go decodes JSON into `interface {}`: every number is a `float64`.
    fn from(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(b) => Self::Bool(*b),
            serde_json::Value::Number(n) => Self::Float(n.as_f64().unwrap_or_default()),
            serde_json::Value::String(s) => Self::string(s),
            serde_json::Value::Array(items) => Self::list(items.iter().map(Self::from)),
            serde_json::Value::Object(fields) => {
                Self::map(fields.iter().map(|(key, value)| (key, Self::from(value))))
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::string(text)
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Self::Float(float)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

/// A Go string: bytes, most often UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoStr(Arc<[u8]>);

impl GoStr {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text; bytes that are not UTF-8 are replaced.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl Default for GoStr {
    fn default() -> Self {
        Self(Arc::from([].as_slice()))
    }
}

impl From<&[u8]> for GoStr {
    fn from(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }
}

impl fmt::Debug for GoStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&weir_gocompat::quote_bytes(&self.0))
    }
}

/// A slice with the type of its elements. Slices are never changed in place.
#[derive(Debug, Clone)]
pub struct List(Arc<ListBody>);

#[derive(Debug)]
struct ListBody {
    element: Arc<Type>,
    items: Vec<Value>,
}

impl List {
    /// A slice of the given element type.
    pub fn typed(element: Type, items: Vec<Value>) -> Self {
        Self(Arc::new(ListBody {
            element: Arc::new(element),
            items,
        }))
    }

    /// The elements.
    pub fn items(&self) -> &[Value] {
        &self.0.items
    }

    /// The type of the elements.
    pub fn element(&self) -> &Type {
        &self.0.element
    }
}

/// A map: a shared handle, so that a change through one copy shows in all.
#[derive(Clone)]
pub struct Map(Arc<MapBody>);

struct MapBody {
    key: Arc<Type>,
    element: Arc<Type>,
    entries: RwLock<BTreeMap<Key, Value>>,
}

impl Map {
    /// An empty map of the given types.
    pub fn typed(key: Type, element: Type) -> Self {
        Self(Arc::new(MapBody {
            key: Arc::new(key),
            element: Arc::new(element),
            entries: RwLock::default(),
        }))
    }

    fn with<T>(&self, read: impl FnOnce(&BTreeMap<Key, Value>) -> T) -> T {
        read(
            &self
                .0
                .entries
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Sets an entry and returns what it replaces.
    pub fn insert(&self, key: Value, value: Value) -> Option<Value> {
        let mut entries = self
            .0
            .entries
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        entries.insert(Key(key), value)
    }

    /// Takes an entry out.
    pub fn remove(&self, key: &Value) -> Option<Value> {
        let mut entries = self
            .0
            .entries
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        entries.remove(&Key(key.clone()))
    }

    /// The value of a key.
    pub fn get(&self, key: &Value) -> Option<Value> {
        self.with(|entries| entries.get(&Key(key.clone())).cloned())
    }

    /// The value of a text key.
    pub fn get_text(&self, key: &str) -> Option<Value> {
        self.get(&Value::string(key))
    }

    /// A copy of the entries, in Go's order of printing and ranging.
    pub fn entries(&self) -> Vec<(Value, Value)> {
        self.with(|entries| {
            entries
                .iter()
                .map(|(k, v)| (k.0.clone(), v.clone()))
                .collect()
        })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.with(BTreeMap::len)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the keys.
    pub fn key(&self) -> &Type {
        &self.0.key
    }

    /// The type of the elements.
    pub fn element(&self) -> &Type {
        &self.0.element
    }
}

impl fmt::Debug for Map {
    /// Keys only: a map can hold itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|entries| f.debug_set().entries(entries.keys()).finish())
    }
}

/// A struct: named fields in their order.
#[derive(Debug, Clone)]
pub struct Struct(Arc<StructBody>);

#[derive(Debug)]
struct StructBody {
    name: std::borrow::Cow<'static, str>,
    fields: Vec<(std::borrow::Cow<'static, str>, Value)>,
}

impl Struct {
    /// A struct of a type, named with its package, and its fields.
    pub fn new(
        name: impl Into<std::borrow::Cow<'static, str>>,
        fields: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect();
        Self(Arc::new(StructBody {
            name: name.into(),
            fields,
        }))
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.0
            .fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// The fields in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0
            .fields
            .iter()
            .map(|(name, value)| (name.as_ref(), value))
    }
}

/// A value as a map's key, ordered as Go sorts keys.
#[derive(Debug, Clone)]
pub struct Key(Value);

impl Key {
    /// A value as a key.
    pub fn new(value: Value) -> Self {
        Self(value)
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.0
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.0, &other.0)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Nil => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Int64(_) => 2,
        Value::Uint8(_) | Value::Uint64(_) => 3,
        Value::Float(_) => 4,
        Value::Str(_) => 5,
        Value::Struct(_) => 6,
        Value::List(_) | Value::Map(_) | Value::Func(_) => 7,
    }
}

/// A total order over what can be a key. Lists, maps and functions cannot be in Go; here they all count as one key.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a) | Value::Int64(a), Value::Int(b) | Value::Int64(b)) => a.cmp(b),
        (Value::Uint8(a), Value::Uint8(b)) => a.cmp(b),
        (Value::Uint64(a), Value::Uint64(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Str(a), Value::Str(b)) => a.cmp(b),
        (Value::Struct(a), Value::Struct(b)) => {
            let (a, b) = (&a.0.fields, &b.0.fields);
            a.iter()
                .zip(b)
                .map(|((_, a), (_, b))| order(a, b))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}
