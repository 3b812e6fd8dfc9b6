//! The Go types a template value can have, by the names Go's messages use.
//!
//! Owns names and zero values. A type is needed where Go's behaviour depends on it: a missing key of a
//! `map[string]string` is the empty text, of a `map[string]interface {}` it is nothing.

use std::borrow::Cow;
use std::sync::Arc;

use crate::value::{GoStr, List, Map, Value};

/// A Go type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`: anything.
    Any,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// `int64`.
    Int64,
    /// `uint8`, also the type of a byte of a string.
    Uint8,
    /// `uint64`.
    Uint64,
    /// `float64`.
    Float,
    /// `string`.
    String,
    /// A slice of a type.
    List(Arc<Type>),
    /// A map from a type to a type.
    Map(Arc<Type>, Arc<Type>),
    /// A struct, by its name with the package (`main.Change`).
    Struct(Cow<'static, str>),
    /// A function, by its whole type (`func(string) string`).
    Func(Cow<'static, str>),
    /// What built-in functions take: any value, and also none at all.
    Raw,
}

impl Type {
    /// `[]interface {}`, what a decoded JSON list is.
    pub fn any_list() -> Self {
        Self::List(Arc::new(Self::Any))
    }

    /// `map[string]interface {}`, what a decoded JSON object is.
    pub fn any_map() -> Self {
        Self::Map(Arc::new(Self::String), Arc::new(Self::Any))
    }

    /// The type as Go prints it.
    pub fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Any => "interface {}",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Uint8 => "uint8",
            Self::Uint64 => "uint64",
            Self::Float => "float64",
            Self::String => "string",
            Self::Raw => "reflect.Value",
            Self::Struct(name) | Self::Func(name) => name,
            Self::List(element) => return Cow::Owned(format!("[]{}", element.name())),
            Self::Map(key, element) => {
                return Cow::Owned(format!("map[{}]{}", key.name(), element.name()));
            }
        })
    }

    /// The value a variable of this type starts with.
    pub fn zero(&self) -> Value {
        match self {
            Self::Any | Self::Func(_) | Self::Struct(_) | Self::Raw => Value::Nil,
            Self::Bool => Value::Bool(false),
            Self::Int => Value::Int(0),
            Self::Int64 => Value::Int64(0),
            Self::Uint8 => Value::Uint8(0),
            Self::Uint64 => Value::Uint64(0),
            Self::Float => Value::Float(0.0),
            Self::String => Value::Str(GoStr::default()),
            Self::List(element) => Value::List(List::typed((**element).clone(), Vec::new())),
            Self::Map(key, element) => Value::Map(Map::typed((**key).clone(), (**element).clone())),
        }
    }

    /// Whether nothing at all may stand for a value of this type.
    pub(crate) fn can_be_nil(&self) -> bool {
        matches!(
            self,
            Self::Any | Self::Raw | Self::List(_) | Self::Map(..) | Self::Func(_)
        )
    }

    /// Whether a slot of this type holds a value together with its type.
    pub(crate) fn is_any(&self) -> bool {
        *self == Self::Any
    }

    pub(crate) fn is_integer(&self) -> bool {
        matches!(self, Self::Int | Self::Int64 | Self::Uint8 | Self::Uint64)
    }
}
