//! Owns the estimate of what an expression costs at most, from the sizes that a schema allows: the
//! API refuses definitions whose rules could cost too much.

use std::collections::HashMap;

use super::ast::{Call, Expr, Fold, Literal, Node};
use super::decl::Decl;
use super::functions::Overload;
use super::types::Type;

/// The least and the most of a size or a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

pub(super) const UNKNOWN: Span = Span {
    min: 0,
    max: u64::MAX,
};

impl Span {
    pub(super) const fn just(value: u64) -> Self {
        Self {
            min: value,
            max: value,
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    pub(super) fn scaled(self, factor: f64) -> Self {
        // A cast of a float that is too large gives the largest number.
        let by = |value: u64| (value as f64 * factor).ceil() as u64;
        Self {
            min: by(self.min),
            max: by(self.max),
        }
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// Sizes of the keys and values of a list or map that an expression makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner {
    list: bool,
    key: Span,
    value: Span,
}

impl Inner {
    pub(super) fn union(self, other: Self) -> Self {
        Self {
            list: self.list,
            key: self.key.union(other.key),
            value: self.value.union(other.value),
        }
    }
}

struct Local {
    name: String,
    path: Vec<String>,
    size: Option<Span>,
    inner: Option<Inner>,
}

/// What an expression of these types costs, where `root` declares `self`.
pub(crate) fn estimate(expr: &Expr, types: &[Type], root: &Decl) -> Span {
    let mut estimator = Estimator {
        types,
        root,
        paths: HashMap::new(),
        sizes: HashMap::new(),
        inners: HashMap::new(),
        locals: Vec::new(),
    };
    estimator.cost(expr)
}

pub(super) struct Estimator<'e> {
    types: &'e [Type],
    root: &'e Decl,
    paths: HashMap<usize, Vec<String>>,
    sizes: HashMap<usize, Span>,
    pub(super) inners: HashMap<usize, Inner>,
    locals: Vec<Local>,
}

pub(super) fn joined(mut path: Vec<String>, step: &str) -> Vec<String> {
    path.push(step.to_owned());
    path
}

fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => {
            true
        }
        Type::Optional(of) => is_scalar(of),
        _ => false,
    }
}

