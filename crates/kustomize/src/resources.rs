//! Owns reading objects from a file: documents, lists of objects, and what an object must have.

use serde_json::Value;
use weir_object::Object;
use weir_yaml::{Dialect, Node, Reader};

use crate::failure::{BuildError, Spot};

/// The objects of one file.
pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Object>, BuildError> {
    let yaml = |what| BuildError::Yaml {
        file: file.to_owned(),
        what,
    };
    let text = text.replace("\r\n", "\n");
    let reader = Reader {
        dialect: Dialect::GoYaml3,
        ..Reader::default()
    };
    let mut queue = Vec::new();
    for document in reader
        .parse(&text)
        .map_err(yaml)?
        .iter()
        .filter(|d| !d.is_empty())
    {
        let mut value = reader.value(document).map_err(yaml)?;
        annotations_as_written(&mut value, &document.root);
        if !value.is_null() {
            queue.push((document.root.place.line, value));
        }
    }
    // A file that is one list is its items, in place. Other lists come after the rest of the file.
    let alone = queue.len() == 1;
    let mut out = Vec::new();
    let mut at = 0;
    while let Some((line, value)) = queue.get(at).cloned() {
        at += 1;
        let kind = weir_object::path::text(&value, &["kind"]);
        match value.get("items") {
            Some(items) if kind.ends_with("List") || (alone && kind == "ResourceList") => {
                match items {
                    Value::Null => {}
                    Value::Array(items) => queue.extend(items.iter().map(|i| (line, i.clone()))),
                    other => {
                        let what =
                            format!("a list belongs here, found {}", crate::fields::shape(other));
                        return Err(BuildError::Field {
                            spot: Spot::new(file, line, "items"),
                            what,
                        });
                    }
                }
            }
            _ => out.push(object(file, line, value)?),
        }
    }
    Ok(out)
}

/// Annotations are text, as it was written: `1.50` stays that and does not become a number.
fn annotations_as_written(value: &mut Value, node: &Node) {
    if let (Some(Value::Array(items)), Some(nodes)) = (value.get_mut("items"), node.get("items")) {
        for (item, node) in items.iter_mut().zip(nodes.items()) {
            annotations_as_written(item, node);
        }
    }
    let nodes = node.get("metadata").and_then(|m| m.get("annotations"));
    let values = weir_object::path::get_mut(value, &["metadata", "annotations"]);
    let (Some(Value::Object(values)), Some(nodes)) = (values, nodes) else {
        return;
    };
    for (key, value) in &mut *values {
        if let Some((text, _)) = nodes.get(key).and_then(Node::scalar) {
            *value = Value::String(text.to_owned());
        }
    }
}

fn object(file: &str, line: usize, value: Value) -> Result<Object, BuildError> {
    let refuse = |field: &str, what: &str| {
        Err(BuildError::NotAnObject {
            spot: Spot::new(file, line, field),
            what: what.to_owned(),
        })
    };
    if !value.is_object() {
        return refuse(
            "",
            "this is not a Kubernetes object; each document must be a map",
        );
    }
    let mut object = Object(value);
    if object.kind().is_empty() {
        return refuse("kind", "the object has no kind; add one");
    }
    if object.name().is_empty() && !object.kind().ends_with("List") {
        return refuse("metadata.name", "the object has no name; add one");
    }
    if object.get(&["metadata"]).is_none() {
        object.set(&["metadata"], Value::Object(serde_json::Map::new()));
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_their_items() {
        let item =
            |name: &str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}");
        let text = format!(
            "# only words\n---\napiVersion: v1\nkind: ConfigMapList\nitems: [{}, {}]\n---\n{}\n",
            item("a"),
            item("b"),
            item("c")
        );
        let names = |t: &str| -> Vec<String> {
            read("f", t)
                .expect("objects")
                .iter()
                .map(|o| o.name().to_owned())
                .collect()
        };
        assert_eq!(names(&text), ["c", "a", "b"]);
        assert_eq!(names("kind: List\nitems:\n"), Vec::<String>::new());
        assert_eq!(names("# nothing\n"), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_told_with_its_line() {
        let refused = |t: &str| read("f.yaml", t).expect_err("refused").to_string();
        assert_eq!(
            refused("kind: A\nmetadata: {name: x}\n---\nkind: B\n"),
            "`f.yaml` line 4, field `metadata.name`: the object has no name; add one"
        );
        assert_eq!(
            refused("- a\n"),
            "`f.yaml` line 1: this is not a Kubernetes object; each document must be a map"
        );
        assert!(refused("a: [").starts_with("`f.yaml` line 1"));
        assert!(refused("kind: A\nkind: B\n").contains("already set at line 1"));
    }
}
