//! Owns the values of the library types: addresses, networks, URLs, quantities, versions, named
//! formats and questions to the authorizer.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

/// A value of a library type.
#[derive(Clone, Debug)]
pub(crate) enum Host {
    Ip(IpAddr),
    Cidr(Cidr),
    Url(Arc<Url>),
    Quantity(Quantity),
    Semver(Arc<Semver>),
    /// By its name.
    Format(&'static str),
    Authorizer(Arc<Question>),
    Path(Arc<Question>),
    Group(Arc<Question>),
    Resource(Arc<Question>),
    Decision(Arc<Decision>),
}

impl Host {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Self::Path(_) => "kubernetes.authorization.PathCheck",
            Self::Group(_) => "kubernetes.authorization.GroupCheck",
            Self::Resource(_) => "kubernetes.authorization.ResourceCheck",
            Self::Decision(_) => "kubernetes.authorization.Decision",
        }
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Ip(ip) => bits(ip) / 8,
            Self::Cidr(cidr) => u64::from(cidr.length).div_ceil(8),
            _ => 1,
        }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a.text == b.text,
            (Self::Quantity(a), Self::Quantity(b)) => a.order(*b) == Ordering::Equal,
            (Self::Semver(a), Self::Semver(b)) => a.compare(b) == Ordering::Equal,
            (Self::Format(a), Self::Format(b)) => a == b,
            _ => false,
        }
    }
}

fn bits(ip: &IpAddr) -> u64 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Reads an address. IPv4 in IPv6 and zones are refused.
pub(crate) fn parse_ip(text: &str) -> Result<IpAddr, String> {
    if let Some((before, _)) = text.split_once('%')
        && before.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return Err(format!(
            "IP address {text:?} with zone value is not allowed"
        ));
    }
    let ip: IpAddr = text.parse().map_err(|_| {
        format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): \
             unable to parse IP"
        )
    })?;
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        ip => Ok(ip),
    }
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cidr {
    pub(crate) ip: IpAddr,
    pub(crate) length: u8,
}

impl Cidr {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            Err(format!(
                "network address parse error during conversion from string: \
                 netip.ParsePrefix({text:?}): {why}"
            ))
        };
        let Some((ip, length)) = text.rsplit_once('/') else {
            return wrong("no '/'");
        };
        let Ok(ip) = ip.parse::<IpAddr>() else {
            return wrong("unable to parse IP");
        };
        let plain = length == "0"
            || (!length.starts_with('0') && length.bytes().all(|b| b.is_ascii_digit()));
        let Some(length) = length.parse::<u8>().ok().filter(|_| plain) else {
            return wrong("bad bits after slash");
        };
        if u64::from(length) > bits(&ip) {
            return wrong("prefix length out of range");
        }
        match ip {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
            }
            ip => Ok(Self { ip, length }),
        }
    }

    pub(crate) fn masked(self) -> Self {
        let ip = match self.ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.length))
                    .unwrap_or(0);
                IpAddr::V4((u32::from(ip) & mask).into())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.length))
                    .unwrap_or(0);
                IpAddr::V6((u128::from(ip) & mask).into())
            }
        };
        Self { ip, ..self }
    }

    pub(crate) fn contains(self, ip: IpAddr) -> bool {
        let other = Self {
            ip,
            length: self.length,
        };
        self.ip.is_ipv4() == ip.is_ipv4() && self.masked().ip == other.masked().ip
    }

    pub(crate) fn contains_network(self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.ip)
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.ip, self.length)
    }
}

/// A URL in its parts, as Go cuts it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Url {
    pub(crate) text: String,
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: String,
}

