//! Owns the functions of addresses, networks, URLs, quantities, versions and the authorizer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Entry, overload, truth};
use crate::cel::eval::{Fault, Machine};
use crate::cel::hosts::{Cidr, Host, Quantity, Question, Semver, Url, parse_ip};
use crate::cel::value::{Key, Map, Value, list, text};

type Outcome<'a> = Result<Value<'a>, Fault>;

pub(super) fn all() -> Vec<Entry> {
    let mut out = networks();
    out.extend(urls());
    out.extend(amounts());
    out.extend(authorizer());
    out
}

fn networks() -> Vec<Entry> {
    vec![
        ("ip", &["(string) IP", ".(CIDR) IP"], |_, args| match args {
            [Value::Text(t)] => Ok(Value::Host(Host::Ip(parse_ip(t).map_err(Fault::said)?))),
            [Value::Host(Host::Cidr(cidr))] => Ok(Value::Host(Host::Ip(cidr.ip))),
            _ => overload(),
        }),
        ("isIP", &["(string) bool"], |_, args| match args {
            [Value::Text(t)] => truth(parse_ip(t).is_ok()),
            _ => overload(),
        }),
        ("ip.isCanonical", &["(string) bool"], |_, args| match args {
            [Value::Text(t)] => truth(parse_ip(t).map_err(Fault::said)?.to_string() == *t),
            _ => overload(),
        }),
        ("family", &[".(IP) int"], |_, args| match args {
            [Value::Host(Host::Ip(ip))] => Ok(Value::Int(if ip.is_ipv4() { 4 } else { 6 })),
            _ => overload(),
        }),
        ("isUnspecified", &[".(IP) bool"], |_, args| {
            of_ip(args, |ip| ip.is_unspecified())
        }),
        ("isLoopback", &[".(IP) bool"], |_, args| {
            of_ip(args, |ip| ip.is_loopback())
        }),
        ("isLinkLocalMulticast", &[".(IP) bool"], |_, args| {
            of_ip(args, |ip| match ip {
                IpAddr::V4(ip) => matches!(ip.octets(), [224, 0, 0, _]),
                IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
            })
        }),
        ("isLinkLocalUnicast", &[".(IP) bool"], |_, args| {
            of_ip(args, link_local)
        }),
        ("isGlobalUnicast", &[".(IP) bool"], |_, args| {
            of_ip(args, |ip| {
                let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
                !(ip.is_unspecified()
                    || ip.is_loopback()
                    || ip.is_multicast()
                    || link_local(ip)
                    || broadcast)
            })
        }),
        ("cidr", &["(string) CIDR"], |_, args| match args {
            [Value::Text(t)] => match Cidr::parse(t) {
                Ok(cidr) => Ok(Value::Host(Host::Cidr(cidr))),
                Err(why) => Err(Fault::said(format!(
                    "network address parse error during conversion from string: {why}"
                ))),
            },
            _ => overload(),
        }),
        ("isCIDR", &["(string) bool"], |_, args| match args {
            [Value::Text(t)] => truth(Cidr::parse(t).is_ok()),
            _ => overload(),
        }),
        (
            "containsIP",
            &[".(CIDR, string) bool", ".(CIDR, IP) bool"],
            |_, args| match args {
                [Value::Host(Host::Cidr(cidr)), Value::Host(Host::Ip(ip))] => {
                    truth(cidr.contains(*ip))
                }
                [Value::Host(Host::Cidr(cidr)), Value::Text(t)] => {
                    truth(cidr.contains(parse_ip(t).map_err(Fault::said)?))
                }
                _ => overload(),
            },
        ),
        (
            "containsCIDR",
            &[".(CIDR, string) bool", ".(CIDR, CIDR) bool"],
            |_, args| match args {
                [
                    Value::Host(Host::Cidr(cidr)),
                    Value::Host(Host::Cidr(other)),
                ] => truth(cidr.contains_network(*other)),
                [Value::Host(Host::Cidr(cidr)), Value::Text(t)] => match Cidr::parse(t) {
                    Ok(other) => truth(cidr.contains_network(other)),
                    Err(why) => Err(Fault::said(format!(
                        "network address parse error during conversion from string: {why}"
                    ))),
                },
                _ => overload(),
            },
        ),
        ("prefixLength", &[".(CIDR) int"], |_, args| match args {
            [Value::Host(Host::Cidr(cidr))] => Ok(Value::Int(i64::from(cidr.length))),
            _ => overload(),
        }),
        ("masked", &[".(CIDR) CIDR"], |_, args| match args {
            [Value::Host(Host::Cidr(cidr))] => Ok(Value::Host(Host::Cidr(cidr.masked()))),
            _ => overload(),
        }),
    ]
}

