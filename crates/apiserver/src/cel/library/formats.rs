//! Owns the named formats: `format.dns1123Label().validate(x)`.

use super::{Entry, overload};
use crate::cel::eval::{Fault, Machine};
use crate::cel::hosts::{Host, Url};
use crate::cel::value::{Value, list, some, text};

const NAMES: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

macro_rules! constant {
    ($name:literal) => {
        (concat!("format.", $name), &["() NamedFormat"], |_, _| {
            Ok(Value::Host(Host::Format($name)))
        })
    };
}

pub(super) fn all() -> Vec<Entry> {
    vec![
        constant!("dns1123Label"),
        constant!("dns1123Subdomain"),
        constant!("dns1035Label"),
        constant!("qualifiedName"),
        constant!("dns1123LabelPrefix"),
        constant!("dns1123SubdomainPrefix"),
        constant!("dns1035LabelPrefix"),
        constant!("labelValue"),
        constant!("uri"),
        constant!("uuid"),
        constant!("byte"),
        constant!("date"),
        constant!("datetime"),
        (
            "format.named",
            &["(string) optional(NamedFormat)"],
            |_, args| match args {
                [Value::Text(t)] => Ok(match NAMES.into_iter().find(|name| *name == t.as_ref()) {
                    Some(name) => some(Value::Host(Host::Format(name))),
                    None => Value::Optional(None),
                }),
                _ => overload(),
            },
        ),
        (
            "validate",
            &[".(NamedFormat, string) optional(list(string))"],
            validate,
        ),
    ]
}

fn validate<'a>(_: &mut Machine<'a, '_>, args: &[Value<'a>]) -> Result<Value<'a>, Fault> {
    let [Value::Host(Host::Format(name)), Value::Text(value)] = args else {
        return overload();
    };
    let wrong = faults(name, value);
    Ok(if wrong.is_empty() {
        Value::Optional(None)
    } else {
        some(list(wrong.into_iter().map(text).collect()))
    })
}

fn inner(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric() && allowed(c);
    let mut chars = text.chars();
    chars.next().is_some_and(edge)
        && text.chars().next_back().is_some_and(edge)
        && text.chars().all(|c| edge(c) || allowed(c))
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

pub(crate) fn is_label(text: &str) -> bool {
    inner(text, |c| lower(c) || c == '-')
}

fn too_long(value: &str, max: usize, out: &mut Vec<String>) {
    if value.len() > max {
        out.push(format!("must be no more than {max} bytes"));
    }
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn is_subdomain(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(is_label)
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// What a prefix would become with a suffix: a trailing dash is covered.
fn masked(value: &str) -> String {
    match value.strip_suffix('-') {
        Some(head) if !head.is_empty() => format!("{head}a"),
        _ => value.to_owned(),
    }
}

fn faults(name: &str, value: &str) -> Vec<String> {
    let mut out = Vec::new();
    let value = if name.ends_with("Prefix") {
        masked(value)
    } else {
        value.to_owned()
    };
    let value = value.as_str();
    let mut unless = |fine: bool, said: &str| {
        if !fine {
            out.push(said.to_owned());
        }
    };
    match name {
        "dns1123Label" | "dns1123LabelPrefix" => {
            too_long(value, 63, &mut out);
            if !is_label(value) {
                out.push(
                    if is_subdomain(value) {
                        "must not contain dots"
                    } else {
                        LABEL
                    }
                    .to_owned(),
                );
            }
        }
        "dns1123Subdomain" | "dns1123SubdomainPrefix" => {
            too_long(value, 253, &mut out);
            if !is_subdomain(value) {
                out.push(SUBDOMAIN.to_owned());
            }
        }
        "dns1035Label" | "dns1035LabelPrefix" => {
            too_long(value, 63, &mut out);
            if !(is_label(value) && value.starts_with(|c: char| c.is_ascii_lowercase())) {
                out.push(LABEL_1035.to_owned());
            }
        }
        "labelValue" => {
            too_long(value, 63, &mut out);
            if !(value.is_empty() || inner(value, word)) {
                out.push(LABEL_VALUE.to_owned());
            }
        }
        "qualifiedName" => qualified(value, &mut out),
        "uri" => {
            if let Err(why) = Url::parse(value) {
                out.push(why);
            }
        }
        "uuid" => unless(
            crate::structural::formats::holds("uuid", value),
            "does not match the UUID format",
        ),
        "byte" => unless(
            crate::structural::formats::holds("byte", value),
            "invalid base64",
        ),
        "date" => unless(
            crate::structural::formats::holds("date", value),
            "invalid date",
        ),
        _ => unless(
            crate::structural::formats::holds("date-time", value),
            "invalid datetime",
        ),
    }
    out
}

fn qualified(value: &str, out: &mut Vec<String>) {
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".to_owned());
            } else if !is_subdomain(prefix) {
                out.push(format!("prefix part {SUBDOMAIN}"));
            }
            *name
        }
        _ => {
            out.push(format!(
                "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return;
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 bytes".to_owned());
    }
    if !inner(name, word) {
        out.push(format!("name part {QUALIFIED}"));
    }
}
