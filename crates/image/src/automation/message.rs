//! Owns the commit message: the template and the data that it is executed on. Pure.

use std::collections::BTreeMap;

use weir_gotmpl::{Funcs, List, Map, Struct, Template, Type, Value};
use weir_object::Key;

use super::edit::{Change, ObjectId};
use super::files::Written;

/// The message where the spec says nothing.
pub(crate) const DEFAULT: &str = "Update from image update automation";
/// A longer message helps nobody and may be refused by servers.
const LONGEST: usize = 64 << 10;

/// What a message can speak of.
pub(crate) struct Told<'a> {
    /// The automation.
    pub(crate) automation: &'a Key,
    /// What changed.
    pub(crate) written: &'a [Written],
    /// The images that were written, by their policies.
    pub(crate) images: Vec<String>,
    /// `messageTemplateValues`.
    pub(crate) values: &'a BTreeMap<String, String>,
}

/// Reads a template.
pub(crate) fn template(text: Option<&str>) -> Result<Template, String> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or(DEFAULT);
    Template::parse("commit message", text, &Funcs::new()).map_err(|e| e.to_string())
}

/// Makes the message.
pub(crate) fn render(template: &Template, told: &Told<'_>) -> Result<String, String> {
    let text = template
        .execute(&data(told))
        .map_err(|e| e.to_string())?;
    if text.trim().is_empty() {
        return Err("it makes an empty message; let it say something".to_owned());
    }
    if text.len() > LONGEST {
        return Err(format!(
            "it makes a message of more than {LONGEST} bytes; let it say less"
        ));
    }
    Ok(text)
}

fn object_type() -> Type {
    Type::Struct("update.ObjectIdentifier".into())
}

fn change_type() -> Type {
    Type::Struct("update.Change".into())
}

fn object(id: &ObjectId) -> Value {
    Value::Struct(Struct::new(
        "update.ObjectIdentifier",
        [
            ("APIVersion", Value::string(&id.api_version)),
            ("Kind", Value::string(&id.kind)),
            ("Name", Value::string(&id.name)),
            ("Namespace", Value::string(&id.namespace)),
        ],
    ))
}

fn change(change: &Change) -> Value {
    Value::Struct(Struct::new(
        "update.Change",
        [
            ("OldValue", Value::string(&change.old)),
            ("NewValue", Value::string(&change.new)),
            ("Setter", Value::string(&change.setter)),
        ],
    ))
}

/// The changes by object.
fn by_object<'a>(changes: impl Iterator<Item = &'a Change>) -> Map {
    let mut grouped: BTreeMap<&ObjectId, Vec<Value>> = BTreeMap::new();
    for one in changes {
        grouped.entry(&one.object).or_default().push(change(one));
    }
    let list = Type::List(std::sync::Arc::new(change_type()));
    let map = Map::typed(object_type(), list);
    for (id, changes) in grouped {
        map.insert(object(id), Value::List(List::typed(change_type(), changes)));
    }
    map
}

/// The changes in one list, each once.
fn flat(written: &[Written]) -> Value {
    let mut seen: Vec<(&str, &str, &str)> = Vec::new();
    let mut items = Vec::new();
    for one in written.iter().flat_map(|file| &file.changes) {
        let identity = (one.old.as_str(), one.new.as_str(), one.setter.as_str());
        if !seen.contains(&identity) {
            seen.push(identity);
            items.push(change(one));
        }
    }
    Value::List(List::typed(change_type(), items))
}

