//! Expressions: pipelines, commands, fields, calls and what they yield.
//!
//! Owns Go's rules of what may be an argument of what, and the messages when it may not. Where execution stands is
//! set in the same places as in Go, since messages show it.

use crate::builtins;
use crate::exec::{Executed, State, named};
use crate::funcs::Func;
use crate::node::{Kind, Node};
use crate::number::Number;
use crate::template::MissingKey;
use crate::types::Type;
use crate::value::Value;

/// A value and whether it came out of an `interface {}`. Messages name the type of the slot, not of the value;
/// an empty slot of that type is not the same as no value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot {
    pub(crate) value: Value,
    boxed: bool,
}

impl Slot {
    /// A value of its own type; `Nil` is no value at all.
    pub(crate) fn bare(value: Value) -> Self {
        Self {
            value,
            boxed: false,
        }
    }

    /// A value taken from a place of a type.
    pub(crate) fn of(kind: &Type, value: Value) -> Self {
        Self {
            value,
            boxed: kind.is_any(),
        }
    }

    fn is_absent(&self) -> bool {
        !self.boxed && matches!(self.value, Value::Nil)
    }

    fn is_empty_box(&self) -> bool {
        self.boxed && matches!(self.value, Value::Nil)
    }

    fn unboxed(self) -> Self {
        Self {
            value: self.value,
            boxed: false,
        }
    }

    fn kind(&self) -> Type {
        if self.boxed {
            Type::Any
        } else {
            self.value.type_of()
        }
    }
}

/// The value a pipeline hands on, if this is not its first command.
type Piped = Option<Slot>;

