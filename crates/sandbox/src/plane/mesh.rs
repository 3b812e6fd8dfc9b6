//! Owns which VirtualServices and DestinationRules are in force in the mesh. Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weir_object::{Key, Object};

use super::attach::age;
use super::listeners::Says;
use crate::names::{full_name, service_key};
use crate::proxy::model::Route;
use crate::proxy::read_virtual::{Ground, full_host, read, service_of};
use crate::proxy::reading::{Refs, items};

/// What is said of one object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Whether it is in force.
    pub(crate) reconciled: Says,
    pub(crate) messages: Vec<Message>,
}

/// A finding, as Istio's analysis names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) level: &'static str,
    pub(crate) text: String,
}

impl Message {
    fn missing(text: String) -> Self {
        Self {
            code: "IST0101",
            name: "ReferencedResourceNotFound",
            level: "ERROR",
            text,
        }
    }

    fn conflict(text: String) -> Self {
        Self {
            code: "IST0109",
            name: "ConflictingMeshGatewayVirtualServiceHosts",
            level: "ERROR",
            text,
        }
    }

    fn invalid(level: &'static str, text: String) -> Self {
        Self {
            code: "IST0106",
            name: "SchemaValidationError",
            level,
            text,
        }
    }
}

type Verdicts = HashMap<Key, Verdict>;

/// Decides the mesh anew: its hosts, and a verdict on each object.
pub(crate) fn decide(
    virtuals: &[Arc<Object>],
    rules: &[Arc<Object>],
    refs: &Refs,
) -> (HashMap<String, Arc<Route>>, Verdicts, Verdicts) {
    let (mut subsets, mut of_rules) = (BTreeMap::new(), HashMap::new());
    let mut by_age: Vec<&Arc<Object>> = rules.iter().collect();
    by_age.sort_by_key(|o| age(o));
    for rule in by_age {
        of_rules.insert(rule.key(), rule_verdict(rule, refs, &mut subsets));
    }
    let ground = Ground {
        refs,
        subsets: &subsets,
    };
    let (mut hosts, mut of_virtuals) = (HashMap::new(), HashMap::new());
    let mut by_age: Vec<&Arc<Object>> = virtuals.iter().collect();
    by_age.sort_by_key(|o| age(o));
    for object in by_age {
        of_virtuals.insert(object.key(), virtual_verdict(object, &ground, &mut hosts));
    }
    (hosts, of_virtuals, of_rules)
}

fn virtual_verdict(
    object: &Object,
    ground: &Ground<'_>,
    hosts: &mut HashMap<String, Arc<Route>>,
) -> Verdict {
    let (route, missing) = match read(object, ground) {
        Ok(read) => read,
        Err(unsupported) => {
            let text = unsupported.to_string();
            return Verdict {
                reconciled: Says::no("Unsupported", format!("not in force: {text}")),
                messages: vec![Message::invalid("ERROR", text)],
            };
        }
    };
    let mut messages: Vec<Message> = missing.into_iter().map(Message::missing).collect();
    let route = Arc::new(route);
    let mut taken = 0;
    for host in items(object.get(&["spec", "hosts"])).filter_map(|h| h.as_str()) {
        let mut full = full_host(host, object.namespace());
        // `name.namespace` is a service's name where there is such a service.
        if let Some(key) = service_key(&full).filter(|k| ground.refs.services.contains_key(k)) {
            full = full_name(&key);
        }
        if let Some(other) = hosts.get(&full).filter(|o| !Arc::ptr_eq(o, &route)) {
            let text = format!(
                "host `{full}` is that of the older VirtualService `{}`",
                other.id()
            );
            messages.push(Message::conflict(text));
            continue;
        }
        hosts.insert(full, route.clone());
        taken += 1;
    }
    let reconciled = if taken > 0 {
        Says::yes("Reconciled")
    } else {
        let what = match messages.iter().find(|m| m.code == "IST0109") {
            Some(conflict) => format!("not in force: {}", conflict.text),
            None => "not in force: it names no host, and delegation is not done here".to_owned(),
        };
        Says::no("NoHosts", what)
    };
    Verdict {
        reconciled,
        messages,
    }
}

fn rule_verdict(
    rule: &Object,
    refs: &Refs,
    subsets: &mut BTreeMap<(String, String), BTreeMap<String, String>>,
) -> Verdict {
    let host = rule.text(&["spec", "host"]);
    let mut messages = Vec::new();
    let key = service_of(host, rule.namespace()).filter(|k| refs.services.contains_key(k));
    let Some(key) = key else {
        let text = format!("spec.host: `{host}` is no service here");
        return Verdict {
            reconciled: Says::no("HostNotFound", text.clone()),
            messages: vec![Message::missing(text)],
        };
    };
    if rule.get(&["spec", "trafficPolicy"]).is_some() {
        let text = "spec.trafficPolicy is not done here: endpoints take turns over plain HTTP";
        messages.push(Message::invalid("WARNING", text.to_owned()));
    }
    for (i, subset) in items(rule.get(&["spec", "subsets"])).enumerate() {
        let name = subset["name"].as_str().unwrap_or_default();
        if subset.get("trafficPolicy").is_some() {
            let text = format!("spec.subsets[{i}].trafficPolicy is not done here");
            messages.push(Message::invalid("WARNING", text));
        }
        let labels = subset["labels"].as_object().into_iter().flatten();
        let labels: BTreeMap<String, String> = labels
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect();
        let id = (full_name(&key), name.to_owned());
        match subsets.entry(id) {
            Entry::Vacant(free) => drop(free.insert(labels)),
            Entry::Occupied(taken) => {
                let host = &taken.key().0;
                let text = format!("subset `{name}` of `{host}` is that of an older rule");
                messages.push(Message::conflict(text));
            }
        }
    }
    Verdict {
        reconciled: Says::yes("Reconciled"),
        messages,
    }
}
