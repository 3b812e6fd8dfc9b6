//! Owns walking a JSON value by field names: read, write, remove. Lists are addressed by their
//! decimal index. It creates missing maps on write and never panics on a wrong shape.

use serde_json::{Map, Value};

/// The value at `path`, if each step exists.
pub fn get<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |at, step| match at {
        Value::Object(map) => map.get(*step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The string at `path`, or the empty string.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    get(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The value at `path` for change, if each step exists.
pub fn get_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |at, step| match at {
        Value::Object(map) => map.get_mut(*step),
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Puts `new` at `path`, creating maps on the way. A scalar in the way is replaced by a map.
pub fn set(value: &mut Value, path: &[&str], new: Value) {
    let Some((step, rest)) = path.split_first() else {
        *value = new;
        return;
    };
    if let Value::Array(items) = value {
        if let Some(item) = step.parse::<usize>().ok().and_then(|i| items.get_mut(i)) {
            set(item, rest, new);
        }
        return;
    }
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Value::Object(map) = value {
        set(map.entry(*step).or_insert(Value::Null), rest, new);
    }
}

/// Removes the field at `path` and returns it.
pub fn remove(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    match get_mut(value, parents)? {
        Value::Object(map) => map.shift_remove(*last),
        Value::Array(items) => {
            let index = last.parse::<usize>().ok()?;
            (index < items.len()).then(|| items.remove(index))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_writes_and_removes() {
        let mut v = json!({"spec": {"containers": [{"image": "a"}]}});
        assert_eq!(text(&v, &["spec", "containers", "0", "image"]), "a");
        set(&mut v, &["metadata", "labels", "x"], json!("1"));
        set(&mut v, &["spec", "containers", "0", "image"], json!("b"));
        assert_eq!(remove(&mut v, &["spec", "missing"]), None);
        assert_eq!(
            remove(&mut v, &["metadata", "labels", "x"]),
            Some(json!("1"))
        );
        assert_eq!(
            v,
            json!({"spec": {"containers": [{"image": "b"}]}, "metadata": {"labels": {}}})
        );
    }
}