impl Url {
    /// Reads an absolute URL or an absolute path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("parse {text:?}: {why}"));
        if text.chars().any(|c| c.is_ascii_control()) {
            return wrong("net/url: invalid control character in URL");
        }
        if text.is_empty() {
            return wrong("empty url");
        }
        let bare = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = match scheme(bare) {
            Ok(parts) => parts,
            Err(why) => return wrong(why),
        };
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut url = Self {
            text: text.to_owned(),
            scheme: scheme.to_ascii_lowercase(),
            query: query.to_owned(),
            ..Self::default()
        };
        if !before.starts_with('/') {
            if url.scheme.is_empty() {
                return wrong("invalid URI for request");
            }
            return Ok(url);
        }
        let path = match before.strip_prefix("//") {
            Some(after) if !url.scheme.is_empty() || !before.starts_with("///") => {
                let end = after.find('/').unwrap_or(after.len());
                let (authority, path) = after.split_at(end);
                let host = authority
                    .rsplit_once('@')
                    .map_or(authority, |(_, host)| host);
                if let Err(why) = check_host(host) {
                    return wrong(&why);
                }
                host.clone_into(&mut url.host);
                path
            }
            _ => before,
        };
        if let Some(bad) = bad_escape(path) {
            return wrong(&format!("invalid URL escape {bad:?}"));
        }
        url.path = escaped_path(path);
        Ok(url)
    }

    pub(crate) fn hostname(&self) -> &str {
        if let Some(end) = self.host.find(']') {
            return self.host.get(1..end).unwrap_or_default();
        }
        self.host.split(':').next().unwrap_or_default()
    }

    pub(crate) fn port(&self) -> &str {
        let after = self.host.find(']').map_or(0, |at| at + 1);
        let rest = self.host.get(after..).unwrap_or_default();
        rest.split_once(':').map_or("", |(_, port)| port)
    }
}

/// Where Go keeps an escape it was given, or escapes what a path may not hold.
fn escaped_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        let keeps = byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]%".contains(&byte);
        if keeps {
            out.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn bad_escape(text: &str) -> Option<&str> {
    for (at, _) in text.match_indices('%') {
        let code = text.as_bytes().get(at + 1..at + 3);
        if !code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit)) {
            let mut end = (at + 3).min(text.len());
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            return text.get(at..end);
        }
    }
    None
}

fn check_host(host: &str) -> Result<(), String> {
    let port = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((_, port)) => port,
            None => return Err("missing ']' in host".to_owned()),
        },
        None => match host.rfind(':') {
            Some(at) => &host[at..],
            None => "",
        },
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !digits.bytes().all(|b| b.is_ascii_digit()) || (port.len() > digits.len() + 1) {
        return Err(format!("invalid port {port:?} after host"));
    }
    if let Some(bad) = bad_escape(host) {
        return Err(format!("invalid URL escape {bad:?}"));
    }
    match host.chars().find(|c| " \"<>\\^`{|}".contains(*c)) {
        Some(bad) => Err(format!(
            "invalid character {:?} in host name",
            bad.to_string()
        )),
        None => Ok(()),
    }
}

/// An amount, in billionths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantity {
    nanos: i128,
    /// The power of ten it is kept with; `None` where the API keeps it as a decimal of any length.
    scale: Option<i32>,
}

const ONE: i128 = 1_000_000_000;

