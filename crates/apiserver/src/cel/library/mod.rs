//! Owns the functions of the language, those of Kubernetes 1.34 and no others: one that the API
//! does not know must not be known here.

mod base;
mod convert;
mod formats;
mod hosts;
mod lists;
mod strings;
mod times;

use super::eval::Fault;
use super::functions::Run;
use super::value::Value;

/// A function: its name, its signatures, what runs it.
pub(crate) type Entry = (&'static str, &'static [&'static str], Run);

/// All functions.
pub(crate) fn all() -> Vec<Entry> {
    let mut out = base::all();
    out.extend(convert::all());
    out.extend(formats::all());
    out.extend(hosts::all());
    out.extend(lists::all());
    out.extend(strings::all());
    out.extend(times::all());
    out
}

pub(crate) use convert::{show, show_double};
pub(crate) use strings::{clauses, wanted};

fn overload<T>() -> Result<T, Fault> {
    Err(Fault::Overload)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "functions of the language may fail, so all give results"
)]
fn truth<'a>(value: bool) -> Result<Value<'a>, Fault> {
    Ok(Value::Bool(value))
}
