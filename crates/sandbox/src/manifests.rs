//! Owns manifests in a directory: reading one into the sandbox, and writing the sandbox's objects
//! into one. What is written is what a person would keep in Git: no versions, no uids, no status,
//! and nothing that a controller makes again.
//!
//! It refuses to keep a state exactly; a state file does that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use weir_cluster::{Discovery, stages};
use weir_object::{Key, Kind, Object};
use weir_runtime::{ApiClient, ApiFailure, Write};

use crate::install;

/// The largest manifest file that is read, in bytes.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;
/// The most files that are read.
const FILES: usize = 20_000;
/// How deep directories are followed.
const DEPTH: usize = 16;

/// Why manifests could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFailure {
    /// A file or directory could not be used. Retryable.
    #[error("`{path}` cannot be used: {cause}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// A file is no manifest. Terminal.
    #[error("`{path}` is not a manifest: {why}", path = path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
    /// There is more than is read at once. Terminal.
    #[error("`{path}` holds too much: {why}; load a part of it", path = path.display())]
    TooMuch {
        /// The directory.
        path: PathBuf,
        /// Which limit.
        why: String,
    },
    /// The API refused an object. Terminal.
    #[error("{object} of `{path}` was refused: {why}", path = path.display())]
    Refused {
        /// The object.
        object: String,
        /// The file that holds it.
        path: PathBuf,
        /// The API's answer.
        why: String,
    },
    /// The API could not be read. Retryable.
    #[error(transparent)]
    Api(#[from] ApiFailure),
}

/// What a load did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Objects applied.
    pub objects: usize,
    /// Files read.
    pub files: usize,
    /// Namespaces that objects named and no manifest made.
    pub namespaces: Vec<String>,
}

/// Applies all manifests of a directory or a file, definitions and namespaces first. Namespaces that
/// are missing are made.
pub(crate) async fn load(api: &ApiClient, path: &Path) -> Result<Loaded, ManifestFailure> {
    let mut files = Vec::new();
    find(path, 0, &mut files)?;
    let mut out = Loaded {
        files: files.len(),
        ..Loaded::default()
    };
    let mut objects = Vec::new();
    let mut from = std::collections::HashMap::new();
    for file in files {
        for object in read(&file)? {
            from.entry(object.reference())
                .or_insert_with(|| file.clone());
            objects.push(object);
        }
    }
    let discovery = Discovery::new(api.kube().clone());
    let mut made = BTreeSet::new();
    for stage in stages::divide(objects) {
        for object in stage.objects {
            let refused = |why: String| ManifestFailure::Refused {
                object: object.reference().to_string(),
                path: from.get(&object.reference()).cloned().unwrap_or_default(),
                why,
            };
            let kind = discovery.kind_of(&object).await;
            let kind = kind.map_err(|e| refused(e.to_string()))?;
            let mut object = object.clone();
            if kind.namespaced && object.namespace().is_empty() {
                object.set(&["metadata", "namespace"], json!("default"));
            }
            let namespace = object.namespace().to_owned();
            if kind.namespaced && made.insert(namespace.clone()) && missing(api, &namespace).await?
            {
                out.namespaces.push(namespace);
            }
            let key = object.key();
            let write = Write::Apply {
                fields: object.clone(),
                force: true,
            };
            let applied = api.write(&kind, &key, write).await;
            applied.map_err(|e| refused(e.to_string()))?;
            out.objects += 1;
        }
    }
    Ok(out)
}

/// Makes a namespace unless it is there; says whether it was missing.
async fn missing(api: &ApiClient, name: &str) -> Result<bool, ManifestFailure> {
    let kind = Kind::cluster("", "v1", "Namespace", "namespaces");
    let key = Key::new("", name);
    if api.get(&kind, &key).await?.is_some() {
        return Ok(false);
    }
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    api.write(&kind, &key, Write::Create(Object(object)))
        .await?;
    Ok(true)
}