impl<'t> State<'t> {
    /// Evaluates a pipeline and sets the variables it names.
    pub(crate) fn pipeline(&mut self, dot: &Slot, node: &'t Node) -> Executed<Slot> {
        self.at(node);
        self.step()?;
        let Kind::Pipe(pipe) = &node.kind else {
            return Ok(Slot::default());
        };
        let mut piped = None;
        for command in &pipe.commands {
            piped = Some(self.command(dot, command, piped)?.unboxed());
        }
        let value = piped.unwrap_or_default();
        for name in &pipe.decl {
            if pipe.assign {
                self.assign(name, value.clone())?;
            } else {
                self.push(name, value.clone());
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &Slot, node: &'t Node, piped: Piped) -> Executed<Slot> {
        let Kind::Command(args) = &node.kind else {
            return Ok(Slot::default());
        };
        let Some((first, rest)) = args.split_first() else {
            return Ok(Slot::default());
        };
        match &first.kind {
            Kind::Field(names) => return self.field(dot, first, names, rest, &piped),
            Kind::Chain { .. } => return self.chain(dot, first, rest, &piped),
            Kind::Function(name) => return self.function(dot, first, name, node, rest, piped),
            Kind::Pipe(_) => {
                self.no_arguments(first, rest, &piped)?;
                return self.pipeline(dot, first);
            }
            Kind::Variable(names) => return self.variable_chain(first, names, rest, &piped),
            _ => {}
        }
        self.at(first);
        self.no_arguments(first, rest, &piped)?;
        match &first.kind {
            Kind::Bool(b) => Ok(Slot::bare(Value::Bool(*b))),
            Kind::Dot => Ok(dot.clone()),
            Kind::Nil => self.fail("nil is not a command"),
            Kind::Number(number) => self.constant(first, number),
            Kind::Str { bytes, .. } => Ok(Slot::bare(Value::string(bytes))),
            _ => self.fail(&format!(
                "can't evaluate command {}",
                weir_gocompat::quote(&first.to_string())
            )),
        }
    }

    fn no_arguments(&self, first: &Node, rest: &[Node], piped: &Piped) -> Executed<()> {
        if rest.is_empty() && piped.is_none() {
            return Ok(());
        }
        self.fail(&format!("can't give argument to non-function {first}"))
    }

    /// A number where nothing tells its type.
    fn constant(&mut self, node: &'t Node, number: &Number) -> Executed<Slot> {
        self.at(node);
        if let Some(float) = number.float.filter(|_| number.is_float()) {
            return Ok(Slot::bare(Value::Float(float)));
        }
        match number.int {
            Some(int) => Ok(Slot::bare(Value::Int(int))),
            None => self.fail(&format!("{} overflows int", number.text)),
        }
    }

    fn field(
        &mut self,
        dot: &Slot,
        node: &'t Node,
        names: &[String],
        args: &[Node],
        piped: &Piped,
    ) -> Executed<Slot> {
        self.at(node);
        self.fields(dot.clone(), names, args, piped)
    }

    fn variable_chain(
        &mut self,
        node: &'t Node,
        names: &[String],
        args: &[Node],
        piped: &Piped,
    ) -> Executed<Slot> {
        self.at(node);
        let Some((name, fields)) = names.split_first() else {
            return Ok(Slot::default());
        };
        let value = self.variable(name)?;
        if fields.is_empty() {
            self.no_arguments(node, args, piped)?;
            return Ok(value);
        }
        self.fields(value, fields, args, piped)
    }

    fn chain(
        &mut self,
        dot: &Slot,
        node: &'t Node,
        args: &[Node],
        piped: &Piped,
    ) -> Executed<Slot> {
        self.at(node);
        let Kind::Chain {
            node: inner,
            fields,
        } = &node.kind
        else {
            return Ok(Slot::default());
        };
        if matches!(inner.kind, Kind::Nil) {
            return self.fail(&format!("indirection through explicit nil in {node}"));
        }
        let value = self.argument(dot, &Type::Raw, inner)?;
        self.fields(value, fields, args, piped)
    }

    /// `.a.b.c`; only the last may have arguments.
    fn fields(
        &mut self,
        mut value: Slot,
        names: &[String],
        args: &[Node],
        piped: &Piped,
    ) -> Executed<Slot> {
        for (i, name) in names.iter().enumerate() {
            let has_args = i + 1 == names.len() && (!args.is_empty() || piped.is_some());
            value = self.one_field(&value, name, has_args)?;
        }
        Ok(value)
    }

    fn one_field(&mut self, slot: &Slot, name: &str, has_args: bool) -> Executed<Slot> {
        let missing_key = self.template.missing_key;
        if slot.is_absent() {
            if missing_key == MissingKey::Error {
                let name = weir_gocompat::quote(name);
                return self.fail(&format!("nil data; no entry for key {name}"));
            }
            return Ok(Slot::default());
        }
        let kind = slot.kind();
        if slot.is_empty_box() {
            return self.fail(&format!("nil pointer evaluating {}.{name}", kind.name()));
        }
        match &slot.value {
            Value::Struct(fields) => {
                if let Some(value) = fields.field(name) {
                    if has_args {
                        return self.fail(&format!(
                            "{name} has arguments but cannot be invoked as function"
                        ));
                    }
                    return Ok(Slot::bare(value.clone()));
                }
            }
            Value::Map(map) if matches!(map.key(), Type::String | Type::Any) => {
                if has_args {
                    return self.fail(&format!("{name} is not a method but has arguments"));
                }
                if let Some(value) = map.get_text(name) {
                    return Ok(Slot::of(map.element(), value));
                }
                return match missing_key {
                    MissingKey::Default => Ok(Slot::default()),
                    MissingKey::Zero => Ok(Slot::of(map.element(), map.element().zero())),
                    MissingKey::Error => {
                        let name = weir_gocompat::quote(name);
                        self.fail(&format!("map has no entry for key {name}"))
                    }
                };
            }
            _ => {}
        }
        self.fail(&format!(
            "can't evaluate field {name} in type {}",
            kind.name()
        ))
    }

    fn function(
        &mut self,
        dot: &Slot,
        node: &'t Node,
        name: &'t str,
        command: &'t Node,
        args: &'t [Node],
        piped: Piped,
    ) -> Executed<Slot> {
        self.at(node);
        let template = self.template;
        if let Some(func) = template.funcs.get(name) {
            return self.call(dot, func, false, command, name, args, piped);
        }
        if let Some(func) = builtins::get(name) {
            return self.call(dot, func, true, command, name, args, piped);
        }
        let name = weir_gocompat::quote(name);
        self.fail(&format!("{name} is not a defined function"))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a call is all of these, and they go no further"
    )]
    fn call(
        &mut self,
        dot: &Slot,
        func: &Func,
        builtin: bool,
        command: &'t Node,
        name: &str,
        args: &'t [Node],
        piped: Piped,
    ) -> Executed<Slot> {
        let signature = func.signature();
        let fixed = signature.params.len();
        let count = args.len() + usize::from(piped.is_some());
        if signature.variadic.is_some() {
            if count < fixed {
                let given = args.len();
                return self.fail(&format!(
                    "wrong number of args for {name}: want at least {fixed} got {given}"
                ));
            }
        } else if count != fixed {
            return self.fail(&format!(
                "wrong number of args for {name}: want {fixed} got {count}"
            ));
        }
        if builtin && matches!(name, "and" | "or") {
            return self.short_circuit(dot, name == "or", args, piped);
        }
        let mut values = Vec::with_capacity(count);
        let mut absent = false;
        for (i, arg) in args.iter().enumerate() {
            let slot = self.argument(dot, &func.param(i), arg)?;
            absent |= slot.is_absent();
            values.push(slot.value);
        }
        if let Some(piped) = piped {
            let slot = self.fit(piped, &func.param(args.len()))?;
            absent |= slot.is_absent();
            values.push(slot.value);
        }
        let result = if builtin && name == "call" {
            let callee = args
                .first()
                .map_or_else(|| piped_name(&values), ToString::to_string);
            builtins::call(&callee, &values)
        } else if builtin && name == "len" && absent {
            // Go's `len` tells an empty place from no place at all.
            Err("reflect: call of reflect.Value.Type on zero Value".to_owned())
        } else {
            func.call(&values)
        };
        match result {
            Ok(Value::Str(text)) => {
                self.made(text.as_bytes().len())?;
                Ok(Slot::bare(Value::Str(text)))
            }
            // Go's `index` yields an element with the type of its place; what leaves a pipeline has lost it again.
            Ok(value) => Ok(Slot::bare(value)),
            Err(message) => {
                self.at(command);
                self.fail(&format!("error calling {name}: {message}"))
            }
        }
    }

    /// `and` and `or` evaluate no more than they need.
    fn short_circuit(
        &mut self,
        dot: &Slot,
        until: bool,
        args: &'t [Node],
        piped: Piped,
    ) -> Executed<Slot> {
        let mut last = Slot::default();
        for arg in args {
            last = self.argument(dot, &Type::Raw, arg)?;
            if last.value.is_true() == until {
                return Ok(last);
            }
        }
        Ok(piped.unwrap_or(last))
    }

    /// Checks that a value may stand where a type is wanted.
    fn fit(&mut self, slot: Slot, wanted: &Type) -> Executed<Slot> {
        if slot.is_absent() {
            if wanted.can_be_nil() {
                return Ok(match wanted {
                    Type::List(_) | Type::Map(..) => Slot::bare(wanted.zero()),
                    _ => slot,
                });
            }
            return self.fail(&format!("invalid value; expected {}", wanted.name()));
        }
        if matches!(wanted, Type::Raw | Type::Any) {
            return Ok(slot);
        }
        let kind = if slot.is_empty_box() {
            Type::Any
        } else {
            slot.value.type_of()
        };
        if kind == *wanted || matches!((&kind, wanted), (Type::Func(_), Type::Func(_))) {
            return Ok(slot.unboxed());
        }
        self.fail(&format!(
            "wrong type for value; expected {}; got {}",
            wanted.name(),
            named(&kind)
        ))
    }

    /// Evaluates one argument of a call.
    fn argument(&mut self, dot: &Slot, wanted: &Type, node: &'t Node) -> Executed<Slot> {
        self.at(node);
        let slot = match &node.kind {
            Kind::Dot => dot.clone(),
            Kind::Nil => {
                if wanted.can_be_nil() {
                    return Ok(Slot::bare(wanted.zero()));
                }
                return self.fail(&format!("cannot assign nil to {}", wanted.name()));
            }
            Kind::Field(names) => self.field(dot, node, names, &[], &None)?,
            Kind::Variable(names) => self.variable_chain(node, names, &[], &None)?,
            Kind::Pipe(_) => self.pipeline(dot, node)?,
            Kind::Function(name) => self.function(dot, node, name, node, &[], None)?,
            Kind::Chain { .. } => self.chain(dot, node, &[], &None)?,
            _ => return self.literal(wanted, node),
        };
        self.fit(slot, wanted)
    }

    /// A constant, read as the type that is wanted.
    fn literal(&mut self, wanted: &Type, node: &'t Node) -> Executed<Slot> {
        let number = match &node.kind {
            Kind::Number(number) => Some(number),
            _ => None,
        };
        let (found, expected) = match wanted {
            Type::Any | Type::Raw => {
                return match &node.kind {
                    Kind::Bool(b) => Ok(Slot::bare(Value::Bool(*b))),
                    Kind::Str { bytes, .. } => Ok(Slot::bare(Value::string(bytes))),
                    Kind::Number(number) => self.constant(node, number),
                    _ => self.fail(&format!(
                        "can't handle assignment of {node} to empty interface argument"
                    )),
                };
            }
            Type::Bool => (
                match &node.kind {
                    Kind::Bool(b) => Some(Value::Bool(*b)),
                    _ => None,
                },
                "bool",
            ),
            Type::String => (
                match &node.kind {
                    Kind::Str { bytes, .. } => Some(Value::string(bytes)),
                    _ => None,
                },
                "string",
            ),
            Type::Int => (number.and_then(|n| n.int).map(Value::Int), "integer"),
            Type::Int64 => (number.and_then(|n| n.int).map(Value::Int64), "integer"),
            Type::Uint8 => (
                number.and_then(|n| n.uint).map(|u| Value::Uint8(u as u8)),
                "unsigned integer",
            ),
            Type::Uint64 => (
                number.and_then(|n| n.uint).map(Value::Uint64),
                "unsigned integer",
            ),
            Type::Float => (number.and_then(|n| n.float).map(Value::Float), "float"),
            Type::List(_) | Type::Map(..) | Type::Struct(_) | Type::Func(_) => {
                let wanted = wanted.name();
                return self.fail(&format!("can't handle {node} for arg of type {wanted}"));
            }
        };
        match found {
            Some(value) => Ok(Slot::bare(value)),
            None => self.fail(&format!("expected {expected}; found {node}")),
        }
    }
}

/// How Go names a function that came down a pipeline.
fn piped_name(values: &[Value]) -> String {
    match values.first() {
        None => String::new(),
        Some(Value::Str(text)) => text.to_text(),
        Some(value) => format!("<{} Value>", value.type_of().name()),
    }
}
