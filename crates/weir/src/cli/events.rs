//! Owns `weir events`: what happened to the objects Weir works on, oldest first.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use weir_object::Object;
use weir_runtime::kinds::EVENT;

use super::access::Access;
use super::output::{self, Output};
use super::table;

/// Options of `weir events`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Only about this object or kind, as Kind/name or Kind
    #[arg(long = "for", value_name = "KIND[/NAME]")]
    about: Option<String>,
    /// Only events of these types
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "TYPES",
        default_value = "Normal,Warning"
    )]
    types: Vec<String>,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// The groups whose objects are shown.
const GROUPS: [&str; 2] = ["flagger.app", ".toolkit.fluxcd.io"];

/// Shows the events.
pub(crate) async fn run(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    let (api, namespace) = access.api().await?;
    let within = (!options.all_namespaces).then_some(namespace.as_str());
    let mut events = api.list(&EVENT, within, "").await?;
    events.retain(|e| concerns(e, &options));
    events.sort_by_key(|e| {
        (
            e.text(&["lastTimestamp"]).to_owned(),
            e.resource_version().parse().unwrap_or(0_u64),
        )
    });
    if options.output != Output::Table {
        let items: Vec<&Value> = events.iter().map(|e| &e.0).collect();
        output::value(
            options.output,
            &json!({"apiVersion": "v1", "kind": "List", "items": items}),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    if events.is_empty() {
        let place = within.map_or("any namespace".to_owned(), |ns| format!("namespace `{ns}`"));
        bail!("no events were found in {place}");
    }
    let now = Timestamp::now();
    let rows: Vec<Vec<String>> = events
        .iter()
        .map(|e| {
            let last: Option<Timestamp> = e.text(&["lastTimestamp"]).parse().ok();
            let age = last.map_or(String::new(), |t| {
                table::age(now.duration_since(t).as_secs())
            });
            let about = |k: &str| e.text(&["involvedObject", k]).to_owned();
            let mut row = vec![
                age,
                e.text(&["type"]).to_owned(),
                e.text(&["reason"]).to_owned(),
                format!("{}/{}", about("kind"), about("name")),
                e.text(&["message"]).to_owned(),
            ];
            if options.all_namespaces {
                row.insert(0, e.namespace().to_owned());
            }
            row
        })
        .collect();
    let mut header = vec!["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
    if options.all_namespaces {
        header.insert(0, "NAMESPACE");
    }
    table::write(&mut std::io::stdout().lock(), &header, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn concerns(event: &Object, options: &Options) -> bool {
    let about = |k: &str| event.text(&["involvedObject", k]);
    let (group, _) = weir_object::split_api_version(about("apiVersion"));
    let ours = GROUPS
        .iter()
        .any(|g| group == *g || (g.starts_with('.') && group.ends_with(g)));
    let wanted = match options
        .about
        .as_deref()
        .map(|a| a.split_once('/').unwrap_or((a, "")))
    {
        None => true,
        Some((kind, name)) => {
            kind.eq_ignore_ascii_case(about("kind")) && (name.is_empty() || name == about("name"))
        }
    };
    ours && wanted
        && options
            .types
            .iter()
            .any(|t| t.eq_ignore_ascii_case(event.text(&["type"])))
}
