//! Owns being let in: what is shown, and the registry's challenge. A token lives as long as the call
//! it was fetched for, so none is ever used under other credentials.

use std::time::Duration;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use serde::Deserialize;
use url::Url;
use weir_runtime::Secret;
use weir_runtime::http::{Http, Request, Tls};

use crate::OciError;

/// What is shown to a registry to be let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// User name and password, or a token in place of the password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A bearer token that the registry takes as it is.
    Bearer(Secret),
}

/// How to talk to a registry.
#[derive(Clone, Debug)]
pub struct Access {
    /// What is shown.
    pub credentials: Credentials,
    /// Plain HTTP in place of HTTPS.
    pub insecure: bool,
    /// TLS wishes.
    pub tls: Tls,
    /// Bound of each exchange.
    pub timeout: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            credentials: Credentials::None,
            insecure: false,
            tls: Tls::default(),
            timeout: Duration::from_mins(1),
        }
    }
}

/// What a request carries to be let in.
#[derive(Clone, Debug, Default)]
pub(crate) enum Shown {
    #[default]
    Nothing,
    Credentials,
    Token(Secret),
}

impl Shown {
    pub(crate) fn apply(&self, request: Request, access: &Access) -> Request {
        match (self, &access.credentials) {
            (Self::Token(token), _) | (Self::Credentials, Credentials::Bearer(token)) => {
                request.bearer(token)
            }
            (Self::Credentials, Credentials::Basic { username, password }) => {
                request.basic_auth(username, password)
            }
            _ => request,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// Answers a challenge. `None` where there is nothing (more) to show.
pub(crate) async fn answer(
    http: &Http,
    access: &Access,
    headers: &HeaderMap,
    registry: &str,
    scope: &str,
) -> Result<Option<Shown>, OciError> {
    let texts = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let challenges: Vec<Challenge> = texts.filter_map(challenge).collect();
    // A token is the narrower way in, so it comes first.
    let bearer = challenges.iter().find_map(|c| match c {
        Challenge::Bearer {
            realm,
            service,
            scope,
        } => Some((realm, service, scope)),
        Challenge::Basic => None,
    });
    let direct = match &access.credentials {
        Credentials::None => None,
        Credentials::Basic { .. } => challenges.contains(&Challenge::Basic).then_some(()),
        Credentials::Bearer(_) => Some(()),
    };
    let Some((realm, service, asked)) =
        bearer.filter(|_| !matches!(access.credentials, Credentials::Bearer(_)))
    else {
        return Ok(direct.map(|()| Shown::Credentials));
    };
    let malformed = |what: String| OciError::Malformed {
        registry: registry.to_owned(),
        what,
    };
    let mut url = Url::parse(realm)
        .map_err(|e| malformed(format!("its token service `{realm}` is no URL: {e}")))?;
    if !(url.scheme() == "https" || (access.insecure && url.scheme() == "http")) {
        return Err(malformed(
            "its token service is not reached by https".to_owned(),
        ));
    }
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", asked.as_deref().unwrap_or(scope));
    }
    let mut request = Request::get(url)
        .timeout(access.timeout)
        .tls(access.tls.clone());
    if let Credentials::Basic { username, password } = &access.credentials {
        request = request.basic_auth(username, password);
    }
    let of_http = |e| OciError::of_http(e, registry);
    let response = http.send(request).await.map_err(of_http)?;
    match response.status.as_u16() {
        200 => {}
        401 | 403 => return Ok(None),
        status => {
            let what = format!("its token service answered with status {status}");
            return Err(OciError::Unreachable {
                registry: registry.to_owned(),
                what,
            });
        }
    }
    let answer: TokenAnswer = response.json(1 << 20).await.map_err(of_http)?;
    let token = if answer.token.is_empty() {
        answer.access_token
    } else {
        answer.token
    };
    if token.is_empty() {
        return Err(malformed("its token service gave no token".to_owned()));
    }
    Ok(Some(Shown::Token(Secret::new(token))))
}

/// Reads one header: a scheme and its parameters.
fn challenge(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    let mut rest = rest.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            "scope" => scope = Some(value.to_owned()),
            _ => {}
        }
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    realm.map(|realm| Challenge::Bearer {
        realm,
        service,
        scope,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let text =
            r#"Bearer realm="https://a/token",service="reg, istry",scope="repository:x:pull,push""#;
        assert_eq!(
            challenge(text),
            Some(Challenge::Bearer {
                realm: "https://a/token".into(),
                service: Some("reg, istry".into()),
                scope: Some("repository:x:pull,push".into()),
            })
        );
        assert_eq!(challenge("BASIC realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(challenge("basic"), Some(Challenge::Basic));
        for odd in [
            "Digest x=1",
            "Bearer",
            "Bearer realm=\"open",
            "",
            "Bearer service=x",
        ] {
            assert_eq!(challenge(odd), None, "{odd}");
        }
    }
}
