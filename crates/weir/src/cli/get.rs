//! Owns `weir get`: the objects Weir works on, one table a kind, or as JSON or YAML.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};
use weir_object::{Key, Kind, Object};
use weir_runtime::ApiClient;

use super::access::Access;
use super::output::{self, Output};
use super::table;

/// Options of `weir get`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// What to show: all, sources, kustomizations, images, canaries, or one kind
    #[arg(default_value = "all", value_parser = clap::builder::PossibleValuesParser::new(names()))]
    what: String,
    /// Only the object of this name
    name: Option<String>,
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Only objects with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "")]
    selector: String,
    /// Without the header line
    #[arg(long)]
    no_header: bool,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// A column: its title, and the cell of an object.
type Column = (&'static str, fn(&Object) -> String);

/// One kind that can be shown.
struct Shown {
    /// Names it goes by, the table's own first.
    names: &'static [&'static str],
    /// Groups that contain it.
    groups: &'static [&'static str],
    kind: &'static Kind,
    columns: &'static [Column],
}

const SUSPENDED: Column = ("SUSPENDED", suspended);
const READY: Column = ("READY", |o| ready(o).0);
const MESSAGE: Column = ("MESSAGE", |o| ready(o).1);

static SHOWN: [Shown; 7] = [
    Shown {
        names: &["gitrepositories", "gitrepository", "git"],
        groups: &["sources", "all"],
        kind: &weir_api::git_repository::KIND,
        columns: &[
            ("REVISION", |o| {
                o.text(&["status", "artifact", "revision"]).to_owned()
            }),
            SUSPENDED,
            READY,
            MESSAGE,
        ],
    },
    Shown {
        names: &["imagerepositories", "imagerepository"],
        groups: &["images", "all"],
        kind: &weir_api::image_repository::KIND,
        columns: &[
            ("LAST SCAN", |o| {
                o.text(&["status", "lastScanResult", "scanTime"]).to_owned()
            }),
            ("TAGS", |o| {
                text_of(o, &["status", "lastScanResult", "tagCount"])
            }),
            SUSPENDED,
            READY,
            MESSAGE,
        ],
    },
    Shown {
        names: &["imagepolicies", "imagepolicy"],
        groups: &["images", "all"],
        kind: &weir_api::image_policy::KIND,
        columns: &[
            ("IMAGE", |o| {
                o.text(&["status", "latestRef", "name"]).to_owned()
            }),
            ("TAG", |o| {
                o.text(&["status", "latestRef", "tag"]).to_owned()
            }),
            READY,
            MESSAGE,
        ],
    },
    Shown {
        names: &["imageupdateautomations", "imageupdateautomation"],
        groups: &["images", "all"],
        kind: &weir_api::image_update_automation::KIND,
        columns: &[
            ("LAST RUN", |o| {
                o.text(&["status", "lastAutomationRunTime"]).to_owned()
            }),
            SUSPENDED,
            READY,
            MESSAGE,
        ],
    },
    Shown {
        names: &["kustomizations", "kustomization", "ks"],
        groups: &["all"],
        kind: &weir_api::kustomization::KIND,
        columns: &[
            ("REVISION", |o| {
                o.text(&["status", "lastAppliedRevision"]).to_owned()
            }),
            SUSPENDED,
            READY,
            MESSAGE,
        ],
    },
    Shown {
        names: &["canaries", "canary"],
        groups: &["all"],
        kind: &weir_api::canary::KIND,
        columns: &[
            ("STATUS", |o| o.text(&["status", "phase"]).to_owned()),
            ("WEIGHT", |o| text_of(o, &["status", "canaryWeight"])),
            ("FAILED CHECKS", |o| text_of(o, &["status", "failedChecks"])),
            SUSPENDED,
            READY,
            MESSAGE,
        ],
    },
    Shown {
        names: &["metrictemplates", "metrictemplate"],
        groups: &[],
        kind: &weir_api::metric_template::KIND,
        columns: &[("PROVIDER", |o| {
            o.text(&["spec", "provider", "type"]).to_owned()
        })],
    },
];

