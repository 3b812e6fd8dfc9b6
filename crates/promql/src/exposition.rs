//! The Prometheus text format and OpenMetrics, line by line.
//!
//! Owns reading samples out of a scrape's body. Refuses a body with any malformed line as a whole,
//! saying which line: half a scrape would look like a change of the world. Exemplars and help texts
//! are skipped.

use std::collections::BTreeMap;

use crate::labels::{Labels, is_label_name, is_metric_name};
use crate::number::parse_value;

/// Which of the two dialects a body is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The classic text format: timestamps in milliseconds.
    Text,
    /// OpenMetrics: timestamps in seconds, exemplars, and `# EOF` as the last line.
    OpenMetrics,
}

impl Format {
    /// The format that a `Content-Type` names; the classic one unless it says OpenMetrics.
    pub fn of_content_type(content_type: &str) -> Self {
        if content_type
            .trim_start()
            .starts_with("application/openmetrics-text")
        {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// One sample of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct ExposedSample {
    /// Labels with the metric's name.
    pub labels: Labels,
    /// The value.
    pub value: f64,
    /// The time it states in milliseconds, if it does.
    pub time: Option<i64>,
}

/// A parsed body.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exposition {
    /// The samples in order.
    pub samples: Vec<ExposedSample>,
    /// The type of each metric family that states one.
    pub types: BTreeMap<String, String>,
}

/// Where and why a body cannot be read. Terminal for this body; the next scrape may be fine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the metrics: {message}")]
pub struct ExpositionError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// Reads a scrape's body of at most `max_samples` samples.
pub fn parse_exposition(
    text: &str,
    format: Format,
    max_samples: usize,
) -> Result<Exposition, ExpositionError> {
    let mut out = Exposition::default();
    let mut ended = false;
    let mut last_line = 0;
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        let fail = |message: String| ExpositionError {
            line: number,
            message,
        };
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim().is_empty() {
            continue;
        }
        last_line = number;
        if ended {
            return Err(fail(
                "there is text after `# EOF`; end the body there".to_owned(),
            ));
        }
        if let Some(comment) = line.trim_start().strip_prefix('#') {
            ended = format == Format::OpenMetrics && comment == " EOF";
            read_type(comment, &mut out.types).map_err(fail)?;
            continue;
        }
        if out.samples.len() >= max_samples {
            return Err(fail(format!(
                "there are more than {max_samples} samples; expose fewer series"
            )));
        }
        let mut cursor = Cursor { rest: line };
        out.samples.push(cursor.sample(format).map_err(fail)?);
    }
    if format == Format::OpenMetrics && !ended {
        return Err(ExpositionError {
            line: last_line.max(1),
            message: "`# EOF` is missing, so the body may be cut short".to_owned(),
        });
    }
    Ok(out)
}

fn read_type(comment: &str, types: &mut BTreeMap<String, String>) -> Result<(), String> {
    let mut words = comment.split_whitespace();
    if words.next() != Some("TYPE") {
        return Ok(());
    }
    let (Some(metric), Some(kind), None) = (words.next(), words.next(), words.next()) else {
        return Err("`# TYPE` needs a metric's name and a type".to_owned());
    };
    if !is_metric_name(metric) {
        return Err(format!("`{metric}` cannot be a metric's name"));
    }
    const KINDS: [&str; 10] = [
        "counter",
        "gauge",
        "histogram",
        "summary",
        "untyped",
        "unknown",
        "gaugehistogram",
        "stateset",
        "info",
        "unspecified",
    ];
    if !KINDS.contains(&kind) {
        return Err(format!("`{kind}` is not a metric type"));
    }
    types.insert(metric.to_owned(), kind.to_owned());
    Ok(())
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn eat(&mut self, token: char) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn sample(&mut self, format: Format) -> Result<ExposedSample, String> {
        self.skip_space();
        let metric = self.take_while(|c| !c.is_whitespace() && c != '{');
        if !is_metric_name(metric) {
            return Err(format!("`{metric}` cannot be a metric's name"));
        }
        self.skip_space();
        let mut pairs = vec![("__name__".to_owned(), metric.to_owned())];
        if self.eat('{') {
            self.labels(&mut pairs)?;
        }
        self.skip_space();
        let number = self.take_while(|c| !c.is_whitespace());
        let value = parse_value(number)
            .ok_or_else(|| format!("`{metric}` has the value `{number}`, which is not a number"))?;
        self.skip_space();
        let mut time = None;
        if !self.rest.is_empty() && !self.rest.starts_with('#') {
            let stamp = self.take_while(|c| !c.is_whitespace());
            time = Some(read_time(stamp, format).ok_or_else(|| {
                format!("`{metric}` has the timestamp `{stamp}`, which is not a time")
            })?);
            self.skip_space();
        }
        let exemplar = format == Format::OpenMetrics && self.rest.starts_with('#');
        if !self.rest.is_empty() && !exemplar {
            return Err(format!("`{}` follows the sample of `{metric}`", self.rest));
        }
        Ok(ExposedSample {
            labels: Labels::new(pairs),
            value,
            time,
        })
    }

    fn labels(&mut self, pairs: &mut Vec<(String, String)>) -> Result<(), String> {
        loop {
            self.skip_space();
            if self.eat('}') {
                return Ok(());
            }
            let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_label_name(name) {
                return Err(format!(
                    "expected a label's name or `}}` before `{}`",
                    self.rest
                ));
            }
            if pairs.iter().any(|(known, _)| known == name) {
                return Err(format!("the label `{name}` is given twice"));
            }
            self.skip_space();
            if !self.eat('=') {
                return Err(format!("expected `=` after the label `{name}`"));
            }
            self.skip_space();
            if !self.eat('"') {
                return Err(format!(
                    "the value of the label `{name}` needs double quotes"
                ));
            }
            let value = self.quoted(name)?;
            pairs.push((name.to_owned(), value));
            self.skip_space();
            if !self.eat(',') && !self.rest.starts_with('}') {
                return Err(format!("expected `,` or `}}` after the label `{name}`"));
            }
        }
    }

    fn quoted(&mut self, name: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, escaped @ ('\\' | '"'))) => out.push(escaped),
                    // Left as they are, as Prometheus does.
                    Some((_, other)) => out.extend(['\\', other]),
                    None => break,
                },
                other => out.push(other),
            }
        }
        Err(format!(
            "the value of the label `{name}` has no closing quote"
        ))
    }
}

