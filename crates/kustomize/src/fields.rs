//! Owns finding the fields that a transformer changes: a path of field names for the kinds it is
//! for. Lists are walked through wherever they are met; missing maps are made where the path says so.

use serde_json::{Map, Value};
use weir_object::{Object, split_api_version};

/// Where in which objects a change is made. Empty group, version or kind match everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) create: bool,
}

impl FieldSpec {
    pub(crate) fn new(group: &str, version: &str, kind: &str, path: &str, create: bool) -> Self {
        let [group, version, kind, path] = [group, version, kind, path].map(str::to_owned);
        Self {
            group,
            version,
            kind,
            path,
            create,
        }
    }

    pub(crate) fn matches(&self, object: &Object) -> bool {
        let (group, version) = split_api_version(object.api_version());
        let equal = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        equal(&self.group, group)
            && equal(&self.version, version)
            && equal(&self.kind, object.kind())
    }

    /// Whether `other` adds nothing to this one: the same path, for a kind that `other` covers. A field
    /// given for one kind so takes the place of the same field for all kinds, as it always did.
    pub(crate) fn stands_for(&self, other: &Self) -> bool {
        let covered = |wide: &str, narrow: &str| wide.is_empty() || wide == narrow;
        self.path == other.path
            && covered(&other.group, &self.group)
            && covered(&other.version, &self.version)
            && covered(&other.kind, &self.kind)
    }

    /// Calls `change` on each field of the object that the path leads to.
    ///
    /// With `map`, a missing last field is made a map; otherwise an empty string.
    pub(crate) fn visit(
        &self,
        object: &mut Object,
        leaf: Leaf,
        change: &mut dyn FnMut(&mut Value) -> Result<(), String>,
    ) -> Result<(), String> {
        let parts = split(&self.path);
        walk(&mut object.0, &parts, self.create.then_some(leaf), change)
    }
}

/// What a missing last field is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    Map,
    Text,
}

impl Leaf {
    fn value(self) -> Value {
        match self {
            Self::Map => Value::Object(Map::new()),
            Self::Text => Value::String(String::new()),
        }
    }
}

/// Splits at `/` but not at `\/`; a leading slash is ignored.
fn split(path: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut chars = path.strip_prefix('/').unwrap_or(path).chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'/') => {
                chars.next();
                if let Some(last) = out.last_mut() {
                    last.push('/');
                }
            }
            '/' => out.push(String::new()),
            c => {
                if let Some(last) = out.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    out
}

fn walk(
    at: &mut Value,
    path: &[String],
    create: Option<Leaf>,
    change: &mut dyn FnMut(&mut Value) -> Result<(), String>,
) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        return change(at);
    };
    match at {
        Value::Null => Ok(()),
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| walk(item, path, create, change)),
        Value::Object(map) => {
            let (name, is_list) = match step.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (step.as_str(), false),
            };
            if name.is_empty() {
                return Err("the path has an empty field name".to_owned());
            }
            let make = create.filter(|_| !is_list);
            let fresh = || match make {
                Some(leaf) if rest.is_empty() => leaf.value(),
                _ => Value::Object(Map::new()),
            };
            match map.get_mut(name) {
                None if make.is_none() => return Ok(()),
                None => drop(map.insert(name.to_owned(), fresh())),
                Some(null @ Value::Null) if make.is_some() => *null = fresh(),
                // A path that says "list" makes an empty one of nothing, even where it creates none.
                Some(null @ Value::Null) if is_list => *null = Value::Array(Vec::new()),
                Some(_) => {}
            }
            map.get_mut(name)
                .map_or(Ok(()), |next| walk(next, rest, create, change))
        }
        other => Err(format!(
            "a map or a list belongs there, found {}",
            shape(other)
        )),
    }
}

/// What a value is, in words.
pub(crate) fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Sets a key of a map, which is what labels and annotations are.
pub(crate) fn set_key(at: &mut Value, key: &str, value: &str) -> Result<(), String> {
    match at {
        Value::Object(map) => {
            map.insert(key.to_owned(), Value::String(value.to_owned()));
            Ok(())
        }
        // A null that no path made a map.
        Value::Null => Ok(()),
        other => Err(format!("a map belongs there, found {}", shape(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_are_walked_and_maps_made() {
        let mut o =
            Object(json!({"kind": "X", "spec": {"a": [{"b": {}}, {"b": null}, {}], "n": null}}));
        let spec = FieldSpec::new("", "", "X", "spec/a/b/labels", true);
        assert!(spec.matches(&o));
        spec.visit(&mut o, Leaf::Map, &mut |v| set_key(v, "k", "v"))
            .expect("changed");
        let one = json!({"b": {"labels": {"k": "v"}}});
        assert_eq!(o.0["spec"]["a"], json!([one, one, one]));
        let absent = FieldSpec::new("", "", "", "spec/none/b", false);
        absent
            .visit(&mut o, Leaf::Map, &mut |_| Err("met".into()))
            .expect("nothing met");
        let odd = FieldSpec::new("", "", "", "kind/x", true);
        assert_eq!(
            odd.visit(&mut o, Leaf::Map, &mut |_| Ok(())),
            Err("a map or a list belongs there, found text".into())
        );
        assert_eq!(
            split("metadata/annotations/a.b\\/c"),
            ["metadata", "annotations", "a.b/c"]
        );
    }
}
