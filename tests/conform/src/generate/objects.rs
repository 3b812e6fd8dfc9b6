//! Owns what random objects are made of: few names, so that managers meet on the same fields.

use serde_json::{Map, Value, json};

use super::dice::Dice;

/// The kinds that sequences write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deployment,
    Service,
    ConfigMap,
    Pod,
    PodTemplate,
    Custom,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Deployment,
        Self::Service,
        Self::ConfigMap,
        Self::Pod,
        Self::PodTemplate,
        Self::Custom,
    ];

    /// Its name in cases.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Service => "service",
            Self::ConfigMap => "configmap",
            Self::Pod => "pod",
            Self::PodTemplate => "podtemplate",
            Self::Custom => "custom",
        }
    }

    /// Its collection, short as in files of sessions.
    pub(crate) fn path(self, version: &str) -> String {
        match self {
            Self::Deployment => "/apis/apps/v1/namespaces/${ns}/deployments".to_owned(),
            Self::Custom => format!("/apis/${{group}}/{version}/namespaces/${{ns}}/things"),
            other => format!("/api/v1/namespaces/${{ns}}/{}s", other.name()),
        }
    }
}

/// A random object. A whole one has what the kind requires; another may have anything.
pub(crate) fn object(dice: &mut Dice, kind: Kind, version: &str, whole: bool) -> Value {
    let (api_version, name) = match kind {
        Kind::Deployment => ("apps/v1".to_owned(), "Deployment"),
        Kind::Service => ("v1".to_owned(), "Service"),
        Kind::ConfigMap => ("v1".to_owned(), "ConfigMap"),
        Kind::Pod => ("v1".to_owned(), "Pod"),
        Kind::PodTemplate => ("v1".to_owned(), "PodTemplate"),
        Kind::Custom => (format!("${{group}}/{version}"), "Thing"),
    };
    let mut out = json!({"apiVersion": api_version, "kind": name, "metadata": metadata(dice)});
    let body = match kind {
        Kind::Deployment => json!({"spec": deployment(dice, whole)}),
        Kind::Service => json!({"spec": service(dice, whole)}),
        Kind::ConfigMap => config_map(dice),
        Kind::Pod => {
            json!({"spec": {"containers": [{"name": "app", "image": "registry.test/app:1"}]}})
        }
        Kind::PodTemplate => json!({"template": template(dice, whole)}),
        Kind::Custom => custom(dice, version),
    };
    merge(&mut out, body);
    out
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn maybe(
    dice: &mut Dice,
    out: &mut Map<String, Value>,
    key: &str,
    value: impl FnOnce(&mut Dice) -> Value,
) {
    if dice.one_in(2) {
        let value = value(dice);
        out.insert(key.to_owned(), value);
    }
}

fn word(dice: &mut Dice) -> Value {
    dice.of(&["red", "green", "blue"]).into()
}

fn words(dice: &mut Dice, keys: &[&str]) -> Value {
    let keys = dice.some(keys);
    let pairs = keys.into_iter().map(|k| (k.to_owned(), word(dice)));
    Value::Object(pairs.collect())
}

/// Random metadata without a name.
pub(crate) fn metadata(dice: &mut Dice) -> Value {
    let mut out = Map::new();
    maybe(dice, &mut out, "labels", |d| {
        words(d, &["tier", "team", "weir.test/x"])
    });
    maybe(dice, &mut out, "annotations", |d| {
        words(d, &["note", "weir.test/note"])
    });
    if dice.one_in(5) {
        let some = dice.some(&["weir.test/f1", "weir.test/f2", "weir.test/f3"]);
        out.insert("finalizers".to_owned(), some.into());
    }
    if dice.one_in(6) {
        let owners: Vec<Value> = dice
            .some(&["one", "two"])
            .into_iter()
            .map(|n| {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "name": format!("owner-{n}"),
                    "uid": format!("${{owner-{n}/metadata/uid}}")})
            })
            .collect();
        out.insert("ownerReferences".to_owned(), owners.into());
    }
    Value::Object(out)
}

