//! Owns the build: gathering the objects of a kustomization and of those it stands on, then
//! changing them level by level.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use weir_object::Object;

use crate::failure::{BuildError, Spot};
use crate::fields::{FieldSpec, Leaf, set_key};
use crate::files::{Entry, Files, join};
use crate::images::{self, Image};
use crate::kustomization::{self, Kustomization, Labels, NAMES, Placed};
use crate::order::{self, Order};
use crate::scope::effective_namespace;
use crate::{annotations, labels, namespace, references, resources};

/// Bounds of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Kustomizations inside of each other.
    pub depth: usize,
    /// Files read.
    pub files: usize,
    /// Bytes of one file.
    pub file_bytes: usize,
    /// Bytes of all files.
    pub bytes: usize,
    /// Objects.
    pub objects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 50,
            files: 20_000,
            file_bytes: 16 << 20,
            bytes: 256 << 20,
            objects: 50_000,
        }
    }
}

/// What is laid over the outermost kustomization before it is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Replaces its `namespace`.
    pub namespace: Option<String>,
    /// Merged into its `images`: the same name is replaced field by field, others are added.
    pub images: Vec<Image>,
}

/// How to build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The order of the objects where the kustomization does not say.
    pub order: Order,
    /// Bounds.
    pub limits: Limits,
    /// What is laid over the outermost kustomization.
    pub overrides: Overrides,
    /// Whether a directory without a kustomization file is built from all manifests in it.
    pub generate: bool,
}

/// What was built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Built {
    /// The objects, in order.
    pub objects: Vec<Object>,
}

impl Built {
    /// The objects as one YAML text, as kustomize prints it.
    pub fn to_yaml(&self) -> String {
        to_yaml(&self.objects)
    }
}

/// Objects as one YAML text, as kustomize prints it.
pub fn to_yaml(objects: &[Object]) -> String {
    weir_yaml::Writer::default().stream(objects.iter().map(|o| &o.0))
}

/// An object on its way through the build.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) object: Object,
    pub(crate) file: String,
    /// Name and effective namespace before each move to another namespace.
    pub(crate) previous: Vec<(String, String)>,
}

impl Resource {
    /// The effective namespace it was read with.
    pub(crate) fn original_namespace(&self) -> &str {
        match self.previous.first() {
            Some((_, namespace)) => namespace,
            None => effective_namespace(&self.object),
        }
    }

    fn id(&self) -> [String; 4] {
        let o = &self.object;
        [o.api_version(), o.kind(), effective_namespace(o), o.name()].map(str::to_owned)
    }
}

/// Builds the kustomization in directory `dir` (clean, below the root; empty for the root).
pub fn build(files: &dyn Files, dir: &str, options: &Options) -> Result<Built, BuildError> {
    let outside = |what| BuildError::File {
        spot: Spot::file(dir),
        what,
    };
    let dir = join("", dir).map_err(outside)?;
    let mut build = Build {
        files,
        limits: options.limits,
        count: 0,
        bytes: 0,
        visiting: vec![],
    };
    if files.entry(&dir).map_err(outside)? != Entry::Directory {
        return Err(BuildError::NoDirectory(shown(&dir).to_owned()));
    }
    let mut root = match build.load(&dir) {
        Err(BuildError::NoKustomization(_)) if options.generate => build.generate(&dir)?,
        loaded => loaded?,
    };
    options.overrides.lay_over(&mut root);
    let mut all = build.accumulate(&dir, &root)?;
    references::mend(&mut all)?;
    let local = "config.kubernetes.io/local-config";
    all.retain(|r| r.object.annotation(local).is_none_or(|v| v == "false"));
    let mut objects: Vec<Object> = all.into_iter().map(|r| r.object).collect();
    objects.iter_mut().for_each(annotations::drop_empty);
    if root.order.unwrap_or(options.order) == Order::Legacy {
        objects.sort_by(order::compare);
    }
    Ok(Built { objects })
}

fn shown(dir: &str) -> &str {
    if dir.is_empty() { "." } else { dir }
}

impl Overrides {
    fn lay_over(&self, root: &mut Kustomization) {
        let spot = |field: &str| Spot::new(root.file.clone(), 0, field);
        let (namespace_spot, images_spot) = (spot("namespace"), spot("images"));
        if let Some(namespace) = self.namespace.clone().filter(|n| !n.is_empty()) {
            root.namespace = Some(Placed {
                value: namespace,
                spot: namespace_spot,
            });
        }
        for image in &self.images {
            match root.images.iter_mut().find(|i| i.value.name == image.name) {
                Some(held) => {
                    if !image.new_name.is_empty() {
                        held.value.new_name.clone_from(&image.new_name);
                    }
                    if !image.new_tag.is_empty() || !image.digest.is_empty() {
                        held.value.new_tag.clone_from(&image.new_tag);
                        held.value.digest.clone_from(&image.digest);
                    }
                }
                None => {
                    root.images.push(Placed {
                        value: image.clone(),
                        spot: images_spot.clone(),
                    });
                }
            }
        }
    }
}

