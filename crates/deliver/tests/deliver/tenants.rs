//! Kustomizations that act as accounts of their namespaces, and those of several shards.

use std::time::Duration;

use serde_json::{Value, json};
use weir_api::kustomization;
use weir_object::Kind;
use weir_runtime::kinds::{CONFIG_MAP, NAMESPACE, SERVICE_ACCOUNT};

use crate::world::{Setup, World, condition, config, deployment};

const ROLE: Kind = Kind::namespaced("rbac.authorization.k8s.io", "v1", "Role", "roles");
const CLUSTER_ROLE: Kind = Kind::cluster(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRole",
    "clusterroles",
);
const CLUSTER_BINDING: Kind = Kind::cluster(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
);
const BINDING: Kind = Kind::namespaced(
    "rbac.authorization.k8s.io",
    "v1",
    "RoleBinding",
    "rolebindings",
);

/// Gives namespace `demo` an account `tenant` that may do this there.
fn account(world: &World, rules: &Value) {
    let store = world.api.store();
    let meta = json!({"name": "tenant", "namespace": "demo"});
    store
        .create(&SERVICE_ACCOUNT, json!({"metadata": meta}))
        .expect("an account");
    let role = json!({"metadata": meta, "rules": rules});
    store.create(&ROLE, role).expect("a role");
    let binding = json!({"metadata": meta,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"},
        "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": "demo"}]});
    store.create(&BINDING, binding).expect("a binding");
}

fn everything_on(resource: &str, group: &str) -> Value {
    json!({"apiGroups": [group], "resources": [resource],
        "verbs": ["get", "create", "patch", "delete"]})
}

#[tokio::test(start_paused = true)]
async fn a_tenant_cannot_leave_its_account() {
    let world = World::new().await;
    account(&world, &json!([everything_on("configmaps", "")]));
    world.push("config", "main@sha1:1", &[("a.yaml", &config("a", "1"))]);
    world.kustomization(
        "apps",
        json!({"serviceAccountName": "tenant", "wait": true}),
    );
    world.ready("apps", "main@sha1:1").await;

    // Beside what it may, one object of another namespace, and one that would give it more rights.
    let theirs = config("b", "1").replace("namespace: demo", "namespace: theirs");
    let grab = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: \
                grab}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: \
                cluster-admin}\nsubjects: [{kind: ServiceAccount, name: tenant, namespace: demo}]\n";
    let own = config("a", "2");
    world.push(
        "config",
        "main@sha1:2",
        &[("a.yaml", &own), ("b.yaml", &theirs), ("c.yaml", grab)],
    );
    let told = world.failed("apps", "ReconciliationFailed").await;
    for part in [
        "cannot get resource \"clusterrolebindings\"",
        "bind a ClusterRole with `get` on `clusterrolebindings.rbac.authorization.k8s.io` to \
         ServiceAccount demo/tenant",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let live = world.get(&CONFIG_MAP, "demo", "a").expect("it stays");
    assert_eq!(live.0["data"]["v"], "1");
    world.push(
        "config",
        "main@sha1:3",
        &[("a.yaml", &own), ("b.yaml", &theirs)],
    );
    let named =
        "bind a Role with `get` on `configmaps` to ServiceAccount demo/tenant in namespace theirs";
    world
        .until("apps", |o| {
            let message = condition(o, "Ready")["message"].clone();
            message.as_str().is_some_and(|m| m.contains(named))
        })
        .await;
    assert!(world.get(&CONFIG_MAP, "theirs", "b").is_none());
    world.stop();
}

#[tokio::test(start_paused = true)]
async fn whoever_names_no_account_acts_as_the_default_one() {
    let setup = Setup {
        options: weir_deliver::Options {
            default_service_account: Some("tenant".to_owned()),
            ..weir_deliver::Options::default()
        },
        ..Setup::default()
    };
    let world = World::with(setup).await;
    world.push("config", "main@sha1:1", &[("a.yaml", &config("a", "1"))]);
    world.kustomization("apps", json!({}));
    let told = world.failed("apps", "ReconciliationFailed").await;
    assert!(told.contains("ServiceAccount demo/tenant"), "{told}");
    account(&world, &json!([everything_on("configmaps", "")]));
    world.ready("apps", "main@sha1:1").await;
    world.stop();
}

