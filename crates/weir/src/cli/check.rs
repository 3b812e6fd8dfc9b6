//! Owns `weir check`: whether a cluster has what Weir needs, who works on its kinds, and which of
//! its objects nobody here serves.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use weir_object::{Key, Kind};
use weir_runtime::kinds::{CONFIG_MAP, HTTP_ROUTE};
use weir_runtime::lease::{LEASE, WEIR};
use weir_runtime::{ApiClient, PAUSE, pause_reason};

use super::access::Access;
use super::output::{self, Output};
use super::{pause, table};
use crate::controllers::Role;

/// Options of `weir check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// Kinds of the same groups that this program does not serve.
const UNSERVED: [Kind; 8] = [
    Kind::namespaced(
        "source.toolkit.fluxcd.io",
        "v1",
        "OCIRepository",
        "ocirepositories",
    ),
    Kind::namespaced(
        "source.toolkit.fluxcd.io",
        "v1",
        "HelmRepository",
        "helmrepositories",
    ),
    Kind::namespaced("source.toolkit.fluxcd.io", "v1", "HelmChart", "helmcharts"),
    Kind::namespaced("source.toolkit.fluxcd.io", "v1", "Bucket", "buckets"),
    Kind::namespaced(
        "helm.toolkit.fluxcd.io",
        "v2",
        "HelmRelease",
        "helmreleases",
    ),
    Kind::namespaced(
        "notification.toolkit.fluxcd.io",
        "v1beta3",
        "Provider",
        "providers",
    ),
    Kind::namespaced(
        "notification.toolkit.fluxcd.io",
        "v1beta3",
        "Alert",
        "alerts",
    ),
    Kind::namespaced(
        "notification.toolkit.fluxcd.io",
        "v1",
        "Receiver",
        "receivers",
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Result {
    Ok,
    Warning,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    result: Result,
    message: String,
}

fn finding(check: &'static str, result: Result, message: impl Into<String>) -> Finding {
    let message = message.into();
    Finding {
        check,
        result,
        message,
    }
}

/// Looks, tells, and fails when something is missing.
pub(crate) async fn run(access: &Access, options: Options) -> anyhow::Result<ExitCode> {
    let (api, _) = access.api().await?;
    let version = api.kube().apiserver_version();
    let limit = std::time::Duration::from_secs(30);
    let version = tokio::time::timeout(limit, version)
        .await
        .context("the API server did not answer within 30 s")?
        .context("the API server cannot be asked")?;
    let mut findings = vec![finding(
        "kubernetes",
        Result::Ok,
        format!("{}; Weir is proved on 1.34", version.git_version),
    )];
    findings.extend(definitions(&api).await);
    findings.extend(leases(&api, access).await);
    findings.extend(unserved(&api).await);
    let failed = findings.iter().any(|f| f.result == Result::Failed);
    if options.output == Output::Table {
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|f| {
                let result = match f.result {
                    Result::Ok => "ok",
                    Result::Warning => "warning",
                    Result::Failed => "FAILED",
                };
                vec![result.to_owned(), f.check.to_owned(), f.message.clone()]
            })
            .collect();
        let header = ["RESULT", "CHECK", "MESSAGE"];
        table::write(&mut std::io::stdout().lock(), &header, &rows)?;
    } else {
        output::value(
            options.output,
            &json!({"failed": failed, "findings": findings}),
        )?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn is_served(api: &ApiClient, kind: &Kind) -> anyhow::Result<bool> {
    match api
        .kube()
        .list_api_group_resources(&kind.api_version())
        .await
    {
        Ok(list) => Ok(list.resources.iter().any(|r| r.name == *kind.plural)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Whether the kinds are there.
async fn definitions(api: &ApiClient) -> Vec<Finding> {
    let mut out = Vec::new();
    let own = Role::ALL.into_iter().flat_map(Role::kinds);
    for kind in own.chain([
        weir_api::metric_template::KIND,
        weir_api::alert_provider::KIND,
    ]) {
        out.push(match is_served(api, &kind).await {
            Ok(true) => finding("definition", Result::Ok, kind.to_string()),
            Ok(false) => finding(
                "definition",
                Result::Failed,
                format!(
                    "{kind} is not served in {}: kubectl apply --server-side -f crds/",
                    kind.api_version()
                ),
            ),
            Err(e) => finding("definition", Result::Failed, format!("{kind}: {e}")),
        });
    }
    out.push(match is_served(api, &HTTP_ROUTE).await {
        Ok(true) => finding("definition", Result::Ok, HTTP_ROUTE.to_string()),
        Ok(false) => finding(
            "definition",
            Result::Warning,
            "HTTPRoute is not served, and no Canary is worked on without it: install the \
             definitions of the Gateway API",
        ),
        Err(e) => finding("definition", Result::Failed, format!("HTTPRoute: {e}")),
    });
    out
}

/// Who holds the Leases, and whether work is frozen.
async fn leases(api: &ApiClient, access: &Access) -> Vec<Finding> {
    let mut out = Vec::new();
    let leases = match api.list(&LEASE, None, "").await {
        Ok(leases) => leases,
        Err(e) => return vec![finding("lease", Result::Warning, e.to_string())],
    };
    for role in Role::ALL {
        let name = role.lease("");
        let mut held = false;
        for lease in leases.iter().filter(|lease| role.is_lease(lease.name())) {
            let holder = lease.text(&["spec", "holderIdentity"]);
            if holder.is_empty() {
                continue;
            }
            held = true;
            let at = lease.key();
            out.push(if lease.annotation(WEIR) == Some(holder) {
                finding(
                    "lease",
                    Result::Ok,
                    format!("{at} is held by {holder}, a Weir"),
                )
            } else {
                finding(
                    "lease",
                    Result::Failed,
                    format!(
                        "{at} is held by {holder}, which is no Weir: scale that controller to \
                         zero; if nothing of it runs, delete the Lease"
                    ),
                )
            });
        }
        if !held {
            let message = format!("nobody holds {name}: no elected Weir runs");
            out.push(finding("lease", Result::Warning, message));
        }
    }
    for namespace in pause::homes(api, access).await.unwrap_or_default() {
        let found = api.get(&CONFIG_MAP, &Key::new(&*namespace, PAUSE)).await;
        if let Some(reason) = found.ok().flatten().as_ref().and_then(pause_reason) {
            out.push(finding(
                "pause",
                Result::Warning,
                format!("the Weir in namespace {namespace} is paused: {reason}"),
            ));
        }
    }
    out
}

/// Objects of the same groups that are not served here.
async fn unserved(api: &ApiClient) -> Vec<Finding> {
    let mut out = Vec::new();
    for kind in &UNSERVED {
        if !is_served(api, kind).await.unwrap_or_default() {
            continue;
        }
        let count = api.list(kind, None, "").await.map_or(0, |all| all.len());
        if count > 0 {
            out.push(finding(
                "not served",
                Result::Warning,
                format!("{count} {kind}: Weir does not serve this kind yet"),
            ));
        }
    }
    out
}
