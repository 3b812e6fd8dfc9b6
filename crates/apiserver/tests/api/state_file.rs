//! Owns the file in which a server's state outlives it.

use std::path::Path;

use serde_json::{Value, json};
use weir_apiserver::{ApiServer, OpenFailure, Options, Tuning};

use crate::support::*;

fn options() -> Options {
    let now: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
    Options {
        now: std::sync::Arc::new(move || now),
        seed: 7,
    }
}

fn open(path: &Path) -> Result<ApiServer, OpenFailure> {
    ApiServer::open(options(), Tuning::default(), path)
}

const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// The same writes on any server.
async fn fill(server: &ApiServer) {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]},
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(post(server, definitions, &definition).await.code, 201);
    let mut owner = String::new();
    for name in ["a", "b", "c"] {
        let mut map = config_map(name, &json!({"x": name}));
        map["metadata"]["labels"] = json!({"name": name});
        let made = post(server, MAPS, &map).await.body;
        let uid = made["metadata"]["uid"].as_str().unwrap_or_default();
        uid.clone_into(&mut owner);
    }
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w", "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": owner}]},
        "spec": {"size": 3}});
    assert_eq!(post(server, WIDGETS, &widget).await.code, 201);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80}]}});
    assert_eq!(
        post(server, "/api/v1/namespaces/default/services", &service)
            .await
            .code,
        201
    );
    patch(
        server,
        &format!("{MAPS}/a"),
        "merge",
        &json!({"data": {"x": "z"}}),
    )
    .await;
    delete(server, &format!("{MAPS}/b"), &Value::Null).await;
}

async fn everything(server: &ApiServer) -> Vec<Value> {
    let mut out = Vec::new();
    for path in [
        "/api/v1/namespaces",
        "/api/v1/configmaps",
        "/api/v1/services",
        WIDGETS,
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        &format!("{MAPS}?labelSelector=name%3Da"),
    ] {
        out.push(get(server, path).await.body);
    }
    out
}

#[tokio::test]
async fn a_server_goes_on_where_the_one_before_it_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state");
    let unbroken = server();
    let first = open(&path).expect("a new file");
    fill(&unbroken).await;
    fill(&first).await;
    let before = everything(&first).await;
    assert_eq!(before, everything(&unbroken).await);
    drop(first);
    for _ in 0..2 {
        let again = open(&path).expect("a file");
        assert_eq!(everything(&again).await, before);
    }
    let again = open(&path).expect("a file");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": "s-"},
        "spec": {"ports": [{"port": 80}]}});
    // Versions, uids, names and addresses go on as if nothing had happened.
    let services = "/api/v1/namespaces/default/services";
    let mut expected = post(&unbroken, services, &service).await;
    let made = post(&again, services, &service).await;
    assert_eq!(made.code, 201);
    let address = made.body["spec"]["clusterIP"].clone();
    let taken = &before[2]["items"][0]["spec"]["clusterIP"];
    assert!(address.is_string() && address != *taken, "{address}");
    for field in ["clusterIP", "clusterIPs"] {
        expected.body["spec"][field] = made.body["spec"][field].clone();
    }
    assert_eq!(made, expected);
}

#[tokio::test(start_paused = true)]
async fn history_from_before_is_gone_and_owners_are_remembered() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state");
    let first = open(&path).expect("a new file");
    fill(&first).await;
    let version = first.store().version();
    drop(first);
    let again = open(&path).expect("a file");
    let mut old = watch(
        &again,
        &format!("{MAPS}?watch=1&resourceVersion={}", version - 1),
    )
    .await;
    assert_eq!(lines(&mut old).await[0]["object"]["code"], json!(410));
    let mut new = watch(
        &again,
        &format!("{MAPS}?watch=1&resourceVersion={version}&fieldSelector=metadata.name%3Dc"),
    )
    .await;
    let controllers = tokio::spawn(again.run_controllers());
    delete(&again, &format!("{MAPS}/c"), &Value::Null).await;
    assert_eq!(
        brief(&lines(&mut new).await),
        [format!("DELETED c@{}", version + 1)]
    );
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(get(&again, &format!("{WIDGETS}/w")).await.code, 404);
    controllers.abort();
}

