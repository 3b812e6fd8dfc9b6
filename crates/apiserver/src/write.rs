//! Owns the seam to the merge rules: how a patch becomes an object, and who owns its fields then.
//! It refuses storage and validation.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use weir_merge::FieldSet;
use weir_merge::managed::{self, ApplyFailure, Writer};
use weir_object::path;

use crate::call::{Call, Part, stamp};
use crate::refusal::{Cause, Refusal};
use crate::registry::Resource;
use crate::typed::{self, From, Parsed, Unreadable};

/// The kinds of patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// A patch that was applied, as far as refusals of its outcome tell of it.
#[derive(Clone, Debug)]
pub(crate) struct Patched {
    pub(crate) live: Arc<Value>,
    pub(crate) kind: PatchKind,
    pub(crate) body: Arc<Value>,
    /// What strict reading of the patch itself complains of.
    pub(crate) complaints: Vec<String>,
}

impl Patched {
    pub(crate) fn from(&self) -> From {
        match self.kind {
            PatchKind::Strategic => From::Map,
            _ => From::Text,
        }
    }

    /// Says that the outcome cannot be read.
    pub(crate) fn refuse(&self, resource: &Resource, why: &str) -> Refusal {
        let shown = match self.kind {
            PatchKind::Strategic => weir_merge::go::printed(&self.body, false),
            kind => match patched(resource, &in_order(&self.live), kind, &self.body) {
                Ok(mut outcome) => {
                    if resource.custom.is_some() {
                        // It is a map throughout.
                        outcome.sort_all_objects();
                    } else {
                        sort_touched(&mut outcome, kind, &self.body);
                    }
                    outcome.to_string()
                }
                Err(refusal) => return refusal,
            },
        };
        Refusal::Invalid {
            group: String::new(),
            kind: String::new(),
            name: String::new(),
            causes: vec![Cause::invalid("patch", &shown.into(), why)],
        }
    }
}

/// The object with its version where the server's own type has it.
fn in_order(live: &Value) -> Value {
    let mut out = live.clone();
    let Some(Value::Object(meta)) = out.get_mut("metadata") else {
        return out;
    };
    let version = meta.shift_remove("resourceVersion");
    let at = meta.keys().position(|key| key == "uid");
    if let Some(version) = version {
        let at = at.map_or(meta.len(), |at| at + 1);
        meta.shift_insert(at, "resourceVersion".to_owned(), version);
    }
    out
}

/// Patching sorts the members of the maps it reads.
fn sort_touched(outcome: &mut Value, kind: PatchKind, patch: &Value) {
    fn merged(outcome: &mut Value, patch: &Value) {
        let (Value::Object(map), Value::Object(patch)) = (outcome, patch) else {
            return;
        };
        map.sort_keys();
        for (key, patch) in patch {
            if let Some(member) = map.get_mut(key) {
                merged(member, patch);
            }
        }
    }
    if kind != PatchKind::Json {
        merged(outcome, patch);
        return;
    }
    for operation in patch.as_array().into_iter().flatten() {
        let mut at = Some(&mut *outcome);
        let steps = path::text(operation, &["path"]).to_owned();
        let mut steps = steps.split('/').skip(1).peekable();
        while let Some(value) = at.take() {
            if let Value::Object(map) = value {
                map.sort_keys();
            }
            let step = steps.next().filter(|_| steps.peek().is_some());
            at = step.and_then(|step| {
                let step = step.replace("~1", "/").replace("~0", "~");
                match value {
                    Value::Object(map) => map.get_mut(&step),
                    Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
                    _ => None,
                }
            });
        }
    }
}

/// The most operations of one JSON patch.
const MAX_OPERATIONS: usize = 10_000;

static NOTHING: LazyLock<FieldSet> = LazyLock::new(FieldSet::default);
static STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["status"]]));
static BUT_STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["spec"]]));

fn ignored(resource: &Resource, part: Part) -> &'static FieldSet {
    match part {
        Part::Whole if resource.status => &STATUS,
        Part::Status => &BUT_STATUS,
        _ => &NOTHING,
    }
}

