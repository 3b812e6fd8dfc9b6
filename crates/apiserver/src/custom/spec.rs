//! Owns the rules of a definition beside its schemas: names, versions, columns, subresources,
//! conversion. What versions have in common is told once, under the names the API keeps it by.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weir_object::path;

use super::schema::{self, Place};
use super::{flag, versions};
use crate::refusal::Cause;
use crate::structural::{Structural, Type, selectable_path};

const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const APPROVED: &str = "api-approved.kubernetes.io";

/// What is wrong with a label, if anything.
fn label_1035(text: &str) -> Option<String> {
    let mut wrong = Vec::new();
    if text.len() > 63 {
        wrong.push("must be no more than 63 bytes".to_owned());
    }
    let shaped = text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !shaped {
        wrong.push(LABEL_1035.to_owned());
    }
    (!wrong.is_empty()).then(|| wrong.join(","))
}

fn is_subdomain(text: &str) -> bool {
    let word = |part: &str| {
        let edge =
            |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        edge(part.chars().next())
            && edge(part.chars().next_back())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    text.len() <= 253 && text.split('.').all(word)
}

/// What all versions have alike, if they do. Absent everywhere is alike too.
#[expect(clippy::option_option, reason = "alike, and then present or absent")]
fn common<'a>(definition: &'a Value, of: &[&str]) -> Option<Option<&'a Value>> {
    let mut all = versions(definition).map(|v| path::get(v, of));
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// All that is wrong with a definition.
pub(crate) fn check_definition(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut out = Vec::new();
    let text = |p: &[&str]| path::text(new, p).to_owned();
    let (group, plural) = (text(&["spec", "group"]), text(&["spec", "names", "plural"]));
    let name = text(&["metadata", "name"]);
    if old.is_none() && name != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        out.push(Cause::invalid("metadata.name", &name.into(), detail));
    }
    if group.is_empty() {
        out.push(Cause::required("spec.group", ""));
    } else if !is_subdomain(&group) {
        out.push(Cause::invalid(
            "spec.group",
            &group.as_str().into(),
            SUBDOMAIN,
        ));
    } else if !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        out.push(Cause::invalid("spec.group", &group.as_str().into(), detail));
    }
    let scope = text(&["spec", "scope"]);
    match scope.as_str() {
        "Namespaced" | "Cluster" => {}
        "" => out.push(Cause::required("spec.scope", "")),
        other => out.push(Cause::unsupported(
            "spec.scope",
            &other.into(),
            &["Cluster", "Namespaced"],
        )),
    }
    check_versions(new, old, &mut out);
    check_names(new, &mut out);
    check_common(new, old, &mut out);
    check_conversion(new, &mut out);
    if let Some(old) = old {
        check_fixed(new, old, &mut out);
    }
    check_stored(new, &mut out);
    check_approval(new, old, &mut out);
    if path::get(new, &["spec", "preserveUnknownFields"]) == Some(&Value::Bool(true))
        && old.and_then(|old| path::get(old, &["spec", "preserveUnknownFields"]))
            != Some(&Value::Bool(true))
    {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                      spec.versions[*].schema instead";
        let field = "spec.preserveUnknownFields";
        out.push(Cause::invalid(field, &true.into(), detail));
    }
    out
}