fn link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn of_ip<'a>(args: &[Value<'a>], is: impl Fn(IpAddr) -> bool) -> Outcome<'a> {
    match args {
        [Value::Host(Host::Ip(ip))] => truth(is(*ip)),
        _ => overload(),
    }
}

fn of_url<'a>(args: &[Value<'a>], part: impl Fn(&Url) -> &str) -> Outcome<'a> {
    match args {
        [Value::Host(Host::Url(url))] => Ok(text(part(url))),
        _ => overload(),
    }
}

fn urls() -> Vec<Entry> {
    vec![
        ("url", &["(string) URL"], |_, args| match args {
            [Value::Text(t)] => match Url::parse(t) {
                Ok(url) => Ok(Value::Host(Host::Url(Arc::new(url)))),
                Err(why) => Err(Fault::said(format!(
                    "URL parse error during conversion from string: {why}"
                ))),
            },
            _ => overload(),
        }),
        ("isURL", &["(string) bool"], |_, args| match args {
            [Value::Text(t)] => truth(Url::parse(t).is_ok()),
            _ => overload(),
        }),
        ("getScheme", &[".(URL) string"], |_, args| {
            of_url(args, |url| &url.scheme)
        }),
        ("getHost", &[".(URL) string"], |_, args| {
            of_url(args, |url| &url.host)
        }),
        ("getHostname", &[".(URL) string"], |_, args| {
            of_url(args, Url::hostname)
        }),
        ("getPort", &[".(URL) string"], |_, args| {
            of_url(args, Url::port)
        }),
        ("getEscapedPath", &[".(URL) string"], |_, args| {
            of_url(args, |url| &url.path)
        }),
        (
            "getQuery",
            &[".(URL) map(string, list(string))"],
            |_, args| {
                let [Value::Host(Host::Url(url))] = args else {
                    return overload();
                };
                let mut found: BTreeMap<String, Vec<Value<'_>>> = BTreeMap::new();
                for (name, value) in url::form_urlencoded::parse(url.query.as_bytes()) {
                    found
                        .entry(name.into_owned())
                        .or_default()
                        .push(text(value));
                }
                let found = found
                    .into_iter()
                    .map(|(name, values)| (Key::Text(name), list(values)));
                Ok(Value::Map(Map::Owned(Arc::new(found.collect()))))
            },
        ),
    ]
}

fn quantities(args: &[Value<'_>]) -> Result<(Quantity, Quantity), Fault> {
    match args {
        [
            Value::Host(Host::Quantity(a)),
            Value::Host(Host::Quantity(b)),
        ] => Ok((*a, *b)),
        [Value::Host(Host::Quantity(a)), Value::Int(b)] => Ok((*a, Quantity::whole(*b))),
        _ => overload(),
    }
}

/// The order of two quantities or two versions.
fn ordered(args: &[Value<'_>]) -> Result<std::cmp::Ordering, Fault> {
    match args {
        [Value::Host(Host::Semver(a)), Value::Host(Host::Semver(b))] => Ok(a.compare(b)),
        [
            Value::Host(Host::Quantity(a)),
            Value::Host(Host::Quantity(b)),
        ] => Ok(a.order(*b)),
        _ => overload(),
    }
}

fn sum<'a>(value: Option<Quantity>) -> Outcome<'a> {
    match value {
        Some(v) => Ok(Value::Host(Host::Quantity(v))),
        None => Err(Fault::said("quantity overflow")),
    }
}

fn number<'a>(args: &[Value<'a>], at: usize) -> Outcome<'a> {
    match args {
        [Value::Host(Host::Semver(v))] => {
            Ok(Value::Int(v.numbers.get(at).map_or(0, |n| *n as i64)))
        }
        _ => overload(),
    }
}

