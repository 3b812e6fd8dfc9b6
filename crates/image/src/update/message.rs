//! Owns the commit's message: a Go template over what changed.
//!
//! `.AutomationObject` prints as `namespace/name` when it stands alone between braces, as it does in
//! messages written for other controllers; `.Name` and `.Namespace` are its fields. `.Changed` holds
//! `FileChanges`, `Objects` and `Changes`; `.Updated` the older `Files`, `Objects` and `Images`;
//! `.Values` the spec's own values.

use std::collections::{BTreeMap, BTreeSet};

use weir_gocompat::GoRegex;
use weir_gotmpl::{Funcs, Limits, List, Map, Struct, Template, Type, Value};
use weir_object::Key;

use super::edit::{Change, ObjectId};
use super::files::EditedFile;

/// The message where the spec has no template.
pub(crate) const DEFAULT: &str = "Update from image update automation";

const NAME: &str = "spec.git.commit.messageTemplate";
/// A message of more than a megabyte is none.
const LONGEST: usize = 1 << 20;

/// Reads the template.
pub(crate) fn parse(text: &str) -> Result<Template, String> {
    // Go prints this struct by its String method, which templates here do not know.
    let alone = GoRegex::parse(r"\{\{(-?)(\s*)\.AutomationObject(\s*)(-?)\}\}");
    let text = match alone {
        Ok(alone) => alone.replace_all(text, "{{$1$2.AutomationObject.String$3$4}}"),
        Err(_) => text.to_owned(),
    };
    let template = Template::parse(NAME, &text, &Funcs::new()).map_err(|e| e.to_string())?;
    Ok(template.limits(Limits {
        output: LONGEST,
        ..Limits::default()
    }))
}

/// The message.
pub(crate) fn render(
    template: Option<&Template>,
    automation: &Key,
    values: &BTreeMap<String, String>,
    files: &[EditedFile],
) -> Result<String, String> {
    let Some(template) = template else {
        return Ok(DEFAULT.to_owned());
    };
    let object = Struct::new(
        "types.NamespacedName",
        [
            ("Namespace", Value::string(&automation.namespace)),
            ("Name", Value::string(&automation.name)),
            ("String", Value::string(automation.to_string())),
        ],
    );
    let data = Value::Struct(Struct::new(
        "source.TemplateData",
        [
            ("AutomationObject", Value::Struct(object)),
            ("Updated", updated(files)),
            ("Changed", changed(files)),
            ("Values", Value::string_map(values)),
        ],
    ));
    let text = template.execute(&data).map_err(|e| e.to_string())?;
    // A commit without a message cannot be told from a mistake.
    Ok(if text.trim().is_empty() {
        DEFAULT.to_owned()
    } else {
        text
    })
}

fn changed(files: &[EditedFile]) -> Value {
    let by_file = Map::typed(Type::String, objects_type(&change_type()));
    let mut all: BTreeMap<ObjectId, Vec<&Change>> = BTreeMap::new();
    let mut flat: Vec<Value> = Vec::new();
    let mut seen: BTreeSet<(&str, &str, &str)> = BTreeSet::new();
    for file in files {
        let mut here: BTreeMap<ObjectId, Vec<&Change>> = BTreeMap::new();
        for change in &file.changes {
            here.entry(change.object.clone()).or_default().push(change);
            all.entry(change.object.clone()).or_default().push(change);
            if seen.insert((&change.old, &change.new, &change.setter)) {
                flat.push(change_value(change));
            }
        }
        by_file.insert(Value::string(&file.path), by_object(&here));
    }
    Value::Struct(Struct::new(
        "update.ResultV2",
        [
            ("FileChanges", Value::Map(by_file)),
            ("Objects", by_object(&all)),
            ("Changes", Value::List(List::typed(change_type(), flat))),
        ],
    ))
}

fn by_object(objects: &BTreeMap<ObjectId, Vec<&Change>>) -> Value {
    let map = Map::typed(id_type(), Type::List(change_type().into()));
    for (object, changes) in objects {
        let changes = changes.iter().map(|change| change_value(change)).collect();
        map.insert(
            id_value(object),
            Value::List(List::typed(change_type(), changes)),
        );
    }
    Value::Map(map)
}

/// The older form: the images themselves, as text.
fn updated(files: &[EditedFile]) -> Value {
    let texts = |images: &BTreeSet<&str>| Value::string_list(images.iter());
    let list = Type::List(Type::String.into());
    let by_file = Map::typed(Type::String, objects_type(&Type::String));
    let all = Map::typed(id_type(), list.clone());
    let (mut every, mut of_object) = (
        BTreeSet::new(),
        BTreeMap::<&ObjectId, BTreeSet<&str>>::new(),
    );
    for file in files {
        let mut here: BTreeMap<&ObjectId, BTreeSet<&str>> = BTreeMap::new();
        for change in &file.changes {
            let new = change.new.as_str();
            here.entry(&change.object).or_default().insert(new);
            of_object.entry(&change.object).or_default().insert(new);
            every.insert(new);
        }
        let objects = Map::typed(id_type(), list.clone());
        for (object, images) in &here {
            objects.insert(id_value(object), texts(images));
        }
        by_file.insert(Value::string(&file.path), Value::Map(objects));
    }
    for (object, images) in &of_object {
        all.insert(id_value(object), texts(images));
    }
    Value::Struct(Struct::new(
        "update.Result",
        [
            ("Files", Value::Map(by_file)),
            ("Objects", Value::Map(all)),
            ("Images", texts(&every)),
        ],
    ))
}