impl Estimator<'_> {
    pub(super) fn ty(&self, expr: &Expr) -> Type {
        self.types.get(expr.id).cloned().unwrap_or(Type::Dyn)
    }

    fn local(&self, expr: &Expr) -> Option<&Local> {
        let Node::Ident(name) = &expr.node else {
            return None;
        };
        self.locals.iter().rev().find(|l| l.name == *name)
    }

    pub(super) fn path(&self, expr: &Expr) -> Vec<String> {
        if let Some(local) = self.local(expr) {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    /// The size that the schema allows at a path.
    pub(super) fn declared(&self, path: &[String]) -> Option<Span> {
        let (_, steps) = path.split_first()?;
        let mut decl = self.root;
        for step in steps {
            decl = match step.as_str() {
                "@items" | "@values" => decl.of.as_deref()?,
                "@keys" => {
                    // Keys are texts of no declared length.
                    matches!(decl.ty, Type::Map(_)).then_some(())?;
                    return Some(Span { min: 0, max: 0 });
                }
                name => decl.fields.get(name)?,
            };
        }
        Some(Span {
            min: 0,
            max: decl.most,
        })
    }

    pub(super) fn size(&self, expr: &Expr) -> Option<Span> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        let own = match &expr.node {
            Node::Literal(Literal::Text(text)) => Some(text.chars().count()),
            Node::Literal(Literal::Bytes(bytes)) => Some(bytes.len()),
            Node::Literal(_) => Some(1),
            Node::List { items, .. } => Some(items.len()),
            Node::Map(entries) => Some(entries.len()),
            _ => None,
        };
        if let Some(own) = own {
            return Some(Span::just(own as u64));
        }
        if let Some(size) = self.declared(&self.path(expr)) {
            return Some(size);
        }
        if is_scalar(&self.ty(expr)) {
            return Some(Span::just(1));
        }
        self.local(expr)?.size
    }

    pub(super) fn size_or_unknown(&self, expr: &Expr) -> Span {
        self.size(expr).unwrap_or(UNKNOWN)
    }

    pub(super) fn inner(&self, expr: &Expr) -> Option<Inner> {
        self.inners
            .get(&expr.id)
            .copied()
            .or_else(|| self.local(expr)?.inner)
    }

    fn cost(&mut self, expr: &Expr) -> Span {
        match &expr.node {
            Node::Literal(_) => Span::just(0),
            Node::Message(_) => Span::just(40),
            Node::Ident(name) => {
                let path = match self.local(expr) {
                    Some(local) => local.path.clone(),
                    None => vec![name.clone()],
                };
                self.paths.insert(expr.id, path);
                Span::just(1)
            }
            Node::Select {
                operand,
                field,
                test,
            } => {
                let mut cost = self.cost(operand);
                if *test {
                    return cost;
                }
                if matches!(
                    self.ty(operand),
                    Type::Map(_) | Type::Object(_) | Type::Param(_) | Type::Host(_)
                ) {
                    cost = cost.plus(Span::just(1));
                }
                let path = joined(self.path(operand), field);
                self.paths.insert(expr.id, path);
                cost
            }
            Node::List { items, .. } => {
                let mut cost = Span::just(10);
                let mut size = Span {
                    min: if items.is_empty() { 0 } else { u64::MAX },
                    max: 0,
                };
                for item in items {
                    cost = cost.plus(self.cost(item));
                    size = size.union(self.size_or_unknown(item));
                }
                let inner = Inner {
                    list: true,
                    key: Span::just(1),
                    value: size,
                };
                self.inners.insert(expr.id, inner);
                cost
            }
            Node::Map(entries) => {
                let mut cost = Span::just(30);
                let nothing = Span {
                    min: if entries.is_empty() { 0 } else { u64::MAX },
                    max: 0,
                };
                let (mut key, mut value) = (nothing, nothing);
                for entry in entries {
                    cost = cost.plus(self.cost(&entry.key));
                    cost = cost.plus(self.cost(&entry.value));
                    key = key.union(self.size_or_unknown(&entry.key));
                    value = value.union(self.size_or_unknown(&entry.value));
                }
                let inner = Inner {
                    list: false,
                    key,
                    value,
                };
                self.inners.insert(expr.id, inner);
                cost
            }
            Node::Call(call) => self.call(expr, call),
            Node::Fold(fold) => self.fold(expr, fold),
        }
    }

    fn push(&mut self, name: &str, path: Vec<String>, size: Option<Span>, inner: Option<Inner>) {
        self.locals.push(Local {
            name: name.to_owned(),
            path,
            size,
            inner,
        });
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> Span {
        let mut cost = self.cost(&fold.range);
        cost = cost.plus(self.cost(&fold.init));
        let depth = self.locals.len();
        let (path, size, inner) = (
            self.path(&fold.init),
            self.size(&fold.init),
            self.inner(&fold.init),
        );
        self.push(&fold.accu, path, size, inner);
        let empty = matches!(&fold.range.node, Node::List { items, .. } if items.is_empty());
        if empty && matches!(fold.condition.node, Node::Literal(Literal::Bool(false))) {
            // A binding: the body alone runs.
            cost = cost.plus(self.cost(&fold.result));
            let (size, inner) = (self.size(&fold.result), self.inner(&fold.result));
            self.locals.truncate(depth);
            self.sizes.extend(size.map(|size| (expr.id, size)));
            self.inners.extend(inner.map(|inner| (expr.id, inner)));
            return cost;
        }
        let range = self.path(&fold.range);
        let inner = self.inner(&fold.range);
        let list = match inner {
            Some(inner) => inner.list,
            None => matches!(self.ty(&fold.range), Type::List(_)),
        };
        let key = inner.map(|i| i.key);
        let value = inner.map(|i| i.value);
        match &fold.var2 {
            Some(var2) => {
                let step = if list { "@indices" } else { "@keys" };
                self.push(&fold.var, joined(range.clone(), step), key, None);
                let step = if list { "@items" } else { "@values" };
                self.push(var2, joined(range, step), value, None);
            }
            None if list => self.push(&fold.var, joined(range, "@items"), value, None),
            None => self.push(&fold.var, joined(range, "@keys"), key, None),
        }
        let round = self.cost(&fold.condition);
        let round = self.cost(&fold.step).plus(round);
        self.locals.truncate(depth + 1);
        cost = cost.plus(self.cost(&fold.result));
        self.locals.truncate(depth);
        let count = self.size_or_unknown(&fold.range);
        cost = cost.plus(count.times(round));
        match fold.init.node {
            Node::Literal(_) => {
                if let Some(size) = self.size(&fold.init) {
                    self.sizes.insert(expr.id, size);
                }
            }
            Node::List { .. } | Node::Map(_) => {
                self.sizes.insert(expr.id, count);
                if let Some(inner) = self.inner(&fold.step) {
                    self.inners.insert(expr.id, inner);
                }
            }
            _ => {}
        }
        cost
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> Span {
        if call.name == "dyn"
            && let [arg] = call.args.as_slice()
        {
            let cost = self.cost(arg).plus(Span::just(1));
            if let Some(size) = self.size(arg) {
                self.sizes.insert(expr.id, size);
            }
            if let Some(inner) = self.inner(arg) {
                self.inners.insert(expr.id, inner);
            }
            return cost;
        }
        let costs: Vec<Span> = call.args.iter().map(|arg| self.cost(arg)).collect();
        let target = call
            .target
            .as_ref()
            .map_or(Span::just(0), |target| self.cost(target));
        let Some(function) = call.function else {
            return Span::just(0);
        };
        let mut total = Span {
            min: u64::MAX,
            max: 0,
        };
        let mut size: Option<Span> = None;
        let matched: Vec<&Overload> = call
            .matched
            .iter()
            .filter_map(|at| function.overloads.get(*at))
            .collect();
        for overload in &matched {
            let (cost, found) = self.overload(expr, call, overload, &costs);
            total = total.union(cost);
            size = match (size, found) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
            if call.name == "_[_]"
                && let Some(first) = call.args.first()
            {
                match overload.params.first() {
                    Some(Type::List(_)) => {
                        size = self.inner(first).map(|i| i.value);
                        let path = joined(self.path(first), "@items");
                        self.paths.insert(expr.id, path);
                    }
                    Some(Type::Map(_)) => {
                        size = self.inner(first).map(|i| i.value);
                        let path = joined(self.path(first), "@values");
                        self.paths.insert(expr.id, path);
                    }
                    _ => {}
                }
            }
            size = size.or_else(|| self.size(expr));
        }
        if matched.is_empty() {
            // Optional selection: no overload of the table stands for it.
            total = costs
                .iter()
                .fold(Span::just(1), |sum, cost| sum.plus(*cost));
        }
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
        target.plus(total)
    }
}
