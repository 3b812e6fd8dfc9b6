//! Owns random sequences of writes by several managers, played to both servers step by step until
//! they differ. A sequence that differs is cut down to the steps that matter.

mod dice;
mod objects;
mod sequence;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::compare::{Difference, differences};
use crate::normal::Normal;
use crate::replay::Pair;
use crate::report::{Report, say};
use crate::run::{self, Place};
use crate::session::{Session, Step};
use crate::target::{Request, Target};

/// How many namespaces the sequences share.
const NAMESPACES: u64 = 8;
/// How many differing sequences are cut down; one finding often shows in many.
const CUT: usize = 6;

/// Plays sequences `from..from + count`.
pub(crate) async fn generate(
    pair: &Pair,
    seed: u64,
    from: u64,
    count: u64,
    jobs: usize,
    report: &Arc<Report>,
) -> anyhow::Result<()> {
    let group = format!("{}.weir.test", pair.prefix);
    let (ours, real) = tokio::try_join!(
        prepare(&pair.ours, &pair.prefix, &group),
        prepare(&pair.real, &pair.prefix, &group)
    )?;
    let stage = Arc::new(Stage {
        group: group.clone(),
        ours,
        real,
    });
    let permits = Arc::new(Semaphore::new(jobs));
    let mut running = JoinSet::new();
    let mut differing = Vec::new();
    let mut requests = 0;
    for number in from..from + count {
        let permit = permits.clone().acquire_owned().await?;
        let (pair, report, stage) = (pair.clone(), report.clone(), stage.clone());
        running.spawn(async move {
            let places = stage.places(&pair, number, "");
            let found = one(&pair, seed, number, &places, &report).await;
            drop(permit);
            found
        });
        while let Some(ended) = running.try_join_next() {
            let (count, found) = ended??;
            requests += count;
            differing.extend(found);
        }
    }
    while let Some(ended) = running.join_next().await {
        let (count, found) = ended??;
        requests += count;
        differing.extend(found);
    }
    differing.sort_unstable();
    for number in differing.into_iter().take(CUT) {
        cut(pair, &stage, seed, number).await?;
    }
    say(&format!(
        "{requests} requests of {count} sequences (seed {seed}) were compared"
    ));
    clean(&pair.real, &pair.prefix, &group).await;
    Ok(())
}

/// The objects that others name as owners, by namespace: names and bodies.
type Owners = Vec<Vec<(String, Value)>>;

/// Where all sequences play.
struct Stage {
    group: String,
    ours: Owners,
    real: Owners,
}

/// Where one sequence plays, on each server.
struct Places {
    ours: Place,
    real: Place,
}

impl Stage {
    fn places(&self, pair: &Pair, number: u64, again: &str) -> Places {
        let place = |owners: &Owners| {
            let mut values = vec![
                ("group".to_owned(), self.group.clone().into()),
                ("name".to_owned(), format!("s{number}{again}").into()),
            ];
            let space = number % NAMESPACES;
            values.extend(owners.get(space as usize).cloned().unwrap_or_default());
            Place {
                namespace: format!("{}-g{space}", pair.prefix),
                values,
            }
        };
        Places {
            ours: place(&self.ours),
            real: place(&self.real),
        }
    }
}

