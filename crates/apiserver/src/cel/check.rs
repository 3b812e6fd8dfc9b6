//! Owns the check of types: every name is declared, every field known, every call has an overload.
//! What it accepts carries the functions to run and the type of each node.

use std::sync::Arc;

use super::ast::{Call, Expr, Fold, Literal, Node, Offset};
use super::fault::Mistake;
use super::functions::{self, Function};
use super::literals;
use super::types::{Bindings, Type, most_general};

/// Names that an expression may use.
pub(crate) type Variables<'v> = &'v [(&'v str, Type)];

/// What a check found out.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) types: Vec<Type>,
    pub(crate) result: Type,
    /// The variables that are referred to.
    pub(crate) used: Vec<String>,
}

/// Checks an expression of `ids` nodes, and completes it.
pub(crate) fn check(
    expr: &mut Expr,
    ids: usize,
    variables: Variables<'_>,
) -> Result<Checked, Vec<Mistake>> {
    let mut checker = Checker {
        variables,
        scopes: Vec::new(),
        types: vec![Type::Error; ids],
        bindings: Bindings::default(),
        params: 0,
        mistakes: Vec::new(),
        used: Vec::new(),
    };
    checker.expr(expr);
    if !checker.mistakes.is_empty() {
        return Err(checker.mistakes);
    }
    let bindings = &checker.bindings;
    let types: Vec<Type> = checker
        .types
        .iter()
        .map(|ty| bindings.substitute(ty, true))
        .collect();
    let mistakes = literals::check(expr, &types);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let result = types.get(expr.id).cloned().unwrap_or(Type::Error);
    Ok(Checked {
        types,
        result,
        used: checker.used,
    })
}

struct Checker<'v> {
    variables: Variables<'v>,
    scopes: Vec<(String, Type)>,
    types: Vec<Type>,
    bindings: Bindings,
    params: usize,
    mistakes: Vec<Mistake>,
    used: Vec<String>,
}

fn optional_of(ty: &Type) -> (Type, bool) {
    match ty {
        Type::Optional(of) => ((**of).clone(), true),
        other => (other.clone(), false),
    }
}