fn deployment(dice: &mut Dice, whole: bool) -> Value {
    let mut out = Map::new();
    // Paused and empty, so that no controller makes anything.
    if whole || dice.one_in(2) {
        out.insert("paused".to_owned(), true.into());
        out.insert("replicas".to_owned(), 0.into());
    }
    if whole || dice.one_in(3) {
        out.insert(
            "selector".to_owned(),
            json!({"matchLabels": {"app": "web"}}),
        );
    }
    maybe(dice, &mut out, "minReadySeconds", |d| d.below(3).into());
    maybe(dice, &mut out, "revisionHistoryLimit", |d| {
        d.below(3).into()
    });
    if dice.one_in(3) {
        let strategy = match dice.below(3) {
            0 => json!({"type": "Recreate"}),
            1 => json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": dice.below(3) + 1}}),
            _ => json!({"rollingUpdate": {"maxUnavailable": "30%"}}),
        };
        out.insert("strategy".to_owned(), strategy);
    }
    if whole || dice.one_in(2) {
        out.insert("template".to_owned(), template(dice, whole));
    }
    Value::Object(out)
}

fn template(dice: &mut Dice, whole: bool) -> Value {
    let mut labels = words(dice, &["tier", "team"]);
    if (whole || dice.one_in(2))
        && let Value::Object(map) = &mut labels
    {
        map.insert("app".to_owned(), "web".into());
    }
    let mut spec = Map::new();
    let mut names = dice.some(&["app", "side", "proxy"]);
    if whole && names.is_empty() {
        names.push("app");
    }
    let containers: Vec<Value> = names
        .into_iter()
        .map(|n| container(dice, n, whole))
        .collect();
    spec.insert("containers".to_owned(), containers.into());
    maybe(dice, &mut spec, "nodeSelector", |d| {
        words(d, &["zone", "disk"])
    });
    maybe(dice, &mut spec, "terminationGracePeriodSeconds", |d| {
        (d.below(3) * 10).into()
    });
    if dice.one_in(3) {
        let volumes: Vec<Value> = dice
            .some(&["data", "conf", "tmp"])
            .into_iter()
            .map(|name| match name {
                "data" => json!({"name": name, "emptyDir": {}}),
                "conf" => json!({"name": name, "configMap": {"name": word(dice)}}),
                _ => json!({"name": name, "emptyDir": {"medium": "Memory"}}),
            })
            .collect();
        spec.insert("volumes".to_owned(), volumes.into());
    }
    if dice.one_in(4) {
        let tolerations: Vec<Value> = dice
            .some(&["a", "b"])
            .into_iter()
            .map(|k| json!({"key": k, "operator": "Exists"}))
            .collect();
        spec.insert("tolerations".to_owned(), tolerations.into());
    }
    if dice.one_in(4) {
        let names = dice.some(&["pull-a", "pull-b"]);
        let names: Vec<Value> = names.into_iter().map(|n| json!({"name": n})).collect();
        spec.insert("imagePullSecrets".to_owned(), names.into());
    }
    json!({"metadata": {"labels": labels}, "spec": spec})
}

fn container(dice: &mut Dice, name: &str, whole: bool) -> Value {
    let mut out = Map::new();
    out.insert("name".to_owned(), name.into());
    if whole || dice.one_in(2) {
        let image = format!("registry.test/{name}:{}", dice.below(3));
        out.insert("image".to_owned(), image.into());
    }
    maybe(dice, &mut out, "args", |d| {
        d.some(&["-a", "-b", "-c"]).into()
    });
    if dice.one_in(2) {
        let env: Vec<Value> = dice
            .some(&["A", "B", "C"])
            .into_iter()
            .map(|n| json!({"name": n, "value": word(dice)}))
            .collect();
        out.insert("env".to_owned(), env.into());
    }
    if dice.one_in(2) {
        let ports: Vec<Value> = dice
            .some(&["80", "81"])
            .into_iter()
            .map(|p| {
                let number: i64 = p.parse().unwrap_or(80);
                let mut port = json!({"containerPort": number});
                if let Value::Object(port) = &mut port {
                    maybe(dice, port, "name", |_| format!("{name}-{p}").into());
                    maybe(dice, port, "protocol", |d| d.of(&["TCP", "UDP"]).into());
                }
                port
            })
            .collect();
        out.insert("ports".to_owned(), ports.into());
    }
    maybe(dice, &mut out, "resources", |d| {
        let cpu = d.of(&["100m", "1", "0.5"]);
        json!({"requests": {"cpu": cpu}})
    });
    if dice.one_in(4) {
        out.insert(
            "readinessProbe".to_owned(),
            json!({"httpGet": {"path": "/", "port": 80}}),
        );
    }
    Value::Object(out)
}