fn id_type() -> Type {
    Type::Struct("update.ObjectIdentifier".into())
}

fn change_type() -> Type {
    Type::Struct("update.Change".into())
}

fn objects_type(element: &Type) -> Type {
    let list = Type::List(element.clone().into());
    Type::Map(id_type().into(), list.into())
}

fn id_value(object: &ObjectId) -> Value {
    Value::Struct(Struct::new(
        "update.ObjectIdentifier",
        [
            ("Name", Value::string(&object.name)),
            ("Namespace", Value::string(&object.namespace)),
            ("APIVersion", Value::string(&object.api_version)),
            ("Kind", Value::string(&object.kind)),
        ],
    ))
}

fn change_value(change: &Change) -> Value {
    Value::Struct(Struct::new(
        "update.Change",
        [
            ("OldValue", Value::string(&change.old)),
            ("NewValue", Value::string(&change.new)),
            ("Setter", Value::string(&change.setter)),
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_files() -> Vec<EditedFile> {
        let change = |name: &str, old: &str, new: &str| Change {
            object: ObjectId {
                api_version: "apps/v1".into(),
                kind: "Deployment".into(),
                namespace: "demo".into(),
                name: name.into(),
            },
            old: old.into(),
            new: new.into(),
            setter: "demo:app:tag".into(),
        };
        let file = |path: &str, changes| EditedFile {
            path: path.into(),
            content: String::new(),
            changes,
        };
        vec![
            file("a.yaml", vec![change("a", "1", "2"), change("b", "1", "2")]),
            file("b/b.yaml", vec![change("c", "0", "2")]),
        ]
    }

    fn rendered(text: &str) -> String {
        let template = match parse(text) {
            Ok(template) => template,
            Err(e) => return e,
        };
        let values = BTreeMap::from([("who".to_owned(), "ann".to_owned())]);
        let automation = Key::new("demo", "auto");
        render(Some(&template), &automation, &values, &mk_files()).unwrap_or_else(|e| e)
    }

    #[test]
    fn the_documented_values_are_there() {
        for (text, expected) in [
            ("{{ .AutomationObject }}", "demo/auto"),
            ("a {{- .AutomationObject -}} b", "ademo/autob"),
            (
                "{{ .AutomationObject.Name }}.{{ .AutomationObject.Namespace }}",
                "auto.demo",
            ),
            (
                "{{ range .Changed.Changes }}{{ .OldValue }}>{{ .NewValue }} {{ .Setter }};{{ end }}",
                "1>2 demo:app:tag;0>2 demo:app:tag;",
            ),
            (
                "{{ range $f, $o := .Changed.FileChanges }}{{ $f }}:{{ range $id, $c := $o }} {{ $id.Kind }}/{{ $id.Namespace }}/{{ $id.Name }} {{ len $c }}{{ end }};{{ end }}",
                "a.yaml: Deployment/demo/a 1 Deployment/demo/b 1;b/b.yaml: Deployment/demo/c 1;",
            ),
            (
                "{{ range $id, $c := .Changed.Objects }}{{ $id.APIVersion }} {{ $id.Name }} {{ range $c }}{{ .NewValue }}{{ end }};{{ end }}",
                "apps/v1 a 2;apps/v1 b 2;apps/v1 c 2;",
            ),
            (
                "{{ range .Updated.Images }}{{ . }}{{ end }} {{ range $f, $_ := .Updated.Files }}{{ $f }} {{ end }}{{ range $id, $_ := .Updated.Objects }}{{ $id.Name }}{{ end }}",
                "2 a.yaml b/b.yaml abc",
            ),
            ("{{ .Values.who }}{{ index .Values \"who\" }}", "annann"),
            ("{{ with .Values.none }}x{{ end }}", DEFAULT),
            ("  \n", DEFAULT),
        ] {
            assert_eq!(rendered(text), expected, "{text}");
        }
        let none = render(None, &Key::new("a", "b"), &BTreeMap::new(), &mk_files());
        assert_eq!(none.as_deref(), Ok(DEFAULT));
    }

    #[test]
    fn what_cannot_be_rendered_is_told() {
        assert!(rendered("{{ .Nope }}").contains("Nope"));
        assert!(rendered("{{ if }}").contains(NAME));
        assert!(rendered("{{ nosuch 1 }}").contains("nosuch"));
    }
}