fn check_versions(new: &Value, old: Option<&Value>, out: &mut Vec<Cause>) {
    let alike = |of: &[&str]| common(new, of).is_some();
    let schemas = !alike(&["schema"]);
    let missing = |v: &Value| path::get(v, &["schema", "openAPIV3Schema"]).is_none();
    for (i, version) in versions(new).enumerate() {
        if missing(version) {
            let field = format!("spec.versions[{i}].schema.openAPIV3Schema");
            out.push(Cause::required(field, ""));
        }
    }
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (i, version) in versions(new).enumerate() {
        let at = format!("spec.versions[{i}]");
        let name = path::text(version, &["name"]);
        unique &= seen.insert(name);
        if let Some(wrong) = label_1035(name) {
            out.push(Cause::invalid(format!("{at}.name"), &name.into(), &wrong));
        }
        check_deprecation(version, &at, out);
        if schemas && let Some(schema) = path::get(version, &["schema", "openAPIV3Schema"]) {
            let place = Place::new(format!("{at}.schema"), is_kept(old, name, schema));
            schema::check(schema, has_status(version), &place, out);
        }
        if !alike(&["subresources"]) {
            check_subresources(version, &format!("{at}.subresources"), out);
        }
        if !alike(&["additionalPrinterColumns"]) {
            check_columns(version, &format!("{at}.additionalPrinterColumns"), out);
        }
        if !alike(&["selectableFields"]) {
            check_selectable(version, &format!("{at}.selectableFields"), out);
        }
    }
    let shown = || shown_versions(new);
    if !unique {
        let detail = "must contain unique version names";
        out.push(Cause::invalid("spec.versions", &shown(), detail));
    }
    if versions(new).filter(|v| flag(v, "storage")).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        out.push(Cause::invalid("spec.versions", &shown(), detail));
    }
    if let Some(name) = versions(new).next().map(|v| path::text(v, &["name"]))
        && !name.is_empty()
        && let Some(wrong) = label_1035(name)
    {
        out.push(Cause::invalid("spec.version", &name.into(), &wrong));
    }
}

/// Whether the schema of the version was there before: its cost was accepted then.
fn is_kept(old: Option<&Value>, name: &str, schema: &Value) -> bool {
    old.into_iter().flat_map(versions).any(|v| {
        path::text(v, &["name"]) == name
            && path::get(v, &["schema", "openAPIV3Schema"]) == Some(schema)
    })
}

fn has_status(version: &Value) -> bool {
    path::get(version, &["subresources", "status"]).is_some()
}

/// The versions as they are printed: without what they have in common.
fn shown_versions(new: &Value) -> Value {
    let own = |version: &Value, field: &str| {
        if common(new, &[field]).is_some() {
            Value::Null
        } else {
            version.get(field).cloned().unwrap_or_default()
        }
    };
    let list: Vec<Value> = versions(new)
        .map(|v| {
            json!({
                "Name": path::text(v, &["name"]), "Served": flag(v, "served"),
                "Storage": flag(v, "storage"), "Deprecated": flag(v, "deprecated"),
                "DeprecationWarning": v.get("deprecationWarning"), "Schema": own(v, "schema"),
                "Subresources": own(v, "subresources"),
                "AdditionalPrinterColumns": own(v, "additionalPrinterColumns"),
                "SelectableFields": own(v, "selectableFields"),
            })
        })
        .collect();
    // An empty list is told apart from none.
    if list.is_empty() && path::get(new, &["spec", "versions"]).is_none_or(Value::is_null) {
        return Value::Null;
    }
    list.into()
}

