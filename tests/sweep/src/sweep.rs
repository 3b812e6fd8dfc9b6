//! Owns one run with one fault, and the sweep through all positions of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use weir_apiserver::Selector;
use weir_object::path;
use weir_runtime::kinds::{CONFIG_MAP, CONTROLLER_REVISION, DEPLOYMENT, HTTP_ROUTE, SERVICE};

use crate::faults::{Counted, Fault};
use crate::story::Story;
use crate::world::{CANARY, World, configure, image, push};

/// How long a run may last, in virtual time.
const PATIENCE: Duration = Duration::from_hours(2);

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    /// The cluster's objects, less what may differ.
    pub(crate) objects: BTreeMap<String, Value>,
    /// Rules that were broken on the way, and what never came to an end.
    pub(crate) broken: Vec<String>,
    /// Writes by kind.
    pub(crate) writes: BTreeMap<String, u64>,
    /// Positions, by what they are counted by.
    pub(crate) positions: [u64; 4],
    /// Whether the fault took place.
    pub(crate) met: bool,
    pub(crate) log: Vec<String>,
}

/// A run that ended other than it should.
#[derive(Clone, Debug)]
pub struct Diverged {
    /// The story.
    pub story: Story,
    /// The fault.
    pub fault: Fault,
    /// Its position, counted from 1.
    pub position: u64,
    /// How it differs, in sentences.
    pub how: Vec<String>,
}

/// Plays a story with one fault, in virtual time, on this thread.
fn run(story: Story, fault: Option<(Fault, u64)>) -> anyhow::Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .context("no runtime could be started")?;
    let end = runtime.block_on(told(story, fault));
    // Whatever still runs is dropped where it stands.
    runtime.shutdown_background();
    end
}

async fn told(story: Story, fault: Option<(Fault, u64)>) -> anyhow::Result<End> {
    let mut world = World::new(story.weights())?;
    // A first run without faults sets the stage, unless it is the story.
    if story != Story::Initialisation {
        world.deploy(story.canary())?;
        world.start();
        settle(&mut world, "Initialized").await?;
        world = restarted(world).await;
    }
    world.plan(fault, "app:1");
    match story {
        Story::Initialisation => {
            world.deploy(story.canary())?;
            world.start();
        }
        Story::Promotion | Story::Deletion | Story::Matched | Story::BlueGreen | Story::Hooked => {
            push(&world.store, "app:2");
        }
        Story::Configured => configure(&world.store, "2"),
        Story::Farewell => {
            let store = world.store.as_manager("kubectl");
            // It is there.
            let _ = store.delete(&CANARY, "demo", "app");
        }
        Story::Skipped => {
            for image in ["app:2", "app:3"] {
                world.rules.allow(image);
            }
            push(&world.store, "app:2");
        }
        Story::Rollback => {
            world.breaks("app:2");
            push(&world.store, "app:2");
        }
    }
    let mut broken = Vec::new();
    if let Err(why) = play_out(&mut world, story, fault.map(|(fault, _)| fault)).await {
        broken.push(why);
    }
    broken.extend(world.rules.broken());
    if let Err(why) = silent(&mut world).await {
        broken.push(why);
    }
    if story == Story::Hooked {
        broken.extend(unasked(&world));
    }
    broken.extend(amiss(&world));
    let positions = [
        Counted::Writes,
        Counted::Reads,
        Counted::Events,
        Counted::Queries,
    ]
    .map(|what| world.faults.count(what));
    Ok(End {
        objects: snapshot(&world),
        broken,
        writes: world.rules.writes(),
        positions,
        met: world.faults.met(),
        log: world.faults.log(),
    })
}

/// A fresh process at the start of the story, so that positions are counted from there.
async fn restarted(mut world: World) -> World {
    world.fresh().await;
    world
}

