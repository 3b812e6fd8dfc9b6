//! Function calls, the ones with a shape of their own among them.

use crate::ast::{Expr, Node, Type};
use crate::error::QueryError;
use crate::eval::Run;
use crate::functions::{Action, Function, Special};
use crate::histogram::histogram_quantile;
use crate::labels::{Labels, NAME, is_label_name};
use crate::matcher::{MatchOp, Matcher};
use crate::over_time::nan_first;
use crate::pattern::Pattern;
use crate::storage::Sample;
use crate::value::VectorSample;
use crate::window::Window;

type Answer<T> = Result<T, QueryError>;

impl Run<'_> {
    pub(crate) fn label_name<'e>(&self, expr: &'e Expr) -> Answer<&'e str> {
        let text = match &expr.node {
            Node::Text(text) => text.as_str(),
            Node::Paren(inner) => return self.label_name(inner),
            _ => "",
        };
        if is_label_name(text) {
            Ok(text)
        } else {
            Err(self.fail(expr.at, format!("`{text}` cannot be a label's name")))
        }
    }

    pub(crate) fn call(
        &self,
        expr: &Expr,
        function: &Function,
        args: &[Expr],
        time: i64,
    ) -> Answer<Vec<VectorSample>> {
        let missing = || self.fail(expr.at, format!("`{}` misses an argument", function.name));
        let by_kind = |kind: Type| args.iter().find(|arg| arg.kind == kind).ok_or_else(missing);
        let vector = || self.vector(by_kind(Type::Vector)?, time);
        let scalars = || -> Answer<Vec<f64>> {
            let scalars = args.iter().filter(|arg| arg.kind == Type::Scalar);
            scalars.map(|arg| self.scalar(arg, time)).collect()
        };
        let seconds = time as f64 / 1000.0;
        let one = |labels, value| vec![VectorSample { labels, value }];
        Ok(match function.action {
            Action::MapWith(run) => {
                let scalars = scalars()?;
                let element = |sample: VectorSample| {
                    let value = run(sample.value, &scalars)?;
                    Some(VectorSample {
                        labels: sample.labels.nameless(),
                        value,
                    })
                };
                vector()?.into_iter().filter_map(element).collect()
            }
            Action::Date(run) if args.is_empty() => one(Labels::default(), run(seconds)),
            Action::Map(run) | Action::Date(run) => nameless(vector()?, run),
            Action::OverTime(run, keep_name) => {
                let scalars = scalars()?;
                let element = |window: Window<'_>| {
                    let value = run(&window, &scalars)?;
                    let labels = window.labels;
                    let labels = if keep_name { labels } else { labels.nameless() };
                    Some(VectorSample { labels, value })
                };
                let windows = self.matrix(by_kind(Type::Matrix)?, time)?;
                windows.into_iter().filter_map(element).collect()
            }
            Action::Special(special) => match special {
                Special::Vector => one(Labels::default(), *scalars()?.first().ok_or_else(missing)?),
                Special::Absent | Special::AbsentOverTime => {
                    let arg = args.first().ok_or_else(missing)?;
                    let found = match arg.kind {
                        Type::Matrix => !self.matrix(arg, time)?.is_empty(),
                        _ => !self.vector(arg, time)?.is_empty(),
                    };
                    if found {
                        Vec::new()
                    } else {
                        one(absent_labels(arg), 1.0)
                    }
                }
                Special::HistogramQuantile => {
                    let q = *scalars()?.first().ok_or_else(missing)?;
                    histogram_quantile(q, &vector()?)
                }
                Special::Sort | Special::SortDesc => {
                    let mut sorted = vector()?;
                    sorted.sort_by(|a, b| match (a.value.is_nan(), b.value.is_nan()) {
                        (false, false) if special == Special::Sort => nan_first(a.value, b.value),
                        (false, false) => nan_first(b.value, a.value),
                        (a, b) => a.cmp(&b),
                    });
                    sorted
                }
                Special::Timestamp => {
                    let mut arg = by_kind(Type::Vector)?;
                    while let Node::Paren(inner) = &arg.node {
                        arg = inner;
                    }
                    if let Node::Instant(selector) = &arg.node {
                        let current = self.current(selector, time)?.into_iter();
                        let element = |(labels, sample): (Labels, Sample)| VectorSample {
                            labels: labels.nameless(),
                            value: sample.time as f64 / 1000.0,
                        };
                        current.map(element).collect()
                    } else {
                        nameless(vector()?, |_| seconds)
                    }
                }
                Special::LabelReplace => self.label_replace(args, vector()?)?,
                Special::LabelJoin => self.label_join(args, vector()?)?,
                Special::Time | Special::Pi | Special::Scalar => return Err(missing()),
            },
        })
    }

    fn strings<'e>(&self, args: &'e [Expr]) -> Answer<Vec<(&'e str, usize)>> {
        let mut out = Vec::with_capacity(args.len());
        for arg in args.iter().filter(|arg| arg.kind == Type::Text) {
            let mut inner = arg;
            while let Node::Paren(next) = &inner.node {
                inner = next;
            }
            match &inner.node {
                Node::Text(text) => out.push((text.as_str(), inner.at)),
                _ => return Err(self.fail(arg.at, "expected a string")),
            }
        }
        Ok(out)
    }

    fn label_replace(
        &self,
        args: &[Expr],
        mut vector: Vec<VectorSample>,
    ) -> Answer<Vec<VectorSample>> {
        let strings = self.strings(args)?;
        let [
            (target, at),
            (replacement, _),
            (source, _),
            (regex, regex_at),
        ] = strings.as_slice()
        else {
            return Ok(vector);
        };
        let pattern = Pattern::anchored(regex).map_err(|message| self.fail(*regex_at, message))?;
        if !is_label_name(target) {
            return Err(self.fail(*at, format!("`{target}` cannot be a label's name")));
        }
        for sample in &mut vector {
            if let Some(value) = pattern.expand(sample.labels.get(source), replacement) {
                sample.labels = sample.labels.with(target, &value);
            }
        }
        Ok(vector)
    }

    fn label_join(
        &self,
        args: &[Expr],
        mut vector: Vec<VectorSample>,
    ) -> Answer<Vec<VectorSample>> {
        let strings = self.strings(args)?;
        let [(target, at), (separator, _), sources @ ..] = strings.as_slice() else {
            return Ok(vector);
        };
        for (name, at) in sources.iter().chain([&(*target, *at)]) {
            if !is_label_name(name) {
                return Err(self.fail(*at, format!("`{name}` cannot be a label's name")));
            }
        }
        for sample in &mut vector {
            let values: Vec<&str> = sources
                .iter()
                .map(|(name, _)| sample.labels.get(name))
                .collect();
            sample.labels = sample.labels.with(target, &values.join(separator));
        }
        Ok(vector)
    }
}

pub(crate) fn nameless(vector: Vec<VectorSample>, run: impl Fn(f64) -> f64) -> Vec<VectorSample> {
    let element = |sample: VectorSample| VectorSample {
        labels: sample.labels.nameless(),
        value: run(sample.value),
    };
    vector.into_iter().map(element).collect()
}

/// What `absent` can say of the series that is not there: the labels its matchers state exactly.
fn absent_labels(expr: &Expr) -> Labels {
    let matchers: &[Matcher] = match &expr.node {
        Node::Instant(selector) | Node::Range { selector, .. } => &selector.matchers,
        _ => &[],
    };
    let stated = |matcher: &&Matcher| {
        let alone = matchers
            .iter()
            .filter(|other| other.name == matcher.name)
            .count()
            == 1;
        matcher.op == MatchOp::Equal && matcher.name != NAME && alone
    };
    Labels::new(
        matchers
            .iter()
            .filter(stated)
            .map(|m| (m.name.as_str(), m.value.as_str())),
    )
}
