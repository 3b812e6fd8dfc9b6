//! Known cases of server-side apply, told as whole values.

use serde_json::{Value, json};
use weir_merge::FieldSet;
use weir_merge::managed::{self, ApplyFailure, Writer};
use weir_schema::{Schema, TypeRef};

fn deployment() -> TypeRef {
    Schema::builtin()
        .type_of("apps", "v1", "Deployment")
        .expect("built in")
}

/// The object with this spec.
fn object(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": spec})
}

fn containers(list: &Value) -> Value {
    json!({"template": {"spec": {"containers": list}}})
}

/// One cluster object and the clock, as a story is told about it.
#[derive(Default)]
struct Story {
    live: Option<Value>,
    second: u32,
}

impl Story {
    fn now(&mut self) -> String {
        self.second += 1;
        format!("2024-01-01T00:00:{:02}Z", self.second)
    }

    fn try_apply(&mut self, manager: &str, spec: &Value, force: bool) -> Result<(), ApplyFailure> {
        let now = self.now();
        let ignored = FieldSet::of_fields(&[&["status"]]);
        let writer = Writer {
            manager,
            api_version: "apps/v1",
            subresource: "",
            now: &now,
            ignored: &ignored,
            versions: &[],
        };
        let live = self.live.as_ref();
        self.live = Some(managed::apply(
            live,
            &object(spec),
            &deployment(),
            &writer,
            force,
        )?);
        Ok(())
    }

    fn apply(&mut self, manager: &str, spec: &Value) {
        self.try_apply(manager, spec, false).expect("no conflict");
    }

    fn update(&mut self, manager: &str, spec: &Value) {
        let now = self.now();
        let ignored = FieldSet::of_fields(&[&["status"]]);
        let writer = Writer {
            manager,
            api_version: "apps/v1",
            subresource: "",
            now: &now,
            ignored: &ignored,
            versions: &[],
        };
        let live = self.live.as_ref();
        self.live = Some(managed::update(live, object(spec), &deployment(), &writer));
    }

    fn spec(&self) -> Value {
        self.live
            .as_ref()
            .map(|live| live["spec"].clone())
            .unwrap_or_default()
    }

