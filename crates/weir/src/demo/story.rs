//! Owns the story: what a person would do, and what is waited for. What happens in between is told
//! by the chronicle as it happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use weir_object::Object;
use weir_sandbox::Load;

use super::chronicle::Chronicle;
use super::narrator::{About, Narrator};
use super::outcome::{Outcome, Requests, Run};
use super::world::{Version, World};

/// The host name that users call.
const HOST: &str = "app.example.com";
/// How long any one thing may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Tells the story. The load generator is handed back still running.
pub(crate) async fn tell(
    world: &World,
    narrator: &Arc<Narrator>,
    rate: u32,
) -> anyhow::Result<(Outcome, Load)> {
    let chronicle = Chronicle::follow(world, narrator.clone());

    narrator.title("1  A configuration is pushed");
    world
        .push_image(&Version {
            tag: "1.0.0",
            error_rate: "0",
        })
        .await?;
    narrator.fact(About::You, "pushed image demo/app:1.0.0 to the registry");
    let revision = world.push_config().await?;
    narrator.fact(
        About::You,
        &format!("pushed the configuration to Git: {revision}"),
    );
    world.apply_cluster().await?;
    narrator.fact(
        About::You,
        "applied GitRepository, Kustomization, image objects and Gateway",
    );
    world
        .until("the Canary to be initialised", PATIENCE, || {
            phase(world) == "Initialized"
        })
        .await?;
    let version = world
        .answer(HOST)
        .await
        .context("the application does not answer")?;
    narrator.fact(
        About::Traffic,
        &format!("http://{HOST}/ answers with version {version}"),
    );
    let load = world.load(HOST, rate)?;
    narrator.fact(
        About::Traffic,
        &format!("users begin to send {rate} requests a second"),
    );

    narrator.title("2  A good version is pushed");
    let promoted = release(world, narrator, &chronicle, "1.1.0", "0").await?;
    if promoted.phase != "Succeeded" {
        bail!(
            "version 1.1.0 is good, yet its run ended as {}",
            promoted.phase
        );
    }
    let version = world
        .answer(HOST)
        .await
        .context("the application does not answer")?;
    narrator.fact(
        About::Traffic,
        &format!("http://{HOST}/ answers with version {version}"),
    );

    narrator.title("3  A faulty version is pushed");
    let rolled_back = release(world, narrator, &chronicle, "1.2.0", "0.5").await?;
    if rolled_back.phase != "Failed" {
        bail!(
            "version 1.2.0 is faulty, yet its run ended as {}",
            rolled_back.phase
        );
    }
    let version = world
        .answer(HOST)
        .await
        .context("the application does not answer")?;
    narrator.fact(
        About::Traffic,
        &format!("http://{HOST}/ answers with version {version}"),
    );

    let report = load.report();
    let outcome = Outcome {
        promoted: promoted.run,
        rolled_back: Run {
            reason: Some(chronicle.reason()),
            ..rolled_back.run
        },
        commits: chronicle.commits(),
        requests: Requests {
            total: report.total,
            failed: report.failed,
        },
    };
    Ok((outcome, load))
}

struct Ended {
    phase: String,
    run: Run,
}

/// Pushes one version and waits for the end of its run.
async fn release(
    world: &World,
    narrator: &Narrator,
    chronicle: &Chronicle,
    tag: &'static str,
    error_rate: &'static str,
) -> anyhow::Result<Ended> {
    chronicle.turn_page();
    let started = Instant::now();
    world.push_image(&Version { tag, error_rate }).await?;
    narrator.fact(
        About::You,
        &format!("pushed image demo/app:{tag} to the registry"),
    );
    let over = || matches!(phase(world).as_str(), "Succeeded" | "Failed");
    let ended = || chronicle.began() && chronicle.ended() && over();
    world
        .until(&format!("the run of version {tag} to end"), PATIENCE, ended)
        .await?;
    Ok(Ended {
        phase: phase(world),
        run: Run {
            revision: world.applied_revision(),
            seconds: (started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            weights: chronicle.weights(),
            reason: None,
        },
    })
}

fn phase(world: &World) -> String {
    world
        .canary()
        .as_deref()
        .map_or(String::new(), |c: &Object| {
            c.text(&["status", "phase"]).to_owned()
        })
}