fn service(dice: &mut Dice, whole: bool) -> Value {
    let mut out = Map::new();
    if whole || dice.one_in(2) {
        let ports: Vec<Value> = dice
            .some(&["http", "https", "grpc"])
            .into_iter()
            .map(|name| {
                let number = match name {
                    "http" => 80,
                    "https" => 443,
                    _ => 9000 + dice.below(2),
                };
                let mut port = json!({"name": name, "port": number});
                if let Value::Object(port) = &mut port {
                    maybe(dice, port, "targetPort", |d| (8080 + d.below(2)).into());
                    maybe(dice, port, "protocol", |_| "TCP".into());
                }
                port
            })
            .collect();
        out.insert("ports".to_owned(), ports.into());
    }
    maybe(dice, &mut out, "selector", |d| words(d, &["app", "tier"]));
    if dice.one_in(4) {
        out.insert(
            "sessionAffinity".to_owned(),
            dice.of(&["None", "ClientIP"]).into(),
        );
    }
    if dice.one_in(5) {
        out.insert(
            "externalIPs".to_owned(),
            dice.some(&["192.0.2.1", "192.0.2.2"]).into(),
        );
    }
    Value::Object(out)
}

fn config_map(dice: &mut Dice) -> Value {
    let mut out = Map::new();
    maybe(dice, &mut out, "data", |d| {
        words(d, &["a", "b", "c", "d.e"])
    });
    if dice.one_in(5) {
        out.insert(
            "binaryData".to_owned(),
            json!({"bin": dice.of(&["AAE=", "AAI="])}),
        );
    }
    Value::Object(out)
}

fn custom(dice: &mut Dice, version: &str) -> Value {
    let mut spec = Map::new();
    if dice.one_in(2) {
        let items: Vec<Value> = dice
            .some(&["x", "y", "z"])
            .into_iter()
            .map(|n| {
                let mut item = Map::new();
                item.insert("name".to_owned(), n.into());
                maybe(dice, &mut item, "value", word);
                maybe(dice, &mut item, "port", |d| d.below(2).into());
                maybe(dice, &mut item, "inner", |d| words(d, &["p", "q"]));
                Value::Object(item)
            })
            .collect();
        spec.insert("items".to_owned(), items.into());
    }
    maybe(dice, &mut spec, "tags", |d| d.some(&["s", "t", "u"]).into());
    maybe(dice, &mut spec, "list", |d| d.some(&["1", "2", "3"]).into());
    maybe(dice, &mut spec, "map", |d| words(d, &["k", "l", "m"]));
    maybe(dice, &mut spec, "whole", |d| words(d, &["k", "l"]));
    maybe(dice, &mut spec, "deep", |d| {
        let (one, two) = (words(d, &["a", "b"]), words(d, &["c", "d"]));
        json!({"one": one, "two": {"three": two}})
    });
    maybe(
        dice,
        &mut spec,
        "free",
        |d| json!({"any": [word(d), {"x": word(d)}]}),
    );
    if version == "v1" {
        maybe(dice, &mut spec, "fresh", word);
    }
    let mut out = json!({"spec": spec});
    if dice.one_in(4) {
        let conditions: Vec<Value> = dice
            .some(&["Ready", "Healthy"])
            .into_iter()
            .map(|t| json!({"type": t, "status": dice.of(&["True", "False"])}))
            .collect();
        merge(&mut out, json!({"status": {"conditions": conditions}}));
    }
    out
}

/// The kind of custom objects: every sort of list and map, two versions, one field only in one.
pub(crate) fn definition(group: &str) -> Value {
    let text = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let spec = |fresh: bool| {
        let mut properties = json!({
            "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "value": {"type": "string"},
                    "port": {"type": "integer", "default": 7}, "inner": text}}},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "string"}},
            "map": text,
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "deep": {"type": "object", "properties": {"one": text, "two": {"type": "object", "properties": {"three": text}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        });
        if fresh {
            merge(
                &mut properties,
                json!({"fresh": {"type": "string", "default": "yes"}}),
            );
        }
        json!({"type": "object", "properties": properties})
    };
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": spec(storage),
                "status": {"type": "object", "properties": {"conditions": {
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                    "items": {"type": "object", "required": ["type"], "properties": {
                        "type": {"type": "string"}, "status": {"type": "string"}}}}}}}}}})
    };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [version("v1", true), version("v1beta1", false)]}})
}
