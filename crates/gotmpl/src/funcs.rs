//! The functions a template may call.
//!
//! Owns the registry and what a call checks before the closure runs: count and types of arguments, with Go's
//! words. It refuses to know any function itself; Go's own are in `builtins`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::types::Type;
use crate::value::Value;

/// What a function takes.
#[derive(Debug, Clone, Default)]
pub struct Signature {
    /// The types of the fixed parameters.
    pub params: Vec<Type>,
    /// The type of each further argument, if there may be any.
    pub variadic: Option<Type>,
}

impl Signature {
    /// Exactly these parameters.
    pub fn fixed(params: impl IntoIterator<Item = Type>) -> Self {
        Self {
            params: params.into_iter().collect(),
            variadic: None,
        }
    }

    /// These parameters, then any number of one type.
    pub fn variadic(params: impl IntoIterator<Item = Type>, rest: Type) -> Self {
        Self {
            params: params.into_iter().collect(),
            variadic: Some(rest),
        }
    }
}

type Body = dyn Fn(&[Value]) -> Result<Value, String> + Send + Sync;

/// A function value.
#[derive(Clone)]
pub struct Func {
    signature: Arc<Signature>,
    type_name: Option<Cow<'static, str>>,
    body: Arc<Body>,
}

impl Func {
    /// A function of a signature. Its refusal is a message that ends up in the execution's.
    pub fn new(
        signature: Signature,
        body: impl Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            signature: Arc::new(signature),
            type_name: None,
            body: Arc::new(body),
        }
    }

    /// What it takes.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Calls it; the arguments have been checked by whoever calls.
    pub fn call(&self, args: &[Value]) -> Result<Value, String> {
        (self.body)(args)
    }

    /// Names the whole type, `func(int) string`, for messages; without it the result is left out.
    #[must_use]
    pub fn with_type_name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.type_name = Some(name.into());
        self
    }

    pub(crate) fn type_name(&self) -> Cow<'static, str> {
        if let Some(name) = &self.type_name {
            return name.clone();
        }
        let mut params: Vec<String> = self
            .signature
            .params
            .iter()
            .map(|param| param.name().into_owned())
            .collect();
        params.extend(
            self.signature
                .variadic
                .iter()
                .map(|rest| format!("...{}", rest.name())),
        );
        format!("func({})", params.join(", ")).into()
    }

    /// The type of argument `i`.
    pub(crate) fn param(&self, i: usize) -> Type {
        let rest = self.signature.variadic.as_ref();
        self.signature
            .params
            .get(i)
            .or(rest)
            .cloned()
            .unwrap_or(Type::Any)
    }
}

impl fmt::Debug for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Func").field(&self.signature).finish()
    }
}

/// Functions by name. Cloning is cheap enough to derive a set per use.
#[derive(Debug, Clone, Default)]
pub struct Funcs {
    by_name: BTreeMap<String, Func>,
}

impl Funcs {
    /// No functions but Go's built-in ones, which are always there.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function, replacing one of the same name.
    pub fn insert(&mut self, name: impl Into<String>, func: Func) {
        self.by_name.insert(name.into(), func);
    }

    /// Adds a function, replacing one of the same name.
    #[must_use]
    pub fn with(
        mut self,
        name: impl Into<String>,
        signature: Signature,
        body: impl Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        self.insert(name, Func::new(signature, body));
        self
    }

    /// Adds a function without parameters that always yields the same value.
    #[must_use]
    pub fn with_value(self, name: impl Into<String>, value: Value) -> Self {
        self.with(name, Signature::default(), move |_| Ok(value.clone()))
    }

    /// The function of a name.
    pub fn get(&self, name: &str) -> Option<&Func> {
        self.by_name.get(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}
