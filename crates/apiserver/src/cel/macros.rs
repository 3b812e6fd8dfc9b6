//! Owns the macros: what is written as a call and means a loop, a test or a binding.

use super::ast::{ACCU, Call, Expr, Fold, Literal, Node, Offset};
use super::parse::Parser;

/// A call without a receiver.
pub(crate) fn global(p: &mut Parser, at: Offset, name: &str, mut args: Vec<Expr>) -> Option<Expr> {
    if name == "has" && args.len() == 1 {
        let arg = args.pop()?;
        return match arg.node {
            Node::Select {
                operand,
                field,
                test: false,
            } => Some(p.make(
                at,
                Node::Select {
                    operand,
                    field,
                    test: true,
                },
            )),
            _ => {
                p.mistake(arg.at, "invalid argument to has() macro");
                None
            }
        };
    }
    Some(p.call(at, name, args))
}

/// A call with a receiver.
pub(crate) fn receiver(
    p: &mut Parser,
    at: Offset,
    target: Expr,
    name: String,
    args: Vec<Expr>,
) -> Option<Expr> {
    let (two, count) = match (name.as_str(), args.len()) {
        ("all" | "exists" | "exists_one" | "map" | "filter", 2) => (false, 2),
        ("map", 3) => (false, 3),
        ("all" | "exists" | "exists_one" | "existsOne", 3) => (true, 3),
        ("transformList" | "transformMap" | "transformMapEntry", count @ (3 | 4)) => (true, count),
        ("optMap" | "optFlatMap", 2) => return bind(p, at, target, &name, args),
        _ => {
            let call = Call {
                target: Some(target),
                name,
                args,
                function: None,
                matched: Vec::new(),
            };
            return Some(p.make(at, Node::Call(Box::new(call))));
        }
    };
    let mut args = args.into_iter();
    let said = match name.as_str() {
        "map" | "filter" => "argument is not an identifier",
        _ => "argument must be a simple name",
    };
    let var = variable(p, args.next()?, said)?;
    let var2 = if two {
        let second = args.next()?;
        let place = second.at;
        let second = variable(p, second, said)?;
        if second == var {
            p.mistake(place, format!("duplicate variable name: {var}"));
            return None;
        }
        Some(second)
    } else {
        None
    };
    let mut rest: Vec<Expr> = args.collect();
    let body = rest.pop()?;
    let filter = rest.pop();
    debug_assert!(count >= 2 && rest.is_empty());
    let fold = shape(p, at, &name, target, var, var2, filter, body);
    Some(p.make(at, Node::Fold(Box::new(fold))))
}

fn variable(p: &mut Parser, arg: Expr, said: &str) -> Option<String> {
    match arg.node {
        Node::Ident(name) if name != "__result__" => Some(name),
        Node::Ident(_) => {
            p.mistake(arg.at, "iteration variable overwrites accumulator variable");
            None
        }
        _ => {
            p.mistake(arg.at, said);
            None
        }
    }
}

fn truth(p: &mut Parser, at: Offset, value: bool) -> Expr {
    p.make(at, Node::Literal(Literal::Bool(value)))
}

fn accu(p: &mut Parser, at: Offset) -> Expr {
    p.make(at, Node::Ident(ACCU.to_owned()))
}