fn version(args: &[Value<'_>]) -> Result<Option<Semver>, Fault> {
    match args {
        [Value::Text(t)] | [Value::Text(t), Value::Bool(false)] => Ok(Semver::parse(t)),
        [Value::Text(t), Value::Bool(true)] => Ok(Semver::parse_tolerant(t)),
        _ => overload(),
    }
}

fn amounts() -> Vec<Entry> {
    vec![
        ("quantity", &["(string) Quantity"], |_, args| match args {
            [Value::Text(t)] => match Quantity::parse(t) {
                Some(v) => Ok(Value::Host(Host::Quantity(v))),
                None => Err(Fault::said(
                    "quantities must match the regular expression \
                     '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                )),
            },
            _ => overload(),
        }),
        ("isQuantity", &["(string) bool"], |_, args| match args {
            [Value::Text(t)] => truth(Quantity::parse(t).is_some()),
            _ => overload(),
        }),
        ("sign", &["(Quantity) int"], |_, args| match args {
            [Value::Host(Host::Quantity(v))] => Ok(Value::Int(v.sign())),
            _ => overload(),
        }),
        (
            "isGreaterThan",
            &[".(Quantity, Quantity) bool", ".(Semver, Semver) bool"],
            |_, args| truth(ordered(args)?.is_gt()),
        ),
        (
            "isLessThan",
            &[".(Quantity, Quantity) bool", ".(Semver, Semver) bool"],
            |_, args| truth(ordered(args)?.is_lt()),
        ),
        (
            "compareTo",
            &[".(Quantity, Quantity) int", ".(Semver, Semver) int"],
            |_, args| Ok(Value::Int(ordered(args)? as i64)),
        ),
        (
            "asApproximateFloat",
            &[".(Quantity) double"],
            |_, args| match args {
                [Value::Host(Host::Quantity(v))] => Ok(Value::Double(v.float())),
                _ => overload(),
            },
        ),
        ("asInteger", &[".(Quantity) int"], |_, args| match args {
            [Value::Host(Host::Quantity(v))] => match v.integer() {
                Some(v) => Ok(Value::Int(v)),
                None => Err(Fault::said("cannot convert value to integer")),
            },
            _ => overload(),
        }),
        ("isInteger", &[".(Quantity) bool"], |_, args| match args {
            [Value::Host(Host::Quantity(v))] => truth(v.integer().is_some()),
            _ => overload(),
        }),
        (
            "add",
            &[
                ".(Quantity, Quantity) Quantity",
                ".(Quantity, int) Quantity",
            ],
            |_, args| {
                let (a, b) = quantities(args)?;
                sum(a.plus(b, false))
            },
        ),
        (
            "sub",
            &[
                ".(Quantity, Quantity) Quantity",
                ".(Quantity, int) Quantity",
            ],
            |_, args| {
                let (a, b) = quantities(args)?;
                sum(a.plus(b, true))
            },
        ),
        (
            "semver",
            &["(string) Semver", "(string, bool) Semver"],
            |_, args| match version(args)? {
                Some(v) => Ok(Value::Host(Host::Semver(Arc::new(v)))),
                None => Err(Fault::said("No Major.Minor.Patch elements found")),
            },
        ),
        (
            "isSemver",
            &["(string) bool", "(string, bool) bool"],
            |_, args| truth(version(args)?.is_some()),
        ),
        ("major", &[".(Semver) int"], |_, args| number(args, 0)),
        ("minor", &[".(Semver) int"], |_, args| number(args, 1)),
        ("patch", &[".(Semver) int"], |_, args| number(args, 2)),
    ]
}

/// Asks more precisely.
fn narrowed<'a>(
    args: &[Value<'a>],
    into: fn(Arc<Question>) -> Host,
    set: fn(&mut Question, &[&str]),
) -> Outcome<'a> {
    let [Value::Host(host), rest @ ..] = args else {
        return overload();
    };
    let (Host::Authorizer(question)
    | Host::Path(question)
    | Host::Group(question)
    | Host::Resource(question)) = host
    else {
        return overload();
    };
    let mut words = Vec::with_capacity(rest.len());
    for word in rest {
        let Value::Text(word) = word else {
            return overload();
        };
        words.push(word.as_ref());
    }
    let mut question = (**question).clone();
    set(&mut question, &words);
    Ok(Value::Host(into(Arc::new(question))))
}

fn word(words: &[&str], at: usize) -> String {
    words.get(at).copied().unwrap_or_default().to_owned()
}

fn check<'a>(m: &mut Machine<'a, '_>, args: &[Value<'a>]) -> Outcome<'a> {
    let [
        Value::Host(Host::Path(question) | Host::Resource(question)),
        Value::Text(verb),
    ] = args
    else {
        return overload();
    };
    let mut question = (**question).clone();
    verb.as_ref().clone_into(&mut question.verb);
    let decision = m.scope.decide(&question);
    Ok(Value::Host(Host::Decision(Arc::new(decision))))
}

