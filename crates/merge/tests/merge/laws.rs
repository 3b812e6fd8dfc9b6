//! Laws of ownership that hold for every configuration.

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_merge::managed::{self, Writer};
use weir_merge::{FieldSet, PathElement};
use weir_schema::{Schema, TypeRef};

fn deployment() -> TypeRef {
    Schema::builtin()
        .type_of("apps", "v1", "Deployment")
        .expect("built in")
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("c".to_owned())
    ]
}

/// Maps with some of these members.
fn members(rows: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let mut all = Just(Value::Object(serde_json::Map::new())).boxed();
    for (name, value) in rows {
        all = (all, proptest::option::of(value))
            .prop_map(move |(mut map, value)| {
                if let Some(value) = value {
                    map[name] = value;
                }
                map
            })
            .boxed();
    }
    all
}

fn keyed(key: &'static str, item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    proptest::collection::btree_map(word(), item, 1..3)
        .prop_map(move |map| {
            let rows = map.into_iter().map(|(name, mut item)| {
                item[key] = json!(name);
                item
            });
            Value::Array(rows.collect())
        })
        .boxed()
}

fn labels() -> BoxedStrategy<Value> {
    proptest::collection::btree_map(word(), word(), 1..3)
        .prop_map(|map| json!(map))
        .boxed()
}

fn configuration() -> BoxedStrategy<Value> {
    let text = word().prop_map(Value::from).boxed();
    let number = (1..4).prop_map(Value::from).boxed();
    let env = keyed("name", members(vec![("value", text.clone())]));
    let container = members(vec![
        ("image", text.clone()),
        (
            "args",
            proptest::collection::vec(word(), 1..3)
                .prop_map(Value::from)
                .boxed(),
        ),
        ("env", env),
    ]);
    let pod = members(vec![
        ("containers", keyed("name", container)),
        ("nodeSelector", labels()),
        (
            "volumes",
            keyed("name", members(vec![("emptyDir", Just(json!({})).boxed())])),
        ),
    ]);
    let spec = members(vec![
        ("replicas", number.clone()),
        ("minReadySeconds", number),
        (
            "template",
            members(vec![
                ("spec", pod),
                ("metadata", members(vec![("labels", labels())])),
            ]),
        ),
    ]);
    let metadata = members(vec![("labels", labels()), ("annotations", labels())]);
    (metadata, spec)
        .prop_map(|(mut metadata, spec)| {
            metadata["name"] = json!("app");
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
        })
        .boxed()
}

fn apply(live: Option<&Value>, applied: &Value, manager: &str, now: &str) -> Value {
    let ignored = FieldSet::default();
    let writer = Writer {
        versions: &[],
        manager,
        api_version: "apps/v1",
        subresource: "",
        now,
        ignored: &ignored,
    };
    managed::apply(live, applied, &deployment(), &writer, true).expect("forced and fitting")
}

fn fields(object: &Value, manager: &str) -> FieldSet {
    managed::managers(object)
        .expect("readable")
        .into_iter()
        .find(|entry| entry.name == manager)
        .map(|entry| entry.fields)
        .unwrap_or_default()
}

/// The value of a scalar member path of maps.
fn value_at<'a>(object: &'a Value, path: &[PathElement]) -> Option<&'a Value> {
    path.iter().try_fold(object, |at, step| match step {
        PathElement::Field(name) => at.get(name),
        PathElement::Key(keys) => at.as_array()?.iter().find(|item| {
            keys.iter()
                .all(|(name, value)| item.get(name) == Some(value))
        }),
        PathElement::Value(value) => at.as_array()?.iter().find(|item| *item == value),
        PathElement::Index(_) => None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applying_twice_is_applying_once(a in configuration(), b in configuration()) {
        let live = apply(None, &a, "one", "2024-01-01T00:00:01Z");
        let live = apply(Some(&live), &b, "two", "2024-01-01T00:00:02Z");
        prop_assert_eq!(&apply(Some(&live), &b, "two", "2024-01-01T00:00:03Z"), &live);
    }

    #[test]
    fn applying_what_one_owns_changes_nothing(a in configuration(), b in configuration()) {
        let live = apply(None, &a, "one", "2024-01-01T00:00:01Z");
        let live = apply(Some(&live), &b, "two", "2024-01-01T00:00:02Z");
        for manager in ["one", "two"] {
            let own = managed::extract(&live, manager, "", &deployment());
            prop_assert_eq!(&apply(Some(&live), &own, manager, "2024-01-01T00:00:03Z"), &live);
        }
    }

    #[test]
    fn fields_keep_their_text(a in configuration()) {
        let live = apply(None, &a, "one", "2024-01-01T00:00:01Z");
        let own = fields(&live, "one");
        prop_assert_eq!(FieldSet::from_fields_v1(&own.to_fields_v1()).expect("good"), own);
    }

    #[test]
    fn letting_go_leaves_what_others_own(a in configuration(), b in configuration(), c in configuration()) {
        let live = apply(None, &a, "one", "2024-01-01T00:00:01Z");
        let live = apply(Some(&live), &b, "two", "2024-01-01T00:00:02Z");
        let after = apply(Some(&live), &c, "two", "2024-01-01T00:00:03Z");
        let mut lost = Vec::new();
        // What still belongs to the first has the value it had.
        fields(&after, "one").leaves().each(|path| {
            // A map applied empty is a place that others fill and empty.
            let hollow = value_at(&live, path).is_some_and(Value::is_object);
            if !hollow && value_at(&live, path) != value_at(&after, path) {
                lost.push(format!("{path:?}"));
            }
        });
        prop_assert!(lost.is_empty(), "{lost:?}");
        // And what the first lost is now the second's, with the second's value.
        let gone = fields(&live, "one").difference(&fields(&after, "one")).leaves();
        prop_assert_eq!(gone.difference(&fields(&after, "two")), FieldSet::default());
    }

    #[test]
    fn an_update_owns_exactly_what_it_changed(a in configuration(), b in configuration()) {
        let live = apply(None, &a, "one", "2024-01-01T00:00:01Z");
        let ignored = FieldSet::default();
        let writer = Writer { versions: &[], manager: "edit", api_version: "apps/v1", subresource: "",
            now: "2024-01-01T00:00:02Z", ignored: &ignored };
        let after = managed::update(Some(&live), b, &deployment(), &writer);
        let same = managed::update(Some(&after), after.clone(), &deployment(), &writer);
        prop_assert_eq!(&same, &after);
        let both = fields(&after, "one").leaves().intersection(&fields(&after, "edit").leaves());
        prop_assert_eq!(both, FieldSet::default());
    }
}
