//! The functions: their names, arguments and what runs them.
//!
//! Owns the table that the parser checks calls against. Known functions of Prometheus that are not
//! here are told apart from misspelt ones.

use crate::ast::Type;
use crate::window::Window;
use crate::{calendar, over_time, rate};

/// What a call does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// Each element's value by itself; the name goes.
    Map(fn(f64) -> f64),
    /// As `Map`, with the scalar arguments; nothing means that the whole answer is empty.
    MapWith(fn(f64, &[f64]) -> Option<f64>),
    /// Each series' samples over a range; `true` keeps the name.
    OverTime(fn(&Window<'_>, &[f64]) -> Option<f64>, bool),
    /// A part of a date, of now when there is no argument.
    Date(fn(f64) -> f64),
    /// Handled by the evaluator.
    Special(Special),
}

/// Functions with a shape of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Absent,
    AbsentOverTime,
    HistogramQuantile,
    LabelJoin,
    LabelReplace,
    Pi,
    Scalar,
    Sort,
    SortDesc,
    Time,
    Timestamp,
    Vector,
}

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    args: &'static [Type],
    /// How many of the arguments, from the end, may be left out.
    optional: usize,
    /// Whether the last argument may be repeated.
    repeats: bool,
    pub(crate) returns: Type,
    pub(crate) action: Action,
}

impl Function {
    /// The least and the most arguments.
    pub(crate) fn arity(&self) -> (usize, Option<usize>) {
        let most = (!self.repeats).then_some(self.args.len());
        (self.args.len().saturating_sub(self.optional), most)
    }

    /// The type of the argument at an index.
    pub(crate) fn arg(&self, index: usize) -> Type {
        self.args
            .get(index)
            .or(self.args.last())
            .copied()
            .unwrap_or(Type::Vector)
    }
}

/// What a name stands for.
pub(crate) enum Lookup {
    Known(&'static Function),
    Unsupported,
    Unknown,
}

/// Finds a function by its exact name.
pub(crate) fn lookup(name: &str) -> Lookup {
    if let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) {
        Lookup::Known(function)
    } else if UNSUPPORTED.contains(&name) {
        Lookup::Unsupported
    } else {
        Lookup::Unknown
    }
}

const UNSUPPORTED: [&str; 17] = [
    "double_exponential_smoothing",
    "first_over_time",
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_quantiles",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "holt_winters",
    "info",
    "limitk",
    "mad_over_time",
    "sort_by_label",
    "sort_by_label_desc",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

const V: Type = Type::Vector;
const M: Type = Type::Matrix;
const S: Type = Type::Scalar;
const T: Type = Type::Text;

const fn map(name: &'static str, run: fn(f64) -> f64) -> Function {
    let action = Action::Map(run);
    Function {
        name,
        args: &[V],
        optional: 0,
        repeats: false,
        returns: V,
        action,
    }
}

const fn date(name: &'static str, run: fn(f64) -> f64) -> Function {
    let action = Action::Date(run);
    Function {
        name,
        args: &[V],
        optional: 1,
        repeats: false,
        returns: V,
        action,
    }
}

const fn over(name: &'static str, run: fn(&Window<'_>, &[f64]) -> Option<f64>) -> Function {
    let action = Action::OverTime(run, false);
    Function {
        name,
        args: &[M],
        optional: 0,
        repeats: false,
        returns: V,
        action,
    }
}

const fn special(name: &'static str, args: &'static [Type], kind: Special) -> Function {
    let action = Action::Special(kind);
    Function {
        name,
        args,
        optional: 0,
        repeats: false,
        returns: V,
        action,
    }
}

const fn with(
    name: &'static str,
    args: &'static [Type],
    optional: usize,
    run: fn(f64, &[f64]) -> Option<f64>,
) -> Function {
    let action = Action::MapWith(run);
    Function {
        name,
        args,
        optional,
        repeats: false,
        returns: V,
        action,
    }
}

