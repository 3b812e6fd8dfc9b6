//! Owns reading one kustomization file: every field is either understood, or refused by name and
//! line. Field names may be in any case, as they always could.

use serde_json::Value;
use weir_yaml::{Content, Node, Reader};

use crate::failure::{BuildError, Spot};
use crate::fields::FieldSpec;
use crate::images::Image;
use crate::order::Order;

/// The names a kustomization file may have.
pub(crate) const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A value with the place it was written at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) spot: Spot,
}

/// One entry of `labels`; `commonLabels` is one too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    /// Sorted by key.
    pub(crate) pairs: Vec<(String, String)>,
    pub(crate) selectors: bool,
    pub(crate) templates: bool,
    pub(crate) fields: Vec<FieldSpec>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kustomization {
    pub(crate) file: String,
    pub(crate) resources: Vec<Placed<String>>,
    pub(crate) namespace: Option<Placed<String>>,
    pub(crate) labels: Vec<Placed<Labels>>,
    pub(crate) common_annotations: Option<Placed<Vec<(String, String)>>>,
    pub(crate) images: Vec<Placed<Image>>,
    pub(crate) order: Option<Order>,
}

/// Fields that kustomize knows and that are refused by name.
const NOT_BUILT: [&str; 24] = [
    "buildMetadata",
    "components",
    "configMapGenerator",
    "configurations",
    "crds",
    "generatorOptions",
    "generators",
    "helmChartInflationGenerator",
    "helmCharts",
    "helmGlobals",
    "imageTags",
    "inventory",
    "namePrefix",
    "nameSuffix",
    "openapi",
    "patches",
    "patchesJson6902",
    "patchesStrategicMerge",
    "replacements",
    "replicas",
    "secretGenerator",
    "transformers",
    "validators",
    "vars",
];

/// A field: its name in small letters, the way to it, its value.
type Field<'v> = (String, Vec<String>, &'v Value);

/// The place in one file.
struct At<'a> {
    file: &'a str,
    root: &'a Node,
}

impl At<'_> {
    /// The spot of a field; the line is that of the deepest part that was written.
    fn spot(&self, path: &[String]) -> Spot {
        let mut node = self.root;
        let mut line = 0;
        for step in path {
            let next = match &node.content {
                Content::Sequence { items, .. } => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|i| items.get(i))
                    .map(|n| (n.place.line, n)),
                Content::Mapping { entries, .. } => entries
                    .iter()
                    .rev()
                    .find(|e| e.key.scalar().is_some_and(|(k, _)| k == step))
                    .map(|e| (e.key.place.line, &e.value)),
                _ => None,
            };
            let Some((at, next)) = next else { break };
            (line, node) = (at, next);
        }
        let mut field = String::new();
        for step in path {
            if step.parse::<usize>().is_ok() {
                field.extend(["[", step, "]"]);
            } else {
                if !field.is_empty() {
                    field.push('.');
                }
                field.push_str(step);
            }
        }
        Spot::new(self.file, line, field)
    }

    fn wrong(&self, path: &[String], expected: &str, found: &Value) -> BuildError {
        let what = format!(
            "{expected} belongs here, found {}",
            crate::fields::shape(found)
        );
        BuildError::Field {
            spot: self.spot(path),
            what,
        }
    }

    fn list<'v>(&self, path: &[String], value: &'v Value) -> Result<&'v [Value], BuildError> {
        match value {
            Value::Null => Ok(&[]),
            Value::Array(items) => Ok(items),
            other => Err(self.wrong(path, "a list", other)),
        }
    }

    fn text(&self, path: &[String], value: &Value) -> Result<String, BuildError> {
        match value {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            other => Err(self.wrong(path, "text (quote it)", other)),
        }
    }

    fn flag(&self, path: &[String], value: &Value) -> Result<bool, BuildError> {
        match value {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            other => Err(self.wrong(path, "true or false", other)),
        }
    }

    fn fields<'v>(&self, path: &[String], value: &'v Value) -> Result<Vec<Field<'v>>, BuildError> {
        match value {
            Value::Null => Ok(vec![]),
            Value::Object(map) => Ok(map
                .iter()
                .map(|(k, v)| (k.to_ascii_lowercase(), deeper(path, k), v))
                .collect()),
            other => Err(self.wrong(path, "a map", other)),
        }
    }

    fn pairs(&self, path: &[String], value: &Value) -> Result<Vec<(String, String)>, BuildError> {
        let mut out = Vec::new();
        match value {
            Value::Null => {}
            Value::Object(map) => {
                for (key, value) in map {
                    out.push((key.clone(), self.text(&deeper(path, key), value)?));
                }
            }
            other => return Err(self.wrong(path, "a map", other)),
        }
        out.sort();
        Ok(out)
    }
}

fn deeper(path: &[String], step: &str) -> Vec<String> {
    path.iter().cloned().chain([step.to_owned()]).collect()
}

