//! Owns what a request wants to do, in the words that rules use. It refuses to decide.

use http::Method;
use http::request::Parts;
use weir_gocompat::quote;

use crate::selector::Selector;

/// A verb on a resource, or on a path that is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The whole path, for what names no resource.
    pub(crate) path: String,
    pub(crate) is_resource: bool,
}

impl Attributes {
    /// Reads them from a request, whether or not anything is served there.
    pub(crate) fn of(head: &Parts, segments: &[String]) -> Self {
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        let plain = || Self {
            verb: head.method.as_str().to_ascii_lowercase(),
            path: crate::request::decode(head.uri.path()).unwrap_or_default(),
            ..Self::default()
        };
        let (group, version, mut rest) = match words.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return plain(),
        };
        let mut out = Self {
            group: group.to_owned(),
            version: version.to_owned(),
            is_resource: true,
            path: head.uri.path().to_owned(),
            ..Self::default()
        };
        let mut by_path = false;
        if let [verb @ ("watch" | "proxy"), more @ ..] = rest {
            (*verb).clone_into(&mut out.verb);
            rest = more;
            by_path = true;
        } else {
            let verb = match head.method {
                Method::POST => "create",
                Method::GET | Method::HEAD => "get",
                Method::PUT => "update",
                Method::PATCH => "patch",
                Method::DELETE => "delete",
                _ => "",
            };
            verb.clone_into(&mut out.verb);
        }
        if let ["namespaces", namespace, more @ ..] = rest {
            (*namespace).clone_into(&mut out.namespace);
            // A namespace's own subresources look like collections in it.
            if !matches!(more, [] | ["status" | "finalize", ..]) {
                rest = more;
            }
        }
        let mut rest = rest.iter();
        let mut next = || rest.next().map(|s| (*s).to_owned()).unwrap_or_default();
        out.resource = next();
        out.name = next();
        if out.verb != "proxy" {
            out.subresource = next();
        }
        if out.name.is_empty() && out.verb == "get" && !by_path {
            let (watch, name) = asked(head.uri.query().unwrap_or_default());
            let verb = if watch { "watch" } else { "list" };
            verb.clone_into(&mut out.verb);
            out.name = name.unwrap_or_default();
        }
        if out.name.is_empty() && out.verb == "delete" {
            "deletecollection".clone_into(&mut out.verb);
        }
        out
    }

    /// The sentence that refuses.
    pub(crate) fn refused(&self, user: &str) -> String {
        let (user, verb) = (quote(user), &self.verb);
        if !self.is_resource {
            return format!("User {user} cannot {verb} path {}", quote(&self.path));
        }
        let resource = if self.subresource.is_empty() {
            quote(&self.resource)
        } else {
            quote(&format!("{}/{}", self.resource, self.subresource))
        };
        let whither = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {}", quote(&self.namespace))
        };
        let group = quote(&self.group);
        format!("User {user} cannot {verb} resource {resource} in API group {group} {whither}")
    }
}

/// Whether a collection is to be watched, and the one name it is narrowed to.
fn asked(query: &str) -> (bool, Option<String>) {
    let (mut watch, mut name) = (None, None);
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "watch" if watch.is_none() => {
                watch = Some(!matches!(
                    value.to_ascii_lowercase().as_str(),
                    "false" | "0"
                ));
            }
            "fieldSelector" if name.is_none() => {
                name = Selector::parse("", &value)
                    .ok()
                    .and_then(|selector| selector.exact("metadata.name").map(str::to_owned))
                    .filter(|n| !n.contains(['/', '%']) && n != "." && n != "..");
            }
            _ => {}
        }
    }
    (watch.unwrap_or_default(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, uri: &str) -> String {
        let (head, ()) = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .expect("a request")
            .into_parts();
        let segments = crate::request::segments(head.uri.path()).expect("text");
        let a = Attributes::of(&head, &segments);
        if a.is_resource {
            let (group, resource, sub) = (a.group, a.resource, a.subresource);
            format!(
                "{} {group}|{resource}|{sub} {}/{}",
                a.verb, a.namespace, a.name
            )
        } else {
            format!("{} {}", a.verb, a.path)
        }
    }

    #[test]
    fn requests_are_read_as_rules_name_them() {
        use Method as M;
        let cases = [
            (M::GET, "/api/v1/pods", "list |pods| /"),
            (M::GET, "/api/v1/pods?watch=1", "watch |pods| /"),
            (M::GET, "/api/v1/pods?watch=false", "list |pods| /"),
            (M::HEAD, "/api/v1/namespaces/a/pods/x", "get |pods| a/x"),
            (M::GET, "/api/v1/namespaces/a", "get |namespaces| a/a"),
            (M::GET, "/api/v1/namespaces", "list |namespaces| /"),
            (
                M::PUT,
                "/api/v1/namespaces/a/finalize",
                "update |namespaces|finalize a/a",
            ),
            (
                M::PATCH,
                "/apis/apps/v1/namespaces/a/deployments/x/scale",
                "patch apps|deployments|scale a/x",
            ),
            (
                M::DELETE,
                "/apis/apps/v1/namespaces/a/deployments",
                "deletecollection apps|deployments| a/",
            ),
            (
                M::GET,
                "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx&watch=true",
                "watch |pods| a/x",
            ),
            (M::GET, "/api/v1/watch/namespaces/a/pods", "watch |pods| a/"),
            (M::OPTIONS, "/api/v1/pods", " |pods| /"),
            (M::GET, "/apis/apps/v1", "get /apis/apps/v1"),
            (M::POST, "/healthz/x", "post /healthz/x"),
        ];
        for (method, uri, expected) in cases {
            assert_eq!(of(method, uri), expected, "{uri}");
        }
    }
}
