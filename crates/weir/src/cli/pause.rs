//! Owns `weir pause` and `weir resume`: the emergency stop, as a ConfigMap in the namespace of each
//! Weir of the cluster.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use weir_object::{Key, Object};
use weir_runtime::kinds::{CONFIG_MAP, NAMESPACE};
use weir_runtime::lease::{LEASE, WEIR};
use weir_runtime::{ApiClient, PAUSE, Propagation, Write};

use super::access::Access;

/// Where Weir runs when nothing says otherwise.
const USUAL: &str = "flux-system";

/// Options of `weir pause`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Everything: there is no smaller stop; suspend single objects instead
    #[arg(long, required = true)]
    all: bool,
    /// Why, for those who find everything frozen
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Options of `weir resume`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ResumeOptions {
    /// Everything
    #[arg(long, required = true)]
    all: bool,
}

/// Freezes whatever changes workloads, traffic or repositories, where it stands.
pub(crate) async fn pause(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    debug_assert!(options.all, "the flag is required");
    let (api, _) = access.api().await?;
    let mut out = std::io::stdout().lock();
    for namespace in homes(&api, access).await? {
        let fields = Object(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": PAUSE, "namespace": namespace},
            "data": {"paused": "true", "reason": options.reason},
        }));
        let key = Key::new(&*namespace, PAUSE);
        let force = true;
        api.write(&CONFIG_MAP, &key, Write::Apply { fields, force })
            .await?;
        writeln!(
            out,
            "paused: the Weir in namespace {namespace} applies, shifts and commits nothing; traffic \
             stays as it is. `weir resume --all` lets it go on."
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets frozen work go on.
pub(crate) async fn resume(access: &Access, options: ResumeOptions) -> anyhow::Result<ExitCode> {
    debug_assert!(options.all, "the flag is required");
    let (api, _) = access.api().await?;
    let mut out = std::io::stdout().lock();
    for namespace in homes(&api, access).await? {
        let key = Key::new(&*namespace, PAUSE);
        let deleted = api
            .delete(&CONFIG_MAP, &key, None, Propagation::Background)
            .await?;
        if deleted {
            writeln!(out, "resumed: the Weir in namespace {namespace} goes on")?;
        } else {
            writeln!(out, "the Weir in namespace {namespace} was not paused")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The namespaces in which a Weir runs: the one that was named, or those whose Leases one holds.
pub(super) async fn homes(api: &ApiClient, access: &Access) -> anyhow::Result<Vec<String>> {
    if let Some(namespace) = &access.namespace {
        return Ok(vec![namespace.clone()]);
    }
    let leases = api
        .list(&LEASE, None, "")
        .await
        .context("where Weir runs cannot be seen; name the namespace with -n")?;
    let of_weir = leases
        .iter()
        .filter(|lease| lease.annotation(WEIR).is_some());
    let mut found: Vec<String> = of_weir.map(|lease| lease.namespace().to_owned()).collect();
    found.sort();
    found.dedup();
    if found.is_empty() {
        let usual = api.get(&NAMESPACE, &Key::new("", USUAL)).await?;
        if usual.is_none() {
            bail!("no Weir was found: no Lease is held by one; name its namespace with -n");
        }
        found.push(USUAL.to_owned());
    }
    Ok(found)
}