/// Reads the text of a kustomization file.
pub(crate) fn read(file: &str, text: &str) -> Result<Kustomization, BuildError> {
    let yaml = |what| BuildError::Yaml {
        file: file.to_owned(),
        what,
    };
    let reader = Reader::default();
    let documents = reader.parse(text).map_err(yaml)?;
    // Only the first document counts.
    let Some(document) = documents.first() else {
        return Err(empty(file));
    };
    let value = reader.value(document).map_err(yaml)?;
    let at = At {
        file,
        root: &document.root,
    };
    refuse_repeated(&at)?;
    let mut out = Kustomization {
        file: file.to_owned(),
        ..Kustomization::default()
    };
    let (mut api_version, mut kind) = (String::new(), String::new());
    let (mut bases, mut common_labels, mut met) = (Vec::new(), None, false);
    for (name, path, value) in at.fields(&[], &value)? {
        let absent = is_absent(value);
        // An empty list or map is a way to say "nothing"; a null or an empty text says nothing.
        let said = !absent || value.is_array() || value.is_object();
        met |= said && !matches!(name.as_str(), "apiversion" | "kind");
        match name.as_str() {
            "apiversion" => api_version = at.text(&path, value)?,
            "kind" => kind = at.text(&path, value)?,
            "metadata" => drop(at.fields(&path, value)?),
            "resources" => out.resources = texts(&at, &path, value)?,
            "bases" => bases = texts(&at, &path, value)?,
            "namespace" => {
                let value = at.text(&path, value)?;
                let placed = Placed {
                    value,
                    spot: at.spot(&path),
                };
                out.namespace = Some(placed).filter(|p| !p.value.is_empty());
            }
            "labels" => out.labels.extend(labels(&at, &path, value)?),
            "commonlabels" => {
                let pairs = at.pairs(&path, value)?;
                let value = Labels {
                    pairs,
                    selectors: true,
                    ..Labels::default()
                };
                common_labels = Some(Placed {
                    value,
                    spot: at.spot(&path),
                });
            }
            "commonannotations" => {
                let value = at.pairs(&path, value)?;
                out.common_annotations = Some(Placed {
                    value,
                    spot: at.spot(&path),
                });
            }
            "images" => out.images = images(&at, &path, value)?,
            "sortoptions" if !value.is_null() => out.order = Some(order(&at, &path, value)?),
            "sortoptions" => {}
            name if NOT_BUILT.iter().any(|n| n.eq_ignore_ascii_case(name)) => {
                if !absent {
                    return Err(BuildError::NotBuilt(at.spot(&path)));
                }
            }
            _ => return Err(BuildError::UnknownField(at.spot(&path))),
        }
    }
    check_kind(&at, &kind, &api_version)?;
    if !met {
        return Err(empty(file));
    }
    out.resources.extend(bases);
    out.labels.extend(common_labels);
    Ok(out)
}

/// Of a field that is there twice only one could count, and the other would be left out silently.
fn refuse_repeated(at: &At<'_>) -> Result<(), BuildError> {
    let Content::Mapping { entries, .. } = &at.root.content else {
        return Ok(());
    };
    let mut seen: Vec<(String, usize)> = Vec::new();
    for entry in entries {
        let Some((key, _)) = entry.key.scalar() else {
            continue;
        };
        let (name, line) = (key.to_ascii_lowercase(), entry.key.place.line);
        if let Some((_, first)) = seen.iter().find(|(held, _)| *held == name) {
            return Err(BuildError::Field {
                spot: Spot::new(at.file, line, key),
                what: format!("the field is already there at line {first}; join the two"),
            });
        }
        seen.push((name, line));
    }
    Ok(())
}

fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn empty(file: &str) -> BuildError {
    let what = "the kustomization is empty; name at least one resource".to_owned();
    BuildError::Field {
        spot: Spot::file(file),
        what,
    }
}

fn check_kind(at: &At<'_>, kind: &str, api_version: &str) -> Result<(), BuildError> {
    let spot = |field: &str| at.spot(&[field.to_owned()]);
    match kind {
        "" | "Kustomization" => {}
        "Component" => return Err(BuildError::NotBuilt(spot("kind"))),
        _ => {
            let what = "the kind must be Kustomization".to_owned();
            return Err(BuildError::Field {
                spot: spot("kind"),
                what,
            });
        }
    }
    if !matches!(
        api_version,
        "" | "kustomize.config.k8s.io/v1beta1" | "kustomize.config.k8s.io/v1"
    ) {
        let what = "the version must be kustomize.config.k8s.io/v1beta1".to_owned();
        return Err(BuildError::Field {
            spot: spot("apiVersion"),
            what,
        });
    }
    Ok(())
}

fn texts(at: &At<'_>, path: &[String], value: &Value) -> Result<Vec<Placed<String>>, BuildError> {
    let mut out = Vec::new();
    for (i, item) in at.list(path, value)?.iter().enumerate() {
        let path = deeper(path, &i.to_string());
        let value = at.text(&path, item)?;
        if value.is_empty() {
            return Err(at.wrong(&path, "a path", item));
        }
        out.push(Placed {
            value,
            spot: at.spot(&path),
        });
    }
    Ok(out)
}