fn check_deprecation(version: &Value, at: &str, out: &mut Vec<Cause>) {
    let Some(warning) = version.get("deprecationWarning") else {
        return;
    };
    let text = warning.as_str().unwrap_or_default();
    let mut wrong = |detail: &str| {
        out.push(Cause::invalid(
            format!("{at}.deprecationWarning"),
            warning,
            detail,
        ));
    };
    if !flag(version, "deprecated") {
        wrong("can only be set for deprecated versions");
        return;
    }
    if text.len() > 256 {
        wrong("must be <= 256 characters long");
    }
    if text.is_empty() {
        wrong("must not be an empty string");
    }
    if let Some((at, _)) = text.char_indices().find(|(_, c)| c.is_control()) {
        wrong(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
}

fn check_names(new: &Value, out: &mut Vec<Cause>) {
    let text = |field: &str| path::text(new, &["spec", "names", field]).to_owned();
    let at = |field: &str| format!("spec.names.{field}");
    for field in ["plural", "singular", "kind", "listKind"] {
        if text(field).is_empty() {
            out.push(Cause::required(at(field), ""));
        }
    }
    for field in ["plural", "singular"] {
        let value = text(field);
        if let Some(wrong) = label_1035(&value).filter(|_| !value.is_empty()) {
            out.push(Cause::invalid(at(field), &value.into(), &wrong));
        }
    }
    for field in ["kind", "listKind"] {
        let value = text(field);
        if let Some(wrong) = label_1035(&value.to_lowercase()).filter(|_| !value.is_empty()) {
            let detail = format!("may have mixed case, but should otherwise match: {wrong}");
            out.push(Cause::invalid(at(field), &value.into(), &detail));
        }
    }
    let list = |field: &str| super::texts(path::get(new, &["spec", "names", field]));
    let each = |field: &str, out: &mut Vec<Cause>| {
        for (i, value) in list(field).into_iter().enumerate() {
            if let Some(wrong) = label_1035(&value) {
                let field = format!("{}[{i}]", at(field));
                out.push(Cause::invalid(field, &value.into(), &wrong));
            }
        }
    };
    each("shortNames", out);
    let kind = text("kind");
    if !kind.is_empty() && kind == text("listKind") {
        let detail = "kind and listKind may not be the same";
        out.push(Cause::invalid(at("listKind"), &kind.into(), detail));
    }
    each("categories", out);
}

/// What all versions have alike is kept, and told, beside them.
fn check_common(new: &Value, old: Option<&Value>, out: &mut Vec<Cause>) {
    let Some(first) = versions(new).next() else {
        return;
    };
    if let Some(Some(schema)) = common(new, &["schema"])
        && let Some(schema) = schema.get("openAPIV3Schema")
    {
        let kept = is_kept(old, path::text(first, &["name"]), schema);
        let place = Place::new("spec.validation".to_owned(), kept);
        schema::check(schema, versions(new).any(has_status), &place, out);
    }
    if common(new, &["subresources"]).is_some() {
        check_subresources(first, "spec.subresources", out);
    }
    if common(new, &["additionalPrinterColumns"]).is_some() {
        check_columns(first, "spec.additionalPrinterColumns", out);
    }
    if common(new, &["selectableFields"]).is_some() {
        check_selectable(first, "spec.selectableFields", out);
    }
}

fn check_subresources(version: &Value, at: &str, out: &mut Vec<Cause>) {
    let Some(scale) = path::get(version, &["subresources", "scale"]) else {
        return;
    };
    for (key, under, may_miss, said) in [
        ("specReplicasPath", &[".spec."][..], false, ".spec"),
        ("statusReplicasPath", &[".status."][..], false, ".status"),
        (
            "labelSelectorPath",
            &[".spec.", ".status."][..],
            true,
            "either .spec or .status",
        ),
    ] {
        let value = path::text(scale, &[key]);
        let field = format!("{at}.scale.{key}");
        if value.is_empty() {
            if !may_miss {
                out.push(Cause::required(field, ""));
            }
        } else if !value.starts_with('.') {
            let detail = "must be a simple json path starting with .";
            out.push(Cause::invalid(field, &value.into(), detail));
        } else if !under.iter().any(|prefix| value.starts_with(prefix)) {
            let detail = format!("should be a json path under {said}");
            out.push(Cause::invalid(field, &value.into(), &detail));
        }
    }
}

fn check_columns(version: &Value, at: &str, out: &mut Vec<Cause>) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 9] = [
        "byte",
        "date",
        "date-time",
        "double",
        "float",
        "int32",
        "int64",
        "password",
        "string",
    ];
    let columns = version
        .get("additionalPrinterColumns")
        .and_then(Value::as_array);
    for (i, column) in columns.into_iter().flatten().enumerate() {
        let text = |key: &str| path::text(column, &[key]).to_owned();
        let at = |key: &str| format!("{at}[{i}].{key}");
        if text("name").is_empty() {
            out.push(Cause::required(at("name"), ""));
        }
        let kind = text("type");
        let one_of = format!("must be one of {}", TYPES.join(","));
        if kind.is_empty() {
            out.push(Cause::required(at("type"), &one_of));
        } else if !TYPES.contains(&kind.as_str()) {
            out.push(Cause::invalid(at("type"), &kind.into(), &one_of));
        }
        let format = text("format");
        if !format.is_empty() && !FORMATS[..8].contains(&format.as_str()) {
            let detail = format!("must be one of {}", FORMATS[..8].join(","));
            out.push(Cause::invalid(at("format"), &format.into(), &detail));
        }
        let jsonpath = text("jsonPath");
        if jsonpath.is_empty() {
            out.push(Cause::required(at("JSONPath"), ""));
        } else if !jsonpath.starts_with('.') {
            let detail = "must be a simple json path starting with .";
            out.push(Cause::invalid(at("JSONPath"), &jsonpath.into(), detail));
        }
    }
}

