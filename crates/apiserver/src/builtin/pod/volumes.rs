//! Owns the rules of volumes.

use serde_json::Value;
use weir_schema::Quantity;

use super::containers::{field_ref, resource_ref};
use crate::builtin::checks::{At, Checks, int, list, of, text};
use crate::builtin::names;

/// The kinds of volume, in the order in which they are judged.
const KINDS: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "downwardAPI",
    "configMap",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "storageos",
    "projected",
    "portworxVolume",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
    "photonPersistentDisk",
    "flexVolume",
];

/// All volumes of a spec; answers the names of those that may be mounted.
pub(super) fn check<'a>(spec: &'a Value, at: At<'_>, checks: &mut Checks) -> Vec<&'a str> {
    let mut names_seen = Vec::new();
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        let at = at.index(i);
        let before = checks.count();
        source(volume, at, checks);
        let name = text(volume, "name");
        if name.is_empty() {
            checks.required(at.field("name"), "");
        } else {
            checks.faults(at.field("name"), name, names::label(name));
        }
        if names_seen.contains(&name) {
            checks.duplicate(at.field("name"), &name.into());
        }
        if checks.count() == before {
            names_seen.push(name);
        }
    }
    names_seen
}

/// Where a volume comes from: exactly one kind.
pub(crate) fn source(volume: &Value, at: At<'_>, checks: &mut Checks) {
    let mut count = 0;
    for kind in KINDS {
        let of_kind = of(volume, kind);
        if of_kind.is_null() {
            continue;
        }
        let at = at.field(kind);
        if count > 0 {
            checks.forbidden(at, "may not specify more than 1 volume type");
            continue;
        }
        count += 1;
        of_one(kind, of_kind, at, checks);
    }
    if count == 0 {
        checks.required(at, "must specify a volume type");
    }
}

fn of_one(kind: &str, of_kind: &Value, at: At<'_>, checks: &mut Checks) {
    match kind {
        "emptyDir" if Quantity::of(of(of_kind, "sizeLimit")).is_some_and(|q| q.nanos < 0) => {
            let detail = "SizeLimit field must be a valid resource quantity";
            checks.forbidden(at.field("sizeLimit"), detail);
        }
        "hostPath" => host_path(of_kind, at, checks),
        "gitRepo" if text(of_kind, "repository").is_empty() => {
            checks.required(at.field("repository"), "");
        }
        "secret" | "configMap" => {
            let name = if kind == "secret" {
                "secretName"
            } else {
                "name"
            };
            if text(of_kind, name).is_empty() {
                checks.required(at.field(name), "");
            }
            mode(of_kind, "defaultMode", at, checks);
            key_paths(of_kind, at.field("items"), checks);
        }
        "nfs" => {
            for field in ["server", "path"] {
                if text(of_kind, field).is_empty() {
                    checks.required(at.field(field), "");
                }
            }
            let path = text(of_kind, "path");
            if !path.starts_with('/') {
                checks.wrong(at.field("path"), path, "must be an absolute path");
            }
        }
        "persistentVolumeClaim" if text(of_kind, "claimName").is_empty() => {
            checks.required(at.field("claimName"), "");
        }
        "downwardAPI" => {
            mode(of_kind, "defaultMode", at, checks);
            for item in list(of_kind, "items") {
                downward(item, at, checks);
            }
        }
        "projected" => projected(of_kind, at, checks),
        "csi" => {
            let driver = text(of_kind, "driver");
            if driver.is_empty() {
                checks.required(at.field("driver"), "");
            }
            checks.faults(at.field("driver"), driver, names::subdomain(driver));
        }
        "ephemeral" => {
            let template = of(of_kind, "volumeClaimTemplate");
            let at = at.field("volumeClaimTemplate");
            if template.is_null() {
                checks.required(at, "");
            } else {
                crate::builtin::storage::claim_spec(of(template, "spec"), at.field("spec"), checks);
            }
        }
        _ => {}
    }
}

/// A path on the node.
pub(crate) fn host_path(of_path: &Value, at: At<'_>, checks: &mut Checks) {
    let path = text(of_path, "path");
    if path.is_empty() {
        checks.required(at.field("path"), "");
        return;
    }
    if let Some(fault) = names::no_way_up(path) {
        checks.wrong(at.field("path"), path, fault);
    }
    let known = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    checks.one_of(at.field("type"), text(of_path, "type"), &known);
}

fn mode(owner: &Value, field: &str, at: At<'_>, checks: &mut Checks) {
    if let Some(mode) = int(owner, field).filter(|mode| !(0..=0o777).contains(mode)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        checks.invalid(at.field(field), &mode.into(), detail);
    }
}

fn key_paths(owner: &Value, at: At<'_>, checks: &mut Checks) {
    for (i, item) in list(owner, "items").iter().enumerate() {
        let at = at.index(i);
        if text(item, "key").is_empty() {
            checks.required(at.field("key"), "");
        }
        match text(item, "path") {
            "" => checks.required(at.field("path"), ""),
            path => {
                if let Some(fault) = names::local_path(path) {
                    checks.wrong(at.field("path"), path, fault);
                }
            }
        }
        mode(item, "mode", at, checks);
    }
}

fn downward(item: &Value, at: At<'_>, checks: &mut Checks) {
    match text(item, "path") {
        "" => checks.required(at.field("path"), ""),
        path => {
            if let Some(fault) = names::local_path(path) {
                checks.wrong(at.field("path"), path, fault);
            }
        }
    }
    let (field, resource) = (of(item, "fieldRef"), of(item, "resourceFieldRef"));
    if !field.is_null() {
        let known = [
            "metadata.annotations",
            "metadata.labels",
            "metadata.name",
            "metadata.namespace",
            "metadata.uid",
        ];
        field_ref(field, at.field("fieldRef"), &known, checks);
        if !resource.is_null() {
            checks.wrong(
                at,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            );
        }
    } else if resource.is_null() {
        checks.required(at, "one of fieldRef and resourceFieldRef is required");
    } else {
        resource_ref(resource, at.field("resourceFieldRef"), checks);
    }
    mode(item, "mode", at, checks);
}

fn projected(volume: &Value, at: At<'_>, checks: &mut Checks) {
    mode(volume, "defaultMode", at, checks);
    let sources = at.field("sources");
    let mut paths: Vec<&str> = Vec::new();
    for (i, source) in list(volume, "sources").iter().enumerate() {
        let item = sources.index(i);
        for kind in ["secret", "configMap"] {
            let of_kind = of(source, kind);
            if of_kind.is_null() {
                continue;
            }
            let at = item.field(kind);
            if text(of_kind, "name").is_empty() {
                checks.required(at.field("name"), "");
            }
            key_paths(of_kind, at.field("items"), checks);
        }
        for entry in list(of(source, "downwardAPI"), "items") {
            downward(entry, item.field("downwardAPI"), checks);
        }
        let token = of(source, "serviceAccountToken");
        if token.is_null() {
            continue;
        }
        let token_at = item.field("serviceAccountToken");
        let seconds = int(token, "expirationSeconds").unwrap_or(3600);
        if seconds < 600 {
            let detail = "may not specify a duration less than 10 minutes";
            checks.invalid(token_at.field("expirationSeconds"), &seconds.into(), detail);
        }
        match text(token, "path") {
            "" => checks.required(at.field("path"), ""),
            path => {
                if let Some(fault) = names::local_path(path) {
                    checks.wrong(at.field("path"), path, fault);
                }
                if paths.contains(&path) {
                    checks.wrong(at, path, "conflicting duplicate paths");
                }
                paths.push(path);
            }
        }
    }
}