fn find(path: &Path, depth: usize, out: &mut Vec<PathBuf>) -> Result<(), ManifestFailure> {
    let failed = |cause| ManifestFailure::File {
        path: path.to_owned(),
        cause,
    };
    if std::fs::metadata(path).map_err(failed)?.is_file() {
        out.push(path.to_owned());
        return Ok(());
    }
    if depth > DEPTH {
        return Err(ManifestFailure::TooMuch {
            path: path.to_owned(),
            why: format!("directories nest more than {DEPTH} deep"),
        });
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort();
    for entry in entries {
        let hidden = entry
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        let manifest = entry
            .extension()
            .is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if entry.is_dir() || manifest {
            find(&entry, depth + 1, out)?;
        }
        if out.len() > FILES {
            return Err(ManifestFailure::TooMuch {
                path: path.to_owned(),
                why: format!("more than {FILES} files"),
            });
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Object>, ManifestFailure> {
    let failed = |cause| ManifestFailure::File {
        path: path.to_owned(),
        cause,
    };
    let unreadable = |why: String| ManifestFailure::Unreadable {
        path: path.to_owned(),
        why,
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > FILE_LIMIT {
        return Err(unreadable(format!(
            "it has {size} bytes, more than {FILE_LIMIT}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let documents = weir_yaml::from_str_all(&text).map_err(|e| unreadable(e.to_string()))?;
    let mut out = Vec::new();
    for document in documents {
        if document.is_null() {
            continue;
        }
        let object = Object(document);
        let items = object.get(&["items"]).and_then(serde_json::Value::as_array);
        let parts = match items {
            Some(items) if object.kind().ends_with("List") => {
                items.iter().cloned().map(Object).collect()
            }
            _ => vec![object],
        };
        for part in parts {
            if part.kind().is_empty() || part.api_version().is_empty() || part.name().is_empty() {
                return Err(unreadable(
                    "each object needs an apiVersion, a kind and a metadata.name".to_owned(),
                ));
            }
            out.push(part);
        }
    }
    Ok(out)
}

/// Whether a person would keep the object: nobody makes it again, and it says more than that it is
/// there.
fn kept(object: &Object) -> bool {
    let owned = object
        .get(&["metadata", "ownerReferences"])
        .and_then(serde_json::Value::as_array)
        .is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true));
    // A volume that was made for a claim is made again for it.
    let provisioned = object
        .annotation("pv.kubernetes.io/provisioned-by")
        .is_some();
    if owned || provisioned || object.is_deleting() {
        return false;
    }
    let bootstrap = object.label("kubernetes.io/bootstrapping").is_some();
    match (object.kind(), object.name()) {
        (
            "Event"
            | "Lease"
            | "Node"
            | "Endpoints"
            | "EndpointSlice"
            | "ControllerRevision"
            | "FlowSchema"
            | "PriorityLevelConfiguration"
            | "APIService"
            | "ComponentStatus",
            _,
        )
        | ("ServiceAccount", "default")
        | ("ConfigMap", "kube-root-ca.crt")
        | ("Service", "kubernetes")
        | ("StorageClass", "standard")
        | ("PriorityClass", "system-node-critical" | "system-cluster-critical")
        | ("Namespace", "default" | "kube-system" | "kube-public" | "kube-node-lease") => false,
        _ => !bootstrap,
    }
}

/// What the server wrote into an object's metadata.
const SERVERS: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "selfLink",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// The object as a person would write it.
fn plain(mut object: Object) -> Object {
    for field in SERVERS {
        object.remove(&["metadata", field]);
    }
    object.remove(&["status"]);
    if object.kind() == "Service" && object.text(&["spec", "clusterIP"]) != "None" {
        for field in ["clusterIP", "clusterIPs"] {
            object.remove(&["spec", field]);
        }
    }
    if object.kind() == "Pod" {
        object.remove(&["spec", "nodeName"]);
    }
    // A claim that was given a volume is given one again.
    let given = "pv.kubernetes.io/bound-by-controller";
    if object.kind() == "PersistentVolumeClaim" && object.annotation(given).is_some() {
        object.remove(&["spec", "volumeName"]);
        for key in [given, "pv.kubernetes.io/bind-completed"] {
            object.remove(&["metadata", "annotations", key]);
        }
    }
    object
}

/// Whether every sandbox starts with it; `definitions` are the names of those that it has.
fn installed(object: &Object, definitions: &BTreeSet<String>) -> bool {
    match (object.kind(), object.name()) {
        ("CustomResourceDefinition", name) => definitions.contains(name),
        ("GatewayClass", "sandbox") | ("StorageClass", "standard") => true,
        _ => false,
    }
}

/// Writes objects into a directory, a file each: `[namespace/]kind[.group]/name.yaml`. Says how many.
/// Objects that a controller or the sandbox makes again are left out.
pub(crate) fn dump(
    objects: impl IntoIterator<Item = Object>,
    dir: &Path,
) -> Result<usize, ManifestFailure> {
    let definitions: BTreeSet<String> = install::definitions()
        .map(|own| own.name().to_owned())
        .collect();
    let mut count = 0;
    let wanted = |object: &Object| kept(object) && !installed(object, &definitions);
    for object in objects.into_iter().filter(wanted) {
        let object = plain(object);
        let group = object
            .api_version()
            .split_once('/')
            .map_or("", |(group, _)| group);
        let mut kind = object.kind().to_lowercase();
        if !group.is_empty() {
            kind = format!("{kind}.{group}");
        }
        let mut at = dir.to_owned();
        if !object.namespace().is_empty() {
            at.push(file_name(object.namespace()));
        }
        at.push(file_name(&kind));
        std::fs::create_dir_all(&at).map_err(|cause| ManifestFailure::File {
            path: at.clone(),
            cause,
        })?;
        at.push(format!("{}.yaml", file_name(object.name())));
        let text = weir_yaml::to_string(&object.0);
        std::fs::write(&at, text).map_err(|cause| ManifestFailure::File {
            path: at.clone(),
            cause,
        })?;
        count += 1;
    }
    Ok(count)
}

/// A name as a part of a path: names of roles may hold what a path gives a meaning to. No two names
/// become one.
fn file_name(name: &str) -> String {
    use std::fmt::Write as _;
    if name.chars().all(|c| c == '.') {
        return name.replace('.', "%2E");
    }
    name.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dumped_is_what_a_person_would_write() {
        let dir = tempfile::tempdir().expect("a directory");
        let objects = [
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "shop",
                "uid": "u", "resourceVersion": "3", "managedFields": []},
                "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}, "status": {"loadBalancer": {}}}),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop",
                "ownerReferences": [{"controller": true}]}}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": "a:../b"}}),
        ];
        let count = dump(objects.into_iter().map(Object), dir.path()).expect("written");
        assert_eq!(count, 2);
        let text = std::fs::read_to_string(dir.path().join("shop/service/s.yaml")).expect("there");
        assert_eq!(
            text,
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\n  namespace: shop\nspec:\n  ports:\n  - port: 80\n"
        );
        let role = "clusterrole.rbac.authorization.k8s.io/a%3A..%2Fb.yaml";
        assert!(dir.path().join(role).is_file());
    }

    #[test]
    fn a_file_that_is_no_manifest_is_named_with_the_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, "a: [").expect("written");
        let failure = read(&file).expect_err("refused").to_string();
        assert!(
            failure.contains("a.yaml") && failure.contains("line 1"),
            "{failure}"
        );
        std::fs::write(&file, "kind: ConfigMap\n").expect("written");
        let failure = read(&file).expect_err("refused").to_string();
        assert!(failure.contains("metadata.name"), "{failure}");
        std::fs::write(&file, "---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n").expect("written");
        assert_eq!(read(&file).expect("read").len(), 1);
    }
}