fn data(told: &Told<'_>) -> Value {
    let all = || told.written.iter().flat_map(|file| &file.changes);
    let objects = by_object(all());
    let of_file = Type::Map(
        std::sync::Arc::new(object_type()),
        std::sync::Arc::new(Type::List(std::sync::Arc::new(change_type()))),
    );
    let files = Map::typed(Type::String, of_file);
    for file in told.written {
        let changes = by_object(file.changes.iter());
        files.insert(Value::string(&file.shown), Value::Map(changes));
    }
    let changed = Struct::new(
        "update.ResultV2",
        [
            ("FileChanges", Value::Map(files.clone())),
            ("Objects", Value::Map(objects.clone())),
            ("Changes", flat(told.written)),
        ],
    );
    // What templates of older versions speak of.
    let updated = Struct::new(
        "update.Result",
        [
            ("Files", Value::Map(files)),
            ("Objects", Value::Map(objects)),
            ("Images", Value::string_list(&told.images)),
        ],
    );
    let automation = Struct::new(
        "types.NamespacedName",
        [
            ("Namespace", Value::string(&told.automation.namespace)),
            ("Name", Value::string(&told.automation.name)),
        ],
    );
    Value::Struct(Struct::new(
        "source.TemplateData",
        [
            ("AutomationObject", Value::Struct(automation)),
            ("Updated", Value::Struct(updated)),
            ("Changed", Value::Struct(changed)),
            ("Values", Value::string_map(told.values)),
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_written() -> Vec<Written> {
        let change = |kind: &str, old: &str, setter: &str| Change {
            object: ObjectId {
                api_version: "apps/v1".into(),
                kind: kind.into(),
                name: "app".into(),
                namespace: "demo".into(),
            },
            old: old.into(),
            new: "r/app:2".into(),
            setter: setter.into(),
        };
        let file = |name: &str, changes| Written {
            path: format!("apps/{name}"),
            shown: name.into(),
            content: Vec::new(),
            changes,
        };
        let same = change("Deployment", "r/app:1", "demo:app");
        vec![
            file("a.yaml", vec![same.clone(), change("Job", "r/app:0", "demo:app")]),
            file("b.yaml", vec![same]),
        ]
    }

    fn rendered(text: Option<&str>) -> Result<String, String> {
        let values = [("cluster".to_owned(), "prod".to_owned())].into();
        let told = Told {
            automation: &Key::new("demo", "auto"),
            written: &mk_written(),
            images: vec!["r/app:2".into()],
            values: &values,
        };
        render(&template(text)?, &told)
    }

    #[test]
    fn the_documented_values_are_there() {
        for (text, expected) in [
            ("{{ .AutomationObject.Namespace }}/{{ .AutomationObject.Name }}", "demo/auto"),
            ("on {{ .Values.cluster }}", "on prod"),
            (
                "{{ range .Changed.Changes }}{{ .OldValue }} -> {{ .NewValue }} ({{ .Setter }})\n{{ end }}",
                "r/app:1 -> r/app:2 (demo:app)\nr/app:0 -> r/app:2 (demo:app)\n",
            ),
            (
                "{{ range $file, $_ := .Changed.FileChanges }}- {{ $file }}\n{{ end }}",
                "- a.yaml\n- b.yaml\n",
            ),
            (
                "{{ range $o, $c := .Changed.Objects }}{{ $o.Kind }} {{ $o.Namespace }}/{{ $o.Name }} {{ len $c }};{{ end }}",
                "Deployment demo/app 2;Job demo/app 1;",
            ),
            (
                "{{ range $f, $os := .Changed.FileChanges }}{{ range $o, $cs := $os }}{{ $o.Kind }}{{ range $cs }} {{ .NewValue }}{{ end }};{{ end }}{{ end }}",
                "Deployment r/app:2;Job r/app:2;Deployment r/app:2;",
            ),
            (
                "{{ range $f, $_ := .Updated.Files }}{{ $f }} {{ end }}{{ range .Updated.Images }}{{ . }}{{ end }}",
                "a.yaml b.yaml r/app:2",
            ),
        ] {
            assert_eq!(rendered(Some(text)).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(rendered(None).as_deref(), Ok(DEFAULT));
        assert_eq!(rendered(Some("")).as_deref(), Ok(DEFAULT));
    }

    #[test]
    fn what_fails_is_told() {
        for (text, words) in [
            ("{{", "commit message:1"),
            ("{{ .Nope }}", "Nope"),
            ("{{ .Changed.ImageResult }}", "ImageResult"),
            ("{{ nofunc }}", "nofunc"),
            (" {{ if false }}x{{ end }}\n", "empty message"),
        ] {
            let message = rendered(Some(text)).expect_err(words);
            assert!(message.contains(words), "{message}");
        }
    }
}
