//! Measures one Kubernetes API over TLS on loopback and prints what it saw as JSON. It knows
//! nothing of which server answers: `run`, beside it, measures two with it and compares.

mod connection;
mod load;
mod watchers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use serde_json::{Value, json};

use connection::Target;
use load::Load;
use weir_bench::Processes;

/// Measures a Kubernetes API.
#[derive(Debug, Parser)]
struct Line {
    /// How to reach it
    kubeconfig: PathBuf,
    /// The processes that serve it, for their memory and processor time
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// Objects of each kind that are made
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// Watchers of one collection
    #[arg(long, default_value_t = 100)]
    watchers: usize,
    /// Changes that each of them sees
    #[arg(long, default_value_t = 2_000)]
    changes: usize,
    /// Seconds for each measure that has no count
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let line = Line::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One thread leaves the other processors to the server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(&line))?;
    #[expect(clippy::print_stdout, reason = "the report is the output")]
    {
        println!("{report}");
    }
    Ok(())
}

async fn measure(line: &Line) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(&line.kubeconfig)
        .with_context(|| format!("`{}` cannot be read", line.kubeconfig.display()))?;
    let target = Target::of_kubeconfig(&text)?;
    let processes = Processes(line.pids.clone());
    let time = Duration::from_secs(line.seconds);
    let mut load = Load::new(target.clone(), processes.clone());
    for namespace in ["bench-maps", "bench-few", "bench-watch", "bench-pods"] {
        let body =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        load.once("POST", "/api/v1/namespaces", body.to_string())
            .await?;
    }
    let empty = processes.memory()?;
    let maps = "/api/v1/namespaces/bench-maps/configmaps";
    let pods = "/api/v1/namespaces/bench-pods/pods";
    let few = "/api/v1/namespaces/bench-few/configmaps";
    let create = load.create(maps, line.objects, config_map).await?;
    let with_maps = processes.memory()?;
    let create_pods = load.create(pods, line.objects, pod).await?;
    let with_pods = processes.memory()?;
    load.create(few, 500, config_map).await?;
    let objects = line.objects;
    let get = load
        .read(32, time, move |i| {
            format!("{maps}/{}", name(i * 7919 % objects))
        })
        .await?;
    let list_few = load.read(4, time, |_| few.to_owned()).await?;
    let list_many = load.read(2, time, |_| maps.to_owned()).await?;
    let list_pods = load.read(2, time, |_| pods.to_owned()).await?;
    let selected = load
        .read(4, time, move |_| format!("{maps}?labelSelector=part%3D3"))
        .await?;
    let watched = watchers::fan_out(&target, &processes, line.watchers, line.changes).await?;
    Ok(json!({
        "objects": line.objects,
        "create": create, "createPods": create_pods, "get": get, "listFew": list_few,
        "listMany": list_many, "listPods": list_pods, "listSelected": selected, "watch": watched,
        "memory": {"empty": empty, "withMaps": with_maps, "withPods": with_pods, "end": processes.memory()?},
    }))
}

pub(crate) fn name(i: usize) -> String {
    format!("object-{i:05}")
}

/// A ConfigMap as people have them: some labels, some hundred bytes.
fn config_map(i: usize) -> String {
    let settings =
        format!("log.level=info\ncache.size={i}\nlisten=0.0.0.0:8080\nname=service-{i}\n");
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name(i), "labels": {"app": "bench", "part": (i % 10).to_string()}},
        "data": {"settings.properties": settings, "mode": "production"},
    })
    .to_string()
}

/// A pod that no scheduler takes.
fn pod(i: usize) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name(i), "labels": {"app": "bench", "part": (i % 10).to_string()}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{
                "name": "app", "image": "registry.example/team/app:v1.2.3",
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": [{"name": "INDEX", "value": i.to_string()}, {"name": "MODE", "value": "production"}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
            }],
        },
    })
    .to_string()
}