async fn settle(world: &mut World, phase: &str) -> anyhow::Result<()> {
    let end = tokio::time::Instant::now() + PATIENCE;
    while world.phase() != phase || replicas(world, "app") != 0 {
        anyhow::ensure!(tokio::time::Instant::now() < end, "never {phase}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    Ok(())
}

fn replicas(world: &World, name: &str) -> u64 {
    let object = world.store.get(&DEPLOYMENT, "demo", name);
    let at = ["spec", "replicas"];
    object
        .as_ref()
        .and_then(|o| path::get(o, &at))
        .and_then(Value::as_u64)
        .unwrap_or(1)
}

/// Lets the story go on until nothing changes any more, keeping processes alive meanwhile.
async fn play_out(world: &mut World, story: Story, fault: Option<Fault>) -> Result<(), String> {
    let end = tokio::time::Instant::now() + PATIENCE;
    let (store, clone) = (world.store.clone(), world.store.clone());
    let ended = async move {
        let mut since = tokio::time::Instant::now();
        let mut version = store.version();
        let mut deleted = story != Story::Deletion;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = tokio::time::Instant::now();
            if !deleted && crate::world::weight(&store) == 40 {
                // In the middle of the run.
                let _ = store.as_manager("kubectl").delete(&CANARY, "demo", "app");
                deleted = true;
            }
            if store.version() != version {
                (version, since) = (store.version(), now);
            }
            // A clock that jumped back makes the longest wait that much longer.
            if now - since > Duration::from_secs(400) {
                return Ok(());
            }
            if now > end {
                return Err("it never comes to rest".to_owned());
            }
        }
    };
    let rested = tokio::select! {
        rested = ended => rested,
        () = world.keep_alive() => Ok(()),
    };
    rested?;
    let target = clone.get(&DEPLOYMENT, "demo", "app").map(|d| image(&d));
    let phase = world.phase();
    let wanted = match (story, fault) {
        (Story::Initialisation, Some(Fault::Push)) if target.as_deref() == Some("app:3") => {
            &["Initialized", "Succeeded"][..]
        }
        (Story::Initialisation, _) => &["Initialized"][..],
        // What was taken back before the middle of the run was not deleted in it.
        (Story::Deletion, Some(Fault::Revert)) => &["", "Initialized"],
        (Story::Deletion | Story::Farewell, _) => &[""],
        (Story::Rollback, _) if target.as_deref() == Some("app:3") => &["Succeeded"],
        (Story::Rollback, Some(Fault::Revert)) => &["Initialized"],
        (Story::Rollback, _) => &["Failed"],
        (_, Some(Fault::Revert)) => &["Initialized", "Succeeded"],
        _ => &["Succeeded"],
    };
    if wanted.contains(&phase.as_str()) {
        Ok(())
    } else {
        Err(format!("it ended as `{phase}`, not as {wanted:?}"))
    }
}

/// A quarter of an hour in which nothing may be written.
async fn silent(world: &mut World) -> Result<(), String> {
    let requests =
        |world: &World| world.faults.count(Counted::Writes) + world.faults.count(Counted::Reads);
    let before = (world.store.version(), requests(world));
    tokio::select! {
        () = tokio::time::sleep(Duration::from_mins(15)) => {}
        () = world.keep_alive() => {}
    }
    let after = (world.store.version(), requests(world));
    if after.0 != before.0 {
        return Err("it writes while nothing changes".to_owned());
    }
    if after.1 != before.1 {
        let asked = after.1 - before.1;
        return Err(format!("it asks {asked} times while nothing changes"));
    }
    Ok(())
}

/// What is wrong at the end, whatever the story was.
fn amiss(world: &World) -> Vec<String> {
    let mut out = Vec::new();
    let image_of = |name| {
        let object = world.store.get(&DEPLOYMENT, "demo", name);
        object.map(|o| image(&o)).unwrap_or_default()
    };
    let apex = world.store.get(&SERVICE, "demo", "app");
    let leads = apex.map(|s| s["spec"]["selector"]["app"].clone());
    let leads = leads.unwrap_or_default();
    if world.phase().is_empty() {
        // The Canary is gone: the target serves.
        if leads != "app" || replicas(world, "app") == 0 {
            out.push(format!(
                "the apex leads to {leads}, and the target has no pods"
            ));
        }
        return out;
    }
    if leads != "app-primary" {
        out.push(format!("the apex leads to {leads}"));
    }
    if replicas(world, "app") != 0 || replicas(world, "app-primary") != 2 {
        let (target, primary) = (replicas(world, "app"), replicas(world, "app-primary"));
        out.push(format!(
            "the target has {target} pods, the primary {primary}"
        ));
    }
    if crate::world::weight(&world.store) != 0 {
        out.push("the canary has traffic".to_owned());
    }
    let level = |name| {
        let map = world.store.get(&CONFIG_MAP, "demo", name);
        map.map(|m| m["data"]["level"].clone()).unwrap_or_default()
    };
    if world.phase() != "Failed" && level("settings") != level("settings-primary") {
        out.push(format!(
            "the primary reads level {}",
            level("settings-primary")
        ));
    }
    let (target, primary) = (image_of("app"), image_of("app-primary"));
    if (world.phase() == "Failed") == (target == primary) {
        let phase = world.phase();
        out.push(format!("it is {phase}, with {target} and {primary}"));
    }
    out
}

/// Hooks that were never asked, though their run was promoted.
fn unasked(world: &World) -> Vec<String> {
    let called = world.called.lock().unwrap_or_else(PoisonError::into_inner);
    if world.phase() != "Succeeded" {
        return Vec::new();
    }
    let asked = |kind: &str| called.iter().any(|key| key.contains(&format!("/{kind}/")));
    Story::KINDS
        .into_iter()
        .filter(|kind| !asked(kind))
        .map(|kind| format!("no {kind} hook was asked"))
        .collect()
}

/// What must be the same whatever went wrong.
fn snapshot(world: &World) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    let mut keep = |name: String, value: Value| drop(out.insert(name, value));
    for name in ["app", "app-primary"] {
        let object = world.store.get(&DEPLOYMENT, "demo", name);
        let spec = object.map(|o| o["spec"].clone()).unwrap_or_default();
        keep(format!("Deployment {name}"), spec);
    }
    for name in ["app", "app-primary", "app-canary"] {
        let object = world.store.get(&SERVICE, "demo", name);
        let mut spec = object.map(|o| o["spec"].clone()).unwrap_or_default();
        for assigned in ["clusterIP", "clusterIPs"] {
            path::remove(&mut spec, &[assigned]);
        }
        keep(format!("Service {name}"), spec);
    }
    let route = world.store.get(&HTTP_ROUTE, "demo", "app");
    let rules = route.map(|o| o["spec"]["rules"].clone());
    keep("HTTPRoute app".to_owned(), rules.unwrap_or_default());
    let canary = world.store.get(&CANARY, "demo", "app");
    let canary = canary.map(|c| (*c).clone()).unwrap_or_default();
    let status = |field: &str| canary["status"][field].clone();
    keep(
        "Canary app".to_owned(),
        json!({
            "phase": status("phase"),
            "lastPromotedSpec": status("lastPromotedSpec"),
            "lastAppliedSpec": status("lastAppliedSpec"),
            "canaryWeight": status("canaryWeight"),
            "finalizers": canary["metadata"]["finalizers"],
        }),
    );
    let (stored, _) = world
        .store
        .list(&CONTROLLER_REVISION, Some("demo"), &Selector::default());
    keep("stored templates".to_owned(), stored.len().into());
    let all = Selector::default();
    let (maps, _) = world.store.list(&CONFIG_MAP, Some("demo"), &all);
    keep("ConfigMaps".to_owned(), maps.len().into());
    out
}