#[tokio::test]
async fn what_was_flushed_survives_a_kill() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, copy) = (dir.path().join("state"), dir.path().join("copy"));
    let server = open(&path).expect("a new file");
    fill(&server).await;
    server.flush().await.expect("written");
    // The file as a killed process leaves it.
    std::fs::copy(&path, &copy).expect("copied");
    let copied = open(&copy).expect("a file");
    assert_eq!(everything(&copied).await, everything(&server).await);
    let dumped: Vec<_> = copied.dump().collect();
    let kinds = |kind: &str| dumped.iter().filter(|o| o["kind"] == json!(kind)).count();
    assert_eq!(
        (kinds("Namespace"), kinds("ConfigMap"), kinds("Widget")),
        (4, 2, 1)
    );
    ApiServer::new(options())
        .flush()
        .await
        .expect("nothing to write");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_told_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state");
    std::fs::write(&path, "apiVersion: v1\nkind: List\n".repeat(1000)).expect("written");
    let before = std::fs::read(&path).expect("a file");
    let failure = open(&path).expect_err("no state");
    assert!(matches!(failure, OpenFailure::Broken { .. }), "{failure}");
    assert!(failure.to_string().contains("move it away"), "{failure}");
    assert_eq!(std::fs::read(&path).expect("a file"), before);

    let newer = dir.path().join("newer");
    let database = redb::Database::create(&newer).expect("a file");
    let write = database.begin_write().expect("a transaction");
    {
        let numbers = redb::TableDefinition::<&str, u64>::new("numbers");
        let mut table = write.open_table(numbers).expect("a table");
        table.insert("schema", 99).expect("kept");
    }
    write.commit().expect("written");
    assert!(matches!(open(&newer), Err(OpenFailure::InUse { .. })));
    drop(database);
    assert!(matches!(
        open(&newer),
        Err(OpenFailure::Schema { found: 99, .. })
    ));
    let nowhere = dir.path().join("none").join("state");
    assert!(matches!(open(&nowhere), Err(OpenFailure::Unusable { .. })));
}

#[tokio::test]
async fn a_damaged_file_is_never_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, damaged) = (dir.path().join("state"), dir.path().join("damaged"));
    let server = open(&path).expect("a new file");
    fill(&server).await;
    drop(server);
    let good = std::fs::read(&path).expect("a file");
    let mut refused = 0;
    let cuts = (1..8).map(|i| good.len() * i / 8);
    let flips = (0..good.len()).step_by(good.len() / 29 + 1);
    let all = cuts.map(|at| (at, true)).chain(flips.map(|at| (at, false)));
    for (at, cut) in all {
        let mut bytes = good.clone();
        if cut {
            bytes.truncate(at);
        } else {
            // The end of the run is the end of the file at the latest.
            bytes.iter_mut().skip(at).take(64).for_each(|b| *b ^= 0x5A);
        }
        std::fs::write(&damaged, bytes).expect("written");
        match open(&damaged) {
            Err(_) => refused += 1,
            Ok(server) => {
                let found = get(&server, &format!("{MAPS}/a")).await;
                assert_eq!(found.code, 200, "{at}");
            }
        }
    }
    assert!(refused > 5, "{refused}");
}

#[tokio::test]
async fn parcels_of_others_are_kept_beside_the_objects() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state.redb");
    let open = || ApiServer::open(Options::default(), Tuning::default(), &path).expect("opens");
    let server = open();
    assert!(server.take_parcels().is_empty());
    server.keep_parcel("git/a.git", Some("one".into()));
    server.keep_parcel("git/b.git", Some("two".into()));
    server.keep_parcel("git/b.git", None);
    drop(server);
    let parcels = open().take_parcels();
    assert_eq!(
        parcels.into_iter().collect::<Vec<_>>(),
        [("git/a.git".to_owned(), "one".into())]
    );
}

#[tokio::test]
async fn addresses_of_kept_services_are_not_given_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state.redb");
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": 80}]}})
    };
    let server = open(&path).expect("opens");
    let first = post(&server, services, &service("a")).await.body;
    drop(server);
    let server = open(&path).expect("opens");
    let second = post(&server, services, &service("b")).await.body;
    assert_ne!(first["spec"]["clusterIP"], second["spec"]["clusterIP"]);
    let mut again = service("c");
    again["spec"]["clusterIP"] = first["spec"]["clusterIP"].clone();
    assert_eq!(post(&server, services, &again).await.code, 422);
}