async fn prepare(target: &Target, prefix: &str, group: &str) -> anyhow::Result<Owners> {
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let body = objects::definition(group).to_string();
    let made = target
        .send(&Request::new("POST", definitions, body))
        .await?;
    anyhow::ensure!(made.code == 201, "the definition: {}", made.json());
    let mut owners = Vec::new();
    for number in 0..NAMESPACES {
        let space = format!("{prefix}-g{number}");
        run::namespace(target, &space).await?;
        let mut of_one = Vec::new();
        for name in ["owner-one", "owner-two"] {
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            let path = format!("/api/v1/namespaces/{space}/configmaps");
            let made = target
                .send(&Request::new("POST", path, body.to_string()))
                .await?;
            of_one.push((name.to_owned(), made.json()));
        }
        owners.push(of_one);
    }
    for version in ["v1", "v1beta1"] {
        let path = format!("/apis/{group}/{version}/namespaces/{prefix}-g0/things");
        for _ in 0..200 {
            if target.send(&Request::get(&path)).await?.code == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // The last of a definition's schema arrives after its first answer.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(owners)
}

async fn clean(target: &Target, prefix: &str, group: &str) {
    let mut paths = vec![format!(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{group}"
    )];
    paths.extend((0..NAMESPACES).map(|n| format!("/api/v1/namespaces/{prefix}-g{n}")));
    for path in paths {
        // What cannot be removed now is of no use to anyone later.
        let _ = target.send(&Request::new("DELETE", path, "")).await;
    }
}

/// Plays one sequence to the first difference. Says how many requests that took, and the number
/// again when it differed in a way that is not known.
async fn one(
    pair: &Pair,
    seed: u64,
    number: u64,
    places: &Places,
    report: &Report,
) -> anyhow::Result<(usize, Option<u64>)> {
    let (kind, steps) = sequence::sequence(seed, number);
    let (played, found) = compare(pair, places, &steps).await?;
    let case = format!("generate/{}/{seed}-{number}", kind.name());
    let told = match &found {
        None => String::new(),
        Some((request, _)) => format!("step {played}: {request}"),
    };
    let group = format!("generate {}", kind.name());
    let found = found.map_or_else(Vec::new, |(_, found)| found);
    let new = report.case(&group, &case, &told, &found);
    Ok((played, new.then_some(number)))
}

type Found = Option<(String, Vec<Difference>)>;

async fn compare(pair: &Pair, places: &Places, steps: &[Step]) -> anyhow::Result<(usize, Found)> {
    let session = Session {
        name: "generate".to_owned(),
        steps: Vec::new(),
        templates: Arc::default(),
    };
    let mut ours = run::Run::new(&pair.ours, &places.ours);
    let mut real = run::Run::new(&pair.real, &places.real);
    let (mut ours_normal, mut real_normal) = (Normal::default(), Normal::default());
    let mut played = 0;
    let mut found = None;
    for step in steps {
        let (a, b) = tokio::join!(ours.step(&session, step), real.step(&session, step));
        let (a, b) = (a?, b?);
        played += 1;
        let a_said = ours_normal.body(&a.id, &written_by_managers(a.answer));
        let b_said = real_normal.body(&b.id, &written_by_managers(b.answer));
        let differ = differences(&a_said, &b_said);
        if !differ.is_empty() {
            found = Some((b.request, differ));
            break;
        }
    }
    let release = Step {
        method: "PATCH".to_owned(),
        path: steps
            .first()
            .map_or("", |s| s.path.split('?').next().unwrap_or(""))
            .to_owned(),
        ..Step::default()
    };
    let path = release.path.trim_end_matches("/${name}");
    for run in [&mut ours, &mut real] {
        let path = run.text(&format!("{path}/${{name}}"));
        let mut free = Request::new("PATCH", path, r#"{"metadata":{"finalizers":null}}"#);
        free.headers.retain(|(name, _)| name != "content-type");
        let merge = "application/merge-patch+json".to_owned();
        free.headers.push(("content-type".to_owned(), merge));
        // It may not exist.
        let _ = run.target().send(&free).await;
    }
    Ok((played, found))
}

/// Leaves out what a controller writes when it comes to it: a Deployment's status.
fn written_by_managers(mut answer: Value) -> Value {
    let deployment = answer.pointer("/body/kind") == Some(&"Deployment".into());
    if !deployment {
        return answer;
    }
    for pointer in [
        "/body/status",
        "/body/metadata/resourceVersion",
        "/body/metadata/annotations/deployment.kubernetes.io~1revision",
    ] {
        crate::fill::remove(&mut answer, pointer);
    }
    let empty = Value::Object(Map::new());
    if answer.pointer("/body/metadata/annotations") == Some(&empty) {
        crate::fill::remove(&mut answer, "/body/metadata/annotations");
    }
    let managed = answer.pointer_mut("/body/metadata/managedFields");
    if let Some(Value::Array(entries)) = managed {
        entries.retain(|e| e.get("manager") != Some(&"kube-controller-manager".into()));
    }
    answer
}

/// Finds the steps without which a sequence would agree, and prints those that remain.
async fn cut(pair: &Pair, stage: &Stage, seed: u64, number: u64) -> anyhow::Result<()> {
    let (kind, mut steps) = sequence::sequence(seed, number);
    let mut tries = 0;
    let mut index = 0;
    let (played, found) = compare(pair, &stage.places(pair, number, "-c"), &steps).await?;
    let Some((_, last)) = found else {
        say(&format!("sequence {seed}-{number} differs only sometimes"));
        return Ok(());
    };
    // The steps after the difference never played.
    steps.truncate(played);
    while index + 1 < steps.len() {
        tries += 1;
        let mut fewer = steps.clone();
        fewer.remove(index);
        let places = stage.places(pair, number, &format!("-c{tries}"));
        match compare(pair, &places, &fewer).await? {
            (played, Some((_, found))) if played == fewer.len() && same(&found, &last) => {
                steps = fewer;
            }
            _ => index += 1,
        }
    }
    let mut text = format!("FEWEST STEPS of generate/{}/{seed}-{number}\n", kind.name());
    for step in &steps {
        let body = step
            .words
            .body
            .as_ref()
            .map_or_else(String::new, Value::to_string);
        let media = step.words.r#type.as_deref().unwrap_or_default();
        let _ = writeln!(text, "  {} {} {media} {body}", step.method, step.path);
    }
    for difference in last.iter().take(4) {
        let shown = json!({"ours": difference.ours, "real": difference.real});
        let _ = writeln!(text, "    {} {shown}", difference.place);
    }
    say(&text);
    Ok(())
}

fn same(a: &[Difference], b: &[Difference]) -> bool {
    let first = |d: &[Difference]| d.first().map(|d| d.place.clone());
    first(a) == first(b)
}