    /// `(manager, operation, time's second, fields below spec)` of each entry.
    fn owners(&self) -> Vec<(String, String, String, Value)> {
        let entries = &self.live.as_ref().expect("an object")["metadata"]["managedFields"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        entries
            .as_array()
            .expect("entries")
            .iter()
            .map(|entry| {
                let time = text(&entry["time"]).chars().skip(17).take(2).collect();
                let fields = entry["fieldsV1"]["f:spec"].clone();
                (
                    text(&entry["manager"]),
                    text(&entry["operation"]),
                    time,
                    fields,
                )
            })
            .collect()
    }
}

fn owner(
    name: &str,
    operation: &str,
    time: &str,
    fields: Value,
) -> (String, String, String, Value) {
    (
        name.to_owned(),
        operation.to_owned(),
        time.to_owned(),
        fields,
    )
}

#[test]
fn what_is_no_longer_applied_goes() {
    let mut story = Story::default();
    story.apply(
        "kustomize-controller",
        &json!({"replicas": 2, "paused": true}),
    );
    story.apply("kustomize-controller", &json!({"replicas": 2}));
    assert_eq!(story.spec(), json!({"replicas": 2}));
    let want = [owner(
        "kustomize-controller",
        "Apply",
        "02",
        json!({"f:replicas": {}}),
    )];
    assert_eq!(story.owners(), want);
}

#[test]
fn what_another_owns_too_stays() {
    let mut story = Story::default();
    story.apply(
        "kustomize-controller",
        &json!({"replicas": 2, "paused": true}),
    );
    story.apply("flagger", &json!({"replicas": 2}));
    story.apply("kustomize-controller", &json!({"paused": true}));
    assert_eq!(story.spec(), json!({"replicas": 2, "paused": true}));
    // Nothing changed in the object, so the times stay; who joined without effect has none.
    let want = [
        owner("flagger", "Apply", "", json!({"f:replicas": {}})),
        owner(
            "kustomize-controller",
            "Apply",
            "01",
            json!({"f:paused": {}}),
        ),
    ];
    assert_eq!(story.owners(), want);
}

#[test]
fn a_different_value_is_a_conflict_until_forced() {
    let mut story = Story::default();
    story.apply(
        "helm-controller",
        &json!({"replicas": 2, "minReadySeconds": 1}),
    );
    story.update(
        "kubectl-edit",
        &json!({"replicas": 3, "minReadySeconds": 1}),
    );
    let refused = story
        .try_apply(
            "flagger",
            &json!({"replicas": 4, "minReadySeconds": 2}),
            false,
        )
        .expect_err("two owners");
    assert_eq!(
        refused.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"helm-controller\":\n\
         - .spec.minReadySeconds\nconflicts with \"kubectl-edit\" using apps/v1:\n- .spec.replicas"
    );
    let refused = story
        .try_apply("flagger", &json!({"replicas": 4}), false)
        .expect_err("one owner");
    assert_eq!(
        refused.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using apps/v1: .spec.replicas"
    );
    story
        .try_apply("flagger", &json!({"replicas": 4}), true)
        .expect("forced");
    assert_eq!(story.spec(), json!({"replicas": 4, "minReadySeconds": 1}));
    let want = [
        owner(
            "helm-controller",
            "Apply",
            "01",
            json!({"f:minReadySeconds": {}}),
        ),
        owner("flagger", "Apply", "05", json!({"f:replicas": {}})),
    ];
    assert_eq!(story.owners(), want);
}

#[test]
fn keyed_items_are_merged_and_owned_one_by_one() {
    let mut story = Story::default();
    story.apply(
        "kustomize-controller",
        &containers(&json!([
        {"name": "app", "image": "app:1", "ports": [{"containerPort": 80}]}])),
    );
    story.apply(
        "mesh",
        &containers(&json!([
        {"name": "proxy", "image": "proxy:1"},
        {"name": "app", "ports": [{"containerPort": 443, "protocol": "TCP"}]}])),
    );
    assert_eq!(
        story.spec(),
        containers(&json!([
            {"name": "proxy", "image": "proxy:1"},
            {"name": "app", "image": "app:1",
             "ports": [{"containerPort": 80}, {"containerPort": 443, "protocol": "TCP"}]}]))
    );
    story.apply(
        "kustomize-controller",
        &containers(&json!([{"name": "app", "image": "app:2"}])),
    );
    assert_eq!(
        story.spec(),
        containers(&json!([
            {"name": "proxy", "image": "proxy:1"},
            {"name": "app", "image": "app:2",
             "ports": [{"containerPort": 443, "protocol": "TCP"}]}]))
    );
}

#[test]
fn atomic_lists_have_one_owner() {
    let mut story = Story::default();
    story.apply("a", &containers(&json!([{"name": "app", "args": ["x"]}])));
    let refused = story
        .try_apply(
            "b",
            &containers(&json!([{"name": "app", "args": ["x", "y"]}])),
            false,
        )
        .expect_err("another list");
    assert!(
        refused
            .to_string()
            .ends_with("conflict with \"a\": .spec.template.spec.containers[name=\"app\"].args")
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut story = Story::default();
    let refused = story
        .try_apply("a", &json!({"replicaz": 1, "paused": "yes"}), false)
        .expect_err("unknown");
    let ApplyFailure::Invalid { reasons } = refused else {
        panic!("another failure")
    };
    assert_eq!(
        reasons,
        [
            ".spec.paused: expected boolean, got &{yes}",
            ".spec.replicaz: field not declared in schema",
        ]
    );
    let twice = containers(&json!([{"name": "a"}, {"name": "a"}]));
    let refused = story.try_apply("a", &twice, false).expect_err("twice");
    assert!(
        refused
            .to_string()
            .contains("duplicate entries for key [name=\"a\"]")
    );
}

#[test]
fn untracked_objects_belong_to_whoever_was_before() {
    let mut live = object(&json!({"replicas": 1}));
    live["metadata"]["uid"] = json!("u");
    let mut story = Story {
        live: Some(live),
        second: 0,
    };
    story.apply("flagger", &json!({"paused": true}));
    let want = [
        owner("flagger", "Apply", "01", json!({"f:paused": {}})),
        owner(
            "before-first-apply",
            "Update",
            "01",
            json!({"f:replicas": {}}),
        ),
    ];
    assert_eq!(story.owners(), want);
}

#[test]
fn the_eldest_updaters_are_joined() {
    let mut story = Story::default();
    story.update(
        "u0",
        &json!({"replicas": 0, "template": {"metadata": {"labels": {}}}}),
    );
    if let Some(live) = &mut story.live {
        live["metadata"]["uid"] = json!("u");
    }
    let mut labels = serde_json::Map::new();
    for i in 1..=11 {
        labels.insert(format!("l{i}"), json!("x"));
        let spec = json!({"replicas": 0, "template": {"metadata": {"labels": labels}}});
        story.update(&format!("u{i}"), &spec);
    }
    let names: Vec<String> = story.owners().into_iter().map(|row| row.0).collect();
    assert_eq!(names.len(), 10);
    assert_eq!(names[0], "ancient-changes");
}

#[test]
fn a_write_that_changes_only_times_is_undone() {
    let mut story = Story::default();
    story.apply("a", &json!({"replicas": 1}));
    let live = story.live.clone().expect("an object");
    let mut later = live.clone();
    later["metadata"]["managedFields"][0]["time"] = json!("2024-02-02T00:00:00Z");
    assert_eq!(managed::settle(&live, later.clone()), live);
    later["spec"]["replicas"] = json!(2);
    assert_eq!(managed::settle(&live, later.clone()), later);
}

fn versions() -> (TypeRef, Vec<(String, TypeRef)>) {
    let schema = |fields: &[&str]| {
        let properties: serde_json::Map<String, Value> = fields
            .iter()
            .map(|name| ((*name).to_owned(), json!({"type": "string"})))
            .collect();
        let document = json!({"type": "object", "properties":
            {"spec": {"type": "object", "properties": properties}}});
        TypeRef::clone(&weir_schema::Schema::from_crd_schema(&document).expect("a good schema"))
    };
    let (new, old) = (schema(&["a", "fresh"]), schema(&["a"]));
    (new, vec![("g/v1beta1".to_owned(), old)])
}

#[test]
fn a_manager_of_a_gone_version_owns_nothing_more() {
    let (ty, _) = versions();
    let ignored = FieldSet::default();
    let at = |api_version: &'static str, manager: &'static str, versions| Writer {
        manager,
        api_version,
        subresource: "",
        now: "2024-01-01T00:00:00Z",
        ignored: &ignored,
        versions,
    };
    let config = |version: &str, value: &str| json!({"apiVersion": version, "kind": "T", "metadata": {"name": "t"}, "spec": {"a": value}});
    let old = managed::apply(
        None,
        &config("g/v0", "1"),
        &ty,
        &at("g/v0", "old", &[]),
        false,
    )
    .expect("created");
    let new = managed::apply(
        Some(&old),
        &config("g/v1", "2"),
        &ty,
        &at("g/v1", "new", &[]),
        false,
    )
    .expect("nobody is left to conflict with");
    let managers: Vec<String> = managed::managers(&new)
        .expect("readable")
        .into_iter()
        .map(|m| m.name)
        .collect();
    assert_eq!(managers, ["new"]);
}

#[test]
fn an_object_without_a_form_in_a_managers_version_cannot_be_applied_to() {
    let (ty, others) = versions();
    let ignored = FieldSet::default();
    let old_ty = others[0].1.clone();
    let own = [("g/v1".to_owned(), ty.clone())];
    let config = json!({"apiVersion": "g/v1beta1", "kind": "T", "metadata": {"name": "t"}, "spec": {"a": "1"}});
    let writer = Writer {
        manager: "old",
        api_version: "g/v1beta1",
        subresource: "",
        now: "2024-01-01T00:00:00Z",
        ignored: &ignored,
        versions: &own,
    };
    let mut live = managed::apply(None, &config, &old_ty, &writer, false).expect("created");
    live["apiVersion"] = json!("g/v1");
    live["spec"]["fresh"] = json!("by default");
    live["metadata"]["uid"] = json!("u");
    let writer = Writer {
        manager: "new",
        api_version: "g/v1",
        versions: &others,
        ..writer
    };
    let config =
        json!({"apiVersion": "g/v1", "kind": "T", "metadata": {"name": "t"}, "spec": {"a": "1"}});
    assert_eq!(
        managed::apply(Some(&live), &config, &ty, &writer, true),
        Err(ApplyFailure::Failed(
            ".spec.fresh: field not declared in schema".to_owned()
        ))
    );
    // Another write stands, and nobody owns anything.
    let mut new = live.clone();
    new["spec"]["a"] = json!("2");
    let updated = managed::update(Some(&live), new, &ty, &writer);
    assert_eq!(updated["metadata"].get("managedFields"), None);
    assert_eq!(updated["spec"]["a"], "2");
}
