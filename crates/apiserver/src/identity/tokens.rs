//! Owns the tokens that prove an identity: those of service accounts, which the server signs and
//! reads, and fixed ones that an embedder names. It refuses to keep any token's text.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use weir_gocompat::quote;
use weir_object::{Key as Place, path};

use super::key::{Key, decode};
use super::user::User;
use crate::authorize::quoted_list;
use crate::state::State;

/// Who signs tokens here, and whom they are for unless they say so.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";
/// Clocks may differ by so much.
const LEEWAY: i64 = 60;

/// What a server needs to make and read tokens.
#[derive(Default)]
pub(crate) struct Tokens {
    key: OnceLock<Option<Key>>,
    fixed: Mutex<Vec<([u8; 32], Arc<User>)>>,
}

/// Why a token proves nothing: what a `TokenReview` tells.
pub(crate) type Fault = String;

const NO_TOKEN: &str = "invalid bearer token";

/// Whom a token proves, and which of the wanted audiences it is for.
pub(crate) struct Proof {
    pub(crate) user: Arc<User>,
    pub(crate) audiences: Vec<String>,
}

fn hash(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}

impl Tokens {
    fn key(&self) -> Option<&Key> {
        self.key.get_or_init(Key::generate).as_ref()
    }

    /// Accepts a token as a user's from now on.
    pub(crate) fn accept(&self, token: &str, user: User) {
        let mut fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        fixed.push((hash(token), Arc::new(user)));
    }

    /// The token that makes these claims.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        self.key()?.sign(claims)
    }

    /// The keys that others may check tokens with.
    pub(crate) fn published(&self) -> Value {
        json!({"keys": self.key().map(Key::public).into_iter().collect::<Vec<_>>()})
    }

    /// Whom a token proves, for one of these audiences.
    pub(crate) fn prove(
        &self,
        state: &State,
        token: &str,
        wanted: &[String],
        now: Timestamp,
    ) -> Result<Proof, Fault> {
        let own = hash(token);
        let fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = fixed.iter().find(|(hash, _)| *hash == own);
        if let Some((_, user)) = known {
            return Ok(Proof {
                user: user.clone(),
                audiences: wanted.to_vec(),
            });
        }
        drop(fixed);
        let claims = parse(token).ok_or_else(|| NO_TOKEN.to_owned())?;
        self.read(state, token, &claims, wanted, now)
            .map_err(|fault| format!("[{NO_TOKEN}, {fault}]"))
    }

    fn read(
        &self,
        state: &State,
        token: &str,
        claims: &Value,
        wanted: &[String],
        now: Timestamp,
    ) -> Result<Proof, Fault> {
        let (text, signature) = token.rsplit_once('.').unwrap_or_default();
        let signed = |key: &Key| decode(signature).is_some_and(|bytes| key.signed(text, &bytes));
        // A key that was never made signed nothing.
        if !self.key.get().and_then(Option::as_ref).is_some_and(signed) {
            return Err("go-jose/go-jose: error in cryptographic primitive".to_owned());
        }
        let audiences = texts(claims.get("aud"));
        let shared: Vec<String> = wanted
            .iter()
            .filter(|audience| audiences.contains(audience))
            .cloned()
            .collect();
        if shared.is_empty() {
            return Err(format!(
                "token audiences {} is invalid for the target audiences {}",
                quoted_list(&audiences),
                quoted_list(wanted)
            ));
        }
        let time = |field| claims.get(field).and_then(Value::as_i64);
        let now = now.as_second();
        if time("nbf").is_some_and(|at| now + LEEWAY < at) {
            return Err("service account token is not valid yet".to_owned());
        }
        if time("exp").is_some_and(|at| now - LEEWAY > at) {
            return Err("service account token has expired".to_owned());
        }
        if time("iat").is_some_and(|at| now + LEEWAY < at) {
            return Err("service account token is issued in the future".to_owned());
        }
        let user = holder(state, claims, now)?;
        Ok(Proof {
            user: Arc::new(user),
            audiences: shared,
        })
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The claims of a token that says it is ours.
fn parse(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (header, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
    let claims: Value = serde_json::from_slice(&decode(payload)?).ok()?;
    let ours = path::text(&claims, &["iss"]) == ISSUER && path::text(&header, &["alg"]) == "ES256";
    ours.then_some(claims)
}

/// The account that a token is of, if it and what the token is bound to still exist.
fn holder(state: &State, claims: &Value, now: i64) -> Result<User, Fault> {
    let own = |at: &[&str]| {
        let mut steps = vec!["kubernetes.io"];
        steps.extend(at);
        path::text(claims, &steps)
    };
    let (namespace, name) = (own(&["namespace"]), own(&["serviceaccount", "name"]));
    let find = |plural: &str, namespace: &str, name: &str| {
        let resource = state.registry.get("", "v1", plural)?;
        state.get(resource.storage, &Place::new(namespace, name))
    };
    let uid_of = |object: &Value| path::text(object, &["metadata", "uid"]).to_owned();
    let gone = |object: &Value| {
        let at = path::text(object, &["metadata", "deletionTimestamp"]);
        at.parse::<Timestamp>()
            .is_ok_and(|at| at.as_second() < now - LEEWAY)
    };
    let account = find("serviceaccounts", namespace, name)
        .ok_or_else(|| format!("serviceaccounts {} not found", quote(name)))?;
    let claimed = own(&["serviceaccount", "uid"]);
    let uid = uid_of(&account);
    if uid != claimed {
        return Err(format!(
            "service account UID ({uid}) does not match claim ({claimed})"
        ));
    }
    if gone(&account) {
        return Err(format!(
            "service account {namespace}/{name} has been deleted"
        ));
    }
    let has = |what: &str| path::get(claims, &["kubernetes.io", what]).is_some();
    let void = || "service account token has been invalidated".to_owned();
    for (claim, plural) in [("secret", "secrets"), ("pod", "pods")] {
        if !has(claim) {
            continue;
        }
        let object = find(plural, namespace, own(&[claim, "name"])).ok_or_else(void)?;
        let (uid, claimed) = (uid_of(&object), own(&[claim, "uid"]));
        if uid != claimed {
            return Err(format!(
                "{claim} UID ({uid}) does not match service account {claim} ref claim ({claimed})"
            ));
        }
        if gone(&object) {
            return Err(void());
        }
    }
    if has("node") && !has("pod") {
        let node = find("nodes", "", own(&["node", "name"])).ok_or_else(void)?;
        let (uid, claimed) = (uid_of(&node), own(&["node", "uid"]));
        if uid != claimed {
            return Err(format!(
                "node UID ({uid}) does not match service account node ref claim ({claimed})"
            ));
        }
        if gone(&node) {
            return Err(void());
        }
    }
    let mut user = User {
        uid,
        ..User::service_account(namespace, name)
    };
    let id = format!("JTI={}", path::text(claims, &["jti"]));
    for (key, value) in [
        ("credential-id", id.as_str()),
        ("node-name", own(&["node", "name"])),
        ("node-uid", own(&["node", "uid"])),
        ("pod-name", own(&["pod", "name"])),
        ("pod-uid", own(&["pod", "uid"])),
    ] {
        if !value.is_empty() && value != "JTI=" {
            let key = format!("authentication.kubernetes.io/{key}");
            user.extra.insert(key, vec![value.to_owned()]);
        }
    }
    Ok(user)
}