static FUNCTIONS: [Function; 66] = [
    map("abs", f64::abs),
    special("absent", &[V], Special::Absent),
    special("absent_over_time", &[M], Special::AbsentOverTime),
    map("acos", f64::acos),
    map("acosh", f64::acosh),
    map("asin", f64::asin),
    map("asinh", f64::asinh),
    map("atan", f64::atan),
    map("atanh", f64::atanh),
    over("avg_over_time", over_time::avg),
    map("ceil", f64::ceil),
    over("changes", rate::changes),
    with("clamp", &[V, S, S], 0, clamp),
    with("clamp_max", &[V, S], 0, |value, args| {
        Some(go_min(value, *args.first()?))
    }),
    with("clamp_min", &[V, S], 0, |value, args| {
        Some(go_max(value, *args.first()?))
    }),
    map("cos", f64::cos),
    map("cosh", f64::cosh),
    over("count_over_time", over_time::count),
    date("day_of_month", calendar::day_of_month),
    date("day_of_week", calendar::day_of_week),
    date("day_of_year", calendar::day_of_year),
    date("days_in_month", calendar::days_in_month),
    map("deg", f64::to_degrees),
    over("delta", rate::delta),
    over("deriv", rate::deriv),
    map("exp", f64::exp),
    map("floor", f64::floor),
    special("histogram_quantile", &[S, V], Special::HistogramQuantile),
    date("hour", calendar::hour),
    over("idelta", rate::idelta),
    over("increase", rate::increase),
    over("irate", rate::irate),
    Function {
        name: "label_join",
        args: &[V, T, T, T],
        optional: 1,
        repeats: true,
        returns: V,
        action: Action::Special(Special::LabelJoin),
    },
    special("label_replace", &[V, T, T, T, T], Special::LabelReplace),
    Function {
        name: "last_over_time",
        args: &[M],
        optional: 0,
        repeats: false,
        returns: V,
        action: Action::OverTime(over_time::last, true),
    },
    map("ln", f64::ln),
    map("log10", f64::log10),
    map("log2", f64::log2),
    over("max_over_time", over_time::max),
    over("min_over_time", over_time::min),
    date("minute", calendar::minute),
    date("month", calendar::month),
    scalar("pi", &[], Special::Pi),
    Function {
        name: "predict_linear",
        args: &[M, S],
        optional: 0,
        repeats: false,
        returns: V,
        action: Action::OverTime(rate::predict_linear, false),
    },
    over("present_over_time", over_time::present),
    Function {
        name: "quantile_over_time",
        args: &[S, M],
        optional: 0,
        repeats: false,
        returns: V,
        action: Action::OverTime(over_time::quantile_over_time, false),
    },
    map("rad", f64::to_radians),
    over("rate", rate::rate),
    over("resets", rate::resets),
    with("round", &[V, S], 1, round),
    scalar("scalar", &[V], Special::Scalar),
    map("sgn", sign),
    map("sin", f64::sin),
    map("sinh", f64::sinh),
    special("sort", &[V], Special::Sort),
    special("sort_desc", &[V], Special::SortDesc),
    map("sqrt", f64::sqrt),
    over("stddev_over_time", over_time::stddev),
    over("stdvar_over_time", over_time::stdvar),
    over("sum_over_time", over_time::sum),
    map("tan", f64::tan),
    map("tanh", f64::tanh),
    scalar("time", &[], Special::Time),
    special("timestamp", &[V], Special::Timestamp),
    special("vector", &[S], Special::Vector),
    date("year", calendar::year),
];

const fn scalar(name: &'static str, args: &'static [Type], kind: Special) -> Function {
    let action = Action::Special(kind);
    Function {
        name,
        args,
        optional: 0,
        repeats: false,
        returns: S,
        action,
    }
}

fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// As in Go: an infinity that settles the matter wins, then NaN.
fn go_max(a: f64, b: f64) -> f64 {
    let settled = a == f64::INFINITY || b == f64::INFINITY;
    if !settled && (a.is_nan() || b.is_nan()) {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// As in Go: an infinity that settles the matter wins, then NaN.
fn go_min(a: f64, b: f64) -> f64 {
    let settled = a == f64::NEG_INFINITY || b == f64::NEG_INFINITY;
    if !settled && (a.is_nan() || b.is_nan()) {
        f64::NAN
    } else {
        a.min(b)
    }
}

fn clamp(value: f64, args: &[f64]) -> Option<f64> {
    let (low, high) = (*args.first()?, *args.get(1)?);
    (low <= high || low.is_nan() || high.is_nan()).then(|| go_max(low, go_min(high, value)))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "one signature serves the table of functions"
)]
fn round(value: f64, args: &[f64]) -> Option<f64> {
    // Halves go up; dividing by the inverse is more exact for steps such as 0.1.
    let inverse = 1.0 / args.first().copied().unwrap_or(1.0);
    Some((value * inverse + 0.5).floor() / inverse)
}