fn authorizer() -> Vec<Entry> {
    vec![
        ("path", &[".(Authorizer, string) PathCheck"], |_, args| {
            narrowed(args, Host::Path, |q, w| q.path = word(w, 0))
        }),
        ("group", &[".(Authorizer, string) GroupCheck"], |_, args| {
            narrowed(args, Host::Group, |q, w| q.group = word(w, 0))
        }),
        (
            "serviceAccount",
            &[".(Authorizer, string, string) Authorizer"],
            |_, args| {
                narrowed(args, Host::Authorizer, |q, w| {
                    q.account = Some((word(w, 0), word(w, 1)));
                })
            },
        ),
        (
            "resource",
            &[".(GroupCheck, string) ResourceCheck"],
            |_, args| narrowed(args, Host::Resource, |q, w| q.resource = word(w, 0)),
        ),
        (
            "subresource",
            &[".(ResourceCheck, string) ResourceCheck"],
            |_, args| narrowed(args, Host::Resource, |q, w| q.subresource = word(w, 0)),
        ),
        (
            "namespace",
            &[".(ResourceCheck, string) ResourceCheck"],
            |_, args| narrowed(args, Host::Resource, |q, w| q.namespace = word(w, 0)),
        ),
        (
            "name",
            &[".(ResourceCheck, string) ResourceCheck"],
            |_, args| narrowed(args, Host::Resource, |q, w| q.name = word(w, 0)),
        ),
        (
            "fieldSelector",
            &[".(ResourceCheck, string) ResourceCheck"],
            |_, args| narrowed(args, Host::Resource, |q, w| q.field_selector = word(w, 0)),
        ),
        (
            "labelSelector",
            &[".(ResourceCheck, string) ResourceCheck"],
            |_, args| narrowed(args, Host::Resource, |q, w| q.label_selector = word(w, 0)),
        ),
        (
            "check",
            &[
                ".(PathCheck, string) Decision",
                ".(ResourceCheck, string) Decision",
            ],
            check,
        ),
        ("allowed", &[".(Decision) bool"], |_, args| match args {
            [Value::Host(Host::Decision(d))] => truth(d.allowed),
            _ => overload(),
        }),
        ("reason", &[".(Decision) string"], |_, args| match args {
            [Value::Host(Host::Decision(d))] => Ok(text(d.reason.as_str())),
            _ => overload(),
        }),
        ("errored", &[".(Decision) bool"], |_, args| match args {
            [Value::Host(Host::Decision(d))] => truth(d.error.is_some()),
            _ => overload(),
        }),
        ("error", &[".(Decision) string"], |_, args| match args {
            [Value::Host(Host::Decision(d))] => Ok(text(d.error.as_deref().unwrap_or_default())),
            _ => overload(),
        }),
    ]
}
