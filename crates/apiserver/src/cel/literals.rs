//! Owns the checks of literals: elements of one kind, patterns, spans and times that can be read.
//! What a call would refuse each time is refused at once.

use super::ast::{Call, Expr, Literal, Node};
use super::fault::Mistake;
use super::library;
use super::types::Type;
use weir_gocompat::GoRegex;

/// What is wrong with the literals of a checked expression.
pub(crate) fn check(expr: &Expr, types: &[Type]) -> Vec<Mistake> {
    let mut checker = Checker {
        types,
        mistakes: Vec::new(),
    };
    checker.walk(expr, false);
    checker.mistakes
}

struct Checker<'t> {
    types: &'t [Type],
    mistakes: Vec<Mistake>,
}

/// Whether two elements are of the same type; parts that are open fit anything.
fn alike(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => alike(a, b),
        (Type::Map(a), Type::Map(b)) => alike(&a.0, &b.0) && alike(&a.1, &b.1),
        _ => a == b,
    }
}

impl Checker<'_> {
    fn ty(&self, expr: &Expr, optional: bool) -> Type {
        let ty = self.types.get(expr.id).cloned().unwrap_or(Type::Dyn);
        match ty {
            Type::Optional(of) if optional => (*of).clone(),
            ty => ty,
        }
    }

    /// The clauses of a written format against the arguments written beside it.
    fn format(&mut self, expr: &Expr, call: &Call) {
        let (Some(target), [args]) = (&call.target, call.args.as_slice()) else {
            return;
        };
        let (Node::Literal(Literal::Text(text)), Node::List { items, .. }) =
            (&target.node, &args.node)
        else {
            return;
        };
        let mut told = |at, message: String| self.mistakes.push(Mistake::new(at, message));
        let clauses = match library::clauses(text) {
            Ok(clauses) => clauses,
            Err(why) => return told(expr.at, why),
        };
        for (i, clause) in clauses.iter().enumerate() {
            let Some(item) = items.get(i) else {
                return told(expr.at, format!("index {i} out of range"));
            };
            let ty = self.types.get(item.id).cloned().unwrap_or(Type::Dyn);
            let numeric = matches!(ty, Type::Int | Type::Uint);
            let fits = matches!(ty, Type::Dyn)
                || match clause {
                    's' => !matches!(ty, Type::Host(_) | Type::Object(_) | Type::Optional(_)),
                    'd' | 'o' => numeric,
                    'f' | 'e' => matches!(ty, Type::Double | Type::Text),
                    'b' => numeric || ty == Type::Bool,
                    'x' | 'X' => numeric || matches!(ty, Type::Text | Type::Bytes),
                    _ => false,
                };
            let Some(wanted) = library::wanted(*clause) else {
                let message = format!(
                    "could not parse formatting clause: unrecognized formatting clause \"{clause}\""
                );
                return told(expr.at, message);
            };
            if !fits {
                let given = super::value::type_name(&ty);
                let message = format!("error during formatting: {wanted}, was given {given}");
                return told(item.at, message);
            }
        }
        if items.len() > clauses.len() {
            let message = format!(
                "too many arguments supplied to string.format (expected {}, got {})",
                clauses.len(),
                items.len()
            );
            told(expr.at, message);
        }
    }

    fn mismatch(&mut self, expr: &Expr, expected: &Type, found: &Type) {
        let message = format!("expected type '{expected}' but found '{found}'");
        self.mistakes.push(Mistake::new(expr.at, message));
    }

    /// `mixed` is inside a call that takes elements of any kind.
    fn walk(&mut self, expr: &Expr, mixed: bool) {
        match &expr.node {
            Node::Literal(_) | Node::Ident(_) | Node::Message(_) => {}
            Node::Select { operand, .. } => self.walk(operand, mixed),
            Node::List { items, optional } => {
                let mut first: Option<Type> = None;
                for (item, optional) in items.iter().zip(optional) {
                    let found = self.ty(item, *optional);
                    match &first {
                        None => first = Some(found),
                        Some(first) if mixed || alike(first, &found) => {}
                        Some(first) => {
                            let first = first.clone();
                            self.mismatch(item, &first, &found);
                            break;
                        }
                    }
                }
                for item in items {
                    self.walk(item, mixed);
                }
            }
            Node::Map(entries) => {
                let mut first: Option<(Type, Type)> = None;
                for entry in entries {
                    let key = self.ty(&entry.key, false);
                    let value = self.ty(&entry.value, entry.optional);
                    let Some((of_key, of_value)) = first.clone() else {
                        first = Some((key, value));
                        continue;
                    };
                    if !mixed && !alike(&of_key, &key) {
                        self.mismatch(&entry.key, &of_key, &key);
                    }
                    if !mixed && !alike(&of_value, &value) {
                        self.mismatch(&entry.value, &of_value, &value);
                    }
                }
                for entry in entries {
                    self.walk(&entry.key, mixed);
                    self.walk(&entry.value, mixed);
                }
            }
            Node::Fold(fold) => {
                for part in [
                    &fold.range,
                    &fold.init,
                    &fold.condition,
                    &fold.step,
                    &fold.result,
                ] {
                    self.walk(part, mixed);
                }
            }
            Node::Call(call) => {
                let mixed = mixed || call.name == "format";
                call.target
                    .iter()
                    .chain(&call.args)
                    .for_each(|e| self.walk(e, mixed));
                if call.name == "format" {
                    self.format(expr, call);
                }
                let at = usize::from(call.target.is_none());
                let (arg, fine): (_, fn(&str) -> bool) = match call.name.as_str() {
                    "matches" => (call.args.get(at), |t| GoRegex::parse(t).is_ok()),
                    "duration" => (call.args.first(), |t| super::time::duration(t).is_some()),
                    "timestamp" => (call.args.first(), |t| super::time::timestamp(t).is_some()),
                    _ => return,
                };
                if let Some(arg) = arg
                    && let Node::Literal(Literal::Text(text)) = &arg.node
                    && !fine(text)
                {
                    let message = format!("invalid {} argument", call.name);
                    self.mistakes.push(Mistake::new(arg.at, message));
                }
            }
        }
    }
}
