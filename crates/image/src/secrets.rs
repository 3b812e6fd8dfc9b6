//! Owns reading Secrets: a registry's login and certificates, and a Git server's. A Secret is read
//! each time it is needed, so that a new password counts at once and none is kept.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use weir_git::Remote;
use weir_object::{Key, Object};
use weir_oci::Credentials;
use weir_runtime::http::Tls;
use weir_runtime::kinds::SECRET;
use weir_runtime::{ApiClient, Secret};

/// The key of a registry login in its Secret.
const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// A Secret's data.
pub(crate) struct Data {
    key: Key,
    fields: BTreeMap<String, Vec<u8>>,
}

/// Reads the Secret that `field` names. The sentence of a failure is complete.
pub(crate) async fn read(
    api: &ApiClient,
    namespace: &str,
    name: &str,
    field: &str,
) -> Result<Data, String> {
    let key = Key::new(namespace, name);
    match api.get(&SECRET, &key).await {
        Ok(Some(secret)) => Data::of(&secret),
        Ok(None) => Err(format!(
            "the Secret `{key}` of `{field}` was not found; create it"
        )),
        Err(e) => Err(format!("the Secret `{key}` cannot be read: {e}")),
    }
}

impl Data {
    fn of(secret: &Object) -> Result<Self, String> {
        let mut fields = BTreeMap::new();
        let data = secret.get(&["data"]).and_then(Value::as_object);
        for (name, value) in data.into_iter().flatten() {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default());
            let bytes = bytes.map_err(|_| {
                format!("the Secret `{}` holds no base64 at `{name}`", secret.key())
            })?;
            fields.insert(name.clone(), bytes);
        }
        let key = secret.key();
        Ok(Self { key, fields })
    }

    fn bad(&self, what: &str) -> String {
        format!("the Secret `{}` {what}", self.key)
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        let Some(bytes) = self.fields.get(name) else {
            return Ok(None);
        };
        String::from_utf8(bytes.clone())
            .map(Some)
            .map_err(|_| self.bad(&format!("holds no text at `{name}`")))
    }

    /// The certificates in it.
    pub(crate) fn tls(&self) -> Result<Tls, String> {
        let identity = match (self.text("tls.crt")?, self.text("tls.key")?) {
            (Some(certificate), Some(key)) => Some(Secret::new(format!("{certificate}\n{key}"))),
            (None, None) => None,
            _ => {
                let what = "holds one of `tls.crt` and `tls.key` and not the other; add it";
                return Err(self.bad(what));
            }
        };
        let ca = self
            .fields
            .get("ca.crt")
            .or_else(|| self.fields.get("caFile"));
        Ok(Tls {
            ca_pem: ca.map(|bytes| bytes.clone().into()),
            identity_pem: identity,
            insecure: false,
        })
    }

    /// The login for a registry.
    pub(crate) fn registry(&self, registry: &str) -> Result<Credentials, String> {
        let Some(text) = self.text(DOCKER_CONFIG)? else {
            let what = format!(
                "has no `{DOCKER_CONFIG}`; make it of the type `kubernetes.io/dockerconfigjson`"
            );
            return Err(self.bad(&what));
        };
        // What the text is stays out of the sentence.
        let config: Value = serde_json::from_str(&text)
            .map_err(|_| self.bad(&format!("holds no JSON at `{DOCKER_CONFIG}`")))?;
        let logins = config.get("auths").and_then(Value::as_object);
        let login = logins
            .into_iter()
            .flatten()
            .find(|(host, _)| same_registry(host, registry))
            .map(|(_, login)| login);
        let Some(login) = login else {
            return Err(self.bad(&format!("holds no login for `{registry}`; add it")));
        };
        let field = |name: &str| {
            login
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        if let Some(token) = field("registrytoken") {
            return Ok(Credentials::Bearer(Secret::new(token)));
        }
        let (username, password) = match (field("username"), field("password"), field("auth")) {
            (Some(username), Some(password), _) => (username.to_owned(), password.to_owned()),
            (_, _, Some(auth)) => {
                let bytes = STANDARD.decode(auth).unwrap_or_default();
                let text = String::from_utf8(bytes).unwrap_or_default();
                let Some((username, password)) = text.split_once(':') else {
                    let what = format!(
                        "holds at `auth` for `{registry}` no base64 of `user:password`; correct it"
                    );
                    return Err(self.bad(&what));
                };
                (username.to_owned(), password.to_owned())
            }
            _ => {
                let what = format!("holds no user name and password for `{registry}`; add them");
                return Err(self.bad(&what));
            }
        };
        Ok(Credentials::Basic {
            username,
            password: Secret::new(password),
        })
    }

    /// `remote` with the login and the certificates.
    pub(crate) fn git(&self, remote: Remote) -> Result<Remote, String> {
        use weir_git::Credentials;
        let given = (
            self.text("bearerToken")?,
            self.text("username")?,
            self.text("password")?,
        );
        // A token leaves the password out of account, as one request carries one of them.
        let credentials = match given {
            (Some(token), _, _) => Credentials::Bearer(Secret::new(token)),
            (None, Some(username), Some(password)) => Credentials::Basic {
                username,
                password: Secret::new(password),
            },
            (None, None, None) => Credentials::None,
            (None, Some(_), None) => {
                return Err(self.bad("holds a `username` and no `password`; add it"));
            }
            (None, None, Some(_)) => {
                return Err(self.bad("holds a `password` and no `username`; add it"));
            }
        };
        Ok(remote.credentials(credentials).tls(self.tls()?))
    }
}

