//! Evaluation of a parsed query at one instant after another.
//!
//! Each selector is read from the store once for the whole span; then the tree is evaluated per
//! step. Refuses to guess: an operation that the samples do not allow fails with its place. A store
//! that changes meanwhile does not change an answer half way.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::aggregate::{Param, aggregate};
use crate::ast::{Expr, Node, Selector, Type};
use crate::call::nameless;
use crate::engine::{Dialect, Engine};
use crate::error::{Position, QueryError};
use crate::functions::{Action, Special};
use crate::labels::Labels;
use crate::number::is_stale;
use crate::parse::Query;
use crate::storage::{Sample, Series, Storage};
use crate::value::VectorSample;
use crate::window::Window;
use crate::{binary, signature};

type Answer<T> = Result<T, QueryError>;
type Inner = Rc<Vec<VectorSample>>;

/// One evaluation.
pub(crate) struct Run<'q> {
    text: &'q str,
    engine: Engine,
    /// What each selector reads, by its id.
    selected: Vec<Vec<Series>>,
    /// What is left of the sample limit.
    left: Cell<usize>,
    /// Inner answers of subqueries, by id and time: steps are aligned, so that ranges share them.
    inner: RefCell<HashMap<(usize, i64), Inner>>,
}

impl<'q> Run<'q> {
    /// An evaluation that has read nothing yet.
    pub(crate) fn new(engine: Engine, query: &'q Query) -> Self {
        Self {
            text: &query.text,
            engine,
            selected: vec![Vec::new(); query.selectors],
            left: Cell::new(engine.limits.samples),
            inner: RefCell::new(HashMap::new()),
        }
    }

    pub(crate) fn fail(&self, at: usize, message: impl Into<String>) -> QueryError {
        QueryError::Execution {
            at: Position::of(self.text, at),
            message: message.into(),
        }
    }

