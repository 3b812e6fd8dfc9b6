//! Owns the part of kubectl's JSONPath that print columns use: dotted fields, quoted brackets,
//! indices, `[*]` and `[?(@.field=="value")]`. Anything else is an error that names the place.

use serde_json::Value;

/// A path that this dialect does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("JSONPath `{path}` cannot be read at byte {at}: {what}")]
pub struct Unreadable {
    /// The whole path.
    pub path: String,
    /// Byte offset of the trouble.
    pub at: usize,
    /// What was wrong there.
    pub what: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Where { field: Vec<String>, equals: Value },
}

/// A parsed path, for use on many objects.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Parses `.spec.x`, `{.spec.x}` or `$.spec.x`.
    pub fn parse(path: &str) -> Result<Self, Unreadable> {
        let inner = path
            .strip_prefix('{')
            .and_then(|p| p.strip_suffix('}'))
            .unwrap_or(path);
        let fail = |at: usize, what| Unreadable {
            path: path.to_owned(),
            at,
            what,
        };
        let mut rest = inner.strip_prefix('$').unwrap_or(inner);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let at = inner.len() - rest.len();
            if let Some(tail) = rest.strip_prefix('[') {
                let end = close(tail).ok_or_else(|| fail(at, "the bracket is not closed"))?;
                steps.push(bracket(&tail[..end]).map_err(|what| fail(at, what))?);
                rest = &tail[end + 1..];
                continue;
            }
            let tail = rest.strip_prefix('.').unwrap_or(rest);
            let mut field = String::new();
            let mut chars = tail.char_indices();
            let mut end = tail.len();
            while let Some((i, c)) = chars.next() {
                match c {
                    '\\' => field.extend(chars.next().map(|(_, c)| c)),
                    '.' | '[' => {
                        end = i;
                        break;
                    }
                    _ => field.push(c),
                }
            }
            if field.is_empty() {
                return Err(fail(at, "a field name is missing"));
            }
            steps.push(if field == "*" {
                Step::All
            } else {
                Step::Field(field)
            });
            rest = &tail[end..];
        }
        Ok(Self(steps))
    }

    /// All values at the path, in document order.
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut at = vec![value];
        for step in &self.0 {
            at = at.into_iter().flat_map(|v| take(v, step)).collect();
        }
        at
    }
}

fn take<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    match (step, value) {
        (Step::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
        (Step::Index(i), Value::Array(items)) => {
            let index = if *i < 0 { items.len() as i64 + i } else { *i };
            usize::try_from(index)
                .ok()
                .and_then(|i| items.get(i))
                .into_iter()
                .collect()
        }
        (Step::All, Value::Array(items)) => items.iter().collect(),
        (Step::All, Value::Object(map)) => map.values().collect(),
        (Step::Where { field, equals }, Value::Array(items)) => {
            let path: Vec<&str> = field.iter().map(String::as_str).collect();
            items
                .iter()
                .filter(|v| crate::path::get(v, &path) == Some(equals))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// The offset of the bracket's end, quotes respected.
fn close(text: &str) -> Option<usize> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, ']') => return Some(i),
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Result<Step, &'static str> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = quoted(text) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Ok(index) = text.parse() {
        return Ok(Step::Index(index));
    }
    let test = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')'));
    let Some((left, right)) = test.and_then(|t| t.split_once("==")) else {
        return Err("only an index, `*`, a quoted field or `?(@.field==value)` is known here");
    };
    let field = left
        .trim()
        .strip_prefix("@.")
        .ok_or("the filter must start with `@.`")?;
    let right = right.trim();
    let equals = match quoted(right) {
        Some(text) => Value::String(text.to_owned()),
        None => serde_json::from_str(right).map_err(|_| "the filter's value cannot be read")?,
    };
    Ok(Step::Where {
        field: field.split('.').map(str::to_owned).collect(),
        equals,
    })
}

fn quoted(text: &str) -> Option<&str> {
    ['"', '\'']
        .into_iter()
        .find_map(|q| text.strip_prefix(q).and_then(|t| t.strip_suffix(q)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn print_columns_are_found() {
        let value = json!({"status": {"conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "False"}]},
            "metadata": {"annotations": {"a.b/c": "x"}}});
        let found = |path| {
            JsonPath::parse(path).map(|p| p.find(&value).into_iter().cloned().collect::<Vec<_>>())
        };
        assert_eq!(
            found(r#".status.conditions[?(@.type=="Ready")].status"#),
            Ok(vec![json!("True")])
        );
        assert_eq!(
            found("{.status.conditions[-1].type}"),
            Ok(vec![json!("Stalled")])
        );
        assert_eq!(found(r".metadata.annotations.a\.b/c"), Ok(vec![json!("x")]));
        assert_eq!(
            found("['metadata'].annotations[\"a.b/c\"]"),
            Ok(vec![json!("x")])
        );
        assert_eq!(found(".nothing.here"), Ok(vec![]));
        assert!(found(".a[?(x)]").is_err());
        assert!(found(".a[").is_err());
    }
}
