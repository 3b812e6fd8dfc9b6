//! A label set: sorted, without empty values, cheap to clone.
//!
//! Owns the rules that make two series the same series. Refuses nothing: whoever reads labels from
//! outside checks their names first.

use std::fmt;
use std::sync::Arc;

/// The label that holds the metric's name.
pub(crate) const NAME: &str = "__name__";

/// A set of labels in order of their names. An empty value means that the label is absent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

impl Labels {
    /// A set from pairs in any order; of two with one name the later wins.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut all: Vec<(Box<str>, Box<str>)> = pairs
            .into_iter()
            .map(|(name, value)| (Box::from(name.as_ref()), Box::from(value.as_ref())))
            .collect();
        all.reverse();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|later, first| later.0 == first.0);
        all.retain(|(_, value)| !value.is_empty());
        Self(all.into())
    }

    /// A set with a metric name.
    pub fn named<N, V>(metric: &str, pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        Self::new(pairs).with(NAME, metric)
    }

    /// The value of a label; empty when it is absent, as PromQL sees it.
    pub fn get(&self, name: &str) -> &str {
        self.0
            .binary_search_by(|(own, _)| own.as_ref().cmp(name))
            .ok()
            .and_then(|index| self.0.get(index))
            .map_or("", |(_, value)| value.as_ref())
    }

    /// The metric's name, or empty.
    pub fn metric(&self) -> &str {
        self.get(NAME)
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set with one label set, or removed when the value is empty.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        Self::new(self.iter().chain([(name, value)]))
    }

    /// The set with only the labels that pass.
    pub(crate) fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        Self(
            self.0
                .iter()
                .filter(|(name, _)| keep(name))
                .cloned()
                .collect(),
        )
    }

    /// The set without the metric's name.
    pub(crate) fn nameless(&self) -> Self {
        self.filter(|name| name != NAME)
    }

    /// As a JSON object of strings.
    pub fn to_json(&self) -> serde_json::Value {
        let pair = |(name, value): (&str, &str)| (name.to_owned(), serde_json::Value::from(value));
        serde_json::Value::Object(self.iter().map(pair).collect())
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.metric();
        f.write_str(metric)?;
        if !metric.is_empty() && self.0.len() == 1 {
            return Ok(());
        }
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().filter(|(name, _)| *name != NAME).enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

/// Whether a text can be a label's name.
pub(crate) fn is_label_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a text can be a metric's name.
pub(crate) fn is_metric_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_' || first == b':')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_last_wins_and_empty_is_absent() {
        let labels = Labels::new([("b", "1"), ("a", "2"), ("b", "3"), ("c", "")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(labels.get("c"), "");
        assert_eq!(labels.with("a", "").to_string(), r#"{b="3"}"#);
        assert_eq!(
            Labels::named("up", [("job", "x")]).to_string(),
            r#"up{job="x"}"#
        );
    }
}
