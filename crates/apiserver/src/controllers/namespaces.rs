//! Owns what every namespace has: the service account `default`, and the certificate by which the
//! API is trusted.

use serde_json::json;
use weir_object::{Key, path};

use super::source::{Queue, Seen, is_going, name_of, namespace_of};
use super::world::{World, is_ending};
use super::{ACCOUNTS, CONFIG_MAPS, Control, NAMESPACES, On};
use crate::refusal::Refusal;
use crate::selector::Selector;

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when \
using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
guaranteed across distributions of Kubernetes clusters.";

/// Wakes a namespace for itself, and for the object of this name in it.
fn note(world: &World, queue: &mut Queue, on: On, seen: &Seen, of: On, name: &str) {
    match seen {
        Seen::Put(object) if on == On::Namespace => queue.add(Key::new("", name_of(object))),
        Seen::Put(object) | Seen::Gone(object) if on == of && name_of(object) == name => {
            queue.add(Key::new("", namespace_of(object)));
        }
        Seen::All if on == of => {
            queue.add_all(&world.store.list(&NAMESPACES, None, &Selector::default()).0);
        }
        _ => {}
    }
}

/// Whether a namespace is there and stays.
fn is_live(world: &World, name: &str) -> bool {
    let namespace = world.store.get(&NAMESPACES, "", name);
    namespace.is_some_and(|n| !is_going(&n))
}

fn made(outcome: Result<impl Sized, Refusal>) -> Result<(), Refusal> {
    match outcome {
        Ok(_) | Err(Refusal::AlreadyExists { .. }) => Ok(()),
        Err(refusal) if is_ending(&refusal) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// Makes the service accounts.
pub(crate) struct Accounts;

impl Control for Accounts {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        note(world, queue, on, seen, On::Account, ACCOUNT);
    }

    fn sync(&mut self, world: &mut World, _: &mut Queue, key: &Key) -> Result<(), Refusal> {
        if !is_live(world, &key.name) || world.store.get(&ACCOUNTS, &key.name, ACCOUNT).is_some() {
            return Ok(());
        }
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": key.name}});
        made(world.store.create(&ACCOUNTS, account))
    }
}

/// Publishes the certificate.
pub(crate) struct RootCa;

impl Control for RootCa {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher-controller"
    }

    fn note(&mut self, world: &World, queue: &mut Queue, on: On, seen: &Seen) {
        note(world, queue, on, seen, On::ConfigMap, ROOT_CA);
    }

    fn sync(&mut self, world: &mut World, _: &mut Queue, key: &Key) -> Result<(), Refusal> {
        if !is_live(world, &key.name) {
            return Ok(());
        }
        let data = json!({"ca.crt": world.clock.root_ca});
        let Some(map) = world.store.get(&CONFIG_MAPS, &key.name, ROOT_CA) else {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": ROOT_CA, "namespace": key.name,
                    "annotations": {"kubernetes.io/description": DESCRIPTION}},
                "data": data});
            return made(world.store.create(&CONFIG_MAPS, map));
        };
        let described = ["metadata", "annotations", "kubernetes.io/description"];
        if map.get("data") == Some(&data) && path::text(&map, &described) == DESCRIPTION {
            return Ok(());
        }
        let mut new = (*map).clone();
        path::set(&mut new, &["data"], data);
        path::set(&mut new, &described, DESCRIPTION.into());
        world.store.update(&CONFIG_MAPS, new).map(|_| ())
    }
}