impl Checker<'_> {
    fn mistake(&mut self, at: Offset, message: String) {
        self.mistakes.push(Mistake::new(at, message));
    }

    fn undeclared(&mut self, at: Offset, name: &str) {
        self.mistake(
            at,
            format!("undeclared reference to '{name}' (in container '')"),
        );
    }

    fn mismatch(&mut self, at: Offset, expected: &Type, found: &Type) {
        let (expected, found) = (
            self.bindings.substitute(expected, false),
            self.bindings.substitute(found, false),
        );
        self.mistake(
            at,
            format!("expected type '{expected}' but found '{found}'"),
        );
    }

    fn set(&mut self, id: usize, ty: Type) -> Type {
        if let Some(slot) = self.types.get_mut(id) {
            *slot = ty.clone();
        }
        ty
    }

    fn param(&mut self) -> Type {
        self.params += 1;
        Type::Param(self.params - 1)
    }

    fn lookup(&mut self, name: &str) -> Option<Type> {
        if let Some((_, ty)) = self.scopes.iter().rev().find(|(n, _)| n == name) {
            return Some(ty.clone());
        }
        if let Some((_, ty)) = self.variables.iter().find(|(n, _)| *n == name) {
            if !self.used.iter().any(|n| n == name) {
                self.used.push(name.to_owned());
            }
            return Some(ty.clone());
        }
        functions::denoted(name).map(|ty| Type::Type(Arc::new(ty)))
    }

    fn expr(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        let ty = match &mut expr.node {
            Node::Literal(literal) => match literal {
                Literal::Null => Type::Null,
                Literal::Bool(_) => Type::Bool,
                Literal::Int(_) => Type::Int,
                Literal::Uint(_) => Type::Uint,
                Literal::Double(_) => Type::Double,
                Literal::Text(_) => Type::Text,
                Literal::Bytes(_) => Type::Bytes,
            },
            Node::Ident(name) => match self.lookup(name) {
                Some(ty) => ty,
                None => {
                    let name = name.clone();
                    self.undeclared(at, &name);
                    Type::Error
                }
            },
            Node::Select { .. } => self.select(expr),
            Node::Call(call) => self.call(at, call),
            Node::List { items, optional } => self.list(items, optional),
            Node::Map(entries) => {
                let (mut key, mut value) = (None, None);
                for entry in entries {
                    let found = self.expr(&mut entry.key);
                    key = Some(self.join(key, found));
                    let mut found = self.expr(&mut entry.value);
                    if entry.optional {
                        found = self.unwrapped(entry.value.at, &found);
                    }
                    value = Some(self.join(value, found));
                }
                match (key, value) {
                    (Some(key), Some(value)) => Type::map(key, value),
                    _ => {
                        let (key, value) = (self.param(), self.param());
                        Type::map(key, value)
                    }
                }
            }
            Node::Message(name) => {
                let name = name.clone();
                match self.lookup(&name) {
                    None => self.undeclared(at, &name),
                    Some(_) => self.mistake(at, format!("'{name}' is not a message type")),
                }
                Type::Error
            }
            Node::Fold(fold) => self.fold(fold),
        };
        self.set(expr.id, ty)
    }

    fn select(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        // A dotted name may be declared as a whole.
        if let Some(name) = expr.qualified()
            && !self
                .scopes
                .iter()
                .any(|(n, _)| name.split('.').next() == Some(n.as_str()))
            && let Some(ty) = self.lookup(&name)
        {
            expr.node = Node::Ident(name);
            return ty;
        }
        let Node::Select {
            operand,
            field,
            test,
        } = &mut expr.node
        else {
            return Type::Error;
        };
        let (field, test) = (field.clone(), *test);
        let ty = self.field(at, operand, &field, false);
        if test { Type::Bool } else { ty }
    }

    fn field(&mut self, at: Offset, operand: &mut Expr, field: &str, optional: bool) -> Type {
        let operand = self.expr(operand);
        let operand = self.bindings.substitute(&operand, false);
        let (of, was_optional) = optional_of(&operand);
        let found = match &of {
            Type::Map(of) => of.1.clone(),
            Type::Object(object) => match object.field(field) {
                Some(ty) => ty.clone(),
                None => {
                    self.mistake(at, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            // Library types are objects without fields.
            Type::Host(_) => {
                self.mistake(at, format!("undefined field '{field}'"));
                Type::Error
            }
            Type::Param(_) => {
                self.bindings.assignable(&Type::Dyn, &of);
                Type::Dyn
            }
            other => {
                if !other.is_dyn_or_error() {
                    self.mistake(
                        at,
                        format!("type '{other}' does not support field selection"),
                    );
                }
                Type::Dyn
            }
        };
        if was_optional || optional {
            return Type::optional(found);
        }
        self.bindings.substitute(&found, false)
    }

    fn call(&mut self, at: Offset, call: &mut Call) -> Type {
        if call.name == "_?._" {
            let [operand, field] = call.args.as_mut_slice() else {
                return Type::Error;
            };
            let Node::Literal(Literal::Text(name)) = &field.node else {
                return Type::Error;
            };
            let name = name.clone();
            let ty = self.field(at, operand, &name, true);
            self.set(field.id, Type::Text);
            call.function = functions::find("_?._");
            return ty;
        }
        let args: Vec<Type> = call.args.iter_mut().map(|arg| self.expr(arg)).collect();
        if let Some(prefix) = call.target.as_ref().and_then(Expr::qualified)
            && let Some(function) = functions::find(&format!("{prefix}.{}", call.name))
        {
            call.target = None;
            function.name.clone_into(&mut call.name);
            return self.overload(at, call, function, &args, false);
        }
        let mut all = Vec::with_capacity(args.len() + 1);
        if let Some(target) = &mut call.target {
            all.push(self.expr(target));
        }
        all.extend(args);
        let Some(function) = functions::find(&call.name) else {
            let name = call.name.clone();
            self.undeclared(at, &name);
            return Type::Error;
        };
        let member = call.target.is_some();
        self.overload(at, call, function, &all, member)
    }

    fn overload(
        &mut self,
        at: Offset,
        call: &mut Call,
        function: &'static Function,
        args: &[Type],
        member: bool,
    ) -> Type {
        call.function = Some(function);
        call.matched.clear();
        if matches!(function.name, "_&&_" | "_||_") {
            let mut wrong = false;
            for (arg, ty) in call.args.iter().zip(args) {
                if !self.bindings.assignable(ty, &Type::Bool) {
                    self.mismatch(arg.at, &Type::Bool, ty);
                    wrong = true;
                }
            }
            call.matched.push(0);
            return if wrong { Type::Error } else { Type::Bool };
        }
        let mut result: Option<Type> = None;
        for (at, overload) in function.overloads.iter().enumerate() {
            if overload.member != member {
                continue;
            }
            let mut fresh = Bindings::default();
            let base = self.params;
            self.params += overload.open;
            for number in 0..overload.open {
                // Parameters of the table are numbered from a range of their own.
                fresh.assignable(&Type::Param(base + number), &Type::Param(TABLE + number));
            }
            let instance = |ty: &Type| fresh.substitute(&shift(ty), false);
            let params: Vec<Type> = overload.params.iter().map(instance).collect();
            if self.bindings.all_assignable(args, &params) {
                call.matched.push(at);
                let found = self.bindings.substitute(&instance(&overload.result), false);
                result = Some(match result {
                    None => found,
                    Some(Type::Dyn) => Type::Dyn,
                    Some(before) if before == found => before,
                    Some(_) => Type::Dyn,
                });
            }
        }
        if let Some(result) = result {
            return result;
        }
        let shown: Vec<String> = args
            .iter()
            .map(|ty| self.bindings.substitute(ty, true).to_string())
            .collect();
        let signature = match shown.split_first() {
            Some((target, rest)) if member => format!("{target}.({})", rest.join(", ")),
            _ => format!("({})", shown.join(", ")),
        };
        self.mistake(
            at,
            format!(
                "found no matching overload for '{}' applied to '{signature}'",
                function.name
            ),
        );
        Type::Error
    }

    fn list(&mut self, items: &mut [Expr], optional: &[bool]) -> Type {
        let mut of = None;
        for (item, optional) in items.iter_mut().zip(optional) {
            let mut found = self.expr(item);
            if *optional {
                found = self.unwrapped(item.at, &found);
            }
            of = Some(self.join(of, found));
        }
        let of = of.unwrap_or_else(|| self.param());
        Type::list(of)
    }

    fn unwrapped(&mut self, at: Offset, ty: &Type) -> Type {
        let (of, was) = optional_of(ty);
        if !was && !matches!(of, Type::Dyn) {
            self.mismatch(at, &Type::optional(of.clone()), &of);
        }
        of
    }

    /// The type of two elements; those that do not fit are told later, where it matters.
    fn join(&mut self, before: Option<Type>, now: Type) -> Type {
        let Some(before) = before else { return now };
        if self.bindings.assignable(&before, &now) {
            return most_general(&before, &now);
        }
        Type::Dyn
    }

    fn fold(&mut self, fold: &mut Fold) -> Type {
        let range = self.expr(&mut fold.range);
        let init = self.expr(&mut fold.init);
        let range = self.bindings.substitute(&range, false);
        let depth = self.scopes.len();
        self.scopes.push((fold.accu.clone(), init.clone()));
        let two = fold.var2.is_some();
        let (first, second) = match &range {
            Type::List(of) if two => (Type::Int, (**of).clone()),
            Type::List(of) => ((**of).clone(), Type::Dyn),
            Type::Map(of) => (of.0.clone(), of.1.clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.bindings.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                self.mistake(
                    fold.range.at,
                    format!(
                        "expression of type '{other}' cannot be range of a comprehension \
                         (must be list, map, or dynamic)"
                    ),
                );
                (Type::Error, Type::Error)
            }
        };
        self.scopes.push((fold.var.clone(), first));
        if let Some(var2) = &fold.var2 {
            self.scopes.push((var2.clone(), second));
        }
        let condition = self.expr(&mut fold.condition);
        self.assert(fold.condition.at, &Type::Bool, &condition);
        let step = self.expr(&mut fold.step);
        self.assert(fold.step.at, &init, &step);
        self.scopes.truncate(depth + 1);
        let result = self.expr(&mut fold.result);
        self.scopes.truncate(depth);
        self.bindings.substitute(&result, false)
    }

    fn assert(&mut self, at: Offset, wanted: &Type, found: &Type) {
        if !self.bindings.assignable(wanted, found) {
            self.mismatch(at, wanted, found);
        }
    }
}

/// Where the numbers of the table's own parameters begin, far from those of any expression.
const TABLE: usize = usize::MAX / 2;

fn shift(ty: &Type) -> Type {
    match ty {
        Type::Param(number) => Type::Param(TABLE + number),
        Type::List(of) => Type::list(shift(of)),
        Type::Optional(of) => Type::optional(shift(of)),
        Type::Type(of) => Type::Type(Arc::new(shift(of))),
        Type::Map(of) => Type::map(shift(&of.0), shift(&of.1)),
        other => other.clone(),
    }
}