fn read_time(text: &str, format: Format) -> Option<i64> {
    match format {
        Format::Text => text.parse().ok(),
        Format::OpenMetrics => {
            let millis = (parse_value(text)? * 1000.0).round();
            (millis.abs() < 9e15).then_some(millis as i64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String, Option<i64>)> {
        let parsed = parse_exposition(text, Format::Text, 100).expect("reads");
        let line = |s: ExposedSample| (s.labels.to_string(), crate::format_value(s.value), s.time);
        parsed.samples.into_iter().map(line).collect()
    }

    #[test]
    fn text_format() {
        let text = "# HELP a what\n# TYPE a counter\na 1\na{x=\"1\",y=\"q\\\"\\\\\\n\"} +Inf 12\r\n\n\
                    a { z = \"2\" , } 1.5e3\t-7\nb NaN";
        let row = |labels: &str, value: &str, time| (labels.to_owned(), value.to_owned(), time);
        assert_eq!(
            read(text),
            [
                row("a", "1", None),
                row(r#"a{x="1", y="q\"\\\n"}"#, "+Inf", Some(12)),
                row(r#"a{z="2"}"#, "1500", Some(-7)),
                row("b", "NaN", None),
            ]
        );
    }

    #[test]
    fn open_metrics() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 3 1.5 # {trace=\"t\"} 1\n# EOF\n";
        let parsed = parse_exposition(text, Format::OpenMetrics, 9).expect("reads");
        assert_eq!(parsed.samples.first().and_then(|s| s.time), Some(1500));
        assert_eq!(parsed.types.get("a").map(String::as_str), Some("counter"));
        let cut = parse_exposition("a 1\n", Format::OpenMetrics, 9);
        assert_eq!(cut.map_err(|e| e.line), Err(1));
        let after = parse_exposition("# EOF\na 1\n", Format::OpenMetrics, 9);
        assert_eq!(after.map_err(|e| e.line), Err(2));
    }

    #[test]
    fn bad_lines_are_named() {
        let table = [
            (
                "a 1\nb x",
                2,
                "`b` has the value `x`, which is not a number",
            ),
            ("1a 1", 1, "`1a` cannot be a metric's name"),
            (
                "a{x=1} 1",
                1,
                "the value of the label `x` needs double quotes",
            ),
            (
                "a{x=\"1} 1",
                1,
                "the value of the label `x` has no closing quote",
            ),
            ("a{x=\"1\",x=\"2\"} 1", 1, "the label `x` is given twice"),
            (
                "a{x=\"1\" y=\"2\"} 1",
                1,
                "expected `,` or `}` after the label `x`",
            ),
            (
                "a{é=\"1\"} 1",
                1,
                "expected a label's name or `}` before `é=\"1\"} 1`",
            ),
            ("a 1 2 3", 1, "`3` follows the sample of `a`"),
            ("a 1 x", 1, "`a` has the timestamp `x`, which is not a time"),
            ("a", 1, "`a` has the value ``, which is not a number"),
            ("\n# TYPE a foo", 2, "`foo` is not a metric type"),
        ];
        for (text, line, message) in table {
            let expected = ExpositionError {
                line,
                message: message.to_owned(),
            };
            assert_eq!(parse_exposition(text, Format::Text, 9), Err(expected));
        }
        assert!(parse_exposition("a 1\na 2", Format::Text, 1).is_err());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn never_panics(text in "[a{}=\", 0-9\\\\#\né]{0,40}") {
            let _ = parse_exposition(&text, Format::Text, 9);
            let _ = parse_exposition(&text, Format::OpenMetrics, 9);
        }
    }
}
