//! Owns what a registry's login looks like in a Secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use weir_oci::Credentials;
use weir_runtime::{Secret, SecretData, UnusableSecret};

/// The key of a registry login in its Secret.
const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// The login for a registry.
pub(crate) fn registry_login(
    data: &SecretData,
    registry: &str,
) -> Result<Credentials, UnusableSecret> {
    let Some(text) = data.text(DOCKER_CONFIG)? else {
        let what = format!(
            "has no `{DOCKER_CONFIG}`; make it of the type `kubernetes.io/dockerconfigjson`"
        );
        return Err(data.unusable(what));
    };
    // What the text is stays out of the sentence.
    let config: Value = serde_json::from_str(&text)
        .map_err(|_| data.unusable(format!("holds no JSON at `{DOCKER_CONFIG}`")))?;
    let logins = config.get("auths").and_then(Value::as_object);
    let login = logins
        .into_iter()
        .flatten()
        .find(|(host, _)| same_registry(host, registry))
        .map(|(_, login)| login);
    let Some(login) = login else {
        return Err(data.unusable(format!("holds no login for `{registry}`; add it")));
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
                return Err(data.unusable(what));
            };
            (username.to_owned(), password.to_owned())
        }
        _ => {
            let what = format!("holds no user name and password for `{registry}`; add them");
            return Err(data.unusable(what));
        }
    };
    Ok(Credentials::Basic {
        username,
        password: Secret::new(password),
    })
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
    use weir_object::Object;

    fn told(config: &str, registry: &str) -> String {
        let secret = Object(json!({"metadata": {"namespace": "demo", "name": "pull"},
            "data": {".dockerconfigjson": STANDARD.encode(config)}}));
        let credentials = SecretData::of(&secret).and_then(|data| registry_login(&data, registry));
        match credentials {
            Ok(Credentials::Basic { username, password }) => {
                format!("{username}/{}", password.expose())
            }
            Ok(other) => format!("Ok({other:?})"),
            Err(e) => e.to_string(),
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
            SecretData::of(&Object(
                json!({"metadata": {"namespace": "n", "name": "s"}, "data": data}),
            ))
        };
        let empty = secret(json!({})).expect("data");
        assert!(
            registry_login(&empty, "r")
                .is_err_and(|e| e.to_string().contains("`n/s` has no `.dockerconfigjson`"))
        );
        let half = secret(json!({"tls.crt": STANDARD.encode("c")})).expect("data");
        assert!(
            half.tls()
                .is_err_and(|e| e.to_string().contains("`tls.key`"))
        );
        assert!(
            secret(json!({"a": "%"})).is_err_and(|e| e.to_string().contains("no base64 at `a`"))
        );
        let ca = secret(json!({"ca.crt": STANDARD.encode("pem")})).expect("data");
        assert_eq!(ca.tls().expect("tls").ca_pem.map(|b| b.len()), Some(3));
    }
}