fn labels(at: &At<'_>, path: &[String], value: &Value) -> Result<Vec<Placed<Labels>>, BuildError> {
    let mut out = Vec::new();
    for (i, item) in at.list(path, value)?.iter().enumerate() {
        let path = deeper(path, &i.to_string());
        let mut labels = Labels::default();
        for (name, path, value) in at.fields(&path, item)? {
            match name.as_str() {
                "pairs" => labels.pairs = at.pairs(&path, value)?,
                "includeselectors" => labels.selectors = at.flag(&path, value)?,
                "includetemplates" => labels.templates = at.flag(&path, value)?,
                "fields" => labels.fields = field_specs(at, &path, value)?,
                _ => return Err(BuildError::UnknownField(at.spot(&path))),
            }
        }
        out.push(Placed {
            value: labels,
            spot: at.spot(&path),
        });
    }
    Ok(out)
}

fn field_specs(at: &At<'_>, path: &[String], value: &Value) -> Result<Vec<FieldSpec>, BuildError> {
    let mut out = Vec::new();
    for (i, item) in at.list(path, value)?.iter().enumerate() {
        let path = deeper(path, &i.to_string());
        let mut spec = FieldSpec::new("", "", "", "", false);
        for (name, path, value) in at.fields(&path, item)? {
            match name.as_str() {
                "group" => spec.group = at.text(&path, value)?,
                "version" => spec.version = at.text(&path, value)?,
                "kind" => spec.kind = at.text(&path, value)?,
                "path" => spec.path = at.text(&path, value)?,
                "create" => spec.create = at.flag(&path, value)?,
                _ => return Err(BuildError::UnknownField(at.spot(&path))),
            }
        }
        out.push(spec);
    }
    Ok(out)
}

fn images(at: &At<'_>, path: &[String], value: &Value) -> Result<Vec<Placed<Image>>, BuildError> {
    let mut out = Vec::new();
    for (i, item) in at.list(path, value)?.iter().enumerate() {
        let path = deeper(path, &i.to_string());
        let mut image = Image::default();
        for (name, path, value) in at.fields(&path, item)? {
            match name.as_str() {
                "name" => image.name = at.text(&path, value)?,
                "newname" => image.new_name = at.text(&path, value)?,
                "newtag" => image.new_tag = at.text(&path, value)?,
                "digest" => image.digest = at.text(&path, value)?,
                "tagsuffix" if is_absent(value) => {}
                "tagsuffix" => return Err(BuildError::NotBuilt(at.spot(&path))),
                _ => return Err(BuildError::UnknownField(at.spot(&path))),
            }
        }
        out.push(Placed {
            value: image,
            spot: at.spot(&path),
        });
    }
    Ok(out)
}

fn order(at: &At<'_>, path: &[String], value: &Value) -> Result<Order, BuildError> {
    let mut out = None;
    for (name, path, value) in at.fields(path, value)? {
        match name.as_str() {
            "order" => {
                out = match at.text(&path, value)?.as_str() {
                    "fifo" => Some(Order::Fifo),
                    "legacy" => Some(Order::Legacy),
                    _ => None,
                };
            }
            "legacysortoptions" if value.is_null() => {}
            "legacysortoptions" => return Err(BuildError::NotBuilt(at.spot(&path))),
            _ => return Err(BuildError::UnknownField(at.spot(&path))),
        }
    }
    out.ok_or_else(|| {
        let what = "`order` must be `legacy` or `fifo`".to_owned();
        BuildError::Field {
            spot: at.spot(path),
            what,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read("a/kustomization.yaml", text)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn every_field_is_understood_or_refused_with_its_line() {
        let text = "resources: [a.yaml]\n# soon\nnamePrefix: x-\n";
        assert_eq!(
            refused(text),
            "`a/kustomization.yaml` line 3, field `namePrefix`: this field is not built here yet; \
             nothing was built, so remove the field"
        );
        assert_eq!(
            refused("resources:\n- a.yaml\nimages:\n- name: a\n  newtag: 1\n"),
            "`a/kustomization.yaml` line 5, field `images[0].newtag`: text (quote it) belongs here, \
             found a number"
        );
        assert_eq!(
            refused("resources: [a.yaml]\nResources: []\n"),
            "`a/kustomization.yaml` line 2, field `Resources`: the field is already there at line 1; \
             join the two"
        );
        assert!(read("k", "resources: []\n").is_ok());
        assert!(refused("resources:\n").contains("is empty"));
        assert_eq!(
            refused("resource: [a]\n"),
            "`a/kustomization.yaml` line 1, field `resource`: there is no such field in a \
             kustomization; correct or remove it"
        );
        for name in NOT_BUILT {
            let error = read("k", &format!("{name}: [x]\n")).expect_err("refused");
            assert_eq!(error, BuildError::NotBuilt(Spot::new("k", 1, name)));
            assert!(read("k", &format!("resources: [a]\n{name}: []\n")).is_ok());
        }
        assert!(refused("").contains("empty"));
        assert!(refused("kind: Deployment\nresources: [a]").contains("must be Kustomization"));
        assert!(refused("- a").contains("a map belongs here"));
    }
}