fn check_selectable(version: &Value, at: &str, out: &mut Vec<Cause>) {
    let fields = version.get("selectableFields").and_then(Value::as_array);
    let Some(fields) = fields.filter(|f| !f.is_empty()) else {
        return;
    };
    let Some(schema) = path::get(version, &["schema", "openAPIV3Schema"]) else {
        return;
    };
    let schema = Structural::read_unruled(schema);
    let mut seen = BTreeSet::new();
    for (i, field) in fields.iter().enumerate() {
        let value = path::text(field, &["jsonPath"]).to_owned();
        let at = format!("{at}[{i}].jsonPath");
        if value.is_empty() {
            out.push(Cause::required(at, ""));
            continue;
        }
        let shown: Value = value.as_str().into();
        let (path, found) = match selectable_path(&value, &schema) {
            Ok(found) => found,
            Err(why) => {
                let detail = format!("is an invalid path: {why}");
                out.push(Cause::invalid(at, &shown, &detail));
                continue;
            }
        };
        if path == "metadata" || path.starts_with("metadata.") {
            let detail = "must not point to fields in metadata";
            out.push(Cause::invalid(at.clone(), &shown, detail));
        }
        if !matches!(
            found.kind,
            Some(Type::String | Type::Boolean | Type::Integer)
        ) {
            let detail = "must point to a field of type string, boolean or integer. Enum string \
                          fields and strings with formats are allowed.";
            out.push(Cause::invalid(at.clone(), &shown, detail));
        }
        if !seen.insert(path) {
            out.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: {shown}"),
                field: at,
            });
        }
    }
    if seen.len() > 8 {
        out.push(Cause {
            reason: "FieldValueTooMany",
            message: format!("Too many: {}: must have at most 8 items", seen.len()),
            field: at.to_owned(),
        });
    }
}