impl Quantity {
    /// Reads an amount such as `100m`, `1.5Gi` or `1e3`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let (multiplier, power) = scale(suffix)?;
        let whole = whole.trim_start_matches('0');
        let digits = i32::try_from(whole.len() + fraction.len()).ok()?;
        let binary = multiplier > 1;
        let bits = i32::try_from(multiplier.trailing_zeros()).ok()?;
        let room = match (binary, fraction.is_empty()) {
            (false, _) => 18 - digits,
            (true, true) => 15 - digits - bits * 3 / 10 - 1,
            (true, false) => -1,
        };
        let kept = power - i32::try_from(fraction.len()).ok()?;
        let scale = (room >= 0 && kept >= -9).then_some(kept);
        // The value is digits × multiplier × 10^power; more digits than matter are dropped.
        let fraction = fraction.get(..fraction.len().min(18))?;
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.len() > 36 {
            return None;
        }
        let value: i128 = if digits.is_empty() {
            0
        } else {
            digits.parse().ok()?
        };
        let power = power + 9 - i32::try_from(fraction.len()).ok()?;
        let mut value = value.checked_mul(multiplier)?;
        if power >= 0 {
            value = value.checked_mul(10i128.checked_pow(power.unsigned_abs())?)?;
        } else {
            let by = 10i128.checked_pow(power.unsigned_abs())?;
            // What is finer than a billionth is rounded up.
            value = value / by + i128::from(value % by != 0);
        }
        let nanos = value.min(i128::from(i64::MAX) * ONE);
        Some(Self {
            nanos: if negative { -nanos } else { nanos },
            scale,
        })
    }

    /// As a whole number, where the API keeps it as one.
    pub(crate) fn integer(self) -> Option<i64> {
        self.scale.filter(|scale| *scale >= 0)?;
        i64::try_from(self.nanos / ONE).ok()
    }

    pub(crate) fn whole(value: i64) -> Self {
        Self {
            nanos: i128::from(value) * ONE,
            scale: Some(0),
        }
    }

    pub(crate) fn float(self) -> f64 {
        self.nanos as f64 / 1e9
    }

    pub(crate) fn sign(self) -> i64 {
        self.nanos.signum() as i64
    }

    /// The sum, or the difference.
    pub(crate) fn plus(self, other: Self, minus: bool) -> Option<Self> {
        let by = if minus { -other.nanos } else { other.nanos };
        let scale = match (self.scale, other.scale) {
            (own, Some(_)) if other.nanos == 0 => own,
            (Some(_), own) if self.nanos == 0 => own,
            (Some(a), Some(b)) => Some(a.min(b)),
            _ => None,
        };
        Some(Self {
            nanos: self.nanos.checked_add(by)?,
            scale,
        })
    }

    pub(crate) fn order(self, other: Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        other => {
            let exponent = other.strip_prefix(['e', 'E'])?;
            let exponent: i32 = exponent
                .strip_prefix('+')
                .unwrap_or(exponent)
                .parse()
                .ok()?;
            (1, exponent.clamp(-40, 40))
        }
    })
}

/// A semantic version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Semver {
    pub(crate) numbers: [u64; 3],
    pre: Vec<String>,
}

impl Semver {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (rest, build) = match text.split_once('+') {
            Some((rest, build)) => (rest, Some(build)),
            None => (text, None),
        };
        let (core, pre) = match rest.split_once('-') {
            Some((core, pre)) => (core, Some(pre)),
            None => (rest, None),
        };
        let part = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            (plain && (text == "0" || !text.starts_with('0')))
                .then(|| text.parse::<u64>().ok())
                .flatten()
        };
        let numbers: Vec<u64> = core.split('.').map(number).collect::<Option<_>>()?;
        let numbers: [u64; 3] = numbers.try_into().ok()?;
        let mut parts = Vec::new();
        if let Some(pre) = pre {
            for one in pre.split('.') {
                let numeric = one.bytes().all(|b| b.is_ascii_digit());
                if !part(one) || (numeric && number(one).is_none()) {
                    return None;
                }
                parts.push(one.to_owned());
            }
        }
        if build.is_some_and(|build| !build.split('.').all(part)) {
            return None;
        }
        Some(Self {
            numbers,
            pre: parts,
        })
    }

    /// Reads what people write: `v1`, `1.2`, `01.2.3`.
    pub(crate) fn parse_tolerant(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(str::to_owned).collect();
        for part in &mut parts {
            if part.len() > 1 {
                let trimmed = part.trim_start_matches('0');
                *part = if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
                    trimmed.to_owned()
                } else {
                    format!("0{trimmed}")
                };
            }
        }
        if parts.len() < 3 {
            if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
                return None;
            }
            parts.resize(3, "0".to_owned());
        }
        Self::parse(&parts.join("."))
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let numeric = |text: &str| text.parse::<u64>().ok();
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => return Ordering::Equal,
                (true, false) => return Ordering::Greater,
                (false, true) => return Ordering::Less,
                (false, false) => {}
            }
            for (a, b) in self.pre.iter().zip(&other.pre) {
                let order = match (numeric(a), numeric(b)) {
                    (Some(a), Some(b)) => a.cmp(&b),
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (None, None) => a.cmp(b),
                };
                if order != Ordering::Equal {
                    return order;
                }
            }
            self.pre.len().cmp(&other.pre.len())
        })
    }
}

/// A question to the authorizer, as far as it was put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Question {
    /// Instead of who asks: namespace and name of a service account.
    pub(crate) account: Option<(String, String)>,
    pub(crate) path: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) field_selector: String,
    pub(crate) label_selector: String,
    pub(crate) verb: String,
}

/// What the authorizer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    pub(crate) reason: String,
    pub(crate) error: Option<String>,
}
