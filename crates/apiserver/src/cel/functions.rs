//! Owns the table of functions: their names, the types they take and give, and what runs them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use super::eval::{Fault, Machine};
use super::library;
use super::types::Type;
use super::value::Value;

/// What runs a call; the receiver is the first argument.
pub(crate) type Run = for<'a> fn(&mut Machine<'a, '_>, &[Value<'a>]) -> Result<Value<'a>, Fault>;

/// One way of calling a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) member: bool,
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    /// How many type parameters it has: they are numbered from 0.
    pub(crate) open: usize,
}

/// A function.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) overloads: Vec<Overload>,
    pub(crate) run: Run,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

static TABLE: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let mut table = HashMap::new();
    for (name, signatures, run) in library::all() {
        let overloads = signatures.iter().map(|text| read(text)).collect();
        table.insert(
            name,
            Function {
                name,
                overloads,
                run,
            },
        );
    }
    table
});

/// The function of a name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    TABLE.get(name)
}

#[cfg(test)]
pub(crate) fn names() -> Vec<&'static str> {
    TABLE
        .keys()
        .copied()
        .filter(|name| !name.contains('_'))
        .collect()
}

/// Reads a signature: `(list(A), int) int`, with a leading `.` when the first is a receiver.
/// The signatures are our own constants; what cannot be read becomes `dyn`.
fn read(text: &str) -> Overload {
    let member = text.starts_with('.');
    let mut reader = Reader {
        rest: text.trim_start_matches('.'),
        names: Vec::new(),
    };
    reader.skip("(");
    let mut params = Vec::new();
    while !reader.rest.starts_with(')') && !reader.rest.is_empty() {
        params.push(reader.ty());
        reader.skip(",");
    }
    reader.skip(")");
    let result = reader.ty();
    Overload {
        member,
        params,
        result,
        open: reader.names.len(),
    }
}

struct Reader<'t> {
    rest: &'t str,
    names: Vec<&'t str>,
}

impl<'t> Reader<'t> {
    fn skip(&mut self, sign: &str) {
        self.rest = self.rest.trim_start();
        self.rest = self
            .rest
            .strip_prefix(sign)
            .unwrap_or(self.rest)
            .trim_start();
    }

    fn inner(&mut self) -> Type {
        self.skip("(");
        let ty = self.ty();
        self.skip(")");
        ty
    }

    fn ty(&mut self) -> Type {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
            .unwrap_or(self.rest.len());
        let (name, rest): (&'t str, &'t str) = self.rest.split_at(end);
        self.rest = rest;
        match name {
            "null" => Type::Null,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::Text,
            "bytes" => Type::Bytes,
            "duration" => Type::Duration,
            "timestamp" => Type::Timestamp,
            "list" => Type::list(self.inner()),
            "optional" => Type::optional(self.inner()),
            "type" => Type::Type(Arc::new(self.inner())),
            "map" => {
                self.skip("(");
                let key = self.ty();
                self.skip(",");
                let value = self.ty();
                self.skip(")");
                Type::map(key, value)
            }
            "A" | "B" => {
                let number = self.names.iter().position(|n| *n == name);
                Type::Param(number.unwrap_or_else(|| {
                    self.names.push(name);
                    self.names.len() - 1
                }))
            }
            _ => host(name).map_or(Type::Dyn, Type::Host),
        }
    }
}

/// The library types, by name.
pub(crate) const HOSTS: [&str; 11] = [
    "net.IP",
    "net.CIDR",
    "kubernetes.URL",
    "kubernetes.Quantity",
    "kubernetes.Semver",
    "kubernetes.NamedFormat",
    "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.PathCheck",
    "kubernetes.authorization.GroupCheck",
    "kubernetes.authorization.ResourceCheck",
    "kubernetes.authorization.Decision",
];

fn host(name: &str) -> Option<&'static str> {
    HOSTS
        .into_iter()
        .find(|host| *host == name || host.rsplit('.').next().is_some_and(|short| short == name))
}

/// The type that a name denotes, such as `string` in `type(x) == string`.
pub(crate) fn denoted(name: &str) -> Option<Type> {
    Some(match name {
        "bool" | "google.protobuf.BoolValue" => Type::Bool,
        "int" | "google.protobuf.Int64Value" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::Text,
        "bytes" => Type::Bytes,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "null_type" => Type::Null,
        "type" => Type::Type(Arc::new(Type::Dyn)),
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "optional_type" => Type::optional(Type::Dyn),
        _ => Type::Host(HOSTS.into_iter().find(|host| *host == name)?),
    })
}
