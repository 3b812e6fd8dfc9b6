//! Owns giving a source's remote what its Secret holds, and telling why that did not work.

use weir_git::Remote;
use weir_runtime::{ApiClient, SecretData, UnusableSecret};

use crate::failure::Failure;

/// Gives `remote` what the Secret `name` holds.
pub(crate) async fn with_secret(
    api: &ApiClient,
    remote: Remote,
    namespace: &str,
    name: &str,
) -> Result<Remote, Failure> {
    let read = SecretData::read(api, namespace, name, "spec.secretRef").await;
    apply(remote, read)
}

fn apply(remote: Remote, read: Result<SecretData, UnusableSecret>) -> Result<Remote, Failure> {
    read.and_then(|data| remote.login(&data))
        .map_err(|unusable| Failure::credentials(unusable.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};
    use weir_object::Object;

    fn told(data: &Value) -> String {
        let secret =
            Object(json!({"metadata": {"namespace": "demo", "name": "git"}, "data": data}));
        let remote = Remote::new("https://a/b").expect("a remote");
        match apply(remote, SecretData::of(&secret)) {
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
