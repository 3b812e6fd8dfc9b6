//! Owns reading a Secret object: its fields as bytes, as text, and as the TLS wishes that the known
//! keys stand for. A Secret is read each time it is needed, so that a new password counts at once
//! and none is kept. What a login looks like is the transports' knowledge.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use weir_object::{Key, Object};

use crate::http::Tls;
use crate::kinds::SECRET;
use crate::{ApiClient, Secret};

/// A Secret that cannot be used as it is. Terminal until the Secret changes, or retryable where the
/// API server did not answer; both are told in the same words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Secret `{key}` {what}")]
pub struct UnusableSecret {
    /// Which one.
    pub key: Key,
    /// What is wrong with it, and what to do. Never a part of its content.
    pub what: String,
}

/// A Secret's data. It is not printable.
pub struct SecretData {
    key: Key,
    fields: BTreeMap<String, Vec<u8>>,
}

impl SecretData {
    /// Reads the Secret that `field` of an object names.
    ///
    /// # Errors
    /// [`UnusableSecret`] where it is not there, cannot be read, or holds no base64.
    pub async fn read(
        api: &ApiClient,
        namespace: &str,
        name: &str,
        field: &str,
    ) -> Result<Self, UnusableSecret> {
        let key = Key::new(namespace, name);
        let what = match api.get(&SECRET, &key).await {
            Ok(Some(secret)) => return Self::of(&secret),
            Ok(None) => format!("of `{field}` was not found; create it"),
            Err(e) => format!("cannot be read: {e}"),
        };
        Err(UnusableSecret { key, what })
    }

    /// The data of a Secret object.
    ///
    /// # Errors
    /// [`UnusableSecret`] names the first field that holds no base64.
    pub fn of(secret: &Object) -> Result<Self, UnusableSecret> {
        let key = secret.key();
        let mut fields = BTreeMap::new();
        let data = secret.get(&["data"]).and_then(Value::as_object);
        for (name, value) in data.into_iter().flatten() {
            match STANDARD.decode(value.as_str().unwrap_or_default()) {
                Ok(bytes) => drop(fields.insert(name.clone(), bytes)),
                Err(_) => {
                    let what = format!("holds no base64 at `{name}`");
                    return Err(UnusableSecret { key, what });
                }
            }
        }
        Ok(Self { key, fields })
    }

    /// The failure that says `what` of this Secret.
    pub fn unusable(&self, what: impl Into<String>) -> UnusableSecret {
        UnusableSecret {
            key: self.key.clone(),
            what: what.into(),
        }
    }

    /// A field as text; `None` where it is not there.
    ///
    /// # Errors
    /// [`UnusableSecret`] where it is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<String>, UnusableSecret> {
        let Some(bytes) = self.fields.get(name) else {
            return Ok(None);
        };
        String::from_utf8(bytes.clone())
            .map(Some)
            .map_err(|_| self.unusable(format!("holds no text at `{name}`")))
    }

    /// The certificates in it: `ca.crt` (or the older `caFile`), `tls.crt` and `tls.key`.
    ///
    /// # Errors
    /// [`UnusableSecret`] where a certificate has no key or a key no certificate.
    pub fn tls(&self) -> Result<Tls, UnusableSecret> {
        let identity_pem = match (self.text("tls.crt")?, self.text("tls.key")?) {
            (Some(certificate), Some(key)) => Some(Secret::new(format!("{certificate}\n{key}"))),
            (None, None) => None,
            _ => {
                let what = "holds one of `tls.crt` and `tls.key` and not the other; add it";
                return Err(self.unusable(what));
            }
        };
        let ca = self
            .fields
            .get("ca.crt")
            .or_else(|| self.fields.get("caFile"));
        Ok(Tls {
            ca_pem: ca.map(|bytes| bytes.clone().into()),
            identity_pem,
            insecure: false,
        })
    }
}