struct Build<'a> {
    files: &'a dyn Files,
    limits: Limits,
    count: usize,
    bytes: usize,
    /// The directories being built, outermost first.
    visiting: Vec<String>,
}

impl Build<'_> {
    /// Reads the kustomization file of a directory.
    fn load(&mut self, dir: &str) -> Result<Kustomization, BuildError> {
        let mut found = Vec::new();
        for name in NAMES {
            let path = inside(dir, name);
            let file = |what| BuildError::File {
                spot: Spot::file(path.clone()),
                what,
            };
            if self.files.entry(&path).map_err(file)? == Entry::File {
                found.push(name);
            }
        }
        match found[..] {
            [] => Err(BuildError::NoKustomization(shown(dir).to_owned())),
            [name] => {
                let path = inside(dir, name);
                let text = self.read(&path, &Spot::file(path.clone()))?;
                kustomization::read(&path, &text)
            }
            _ => Err(BuildError::SeveralKustomizations {
                dir: shown(dir).to_owned(),
                names: found.join(", "),
            }),
        }
    }

    /// Makes the kustomization that lists all manifests below `dir`. Directories that have a
    /// kustomization of their own are named as such; names that begin with a dot count too.
    fn generate(&mut self, dir: &str) -> Result<Kustomization, BuildError> {
        let file = inside(dir, NAMES[0]);
        let mut out = Kustomization {
            file: file.clone(),
            ..Kustomization::default()
        };
        let mut stack = vec![(dir.to_owned(), 0)];
        let mut seen = 0;
        while let Some((at, depth)) = stack.pop() {
            let failed = |what| BuildError::File {
                spot: Spot::file(at.clone()),
                what,
            };
            match self.files.entry(&at).map_err(failed)? {
                Entry::Directory => {
                    bound(
                        depth,
                        self.limits.depth,
                        "directories inside of each other",
                        &at,
                    )?;
                    let names = self.files.list(&at).map_err(failed)?;
                    let own = NAMES.iter().any(|n| names.iter().any(|m| m == n));
                    if own && at != dir {
                        out.resources.push(named(dir, &at, &file));
                        continue;
                    }
                    seen += names.len();
                    bound(seen, self.limits.files, "files", &at)?;
                    for name in names.into_iter().rev() {
                        stack.push((inside(&at, &name), depth + 1));
                    }
                }
                Entry::File if is_manifest(&at) => out.resources.push(named(dir, &at, &file)),
                _ => {}
            }
        }
        Ok(out)
    }

    fn read(&mut self, path: &str, named_at: &Spot) -> Result<String, BuildError> {
        self.count += 1;
        bound(self.count, self.limits.files, "files", path)?;
        let text = self
            .files
            .read(path, self.limits.file_bytes)
            .map_err(|what| BuildError::File {
                spot: named_at.clone(),
                what,
            })?;
        self.bytes += text.len();
        bound(self.bytes, self.limits.bytes, "bytes", path)?;
        Ok(text)
    }

    fn accumulate(&mut self, dir: &str, of: &Kustomization) -> Result<Vec<Resource>, BuildError> {
        bound(
            self.visiting.len(),
            self.limits.depth,
            "kustomizations inside of each other",
            dir,
        )?;
        self.visiting.push(dir.to_owned());
        let mut out: Vec<Resource> = Vec::new();
        let mut ids: HashMap<[String; 4], String> = HashMap::new();
        for entry in &of.resources {
            for resource in self.resource(dir, entry)? {
                if let Some(first) = ids.insert(resource.id(), resource.file.clone()) {
                    return Err(BuildError::Duplicate {
                        spot: entry.spot.clone(),
                        object: resource.object.reference().to_string(),
                        first,
                    });
                }
                out.push(resource);
                bound(out.len(), self.limits.objects, "objects", dir)?;
            }
        }
        transform(of, &mut out)?;
        self.visiting.pop();
        Ok(out)
    }

    fn resource(&mut self, dir: &str, entry: &Placed<String>) -> Result<Vec<Resource>, BuildError> {
        let failed = |what| BuildError::File {
            spot: entry.spot.clone(),
            what,
        };
        if is_remote(&entry.value) {
            let what = format!(
                "`{}` is not in the source, and nothing is fetched in a build; copy it into the source",
                entry.value
            );
            return Err(BuildError::Field {
                spot: entry.spot.clone(),
                what,
            });
        }
        let path = join(dir, &entry.value).map_err(failed)?;
        match self.files.entry(&path).map_err(failed)? {
            Entry::Absent => Err(BuildError::MissingResource {
                spot: entry.spot.clone(),
                path: entry.value.clone(),
            }),
            Entry::File => {
                let text = self.read(&path, &entry.spot)?;
                let objects = resources::read(&path, &text)?;
                let resource = |object| Resource {
                    object,
                    file: path.clone(),
                    previous: Vec::new(),
                };
                Ok(objects.into_iter().map(resource).collect())
            }
            Entry::Directory => {
                let inner = |outer: &String| {
                    path.is_empty() || *outer == path || outer.starts_with(&format!("{path}/"))
                };
                if self.visiting.iter().any(inner) {
                    return Err(BuildError::Cycle {
                        spot: entry.spot.clone(),
                        path: entry.value.clone(),
                    });
                }
                let of = self.load(&path)?;
                self.accumulate(&path, &of)
            }
        }
    }
}