fn check_conversion(new: &Value, out: &mut Vec<Cause>) {
    let Some(conversion) = path::get(new, &["spec", "conversion"]) else {
        return;
    };
    let at = |field: &str| format!("spec.conversion.{field}");
    let client = path::get(conversion, &["webhook", "clientConfig"]);
    let reviews = path::get(conversion, &["webhook", "conversionReviewVersions"]);
    match path::text(conversion, &["strategy"]) {
        "" => out.push(Cause::required(at("strategy"), "")),
        "Webhook" => {
            let url = client.and_then(|c| c.get("url"));
            let service = client.and_then(|c| c.get("service"));
            if client.is_none() {
                let detail = "required when strategy is set to Webhook";
                out.push(Cause::required(at("webhookClientConfig"), detail));
            } else if url.is_some() == service.is_some() {
                let detail = "exactly one of url or service is required";
                out.push(Cause::required(at("webhookClientConfig"), detail));
            } else if let Some(url) = url
                && !url.as_str().is_some_and(|u| u.starts_with("https://"))
            {
                let detail =
                    "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                let scheme = url.as_str().unwrap_or_default().split(':').next();
                let field = at("webhookClientConfig.url");
                out.push(Cause::invalid(field, &scheme.into(), detail));
            } else if let Some(service) = service {
                for field in ["name", "namespace"] {
                    if path::text(service, &[field]).is_empty() {
                        let field = at(&format!("webhookClientConfig.service.{field}"));
                        let said = format!(
                            "service {} is required",
                            field.rsplit('.').next().unwrap_or_default()
                        );
                        out.push(Cause::required(field, &said));
                    }
                }
            }
            let names = super::texts(reviews);
            let field = at("conversionReviewVersions");
            if names.is_empty() {
                out.push(Cause::required(field, ""));
            } else if !names.iter().any(|n| n == "v1" || n == "v1beta1") {
                let detail = "must include at least one of v1, v1beta1";
                out.push(Cause::invalid(field, &json!(names), detail));
            }
        }
        "None" => {
            let detail = "should not be set when strategy is not set to Webhook";
            if client.is_some() {
                out.push(Cause::forbidden(at("webhookClientConfig"), detail));
            }
            if !super::texts(reviews).is_empty() {
                out.push(Cause::forbidden(at("conversionReviewVersions"), detail));
            }
        }
        other => out.push(Cause::unsupported(
            at("strategy"),
            &other.into(),
            &["None", "Webhook"],
        )),
    }
}

/// What may not change: the group and plural ever, kind and scope once they are established.
fn check_fixed(new: &Value, old: &Value, out: &mut Vec<Cause>) {
    let mut fixed = |p: &[&str]| {
        let value = path::get(new, p).cloned().unwrap_or_default();
        if path::get(old, p) != Some(&value) {
            out.push(Cause::invalid(p.join("."), &value, "field is immutable"));
        }
    };
    if super::status::is_true(old, "Established") {
        fixed(&["spec", "scope"]);
        fixed(&["spec", "names", "kind"]);
    }
    fixed(&["spec", "group"]);
    fixed(&["spec", "names", "plural"]);
}

fn check_stored(new: &Value, out: &mut Vec<Cause>) {
    let field = "status.storedVersions";
    let stored = super::texts(path::get(new, &["status", "storedVersions"]));
    if stored.is_empty() {
        let detail = "must have at least one stored version";
        out.push(Cause::invalid(field, &Value::Null, detail));
        return;
    }
    for (i, name) in stored.iter().enumerate() {
        if !versions(new).any(|v| path::text(v, &["name"]) == name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {name} and removes {name} from status.storedVersions"
            );
            let field = format!("{field}[{i}]");
            out.push(Cause::invalid(field, &name.as_str().into(), &detail));
        }
    }
}

/// Groups of the Kubernetes project need an approval.
fn check_approval(new: &Value, old: Option<&Value>, out: &mut Vec<Cause>) {
    let group = path::text(new, &["spec", "group"]);
    let within = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    if !within("k8s.io") && !within("kubernetes.io") {
        return;
    }
    let note = |of: &Value| path::text(of, &["metadata", "annotations", APPROVED]).to_owned();
    let value = note(new);
    if old.is_some_and(|old| note(old) == value) {
        return;
    }
    let field = format!("metadata.annotations[{APPROVED}]");
    if value.is_empty() {
        let detail = format!(
            "protected groups must have approval annotation \"{APPROVED}\", see \
             https://github.com/kubernetes/enhancements/pull/1111"
        );
        out.push(Cause::required(field, &detail));
    } else if !value.starts_with("unapproved") && url::Url::parse(&value).is_err() {
        let detail = format!(
            "protected groups must have approval annotation \"{APPROVED}\" with either a URL or a \
             reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"
        );
        out.push(Cause::invalid(field, &value.into(), &detail));
    }
}