#[tokio::test(start_paused = true)]
async fn health_is_told_only_of_what_the_account_may_read() {
    let world = World::new().await;
    world.behave();
    account(
        &world,
        &json!([
            everything_on("configmaps", ""),
            everything_on("deployments", "apps")
        ]),
    );
    let theirs = json!({"metadata": {"name": "theirs"}});
    world.api.store().create(&NAMESPACE, theirs).expect("made");
    let idle = deployment("x", "i").replace("replicas: 2", "replicas: 0");
    world.push("config", "main@sha1:1", &[("d.yaml", &idle)]);
    world.kustomization(
        "apps",
        json!({"serviceAccountName": "tenant", "wait": true}),
    );
    let elsewhere = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "secret",
        "namespace": "theirs"}]);
    world.kustomization(
        "nosy",
        json!({"serviceAccountName": "tenant", "healthChecks": elsewhere}),
    );
    world.ready("apps", "main@sha1:1").await;
    let told = world.failed("nosy", "HealthCheckFailed").await;
    assert!(
        told.contains("cannot get resource \"deployments\""),
        "{told}"
    );
    assert!(told.contains("in namespace theirs"), "{told}");
    world.stop();
}

#[tokio::test(start_paused = true)]
async fn what_was_applied_as_an_account_that_is_gone_stays() {
    let world = World::new().await;
    account(&world, &json!([everything_on("configmaps", "")]));
    world.push("config", "main@sha1:1", &[("a.yaml", &config("a", "1"))]);
    world.kustomization("apps", json!({"serviceAccountName": "tenant"}));
    world.ready("apps", "main@sha1:1").await;
    let store = world.api.store();
    store
        .delete_now(&SERVICE_ACCOUNT, "demo", "tenant")
        .expect("deleted");
    store
        .delete(&kustomization::KIND, "demo", "apps")
        .expect("asked");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(store.get(&kustomization::KIND, "demo", "apps").is_none());
    assert!(world.get(&CONFIG_MAP, "demo", "a").is_some());
    world.stop();
}

#[tokio::test(start_paused = true)]
async fn a_shard_works_on_its_own_and_may_stand_on_others() {
    let setup = Setup {
        shard: "sharding.fluxcd.io/key=one".to_owned(),
        ..Setup::default()
    };
    let world = World::with(setup).await;
    world.push("config", "main@sha1:1", &[("a.yaml", &config("a", "1"))]);
    world.kustomization("base", json!({}));
    world.kustomization("apps", json!({"dependsOn": [{"name": "base"}]}));
    let mine = json!({"metadata": {"labels": {"sharding.fluxcd.io/key": "one"}}});
    world.patch("apps", mine);
    let told = world.failed("apps", "DependencyNotReady").await;
    assert_eq!(told, "dependency `demo/base` is not ready");
    let store = world.api.store();
    let base = store
        .get(&kustomization::KIND, "demo", "base")
        .expect("there");
    assert!(base["status"]["conditions"].is_null(), "{base}");
    // Whoever has the other shard makes it ready.
    let status = json!({"status": {"observedGeneration": 1, "lastAppliedRevision": "main@sha1:1",
        "conditions": [{"type": "Ready", "status": "True", "reason": "x", "message": "",
            "lastTransitionTime": "2023-11-14T22:13:20Z"}]}});
    store
        .patch_status(&kustomization::KIND, "demo", "base", status)
        .expect("patched");
    world.ready("apps", "main@sha1:1").await;
    world.stop();
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_not_allowed_is_told_on_the_objects() {
    let setup = Setup {
        user: Some("system:serviceaccount:demo:weir"),
        ..Setup::default()
    };
    let world = World::with(setup).await;
    let store = world.api.store();
    let grant = |name: &str, rules: Value| {
        let meta = json!({"name": name});
        let role = json!({"metadata": meta, "rules": rules});
        store.create(&CLUSTER_ROLE, role).expect("a role");
        let binding = json!({"metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "weir", "namespace": "demo"}]});
        store.create(&CLUSTER_BINDING, binding).expect("a binding");
    };
    let own = ["kustomizations", "kustomizations/status"];
    grant(
        "own",
        json!([{"apiGroups": ["kustomize.toolkit.fluxcd.io"], "resources": own, "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]),
    );
    world.push("config", "main@sha1:1", &[("a.yaml", &config("a", "1"))]);
    world.kustomization("apps", json!({}));
    let told = world.failed("apps", "Forbidden").await;
    let part = "bind a ClusterRole with `list` on `gitrepositories.source.toolkit.fluxcd.io` to \
                ServiceAccount demo/weir";
    assert!(told.contains(part), "{told}");
    let sources = json!([{"apiGroups": ["source.toolkit.fluxcd.io"],
        "resources": ["gitrepositories"], "verbs": ["list", "watch"]}]);
    grant("sources", sources);
    // A kind that a cluster need not have is told of the same way: it may be there and not seen.
    let part =
        "bind a ClusterRole with `list` on `canaries.flagger.app` to ServiceAccount demo/weir";
    world
        .until("apps", |o| {
            let message = condition(o, "Ready")["message"].clone();
            message.as_str().is_some_and(|m| m.contains(part))
        })
        .await;
    let canaries = json!([{"apiGroups": ["flagger.app"], "resources": ["canaries"],
        "verbs": ["list", "watch"]}]);
    grant("canaries", canaries);
    world.ready("apps", "main@sha1:1").await;
    world.stop();
}
