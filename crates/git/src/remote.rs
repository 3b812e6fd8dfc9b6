//! Owns where a repository is and how to be let in. Credentials cannot be printed.

use std::time::Duration;

use url::Url;
use weir_runtime::http::{Request, Tls, masked};
use weir_runtime::{Secret, SecretData, UnusableSecret};

use crate::GitError;

/// What is shown to a server to be let in.
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
    /// A bearer token.
    Bearer(Secret),
}

impl Credentials {
    pub(crate) fn apply(&self, request: Request) -> Request {
        match self {
            Self::None => request,
            Self::Basic { username, password } => request.basic_auth(username, password),
            Self::Bearer(token) => request.bearer(token),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::None => "no credentials were sent",
            Self::Basic { .. } => "a user name and password were sent",
            Self::Bearer(_) => "a bearer token was sent",
        }
    }
}

/// A repository to talk to.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its address, without user name and password.
    pub(crate) url: Url,
    pub(crate) credentials: Credentials,
    pub(crate) tls: Tls,
    pub(crate) timeout: Duration,
}

/// How long an operation may take where the caller does not say: the API's own default.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

impl Remote {
    /// A repository at an `http` or `https` URL. A user name and password in the URL are used where
    /// no other credentials are given.
    ///
    /// # Errors
    /// [`GitError::BadUrl`].
    pub fn new(url: &str) -> Result<Self, GitError> {
        let shown = || match url.split_once("://") {
            // A URL that cannot be parsed may still carry a password: show what follows it only.
            Some((scheme, rest)) => {
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                format!("{scheme}://{host}")
            }
            None => url
                .rsplit_once('@')
                .map_or(url, |(_, rest)| rest)
                .to_owned(),
        };
        let mut parsed = Url::parse(url).map_err(|e| GitError::BadUrl {
            url: shown(),
            what: e.to_string(),
        })?;
        if !matches!(parsed.scheme(), "http" | "https") {
            let what = format!(
                "the scheme `{}` is not supported; use `https://` or `http://`",
                parsed.scheme()
            );
            return Err(GitError::BadUrl { url: shown(), what });
        }
        let credentials = match (parsed.username(), parsed.password()) {
            ("", None) => Credentials::None,
            (user, password) => Credentials::Basic {
                username: decoded(user),
                password: Secret::new(decoded(password.unwrap_or_default())),
            },
        };
        // Neither can fail: the URL has a host, as every http URL does.
        let _ = parsed.set_username("");
        let _ = parsed.set_password(None);
        parsed.set_fragment(None);
        Ok(Self {
            url: parsed,
            credentials,
            tls: Tls::default(),
            timeout: DEFAULT_TIMEOUT,
        })
    }

    /// Uses these credentials; [`Credentials::None`] keeps those of the URL.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        if credentials != Credentials::None {
            self.credentials = credentials;
        }
        self
    }

    /// Uses the login and the certificates that a Secret holds.
    ///
    /// # Errors
    /// [`UnusableSecret`] where it holds a half of what belongs together.
    pub fn login(self, data: &SecretData) -> Result<Self, UnusableSecret> {
        let given = (
            data.text("bearerToken")?,
            data.text("username")?,
            data.text("password")?,
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
                return Err(data.unusable("holds a `username` and no `password`; add it"));
            }
            (None, None, Some(_)) => {
                return Err(data.unusable("holds a `password` and no `username`; add it"));
            }
        };
        let tls = data.tls()?;
        Ok(self.credentials(credentials).tls(tls))
    }

    /// Sets the TLS wishes.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Bounds each operation as a whole.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The address for people, credentials masked.
    pub fn shown(&self) -> String {
        masked(&self.url)
    }
}

/// Undoes percent encoding, as it is needed for a user name or password in a URL.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        let mut ahead = bytes.clone();
        match (b, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                bytes = ahead;
            }
            _ => out.push(b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_the_url_are_taken_out_of_it() {
        let remote = Remote::new("https://me%40x:p%2Fw@example.com/a.git#x").expect("a remote");
        assert_eq!(remote.shown(), "https://example.com/a.git");
        assert_eq!(
            remote.credentials,
            Credentials::Basic {
                username: "me@x".into(),
                password: Secret::new("p/w")
            }
        );
        assert!(!format!("{remote:?}").contains("p/w"));
    }

    #[test]
    fn given_credentials_win_over_those_of_the_url() {
        let bearer = Credentials::Bearer(Secret::new("t"));
        let remote = Remote::new("http://u:p@a/b")
            .expect("a remote")
            .credentials(bearer.clone());
        assert_eq!(remote.credentials, bearer);
    }

    #[test]
    fn a_url_that_is_no_url_is_told_without_its_password() {
        for (url, shown) in [
            ("ssh://git:hush@example.com/a", "ssh://example.com/a"),
            ("http://me:hush@ho st/a", "http://ho st/a"),
            ("me:hush@example.com:a.git", "example.com:a.git"),
            ("file:///etc", "file:///etc"),
            ("", ""),
        ] {
            match Remote::new(url) {
                Err(e @ GitError::BadUrl { .. }) => {
                    let text = e.to_string();
                    assert!(text.contains(shown) && !text.contains("hush"), "{text}");
                    assert!(!e.is_retryable());
                }
                other => panic!("{url}: {other:?}"),
            }
        }
    }

    #[test]
    fn percent_signs_that_encode_nothing_stay() {
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%4"), "%zz%4");
    }
}