/// The loop of a macro.
#[expect(clippy::too_many_arguments, reason = "the parts of a loop, once")]
fn shape(
    p: &mut Parser,
    at: Offset,
    name: &str,
    range: Expr,
    var: String,
    var2: Option<String>,
    filter: Option<Expr>,
    body: Expr,
) -> Fold {
    let (init, condition, step, result);
    match name {
        "all" | "exists" => {
            let all = name == "all";
            init = truth(p, at, all);
            let so_far = accu(p, at);
            let goes_on = if all {
                so_far
            } else {
                p.call(at, "!_", vec![so_far])
            };
            condition = p.call(at, "@not_strictly_false", vec![goes_on]);
            let so_far = accu(p, at);
            step = p.call(at, if all { "_&&_" } else { "_||_" }, vec![so_far, body]);
            result = accu(p, at);
        }
        "exists_one" | "existsOne" => {
            init = p.make(at, Node::Literal(Literal::Int(0)));
            condition = truth(p, at, true);
            let (so_far, one) = (accu(p, at), p.make(at, Node::Literal(Literal::Int(1))));
            let more = p.call(at, "_+_", vec![so_far, one]);
            let same = accu(p, at);
            step = p.call(at, "_?_:_", vec![body, more, same]);
            let (count, one) = (accu(p, at), p.make(at, Node::Literal(Literal::Int(1))));
            result = p.call(at, "_==_", vec![count, one]);
        }
        "transformMap" | "transformMapEntry" => {
            init = p.make(at, Node::Map(Vec::new()));
            condition = truth(p, at, true);
            let mut parts = vec![accu(p, at)];
            if name == "transformMap" {
                parts.push(p.make(at, Node::Ident(var.clone())));
            }
            parts.push(body);
            let more = p.call(at, "cel.@mapInsert", parts);
            step = when(p, at, filter, more);
            result = accu(p, at);
        }
        _ => {
            // `map`, `filter` and `transformList` gather a list.
            init = p.make(
                at,
                Node::List {
                    items: Vec::new(),
                    optional: Vec::new(),
                },
            );
            condition = truth(p, at, true);
            let (filter, item) = if name == "filter" {
                let own = p.make(at, Node::Ident(var.clone()));
                (Some(body), own)
            } else {
                (filter, body)
            };
            let one = p.make(
                at,
                Node::List {
                    items: vec![item],
                    optional: vec![false],
                },
            );
            let so_far = accu(p, at);
            let more = p.call(at, "_+_", vec![so_far, one]);
            step = when(p, at, filter, more);
            result = accu(p, at);
        }
    }
    Fold {
        range,
        var,
        var2,
        accu: ACCU.to_owned(),
        init,
        condition,
        step,
        result,
    }
}

fn when(p: &mut Parser, at: Offset, filter: Option<Expr>, more: Expr) -> Expr {
    match filter {
        None => more,
        Some(filter) => {
            let same = accu(p, at);
            p.call(at, "_?_:_", vec![filter, more, same])
        }
    }
}

/// `optMap` and `optFlatMap`: the value of an optional by a name, if there is one.
fn bind(p: &mut Parser, at: Offset, target: Expr, name: &str, args: Vec<Expr>) -> Option<Expr> {
    let mut args = args.into_iter();
    let (var, body) = (args.next()?, args.next()?);
    let place = var.at;
    let Node::Ident(var) = var.node else {
        let said = format!("{name}() variable name must be a simple identifier");
        p.mistake(place, said);
        return None;
    };
    let method = |p: &mut Parser, target: Expr, name: &str| {
        let call = Call {
            target: Some(target),
            name: name.to_owned(),
            args: Vec::new(),
            function: None,
            matched: Vec::new(),
        };
        p.make(at, Node::Call(Box::new(call)))
    };
    // The target is evaluated once: it becomes the accumulator of a loop over nothing.
    let hold = "@target".to_owned();
    let named = |p: &mut Parser| p.make(at, Node::Ident("@target".to_owned()));
    let subject = named(p);
    let present = method(p, subject, "hasValue");
    let subject = named(p);
    let value = method(p, subject, "value");
    let inner = let_in(p, at, var, value, body);
    let inner = if name == "optMap" {
        p.call(at, "optional.of", vec![inner])
    } else {
        inner
    };
    let none = p.call(at, "optional.none", Vec::new());
    let chosen = p.call(at, "_?_:_", vec![present, inner, none]);
    Some(let_in(p, at, hold, target, chosen))
}

fn let_in(p: &mut Parser, at: Offset, name: String, value: Expr, body: Expr) -> Expr {
    let range = p.make(
        at,
        Node::List {
            items: Vec::new(),
            optional: Vec::new(),
        },
    );
    let condition = truth(p, at, false);
    let step = p.make(at, Node::Ident(name.clone()));
    let fold = Fold {
        range,
        var: "@unused".to_owned(),
        var2: None,
        accu: name,
        init: value,
        condition,
        step,
        result: body,
    };
    p.make(at, Node::Fold(Box::new(fold)))
}
