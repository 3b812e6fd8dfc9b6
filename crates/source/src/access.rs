//! Owns reading the Secret of a source: what is shown to the server, and which certificates count.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_git::{Credentials, Remote};
use weir_object::{Key, Object};
use weir_runtime::http::Tls;
use weir_runtime::kinds::SECRET;
use weir_runtime::{ApiClient, Secret};

use crate::failure::Failure;

/// Gives `remote` what the Secret `name` holds. The Secret is read each time, so that a new password
/// counts at once and none is kept.
pub(crate) async fn with_secret(
    api: &ApiClient,
    remote: Remote,
    namespace: &str,
    name: &str,
) -> Result<Remote, Failure> {
    let key = Key::new(namespace, name);
    match api.get(&SECRET, &key).await {
        Ok(Some(secret)) => apply(remote, &secret),
        Ok(None) => Err(Failure::credentials(format!(
            "the Secret `{key}` of `spec.secretRef` was not found; create it"
        ))),
        Err(e) => Err(Failure::credentials(format!(
            "the Secret `{key}` cannot be read: {e}"
        ))),
    }
}

fn apply(remote: Remote, secret: &Object) -> Result<Remote, Failure> {
    let bad = |what: &str| Failure::credentials(format!("the Secret `{}` {what}", secret.key()));
    let mut data: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let fields = secret.get(&["data"]).and_then(|data| data.as_object());
    for (name, value) in fields.into_iter().flatten() {
        let bytes = STANDARD.decode(value.as_str().unwrap_or_default());
        let bytes = bytes.map_err(|_| bad(&format!("holds no base64 at `{name}`")))?;
        data.insert(name, bytes);
    }
    let text = |name: &str| -> Result<Option<String>, Failure> {
        let Some(bytes) = data.get(name) else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes.clone());
        text.map(Some)
            .map_err(|_| bad(&format!("holds no text at `{name}`")))
    };
    // A token leaves the password out of account, as one request carries one of them.
    let credentials = match (text("bearerToken")?, text("username")?, text("password")?) {
        (Some(token), _, _) => Credentials::Bearer(Secret::new(token)),
        (None, Some(username), Some(password)) => Credentials::Basic {
            username,
            password: Secret::new(password),
        },
        (None, None, None) => Credentials::None,
        (None, Some(_), None) => return Err(bad("holds a `username` and no `password`; add it")),
        (None, None, Some(_)) => return Err(bad("holds a `password` and no `username`; add it")),
    };
    let identity = match (text("tls.crt")?, text("tls.key")?) {
        (Some(certificate), Some(key)) => Some(Secret::new(format!("{certificate}\n{key}"))),
        (None, None) => None,
        _ => {
            return Err(bad(
                "holds one of `tls.crt` and `tls.key` and not the other; add it",
            ));
        }
    };
    let ca = data.get("ca.crt").or_else(|| data.get("caFile"));
    let ca_pem = ca.map(|bytes| bytes.clone().into());
    let tls = Tls {
        ca_pem,
        identity_pem: identity,
        insecure: false,
    };
    Ok(remote.credentials(credentials).tls(tls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(data: &Value) -> String {
        let secret =
            Object(json!({"metadata": {"namespace": "demo", "name": "git"}, "data": data}));
        let remote = Remote::new("https://a/b").expect("a remote");
        match apply(remote, &secret) {
            Ok(remote) => format!("{remote:?}"),
            Err(failure) => format!("{}: {}", failure.reason, failure.message),
        }
    }

    fn encoded(text: &str) -> String {
        STANDARD.encode(text)
    }

    #[test]
    fn the_known_keys_are_read_and_nothing_is_printed() {
        let basic = told(&json!({"username": encoded("ann"), "password": encoded("hush")}));
        assert!(basic.contains("ann") && !basic.contains("hush"), "{basic}");
        let bearer = told(&json!({"bearerToken": encoded("t0k"), "username": encoded("ann")}));
        assert!(
            bearer.contains("Bearer") && !bearer.contains("t0k"),
            "{bearer}"
        );
        let ca = told(&json!({"caFile": encoded("old!"), "ca.crt": encoded("new")}));
        assert!(ca.contains("ca_pem: Some(3)"), "{ca}");
        let ca = told(&json!({"caFile": encoded("old!")}));
        assert!(ca.contains("ca_pem: Some(4)"), "{ca}");
        let tls = told(&json!({"tls.crt": encoded("c"), "tls.key": encoded("k")}));
        assert!(tls.contains("identity_pem: Some(***)"), "{tls}");
        assert!(told(&json!({})).contains("None"));
    }

    #[test]
    fn halves_and_nonsense_are_named() {
        for (data, word) in [
            (json!({"username": encoded("a")}), "no `password`"),
            (json!({"password": encoded("a")}), "no `username`"),
            (json!({"tls.crt": encoded("a")}), "`tls.key`"),
            (json!({"password": "%%"}), "no base64 at `password`"),
            (
                json!({"bearerToken": STANDARD.encode([0xff])}),
                "no text at `bearerToken`",
            ),
        ] {
            let text = told(&data);
            assert!(
                text.starts_with("AuthenticationFailed") && text.contains(word),
                "{text}"
            );
        }
    }
}