fn names() -> Vec<&'static str> {
    let kinds = SHOWN.iter().flat_map(|s| s.names);
    kinds
        .chain(["all", "sources", "images"].iter())
        .copied()
        .collect()
}

/// Shows the objects.
pub(crate) async fn run(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    let (api, namespace) = access.api().await?;
    let within = (!options.all_namespaces).then_some(namespace.as_str());
    let what = options.what.as_str();
    let wanted: Vec<&Shown> = SHOWN
        .iter()
        .filter(|s| s.names.contains(&what) || s.groups.contains(&what))
        .collect();
    let several = wanted.len() > 1;
    let mut found: Vec<(&Shown, Vec<Object>)> = Vec::new();
    for shown in wanted {
        let objects = list(&api, shown.kind, within, &options).await;
        match objects {
            Ok(objects) => found.push((shown, objects)),
            // A group asked for whole leaves out what the cluster does not know.
            Err(failure) if several && failure.is_not_found() => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    let place = within.map_or("any namespace".to_owned(), |ns| format!("namespace `{ns}`"));
    if options.output != Output::Table {
        let items: Vec<&Value> = found
            .iter()
            .flat_map(|(_, objects)| objects)
            .map(|o| &o.0)
            .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        output::value(options.output, &list)?;
        return Ok(ExitCode::SUCCESS);
    }
    if found.iter().all(|(_, objects)| objects.is_empty()) {
        let what = if several { "objects" } else { what };
        match &options.name {
            Some(name) => bail!("`{name}` was not found among {what} in {place}"),
            None => bail!("no {what} were found in {place}"),
        }
    }
    let mut out = std::io::stdout().lock();
    for (shown, objects) in found.iter().filter(|(_, objects)| !objects.is_empty()) {
        let mut header = Vec::new();
        if options.all_namespaces {
            header.push("NAMESPACE");
        }
        header.push("NAME");
        header.extend(shown.columns.iter().map(|(name, _)| *name));
        let row = |object: &Object| {
            let mut row = Vec::new();
            if options.all_namespaces {
                row.push(object.namespace().to_owned());
            }
            let kind = shown.kind.kind.to_lowercase();
            let name = object.name();
            row.push(if several {
                format!("{kind}/{name}")
            } else {
                name.to_owned()
            });
            row.extend(shown.columns.iter().map(|(_, cell)| cell(object)));
            row
        };
        let rows: Vec<Vec<String>> = objects.iter().map(row).collect();
        let mut text = Vec::new();
        table::write(&mut text, &header, &rows)?;
        let start = if options.no_header {
            text.iter().position(|b| *b == b'\n').map_or(0, |i| i + 1)
        } else {
            0
        };
        out.write_all(&text[start..])?;
        if several {
            writeln!(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(
    api: &ApiClient,
    kind: &Kind,
    within: Option<&str>,
    options: &Options,
) -> Result<Vec<Object>, weir_runtime::ApiFailure> {
    match (&options.name, within) {
        (Some(name), Some(namespace)) => Ok(api
            .get(kind, &Key::new(namespace, name.as_str()))
            .await?
            .into_iter()
            .collect()),
        (name, within) => {
            let mut objects = api.list(kind, within, &options.selector).await?;
            objects.retain(|o| name.as_deref().is_none_or(|n| n == o.name()));
            Ok(objects)
        }
    }
}

fn suspended(object: &Object) -> String {
    let set = object
        .get(&["spec", "suspend"])
        .and_then(Value::as_bool)
        .unwrap_or_default();
    if set { "True" } else { "False" }.to_owned()
}

fn text_of(object: &Object, path: &[&str]) -> String {
    match object.get(path) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn ready(object: &Object) -> (String, String) {
    let conditions = object
        .get(&["status", "conditions"])
        .and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "Ready");
    match ready {
        Some(c) => {
            let text = |k: &str| c[k].as_str().unwrap_or_default().to_owned();
            (text("status"), text("message"))
        }
        None => ("False".to_owned(), "waiting to be reconciled".to_owned()),
    }
}