    fn spend(&self, samples: usize) -> Answer<()> {
        match self.left.get().checked_sub(samples) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(QueryError::Limit {
                what: "samples",
                limit: self.engine.limits.samples,
            }),
        }
    }

    /// Reads what the tree needs to be evaluated anywhere in `start..=end`.
    pub(crate) fn load(
        &mut self,
        store: &Storage,
        expr: &Expr,
        start: i64,
        end: i64,
    ) -> Answer<()> {
        match &expr.node {
            Node::Number(_) | Node::Text(_) => Ok(()),
            Node::Instant(selector) => {
                let lookback = self.engine.limits.lookback;
                self.read(store, selector, start.saturating_sub(lookback), end, true)
            }
            Node::Range { selector, range } => {
                self.read(store, selector, start.saturating_sub(*range), end, false)
            }
            Node::Subquery {
                inner,
                range,
                offset,
                ..
            } => {
                let start = start.saturating_sub(*range).saturating_sub(*offset);
                self.load(store, inner, start, end.saturating_sub(*offset))
            }
            Node::Paren(inner) | Node::Negate(inner) => self.load(store, inner, start, end),
            Node::Binary { left, right, .. } => {
                self.load(store, left, start, end)?;
                self.load(store, right, start, end)
            }
            Node::Aggregate { param, inner, .. } => {
                if let Some(param) = param {
                    self.load(store, param, start, end)?;
                }
                self.load(store, inner, start, end)
            }
            Node::Call { args, .. } => args
                .iter()
                .try_for_each(|arg| self.load(store, arg, start, end)),
        }
    }

    fn read(
        &mut self,
        store: &Storage,
        selector: &Selector,
        start: i64,
        end: i64,
        stale: bool,
    ) -> Answer<()> {
        let start = start.saturating_sub(selector.offset);
        let end = end.saturating_sub(selector.offset);
        let mut found = store.select(&selector.matchers, start, end, self.left.get())?;
        self.spend(found.iter().map(|series| series.samples.len()).sum())?;
        if !stale {
            for series in &mut found {
                series.samples.retain(|sample| !is_stale(sample.value));
            }
        }
        if let Some(slot) = self.selected.get_mut(selector.id) {
            *slot = found;
        }
        Ok(())
    }

    fn series(&self, selector: &Selector) -> &[Series] {
        self.selected.get(selector.id).map_or(&[], Vec::as_slice)
    }

    /// The current samples of a selector, with their own times.
    pub(crate) fn current(&self, selector: &Selector, time: i64) -> Answer<Vec<(Labels, Sample)>> {
        let time = time.saturating_sub(selector.offset);
        let oldest = time.saturating_sub(self.engine.limits.lookback);
        let mut out = Vec::new();
        for series in self.series(selector) {
            let count = series.samples.partition_point(|sample| sample.time <= time);
            let Some(sample) = count.checked_sub(1).and_then(|at| series.samples.get(at)) else {
                continue;
            };
            let fresh = match self.engine.dialect {
                Dialect::V2 => sample.time >= oldest,
                Dialect::V3 => sample.time > oldest,
            };
            if fresh && !is_stale(sample.value) {
                out.push((series.labels.clone(), *sample));
            }
        }
        self.spend(out.len() + 1)?;
        Ok(out)
    }

    pub(crate) fn text(&self, expr: &'q Expr) -> Answer<&'q str> {
        match &expr.node {
            Node::Text(text) => Ok(text),
            Node::Paren(inner) => self.text(inner),
            _ => Err(self.fail(expr.at, "expected a string")),
        }
    }

    pub(crate) fn scalar(&self, expr: &Expr, time: i64) -> Answer<f64> {
        self.spend(1)?;
        match &expr.node {
            Node::Number(value) => Ok(*value),
            Node::Paren(inner) => self.scalar(inner, time),
            Node::Negate(inner) => Ok(-self.scalar(inner, time)?),
            Node::Binary {
                op, left, right, ..
            } => Ok(binary::scalars(
                *op,
                self.scalar(left, time)?,
                self.scalar(right, time)?,
            )),
            Node::Call { function, args } => match (function.action, args.first()) {
                (Action::Special(Special::Time), _) => Ok(time as f64 / 1000.0),
                (Action::Special(Special::Pi), _) => Ok(std::f64::consts::PI),
                (Action::Special(Special::Scalar), Some(arg)) => {
                    Ok(match self.vector(arg, time)?.as_slice() {
                        [only] => only.value,
                        _ => f64::NAN,
                    })
                }
                _ => Err(self.fail(expr.at, format!("`{}` gives no scalar", function.name))),
            },
            _ => Err(self.fail(expr.at, "expected a scalar")),
        }
    }

    pub(crate) fn vector(&self, expr: &Expr, time: i64) -> Answer<Vec<VectorSample>> {
        let out = match &expr.node {
            Node::Instant(selector) => {
                let current = self.current(selector, time)?.into_iter();
                // One series per label set in the store, so that nothing can stand twice.
                return Ok(current
                    .map(|(labels, sample)| VectorSample {
                        labels,
                        value: sample.value,
                    })
                    .collect());
            }
            Node::Paren(inner) => return self.vector(inner, time),
            Node::Negate(inner) => nameless(self.vector(inner, time)?, |value| -value),
            Node::Binary {
                op,
                left,
                right,
                bool,
                matching,
            } => match (left.kind, right.kind) {
                (Type::Vector, Type::Vector) => {
                    let (a, b) = (self.vector(left, time)?, self.vector(right, time)?);
                    if op.is_set() {
                        binary::sets(*op, a, b, matching)
                    } else {
                        binary::vectors(*op, a, b, *bool, matching, self.engine.dialect)
                            .map_err(|message| self.fail(expr.at, message))?
                    }
                }
                (Type::Vector, _) => {
                    let (a, b) = (self.vector(left, time)?, self.scalar(right, time)?);
                    binary::with_scalar(*op, a, b, false, *bool, self.engine.dialect)
                }
                _ => {
                    let (a, b) = (self.scalar(left, time)?, self.vector(right, time)?);
                    binary::with_scalar(*op, b, a, true, *bool, self.engine.dialect)
                }
            },
            Node::Aggregate {
                op,
                param,
                inner,
                grouping,
            } => {
                let param = match param.as_deref() {
                    None => Param::None,
                    Some(param) if param.kind == Type::Scalar => {
                        Param::Number(self.scalar(param, time)?)
                    }
                    Some(param) => Param::Label(self.label_name(param)?.to_owned()),
                };
                aggregate(*op, &param, grouping, self.vector(inner, time)?)
            }
            Node::Call { function, args } => self.call(expr, function, args, time)?,
            Node::Number(_) | Node::Text(_) | Node::Range { .. } | Node::Subquery { .. } => {
                return Err(self.fail(expr.at, "expected an instant vector"));
            }
        };
        self.spend(out.len() + 1)?;
        match signature::repeated(&out) {
            None => Ok(out),
            Some(labels) => {
                Err(self.fail(expr.at, format!("the result has the labels {labels} twice")))
            }
        }
    }

    pub(crate) fn matrix(&self, expr: &Expr, now: i64) -> Answer<Vec<Window<'_>>> {
        let dialect = self.engine.dialect;
        match &expr.node {
            Node::Paren(inner) => self.matrix(inner, now),
            Node::Range { selector, range } => {
                let end = now.saturating_sub(selector.offset);
                let start = end.saturating_sub(*range);
                let mut out = Vec::new();
                for series in self.series(selector) {
                    let from = series.samples.partition_point(|sample| match dialect {
                        Dialect::V2 => sample.time < start,
                        Dialect::V3 => sample.time <= start,
                    });
                    let to = series.samples.partition_point(|sample| sample.time <= end);
                    let samples = series.samples.get(from..to).unwrap_or_default();
                    if samples.is_empty() {
                        continue;
                    }
                    self.spend(samples.len())?;
                    let labels = series.labels.clone();
                    let samples = Cow::Borrowed(samples);
                    out.push(Window {
                        labels,
                        samples,
                        start,
                        end,
                        now,
                        dialect,
                    });
                }
                Ok(out)
            }
            Node::Subquery {
                id,
                inner,
                range,
                step,
                offset,
            } => {
                let step = step.unwrap_or(self.engine.limits.subquery_step).max(1);
                let end = now.saturating_sub(*offset);
                let start = end.saturating_sub(*range);
                let mut time = start / step * step;
                if time < start || dialect == Dialect::V3 && time == start {
                    time += step;
                }
                let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
                while time <= end {
                    for VectorSample { labels, value } in self.remembered(*id, inner, time)?.iter()
                    {
                        let value = *value;
                        series
                            .entry(labels.clone())
                            .or_default()
                            .push(Sample { time, value });
                    }
                    time += step;
                }
                let window = |(labels, samples)| {
                    let samples = Cow::Owned(samples);
                    Window {
                        labels,
                        samples,
                        start,
                        end,
                        now,
                        dialect,
                    }
                };
                Ok(series.into_iter().map(window).collect())
            }
            _ => Err(self.fail(expr.at, "expected a range vector")),
        }
    }

    fn remembered(&self, id: usize, inner: &Expr, time: i64) -> Answer<Inner> {
        if let Some(known) = self.inner.borrow().get(&(id, time)) {
            self.spend(known.len() + 1)?;
            return Ok(Rc::clone(known));
        }
        let fresh = Rc::new(self.vector(inner, time)?);
        self.inner
            .borrow_mut()
            .insert((id, time), Rc::clone(&fresh));
        Ok(fresh)
    }
}
