//! Owns `weir canary`: what a Canary does and why, and what a person can ask of it. A request is an
//! annotation, so that a repository could set it as well; the controller takes it up.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};
use weir_api::canary::KIND;
use weir_api::names::ask;
use weir_canary::{View, annotation, views};
use weir_object::{Key, Object};
use weir_rollout::{Phase, Plan, Verb, explain};
use weir_runtime::{ApiClient, Write};

use super::access::Access;
use super::output::{self, Output};
use super::table;

/// Options of `weir canary`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show canaries, where they stand and what they wait for
    List(List),
    /// Tell what a canary does, what it waits for, what comes next and why the last run ended
    Explain(Explain),
    /// Let a run go past its current step, or start one that waits for approval
    Promote(Promote),
    /// Keep a run at its weight; checks go on, and a failing one still rolls back
    Pause(Named),
    /// Let a paused run go on
    Resume(Named),
    /// End a run and give traffic back
    Abort(Named),
    /// Analyse the revision that failed again
    Retry(Named),
    /// Go back to the revision that was promoted before the current one
    Rollback(Named),
    /// Say, Canary by Canary, what taking over from another controller will do
    MigrateCheck(List),
}

#[derive(Args, Clone, Debug)]
struct List {
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args, Clone, Debug)]
struct Explain {
    /// The Canary
    name: String,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args, Clone, Debug)]
struct Promote {
    #[command(flatten)]
    named: Named,
    /// End the analysis here and promote the revision
    #[arg(long)]
    full: bool,
}