/// Plays a story undisturbed.
pub fn play(story: Story) -> anyhow::Result<u64> {
    let end = run(story, None)?;
    anyhow::ensure!(end.broken.is_empty(), "{}: {:?}", story.name(), end.broken);
    Ok(end.positions.iter().sum())
}

/// Plays a story with a fault at every position there is; says how many there were, and which
/// diverged.
pub fn sweep(story: Story, fault: Fault, threads: usize) -> anyhow::Result<(u64, Vec<Diverged>)> {
    let reference = run(story, None)?;
    anyhow::ensure!(
        reference.broken.is_empty(),
        "{} undisturbed: {:?}",
        story.name(),
        reference.broken
    );
    let all = positions(&reference, fault);
    let (next, found) = (AtomicU64::new(1), Mutex::new(Vec::new()));
    let failed: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let position = next.fetch_add(1, Ordering::Relaxed);
                    if position > all {
                        return;
                    }
                    match run(story, Some((fault, position))) {
                        Ok(end) => {
                            let how = differences(story, fault, &reference, &end);
                            if !how.is_empty() {
                                let mut found =
                                    found.lock().unwrap_or_else(PoisonError::into_inner);
                                found.push(Diverged {
                                    story,
                                    fault,
                                    position,
                                    how,
                                });
                            }
                        }
                        Err(why) => {
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                            return;
                        }
                    }
                }
            });
        }
    });
    if let Some(why) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(why);
    }
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|d| d.position);
    Ok((all, found))
}

fn positions(reference: &End, fault: Fault) -> u64 {
    let [writes, reads, events, queries] = reference.positions;
    match fault.at() {
        Counted::Writes => writes,
        Counted::Reads => reads,
        Counted::Events => events,
        Counted::Queries => queries,
    }
}

/// How a disturbed run differs from the undisturbed one, where it may not.
fn differences(story: Story, fault: Fault, reference: &End, end: &End) -> Vec<String> {
    let mut how = end.broken.clone();
    // A user who pushed something else wants another end; it was judged on its own.
    let pushed = matches!(fault, Fault::Push | Fault::PushDuringQuery | Fault::Revert);
    if end.met && !pushed {
        for (name, wanted) in &reference.objects {
            let found = end.objects.get(name);
            // A primary that goes with its Canary need not be looked after any more.
            let hand = matches!(fault, Fault::PrimaryEdited | Fault::PrimaryDeleted);
            let going = matches!(story, Story::Deletion | Story::Farewell);
            if hand && going && name == "Deployment app-primary" {
                continue;
            }
            if found != Some(wanted) {
                let found = found.cloned().unwrap_or_default();
                how.push(format!("{name} is {found}, and not {wanted}"));
            }
        }
    }
    // Nothing is made or taken away twice.
    for (what, count) in &end.writes {
        let made = what.starts_with("POST") || what.starts_with("DELETE");
        let before = reference.writes.get(what).copied().unwrap_or_default();
        if made && *count > before + 2 && !pushed {
            how.push(format!("{what}: {count} times, and not {before}"));
        }
    }
    if !how.is_empty() {
        how.push(format!("{} after {} writes", story.name(), end.log.len()));
    }
    how
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r25_an_idle_canary_costs_no_request() {
        // A quarter of an hour at rest is part of each run.
        for story in [Story::Initialisation, Story::Promotion, Story::Rollback] {
            let end = run(story, None).expect("it plays");
            assert_eq!(end.broken, Vec::<String>::new(), "{}", story.name());
        }
    }

    #[test]
    fn a_crash_after_any_write_of_a_promotion_changes_nothing() {
        let (positions, diverged) =
            sweep(Story::Promotion, Fault::CrashAfter, 2).expect("it plays");
        assert!(positions > 10, "{positions}");
        assert!(diverged.is_empty(), "{diverged:?}");
    }
}
