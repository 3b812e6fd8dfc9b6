//! Owns the functions of lists and sets.

use std::cmp::Ordering;

use super::{Entry, overload, truth};
use crate::cel::eval::{Fault, Machine};
use crate::cel::value::{List, Value, compare, equal};

type Outcome<'a> = Result<Value<'a>, Fault>;

const SORTED: &[&str] = &[
    ".(list(int)) bool",
    ".(list(uint)) bool",
    ".(list(double)) bool",
    ".(list(bool)) bool",
    ".(list(duration)) bool",
    ".(list(timestamp)) bool",
    ".(list(string)) bool",
    ".(list(bytes)) bool",
];
const EXTREME: &[&str] = &[
    ".(list(int)) int",
    ".(list(uint)) uint",
    ".(list(double)) double",
    ".(list(bool)) bool",
    ".(list(duration)) duration",
    ".(list(timestamp)) timestamp",
    ".(list(string)) string",
    ".(list(bytes)) bytes",
];

pub(super) fn all() -> Vec<Entry> {
    vec![
        ("isSorted", SORTED, |_, args| {
            let [Value::List(items)] = args else {
                return overload();
            };
            let items = items.to_vec()?;
            truth(
                items
                    .windows(2)
                    .all(|pair| compare(&pair[0], &pair[1]) != Some(Ordering::Greater)),
            )
        }),
        (
            "sum",
            &[
                ".(list(int)) int",
                ".(list(uint)) uint",
                ".(list(double)) double",
                ".(list(duration)) duration",
            ],
            sum,
        ),
        ("max", EXTREME, |_, args| {
            extreme(args, Ordering::Greater, "max")
        }),
        ("min", EXTREME, |_, args| {
            extreme(args, Ordering::Less, "min")
        }),
        ("sets.contains", &["(list(A), list(A)) bool"], |_, args| {
            let (a, b) = pair(args)?;
            truth(b.iter().all(|x| a.iter().any(|y| equal(x, y))))
        }),
        (
            "sets.equivalent",
            &["(list(A), list(A)) bool"],
            |_, args| {
                let (a, b) = pair(args)?;
                let within = |a: &[Value<'_>], b: &[Value<'_>]| {
                    b.iter().all(|x| a.iter().any(|y| equal(x, y)))
                };
                truth(within(&a, &b) && within(&b, &a))
            },
        ),
        (
            "sets.intersects",
            &["(list(A), list(A)) bool"],
            |_, args| {
                let (a, b) = pair(args)?;
                truth(a.iter().any(|x| b.iter().any(|y| equal(x, y))))
            },
        ),
    ]
}

fn pair<'a>(args: &[Value<'a>]) -> Result<(Vec<Value<'a>>, Vec<Value<'a>>), Fault> {
    match args {
        [Value::List(a), Value::List(b)] => Ok((a.to_vec()?, b.to_vec()?)),
        _ => overload(),
    }
}

/// Where a list has a value, from its front or its back.
pub(super) fn position<'a>(items: &List<'a>, wanted: &Value<'a>, back: bool) -> Outcome<'a> {
    let items = items.to_vec()?;
    let at = if back {
        items.iter().rposition(|item| equal(item, wanted))
    } else {
        items.iter().position(|item| equal(item, wanted))
    };
    Ok(Value::Int(at.map_or(-1, |at| at as i64)))
}

fn extreme<'a>(args: &[Value<'a>], wanted: Ordering, name: &str) -> Outcome<'a> {
    let [Value::List(items)] = args else {
        return overload();
    };
    let mut best: Option<Value<'a>> = None;
    for item in items.iter() {
        let item = item?;
        match &best {
            Some(so_far) if compare(&item, so_far) != Some(wanted) => {}
            _ => best = Some(item),
        }
    }
    best.ok_or_else(|| Fault::said(format!("{name} called on empty list")))
}

fn sum<'a>(m: &mut Machine<'a, '_>, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(items)] = args else {
        return overload();
    };
    let add = crate::cel::functions::find("_+_").ok_or(Fault::Overload)?;
    let mut total: Option<Value<'a>> = None;
    for item in items.iter() {
        let item = item?;
        total = Some(match total {
            None => item,
            Some(total) => (add.run)(m, &[total, item])?,
        });
    }
    Ok(total.unwrap_or(Value::Int(0)))
}
