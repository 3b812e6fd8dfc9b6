//! Owns the types of the language and when one may stand for another. It refuses values.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Dyn,
    /// The type of what is wrong already; it fits everywhere.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    List(Arc<Type>),
    Map(Arc<(Type, Type)>),
    Object(Arc<Object>),
    /// A type of a library, such as `net.IP`.
    Host(&'static str),
    Optional(Arc<Type>),
    /// The type of a type.
    #[expect(clippy::enum_variant_names, reason = "the language calls it so")]
    Type(Arc<Type>),
    /// Stands for a type that is found while checking.
    Param(usize),
}

/// An object with declared fields.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) fields: BTreeMap<String, Type>,
}

impl Object {
    /// A field's type. Words of the language may be written plainly or escaped.
    pub(crate) fn field(&self, name: &str) -> Option<&Type> {
        self.fields.get(name).or_else(|| {
            super::escape::is_reserved(name).then(|| self.fields.get(&format!("__{name}__")))?
        })
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Type {
    pub(crate) fn list(of: Self) -> Self {
        Self::List(Arc::new(of))
    }

    pub(crate) fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    pub(crate) fn optional(of: Self) -> Self {
        Self::Optional(Arc::new(of))
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn => "dyn",
            Self::Error => "!error!",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Host(name) => name,
            Self::Object(object) => &object.name,
            Self::List(of) => return write!(f, "list({of})"),
            Self::Map(of) => return write!(f, "map({}, {})", of.0, of.1),
            Self::Optional(of) => return write!(f, "optional_type({of})"),
            Self::Type(of) => return write!(f, "type({of})"),
            Self::Param(number) => return write!(f, "_var{number}"),
        })
    }
}

/// What the parameters stand for so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings(HashMap<usize, Type>);

impl Bindings {
    /// Whether `from` may be used where `to` is asked for; remembers what parameters became.
    pub(crate) fn assignable(&mut self, from: &Type, to: &Type) -> bool {
        let mut trial = self.clone();
        if trial.fits(from, to) {
            *self = trial;
            return true;
        }
        false
    }

    pub(crate) fn all_assignable(&mut self, from: &[Type], to: &[Type]) -> bool {
        if from.len() != to.len() {
            return false;
        }
        let mut trial = self.clone();
        if from.iter().zip(to).all(|(from, to)| trial.fits(from, to)) {
            *self = trial;
            return true;
        }
        false
    }

    fn fits(&mut self, from: &Type, to: &Type) -> bool {
        if let Type::Param(param) = to {
            let (valid, bound) = self.bind(from, *param);
            if valid {
                return true;
            }
            if bound {
                return false;
            }
        }
        if let Type::Param(param) = from {
            return self.bind(to, *param).0;
        }
        if from.is_dyn_or_error() || to.is_dyn_or_error() {
            return true;
        }
        let nullable = |ty: &Type| {
            matches!(
                ty,
                Type::Null
                    | Type::Object(_)
                    | Type::Host(_)
                    | Type::Optional(_)
                    | Type::Duration
                    | Type::Timestamp
            )
        };
        match (from, to) {
            (Type::Null, other) | (other, Type::Null) => nullable(other),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
                self.fits(a, b)
            }
            (Type::Map(a), Type::Map(b)) => self.fits(&a.0, &b.0) && self.fits(&a.1, &b.1),
            (Type::Type(_), Type::Type(_)) => true,
            _ => from == to,
        }
    }

    /// Whether the parameter may stand for `ty`, and whether it stood for something before.
    fn bind(&mut self, ty: &Type, param: usize) -> (bool, bool) {
        if *ty == Type::Param(param) {
            return (true, true);
        }
        if let Some(bound) = self.0.get(&param).cloned() {
            if bound == *ty {
                return (true, true);
            }
            if self.fits(ty, &bound) {
                let general = most_general(ty, &bound);
                if !self.occurs(param, &general) {
                    self.0.insert(param, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.occurs(param, ty) {
            return (false, false);
        }
        self.0.insert(param, ty.clone());
        (true, false)
    }

    fn occurs(&self, param: usize, ty: &Type) -> bool {
        match ty {
            Type::Param(other) => {
                *other == param || self.0.get(other).is_some_and(|ty| self.occurs(param, ty))
            }
            Type::List(of) | Type::Optional(of) | Type::Type(of) => self.occurs(param, of),
            Type::Map(of) => self.occurs(param, &of.0) || self.occurs(param, &of.1),
            _ => false,
        }
    }

    /// The type with its parameters replaced; those still open become `dyn` when `close` is set.
    pub(crate) fn substitute(&self, ty: &Type, close: bool) -> Type {
        match ty {
            Type::Param(param) => match self.0.get(param) {
                Some(bound) => self.substitute(bound, close),
                None if close => Type::Dyn,
                None => ty.clone(),
            },
            Type::List(of) => Type::list(self.substitute(of, close)),
            Type::Optional(of) => Type::optional(self.substitute(of, close)),
            Type::Type(of) => Type::Type(Arc::new(self.substitute(of, close))),
            Type::Map(of) => {
                Type::map(self.substitute(&of.0, close), self.substitute(&of.1, close))
            }
            _ => ty.clone(),
        }
    }
}

/// The more general of two types that fit.
pub(crate) fn most_general(a: &Type, b: &Type) -> Type {
    if less_specific(a, b) { a } else { b }.clone()
}

fn less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) | (Type::Type(_), Type::Type(_)) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
            less_specific(a, b)
        }
        (Type::Map(a), Type::Map(b)) => less_specific(&a.0, &b.0) && less_specific(&a.1, &b.1),
        _ => a == b,
    }
}