fn bound(n: usize, limit: usize, what: &'static str, at: &str) -> Result<(), BuildError> {
    if n > limit {
        return Err(BuildError::TooMuch {
            spot: Spot::file(shown(at)),
            limit,
            what,
        });
    }
    Ok(())
}

fn inside(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}

fn named(dir: &str, path: &str, file: &str) -> Placed<String> {
    let relative = path
        .strip_prefix(dir)
        .unwrap_or(path)
        .trim_start_matches('/');
    Placed {
        value: format!("./{relative}"),
        spot: Spot::file(file),
    }
}

fn is_manifest(path: &str) -> bool {
    std::path::Path::new(path)
        .extension()
        .is_some_and(|e| e == "yaml" || e == "yml")
        || [".yaml", ".yml"]
            .iter()
            .any(|e| path.rsplit('/').next() == Some(*e))
}

fn is_remote(path: &str) -> bool {
    path.contains("://")
        || ["git::", "git@", "gh:", "github.com/", "github.com:"]
            .iter()
            .any(|p| path.starts_with(p))
}

fn transform(of: &Kustomization, all: &mut [Resource]) -> Result<(), BuildError> {
    if let Some(wanted) = &of.namespace {
        for resource in &mut *all {
            let before = (
                resource.object.name().to_owned(),
                effective_namespace(&resource.object).to_owned(),
            );
            resource.previous.push(before);
            let told = failure(&wanted.spot, &resource.object);
            namespace::set(&mut resource.object, &wanted.value).map_err(told)?;
        }
        let mut seen = HashSet::new();
        if let Some(twice) = all.iter().find(|r| !seen.insert(r.id())) {
            return Err(BuildError::Duplicate {
                spot: wanted.spot.clone(),
                object: twice.object.reference().to_string(),
                first: twice.file.clone(),
            });
        }
    }
    for entry in &of.labels {
        label(entry, all)?;
    }
    if let Some(wanted) = &of.common_annotations {
        write_pairs(&wanted.value, &annotations::places(), &wanted.spot, all)?;
    }
    for image in &of.images {
        let matcher = image.value.matcher().map_err(|what| BuildError::Field {
            spot: image.spot.clone(),
            what: format!("the name cannot be read as a pattern: {what}"),
        })?;
        for resource in &mut *all {
            let told = failure(&image.spot, &resource.object);
            images::replace(&mut resource.object, &image.value, &matcher).map_err(told)?;
        }
    }
    Ok(())
}

fn failure(spot: &Spot, object: &Object) -> impl Fn((String, String)) -> BuildError + use<> {
    let (spot, object) = (spot.clone(), object.reference().to_string());
    move |(path, what)| BuildError::Transform {
        spot: spot.clone(),
        object: object.clone(),
        path,
        what,
    }
}

fn label(entry: &Placed<Labels>, all: &mut [Resource]) -> Result<(), BuildError> {
    let labels = &entry.value;
    let mut usual = Vec::new();
    if labels.selectors {
        usual.extend(labels::selectors());
    } else {
        if labels.templates {
            usual.extend(labels::templates());
        }
        usual.extend(labels::metadata());
    }
    let mut places = labels.fields.clone();
    for place in usual {
        match places.iter().find(|held| held.stands_for(&place)) {
            None => places.push(place),
            Some(held) if held.create == place.create => {}
            Some(held) => {
                return Err(BuildError::Field {
                    spot: entry.spot.clone(),
                    what: format!(
                        "the field `{}` is labelled anyway, with `create: {}`; remove it from `fields`",
                        held.path, place.create
                    ),
                });
            }
        }
    }
    write_pairs(&labels.pairs, &places, &entry.spot, all)
}

fn write_pairs(
    pairs: &[(String, String)],
    places: &[FieldSpec],
    spot: &Spot,
    all: &mut [Resource],
) -> Result<(), BuildError> {
    for resource in all {
        let told = failure(spot, &resource.object);
        for (key, value) in pairs {
            for place in places
                .iter()
                .filter(|p| p.matches(&resource.object))
                .cloned()
                .collect::<Vec<_>>()
            {
                let mut set = |at: &mut Value| set_key(at, key, value);
                let changed = place.visit(&mut resource.object, Leaf::Map, &mut set);
                changed.map_err(|what| told((place.path.clone(), what)))?;
            }
        }
    }
    Ok(())
}
