//! Owns the words in which requests are written: files of sessions, sessions of steps. It refuses
//! to send anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Templates by name.
pub(crate) type Templates = BTreeMap<String, Value>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    define: Templates,
    #[serde(default)]
    sessions: Vec<SessionText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionText {
    name: String,
    steps: Vec<Words>,
}

/// Steps that build on each other, in a namespace of their own.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// `file/name`.
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) templates: Arc<Templates>,
}

/// What may be said of a step.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Words {
    /// Method and path.
    pub(crate) r#do: Option<String>,
    /// Defines a custom resource from a template and waits until it is served.
    pub(crate) crd: Option<String>,
    /// One step for each of these changes to the body.
    pub(crate) each: Option<Vec<Map<String, Value>>>,
    pub(crate) id: Option<String>,
    /// Media type of the body, or its short name.
    pub(crate) r#type: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) r#as: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) bearer: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<Value>,
    /// The body's text as it is: pieces, some of them repeated.
    pub(crate) raw: Option<Raw>,
    /// The body as base64.
    pub(crate) base64: Option<String>,
    /// The body is this template.
    pub(crate) make: Option<String>,
    /// Changes to the body, by JSON pointer.
    pub(crate) set: Map<String, Value>,
    /// What is taken out of the body, by JSON pointer.
    pub(crate) drop: Vec<String>,
    pub(crate) save: Option<String>,
    /// Ask again until these hold: values by JSON pointer into the body, and `code`.
    pub(crate) until: Option<Map<String, Value>>,
    /// Compare these parts of the body only.
    pub(crate) show: Vec<String>,
    /// Compare all but these parts of the body.
    pub(crate) hide: Vec<String>,
    pub(crate) watch: Option<Watch>,
    /// The answers are not compared.
    pub(crate) quiet: bool,
    /// Controllers act on what is answered, in their own time; what they wrote is not compared.
    pub(crate) controlled: bool,
    /// The order of the body's items is of no meaning.
    pub(crate) unordered: bool,
}

/// A body's text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Raw {
    /// As it is.
    Text(String),
    /// In pieces.
    Pieces(Vec<Piece>),
}

/// A piece of text, some times.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Piece {
    text: String,
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

impl Raw {
    /// The whole text.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Pieces(pieces) => pieces.iter().map(|p| p.text.repeat(p.times)).collect(),
        }
    }
}

/// How a stream is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Watch {
    /// Events to wait for; without it, the stream's end.
    pub(crate) events: Option<usize>,
    /// Opens it and goes on; a later step of the same name with `events` reads it.
    pub(crate) start: Option<String>,
    pub(crate) collect: Option<String>,
    /// Compares the order of events per object.
    pub(crate) by_object: bool,
    /// Leaves bookmarks out.
    pub(crate) no_bookmarks: bool,
}

/// One request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    /// Its number from 1, or its given name.
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) words: Words,
}

/// Reads all files of a folder and its folders, in order of their names.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Vec<Session>> {
    let mut files = Vec::new();
    find(folder, &mut files)?;
    files.sort();
    let mut shared = definitions();
    let mut parsed = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path)?;
        let value = weir_yaml::from_str(&text).with_context(|| path.display().to_string())?;
        let file: File = serde_path_to_error::deserialize(value)
            .map_err(|e| anyhow!("{}: {e}", path.display()))?;
        let name = path.strip_prefix(folder)?.with_extension("");
        let name = name.to_string_lossy().into_owned();
        if name.starts_with('_') {
            shared.extend(file.define);
        } else {
            parsed.push((name, file));
        }
    }
    let mut out = Vec::new();
    for (file_name, file) in parsed {
        let mut templates = shared.clone();
        templates.extend(file.define);
        let templates = Arc::new(templates);
        for session in file.sessions {
            let name = format!("{file_name}/{}", session.name);
            let steps = steps(session.steps, &templates).with_context(|| name.clone())?;
            out.push(Session {
                name,
                steps,
                templates: templates.clone(),
            });
        }
    }
    Ok(out)
}