/// Applies a JSON, merge or strategic patch.
pub(crate) fn patched(
    resource: &Resource,
    live: &Value,
    kind: PatchKind,
    patch: &Value,
) -> Result<Value, Refusal> {
    match kind {
        PatchKind::Json => {
            let operations = patch.as_array().map_or(0, Vec::len);
            if operations > MAX_OPERATIONS {
                return Err(Refusal::TooMuch(format!(
                    "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got \
                     {operations}"
                )));
            }
            weir_merge::json_patch(live, patch).map_err(|failure| match failure {
                weir_merge::PatchFailure::Unreadable { .. } => {
                    Refusal::BadRequest(format!("error decoding patch: {failure}"))
                }
                // Which operation it was, the API server keeps to itself.
                weir_merge::PatchFailure::Operation { .. } => Refusal::Unprocessable,
            })
        }
        PatchKind::Strategic if resource.custom.is_none() => {
            weir_merge::strategic::merge_patch(live, patch, &resource.typing).map_err(|failure| {
                if failure == weir_merge::strategic::StrategicFailure::ListOfLists {
                    Refusal::Unprocessable
                } else if failure.is_malformed() {
                    Refusal::BadRequest(failure.to_string())
                } else {
                    Refusal::Failed(failure.to_string())
                }
            })
        }
        PatchKind::Strategic => Err(Refusal::UnsupportedMediaType {
            accepted: "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        }),
        PatchKind::Merge | PatchKind::Apply => {
            let mut out = live.clone();
            weir_merge::json_merge(&mut out, patch);
            if resource.is("apps", "ControllerRevision") {
                // Its data is kept as it was written.
                sort_touched(&mut out, kind, patch);
            }
            Ok(out)
        }
    }
}

/// Applies a configuration and answers the object with its managed fields.
pub(crate) fn applied(
    resource: &Resource,
    live: Option<&Value>,
    config: &Value,
    // The namespace and name that the configuration was sent with.
    sent: (&str, &str),
    part: Part,
    call: &Call,
) -> Result<Value, Refusal> {
    let now = stamp(call.now);
    let writer = Writer {
        manager: &call.manager,
        api_version: &resource.api_version,
        subresource: part.name(),
        now: &now,
        ignored: ignored(resource, part),
        versions: &resource.versions,
    };
    // A role without rules says null, which nobody owns.
    let empty = |live: &&Value| live.get("rules").is_some_and(Value::is_null);
    let bare = live.filter(empty).map(|live| {
        let mut live = live.clone();
        path::remove(&mut live, &["rules"]);
        live
    });
    let live = if resource.custom.is_none() {
        bare.as_ref().or(live)
    } else {
        live
    };
    managed::apply(live, config, &resource.typing, &writer, call.force).map_err(|failure| {
        let message = failure.to_string();
        match failure {
            ApplyFailure::Conflicts(conflicts) => Refusal::ApplyConflict {
                message,
                causes: conflicts
                    .0
                    .into_iter()
                    .map(|conflict| Cause {
                        reason: "FieldManagerConflict",
                        message: format!("conflict with {}", conflict.manager),
                        field: conflict.field,
                    })
                    .collect(),
            },
            ApplyFailure::Invalid { .. } => Refusal::Failed(format!(
                "failed to create typed patch object ({}/{}; {}, Kind={}): {message}",
                sent.0,
                sent.1,
                gvk(resource).0,
                resource.kind.kind,
            )),
            ApplyFailure::Failed(_) => Refusal::Failed(message),
            _ => Refusal::BadRequest(message),
        }
    })
}

/// A resource's version and kind as Go prints them: the core group is empty.
fn gvk(resource: &Resource) -> (String, &str) {
    let kind = &resource.kind;
    (format!("{}/{}", kind.group, kind.version), &kind.kind)
}

/// Records who owns what a write changed, and answers the object with its managed fields.
pub(crate) fn tracked(
    resource: &Resource,
    live: Option<&Value>,
    new: Value,
    part: Part,
    call: &Call,
) -> Value {
    let now = stamp(call.now);
    let writer = Writer {
        manager: &call.manager,
        api_version: &resource.api_version,
        subresource: part.name(),
        now: &now,
        ignored: ignored(resource, part),
        versions: &resource.versions,
    };
    // What an empty object of a built-in kind has is nobody's.
    let empty = live.is_none().then(|| crate::admit::empty(resource));
    managed::update(live.or(empty.as_ref()), new, &resource.typing, &writer)
}

/// Fills the defaults of built-in kinds.
pub(crate) fn builtin_defaults(object: &mut Value) {
    weir_schema::defaults::apply(object);
}

/// Reads a YAML or JSON body.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Parsed, Unreadable> {
    // JSON is YAML, and far quicker to read as itself.
    if let Ok(parsed) = typed::parse(bytes) {
        return Ok(parsed);
    }
    let unreadable = |why: String| Unreadable {
        why,
        summary: typed::summary(bytes),
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|_| unreadable("yaml: invalid leading UTF-8 octet".to_owned()))?;
    let mut value: Value =
        weir_yaml::from_str(text).map_err(|fault| unreadable(words_of(text, &fault)))?;
    if value.is_null() {
        value = Value::Object(serde_json::Map::new());
    }
    Ok(Parsed {
        value,
        doubled: Vec::new(),
        repeated: repeated(text),
        summary: typed::summary(bytes),
    })
}

/// What is wrong with YAML; in the words of the API's own reader where they are known.
fn words_of(text: &str, fault: &weir_yaml::YamlError) -> String {
    let weir_yaml::YamlError::Cycle { at } = fault else {
        return fault.to_string();
    };
    let line = text.lines().nth(at.line.saturating_sub(1));
    let alias = line.unwrap_or_default().chars().skip(at.column);
    let name: String = alias
        .take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    format!("yaml: anchor '{name}' value contains itself")
}

/// What the API says of keys that a YAML document sets twice, inner mappings first.
fn repeated(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    // What follows the first document is not looked at, nor what is wrong there.
    let first = weir_yaml::parse(text)
        .ok()
        .and_then(|all| all.into_iter().next());
    if let Some(first) = first {
        repeated_below(&first.root, &mut out);
    }
    out
}

fn repeated_below(node: &weir_yaml::Node, out: &mut Vec<String>) {
    match &node.content {
        weir_yaml::Content::Sequence { items, .. } => {
            for item in items {
                repeated_below(item, out);
            }
        }
        weir_yaml::Content::Mapping { entries, .. } => {
            let mut seen = std::collections::HashSet::new();
            for entry in entries {
                repeated_below(&entry.value, out);
                let Some((text, style)) = entry.key.scalar() else {
                    continue;
                };
                let number =
                    matches!(style, weir_yaml::Style::Plain) && text.parse::<i64>().is_ok();
                if !seen.insert((text, number)) {
                    let line = entry.value.place.line;
                    let key = if number {
                        text.to_owned()
                    } else {
                        Value::from(text).to_string()
                    };
                    out.push(format!("line {line}: key {key} already set in map"));
                }
            }
        }
        _ => {}
    }
}