#[derive(Args, Clone, Debug)]
struct Named {
    /// The Canary
    name: String,
    /// How long to wait until the request is taken up; 0 is not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

/// Runs the command.
pub(crate) async fn run(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    match options.command {
        Command::List(options) => list(access, &options).await,
        Command::Explain(options) => tell(access, &options).await,
        Command::Promote(options) => {
            let verb = if options.full {
                Verb::PromoteFull
            } else {
                Verb::Promote
            };
            request(access, verb, &options.named).await
        }
        Command::Pause(named) => request(access, Verb::Pause, &named).await,
        Command::Resume(named) => request(access, Verb::Resume, &named).await,
        Command::Abort(named) => request(access, Verb::Abort, &named).await,
        Command::Retry(named) => request(access, Verb::Retry, &named).await,
        Command::Rollback(named) => request(access, Verb::Rollback, &named).await,
        Command::MigrateCheck(options) => migrate_check(access, &options).await,
    }
}

async fn see(api: &ApiClient, namespace: Option<&str>) -> anyhow::Result<Vec<View>> {
    views(
        api,
        &weir_canary::Options::default(),
        namespace,
        Timestamp::now(),
    )
    .await
    .context("the Canaries and what belongs to them can't be read")
}

async fn list(access: &Access, options: &List) -> anyhow::Result<ExitCode> {
    let (api, namespace) = access.api().await?;
    let within = (!options.all_namespaces).then_some(namespace.as_str());
    let views = see(&api, within).await?;
    if options.output != Output::Table {
        let items: Vec<&Value> = views.iter().map(|v| &v.canary.0).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        output::value(options.output, &list)?;
        return Ok(ExitCode::SUCCESS);
    }
    if views.is_empty() {
        bail!("no canaries were found{}", place(within));
    }
    let rows: Vec<Vec<String>> = views
        .iter()
        .map(|view| {
            let text = |at: &[&str]| view.canary.text(at).to_owned();
            let number = |at: &[&str]| {
                view.canary
                    .get(at)
                    .map(Value::to_string)
                    .unwrap_or_default()
            };
            vec![
                view.canary.namespace().to_owned(),
                view.canary.name().to_owned(),
                text(&["status", "phase"]),
                number(&["status", "canaryWeight"]),
                number(&["status", "failedChecks"]),
                waits(view),
            ]
        })
        .collect();
    let header = [
        "NAMESPACE",
        "NAME",
        "STATUS",
        "WEIGHT",
        "FAILED",
        "WAITS FOR",
    ];
    table::write(&mut std::io::stdout().lock(), &header, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn place(within: Option<&str>) -> String {
    within.map_or_else(String::new, |ns| {
        format!(" in namespace `{ns}`; -A looks in all")
    })
}

/// What a Canary waits for, in a few words.
fn waits(view: &View) -> String {
    match &view.decided {
        Err(unreadable) => unreadable.clone(),
        Ok((_, Plan::Hold { waiting_for, .. })) => waiting_for.clone(),
        Ok((_, Plan::Wait { why, .. })) => why.clone(),
        Ok((_, Plan::Refuse { message, .. })) => message.clone(),
        Ok((_, Plan::Rest { .. })) => "a new revision".to_owned(),
        Ok(_) => "the controller".to_owned(),
    }
}

async fn tell(access: &Access, options: &Explain) -> anyhow::Result<ExitCode> {
    let (api, namespace) = access.api().await?;
    let views = see(&api, Some(&namespace)).await?;
    let view = views
        .iter()
        .find(|v| v.canary.name() == options.name)
        .with_context(|| missing(&options.name, &namespace))?;
    let (o, plan) = match &view.decided {
        Ok(decided) => decided,
        Err(unreadable) => bail!(
            "Canary {namespace}/{} can't be read: {unreadable}",
            options.name
        ),
    };
    let sentences = explain(o, plan);
    if options.output != Output::Table {
        let value = json!({
            "name": options.name,
            "namespace": namespace,
            "says": sentences,
            "plan": plan,
            "history": o.state.as_ref().map(|s| &s.history),
        });
        output::value(options.output, &value)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    for sentence in sentences {
        writeln!(out, "{sentence}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn missing(name: &str, namespace: &str) -> String {
    format!("there is no Canary `{name}` in namespace `{namespace}`; -n names another")
}

/// Asks for something, and waits until it was taken up.
async fn request(access: &Access, verb: Verb, named: &Named) -> anyhow::Result<ExitCode> {
    let (api, namespace) = access.api().await?;
    let key = Key::new(namespace.as_str(), named.name.as_str());
    let canary = api
        .get(&KIND, &key)
        .await?
        .with_context(|| missing(&named.name, &namespace))?;
    let now = Timestamp::now();
    let token = now.to_string();
    let mut annotations = json!({annotation(verb): token});
    // The policy in front of the API holds this to the truth; without one it is a courtesy.
    if let Some(by) = whoami(&api).await {
        annotations[ask::BY] = by.into();
    }
    let patch = json!({"metadata": {
        "resourceVersion": canary.resource_version(), "annotations": annotations,
    }});
    api.write(&KIND, &key, Write::Merge(patch)).await?;
    let mut out = std::io::stdout().lock();
    if named.wait == 0 {
        writeln!(out, "asked for {} of {key}", verb.as_str())?;
        return Ok(ExitCode::SUCCESS);
    }
    let end = tokio::time::Instant::now() + Duration::from_secs(named.wait);
    while tokio::time::Instant::now() < end {
        let seen = api.get(&KIND, &key).await?;
        if let Some(outcome) = seen.as_ref().and_then(|c| outcome(c, verb, &token)) {
            writeln!(out, "{} of {key}: {outcome}", verb.as_str())?;
            return Ok(
                if outcome.starts_with("there was nothing") || outcome.starts_with("no ") {
                    ExitCode::FAILURE
                } else {
                    ExitCode::SUCCESS
                },
            );
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    bail!(
        "{} of {key} was asked for and not taken up within {} s: is Weir running, and is the Canary \
         neither suspended nor refused? `weir canary explain {}` tells more",
        verb.as_str(),
        named.wait,
        named.name
    );
}

fn outcome(canary: &Object, verb: Verb, token: &str) -> Option<String> {
    let verb = serde_json::to_value(verb).ok()?;
    let handled = canary.get(&["status", "requests"])?.as_array()?;
    handled
        .iter()
        .find(|h| h["verb"] == verb && h["token"] == token)
        .map(|h| h["outcome"].as_str().unwrap_or_default().to_owned())
}

/// The name the API server knows us by.
async fn whoami(api: &ApiClient) -> Option<String> {
    let review = Object(json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
    }));
    let kind = weir_object::Kind::cluster(
        "authentication.k8s.io",
        "v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
    );
    let reply = api
        .write(&kind, &Key::new("", ""), Write::Create(review))
        .await
        .ok()?;
    let name = reply.text(&["status", "userInfo", "username"]);
    (!name.is_empty()).then(|| name.to_owned())
}

/// What taking over will do, by the same decision that will do it.
async fn migrate_check(access: &Access, options: &List) -> anyhow::Result<ExitCode> {
    let (api, namespace) = access.api().await?;
    let within = (!options.all_namespaces).then_some(namespace.as_str());
    let views = see(&api, within).await?;
    if views.is_empty() {
        bail!("no canaries were found{}", place(within));
    }
    let verdicts: Vec<(String, String, String)> = views
        .iter()
        .map(|view| {
            let (does, why) = takes_over(view);
            (view.canary.key().to_string(), does.to_owned(), why)
        })
        .collect();
    if options.output == Output::Table {
        let rows: Vec<Vec<String>> = verdicts
            .iter()
            .map(|(canary, does, why)| vec![canary.clone(), does.clone(), why.clone()])
            .collect();
        let header = ["CANARY", "WEIR WILL", "BECAUSE"];
        table::write(&mut std::io::stdout().lock(), &header, &rows)?;
    } else {
        let items: Vec<Value> = verdicts
            .iter()
            .map(|(canary, does, why)| json!({"canary": canary, "does": does, "why": why}))
            .collect();
        output::value(options.output, &Value::Array(items))?;
    }
    let refused = verdicts.iter().any(|(_, does, _)| does == "refuse");
    Ok(if refused {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn takes_over(view: &View) -> (&'static str, String) {
    let (o, plan) = match &view.decided {
        Ok(decided) => decided,
        Err(unreadable) => return ("refuse", unreadable.clone()),
    };
    if let Some(refusal) = &o.refusal {
        return (
            "refuse",
            format!("`{}`: {}", refusal.field, refusal.message),
        );
    }
    if let Plan::Refuse { field, message, .. } = plan {
        return ("refuse", format!("`{field}`: {message}"));
    }
    let Some(target) = &o.target else {
        return ("wait", "the target does not exist".to_owned());
    };
    let Some(primary) = &o.primary else {
        return (
            "initialise",
            "there is no primary; it is made from the target, which serves meanwhile".to_owned(),
        );
    };
    let phase = o.state.as_ref().map_or(Phase::New, |s| s.phase);
    if primary.baseline.id == target.revision.id {
        return (
            "adopt",
            "the primary runs what the target asks for; nothing is rolled".to_owned(),
        );
    }
    match phase {
        Phase::Failed => (
            "hold",
            "the target's revision failed; it stays out until Git changes".to_owned(),
        ),
        Phase::Progressing | Phase::Waiting | Phase::WaitingPromotion => (
            "analyse again",
            "a run is under way; its traffic goes back to the primary and it starts anew"
                .to_owned(),
        ),
        Phase::Promoting | Phase::Finalising => (
            "finish",
            "a promotion is under way; let the other controller end it first".to_owned(),
        ),
        _ => (
            "analyse",
            "the target differs from the primary, which is the baseline".to_owned(),
        ),
    }
}
