//! Owns what names, keys and addresses may look like, with the API's words for what is wrong with
//! them. It refuses to know which field is which.

use std::net::IpAddr;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or \
'-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  \
or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS \
subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an \
alphanumeric character (e.g. '*.example.com', regex used for validation is \
'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used \
for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
'MyValue',  or 'my_value',  or '12345', regex used for validation is \
'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or \
'.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
'[-._a-zA-Z0-9]+')";
const ENV_NAME: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";
const HTTP_HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' \
(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
/// What an address must be.
pub(crate) const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
/// What a range must be.
pub(crate) const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
/// What a port must be.
pub(crate) const PORT: &str = "must be between 1 and 65535, inclusive";

/// What is wrong, one line for each rule that does not hold.
pub(crate) type Faults = Vec<String>;

fn is_dns_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(plain) && text.ends_with(plain) && text.chars().all(|c| plain(c) || c == '-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

fn limited(text: &str, limit: usize) -> Faults {
    if text.len() > limit {
        vec![format!("must be no more than {limit} characters")]
    } else {
        Vec::new()
    }
}

/// A DNS subdomain.
pub(crate) fn subdomain(text: &str) -> Faults {
    let mut out = limited(text, 253);
    if !is_subdomain(text) {
        out.push(SUBDOMAIN.to_owned());
    }
    out
}

/// A DNS label.
pub(crate) fn label(text: &str) -> Faults {
    let mut out = limited(text, 63);
    if !is_dns_label(text) {
        out.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            LABEL.to_owned()
        });
    }
    out
}

/// A DNS label that begins with a letter.
pub(crate) fn label_1035(text: &str) -> Faults {
    let mut out = limited(text, 63);
    if !is_dns_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        out.push(LABEL_1035.to_owned());
    }
    out
}

/// A DNS subdomain below a star.
pub(crate) fn wildcard(text: &str) -> Faults {
    let mut out = limited(text, 253);
    if !text.strip_prefix("*.").is_some_and(is_subdomain) {
        out.push(WILDCARD.to_owned());
    }
    out
}

/// One segment of a path.
pub(crate) fn path_segment(text: &str) -> Faults {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => ['/', '%']
            .iter()
            .filter(|c| text.contains(**c))
            .map(|c| format!("may not contain '{c}'"))
            .collect(),
    }
}

/// A name with an optional DNS prefix.
pub(crate) fn qualified(text: &str) -> Faults {
    let mut out = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".to_owned());
            } else {
                out.extend(subdomain(prefix).iter().map(|f| format!("prefix part {f}")));
            }
            *name
        }
        _ => {
            return vec![format!(
                "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_name(name) {
        out.push(format!("name part {QUALIFIED}"));
    }
    out
}

fn is_name(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge)
        && text.ends_with(edge)
        && text
            .chars()
            .all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
}

/// The value of a label.
pub(crate) fn label_value(text: &str) -> Faults {
    let mut out = limited(text, 63);
    if !text.is_empty() && !is_name(text) {
        out.push(LABEL_VALUE.to_owned());
    }
    out
}

/// A key of a ConfigMap or Secret.
pub(crate) fn config_key(text: &str) -> Faults {
    let mut out = limited(text, 253);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || !text.chars().all(good) {
        out.push(CONFIG_KEY.to_owned());
    }
    out.extend(relative(text));
    out
}

