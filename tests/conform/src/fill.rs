//! Owns placeholders: `${ns}`, `${id}`, `${n}` and `${saved/pointer}` become what they stand for.
//! It refuses unknown names: those stay as written, so that the answers show it.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// What placeholders stand for, on one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    /// Names and saved bodies.
    pub(crate) known: HashMap<String, Value>,
}

impl Values {
    fn find(&self, name: &str) -> Option<&Value> {
        match name.find('/') {
            None => self.known.get(name),
            Some(at) => {
                let (name, pointer) = name.split_at(at);
                self.known.get(name)?.pointer(pointer)
            }
        }
    }

    /// Fills a text.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, from) = rest.split_at(start);
            out.push_str(before);
            let Some(end) = from.find('}') else {
                out.push_str(from);
                return out;
            };
            let (whole, after) = from.split_at(end + 1);
            match self.find(whole.trim_start_matches("${").trim_end_matches('}')) {
                Some(Value::String(value)) => out.push_str(value),
                Some(value) => out.push_str(&value.to_string()),
                None => out.push_str(whole),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// Fills a value. A text that is one placeholder takes the type of what it stands for.
    pub(crate) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let name = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'));
                match name.filter(|n| !n.contains('}')).and_then(|n| self.find(n)) {
                    Some(found) => found.clone(),
                    None => Value::String(self.text(text)),
                }
            }
            Value::Array(items) => items.iter().map(|v| self.value(v)).collect(),
            Value::Object(map) => {
                let filled = map.iter().map(|(k, v)| (self.text(k), self.value(v)));
                Value::Object(filled.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }
}

/// Sets the value at a JSON pointer, making the objects on the way; `/-` appends to a list.
pub(crate) fn set(root: &mut Value, pointer: &str, new: Value) {
    let mut at = root;
    for word in pointer.split('/').skip(1) {
        let word = word.replace("~1", "/").replace("~0", "~");
        if let Value::Array(items) = at {
            let index = word.parse().unwrap_or(items.len());
            while items.len() <= index {
                items.push(Value::Null);
            }
            let Some(item) = items.get_mut(index) else {
                return;
            };
            at = item;
            continue;
        }
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return };
        at = map.entry(word).or_insert(Value::Null);
    }
    *at = new;
}

/// Takes out what a JSON pointer names; a word `*` stands for every item or key.
pub(crate) fn remove(root: &mut Value, pointer: &str) {
    let words: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|w| w.replace("~1", "/").replace("~0", "~"))
        .collect();
    remove_at(root, &words);
}

fn remove_at(at: &mut Value, words: &[String]) {
    let Some((word, rest)) = words.split_first() else {
        return;
    };
    match at {
        Value::Object(map) if rest.is_empty() => {
            if word == "*" {
                map.clear();
            } else {
                map.shift_remove(word);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                if word == "*" || word == key {
                    remove_at(value, rest);
                }
            }
        }
        Value::Array(items) => {
            let one = word.parse::<usize>().ok();
            if rest.is_empty() {
                match one {
                    Some(index) if index < items.len() => {
                        items.remove(index);
                    }
                    _ => items.clear(),
                }
                return;
            }
            for (index, value) in items.iter_mut().enumerate() {
                if one.is_none_or(|one| one == index) {
                    remove_at(value, rest);
                }
            }
        }
        _ => {}
    }
}

/// The values that a JSON pointer names, each with its own pointer; `*` as in [`remove`].
pub(crate) fn pick(at: &Value, pointer: &str) -> Vec<(String, Value)> {
    let words: Vec<&str> = pointer.split('/').skip(1).collect();
    let mut out = Vec::new();
    pick_at(at, &words, String::new(), &mut out);
    out
}

fn pick_at(at: &Value, words: &[&str], here: String, out: &mut Vec<(String, Value)>) {
    let Some((word, rest)) = words.split_first() else {
        out.push((here, at.clone()));
        return;
    };
    let plain = word.replace("~1", "/").replace("~0", "~");
    match at {
        Value::Object(map) => {
            for (key, value) in map {
                if plain == "*" || plain == *key {
                    pick_at(value, rest, format!("{here}/{key}"), out);
                }
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                if plain == "*" || plain == index.to_string() {
                    pick_at(value, rest, format!("{here}/{index}"), out);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn placeholders_become_what_they_stand_for() {
        let mut values = Values::default();
        values.known.insert("ns".into(), json!("a"));
        values.known.insert("x".into(), json!({"n": {"v": 3}}));
        assert_eq!(values.text("/n/${ns}/${x/n/v}/${y}"), "/n/a/3/${y}");
        assert_eq!(
            values.value(&json!({"k-${ns}": ["${x/n/v}"]})),
            json!({"k-a": [3]})
        );
    }

    #[test]
    fn pointers_set_remove_and_pick() {
        let mut value = json!({"a": [{"b": 1, "c": 2}, {"b": 3}]});
        assert_eq!(
            pick(&value, "/a/*/b"),
            [("/a/0/b".into(), json!(1)), ("/a/1/b".into(), json!(3))]
        );
        remove(&mut value, "/a/*/b");
        set(&mut value, "/a/1/d/e~1f", json!(4));
        set(&mut value, "/a/-", json!(5));
        assert_eq!(value, json!({"a": [{"c": 2}, {"d": {"e/f": 4}}, 5]}));
    }
}