/// The definitions of Weir's own kinds and of the Gateway API, by their names.
pub(crate) fn definitions() -> Templates {
    let all = weir_api::crds().into_iter().chain(weir_api::gateway_crds());
    all.filter_map(|definition| {
        let name = definition.pointer("/metadata/name")?.as_str()?.to_owned();
        Some((name, definition))
    })
    .collect()
}

fn find(folder: &Path, out: &mut Vec<std::path::PathBuf>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "json") {
            out.push(path);
        }
    }
    Ok(())
}

fn steps(texts: Vec<Words>, templates: &Templates) -> anyhow::Result<Vec<Step>> {
    let mut out: Vec<Step> = Vec::new();
    for mut words in texts {
        let number = out.len() + 1;
        if let Some(crd) = words.crd.take() {
            out.extend(definition(&crd, number, words, templates)?);
            continue;
        }
        let line = words.r#do.take().unwrap_or_default();
        let each = words.each.take();
        let (method, path) = line.split_once(' ').unwrap_or((&line, ""));
        if path.is_empty() && words.watch.as_ref().is_none_or(|w| w.collect.is_none()) {
            bail!("step {number} says `do: {line}`; say a method and a path");
        }
        let step = Step {
            id: words.id.clone().unwrap_or_else(|| number.to_string()),
            method: method.to_owned(),
            path: full(path),
            words,
        };
        match each {
            None => out.push(step),
            Some(each) => {
                for set in each {
                    let mut one = step.clone();
                    one.id = (out.len() + 1).to_string();
                    one.words.set.extend(set);
                    out.push(one);
                }
            }
        }
    }
    Ok(out)
}

/// `@configmaps/x` is `/api/v1/namespaces/${ns}/configmaps/x`; `@apps/v1/deployments` alike.
fn full(path: &str) -> String {
    let Some(short) = path.strip_prefix('@') else {
        return path.to_owned();
    };
    let mut words = short.splitn(3, '/');
    let (group, version, rest) = (words.next(), words.next(), words.next());
    let grouped = version.is_some_and(|v| {
        v.strip_prefix('v')
            .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
    });
    match (group, version, rest) {
        (Some(group), Some(version), Some(rest)) if grouped => {
            format!("/apis/{group}/{version}/namespaces/${{ns}}/{rest}")
        }
        _ => format!("/api/v1/namespaces/${{ns}}/{short}"),
    }
}

/// Creates a definition, and waits until both it and its objects answer.
fn definition(
    name: &str,
    number: usize,
    words: Words,
    templates: &Templates,
) -> anyhow::Result<Vec<Step>> {
    let template = templates
        .get(name)
        .with_context(|| format!("there is no template {name}"))?;
    let text = |pointer: &str| {
        let found = template.pointer(pointer).and_then(Value::as_str);
        found.with_context(|| format!("the template {name} has no {pointer}"))
    };
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (plural, group) = (text("/spec/names/plural")?, text("/spec/group")?);
    let wait = |id: usize, path: String, until: Value| Step {
        id: id.to_string(),
        method: "GET".to_owned(),
        path,
        words: Words {
            quiet: true,
            until: until.as_object().cloned(),
            ..Words::default()
        },
    };
    let mut create = Step {
        id: number.to_string(),
        method: "POST".to_owned(),
        path: definitions.to_owned(),
        words,
    };
    create.words.make = Some(name.to_owned());
    // Conditions come when they come.
    create.words.hide.push("/status".to_owned());
    let mut out = vec![
        create,
        wait(
            number + 1,
            format!("{definitions}/{plural}.{group}"),
            json!({"/status/conditions/1/status": "True"}),
        ),
    ];
    let versions = template.pointer("/spec/versions").and_then(Value::as_array);
    for version in versions.into_iter().flatten() {
        if version.get("served") == Some(&Value::Bool(true)) {
            let version = version.get("name").and_then(Value::as_str).unwrap_or("v1");
            out.push(wait(
                number + out.len(),
                format!("/apis/{group}/{version}/{plural}"),
                json!({"code": 200}),
            ));
        }
    }
    Ok(out)
}