/// Not a way upwards.
fn relative(text: &str) -> Option<String> {
    match text {
        "." | ".." => Some(format!("must not be '{text}'")),
        text if text.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// The name of an environment variable.
pub(crate) fn env_name(text: &str) -> Faults {
    let good = |c: char| matches!(c, ' '..='<' | '>'..='~');
    if text.is_empty() || !text.chars().all(good) {
        vec![ENV_NAME.to_owned()]
    } else {
        Vec::new()
    }
}

/// The name of a port.
pub(crate) fn port_name(text: &str) -> Faults {
    let mut out = limited(text, 15);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.is_empty() || !text.chars().all(|c| plain(c) || c == '-') {
        out.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !text.contains(|c: char| c.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        out.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        out.push("must not begin or end with a hyphen".to_owned());
    }
    out
}

/// The name of an HTTP header.
pub(crate) fn http_header(text: &str) -> Faults {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if text.is_empty() || !text.chars().all(good) {
        vec![HTTP_HEADER.to_owned()]
    } else {
        Vec::new()
    }
}

/// A percentage.
pub(crate) fn percent(text: &str) -> Faults {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        vec![PERCENT.to_owned()]
    } else {
        Vec::new()
    }
}

/// A path under a domain.
pub(crate) fn domain_path(text: &str) -> Vec<(String, String)> {
    let Some((domain, path)) = text
        .split_once('/')
        .filter(|(d, p)| !d.is_empty() && !p.is_empty())
    else {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        return vec![(text.to_owned(), why.to_owned())];
    };
    let mut out: Vec<(String, String)> = subdomain(domain)
        .into_iter()
        .map(|f| (domain.to_owned(), f))
        .collect();
    let good = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
    if !path.chars().all(good) {
        let why = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        out.push((path.to_owned(), why.to_owned()));
    }
    out
}

/// An address.
pub(crate) fn ip(text: &str) -> Faults {
    if text.parse::<IpAddr>().is_ok() {
        Vec::new()
    } else {
        vec![IP.to_owned()]
    }
}

/// An address and the number of its leading bits.
pub(crate) fn parse_cidr(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok().filter(|_| !bits.starts_with('+'))?;
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
}

/// A range of addresses.
pub(crate) fn cidr(text: &str) -> Faults {
    if parse_cidr(text).is_some() {
        Vec::new()
    } else {
        vec![CIDR.to_owned()]
    }
}

/// An address that means an endpoint.
pub(crate) fn special_ip(text: &str) -> Faults {
    let Ok(ip) = text.parse::<IpAddr>() else {
        return vec!["must be a valid IP address".to_owned()];
    };
    let (local, multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(v6) => (
            v6.segments().first().is_some_and(|s| s & 0xffc0 == 0xfe80),
            v6.segments().first().is_some_and(|s| s & 0xff0f == 0xff02),
        ),
    };
    let mut out = Vec::new();
    let rules = [
        (
            ip.is_unspecified(),
            format!("may not be unspecified ({text})"),
        ),
        (
            ip.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned(),
        ),
        (
            local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned(),
        ),
        (
            multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned(),
        ),
    ];
    out.extend(
        rules
            .into_iter()
            .filter(|(bad, _)| *bad)
            .map(|(_, why)| why),
    );
    out
}

/// A path below a directory.
pub(crate) fn local_path(text: &str) -> Option<&'static str> {
    if text.starts_with('/') {
        return Some("must be a relative path");
    }
    no_way_up(text)
}

/// A path that does not lead upwards.
pub(crate) fn no_way_up(text: &str) -> Option<&'static str> {
    text.split('/')
        .any(|part| part == "..")
        .then_some("must not contain '..'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_in_the_words_of_the_api() {
        let first = |faults: Faults| faults.first().cloned().unwrap_or_default();
        assert_eq!(first(label("a.b")), "must not contain dots");
        assert_eq!(first(config_key("..a")), "must not start with '..'");
        assert_eq!(first(path_segment("a/b")), "may not contain '/'");
        assert_eq!(first(qualified("/x")), "prefix part must be non-empty");
        assert_eq!(port_name("UP").len(), 2);
        assert_eq!(
            first(special_ip("127.0.0.1")),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)"
        );
        for good in ["a", "a.b-c", "9"] {
            assert_eq!(subdomain(good), Faults::new(), "{good}");
        }
        assert_eq!(percent("50%"), Faults::new());
        assert_eq!(parse_cidr("10.0.0.0/33"), None);
        assert_eq!(domain_path("a/b c").len(), 1);
    }
}
