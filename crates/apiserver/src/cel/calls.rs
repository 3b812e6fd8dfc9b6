//! Owns the estimate of what one call costs at most, and of how large what it gives can be.

use super::ast::{ACCU, Call, Expr, Literal, Node};
use super::estimate::{Estimator, Span, UNKNOWN, joined};
use super::functions::Overload;
use super::types::Type;

impl Estimator<'_> {
    /// The size of the items of a list, when they are texts or bytes.
    fn item_size(&self, list: &Expr) -> Option<(Type, Span)> {
        let Type::List(of) = self.ty(list) else {
            return None;
        };
        let path = self.path(list);
        let size = if path.is_empty() || path.first().is_some_and(|p| p == ACCU) {
            None
        } else {
            self.declared(&joined(path, "@items"))
        };
        Some(((*of).clone(), size.unwrap_or(UNKNOWN)))
    }

    /// Cost and size of what one overload gives.
    pub(super) fn overload(
        &mut self,
        expr: &Expr,
        call: &Call,
        overload: &Overload,
        costs: &[Span],
    ) -> (Span, Option<Span>) {
        let args: Vec<Span> = call
            .args
            .iter()
            .map(|arg| self.size_or_unknown(arg))
            .collect();
        let arg = |at: usize| args.get(at).copied().unwrap_or(UNKNOWN);
        let target = call
            .target
            .as_ref()
            .map(|target| self.size_or_unknown(target));
        let all = costs
            .iter()
            .fold(Span::just(0), |sum, cost| sum.plus(*cost));
        let plain = |cost: Span| (cost.plus(all), None);
        let sized = |cost: Span, size: Span| (cost.plus(all), Some(size));
        let first = overload.params.first();
        let textual = matches!(first, Some(Type::Text | Type::Bytes));
        let one = Span::just(1);
        match (call.name.as_str(), target) {
            ("check", _) => plain(Span::just(350_000)),
            ("fieldSelector" | "labelSelector", _) => {
                let parse = arg(0).scaled(0.1);
                plain(
                    Span::just(10)
                        .plus(parse)
                        .plus(arg(0).scaled(0.5).scaled(50.0)),
                )
            }
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(size)) => {
                let Some(list) = &call.target else {
                    return plain(one);
                };
                match self.item_size(list) {
                    Some((of, item)) => {
                        let each = if matches!(of, Type::Text | Type::Bytes) {
                            one.plus(item.scaled(0.1))
                        } else {
                            one
                        };
                        plain(size.times(each))
                    }
                    None => plain(size.scaled(0.1)),
                }
            }
            ("url", _) => sized(arg(0).scaled(0.1), arg(0)),
            ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(size)) => {
                sized(size.scaled(0.1), size)
            }
            ("replace", Some(size)) if args.len() >= 2 => {
                sized(size.scaled(0.2), replaced(size, arg(0), arg(1)))
            }
            ("split", Some(size)) => {
                let mut max = size.max;
                if let Some(Node::Literal(Literal::Int(limit))) = call.args.get(1).map(|a| &a.node)
                {
                    max = *limit as u64;
                }
                sized(size.scaled(0.2), Span { min: 0, max })
            }
            ("join", Some(size)) => {
                let Some(list) = &call.target else {
                    return plain(one);
                };
                let mut total = match self.item_size(list) {
                    Some((_, item)) => size.times(item),
                    None => Span::just(0),
                };
                if !args.is_empty() {
                    let between = Span {
                        min: size.min.saturating_sub(1),
                        max: size.max.saturating_sub(1),
                    };
                    total = total.plus(arg(0).times(between));
                }
                sized(total.scaled(0.1), total)
            }
            ("find" | "findAll", Some(size)) => {
                let cost = size.plus(one).scaled(0.1).times(arg(0).scaled(0.25));
                let found = Span {
                    min: 0,
                    max: size.max,
                };
                sized(cost, found)
            }
            ("ip", Some(_)) => plain(one),
            (
                "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver"
                | "isSemver",
                _,
            )
            | ("startsWith" | "endsWith", Some(_)) => plain(arg(0).scaled(0.1)),
            ("ip.isCanonical", _) => plain(arg(0).scaled(0.2)),
            ("containsIP" | "containsCIDR", _) => {
                let bytes = Span { min: 4, max: 16 };
                let mut cost = bytes.plus(bytes).scaled(0.1);
                if call.name == "containsCIDR" {
                    cost = cost.plus(bytes.scaled(0.1)).plus(one);
                }
                if matches!(overload.params.get(1), Some(Type::Text)) {
                    cost = cost.plus(arg(0).scaled(0.1));
                }
                plain(cost)
            }
            ("validate", _) => plain(arg(0).scaled(0.1).scaled(128.0 * 0.25)),
            ("format", Some(size)) => plain(size.scaled(0.1)),
            ("bytes", None) if matches!(first, Some(Type::Text)) => {
                let max = arg(0).max.saturating_mul(4);
                sized(
                    arg(0).scaled(0.1),
                    Span {
                        min: arg(0).min,
                        max,
                    },
                )
            }
            ("string", None) if matches!(first, Some(Type::Bytes)) => {
                let min = arg(0).min / 4;
                sized(
                    arg(0).scaled(0.1),
                    Span {
                        min,
                        max: arg(0).max,
                    },
                )
            }
            ("strings.quote", _) => {
                let size = Span {
                    min: arg(0).min.saturating_add(2),
                    max: arg(0).max.saturating_mul(2).saturating_add(2),
                };
                sized(arg(0).scaled(0.1), size)
            }
            ("@in", _) if matches!(overload.params.get(1), Some(Type::List(_))) => plain(arg(1)),
            ("matches", Some(size)) => plain(size.plus(one).scaled(0.1).times(arg(0).scaled(0.25))),
            ("contains", Some(size)) => plain(size.scaled(0.1).times(arg(0).scaled(0.1))),
            ("_&&_" | "_||_", _) => {
                // Terms stand side by side; a pair of them is what the API sees.
                let min = costs.first().map_or(0, |c| c.min);
                (Span { min, max: all.max }, None)
            }
            ("_?_:_", _) => {
                let size = arg(1).union(arg(2));
                if let [_, yes, no] = call.args.as_slice()
                    && let (Some(a), Some(b)) = (self.inner(yes), self.inner(no))
                {
                    self.inners.insert(expr.id, a.union(b));
                }
                let cost = |at: usize| costs.get(at).copied().unwrap_or(Span::just(0));
                (cost(0).plus(cost(1).union(cost(2))), Some(size))
            }
            ("_+_", _) if textual || matches!(first, Some(Type::List(_))) => {
                let size = arg(0).plus(arg(1));
                if let [a, b] = call.args.as_slice()
                    && let (Some(a), Some(b)) = (self.inner(a), self.inner(b))
                {
                    self.inners.insert(expr.id, a.union(b));
                }
                let cost = if textual { size.scaled(0.1) } else { one };
                sized(cost, size)
            }
            ("_==_" | "_!=_", _)
                if matches!(call.args.first().map(|a| self.ty(a)), Some(Type::Host(_)))
                    && call.name == "_==_" =>
            {
                plain(one)
            }
            ("_<_" | "_<=_" | "_>_" | "_>=_", _) if !textual => plain(one),
            ("_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_", _) => {
                let max = arg(0).max.min(arg(1).max);
                let min = u64::from(max > 0);
                plain(Span { min, max }.scaled(0.1))
            }
            _ => plain(one),
        }
    }
}

fn replaced(size: Span, from: Span, to: Span) -> Span {
    let share = |a: u64, b: u64| (a as f64 / b as f64).ceil() as u64;
    let (mut count, mut kept) = (Span::just(0), Span::just(0));
    if from.min == 0 {
        count.max = size.max.saturating_add(1);
        kept.max = size.max;
    } else if to.max <= from.min {
        kept.max = size.max;
    } else {
        count.max = share(size.max, from.min);
    }
    if from.max == 0 {
        count.min = size.min.saturating_add(1);
        kept.min = size.min;
    } else if from.max <= to.min {
        kept.min = size.min;
    } else {
        count.min = share(size.min, from.max);
    }
    count.times(to).plus(kept)
}