/// Whether a login's host is the registry. Logins for Docker Hub have several spellings.
fn same_registry(host: &str, registry: &str) -> bool {
    let bare = host
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let bare = bare.split('/').next().unwrap_or_default();
    let hub = |name: &str| {
        matches!(
            name,
            "docker.io" | "index.docker.io" | "registry-1.docker.io"
        )
    };
    bare == registry || (hub(bare) && hub(registry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(config: &str, registry: &str) -> String {
        let secret = Object(json!({"metadata": {"namespace": "demo", "name": "pull"},
            "data": {".dockerconfigjson": STANDARD.encode(config)}}));
        let credentials = Data::of(&secret).and_then(|data| data.registry(registry));
        match credentials {
            Ok(Credentials::Basic { username, password }) => {
                format!("{username}/{}", password.expose())
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_login_is_found_by_its_host() {
        let auth = STANDARD.encode("ann:hush:hush");
        let config = json!({"auths": {"https://index.docker.io/v1/": {"auth": auth},
            "r:5000": {"username": "bob", "password": "pw"}, "t": {"registrytoken": "t0k"},
            "broken": {"auth": "%%"}, "empty": {}}})
        .to_string();
        assert_eq!(told(&config, "index.docker.io"), "ann/hush:hush");
        assert_eq!(told(&config, "r:5000"), "bob/pw");
        assert_eq!(told(&config, "t"), "Ok(Bearer(***))");
        assert!(told(&config, "broken").contains("no base64 of `user:password`"));
        assert!(told(&config, "empty").contains("no user name and password"));
        assert!(told(&config, "other").contains("no login for `other`"));
        assert!(told("hush", "other").contains("holds no JSON"));
    }

    #[test]
    fn a_secret_without_what_is_needed_is_told() {
        let secret = |data: Value| {
            Data::of(&Object(
                json!({"metadata": {"namespace": "n", "name": "s"}, "data": data}),
            ))
        };
        let empty = secret(json!({})).expect("data");
        assert!(
            empty
                .registry("r")
                .is_err_and(|e| e.contains("`n/s` has no `.dockerconfigjson`"))
        );
        let half = secret(json!({"tls.crt": STANDARD.encode("c")})).expect("data");
        assert!(half.tls().is_err_and(|e| e.contains("`tls.key`")));
        assert!(secret(json!({"a": "%"})).is_err_and(|e| e.contains("no base64 at `a`")));
        let ca = secret(json!({"ca.crt": STANDARD.encode("pem")})).expect("data");
        assert_eq!(ca.tls().expect("tls").ca_pem.map(|b| b.len()), Some(3));
    }
}
